"""The command line of a search, and the files from which one is resumed. Nothing here starts Ray."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from autosim.cli.main import main
from autosim.cli.tune_options import parse_tune, tune_help
from autosim.errors import UserError
from autosim.runs.folder import locked
from autosim.search_space import LogUniformRange, OneOf
from autosim.tuning.display import TuneDisplay
from autosim.tuning.records import Records, TrialRecord, read_trials
from autosim.tuning.request import TuneRequest
from autosim.tuning.tune import check, plan
from tests.support.toy import image_folder

TOY = ["--algo", "walk", "--env", "spot"]


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise AssertionError("Ray was started")

    monkeypatch.setattr("autosim.tuning.tune.cluster_cpus", refuse)


def begun(*arguments: str) -> TuneRequest:
    """A search of which the first trial has ended and the second was cut off, in the folder ``begun``."""
    request = parse_tune([*TOY, *arguments])
    path = Path("begun")
    path.mkdir()
    request.write(path)
    records = Records(path, "max", {})
    plan(request, records)
    records.trials[0].state, records.trials[1].state = "done", "running"
    records.save()
    return request


def test_options_given_are_fixed_and_the_others_tuned(toy: Path) -> None:
    request = parse_tune([*TOY, "--samples=5", "--search", "optuna", "--seed=3", "--algo.step-size=0.2"])
    assert dict(request.space) == {"scenes": OneOf((2, 4, 8))} and request.fixed == ("step_size",)
    assert (request.samples, request.settings.search, request.config.settings.seed) == (5, "optuna", 3)
    assert request.config.algo_config.step_size == 0.2 and request.default == {"scenes": 4}


def test_a_file_s_values_are_the_default_setting_and_are_tuned(toy: Path) -> None:
    Path("c.yaml").write_text("{algo: {name: walk, scenes: 6}, env: spot, workers: 3}")
    request = parse_tune(["--config=c.yaml", "--dimensions=scenes"])
    assert request.default == {"scenes": 6} and request.samples == 16
    assert list(parse_tune([*TOY]).space) == ["step_size", "scenes"]


def test_a_trial_has_workers_only_where_the_command_line_says_so(toy: Path) -> None:
    Path("c.yaml").write_text("{algo: walk, env: spot, workers: 3}")
    assert parse_tune(["--config=c.yaml"]).config.settings.workers == 0
    assert parse_tune(["--config=c.yaml", "--workers=1"]).config.settings.workers == 1


def test_a_search_is_taken_up_as_it_was_begun(toy: Path) -> None:
    request = begun("--samples=4", "--metric=distance", "--mode=min", "--algo.iterations=3", "--algo.scenes=2")
    resumed = parse_tune(["--resume=begun"])
    assert resumed.config == request.config and resumed.settings == request.settings
    assert resumed.space == request.space and resumed.fixed == request.fixed
    assert resumed.resume == Path("begun")
    repeated = parse_tune(["--resume=begun", *TOY, "--samples=4", "--algo.scenes=2", "--out=begun"])
    assert repeated.config == request.config and repeated.space == request.space
    larger = parse_tune(["--resume=begun", "--samples=6", "--concurrent=1", "--workers=1"])
    assert (larger.samples, larger.settings.concurrent, larger.config.settings.workers) == (6, 1, 1)

    records = Records(Path("begun"), "max", {}, read_trials(Path("begun")))
    settings = [trial.setting for trial in records.trials]
    plan(larger, records)
    assert [trial.state for trial in records.trials] == ["done"] + ["waiting"] * 5
    assert [trial.setting for trial in records.trials[:4]] == settings


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--algo=walk"], ["--env NAME is needed"]),
        ([*TOY, "--samples=0"], ["--samples: 0 is below 1"]),
        ([*TOY, "--samples=few"], ["--samples: expected int", "few"]),
        ([*TOY, "--search=guess"], ["--search", "'random', 'grid', 'optuna'", "guess"]),
        ([*TOY, "--grace=0"], ["--grace: 0.0 is not in (0, 1]"]),
        ([*TOY, "--reduction=1"], ["--reduction: 1.0 is not above 1"]),
        ([*TOY, "--concurrent=0"], ["--concurrent: 0 is below 1"]),
        ([*TOY, "--dimensions=scenes,pace"], ["--dimensions: 'pace'", "step_size, scenes"]),
        ([*TOY, "--dimensions=scenes", "--algo.scenes=3"], ["--dimensions: 'scenes' is also given"]),
        ([*TOY, "--algo.step_size=1", "--algo.scenes=3"], ["nothing is left to tune", "step_size, scenes"]),
        ([*TOY, "--search=grid", "--samples=9"], ["--samples: 9 is below the 10 settings of the grid"]),
        ([*TOY, "--target=images"], ["unlabelled", "--metric"]),
        ([*TOY, "--out=begun"], ["output folder begun is in use"]),
        ([*TOY, "--device=abacus"], ["--device", "abacus"]),
        ([*TOY, "--nothing=1"], ["unknown option --nothing"]),
        (["--resume=nowhere"], ["--resume nowhere: not the folder of a search", "config.yaml is missing"]),
        (["--resume=begun", "--seed=3"], ["--seed: 3 is not what begun was begun with, 0"]),
        (["--resume=begun", "--env=clevr"], ["begun"]),
        (["--resume=begun", "--algo.scenes=3"], ["--algo.scenes: 3 is not what begun was begun with, 4"]),
        (["--resume=begun", "--metric=distance"], ["--metric: distance", "val_score"]),
        (["--resume=begun", "--out=other"], ["--out other"]),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    toy: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], parts: list[str]
) -> None:
    begun("--samples=4")
    image_folder(toy / "images")
    before = sorted(toy.rglob("*"))
    assert main(["tune", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.err.startswith("autosim: ")
    for part in parts:
        assert part in captured.err
    assert sorted(toy.rglob("*")) == before


def test_an_algorithm_that_declares_nothing_is_not_tuned(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toy_sim.walk.Walk.search_space", classmethod(lambda cls: {}))
    with pytest.raises(UserError, match="'walk' declares no search space"):
        parse_tune(TOY)


def test_a_large_grid_must_be_meant(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = {"scenes": OneOf(tuple(range(1, 51))), "step_size": LogUniformRange(0.1, 1.0)}
    monkeypatch.setattr("toy_sim.walk.Walk.search_space", classmethod(lambda cls: space))
    with pytest.raises(UserError, match="below the 151 settings of the grid"):
        parse_tune([*TOY, "--search=grid"])
    assert parse_tune([*TOY, "--search=grid", "--samples=200"]).samples == 151


def test_without_optuna_the_search_says_what_to_install(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna.distributions", None)
    with pytest.raises(UserError, match="pip install optuna"):
        check(parse_tune([*TOY, "--search=optuna"]))


def test_more_workers_than_there_are_cpus_are_refused(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from autosim.tuning.tune import tune

    monkeypatch.setattr("autosim.tuning.tune.cluster_cpus", lambda: 2)
    with pytest.raises(UserError, match="--workers: 3 for each trial do not fit: Ray has 2 CPUs"):
        tune(parse_tune([*TOY, "--workers=3", "--out=a"]), Console(), "")
    assert not Path("a").exists()


def test_a_folder_in_use_is_left_alone(toy: Path) -> None:
    with locked(toy), pytest.raises(UserError, match="another process is at work"), locked(toy):
        pass
    with locked(toy):
        pass


@pytest.mark.parametrize("content", ["", "{}", '{"trials": [{"number": 0}]}', '{"trials": [{"surprise": 0}]}'])
def test_damaged_records_are_told(toy: Path, content: str) -> None:
    Path("trials.json").write_text(content)
    with pytest.raises(UserError, match=r"trials\.json: not the trials of a search"):
        read_trials(Path())


@pytest.mark.parametrize(("mode", "order"), [("max", [2, 3, 1, 0, 4]), ("min", [1, 2, 3, 0, 4])])
def test_the_best_is_first_and_failures_are_last(toy: Path, mode: Any, order: list[int]) -> None:
    trials = [TrialRecord(number, {}, "done", value) for number, value in enumerate([None, 0.2, 0.7, 0.7, 0.9])]
    trials[4].state = "failed"
    records = Records(Path(), mode, {"algo": "walk"}, trials)
    assert [trial.number for trial in records.ranked()] == order
    assert records.best is not None and records.best.number == order[0]
    records.save()
    content = json.loads(Path("trials.json").read_text())
    assert (content["algo"], content["best"]) == ("walk", order[0])
    assert read_trials(Path()) == trials
    assert Records(Path(), mode, {}, [trials[0], trials[4]]).best is None


def test_help_shows_options_of_tuning_and_of_runs(toy: Path) -> None:
    text = " ".join(tune_help(TOY).split())
    assert "--samples" in text and "--resume DIR" in text and "--budget.images" in text and "--algo.step_size" in text
    assert main(["tune", "--help"]) == 0


@pytest.mark.parametrize("terminal", [True, False])
def test_a_line_is_shown_for_each_trial_that_ends(toy: Path, terminal: bool) -> None:
    trials = [TrialRecord(number, {"step_size": 0.123456, "scenes": 4}) for number in range(3)]
    trials[0].state, trials[0].value = "done", 0.25
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=200)
    with TuneDisplay(console, Records(Path(), "max", {}, trials), 3, "val_score") as display:
        trials[1].state = "running"
        display.changed(trials[1])
        trials[1].take_in({"iterations": 7, "images": 1200, "seconds": 9.4, "progress": 40.0, "value": 0.5})
        display.changed(trials[1])
        trials[1].state = "stopped"
        display.changed(trials[1])
        display.changed(trials[1])
    line = (
        "trial 1 (2/3) · val_score 0.500 · 7 iterations, 1,200 images, 9 s · stopped early, at 40 % · "
        "step_size=0.1235, scenes=4"
    )
    shown = screen.getvalue()
    assert shown.count(line) == 1
    if not terminal:
        assert shown == f"{line}\n"
