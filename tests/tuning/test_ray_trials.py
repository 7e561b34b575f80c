"""Searches on Ray Tune: what it is handed, and whole searches in processes of their own."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from rich.console import Console

from autosim.cli.run_options import parse_run
from autosim.cli.tune_options import parse_tune
from autosim.errors import UserError
from autosim.tuning.ray_trials import Listener, optuna_adviser, resources, scheduler, searcher, trainable
from autosim.tuning.records import Records, TrialRecord
from autosim.tuning.request import TuneRequest
from autosim.tuning.settings import inside
from autosim.tuning.trial import run_trial
from autosim.tuning.tune import conclude, plan
from tests.support.processes import ForkedCommand, autosim
from tests.support.toy import install_toy

TOY = ("--algo=walk", "--env=spot")
# Nothing is trained, so that a trial is short.
QUICK = (*TOY, "--algo.task_loss=false", "--metric=distance", "--mode=min")


def planned(*arguments: str) -> tuple[TuneRequest, Records, Listener]:
    request = parse_tune([*TOY, *arguments])
    records = Records(Path(), request.settings.mode, {})
    plan(request, records)
    return request, records, Listener(records, lambda record: None)


class Contest:
    """Trials that report to a scheduler as Tune would."""

    def __init__(self, judge: Any) -> None:
        self.judge = judge
        self.trials: dict[int, Any] = {}

    def report(self, number: int, progress: float, value: float) -> str:
        if number not in self.trials:
            self.trials[number] = SimpleNamespace(trial_id=f"t{number}", config={"number": number})
            self.judge.on_trial_add(None, self.trials[number])
        decision = self.judge.on_trial_result(None, self.trials[number], {"progress": progress, "value": value})
        return str(decision)


def test_halving_stops_the_worse_trials_but_never_the_default(toy: Path) -> None:
    request, records, listener = planned("--samples=4")
    contest = Contest(scheduler(request, records, listener))
    assert contest.report(1, 20.0, 0.5) == "CONTINUE"
    assert contest.report(1, 30.0, 0.5) == "CONTINUE"
    assert contest.report(2, 20.0, 0.1) == "CONTINUE"
    assert contest.report(0, 30.0, 0.0) == "CONTINUE"
    assert contest.report(2, 30.0, 0.1) == "STOP"
    assert contest.report(3, 30.0, 0.6) == "CONTINUE"
    assert listener.stopped == {2}


def test_halving_knows_trials_that_ended_before_the_search_was_resumed(toy: Path) -> None:
    request, records, listener = planned("--samples=3", "--mode=min")
    past = records.trials[0]
    past.state, past.curve = "done", [(10.0, None), (30.0, 0.4), (100.0, 0.2)]
    contest = Contest(scheduler(request, records, listener))
    assert not listener.stopped
    assert contest.report(1, 30.0, 0.3) == "CONTINUE"
    assert contest.report(2, 30.0, 0.5) == "STOP"


def test_trials_are_given_out_in_order_without_those_that_ended(toy: Path) -> None:
    request, records, _ = planned("--samples=4")
    records.trials[0].state, records.trials[2].state = "done", "failed"
    source = searcher(request, records)
    given = [source.suggest(name) for name in "abc"]
    assert given[:2] == [{"number": n, "setting": records.trials[n].setting} for n in (1, 3)]
    assert given[2] == "FINISHED"


def test_optuna_suggests_after_the_default_and_learns_from_what_ended(toy: Path) -> None:
    pytest.importorskip("optuna")
    request, records, _ = planned("--samples=20", "--search=optuna", "--algo.scenes=4", "--mode=min")
    source = searcher(request, records)
    suggested = []
    for number in range(20):
        given = source.suggest(f"t{number}")
        assert given == {"number": number, "setting": records.trials[number].setting}
        value = abs(given["setting"]["step_size"] - 0.05)
        suggested.append(value)
        records.trials[number].state, records.trials[number].value = "done", value
        source.on_trial_complete(f"t{number}", {"value": value})
    assert source.suggest("t20") == "FINISHED"
    assert records.trials[0].setting == request.default == {"step_size": 0.15}
    assert all(inside(request.space, trial.setting) for trial in records.trials)
    assert sum(suggested[-5:]) < sum(suggested[:10]) / 2

    # Resumed, it neither suggests the same again nor has forgotten.
    resumed = optuna_adviser(request, records)
    fresh = [resumed.suggest(f"u{number}") for number in range(5)]
    assert not any(setting in [trial.setting for trial in records.trials] for setting in fresh)
    assert sum(abs(setting["step_size"] - 0.05) for setting in fresh) < sum(suggested[:10]) / 2


def test_a_trial_that_fails_is_told_to_optuna_as_failed(toy: Path) -> None:
    pytest.importorskip("optuna")
    request, records, _ = planned("--samples=3", "--search=optuna")
    source = searcher(request, records)
    for name in "abc":
        source.suggest(name)
    source.on_trial_complete("b", {"failed": "ValueError: no"})
    source.on_trial_complete("c", None, error=True)
    assert [trial.number for trial in records.trials] == [0, 1, 2]


def test_a_listener_tells_how_a_trial_ended(toy: Path) -> None:
    _, records, listener = planned("--samples=5")
    report = {"iterations": 1, "images": 4, "seconds": 0.5, "value": 0.5}
    for number in range(5):
        listener.started(number)
        listener.reported(number, {**report, "progress": 100.0 if number == 0 else 40.0})
    listener.stopped.add(1)
    listener.reported(2, {"failed": "ValueError: no"})
    for number in (0, 1, 2, 4):
        listener.ended(number)
    listener.died(3, "its process died")
    assert [trial.state for trial in records.trials] == ["done", "stopped", "failed", "failed", "running"]
    assert [trial.error for trial in records.trials] == [None, None, "ValueError: no", "its process died", None]


def test_a_trial_reserves_a_cpu_for_itself_or_one_for_each_worker() -> None:
    assert resources(0).bundles == [{"CPU": 1.0}]
    assert resources(2).bundles == [{"CPU": 1.0}, {"CPU": 1.0}] and resources(2).head_bundle_is_empty


def test_what_goes_wrong_in_a_trial_is_reported_in_a_line(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request, records, _ = planned("--metric=loss", "--samples=2", "--algo.task_loss=false")
    reports: list[dict[str, Any]] = []
    monkeypatch.setattr("ray.tune.report", reports.append)
    trial = trainable(request, Path())
    trial({"number": 0, "setting": records.trials[0].setting})
    trial({"number": 1, "setting": {"iterations": 0}})
    assert "UserError: --metric: 'loss' is no figure of walk" in reports[0]["failed"]
    assert reports[1:] == [{"failed": "ValueError: iterations: 0 is below 1"}]


def test_a_search_of_which_every_trial_failed_is_an_error_with_a_table(toy: Path) -> None:
    request, records, listener = planned("--samples=2")
    for number in (0, 1):
        listener.started(number)
        listener.reported(number, {"failed": "ValueError: no"})
        listener.ended(number)
    console = Console(file=io.StringIO(), width=140)
    with pytest.raises(UserError, match="all 2 trials failed; the first: ValueError: no"):
        conclude(request, Path(), records, console)
    assert not Path("best.yaml").exists() and console.file.getvalue().count("failed: ValueError: no") == 2  # type: ignore[attr-defined]


# Whole searches, each with a Ray of its own.


def tune(arguments: Sequence[str], environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return autosim(["tune", *arguments], environment, folder, timeout=240)


def wait_for(condition: Callable[[], bool], process: ForkedCommand) -> None:
    deadline = time.monotonic() + 150
    while not condition() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    assert condition(), process.communicate(timeout=60)


def trials(folder: Path) -> list[TrialRecord]:
    file = folder / "trials.json"
    return [TrialRecord(**entry) for entry in json.loads(file.read_text())["trials"]] if file.exists() else []


def lines(folder: Path, number: int) -> list[dict[str, Any]]:
    file = folder / "trials" / f"{number:03d}" / "metrics.jsonl"
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    return [{key: value for key, value in entry.items() if not key.endswith("seconds")} for entry in entries]


@pytest.mark.slow
def test_a_search_that_is_killed_ends_with_all_its_trials_when_it_is_resumed(toy: Path, tmp_path: Path) -> None:
    """Its trials have workers and share a small machine, and the best of them is a run."""
    environment, out = install_toy(tmp_path / "again"), toy / "out"
    arguments = [*QUICK, "--samples=3", "--grace=1", "--out=out", "--algo.iterations=8", "--algo.scenes=4"]
    arguments += ["--workers=2", "--concurrent=2", "--seed=5", "--algo.pause_seconds=0.2", "--checkpoint_every=2"]
    process = ForkedCommand(["tune", *arguments], environment, toy)

    def half_way() -> bool:
        ended = [trial for trial in trials(out) if trial.ended]
        running = [trial.number for trial in trials(out) if trial.state == "running"]
        return bool(ended) and any((out / f"trials/{number:03d}/checkpoint.pt").exists() for number in running)

    left: list[psutil.Process] = []
    try:
        wait_for(half_way, process)
    finally:
        left = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=60)
        _, alive = psutil.wait_procs(left, timeout=30)
    assert not alive
    before = trials(out)
    finished = [trial for trial in before if trial.ended]
    assert 1 <= len(finished) < 3
    stamps = {trial.number: (out / f"trials/{trial.number:03d}/metrics.jsonl").stat().st_mtime_ns for trial in finished}

    done = tune(["--resume=out"], environment, toy)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and "best trial" in done.stdout and "(default)" in done.stdout
    after = trials(out)
    assert [trial.state for trial in after] == ["done"] * 3 and [trial.iterations for trial in after] == [8] * 3
    assert [trial.setting for trial in after] == [trial.setting for trial in before]
    for trial in finished:
        assert after[trial.number] == trial
        assert (out / f"trials/{trial.number:03d}/metrics.jsonl").stat().st_mtime_ns == stamps[trial.number]
    told = sorted(int(number) for number in re.findall(r"^trial (\d)", done.stdout, re.MULTILINE))
    assert told == [trial.number for trial in before if not trial.ended]
    for trial in after:
        assert [line["iteration"] for line in lines(out, trial.number)] == list(range(8))
    assert not (out / ".ray").exists() and not (Path.home() / "ray_results" / "search").exists()

    best = min(after, key=lambda trial: trial.value or 0.0)
    assert json.loads((out / "trials.json").read_text())["best"] == best.number
    config = parse_run(["--config=out/best.yaml", "--workers=0", "--algo.pause_seconds=0"]).config
    assert {name: getattr(config.algo_config, name) for name in best.setting} == best.setting
    values: list[float] = []
    run_trial(config, Path("repeated"), "distance", "min", lambda report: values.append(report["value"]))
    assert values[best.iterations - 1] == best.value


def test_ctrl_c_keeps_the_state_and_says_how_to_go_on(tmp_path: Path, ignored_interrupts: None) -> None:
    environment, out = install_toy(tmp_path / "site"), tmp_path / "out"
    arguments = [*QUICK, "--samples=2", "--concurrent=1", "--out=out"]
    arguments += ["--algo.iterations=5000", "--algo.pause_seconds=0.1"]
    process = ForkedCommand(["tune", *arguments], environment, tmp_path)
    try:
        wait_for(lambda: bool(list(out.glob("trials/000/metrics.jsonl"))) and len(lines(out, 0)) > 1, process)
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert errors == "" and "stopped with 2 trials left; to go on: autosim tune --resume out" in output
    assert [trial.ended for trial in trials(out)] == [False] * 2
