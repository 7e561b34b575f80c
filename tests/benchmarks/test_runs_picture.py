"""The picture of several runs' scenes: a panel for each run, its stages from top to bottom."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from autosim.formats.pictures import read_picture
from autosim.rendering.frames import Frames
from autosim.reports.pictures import STAGES, write_strips
from autosim.runs.folder import RunFolder
from benchmarks.engines.runs_picture import main as draw

COLOURS = {
    "one": ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)),
    "other": ((255, 0, 255), (0, 255, 255), (0, 0, 0), (128, 0, 0)),
}


def test_strips_of_runs_stand_side_by_side_and_missing_ones_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, colours in COLOURS.items():
        folder = RunFolder.create(Path(name))
        figures = {"seed": 0, "iterations": 1, "images": 8, "seconds": 1.0, "date": "2026-01-01"}
        folder.write_summary({"algo": "walk", "env": "spot", **figures})
        images = [np.full((6, 16, 16, 3), colour, dtype=np.uint8) for colour in colours]
        # The target's pictures may be larger, or fewer.
        images[3] = np.full((5, 32, 32, 3), colours[3], dtype=np.uint8)
        write_strips(folder.pictures, {stage: Frames(own, {}) for stage, own in zip(STAGES, images, strict=True)})
    assert draw(["one", "other", "--picture", "made/runs.png"]) == 0
    pixels = read_picture(Path("made/runs.png"))
    assert pixels.shape[1] == 900
    for number, colours in enumerate(COLOURS.values()):
        places = [np.argwhere((pixels == colour).all(axis=-1)) for colour in colours]
        # Text may have the black of a strip, but not so much of it.
        places = [found[(found[:, 1] >= 450 * number) & (found[:, 1] < 450 * (number + 1))] for found in places]
        assert all(len(found) > 10_000 for found in places)
        middles = [float(np.median(found[:, 0])) for found in places]
        assert middles == sorted(middles)

    shutil.rmtree("other/pictures")
    for name, line in (("other", "other/pictures: holds none of start.png"), ("none", "run folder none/summary.json")):
        assert draw([name, "--picture", "made/again.png"]) == 2
        (said,) = capsys.readouterr().err.splitlines()
        assert said.startswith(f"runs_picture.py: {line}")
    assert not Path("made/again.png").exists()
