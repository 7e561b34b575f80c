"""What a comparison consists of: methods, targets, seeds, the rule for the target score, and the runs they make."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autosim.runs.config import RunConfig, RunSettings


@dataclass(frozen=True)
class Method:
    """One row of the comparison: an algorithm with its configuration. ``label`` is unique in a comparison."""

    label: str
    algo: str
    config: Any


@dataclass(frozen=True)
class TargetRule:
    """How the score to be reached is defined, fixed before the runs: ``score`` itself, or the median that ``setter``
    (the label of a method) reaches on a target within the budget.
    """

    score: float | None
    setter: str

    def __str__(self) -> str:
        if self.score is not None:
            return f"{self.score:g}, given"
        return f"the median over seeds of the best validation score that {self.setter} reaches within the budget"


@dataclass(frozen=True)
class ComparisonRun:
    """One run of a comparison: its place in the tables, the name of its folder and its configuration."""

    label: str
    target: int | None
    seed: int
    name: str
    config: RunConfig


@dataclass(frozen=True)
class Comparison:
    """Methods under one budget on one environment. ``targets`` is (None,) where the environment has but one;
    ``reference`` is the label of the method that the others are measured by.
    """

    env: str
    env_config: Any
    methods: tuple[Method, ...]
    targets: tuple[int | None, ...]
    seeds: tuple[int, ...]
    settings: RunSettings
    rule: TargetRule
    workers: int
    out: Path
    reference: str
    ablation: str | None = None

    @property
    def runs(self) -> Path:
        """Folder of the run folders."""
        return self.out / "runs"

    def env_config_of(self, target: int | None) -> Any:
        """The environment's configuration with a target."""
        return self.env_config if target is None else replace(self.env_config, target_seed=target)

    def jobs(self) -> list[ComparisonRun]:
        """Every run, one seed of all methods before the next: what is stopped early still compares like with like."""
        return list(self._jobs())

    def _jobs(self) -> Iterator[ComparisonRun]:
        for seed in self.seeds:
            for target in self.targets:
                for method in self.methods:
                    yield self.job(method, target, seed)

    def job(self, method: Method, target: int | None, seed: int) -> ComparisonRun:
        """The run of a method on a target with a seed; it renders and trains in one process, with one thread."""
        config = RunConfig(
            algo=method.algo,
            env=self.env,
            algo_config=method.config,
            env_config=self.env_config_of(target),
            settings=replace(self.settings, seed=seed, workers=0),
        )
        place = f"s{seed}" if target is None else f"t{target}-s{seed}"
        variant = method.algo if self.ablation is None else f"{method.algo}-{method.label}"
        return ComparisonRun(method.label, target, seed, f"{variant}-{place}", config)
