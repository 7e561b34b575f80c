"""Dataclasses as options: defaults, help, types, ranges."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from jsonargparse import ArgumentParser

from autosim.cli.options import add_options, build, field_help, options_of, parse
from autosim.errors import UserError
from autosim.ranges import Checked, Range


@dataclass(frozen=True)
class Inner(Checked):
    rate: Annotated[float, Range(above=0)] = 0.1
    """How fast."""
    name: str | None = None


@dataclass(frozen=True)
class Base:
    """A base.

    Args:
        size: how large, in 100 % of pixels.
    """

    size: int = 8


@dataclass(frozen=True)
class Outer(Base):
    """What is configured."""

    mode: Literal["fast", "slow"] = "fast"
    flag: bool = True
    limit: float | None = None
    weights: tuple[float, ...] = (1.0, 2.0)
    inner: Inner = field(default_factory=lambda: Inner(rate=0.5))
    """The inner part."""


def outer(*arguments: str) -> Outer:
    options = list(options_of(Outer, "algo."))
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    add_options(parser, options)
    return build(Outer, parse(parser, options, list(arguments)), "algo.")


def test_no_arguments_give_the_defaults_of_the_outer_dataclass() -> None:
    assert outer() == Outer()
    assert outer().inner.rate == 0.5


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--algo.size", "3"], Outer(size=3)),
        (["--algo.flag=false", "--algo.mode=slow"], Outer(flag=False, mode="slow")),
        (["--algo.limit", "1e-3"], Outer(limit=0.001)),
        (["--algo.limit=null"], Outer(limit=None)),
        (["--algo.weights", "[3, 4.5]"], Outer(weights=(3.0, 4.5))),
        (["--algo.inner.rate=2", "--algo.inner.name=x"], Outer(inner=Inner(2.0, "x"))),
    ],
)
def test_arguments_reach_their_fields(arguments: list[str], expected: Outer) -> None:
    assert outer(*arguments) == expected


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--algo.size=x", "--algo.size: expected int, found x"),
        ("--algo.size=1.5", "--algo.size: expected int, found 1.5"),
        ("--algo.mode=odd", "--algo.mode: expected one of 'fast', 'slow', found odd"),
        ("--algo.limit=x", "--algo.limit: expected float or null, found x"),
        ("--algo.inner.rate=-1", "--algo.inner.rate: -1.0 is not above 0"),
        ("--algo.siz=1", "unknown option --algo.siz; did you mean --algo.size?"),
        ("--zzzzzz=1", "unknown option --zzzzzz; see --help"),
        ("stray", "unexpected argument 'stray'"),
        ("--algo.size", "--algo.size: needs a value"),
    ],
)
def test_a_mistake_is_told_in_one_line(argument: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        outer(argument)
    assert str(caught.value) == message


def test_a_field_without_default_must_be_given() -> None:
    @dataclass(frozen=True)
    class Needed:
        size: int

    def needed(*arguments: str) -> Any:
        options = list(options_of(Needed))
        parser = ArgumentParser(exit_on_error=False)
        add_options(parser, options)
        return build(Needed, parse(parser, options, list(arguments)))

    assert needed("--size=2").size == 2
    with pytest.raises(UserError, match="size"):
        needed()


def test_help_comes_from_docstrings_of_fields_and_of_classes_extended() -> None:
    assert field_help(Outer) == {"size": "how large, in 100 % of pixels.", "inner": "The inner part."}
    parser = ArgumentParser()
    add_options(parser, list(options_of(Outer, "algo.")))
    text = " ".join(parser.format_help().split())
    for part in (
        "how large, in 100 % of pixels. (type: int, default: 8)",
        "The inner part",
        "How fast.",
        "limit (type",
    ):
        assert part in text
