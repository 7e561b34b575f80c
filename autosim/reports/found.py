"""A picture of what a network finds in the target's test images, beside the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autosim.learning.tasks.average_precision import found_right
from autosim.rendering.frames import Frames
from autosim.reports.pictures import COLOURS, box_image, mask_image, montage, save_rows

# Colours of boxes: true ones, those that were found right, and those that were found and are not there.
TRUE, RIGHT, WRONG = "#ffd23c", "#37d67a", "#ff5a3c"


def plot_found(path: Path, truth: Frames, found: Frames) -> None:
    """Test images with their truth, and below with what a network ``found`` in them; boxes that are right are green,
    and those that are not red. ``path`` is a PNG file. Nothing is written where there are neither masks nor boxes.
    """
    if "boxes" in found.annotations and "boxes" in truth.annotations:
        true, read = (np.asarray(frames.annotations["boxes"], dtype=np.float32) for frames in (truth, found))
        judged = judged_boxes(read, true)
        rows = [box_image(truth.images, true, [TRUE]), box_image(truth.images, judged, [RIGHT, WRONG])]
    elif "mask" in found.annotations and "mask" in truth.annotations:
        masks = [np.asarray(frames.annotations["mask"]) for frames in (truth, found)]
        rows = [truth.images, *map(mask_image, masks)]
    else:
        return
    names = ["images", "truth", "found"][-len(rows) :]
    save_rows(path, montage(rows), names, [COLOURS["target"]] * (len(rows) - 1) + [COLOURS["learned"]])


def judged_boxes(found: NDArray[np.float32], truth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Boxes (n, most, 5) with 0 in place of the class of those that are right, and 1 of those that are not; -1 in rows
    that are not used, as before.
    """
    judged = found.copy()
    for rows, true in zip(judged, truth, strict=True):
        used = rows[:, 4] >= 0
        rows[used, 4] = ~found_right(rows[used], true[true[:, 4] >= 0, :5])
    return judged
