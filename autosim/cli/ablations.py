"""``--ablation``: one algorithm with other values of an option, or of several options one at a time, as rows."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser

from autosim.cli.options import add_options, options_of, parse
from autosim.comparison.plan import CHANGE, Method
from autosim.errors import UserError

# The row without a change, where several options are changed one at a time.
UNCHANGED = "as it is"


@dataclass(frozen=True)
class Ablated:
    """An option, and the texts of its values; without any, all that it may take."""

    option: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Ablation:
    """An algorithm, and which of its options take other values."""

    algo: str
    options: tuple[Ablated, ...]

    @property
    def name(self) -> str:
        """What its rows differ in."""
        return self.options[0].option if len(self.options) == 1 else CHANGE


def parse_ablation(text: str) -> Ablation:
    """The ablation of ``ALGO.OPTION=VALUE,VALUE;ALGO.OPTION``; ``UserError`` where it is none."""
    parts = [part.strip() for part in text.split(";") if part.strip()]
    found: dict[str, tuple[str, ...]] = {}
    algorithms: list[str] = []
    for part in parts or [text]:
        name, given, values = part.partition("=")
        algo, dot, option = name.partition(".")
        if not (algo and dot and option):
            raise UserError(f"--ablation: {name!r} is not ALGO.OPTION")
        if algorithms and algo not in algorithms:
            raise UserError(f"--ablation: {name!r} is of another algorithm than {algorithms[0]}")
        if option in found:
            raise UserError(f"--ablation: {name!r} is named twice")
        named = tuple(value.strip() for value in values.split(",")) if given else ()
        least = 2 if len(parts) < 2 else 1
        if given and (len(set(named)) < max(least, len(named)) or not all(named)):
            more = "two or more different values" if least == 2 else "different values"
            raise UserError(f"--ablation: {values!r} are not {more} with commas between")
        algorithms.append(algo)
        found[option] = named
    return Ablation(algorithms[0], tuple(Ablated(option, named) for option, named in found.items()))


def variants(method: Method, ablation: Ablation) -> tuple[Method, ...]:
    """A method for each value of the one option; or, of several, the method as it is and one for each change.
    ``UserError`` where an option has no such values.
    """
    if len(ablation.options) == 1:
        (ablated,) = ablation.options
        return tuple(replace(each, label=label) for label, each in _changed(method, ablated))
    made = [replace(method, label=UNCHANGED)]
    for ablated in ablation.options:
        changed = [(label, each) for label, each in _changed(method, ablated) if each.config != method.config]
        if not changed:
            raise UserError(f"--ablation: {method.algo}.{ablated.option} has the value that it is to take already")
        made += [replace(each, label=f"{ablated.option}={label}") for label, each in changed]
    return tuple(made)


def _changed(method: Method, ablated: Ablated) -> Iterator[tuple[str, Method]]:
    """The method with each of the values, and what the value is called."""
    option = ablated.option
    hint = get_type_hints(type(method.config)).get(option)
    if hint is None or option not in {field.name for field in dataclasses.fields(method.config)}:
        raise UserError(f"--ablation: algorithm {method.algo!r} has no option {option!r}")
    values = [_parsed(method, option, text) for text in ablated.values] or list(_values(hint))
    if len(values) < (1 if ablated.values else 2):
        raise UserError(
            f"--ablation: {method.algo}.{option} is not an option of a few values; name them as in "
            f"{method.algo}.{option}=VALUE,VALUE"
        )
    for value in values:
        label = value.name if isinstance(value, Enum) else str(value).lower()
        try:
            yield label, replace(method, config=replace(method.config, **{option: value}))
        except (ValueError, OSError) as error:
            raise UserError(f"--{method.algo}.{option} {label}: {' '.join(str(error).split())}") from error


def _parsed(method: Method, option: str, text: str) -> Any:
    """A value of an option from its text, read as any argument is."""
    key = f"{method.algo}.{option}"
    options = [each for each in options_of(type(method.config), f"{method.algo}.") if each.key == key]
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    add_options(parser, options)
    return parse(parser, options, [f"--{key}={text}"])[key]


def _values(hint: Any) -> Iterator[Any]:
    if get_origin(hint) is Literal:
        yield from get_args(hint)
    elif get_origin(hint) in (Union, types.UnionType):
        for part in get_args(hint):
            yield from _values(part)
    elif hint is bool:
        yield from (True, False)
    elif isinstance(hint, type) and issubclass(hint, Enum):
        yield from hint
