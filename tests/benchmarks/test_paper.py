"""The papers' experiments: what is asked of a figure, how rows are made of runs, distances of distributions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from algorithms.autosimulate import AutoSimulateConfig
from autosim.cli.run_options import configure
from autosim.errors import UserError
from autosim.reports.table import Table
from benchmarks.paper import chosen_rows, earlier_runs, held, number, summarise, table, with_earlier, work_of
from benchmarks.papers.experiments import EXPERIMENTS, road_numbers, total_variation
from benchmarks.papers.lmo import OTHER_ROWS
from benchmarks.papers.trial import Experiment, Trial
from benchmarks.record import made_now
from envs.aerial.env import structure_string


def experiment(bounds: dict[str, dict[str, float]]) -> Experiment:
    def nothing(*arguments: Any) -> Any:
        return {}

    return Experiment("A table", nothing, nothing, {"score": "score", "error": "error"}, {"a": {"score": 0.9}}, bounds)


def test_a_row_tells_the_median_the_spread_and_whether_the_worst_run_holds() -> None:
    made = experiment({"a": {"score": 0.8, "error": -0.1}})
    runs = [{"row": "a", "score": s, "error": e} for s, e in ((0.9, 0.02), (0.7, 0.1), (0.95, 0.05))]
    (row,) = summarise(made, runs)
    score, error = row["figures"]["score"], row["figures"]["error"]
    assert (score["median"], score["least"], score["largest"], score["published"]) == (0.9, 0.7, 0.95, 0.9)
    assert score["holds"] is False and error["holds"] is True
    assert held(score) == "≥ 0.800: no" and held(error) == "≤ 0.100: yes" and held({"bound": None}) == ""
    lines = table(made.figures, [row])["lines"]
    assert [line[1] for line in lines] == ["published", "ours, median of 3", "least to largest", "held to"]
    assert lines[2][2:] == ["0.700 to 0.950", "0.020 to 0.100"]


def test_one_run_has_no_spread_and_a_row_without_published_figures_no_line_for_them() -> None:
    made = experiment({})
    lines = table(made.figures, summarise(made, [{"row": row, "score": 0.9, "error": 0.1} for row in ("a", "b")]))[
        "lines"
    ]
    assert [line[:2] for line in lines] == [["a", "published"], ["", "ours, one run"], ["b", "ours, one run"]]


def test_what_a_run_never_reached_does_not_hold() -> None:
    runs: list[dict[str, Any]] = [{"row": "a", "score": 0.9, "error": None}, {"row": "a", "score": 0.9, "error": 0.01}]
    (row,) = summarise(experiment({"a": {"error": -0.1}}), runs)
    assert row["figures"]["error"]["holds"] is False and row["figures"]["score"]["holds"] is None


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.0, "0"), (1234.4, "1,234"), (12.34, "12.3"), (0.0512, "0.051")]
)
def test_numbers_have_three_digits_or_so(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_every_run_of_an_experiment_can_be_configured(name: str) -> None:
    trials = EXPERIMENTS[name].trials(2, {"digits": "bundled", "data_dir": None})
    assert len({trial.name for trial in trials}) == len(trials) and {trial.seed for trial in trials} == {0, 1}
    for trial in trials:
        config = work_of(trial, Path("runs")).config
        assert (config.algo, config.env, config.settings.seed) == (trial.algo, trial.env, trial.seed)
        # What the experiment needs is set by the environment.
        assert config.from_environment or trial.algo == "leap"
    assert set(EXPERIMENTS[name].bounds) <= {trial.row for trial in trials}


def test_experiments_on_photographs_take_meshes_and_images_from_a_folder(tmp_path: Path) -> None:
    for part in ("models", "val", "test"):
        (tmp_path / part).mkdir()
    names = [name for name in EXPERIMENTS if name.startswith("autosimulate-")]
    assert len(names) == 4
    for name in names:
        for trial in EXPERIMENTS[name].trials(1, {"digits": "bundled", "data_dir": tmp_path}):
            config = work_of(trial, Path("runs")).config
            assert config.env_config.meshes == tmp_path / "models" and config.env_config.width == 320
            target = config.settings.target
            assert (target.validation, target.test) == (tmp_path / "val", tmp_path / "test")
            assert trial.row in EXPERIMENTS[name].published or name != "autosimulate-table3" or trial.row in OTHER_ROWS


TRIALS = [Trial(row, "random", "lmo", {}, {}, seed) for row in ("a", "b", "c") for seed in range(2)]


def test_rows_are_chosen_by_name_and_unknown_ones_refused() -> None:
    assert [trial.name for trial in chosen_rows(TRIALS, "c,a")] == ["a-s0", "a-s1", "c-s0", "c-s1"]
    assert chosen_rows(TRIALS, None) == TRIALS
    with pytest.raises(UserError, match="no row 'd'; there are: a, b, c"):
        chosen_rows(TRIALS, "a,d")


def test_rows_of_an_earlier_record_are_kept_unless_they_were_made_again(tmp_path: Path) -> None:
    earlier = [{"row": row, "seed": 0, "score": 0.1} for row in ("c", "b", "gone")]
    made = [{"row": "b", "seed": seed, "score": 0.9} for seed in (1, 0)]
    runs = with_earlier(made, earlier, TRIALS)
    assert [(run["row"], run["seed"], run["score"]) for run in runs] == [("b", 0, 0.9), ("b", 1, 0.9), ("c", 0, 0.1)]
    path = tmp_path / "paper.json"
    shown = Table(("row",), (("b",),), "l")
    made_now("python", shown, [], details={"experiment": "x", "runs": earlier}).write(path)
    assert earlier_runs(path, "x") == earlier and earlier_runs(None, "x") == []
    with pytest.raises(UserError, match="has no runs of y"):
        earlier_runs(path, "y")
    for content, fault in (("[]", f"{path}: not a mapping"), ("# no record", f"{path} cannot be read")):
        path.write_text(content)
        with pytest.raises(UserError, match=re.escape(fault)):
            earlier_runs(path, "x")


def test_total_variation_is_half_the_absolute_difference() -> None:
    p, q = np.array([0.5, 0.5]), np.array([0.25, 0.5, 0.25])
    assert total_variation(p, q) == total_variation(q, p) == pytest.approx(0.25)
    assert total_variation(p, p) == 0 and total_variation(np.array([1.0]), np.array([0.0, 1.0])) == 1


def test_roads_and_their_cars_are_counted() -> None:
    found = road_numbers([structure_string([2, 0, 3]), structure_string([]), structure_string([5])])
    assert found == {"roads": [3, 0, 1], "first": [2, 5], "others": [0, 3]}


def test_the_published_autosimulate_goes_on_training_and_the_plain_command_on_lmo_does_not() -> None:
    trials = EXPERIMENTS["autosimulate-table3"].trials(1, {"digits": "bundled", "data_dir": None})
    found = {trial.row: work_of(trial, Path("runs")).config.algo_config for trial in trials}
    published, plain = found["AutoSimulate linear"], configure("autosimulate", "lmo", {}).algo_config
    assert isinstance(published, AutoSimulateConfig) and isinstance(plain, AutoSimulateConfig)
    assert found["AutoSimulate restarted"] == plain and plain.restart and not published.restart
