"""Which settings a search tries: drawn at random, all on a grid, or left to Optuna. The default one comes first."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from autosim import seeding
from autosim.errors import UserError
from autosim.search_space import Dimension, IntegerRange, LogUniformRange, OneOf, SearchSpace, draw

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Setting = dict[str, Any]
# Draws before a space is taken to hold no further setting.
ATTEMPTS = 200


def random_settings(space: SearchSpace, known: Sequence[Setting], count: int, seed: int) -> list[Setting]:
    """``known`` and independent draws after it, ``count`` in all, no two equal; fewer where the space has no more.

    Setting i depends on the seed, on i and on those before it, so that a longer list begins with a shorter one.
    """
    settings = list(known)
    while len(settings) < count:
        random = np.random.default_rng(seeding.seed_sequence(seed, "tuned setting", 0, len(settings)))
        fresh = next((drawn for drawn in (draw(space, random) for _ in range(ATTEMPTS)) if drawn not in settings), None)
        if fresh is None:
            break
        settings.append(fresh)
    return settings


def grid_settings(space: SearchSpace, default: Setting) -> list[Setting]:
    """``default`` and then every combination of :func:`grid_values`, the last dimension changing fastest."""
    product = itertools.product(*(grid_values(dimension) for dimension in space.values()))
    settings = [dict(zip(space, values, strict=True)) for values in product]
    return [default, *(setting for setting in settings if setting != default)]


def grid_values(dimension: Dimension) -> list[Any]:
    """All values of a choice; of a range both ends and the middle, the geometric one where it is logarithmic."""
    if isinstance(dimension, OneOf):
        return list(dimension.values)
    low, high = dimension.low, dimension.high
    if isinstance(dimension, IntegerRange):
        return sorted({low, (low + high) // 2, high})
    return [low, math.sqrt(low * high) if isinstance(dimension, LogUniformRange) else (low + high) / 2, high]


def optuna_distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """The dimensions as Optuna knows them; ``UserError`` where Optuna is not installed."""
    try:
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
    except ImportError as error:
        raise UserError("--search optuna needs a package that is not installed: pip install optuna") from error
    distributions: dict[str, BaseDistribution] = {}
    for name, dimension in space.items():
        if isinstance(dimension, OneOf):
            distributions[name] = CategoricalDistribution(dimension.values)
        elif isinstance(dimension, IntegerRange):
            distributions[name] = IntDistribution(dimension.low, dimension.high)
        else:
            distributions[name] = FloatDistribution(
                dimension.low, dimension.high, log=isinstance(dimension, LogUniformRange)
            )
    return distributions


def inside(space: SearchSpace, setting: Mapping[str, Any]) -> bool:
    """Whether every value is one that the space may give."""
    return all(_holds(dimension, setting[name]) for name, dimension in space.items())


def _holds(dimension: Dimension, value: Any) -> bool:
    if isinstance(dimension, OneOf):
        return value in dimension.values
    return not isinstance(value, bool) and isinstance(value, (int, float)) and dimension.low <= value <= dimension.high
