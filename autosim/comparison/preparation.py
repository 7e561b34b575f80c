"""What the runs of a comparison share, made once before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autosim.comparison.plan import Comparison, ComparisonRun
from autosim.errors import UserError
from autosim.runs.config import RunConfig
from autosim.runs.planned import TARGETS, PlannedRun


@dataclass(frozen=True)
class Preparation:
    """What runs on a target share, computed before them; methods of ``also`` are set up once too, for what they
    cache.
    """

    config: RunConfig
    also: tuple[RunConfig, ...] = ()

    @property
    def what(self) -> str:
        """What it computes, in words."""
        if not self.also:
            return "scores that all are measured by"
        return f"set-up of {', '.join(config.algo for config in self.also)}"


def work_of(job: ComparisonRun, runs: Path) -> PlannedRun:
    """The run of a job, in its folder under ``runs``."""
    return PlannedRun(job.config, runs / job.name, f"autosim run --config runs/{job.name}/config.yaml")


def preparations(comparison: Comparison) -> list[Preparation]:
    """One for each target; the first sets every method up, for features do not depend on the target."""
    seed = comparison.seeds[0]
    result = []
    for i, target in enumerate(comparison.targets):
        configs = [comparison.job(method, target, seed).config for method in comparison.methods]
        result.append(Preparation(configs[0]))
        if i == 0:
            result.append(Preparation(configs[0], tuple(first_of_each(configs))))
    return result


def first_of_each(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """One configuration for each algorithm."""
    return list({config.algo: config for config in reversed(configs)}.values())[::-1]


def prepare(preparation: Preparation) -> None:
    """Compute prior and oracle scores of a target, or whatever setting up the methods ``also`` caches.

    ``UserError`` where a method cannot work on this target.
    """
    from autosim import registry
    from autosim.runs.closing import GrammarSource, closing_scores
    from autosim.runs.opening import choose_device, open_environment, open_session

    for config in preparation.also or (preparation.config,):
        env = open_environment(config)
        with open_session(config, env, choose_device(config.settings.device), TARGETS) as session:
            if not preparation.also:
                closing_scores(session, GrammarSource(env.prior()), config.settings.closing_networks)
                continue
            planned = replace(config.algo_config, iterations=config.iterations)
            try:
                registry.find_algorithm(config.algo)(session, planned)
            except UserError:
                raise
            except Exception as error:  # its runs will say so, each for itself
                print(f"{config.algo} could not be set up: {type(error).__name__}: {error}")
