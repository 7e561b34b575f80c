"""One trial, in this process: what it reports, and that it goes on as if it had never been cut off."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from autosim.cli.run_options import parse_run
from autosim.errors import UserError
from autosim.runs.config import RunConfig
from autosim.tuning.records import TrialRecord
from autosim.tuning.trial import Best, configured, run_trial


class CutOffError(BaseException):
    """What ends a trial from outside."""


def walk(*arguments: str) -> RunConfig:
    return parse_run(["--algo=walk", "--env=spot", "--workers=0", *arguments]).config


def tried(config: RunConfig, folder: str, metric: str = "distance", mode: str = "min", after: int = 0) -> list[Any]:
    """What a trial reports; it is cut off at report ``after``, if that is not 0."""
    reports: list[dict[str, Any]] = []

    def report(figures: dict[str, Any]) -> None:
        reports.append(figures)
        if len(reports) == after:
            raise CutOffError

    with contextlib.suppress(CutOffError):
        run_trial(config, Path(folder), metric, mode, report)
    return [{key: value for key, value in report.items() if not key.endswith("seconds")} for report in reports]


def metrics(folder: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.endswith("seconds")} for line in lines]


def test_every_iteration_reports_the_best_so_far_and_the_share_of_the_budget(toy: Path) -> None:
    config = walk("--algo.iterations=9", "--budget.images=20", "--algo.task_loss=false")
    reports = tried(config, "a")
    assert [report["images"] for report in reports] == [8, 12, 16, 20]
    assert [report["progress"] for report in reports] == [40.0, 60.0, 80.0, 100.0]
    distances = [line["distance"] for line in metrics("a")]
    assert [report["value"] for report in reports] == [min(distances[: i + 1]) for i in range(4)]
    assert parse_run(["--config=a/config.yaml"]).config == config
    assert torch.load("a/checkpoint.pt", weights_only=True)["iteration"] == 4


@pytest.mark.parametrize("after", [1, 3, 4, 7, 8])
def test_a_trial_that_was_cut_off_ends_as_if_it_had_not_been(toy: Path, after: int) -> None:
    config = walk("--checkpoint_every=3", "--algo.task_loss=false")
    whole = tried(config, "whole")
    first = tried(config, "parts", after=after)
    assert first == whole[:after]
    with Path("parts/metrics.jsonl").open("a") as file:
        file.write('{"iteration": 99, "dist')
    again = tried(config, "parts")
    assert again == whole
    assert metrics("parts") == metrics("whole") and len(whole) == 8
    states = [torch.load(f"{folder}/checkpoint.pt", weights_only=True) for folder in ("parts", "whole")]
    assert states[0]["images"] == states[1]["images"]
    assert torch.equal(states[0]["algorithm"]["generator"]["shift"], states[1]["algorithm"]["generator"]["shift"])


def test_only_what_comes_after_the_last_checkpoint_is_computed_again(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toy_sim.walk import Walk  # type: ignore[import-not-found,unused-ignore]

    config = walk("--checkpoint_every=3", "--algo.task_loss=false")
    tried(config, "a", after=7)
    steps: list[int] = []
    original = Walk.step

    def counting(self: Any, iteration: int) -> Any:
        steps.append(iteration)
        return original(self, iteration)

    monkeypatch.setattr(Walk, "step", counting)
    assert len(tried(config, "a")) == 8 and steps == [6, 7]
    assert len(tried(config, "a")) == 8 and steps == [6, 7]


def test_the_setting_takes_the_place_of_the_algorithm_s_own_values(toy: Path) -> None:
    config = configured(walk("--algo.scenes=3"), {"step_size": 0.5})
    assert (config.algo_config.step_size, config.algo_config.scenes) == (0.5, 3)
    with pytest.raises(ValueError, match="iterations: 0 is below 1"):
        configured(config, {"iterations": 0})


def test_a_metric_that_there_is_not_is_told_at_once_and_one_without_a_value_at_the_end(toy: Path) -> None:
    with pytest.raises(UserError, match=r"'loss' is no figure of walk.*distance"):
        tried(walk(), "a", metric="loss")
    config = walk("--algo.task_loss=false", "--algo.iterations=2")
    with pytest.raises(UserError, match="'val_score' was never a finite number"):
        tried(config, "b", metric="val_score", mode="max")
    assert len(metrics("b")) == 2


def test_the_best_passes_over_what_is_no_number() -> None:
    best = Best("max")
    given = [None, float("nan"), 0.3, 0.1, float("inf"), None, 0.4]
    assert [best.after(figure) for figure in given] == [None, None, 0.3, 0.3, 0.3, 0.3, 0.4]


def test_a_record_knows_again_what_was_reported_before() -> None:
    record = TrialRecord(0, {})
    reports = [
        {"iterations": i, "images": 10 * i, "seconds": 1.0, "progress": 25.0 * i, "value": 0.1 * i} for i in (1, 2, 3)
    ]
    for report in [*reports[:2], *reports]:
        record.take_in(report)
    assert (record.iterations, record.images, record.progress) == (3, 30, 75.0)
    assert [progress for progress, _ in record.curve] == [25.0, 50.0, 75.0]
