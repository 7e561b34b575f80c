"""The picture of what a network finds: truth above, right and wrong boxes in their colours below."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np

from autosim.rendering.frames import Frames
from autosim.reports.found import RIGHT, WRONG, judged_boxes, plot_found

TRUTH = np.array([[[2, 2, 12, 12, 1], [16, 2, 26, 12, 0]], [[2, 2, 12, 12, 0], [-1] * 5]], dtype=np.float32)
READ = np.array([[[2, 3, 12, 12, 1], [2, 2, 12, 12, 0]], [[2, 2, 12, 12, 0], [-1] * 5]], dtype=np.float32)


def pictured(path: Path, colour: str) -> int:
    """Pixels of a colour in a picture."""
    pixels = (matplotlib.image.imread(path)[..., :3] * 255).round().astype(int)
    return int((pixels == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).all(axis=-1).sum())


def test_boxes_are_judged_and_unused_rows_stay() -> None:
    assert judged_boxes(READ, TRUTH)[..., 4].tolist() == [[0, 1], [0, -1]]


def test_right_and_wrong_boxes_have_colours_of_their_own(tmp_path: Path) -> None:
    images = np.zeros((2, 16, 32, 3), dtype=np.uint8)
    plot_found(tmp_path / "some.png", Frames(images, {"boxes": TRUTH}), Frames(images, {"boxes": READ}))
    assert pictured(tmp_path / "some.png", RIGHT) > pictured(tmp_path / "some.png", WRONG) > 0
    plot_found(tmp_path / "all.png", Frames(images, {"boxes": TRUTH}), Frames(images, {"boxes": TRUTH}))
    assert pictured(tmp_path / "all.png", RIGHT) > 0 == pictured(tmp_path / "all.png", WRONG)


def test_masks_are_shown_below_the_truth_and_other_tasks_have_no_picture(tmp_path: Path) -> None:
    images, masks = np.zeros((3, 16, 32, 3), dtype=np.uint8), np.ones((3, 16, 32), dtype=np.uint8)
    plot_found(tmp_path / "masks.png", Frames(images, {"mask": masks}), Frames(images, {"mask": 0 * masks}))
    assert matplotlib.image.imread(tmp_path / "masks.png").shape[0] > 300
    plot_found(tmp_path / "none.png", Frames(images, {"mask": masks}), Frames(images))
    assert not (tmp_path / "none.png").exists()
