"""How long and how fast a network is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingSchedule:
    """Adam over ``epochs`` passes in batches of ``batch_size`` (at least 1 each); peak ``learning_rate`` > 0."""

    epochs: int = 20
    batch_size: int = 8
    learning_rate: float = 5e-3

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: {getattr(self, name)} is not above 0")


def half_cosine(share: float, down_to: float = 0.0) -> float:
    """1 for a ``share`` of 0 or less, ``down_to`` for 1 or more, and half a cosine between."""
    return down_to + (1 - down_to) * 0.5 * (1 + math.cos(math.pi * min(max(share, 0.0), 1.0)))
