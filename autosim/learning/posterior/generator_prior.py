"""A prior over generators: means, spreads and probabilities of independent distributions as points of a cube."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autosim.scenes.generator import AttributeSummary, CategoricalSummary, ContinuousSummary
from autosim.scenes.graph import Categorical, Continuous
from autosim.scenes.parametric import ParametricGenerator


@dataclass(frozen=True)
class GeneratorPrior:
    """The view of ``start`` as a point of [0, 1]^D, such that a uniform point is a draw from a prior over generators.

    A continuous attribute has two dimensions: its normalised mean, and the logarithm of its standard deviation between
    ``least`` and ``most``, which are shares of the range. A categorical one of k choices has k − 1: probabilities are
    uniform on the simplex (stick-breaking). Attributes of a single choice have none.
    """

    start: ParametricGenerator
    least: float = 0.01
    most: float = 0.3

    @property
    def names(self) -> list[str]:
        """What each dimension is: ``KEY mean``, ``KEY spread``, ``KEY choice I``."""
        found = []
        for k in self.start.grammar.attributes():
            spec = k.attribute
            if isinstance(spec, Continuous):
                found += [f"{k.key} mean", f"{k.key} spread"]
            elif isinstance(spec, Categorical):
                found += [f"{k.key} choice {i}" for i in range(len(spec.choices) - 1)]
        return found

    @property
    def periodic(self) -> NDArray[np.bool_]:
        """(D,) which dimensions are circles: the means of angles."""
        keys = {k.key for k in self.start.grammar.attributes() if getattr(k.attribute, "periodic", False)}
        return np.array([name.endswith(" mean") and name[:-5] in keys for name in self.names], dtype=bool)

    def generator(self, point: NDArray[np.float64]) -> ParametricGenerator:
        """A copy of the start with the parameters of a ``point`` (D,); ``ValueError`` for a wrong shape or a value
        outside [0, 1].
        """
        values = np.asarray(point, dtype=np.float64)
        if values.shape != (len(self.names),) or not bool(((values >= 0) & (values <= 1)).all()):
            raise ValueError(f"generator prior: expected {len(self.names)} values in [0, 1], found {point!r}")
        left = iter(values.tolist())
        found: dict[str, AttributeSummary] = {}
        for k in self.start.grammar.attributes():
            spec = k.attribute
            if isinstance(spec, Continuous):
                mean, spread = spec.denormalise(next(left)), self.least * (self.most / self.least) ** next(left)
                found[k.key] = ContinuousSummary(mean, spread * (spec.high - spec.low))
            elif isinstance(spec, Categorical):
                found[k.key] = CategoricalSummary(_broken([next(left) for _ in spec.choices[1:]]))
        result = copy.deepcopy(self.start)
        result.set_parameters(found)
        return result


def _broken(uniform: list[float]) -> tuple[float, ...]:
    """k − 1 values in [0, 1] to k probabilities; uniform values give every point of the simplex equal density."""
    chances, rest = [], 1.0
    for i, value in enumerate(uniform):
        # Of the rest of the stick a share from Beta(1, k − 1 − i), by its inverse distribution function.
        share = 1.0 - math.pow(1.0 - value, 1.0 / (len(uniform) - i))
        chances.append(rest * share)
        rest *= 1.0 - share
    return (*chances, rest)
