"""Specifications of a node's attributes: continuous ones with a range and a unit, and categorical ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

ChoiceValue = str | int
Value = float | str | int


@dataclass(frozen=True)
class Continuous:
    """A real attribute in ``[low, high]`` (``unit`` names its unit); ``[low, high)`` on a circle if periodic.

    ``step`` is the half-width of a finite difference in the attribute's own unit; by default 1 % of the range.
    """

    name: str
    low: float
    high: float
    unit: str = ""
    periodic: bool = False
    mutable: bool = True
    step: float | None = None

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"attribute {self.name!r}: low {self.low} is not below high {self.high}, both finite")
        if self.step is not None and not 0 < self.step <= (self.high - self.low) / 2:
            raise ValueError(f"attribute {self.name!r}: step {self.step} is not in (0, half the range]")

    @property
    def normalised_step(self) -> float:
        """Finite-difference half-width as a fraction of the range."""
        return 0.01 if self.step is None else self.step / (self.high - self.low)

    def normalise(self, value: float) -> float:
        """Map a value to [0, 1]; periodic values are wrapped first."""
        unit = (float(value) - self.low) / (self.high - self.low)
        return unit % 1.0 if self.periodic else unit

    def denormalise(self, unit: float) -> float:
        """Map [0, 1] back to the range; outside it, wrapped if periodic and clipped otherwise."""
        unit = unit % 1.0 if self.periodic else min(max(unit, 0.0), 1.0)
        return min(self.low + unit * (self.high - self.low), self.high)

    def difference(self, a: float, b: float) -> float:
        """``a - b`` in the attribute's unit; the shorter way round if periodic."""
        span = self.high - self.low
        return (a - b + span / 2) % span - span / 2 if self.periodic else a - b

    def check(self, value: Any) -> None:
        """Raise ``ValueError`` where ``value`` is not a finite number within the range."""
        if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
            raise ValueError(f"attribute {self.name!r}: {value!r} is not a number")
        if not self.low <= value <= self.high:
            raise ValueError(f"attribute {self.name!r}: {value} is outside [{self.low}, {self.high}]")


@dataclass(frozen=True)
class Categorical:
    """An attribute with one of ``choices`` (at least one, all different)."""

    name: str
    choices: tuple[ChoiceValue, ...]
    mutable: bool = True

    def __post_init__(self) -> None:
        if not self.choices or len(set(self.choices)) != len(self.choices):
            raise ValueError(f"attribute {self.name!r}: choices {self.choices} must be non-empty and distinct")

    def index(self, value: Any) -> int:
        """Position of ``value`` among the choices; ``ValueError`` where it is none of them."""
        self.check(value)
        return self.choices.index(value)

    def check(self, value: Any) -> None:
        """Raise ``ValueError`` where ``value`` is none of the choices."""
        if isinstance(value, bool) or value not in self.choices:
            raise ValueError(f"attribute {self.name!r}: {value!r} is not one of {list(self.choices)}")


Attribute = Continuous | Categorical
