"""Closing scores by class: in the summary and the report, from the cache, and their mean over networks."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from autosim.cli.run_options import parse_run
from autosim.formats.dataset import DataSet, LabelledImage
from autosim.formats.guess import WRITERS
from autosim.learning.tasks.task import TaskScore
from autosim.reports.run_page import class_section
from autosim.runs.checks import summary_fault
from autosim.runs.closing.scores import are_known_scores
from autosim.runs.loop import execute
from envs.clevr.scene import CLASSES

pytestmark = pytest.mark.usefixtures("blank_pictures")

TINY = [
    "--env.edge=16",
    "--env.train_frames=2",
    "--env.task=detection",
    "--env.detector.width=4",
    "--env.variant=scalar_rgb",
    "--algo.datasets=1",
    "--algo.epochs=1",
    "--budget.iterations=1",
]


def run(out: Path, *arguments: str) -> dict[str, Any]:
    """A run on four pictures of a box of each class."""
    folder = out.parent / "photos"
    if not folder.exists():
        pixels = np.full((16, 16, 3), 90, dtype=np.uint8)
        boxes = np.array([[0, 0, 6, 6], [8, 0, 14, 6], [4, 8, 12, 16]], dtype=np.float32)
        images = [LabelledImage(str(i), pixels, boxes, np.arange(3)) for i in range(4)]
        WRITERS["coco"](DataSet(CLASSES[1:], images), folder, None)
    words = ["--algo=random", "--env=clevr", "--workers=0", "--algo.frames=2", f"--target={folder}", f"--out={out}"]
    request = parse_run([*words, *TINY, *arguments])
    return execute(request.config, request.out, Console(file=io.StringIO()), "")


@pytest.mark.usefixtures("one_thread")
def test_a_detector_s_summary_and_report_tell_each_class(tmp_path: Path) -> None:
    summary = run(tmp_path / "a")
    found = summary["class_scores"]
    assert set(found) == {"prior", "learned", "broad"}
    for name, score in (("prior", "prior_score"), ("learned", "test_score"), ("broad", "broad_score")):
        assert list(found[name]) == ["sphere", "cube", "cylinder"]
        assert sum(found[name].values()) / 3 == pytest.approx(summary[score])
    assert json.loads((tmp_path / "a" / "summary.json").read_text())["class_scores"] == found
    report = (tmp_path / "a" / "report.html").read_text()
    assert "AP50 by class" in report and report.index("AP50 by class") < report.index("How far each attribute moved")
    # Those of the start and of broad randomisation come from the cache.
    again = run(tmp_path / "b", "--seed=1")
    assert [again["class_scores"][name] for name in ("prior", "broad")] == [found["prior"], found["broad"]]


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_kitti_s_levels_are_told_of_each_class(tmp_path: Path) -> None:
    found = run(tmp_path / "a", "--env.detector.score=kitti50")["class_scores"]["learned"]
    levels = ("easy", "moderate", "hard")
    assert list(found) == [f"{name} {level}" for name in ("sphere", "cube", "cylinder") for level in levels]
    report = (tmp_path / "a" / "report.html").read_text()
    assert "cylinder moderate" in report and "cube hard" in report


def test_the_mean_of_a_class_is_over_the_networks_that_have_a_score_of_it() -> None:
    mean = TaskScore.mean([TaskScore(0.2, {"a": 0.2}), TaskScore(0.6, {"a": 0.4, "b": 0.8})])
    assert mean.value == pytest.approx(0.4) and mean.by_class == {"a": pytest.approx(0.3), "b": 0.8}


def test_the_report_has_a_column_for_what_there_is() -> None:
    assert class_section({}) == [] == class_section({"class_scores": {}})
    scores = {"prior": {"a": 0.25}, "learned": {"a": 0.5, "b": 0.125}, "real": {"b": 1.0}}
    (section,) = class_section({"score_name": "mIoU", "class_scores": scores})
    assert section.table is not None and section.table.heads == ("class", "start", "learned", "trained on real")
    assert section.table.lines == (("a", "0.250", "0.500", "–"), ("b", "–", "0.125", "1.000"))


@pytest.mark.parametrize("wrong", [[], {"a": 0.5}, {"prior": {"a": "x"}}, {"prior": None}])
def test_a_summary_with_others_is_refused(wrong: Any) -> None:
    whole = {"algo": "a", "env": "b", "seed": 0, "iterations": 1, "images": 1, "seconds": 1.0, "date": ""}
    assert summary_fault({**whole, "class_scores": {"prior": {"a": 0.5}}}) is None
    assert (summary_fault({**whole, "class_scores": wrong}) or "").startswith("class_scores is ")


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        {},
        {"a": 0.5},
        {"a": {"value": 0.5}},
        {"a": {"value": 2.0, "by_class": {}}},
        {"a": {"value": 0.5, "by_class": {"x": 2.0}}},
        {"a": {"value": 0.5, "by_class": []}},
        {"a": {"value": 0.5, "by_class": {}, "more": 1}},
    ],
)
def test_kept_scores_of_another_form_are_computed_again(wrong: Any) -> None:
    assert are_known_scores({"a": {"value": 0.5, "by_class": {"x": 0.25}}}, ["a"])
    assert not are_known_scores(wrong, ["a"])
