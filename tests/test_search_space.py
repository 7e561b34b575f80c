"""Search spaces: what dimensions take and give, and that what algorithms declare fits their options."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autosim import registry
from autosim.search_space import (
    Dimension,
    IntegerRange,
    LogUniformRange,
    OneOf,
    UniformRange,
    declared_space,
    draw,
    tunable,
)


@dataclass(frozen=True)
class Options:
    """A configuration of which a part can be tuned."""

    rate: float = tunable(5.0, LogUniformRange(0.1, 1.0))
    plain: int = 3
    kind: str = tunable("a", OneOf(("a", "b")))


def test_a_field_declares_its_dimension_and_keeps_its_default() -> None:
    assert Options() == Options(rate=5.0, plain=3, kind="a")
    assert declared_space(Options) == {"rate": LogUniformRange(0.1, 1.0), "kind": OneOf(("a", "b"))}


@given(st.floats(1e-6, 1e3), st.floats(1.001, 1e4), st.integers(0, 2**32 - 1))
def test_what_is_drawn_lies_inside(low: float, factor: float, seed: int) -> None:
    high = low * factor
    random = np.random.default_rng(seed)
    for dimension in (UniformRange(low, high), LogUniformRange(low, high)):
        value = dimension.draw(random)
        assert isinstance(value, float) and low <= value <= high
    integer = IntegerRange(-3, 4).draw(random)
    assert isinstance(integer, int) and -3 <= integer <= 4
    assert OneOf((None, "x", 2.5)).draw(random) in (None, "x", 2.5)


def test_distributions_are_what_their_names_say() -> None:
    random = np.random.default_rng(0)
    logs = [math.log10(LogUniformRange(1e-4, 1.0).draw(random)) for _ in range(4000)]
    assert np.mean(logs) == pytest.approx(-2.0, abs=4 * (4 / math.sqrt(12)) / math.sqrt(4000))
    assert np.mean([UniformRange(2.0, 4.0).draw(random) for _ in range(4000)]) == pytest.approx(3.0, abs=0.04)
    assert {IntegerRange(1, 3).draw(random) for _ in range(200)} == {1, 2, 3}
    assert {OneOf((7, 8)).draw(random) for _ in range(100)} == {7, 8}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: OneOf((1,)), "no choice"),
        (lambda: OneOf((1, 1)), "1 is there twice"),
        (lambda: OneOf(((1, 2), 3)), "no number, text, boolean or None"),
        (lambda: UniformRange(2.0, 2.0), "not below"),
        (lambda: UniformRange(0.0, math.inf), "not both finite"),
        (lambda: LogUniformRange(0.0, 1.0), "low: 0.0 is not above 0"),
        (lambda: LogUniformRange(3.0, 1.0), "not below"),
        (lambda: IntegerRange(1, 2.5), "high: 2.5 is no integer"),  # type: ignore[arg-type]
        (lambda: IntegerRange(True, 3), "low: True is no integer"),
        (lambda: IntegerRange(3, 3), "not below"),
    ],
)
def test_a_dimension_without_sense_is_refused(make: Callable[[], Dimension], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("name", registry.algorithm_names())
@settings(max_examples=50)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_an_algorithm_declares_are_options_and_values_that_it_takes(name: str, seed: int) -> None:
    algorithm = registry.find_algorithm(name)
    space = algorithm.search_space()
    assert set(space) <= {field.name for field in fields(algorithm.Config)}
    setting = draw(space, np.random.default_rng(seed))
    assert list(setting) == list(space)
    configured = replace(algorithm.Config(), **setting)
    assert {key: getattr(configured, key) for key in setting} == setting


def test_the_supplement_s_values_are_among_those_declared() -> None:
    lts = registry.find_algorithm("lts").search_space()["datasets"]
    assert isinstance(lts, OneOf) and {5, 10, 40, 50} <= set(lts.values)
    space = registry.find_algorithm("autosimulate").search_space()
    for option, values in (("frames", {20, 50, 70}), ("rate", {0.01, 0.1, 10.0}), ("damping", {0.1, 10.0})):
        dimension = space[option]
        assert isinstance(dimension, OneOf) and values <= set(dimension.values)
