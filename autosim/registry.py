"""Algorithms and environments by name, found through the entry points of whatever packages are installed.

A package offers its own in its set-up, in the groups ``autosim.algorithms`` and ``autosim.envs``; ours use the same
door.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from autosim.errors import UserError

if TYPE_CHECKING:
    from autosim.algorithm import Algorithm
    from autosim.env import Env

ALGORITHMS = "autosim.algorithms"
ENVIRONMENTS = "autosim.envs"


def algorithm_names() -> list[str]:
    """Names of the algorithms on offer, sorted; nothing is imported."""
    return sorted(_offers(ALGORITHMS))


def environment_names() -> list[str]:
    """Names of the environments on offer, sorted; nothing is imported."""
    return sorted(_offers(ENVIRONMENTS))


def find_algorithm(name: str) -> type[Algorithm]:
    """The algorithm called ``name``; ``UserError`` where there is none, where it cannot be imported or is not one."""
    return _load(ALGORITHMS, name, "algorithm")


def find_environment(name: str) -> type[Env]:
    """The environment called ``name``; ``UserError`` where there is none, where it cannot be imported or is not one."""
    return _load(ENVIRONMENTS, name, "environment")


def _offers(group: str) -> dict[str, list[EntryPoint]]:
    offers: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=group):
        same = offers.setdefault(point.name, [])
        if all(point.value != other.value for other in same):
            same.append(point)
    return offers


def _load(group: str, name: str, noun: str) -> type:
    offers = _offers(group)
    if name not in offers:
        raise UserError(f"unknown {noun} {name!r}; there are: {', '.join(sorted(offers)) or 'none'}")
    if len(offers[name]) > 1:
        places = " and ".join(point.value for point in offers[name])
        raise UserError(f"{noun} {name!r} is offered by more than one package: {places}")
    point = offers[name][0]
    try:
        found = point.load()
    except Exception as error:  # whatever a third party's module raises on import
        raise UserError(f"{noun} {name!r} ({point.value}) cannot be imported: {one_line(error)}") from error
    if not isinstance(found, type) or not hasattr(found, "Config"):
        raise UserError(f"{noun} {name!r} ({point.value}) is not a class with a Config")
    return found


def one_line(error: BaseException) -> str:
    """An exception as one line: its type and its message."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
