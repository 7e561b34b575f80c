"""What can be tuned: options of an algorithm that are worth trying at other values, and which values.

A field of an algorithm's ``Config`` says so itself:
``learning_rate: float = tunable(1e-3, LogUniformRange(1e-4, 1e-2))``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class OneOf:
    """One of some values: numbers, text, booleans or None. ``ValueError`` for fewer than two, or equal ones."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        if len(self.values) < 2:
            raise ValueError(f"values: {list(self.values)} leave no choice")
        for i, value in enumerate(self.values):
            if value is not None and not isinstance(value, (bool, int, float, str)):
                raise ValueError(f"values: {value!r} is no number, text, boolean or None")
            if value in self.values[:i]:
                raise ValueError(f"values: {value!r} is there twice")

    def draw(self, random: np.random.Generator) -> Any:
        """Any of the values, equally likely."""
        return self.values[int(random.integers(len(self.values)))]


@dataclass(frozen=True)
class UniformRange:
    """A float in [low, high]. ``ValueError`` for bounds that are not finite, or not in this order."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high)

    def draw(self, random: np.random.Generator) -> float:
        """Equally likely everywhere."""
        return float(random.uniform(self.low, self.high))


@dataclass(frozen=True)
class LogUniformRange:
    """A float in [low, high], its logarithm equally likely everywhere. ``ValueError`` also for a bound not above 0."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high)
        if not self.low > 0:
            raise ValueError(f"low: {self.low} is not above 0")

    def draw(self, random: np.random.Generator) -> float:
        """Equally likely in every order of magnitude."""
        value = math.exp(random.uniform(math.log(self.low), math.log(self.high)))
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class IntegerRange:
    """An integer in [low, high], both included. ``ValueError`` for bounds that are no integers, or out of order."""

    low: int
    high: int

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise ValueError(f"{name}: {value!r} is no integer")
        _check_bounds(self.low, self.high)

    def draw(self, random: np.random.Generator) -> int:
        """Every integer equally likely."""
        return int(random.integers(self.low, self.high, endpoint=True))


Dimension = OneOf | UniformRange | LogUniformRange | IntegerRange
SearchSpace = Mapping[str, Dimension]


_KEY = "search space"


def tunable(default: Any, dimension: Dimension) -> Any:
    """A field of a dataclass with a default value and the other values to try; the default may lie outside of them."""
    return field(default=default, metadata={_KEY: dimension})


def declared_space(config: type) -> dict[str, Dimension]:
    """The dimensions of all fields made by :func:`tunable`, in the order of the dataclass."""
    return {found.name: found.metadata[_KEY] for found in fields(config) if _KEY in found.metadata}


def draw(space: SearchSpace, random: np.random.Generator) -> dict[str, Any]:
    """A value of every dimension, by name; dimensions are drawn independently, in the order of the space."""
    return {name: dimension.draw(random) for name, dimension in space.items()}


def _check_bounds(low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"low, high: {low}, {high} are not both finite")
    if not low < high:
        raise ValueError(f"low: {low} is not below high, {high}")
