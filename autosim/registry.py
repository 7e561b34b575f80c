"""Algorithms and environments by name, found through the entry points of whatever packages are installed.

A package offers its own in its set-up, in the groups ``autosim.algorithms`` and ``autosim.envs``; ours use the same
door.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import TYPE_CHECKING

from autosim.errors import LONGEST_NAME, UserError, did_you_mean, shortened

if TYPE_CHECKING:
    from autosim.algorithm import Algorithm
    from autosim.env import Env

DISTRIBUTION = "autosim-engine"
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


@dataclass(frozen=True)
class Installed:
    """A part that is installed. ``text`` is a sentence about it; where it does not ``work``, the reason."""

    name: str
    works: bool
    text: str


def installed(group: str) -> list[Installed]:
    """The parts of a group, sorted by name; each is imported."""
    noun = {ALGORITHMS: "algorithm", ENVIRONMENTS: "environment"}[group]
    found = []
    for name in sorted(_offers(group)):
        try:
            found.append(Installed(name, True, first_sentence(_load(group, name, noun).__doc__)))
        except UserError as error:
            found.append(Installed(name, False, str(error).removeprefix(f"{noun} {name!r} ")))
    return found


def first_sentence(text: str | None) -> str:
    """The first sentence of a docstring, without marks of code."""
    words = " ".join((text or "").split("\n\n")[0].split()).replace("``", "")
    return words.partition(". ")[0].removesuffix(".")


def installed_version() -> str:
    """The version of autosim that is installed; ``UserError`` where it is run without being installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        raise UserError(f"{DISTRIBUTION} is not installed, so that its version is not known") from None


def _offers(group: str) -> dict[str, list[EntryPoint]]:
    """By name; read again only where a folder that packages are imported from has changed."""
    return _read_offers(group, tuple((folder, _changed(folder)) for folder in sys.path))


def _changed(folder: str) -> int:
    try:
        return os.stat(folder or ".").st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=8)
def _read_offers(group: str, folders: tuple[tuple[str, int], ...]) -> dict[str, list[EntryPoint]]:
    offers: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=group):
        same = offers.setdefault(point.name, [])
        if all(point.value != other.value for other in same):
            same.append(point)
    return offers


def _load(group: str, name: str, noun: str) -> type:
    offers = _offers(group)
    if name not in offers:
        near = did_you_mean(name, sorted(offers)) + f"; there are: {', '.join(sorted(offers)) or 'none'}"
        raise UserError(f"unknown {noun} {shortened(repr(name), LONGEST_NAME)}{near}")
    if len(offers[name]) > 1:
        places = " and ".join(point.value for point in offers[name])
        raise UserError(f"{noun} {name!r} is offered by more than one package: {places}")
    point = offers[name][0]
    try:
        found = point.load()
    except (Exception, SystemExit) as error:  # whatever a third party's module raises on import
        raise UserError(f"{noun} {name!r} ({point.value}) cannot be imported: {one_line(error)}") from error
    if not isinstance(found, type) or not hasattr(found, "Config"):
        raise UserError(f"{noun} {name!r} ({point.value}) is not a class with a Config")
    return found


def one_line(error: BaseException) -> str:
    """An exception as one line: its type and its message."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
