"""A comparison on labelled images of the user's own: no oracle, means over seeds, networks trained on real images."""

from __future__ import annotations

import json
import statistics
from typing import Any

import numpy as np
import pytest

from autosim.api import make_env
from autosim.cli.main import main
from autosim.comparison.pictures import score_curves
from autosim.comparison.tables import comparison_document, main_table
from autosim.comparison.verdict import verdict
from autosim.formats.dataset import DataSet
from autosim.formats.frame_reader import frame_classes, from_frame
from autosim.formats.masks import write as write_masks
from autosim.rendering.pool import LocalPool


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, toys: None) -> dict[str, Any]:
    """Two methods with three seeds on twelve labelled images."""
    work = tmp_path_factory.mktemp("work")
    env = make_env("spots")
    with LocalPool(env.renderer()) as pool:
        frames = pool.render(env.target().sample_many(12, np.random.SeedSequence(1)), range(12))  # type: ignore[union-attr]
        for part, start in (("val", 0), ("test", 4), ("train", 8)):
            images = [from_frame(str(i), frames.frame(i), pool.annotations) for i in range(start, start + 4)]
            write_masks(DataSet(frame_classes(pool.annotations), images), work / "photos", part)
    arguments = [
        "--env=spots",
        "--algos=hop,crawl",
        "--seeds=3",
        "--workers=0",
        "--networks=2",
        "--checkpoints=0.5,1",
    ]
    arguments += ["--budget.core_seconds=100", f"--target={work / 'photos'}", f"--out={work / 'out'}"]
    assert main(["compare", *arguments]) == 0
    found: dict[str, Any] = json.loads((work / "out" / "comparison.json").read_text())
    return found


def row(results: dict[str, Any], method: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in results["rows"] if row["method"] == method)
    return found


def test_rows_are_means_over_seeds_with_intervals(results: dict[str, Any]) -> None:
    assert [each["method"] for each in results["rows"]] == [
        "start",
        "broad randomisation",
        "trained on real",
        "hop",
        "crawl",
    ]
    assert results["over"] == "seeds"
    for method in ("hop", "crawl"):
        ends = [run["checkpoints"][-1]["score"] for run in results["runs"] if run["method"] == method]
        found = row(results, method)
        assert len(ends) == 3 == found["runs"] and found["targets"] == 1
        assert found["score"]["mean"] == pytest.approx(statistics.fmean(ends), abs=1e-4)
        assert min(ends) <= found["score"]["low"] <= found["score"]["mean"] <= found["score"]["high"] <= max(ends)
        assert found["gap"] is None is found["area"]
    (target,) = results["targets"]
    assert len(target["scores"]["real"]) == 2 and "oracle" not in target["scores"]
    assert row(results, "trained on real")["score"]["mean"] > row(results, "start")["score"]["mean"]


def test_tables_have_scores_where_there_are_no_gaps(results: dict[str, Any]) -> None:
    table = main_table(results)
    assert table.heads[2:5] == ("runs", "test IoU after 50 core-s", "test IoU")
    assert not any("gap" in head or head in ("area", "targets") for head in table.heads)
    lines = {line[0]: line for line in table.lines}
    assert lines["hop"][2] == "3" and lines["start"][2] == "–"
    assert all(len(line) == len(table.heads) for line in table.lines)
    page = comparison_document(results)
    assert "Means over the seeds of one target" in page and "bootstrap over seeds" in page
    assert "What they are compared with" in page and "trained on real" in page and "oracle" not in page
    assert "hop ends highest" in " ".join(verdict(results)) and "no intervals" not in " ".join(verdict(results))
    assert score_curves(results)[:4] == b"\x89PNG"
