"""Whole runs of the toy environment in this process: budgets, records, repetition."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from autosim.cli.run_options import parse_run
from autosim.errors import UserError
from autosim.formats.dataset import DataSet
from autosim.formats.frame_reader import frame_classes, from_frame
from autosim.formats.masks import write as write_masks
from autosim.parallel import parallel_map
from autosim.rendering.pool import LocalPool
from autosim.runs.closing.scores import Scores
from autosim.runs.loop import execute
from autosim.runs.progress import RunProgress
from tests.support.toy import image_folder

pytestmark = pytest.mark.usefixtures("blank_pictures")

FILES = ["config.yaml", "metrics.jsonl", "checkpoint.pt", "summary.json", "report.html", "pictures/scenes.png"]
FILES += ["pictures/attributes.png", "pictures/curves.png"]
KEYS = (
    "algo env seed workers iterations images seconds setup_seconds val_score test_score prior_score oracle_score "
    "peak_memory gap_closed score_name versions command date interrupted attributes"
)


def run(name: str, *arguments: str) -> dict[str, Any]:
    request = parse_run(["--algo=walk", "--env=spot", "--workers=0", f"--out={name}", *arguments])
    return execute(request.config, request.out, Console(file=io.StringIO()), "autosim run …")


def raising(error: BaseException) -> Callable[..., None]:
    def fail(*arguments: object, **named: object) -> None:
        raise error

    return fail


def metrics(name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in Path(name, "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.endswith("seconds")} for line in lines]


def test_a_run_folder_is_complete_and_repeats(toy: Path) -> None:
    summary = run("a", "--algo.iterations=12", "--algo.step_size=0.3", "--checkpoint_every=5")
    assert all(Path("a", name).stat().st_size > 0 for name in FILES)
    assert list(Path("a/tensorboard").iterdir())
    assert set(KEYS.split()) <= set(summary)
    assert 50 < summary["peak_memory"] < 3 * 1024
    assert "MiB at most" in Path("a/report.html").read_text() and "What it cost" in Path("a/report.html").read_text()
    parts = summary["rendering_core_seconds"], summary["network_core_seconds"]
    assert min(parts) >= 0 and sum(parts) <= summary["core_seconds"] + 0.05
    assert json.loads(Path("a/summary.json").read_text())["gap_closed"] == summary["gap_closed"]
    assert summary["images"] == 4 + 12 * 4
    assert summary["oracle_score"] > summary["prior_score"]
    scores = Scores(summary["prior_score"], summary["test_score"], summary["oracle_score"])
    assert summary["gap_closed"] == scores.gap_closed
    assert summary["distance_end"] < summary["distance_start"]
    assert set(summary["attributes"]) == {"spot.x", "spot.y", "spot.location"}
    assert [line["iteration"] for line in metrics("a")] == list(range(12))

    checkpoint = torch.load("a/checkpoint.pt", weights_only=True)
    assert (checkpoint["iteration"], checkpoint["images"]) == (12, summary["images"])
    assert checkpoint["algorithm"]["best"] == summary["distance_end"]

    request = parse_run(["--config=a/config.yaml", "--out=b"])
    again = execute(request.config, request.out, Console(file=io.StringIO()), "")
    assert metrics("a") == metrics("b")
    first, own = (Path(name, "config.yaml").read_text() for name in ("a", "b"))
    assert first == f"# {summary['command']}\n{own}"
    same = ("test_score", "prior_score", "oracle_score", "gap_closed", "attributes", "distance_end")
    assert [again[key] for key in same] == [summary[key] for key in same]


@pytest.mark.parametrize(
    ("budget", "iterations"),
    [
        (["--budget.iterations=3"], 3),
        (["--budget.images=13"], 3),
        (["--budget.images=1"], 1),
        (["--budget.seconds=1", "--algo.pause_seconds=0.7"], 2),
        (["--budget.iterations=5", "--budget.images=10"], 2),
    ],
)
def test_the_first_limit_of_the_budget_ends_the_run(toy: Path, budget: list[str], iterations: int) -> None:
    image_folder(toy / "images")
    summary = run("a", "--target=images", *budget)
    assert summary["iterations"] == len(metrics("a")) == iterations
    assert not summary["interrupted"]


def test_ctrl_c_during_set_up_still_leaves_a_summary_and_a_report(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toy_sim.walk.Walk.__init__", raising(KeyboardInterrupt()))
    summary = run("a")
    assert summary["interrupted"] and summary["iterations"] == 0 and summary["test_score"] is None
    assert Path("a/summary.json").exists() and "interrupted" in Path("a/report.html").read_text()


def test_ctrl_c_during_the_closing_scores_keeps_what_was_learned(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autosim.runs.loop.closing_scores", raising(KeyboardInterrupt()))
    summary = run("a", "--algo.iterations=2")
    assert summary["interrupted"] and summary["iterations"] == 2 and summary["test_score"] is None
    assert summary["attributes"]["spot.x"]["recovered"] is not None
    assert Path("a/pictures/attributes.png").exists() and Path("a/checkpoint.pt").exists()


def test_a_mistake_found_during_set_up_leaves_no_folder(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toy_sim.walk.Walk.__init__", raising(UserError("weights of the wrong kind")))
    with pytest.raises(UserError, match="wrong kind"):
        run("a")
    assert not Path("a").exists()


def test_an_unlabelled_target_has_no_scores_and_says_why(toy: Path) -> None:
    image_folder(toy / "images")
    summary = run("a", "--target=images", "--algo.iterations=2")
    scores = ("val_score", "test_score", "prior_score", "oracle_score", "gap_closed")
    assert [summary[key] for key in scores] == [None] * 5 and summary["test_scores"] == []
    assert "unlabelled" in summary["note"] and "unlabelled" in Path("a/report.html").read_text()
    assert summary["attributes"]["spot.x"]["recovered"] is None
    assert set(summary["attributes"]["spot.x"]) == {"recovered", "start", "learned"}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many closing networks were trained, each time that some were."""
    counts: list[int] = []

    def counted(function: Any, work: Any, limit: int) -> Any:
        counts.append(len(work))
        return parallel_map(function, work, limit)

    monkeypatch.setattr("autosim.runs.closing.trainings.parallel_map", counted)
    return counts


def test_labelled_images_steer_score_and_are_compared_with_broad_and_real_ones(toy: Path, trained: list[int]) -> None:
    from autosim.api import make_env

    env = make_env("spot")
    with LocalPool(env.renderer()) as pool:
        scenes = env.target().sample_many(12, np.random.SeedSequence(1))  # type: ignore[union-attr]
        frames = pool.render(scenes, range(12))
        for part, start in (("val", 0), ("test", 4), ("train", 8)):
            shown = [frames.frame(i) for i in range(start, start + 4)]
            images = [from_frame(str(i), frame, pool.annotations) for i, frame in enumerate(shown)]
            write_masks(DataSet(frame_classes(pool.annotations), images), Path("photos"), part)
    screen = io.StringIO()
    request = parse_run(
        ["--algo=walk", "--env=spot", "--workers=0", "--out=a", "--target=photos", "--algo.iterations=2"]
    )
    summary = execute(request.config, request.out, Console(file=screen, width=200), "")
    assert summary["oracle_score"] is None is summary["gap_closed"] and "no oracle" in summary["note"]
    scores = [summary[key] for key in ("prior_score", "test_score", "broad_score", "real_score")]
    assert all(0 <= score <= 1 for score in scores) and summary["real_score"] > summary["prior_score"]
    report = Path("a/report.html").read_text()
    for text in ("masks (masks/ beside images/)", "4 to match, 4 for validation, 4 for test, 4 for train"):
        assert text in screen.getvalue() and text in report
    assert "broad randomisation" in report and "trained on real" in report and "trained on real" in screen.getvalue()
    assert "Found in the test images" in report and Path("a/pictures/found.png").exists()
    again = execute(request.config, Path("b"), Console(quiet=True), "")
    # Start, broad randomisation, real images and what was learned; then the last alone.
    assert trained == [4, 1]
    assert [again[key] for key in ("prior_score", "broad_score", "real_score")] == [scores[0], *scores[2:]]


def test_a_configuration_with_a_target_folder_is_read_from_any_other_folder(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_folder(toy / "images")
    run("a", "--target", "images", "--algo.iterations=2")
    elsewhere = toy / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    request = parse_run([f"--config={toy / 'a' / 'config.yaml'}", "--out=b"])
    assert request.config.settings.target.folder == toy / "images"
    execute(request.config, request.out, Console(file=io.StringIO()), "")
    monkeypatch.chdir(toy)
    assert metrics("elsewhere/b") == metrics("a")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target=nowhere"], "nowhere: is not a folder that can be read"),
        (["--target=empty"], "empty: is in none of the formats"),
        (["--target=broken"], "0.png: is not a readable picture"),
        (
            ["--target=images", "--target.test=images"],
            "images: holds images without labels (4 pictures",
        ),
        (["--closing_networks=0"], "--closing_networks: 0 is below 1"),
    ],
)
def test_a_target_that_cannot_be_used_is_refused_and_leaves_no_folder(
    toy: Path, arguments: list[str], said: str
) -> None:
    (toy / "empty").mkdir()
    (image_folder(toy / "broken") / "0.png").write_bytes(b"\x89PNG")
    image_folder(toy / "images")
    with pytest.raises(UserError) as caught:
        run("a", *arguments)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert not Path("a").exists()


def test_the_mean_of_several_closing_networks_comes_with_the_single_scores(toy: Path) -> None:
    one = run("a", "--algo.iterations=1")
    several = run("b", "--algo.iterations=1", "--closing-networks=3")
    assert one["test_scores"] == [one["test_score"]]
    assert len(set(several["test_scores"])) > 1 and several["test_scores"][0] == one["test_score"]
    assert several["test_score"] == pytest.approx(sum(several["test_scores"]) / 3)
    assert several["oracle_score"] != one["oracle_score"]


def test_prior_and_oracle_are_computed_once_for_a_target(toy: Path, trained: list[int]) -> None:
    first = run("a", "--algo.iterations=1")
    second = run("b", "--algo.iterations=1", "--seed=1")
    run("c", "--algo.iterations=1", "--env.contrast=0.4")
    assert trained == [3, 1, 3]
    assert [first[key] for key in ("prior_score", "oracle_score")] == [
        second[key] for key in ("prior_score", "oracle_score")
    ]


def test_the_gap_is_closed_in_proportion() -> None:
    assert Scores(0.2, 0.5, 0.8).gap_closed == pytest.approx(0.5)
    assert Scores(0.2, 0.1, 0.7).gap_closed == pytest.approx(-0.2)
    assert Scores(0.5, 0.6, 0.5).gap_closed is None
    # No more than chance between one network and another; three that agree tell a smaller one.
    assert Scores(0.5, 0.6, 0.53).gap_closed is None
    assert Scores(0.5, 0.515, 0.53, each=(0.514, 0.515, 0.516)).gap_closed == pytest.approx(0.5)
    assert Scores(0.5, None, 0.9).gap_closed is None


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_shows_rate_score_and_remaining_time(terminal: bool) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=120)
    with RunProgress(console, iterations=4, score_name="IoU") as display:
        display.advance(2, fraction=0.5, seconds=10.0, images=300, score=0.25)
        # The last iteration may end beyond the budget.
        display.advance(4, fraction=1.25, seconds=20.0, images=600, score=None)
    shown = screen.getvalue()
    assert "30 images/s" in shown and "unknown" not in shown and "0:00 left" in shown
    if not terminal:
        assert shown.splitlines()[0] == "iteration 2/4 · 30 images/s · IoU 0.250 · 0:10 left"
        assert "\x1b" not in shown
