"""The main job before and now: what is read off profiles and made of the runs."""

from __future__ import annotations

import cProfile
from pathlib import Path

import pytest

from autosim.rendering.pool import LocalPool
from benchmarks.main_job import BEFORE, LLVM, PARTS, SCALAR, parts_of, summarised, table
from tests.support.helpers import BlobRenderer, blob_scenes


def figures(whole: float, score: float, **parts: float) -> dict[str, object]:
    scores = {"prior_score": 0.1, "test_score": score, "oracle_score": 0.9}
    return {"setup_seconds": 1.0, "seconds": whole - 1.0, "whole": whole, "images": 8, "parts": parts, **scores}


def test_parts_are_the_seconds_of_functions_of_ours(tmp_path: Path) -> None:
    profile = cProfile.Profile()
    with LocalPool(BlobRenderer()) as pool:
        profile.runcall(pool.render, blob_scenes(3), [0, 1, 2])
    profile.dump_stats(tmp_path / "profile")
    parts = parts_of(tmp_path / "profile")
    assert set(parts) == {"frames"} and 0 < parts["frames"] < 60


def test_every_part_names_a_function_that_is_there() -> None:
    root = Path(__file__).resolve().parents[2]
    for file, function in PARTS.values():
        found = list(root.glob(f"autosim/**/{Path(file).name}"))
        assert file.startswith("concurrent/") or any(f"def {function}(" in path.read_text() for path in found), file


def test_ratios_are_those_of_equal_seeds() -> None:
    runs = {
        BEFORE: [figures(10.0, 0.5, frames=4.0), figures(30.0, 0.7, frames=6.0)],
        SCALAR: [figures(5.0, 0.6), figures(10.0, 0.8)],
        LLVM: [figures(2.0, 0.6, frames=1.0), figures(10.0, 0.8, frames=2.0)],
    }
    rows = summarised(runs)
    assert rows[BEFORE]["faster"] == {"median": 1.0, "least": 1.0, "largest": 1.0}
    assert rows[SCALAR]["faster"] == {"median": 2.5, "least": 2.0, "largest": 3.0}
    assert rows[LLVM]["faster"] == {"median": 4.0, "least": 3.0, "largest": 5.0}
    assert rows[BEFORE]["parts"] == {"frames": 5.0} and rows[SCALAR]["parts"] == {}
    assert rows[LLVM]["test_score"] == pytest.approx(0.7) and rows[LLVM]["setup_seconds"] == 1.0
    shown = table(rows)
    assert shown["heads"] == ["", BEFORE, SCALAR, LLVM]
    assert all(len(line) == 4 for line in shown["lines"])
    (frames,) = [line for line in shown["lines"] if line[0] == "of them: frames"]
    assert frames[1:] == ["5.0", "–", "1.5"]
