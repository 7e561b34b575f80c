"""Ranges of options: what is refused, in which words, and that every option of ours has one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from typing import Annotated, Any, Literal, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosim import registry
from autosim.ranges import Checked, Range, rules
from autosim.runs.config import RunSettings
from autosim.tuning.request import TuneSettings


@dataclass(frozen=True)
class Settings(Checked):
    rate: Annotated[float, Range(above=0)] = 0.1
    count: Annotated[int | None, Range(least=1)] = None
    share: Annotated[float, Range(least=0, below=1)] = 0.5
    part: Annotated[float, Range(above=0, most=1)] = 1
    seed: Annotated[int, Range(least=0, below=2**32)] = 0
    mode: Literal["fast", "slow"] = "fast"
    free: float = 0.0
    flag: bool = True


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 0.0}, "rate: 0.0 is not above 0"),
        ({"rate": float("nan")}, "rate: nan is not above 0"),
        ({"rate": float("inf")}, "rate: inf is not a finite number"),
        ({"rate": 1e308}, "rate: 1e+308 is not between -1e+12 and 1e+12"),
        ({"rate": "fast"}, "rate: 'fast' is not a number"),
        ({"rate": None}, "rate: None is not a number"),
        ({"count": 0}, "count: 0 is below 1"),
        ({"count": 1.5}, "count: 1.5 is not a whole number"),
        ({"count": True}, "count: True is not a number"),
        ({"share": 1}, "share: 1 is not in [0, 1)"),
        ({"share": float("nan")}, "share: nan is not in [0, 1)"),
        ({"part": 0}, "part: 0 is not in (0, 1]"),
        ({"seed": 2**32}, "seed: 4294967296 is not in [0, 4294967296)"),
        ({"mode": "still"}, "mode: 'still' is not one of ['fast', 'slow']"),
        ({"free": float("-inf")}, "free: -inf is not a finite number"),
    ],
)
def test_what_is_out_of_range_is_refused_in_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        Settings(**values)
    assert str(error.value) == message


@given(st.floats(0, 1, exclude_min=True), st.none() | st.integers(1, 10**9), st.floats(-1e12, 1e12))
def test_what_is_in_range_stays_as_it_is(rate: float, count: int | None, free: float) -> None:
    made = Settings(rate=rate, count=count, part=rate, free=free)
    assert (made.rate, made.count, made.part, made.free) == (rate, count, rate, free)


def test_ranges_are_named_in_words() -> None:
    found = {name: str(rule.range) for name, rule in rules(Settings).items() if rule.range is not None}
    assert found == {
        "rate": "above 0", "count": "at least 1", "share": "in [0, 1)", "part": "in (0, 1]",
        "seed": "in [0, 4294967296)", "free": "",
    }  # fmt: skip


def configurations() -> Iterator[type]:
    """The dataclasses of all options, nested ones included."""
    waiting: list[type] = [RunSettings, TuneSettings]
    waiting += [registry.find_algorithm(name).Config for name in registry.algorithm_names()]
    waiting += [registry.find_environment(name).Config for name in registry.environment_names()]
    while waiting:
        config = waiting.pop()
        if config.__module__.startswith(("autosim", "algorithms", "envs")):
            yield config
            waiting += [
                hint for hint in get_type_hints(config).values() if is_dataclass(hint) and isinstance(hint, type)
            ]


@pytest.mark.parametrize("config", sorted(set(configurations()), key=str))
def test_no_numeric_option_of_ours_takes_what_is_not_finite(config: type) -> None:
    hints = get_type_hints(config)
    assert all(found.default is not MISSING or found.default_factory is not MISSING for found in fields(config))
    made: Any = config()
    for found in fields(config):
        if hints[found.name] in (int, float, int | None, float | None):
            for value in (float("nan"), float("inf"), float("-inf"), 1e308, -1e308):
                with pytest.raises(ValueError, match=f"^{found.name}: {re.escape(str(value))} "):
                    replace(made, **{found.name: value})
