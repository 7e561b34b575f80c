"""Which runs of a comparison count as made: those of the same configuration, whatever options came later."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from algorithms.metasim import MetaSimConfig
from autosim.cli.run_options import parse_run
from autosim.errors import UserError
from autosim.runs.config import RunConfig, RunSettings
from autosim.runs.planned import PlannedRun, is_finished, make_run
from envs.mnist.env import MnistConfig

SUMMARY = {"algo": "a", "env": "b", "seed": 0, "iterations": 1, "images": 2, "seconds": 0.5, "date": "2026-01-01"}


def finished(folder: Path, config: dict[str, Any]) -> None:
    """What is looked at of a finished run."""
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "summary.json").write_text(json.dumps({**SUMMARY, "interrupted": False}))


@pytest.mark.parametrize(("part", "option"), [("algo", "score_every"), ("env", "yaw_std"), ("ray", "patience")])
def test_options_that_a_run_did_not_know_yet_count_as_their_defaults(tmp_path: Path, part: str, option: str) -> None:
    config = RunConfig("metasim", "mnist", MetaSimConfig(), MnistConfig(), RunSettings(workers=0))
    older = config.to_dict()
    del older[part][option]
    finished(tmp_path, older)
    assert is_finished(PlannedRun(config, tmp_path, ""))


def test_a_run_that_lacks_an_option_is_another_where_that_is_not_the_default(tmp_path: Path) -> None:
    config = RunConfig("metasim", "mnist", MetaSimConfig(), MnistConfig(yaw_std=15.0), RunSettings(workers=0))
    older = config.to_dict()
    del older["env"]["yaw_std"]
    finished(tmp_path, older)
    with pytest.raises(UserError, match=r"env\.yaw_std: 0\.0 there, 15\.0 here"):
        is_finished(PlannedRun(config, tmp_path, ""))


SHORT = ("--algo=random", "--env=mnist", "--env.train_frames=2", "--workers=0", "--algo.frames=2", "--algo.epochs=1")


@pytest.mark.usefixtures("blank_pictures", "one_thread")
def test_a_planned_run_shows_its_progress_on_the_console_that_it_gets(tmp_path: Path) -> None:
    config = parse_run([*SHORT, "--algo.datasets=1", "--budget.iterations=1"]).config
    shown, work = io.StringIO(), PlannedRun(config, tmp_path / "run", "")
    make_run(work, console=Console(file=shown))
    assert "iteration" in shown.getvalue() and is_finished(work)


@pytest.mark.usefixtures("blank_pictures", "one_thread")
def test_a_planned_run_that_was_interrupted_goes_on_from_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from algorithms.searches.random_search import RandomSearch

    config = parse_run([*SHORT, "--algo.datasets=1", "--budget.iterations=3", "--checkpoint_every=1"]).config
    work, steps, step = PlannedRun(config, tmp_path / "run", ""), [], RandomSearch.step

    def interrupted_once(search: RandomSearch, iteration: int) -> dict[str, Any]:
        steps.append(iteration)
        if steps == [0, 1]:
            raise KeyboardInterrupt
        return dict(step(search, iteration))

    monkeypatch.setattr(RandomSearch, "step", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        make_run(work)
    assert not is_finished(work)
    make_run(work)
    assert is_finished(work) and steps == [0, 1, 1, 2]
