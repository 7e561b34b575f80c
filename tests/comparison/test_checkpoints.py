"""What a method recommended at shares of its budget: never what came too late for a share."""

from __future__ import annotations

from pathlib import Path

import pytest

from autosim.comparison.checkpoints import FOLDER, CheckpointRecorder, read_checkpoint
from autosim.errors import UserError
from autosim.runs.iterations import Tally
from autosim.scenes.generator import ContinuousSummary
from autosim.scenes.parametric import ParametricGenerator
from tests.toy_package.toy_sim.spot import spot_grammar

SHARES = (0.25, 0.5, 1.0)


def at(x: float) -> ParametricGenerator:
    """Discs about a place."""
    generator = ParametricGenerator(spot_grammar(8.0, 8.0))
    generator.set_parameters({"spot.x": ContinuousSummary(x, 0.1)})
    return generator


def place(folder: Path, share: float) -> float:
    """Where the discs of a checkpoint are, rounded."""
    scenes = read_checkpoint(folder, share).scenes
    return round(sum(float(scene.nodes[0]["x"]) for scene in scenes) / len(scenes))


def observed(folder: Path, spent: list[float], setup: float = 0.0) -> None:
    """A run that recommends x = 3 at first and one pixel more after each iteration, ``spent`` core-seconds in."""
    recorder = CheckpointRecorder(folder, 100.0, SHARES, 30)
    recorder(Tally(setup_core_seconds=setup, feature_images=7, feature_cost=70.0), at(3.0))
    for i, seconds in enumerate(spent, start=1):
        tally = Tally(iterations=i, images=10 * i, render_cost=5.0 * i, core_seconds=seconds - setup)
        tally.setup_core_seconds, tally.feature_images, tally.feature_cost = setup, 7, 70.0
        recorder(tally, at(3.0 + i))
    recorder.finish()


def test_a_share_gets_the_last_iteration_that_ended_by_then(tmp_path: Path) -> None:
    observed(tmp_path, [10.0, 25.0, 45.0, 70.0, 99.0, 130.0])
    assert [place(tmp_path, share) for share in SHARES] == [5, 6, 8]
    found = read_checkpoint(tmp_path, 0.5)
    assert (found.iterations, found.core_seconds, found.images, found.render_cost) == (3, 45.0, 37, 85)


def test_a_long_iteration_counts_for_no_share_that_ended_within_it(tmp_path: Path) -> None:
    observed(tmp_path, [20.0, 120.0])
    assert [place(tmp_path, share) for share in SHARES] == [4, 4, 4]


def test_a_set_up_beyond_the_budget_leaves_the_start(tmp_path: Path) -> None:
    observed(tmp_path, [160.0, 170.0], setup=150.0)
    assert [place(tmp_path, share) for share in SHARES] == [3, 3, 3]


def test_a_run_that_ends_early_keeps_its_answer(tmp_path: Path) -> None:
    observed(tmp_path, [5.0, 8.0])
    assert [place(tmp_path, share) for share in SHARES] == [5, 5, 5]
    assert read_checkpoint(tmp_path, 1.0).core_seconds == 8.0


@pytest.mark.parametrize("text", ["{}", "[]", "null", '{"scenes": [3]}', '{"scenes": [], "share": 1}'])
def test_what_is_no_checkpoint_is_told_by_its_file(tmp_path: Path, text: str) -> None:
    observed(tmp_path, [5.0])
    (tmp_path / FOLDER / "0.5.json").write_text(text)
    with pytest.raises(UserError, match=r"0\.5\.json: holds no checkpoint"):
        read_checkpoint(tmp_path, 0.5)
