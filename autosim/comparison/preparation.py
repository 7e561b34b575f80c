"""What the runs of a comparison share, made once before them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from autosim.comparison.measuring import MeasuredRun, References, measure_references
from autosim.comparison.plan import Comparison, ComparisonRun
from autosim.errors import UserError
from autosim.runs.config import RunConfig
from autosim.runs.planned import TARGETS, PlannedRun


@dataclass(frozen=True)
class SetUp:
    """Methods that are set up once, for what they cache; features do not depend on the target."""

    configs: tuple[RunConfig, ...]


Preparation = References | SetUp


def work_of(comparison: Comparison, job: ComparisonRun) -> MeasuredRun:
    """What there is to do for a job, in its folder."""
    command = f"autosim run --config runs/{job.name}/config.yaml"
    run = PlannedRun(job.config, comparison.runs / job.name, command)
    return MeasuredRun(run, comparison.core_seconds, comparison.measure)


def references_of(comparison: Comparison, target: int | None) -> References:
    """What there is to do for a target."""
    config = comparison.job(comparison.methods[0], target, comparison.seeds[0]).config
    name = "target" if target is None else f"t{target}"
    return References(config, comparison.measure, comparison.out / "references" / f"{name}.json")


def told(preparation: Preparation) -> str:
    """What it computes, in words."""
    if isinstance(preparation, References):
        return f"start, broad randomisation and oracle of {preparation.path.stem}"
    return f"set-up of {', '.join(config.algo for config in preparation.configs)}"


def set_up_of(jobs: Iterable[ComparisonRun]) -> SetUp:
    """The configuration of the first of these runs of each algorithm."""
    configs: dict[str, RunConfig] = {}
    for job in jobs:
        configs.setdefault(job.config.algo, job.config)
    return SetUp(tuple(configs.values()))


def prepare(preparation: Preparation) -> None:
    """Compute what it says. ``UserError`` where a method cannot work on this target."""
    if isinstance(preparation, References):
        measure_references(preparation)
    else:
        set_up(preparation.configs)


def set_up(configs: Sequence[RunConfig]) -> None:
    """Set methods up, which leaves in the cache what their runs share."""
    from autosim import registry
    from autosim.runs.opening import choose_device, open_environment, open_session

    for config in configs:
        env = open_environment(config)
        with open_session(config, env, choose_device(config.settings.device), TARGETS) as session:
            planned = replace(config.algo_config, iterations=config.iterations)
            try:
                registry.find_algorithm(config.algo)(session, planned)
            except UserError:
                raise
            except Exception as error:  # its runs will say so, each for itself
                print(f"{config.algo} could not be set up: {type(error).__name__}: {error}")
