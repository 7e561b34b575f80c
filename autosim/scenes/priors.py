"""Priors over a single attribute, in the attribute's own unit: what a grammar draws from."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

from autosim.scenes.graph import Attribute, Categorical, Continuous, Value


def _continuous(attribute: Attribute, prior: object) -> Continuous:
    if not isinstance(attribute, Continuous):
        raise ValueError(f"{prior} is for continuous attributes; {attribute.name!r} has choices")
    return attribute


def _fit(attribute: Continuous, value: float) -> float:
    """``value`` clipped to the range, or wrapped into ``[low, high)`` where periodic."""
    if not attribute.periodic:
        return float(min(max(value, attribute.low), attribute.high))
    wrapped = attribute.low + (value - attribute.low) % (attribute.high - attribute.low)
    return float(wrapped if wrapped < attribute.high else attribute.low)


@dataclass(frozen=True)
class Normal:
    """Normal distribution, ``std`` > 0; censored to the attribute's range (values outside become the bound), or wrapped
    where the attribute is periodic. The mean lies within the range unless periodic.
    """

    mean: float
    std: float

    def check(self, attribute: Attribute) -> None:
        """Raise ``ValueError`` where the prior does not fit the attribute."""
        spec = _continuous(attribute, self)
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            raise ValueError(f"{self} needs a finite mean and a finite std above 0")
        if not spec.periodic and not spec.low <= self.mean <= spec.high:
            raise ValueError(f"{self} has its mean outside [{spec.low}, {spec.high}]")

    def draw(self, attribute: Attribute, rng: np.random.Generator) -> Value:
        """One value within the attribute's range."""
        return _fit(_continuous(attribute, self), self.mean + self.std * float(rng.standard_normal()))


@dataclass(frozen=True)
class Uniform:
    """Uniform distribution on ``[low, high]`` within the range; where periodic, on any arc of at most one turn."""

    low: float
    high: float

    def check(self, attribute: Attribute) -> None:
        """Raise ``ValueError`` where the prior does not fit the attribute."""
        spec = _continuous(attribute, self)
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"{self} needs finite bounds, low below high")
        if spec.periodic and self.high - self.low > spec.high - spec.low:
            raise ValueError(f"{self} is wider than one turn, {spec.high - spec.low}")
        if not spec.periodic and not spec.low <= self.low < self.high <= spec.high:
            raise ValueError(f"{self} is not within [{spec.low}, {spec.high}]")

    def draw(self, attribute: Attribute, rng: np.random.Generator) -> Value:
        """One value within the attribute's range."""
        return _fit(_continuous(attribute, self), self.low + (self.high - self.low) * float(rng.random()))


@dataclass(frozen=True)
class Choice:
    """One weight for each choice of a categorical attribute, in the attribute's order; at least one is above 0."""

    probabilities: Sequence[float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "probabilities", tuple(float(p) for p in self.probabilities))

    @cached_property
    def normalised(self) -> tuple[float, ...]:
        """The probabilities, scaled to sum to 1."""
        total = sum(self.probabilities)
        return tuple(p / total for p in self.probabilities)

    @cached_property
    def _cumulative(self) -> list[float]:
        return list(accumulate(self.normalised))

    def check(self, attribute: Attribute) -> None:
        """Raise ``ValueError`` where the prior does not fit the attribute."""
        if not isinstance(attribute, Categorical):
            raise ValueError(f"{self} is for categorical attributes; {attribute.name!r} is continuous")
        if len(self.probabilities) != len(attribute.choices):
            raise ValueError(f"{self} has {len(self.probabilities)} weights for {len(attribute.choices)} choices")
        if not all(math.isfinite(p) and p >= 0 for p in self.probabilities) or sum(self.probabilities) <= 0:
            raise ValueError(f"{self} needs finite weights of at least 0, one of them above 0")

    def draw(self, attribute: Attribute, rng: np.random.Generator) -> Value:
        """One of the attribute's choices."""
        assert isinstance(attribute, Categorical)
        return attribute.choices[pick(self._cumulative, self.normalised, float(rng.random()))]


@dataclass(frozen=True)
class Constant:
    """Always the same value."""

    value: Value

    def check(self, attribute: Attribute) -> None:
        """Raise ``ValueError`` where the value is outside the range or is none of the choices."""
        attribute.check(self.value)

    def draw(self, attribute: Attribute, rng: np.random.Generator) -> Value:
        """The value."""
        return float(self.value) if isinstance(attribute, Continuous) else self.value


Prior = Normal | Uniform | Choice | Constant


def widest(attribute: Attribute) -> Prior:
    """The uniform prior over an attribute's whole range or all its choices."""
    if isinstance(attribute, Continuous):
        return Uniform(attribute.low, attribute.high)
    return Choice([1.0] * len(attribute.choices))


def pick(cumulative: Sequence[float], weights: Sequence[float], uniform: float) -> int:
    """Index drawn by inverting cumulative weights at ``uniform`` in [0, 1); never one of weight 0."""
    index = min(bisect_right(cumulative, uniform * cumulative[-1]), len(cumulative) - 1)
    while weights[index] == 0:
        index -= 1
    return index
