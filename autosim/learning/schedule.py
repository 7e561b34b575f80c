"""How long and how fast a network is trained."""

from __future__ import annotations

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
