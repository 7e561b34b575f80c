"""Dataclasses as command-line options: one ``--prefix.field`` for each field, nested dataclasses included.

The string below a field, or its entry under ``Attributes:`` or ``Args:`` in the class docstring, is its help text.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass
from functools import cache
from typing import Any, TypeVar, get_type_hints

from jsonargparse import ArgumentParser

from autosim.errors import LONGEST_NAME, UserError, did_you_mean, shortened
from autosim.ranges import Rule, rules

T = TypeVar("T")


@dataclass(frozen=True)
class Option:
    """One option: its dotted ``key``, type, default (``MISSING`` where it must be given), help and group title."""

    key: str
    hint: Any
    default: Any
    help: str
    group: str


def options_of(config: type, prefix: str = "", title: str = "") -> Iterator[Option]:
    """The options of a dataclass, those of its nested dataclasses after each field that holds one."""
    hints, helps = get_type_hints(config), field_help(config)
    allowed = rules(config)
    title = title or config.__name__
    for field in dataclasses.fields(config):
        if not field.init:
            continue
        key = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(hints[field.name]):
            nested = hints[field.name]
            defaults = _default(field)
            for option in options_of(nested, f"{key}.", _first_line(helps.get(field.name, "")) or nested.__name__):
                yield dataclasses.replace(
                    option, default=_look_up(defaults, option.key[len(key) + 1 :], option.default)
                )
        else:
            text = with_range(helps.get(field.name) or field.name.replace("_", " "), allowed.get(field.name))
            yield Option(key, hints[field.name], _default(field), text, title)


def with_range(text: str, rule: Rule | None) -> str:
    """A help text with the range of the option's values, unless the text names it."""
    range_text = str(rule.range) if rule is not None and rule.range is not None else ""
    return text if not range_text or f"({range_text})" in text else f"{text} ({range_text})"


def add_options(parser: ArgumentParser, options: Sequence[Option]) -> None:
    """Offer options on a parser, in groups by title."""
    groups: dict[str, Any] = {}
    for option in options:
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        arguments: dict[str, Any] = {"type": option.hint, "help": option.help}
        if option.default is MISSING:
            arguments["required"] = True
        else:
            arguments["default"] = option.default
        groups[option.group].add_argument(f"--{option.key}", **arguments)


def build(config: type[T], values: Mapping[str, Any], prefix: str = "") -> T:
    """An instance of a dataclass from parsed values by dotted key; ``UserError`` names an option out of range."""
    hints = get_type_hints(config)
    arguments: dict[str, Any] = {}
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        if not field.init:
            continue
        key = f"{prefix}{field.name}"
        nested: Any = hints[field.name]
        is_nested = dataclasses.is_dataclass(nested)
        arguments[field.name] = build(nested, values, f"{key}.") if is_nested else values[key]
    try:
        return config(**arguments)
    except (ValueError, OSError) as error:
        message = " ".join(str(error).split())
        field_named = re.match(r"(\w+)\b", message)
        named = field_named is not None and field_named.group(1) in arguments
        raise UserError(f"--{prefix}{message}" if named else f"--{prefix.rstrip('.')}: {message}") from error


def parse(parser: ArgumentParser, options: Sequence[Option], arguments: list[str], source: str = "") -> dict[str, Any]:
    """Values by dotted key; ``UserError`` in one line, led by ``source``, where an argument is wrong."""
    keys = [option.key for option in options]
    try:
        namespace = parser.parse_args([spelled_out(argument, keys) for argument in arguments])
    except (argparse.ArgumentError, ValueError, TypeError) as error:
        raise UserError(source + tidy(str(error), keys)) from error
    return {key: namespace[key] for key in keys}


def spelled_out(argument: str, known: Sequence[str]) -> str:
    """An argument with the option's whole key: a group's ``folder`` may be given by the group's name alone, as in
    ``--target DIR``, and an environment's option of its engine by the engine alone, as in ``--engine.NAME PATH``.
    """
    name, given, value = argument.partition("=")
    if name.startswith("--engine.") and (own := f"env.{name.removeprefix('--engine.')}") in known:
        return f"--{own}{given}{value}"
    return f"{name}.folder{given}{value}" if f"{name.removeprefix('--')}.folder" in known else argument


def tidy(message: str, known: Sequence[str]) -> str:
    """What a parser complains about, as one line about an option."""
    message = " ".join(message.split())
    if unrecognised := re.match(r"unrecognized arguments: (\S+)", message, re.IGNORECASE):
        given = unrecognised.group(1).split("=")[0]
        return unknown_option(given, known) if given.startswith("-") else f"unexpected argument {given!r}"
    if without_value := re.match(r"argument (\S+): expected one argument", message):
        return f"{without_value.group(1)}: needs a value"
    if not (wrong := re.match(r'Parser key "([^"]+)": (.*)', message)):
        return message
    option, complaint = wrong.groups()
    if union := re.search(r"Subtypes: \[(.*?)\] Errors: .*Given value: (.*)", complaint):
        complaint = f"expected {_type_name(union.group(1)).replace(', ', ' or ')}, found {union.group(2)}"
    elif simple := re.match(r"Expected an? (.*)\. Got value: (.*)", complaint):
        choices = re.findall(r"'([^']*)'", simple.group(1))
        near = did_you_mean(simple.group(2), choices)
        found = shortened(simple.group(2), LONGEST_NAME)
        complaint = f"expected {_type_name(simple.group(1))}, found {found}{near}"
    return f"--{option}: {complaint}"


def _type_name(text: str) -> str:
    text = re.sub(r"<class '([\w.]+)'>", r"\1", text).replace("NoneType", "null")
    return re.sub(r"typing\.Literal\[(.*?)\]", r"one of \1", text)


def unknown_option(given: str, known: Sequence[str]) -> str:
    """The complaint about an option that does not exist, with the nearest one that does."""
    near = did_you_mean(given.lstrip("-"), known, "--{}")
    return f"unknown option {shortened(given, LONGEST_NAME)}{near or '; see --help'}"


@cache
def field_help(config: type) -> Mapping[str, str]:
    """Help text of each field by name, from the docstrings of a dataclass and of those that it extends."""
    from docstring_parser import ParseError, parse_from_object

    texts: dict[str, str] = {}
    for ancestor in reversed(config.__mro__):
        if not dataclasses.is_dataclass(ancestor):
            continue
        try:
            parameters = parse_from_object(ancestor).params
        except (ParseError, OSError, TypeError, SyntaxError):  # no source, or a docstring in some form of its own
            continue
        texts.update({p.arg_name: " ".join(p.description.split()) for p in parameters if p.description})
    return texts


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _look_up(value: Any, dotted: str, otherwise: Any) -> Any:
    for name in dotted.split("."):
        if value is MISSING:
            return otherwise
        value = getattr(value, name)
    return value


def _first_line(text: str) -> str:
    return text.split(". ")[0].rstrip(".")
