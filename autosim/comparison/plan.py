"""What a comparison consists of: methods, targets, seeds, the budget and its checkpoints, and the runs they make."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from autosim.runs.config import RunConfig, RunSettings

# Shares of the budget at which what a method recommends is scored.
SHARES = (0.125, 0.25, 0.5, 1.0)
# Fresh networks whose mean a score is.
NETWORKS = 3
# Hidden targets to choose settings on, and those that nothing was ever chosen on.
TARGETS = {"tuning": (0, 1, 2), "unseen": tuple(range(110, 118))}
# What rows differ in where several options of a method are changed one at a time.
CHANGE = "change"
Part = Literal["test", "validation"]


@dataclass(frozen=True)
class Method:
    """One row of the comparison: an algorithm with its configuration. ``label`` is unique in a comparison; ``shown``
    says what of the target the method is shown.
    """

    label: str
    algo: str
    config: Any
    shown: str = ""


@dataclass(frozen=True)
class Measure:
    """How what a method recommends is scored: at ``shares`` of the budget, ascending and the last of them 1, by the
    mean of ``networks`` fresh networks on a ``part`` of the target.
    """

    shares: tuple[float, ...] = SHARES
    networks: int = NETWORKS
    part: Part = "test"


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
    """Methods under one budget of core-seconds on one environment. ``targets`` is (None,) where the environment has but
    one. ``known`` are files of results whose runs are not made again.
    """

    env: str
    env_config: Any
    methods: tuple[Method, ...]
    targets: tuple[int | None, ...]
    seeds: tuple[int, ...]
    settings: RunSettings
    workers: int
    out: Path
    measure: Measure = Measure()
    ablation: str | None = None
    known: tuple[Path, ...] = ()

    @property
    def runs(self) -> Path:
        """Folder of the run folders."""
        return self.out / "runs"

    @property
    def core_seconds(self) -> float:
        """The budget of a run."""
        limit = self.settings.budget.core_seconds
        assert limit is not None
        return limit

    def env_config_of(self, target: int | None) -> Any:
        """The environment's configuration with a target."""
        return self.env_config if target is None else replace(self.env_config, target_seed=target)

    def jobs(self) -> list[ComparisonRun]:
        """Every run, one target of all methods before the next: what is stopped early still compares like with like."""
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
