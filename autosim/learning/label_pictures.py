"""Pictures of labels: what the ground truth of a frame shows of its scene, whatever the image looks like."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from autosim.rendering.annotations import Annotation, class_mask, first_boxes, large_first
from autosim.rendering.frames import Frames

# Of a class to the next, how far hues are apart: the golden section spreads any number of them.
HUE_STEP = 0.618
# Saturations and brightnesses, one after another: neighbours in hue differ in them.
SATURATIONS, BRIGHTNESSES = (1.0, 0.55), (1.0, 0.6, 0.8)


def labels_are_shown(declared: Mapping[str, Annotation]) -> bool:
    """Whether annotations say where things are: a class mask does, and boxes do."""
    return class_mask(declared) is not None or first_boxes(declared) is not None


def label_pictures(frames: Frames, declared: Mapping[str, Annotation]) -> Frames:
    """The frames with pictures of their labels in the place of images: the first class mask in colours, or, where there
    is none, the first boxes, filled, with a dark edge, the small ones over the large ones. The background is black.

    ``ValueError`` where neither is ``declared`` (:func:`labels_are_shown`).
    """
    mask, boxes = class_mask(declared), first_boxes(declared)
    if mask is not None:
        name, classes = mask[0], mask[1].classes
        pictures = colours(len(classes) - 1)[np.asarray(frames.annotations[name])]
    elif boxes is not None:
        name, palette = boxes[0], colours(len(boxes[1].classes))
        height, width = frames.images.shape[1:3]
        rows = np.asarray(frames.annotations[name], dtype=np.float32)
        pictures = np.stack([_painted(each[each[:, 4] >= 0], height, width, palette) for each in rows])
    else:
        raise ValueError(f"label pictures: {sorted(declared) or 'no annotations'} say nothing of where things are")
    return Frames(pictures, frames.annotations)


def colours(classes: int) -> NDArray[np.uint8]:
    """(1 + classes, 3): black, and a colour for each class, all different."""
    found = [(0.0, 0.0, 0.0)]
    for number in range(classes):
        saturation, brightness = SATURATIONS[number % len(SATURATIONS)], BRIGHTNESSES[number % len(BRIGHTNESSES)]
        found.append(colorsys.hsv_to_rgb(number * HUE_STEP % 1.0, saturation, brightness))
    return np.round(255 * np.array(found)).astype(np.uint8)


def _painted(rows: NDArray[np.float32], height: int, width: int, palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    for row in large_first(rows):
        x0, y0, x1, y1 = np.clip(row[:4].round().astype(int), 0, (width, height, width, height))
        colour = palette[1 + int(row[4])]
        picture[y0:y1, x0:x1] = colour // 2
        picture[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] = colour
    return picture
