"""A search over an algorithm's settings: plan it, run its trials, write down what came of them.

The folder of a search holds ``config.yaml`` (the default setting's run), ``tune.yaml`` (how it is searched),
``trials.json`` (every trial), ``trials/NNN`` (each trial's figures and checkpoint) and ``best.yaml``.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console

from autosim.errors import UserError
from autosim.formats.parts import find_places
from autosim.parallel import tell_if_ray_dies
from autosim.runs.folder import RUNS, check_free, default_folder, locked
from autosim.runs.opening import choose_device, open_environment
from autosim.runs.summary import versions
from autosim.tuning.display import TuneDisplay, trials_table
from autosim.tuning.ray_trials import Listener, cluster_cpus, run_trials
from autosim.tuning.records import Records, TrialRecord, read_trials, write_best
from autosim.tuning.request import TuneRequest
from autosim.tuning.settings import grid_settings, optuna_distributions, random_settings
from autosim.tuning.trial import configured


def tune(request: TuneRequest, console: Console, command: str) -> bool:
    """Search, or go on with a search; returns whether it came to its end, which Ctrl-C prevents.

    ``UserError`` where the search cannot be made (nothing is written then) and where every trial failed.
    """
    check(request)
    path = request.resume or request.out or default_folder(request.config, RUNS / "tune")
    if request.resume is None:
        check_free(path)
    workers = request.config.settings.workers
    cpus = cluster_cpus()
    if workers > cpus:
        raise UserError(f"--workers: {workers} for each trial do not fit: Ray has {cpus} CPUs here")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output folder {path}: {error.strerror or error}") from error
    tell_if_ray_dies(f"autosim tune --resume {path} goes on")
    with locked(path):
        records = Records(path, request.settings.mode, header(request, command), read_trials(path))
        plan(request, records)
        request.write(path)
        records.save()
        concurrent = max(1, min(request.settings.concurrent or cpus, cpus // max(1, workers)))
        search(request, path, records, concurrent, console)
        return conclude(request, path, records, console)


def check(request: TuneRequest) -> None:
    """``UserError`` where the environment, the device, the metric or Optuna cannot be had."""
    own = request.config.settings.target
    if request.settings.metric == "val_score" and own.given and "validation" not in find_places(own):
        raise UserError("the target is unlabelled: there is no val_score to go by; name another figure with --metric")
    open_environment(request.config)
    choose_device(request.config.settings.device)
    if request.settings.search == "optuna":
        optuna_distributions(request.space)


def plan(request: TuneRequest, records: Records) -> None:
    """Add the trials that the search is to make and does not know yet; those that were cut off wait again."""
    for trial in records.trials:
        if not trial.ended:
            trial.state = "waiting"
    known = [trial.setting for trial in records.trials] or [request.default]
    if request.settings.search == "grid":
        settings = grid_settings(request.space, request.default)
    elif request.settings.search == "random":
        settings = random_settings(request.space, known, request.samples, request.config.settings.seed)
    else:
        settings = known
    for number in range(len(records.trials), len(settings)):
        records.trials.append(TrialRecord(number, settings[number]))


def search(request: TuneRequest, path: Path, records: Records, concurrent: int, console: Console) -> None:
    """Run what is left; a second Ctrl-C ends it at once."""
    config, total = request.config, request.samples
    if request.settings.search != "optuna":
        total = len(records.trials)
    left = total - sum(trial.ended for trial in records.trials)
    if left <= 0:
        return
    words = f"{config.algo} on {config.env}: {left} of {total} trials, {concurrent} at once, in {path}"
    console.print(f"tuning {', '.join(request.space)} of {words}", highlight=False, soft_wrap=True)
    if config.settings.budget.unlimited:
        note = f"no --budget: each trial makes {config.algo_config.iterations} iterations, whatever they cost"
        console.print(note, highlight=False, soft_wrap=True)
    with TuneDisplay(console, records, total, request.settings.metric) as display:
        try:
            run_trials(request, path, records, left, concurrent, Listener(records, display.changed))
        except KeyboardInterrupt:
            records.save()


def conclude(request: TuneRequest, path: Path, records: Records, console: Console) -> bool:
    """Table and ``best.yaml`` of what has been tried; whether nothing is left to try."""
    config, metric = request.config, request.settings.metric
    records.save()
    title = f"{config.algo} on {config.env}, seed {config.settings.seed}: {len(records.trials)} trials, best first"
    console.print(trials_table(records, list(request.space), metric).rich(title))
    best, default = records.best, records.trials[0]
    if best is not None:
        words = f"trial {best.number} of {len(records.trials)}: {metric} {best.value:.4f}"
        if default.value is not None and default.state != "failed":
            words += f", the default setting's {default.value:.4f}"
        write_best(path, configured(config, best.setting).to_dict(), words)
        console.print(f"best {words}; {path / 'best.yaml'}", highlight=False, soft_wrap=True)
    left = max(request.samples if request.settings.search == "optuna" else 0, len(records.trials))
    left -= sum(trial.ended for trial in records.trials)
    if left:
        words = f"stopped with {left} trials left; to go on: autosim tune --resume {path}"
        console.print(words, highlight=False, soft_wrap=True)
    elif best is None:
        raise UserError(f"all {len(records.trials)} trials failed; the first: {default.error}")
    return left == 0


def header(request: TuneRequest, command: str) -> dict[str, Any]:
    """What ``trials.json`` says of the search as a whole."""
    return {
        "algo": request.config.algo,
        "env": request.config.env,
        "metric": request.settings.metric,
        "mode": request.settings.mode,
        "space": {name: repr(dimension) for name, dimension in request.space.items()},
        "command": command,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": versions(),
    }
