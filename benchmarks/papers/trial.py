"""What an experiment of a paper consists of: runs, what is measured of each, and what was published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autosim.runs.config import RunConfig


@dataclass(frozen=True)
class Trial:
    """One run: a row of its table, a method and an environment with their options, a seed, and other options of the
    run.
    """

    row: str
    algo: str
    env: str
    algo_options: Mapping[str, Any]
    env_options: Mapping[str, Any]
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.row}-s{self.seed}".replace(" ", "-").replace("+", "and")


Measure = Callable[[RunConfig, Path, Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Experiment:
    """A table or a figure of a paper.

    ``figures`` maps the names of what ``measure`` finds to their heads in the table; ``published`` has the paper's, by
    row and figure; ``bounds`` what we hold ours to, as "at least" (positive) or, with a minus, "at most". With
    ``photographs`` the folder of data has the targets' images; otherwise digits.
    """

    title: str
    trials: Callable[[int, Mapping[str, Any]], list[Trial]]
    measure: Measure
    figures: Mapping[str, str]
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    bounds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    photographs: bool = False
