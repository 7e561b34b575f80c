"""How long and how fast a network is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from autosim.ranges import Checked, Range


@dataclass(frozen=True)
class TrainingSchedule(Checked):
    """Adam over ``epochs`` passes in batches of ``batch_size`` (at least 1 each); peak ``learning_rate`` > 0."""

    epochs: Annotated[int, Range(least=1)] = 20
    batch_size: Annotated[int, Range(least=1)] = 8
    learning_rate: Annotated[float, Range(above=0)] = 5e-3


def half_cosine(share: float, down_to: float = 0.0) -> float:
    """1 for a ``share`` of 0 or less, ``down_to`` for 1 or more, and half a cosine between."""
    return down_to + (1 - down_to) * 0.5 * (1 + math.cos(math.pi * min(max(share, 0.0), 1.0)))
