"""A search on Ray Tune: which settings it tries, what it reserves for a trial, when it stops one, what it reports.

Ray Tune runs the trials; what lasts is kept by ourselves: each trial's own checkpoint, and ``trials.json``. Tune's
snapshots are ten seconds apart and not written whole, and leave out what the halving has seen; so a search that was
killed is not restored from them but begun anew, with the results of the trials that have ended; the others continue.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from autosim.parallel import start_ray
from autosim.registry import one_line
from autosim.runs.config import RunConfig, available_cpus
from autosim.tuning.records import Records, TrialRecord, scratch_folder, trial_folder
from autosim.tuning.request import TuneRequest
from autosim.tuning.settings import inside, optuna_distributions
from autosim.tuning.trial import configured, run_trial

# Times that a trial whose process died is begun again.
RETRIES = 2
ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths of a configuration stay valid
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial may have no value yet
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
}


@dataclass
class Listener:
    """Follows every trial: ``changed(record)`` when it starts, reports or ends."""

    records: Records
    changed: Callable[[TrialRecord], None]
    stopped: set[int] = field(default_factory=set)

    def started(self, number: int) -> None:
        """A trial was given a process."""
        self._change(number, state="running")

    def reported(self, number: int, result: Mapping[str, Any]) -> None:
        """A trial made an iteration, or failed."""
        record = self.records.trials[number]
        if "failed" in result:
            record.error = str(result["failed"])
        elif "iterations" in result:
            record.take_in(result)
        self.changed(record)

    def ended(self, number: int) -> None:
        """A trial came to its end, was stopped early, or is cut off with the whole search."""
        record = self.records.trials[number]
        if record.error is not None:
            self._change(number, state="failed")
        elif record.progress >= 100:
            self._change(number, state="done")
        elif number in self.stopped:
            self._change(number, state="stopped")

    def died(self, number: int, error: str) -> None:
        """A trial's process died more often than is put up with."""
        self._change(number, state="failed", error=error)

    def _change(self, number: int, **values: Any) -> None:
        record = self.records.trials[number]
        for name, value in values.items():
            setattr(record, name, value)
        self.records.save()
        self.changed(record)


def cluster_cpus() -> int:
    """CPUs that Ray has to give, which it starts or joins first."""
    for name, value in ENVIRONMENT.items():
        os.environ[name] = value
    start_ray(available_cpus())
    import ray

    return int(ray.cluster_resources().get("CPU", 0))


def run_trials(
    request: TuneRequest, path: Path, records: Records, left: int, concurrent: int, listener: Listener
) -> None:
    """Try what is left to try, ``left`` trials, ``concurrent`` at once; ``records`` holds the results afterwards.

    Returns early, with trials that have not ended, when Ctrl-C is pressed.
    """
    from ray import tune

    scratch = scratch_folder(path)
    tuner = tune.Tuner(
        tune.with_resources(trainable(request, path), resources(request.config.settings.workers)),
        tune_config=tune.TuneConfig(
            metric=None,
            num_samples=left,
            search_alg=searcher(request, records),
            scheduler=scheduler(request, records, listener),
            max_concurrent_trials=concurrent,
            reuse_actors=True,
            trial_dirname_creator=str,
        ),
        run_config=tune.RunConfig(
            name="search",
            storage_path=str(scratch.resolve()),
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            callbacks=[callback(listener)],
            verbose=0,
        ),
    )
    logger = logging.getLogger("ray.tune")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        tuner.fit()
    finally:
        logger.setLevel(level)
        shutil.rmtree(scratch, ignore_errors=True)


def resources(workers: int) -> Any:
    """What a trial reserves: a CPU for its own process, or one for each of its render workers and none for itself.

    Its workers ask Ray for no CPUs; reserved for them, these are not given to other trials. All of a trial's share is
    reserved at once, so that no two trials wait for what the other holds.
    """
    from ray import tune

    own: dict[str, float] = {"CPU": 0 if workers else 1}
    return tune.PlacementGroupFactory([own] + [{"CPU": 1} for _ in range(workers)])


def trainable(request: TuneRequest, path: Path) -> Callable[[dict[str, Any]], None]:
    """The function that Tune runs for a trial. An exception is reported, not raised: it would come again each time."""
    config: RunConfig = request.config
    settings, root = request.settings, path.resolve()

    def trial(given: dict[str, Any]) -> None:
        from ray import tune

        try:
            folder = trial_folder(root, given["number"])
            run_trial(configured(config, given["setting"]), folder, settings.metric, settings.mode, tune.report)
        except Exception as error:
            tune.report({"failed": one_line(error)})

    return trial


def searcher(request: TuneRequest, records: Records) -> Any:
    """Gives out the trials that have not ended, and then, if Optuna is to choose, what it suggests."""
    from ray.tune.search import Searcher

    waiting = [trial.number for trial in records.trials if not trial.ended]
    adviser = optuna_adviser(request, records) if request.settings.search == "optuna" else None

    class Given(Searcher):
        def __init__(self) -> None:
            super().__init__(metric="value", mode=request.settings.mode)
            self.numbers: dict[str, int] = {}
            self.advised: set[str] = set()

        def suggest(self, trial_id: str) -> Any:
            if waiting:
                record = records.trials[waiting.pop(0)]
            elif adviser is not None and len(records.trials) < request.samples:
                record = TrialRecord(len(records.trials), adviser.suggest(trial_id))
                records.trials.append(record)
                self.advised.add(trial_id)
            else:
                return Searcher.FINISHED
            self.numbers[trial_id] = record.number
            return {"number": record.number, "setting": record.setting}

        def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
            if adviser is None:
                return
            value = (result or {}).get("value")
            record = records.trials[self.numbers[trial_id]]
            if trial_id in self.advised:
                adviser.on_trial_complete(trial_id, {"value": value} if value is not None else None, value is None)
            elif value is not None and inside(request.space, record.setting):
                adviser.add_evaluated_point(record.setting, value)

        def save(self, checkpoint_path: str) -> None:
            Path(checkpoint_path).touch()

        def restore(self, checkpoint_path: str) -> None:
            raise NotImplementedError

        def __reduce__(self) -> Any:
            return Searcher, ()

    return Given()


def optuna_adviser(request: TuneRequest, records: Records) -> Any:
    """Optuna's TPE, which knows the results of all trials that have ended."""
    distributions = optuna_distributions(request.space)
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    from autosim import seeding

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # The sampler starts anew when a search is resumed: with the same seed it would suggest the same again.
    seed = seeding.integer_seed(request.config.settings.seed, "tuned setting", 1, len(records.trials))
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    adviser = OptunaSearch(distributions, metric="value", mode=request.settings.mode, sampler=sampler)
    for trial in records.trials:
        if trial.ended and trial.value is not None and inside(request.space, trial.setting):
            adviser.add_evaluated_point(trial.setting, trial.value)
    return adviser


def scheduler(request: TuneRequest, records: Records, listener: Listener) -> Any:
    """Asynchronous successive halving over the share of the budget used, or none.

    The default setting is never stopped, so that the best is compared with its result under the whole budget.
    """
    from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

    settings = request.settings
    if settings.scheduler == "none":
        return FIFOScheduler()

    class Halving(ASHAScheduler):
        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
            decision: str = super().on_trial_result(tune_controller, trial, result)
            if decision != TrialScheduler.STOP or trial.config["number"] == 0:
                return str(TrialScheduler.CONTINUE)
            listener.stopped.add(trial.config["number"])
            return decision

        def __reduce__(self) -> Any:
            return FIFOScheduler, ()

    halving = Halving(
        time_attr="progress",
        metric="value",
        mode=settings.mode,
        max_t=100,
        grace_period=max(1, round(100 * settings.grace)),
        reduction_factor=settings.reduction,
    )
    controller: Any = None
    for record in records.trials:
        if record.ended:
            past: Any = SimpleNamespace(trial_id=f"ended {record.number}", config={"number": record.number})
            halving.on_trial_add(controller, past)
            for progress, value in record.curve:
                if value is not None:
                    halving.on_trial_result(controller, past, {"progress": progress, "value": value})
    listener.stopped.clear()
    return halving


def callback(listener: Listener) -> Any:
    """A callback of Tune that passes its events on to ``listener``."""
    from ray import tune

    class Forward(tune.Callback):
        def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            listener.started(trial.config["number"])

        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            listener.reported(trial.config["number"], result)

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            listener.ended(trial.config["number"])

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            listener.died(trial.config["number"], "its process died")

        def __reduce__(self) -> Any:
            return tune.Callback, ()

    return Forward()
