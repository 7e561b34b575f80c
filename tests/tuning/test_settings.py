"""The settings that a search tries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosim.search_space import IntegerRange, LogUniformRange, OneOf, SearchSpace, UniformRange
from autosim.tuning.settings import (
    grid_settings,
    grid_values,
    inside,
    optuna_distributions,
    random_settings,
)

SPACE: SearchSpace = {"frames": OneOf((20, 50, 70)), "rate": LogUniformRange(0.01, 1.0), "on": OneOf((False, True))}
DEFAULT = {"frames": 24, "rate": 2.0, "on": False}


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12))
def test_random_settings_repeat_and_a_longer_list_begins_with_a_shorter_one(seed: int, one: int, two: int) -> None:
    short, long = sorted((one, two))
    settings = random_settings(SPACE, [DEFAULT], long, seed)
    assert settings[0] == DEFAULT and len(settings) == long
    assert random_settings(SPACE, [DEFAULT], short, seed) == settings[:short]
    assert random_settings(SPACE, settings[:short], long, seed) == settings
    assert all(settings.count(setting) == 1 for setting in settings)
    assert all(inside(SPACE, setting) for setting in settings[1:]) and not inside(SPACE, DEFAULT)


def test_random_settings_end_with_the_space() -> None:
    space: SearchSpace = {"a": OneOf((1, 2)), "b": IntegerRange(0, 1)}
    settings = random_settings(space, [{"a": 1, "b": 0}], 10, 0)
    assert len(settings) == 4 and settings[0] == {"a": 1, "b": 0}


def test_a_grid_has_every_combination_once_and_the_default_first() -> None:
    assert grid_values(LogUniformRange(0.01, 1.0)) == pytest.approx([0.01, 0.1, 1.0])
    assert grid_values(UniformRange(0.0, 1.0)) == [0.0, 0.5, 1.0]
    assert grid_values(IntegerRange(2, 3)) == [2, 3]
    assert len(grid_settings(SPACE, DEFAULT)) == 1 + 3 * 3 * 2
    known = {"a": 2, "b": True}
    grid = grid_settings({"a": OneOf((1, 2)), "b": OneOf((False, True))}, known)
    assert grid == [known, {"a": 1, "b": False}, {"a": 1, "b": True}, {"a": 2, "b": False}]


def test_optuna_is_given_the_same_bounds() -> None:
    distributions = pytest.importorskip("optuna").distributions
    assert optuna_distributions({**SPACE, "count": IntegerRange(1, 5)}) == {
        "frames": distributions.CategoricalDistribution((20, 50, 70)),
        "rate": distributions.FloatDistribution(0.01, 1.0, log=True),
        "on": distributions.CategoricalDistribution((False, True)),
        "count": distributions.IntDistribution(1, 5),
    }
