"""Average precision of boxes as KITTI's object benchmark defines it (Geiger, Lenz and Urtasun, CVPR 2012): at three
levels of difficulty, with objects and regions that neither count as found nor as missed.

The rules are those of the development kit's ``evaluate_object``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from autosim.learning.tasks.average_precision import Found, overlaps

LEVELS = ("easy", "moderate", "hard")
MODERATE = 1
# Detections that are lower than this, in pixels of KITTI's pictures, neither find anything nor are they wrong.
LEAST_HEIGHT = (40.0, 25.0, 25.0)
# Overlap that counts as found, by class; others as pedestrians.
OVERLAP = {"car": 0.7, "van": 0.7, "truck": 0.7, "tram": 0.7}
OTHERS = 0.5
# Precision is read where recall has risen by a fortieth.
STEPS = 40
# What regions of any class have as their class.
ANY_CLASS = -1


@dataclass(frozen=True)
class _Image:
    """One image as one class sees it: ``shares`` (objects, detections) and ``covered`` (regions, detections), the share
    of a detection that lies in a region; ``levels`` from which on objects count.
    """

    shares: NDArray[np.float64]
    covered: NDArray[np.float64]
    levels: NDArray[np.int64]
    scores: NDArray[np.float64]
    heights: NDArray[np.float64]
    own: NDArray[np.bool_]


class KittiPrecision:
    """Precision over recall of each class and level, added image by image.

    A set with fewer than 40 objects that count never reaches 1, for precision is read at as many recalls. ``overlap``
    replaces that of the classes. ``points``: recalls at which precision is read, 40 as published since
    2019, or 11 as before.
    """

    def __init__(self, classes: Sequence[str], overlap: float | None = None, points: Literal[11, 40] = 40) -> None:
        self.classes, self.points = tuple(classes), points
        self.overlap = [OVERLAP.get(name.lower(), OTHERS) if overlap is None else overlap for name in classes]
        self._images: list[list[_Image]] = [[] for _ in classes]

    def add(self, found: Found, truth: NDArray[np.floating], scale: float = 1.0) -> None:
        """One image; ``truth`` has rows (x0, y0, x1, y1, class, level). The level is the easiest that the object counts
        at, 3 for none: it may be found or not. Detections in regions of class −1 are not wrong. ``scale`` is that of
        the picture, 1 for KITTI's own of 1242 pixels across.
        """
        truth = np.asarray(truth, dtype=np.float64).reshape(-1, 6)
        boxes = np.asarray(found.boxes, dtype=np.float64).reshape(-1, 4)
        regions = truth[truth[:, 4] == ANY_CLASS, :4]
        covered = _covered(boxes, regions)
        for kind, images in enumerate(self._images):
            objects = truth[truth[:, 4] == kind]
            images.append(
                _Image(
                    overlaps(objects[:, :4], boxes),
                    covered,
                    objects[:, 5].astype(np.int64),
                    found.scores,
                    (boxes[:, 3] - boxes[:, 1]) / scale,
                    found.classes == kind,
                )
            )

    def average(self, kind: int, level: int) -> float | None:
        """Average precision of a class at a level, 0 easy to 2 hard; None where no object counts at it."""
        images, least = self._images[kind], self.overlap[kind]
        true = sum(int((image.levels <= level).sum()) for image in images)
        if not true:
            return None
        small = [image.heights < LEAST_HEIGHT[level] for image in images]
        hits = [_hits(image, low, level, least) for image, low in zip(images, small, strict=True)]
        thresholds = _thresholds(np.sort(np.concatenate(hits))[::-1], true)
        precision = np.zeros(STEPS + 1)
        for place, threshold in enumerate(thresholds):
            right = wrong = 0
            for image, low in zip(images, small, strict=True):
                counted = _counted(image, low, level, least, threshold)
                right, wrong = right + counted[0], wrong + counted[1]
            precision[place] = right / (right + wrong) if right else 0.0
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        return float(precision[1:].mean() if self.points == STEPS else precision[:: STEPS // 10].mean())

    def mean(self, level: int = MODERATE) -> float:
        """Mean over the classes with objects that count at a level, 0 for none."""
        found = [value for kind in range(len(self.classes)) if (value := self.average(kind, level)) is not None]
        return float(np.mean(found)) if found else 0.0

    def named(self) -> dict[str, float]:
        """Of each class and level that there is, ``car moderate``."""
        averages = {
            f"{name} {called}": self.average(kind, level)
            for kind, name in enumerate(self.classes)
            for level, called in enumerate(LEVELS)
        }
        return {name: value for name, value in averages.items() if value is not None}


def rated_by_height(rows: NDArray[np.floating], scale: float = 1.0) -> NDArray[np.float64]:
    """Rows (k, 5) of objects of which no more is known, with the level from which on their height counts: (k, 6)."""
    rows = np.asarray(rows, dtype=np.float64).reshape(-1, 5)
    heights = (rows[:, 3] - rows[:, 1]) / scale
    levels = np.full(len(rows), len(LEVELS))
    for level in reversed(range(len(LEVELS))):
        levels[heights > LEAST_HEIGHT[level]] = level
    return np.column_stack([rows, levels])


def _covered(boxes: NDArray[np.float64], regions: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of each box (n, 4) that lies in each region (m, 4): (m, n)."""
    low = np.maximum(regions[:, None, :2], boxes[None, :, :2])
    high = np.minimum(regions[:, None, 2:], boxes[None, :, 2:])
    both, areas = np.clip(high - low, 0.0, None).prod(axis=2), (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return np.divide(both, areas[None], out=np.zeros_like(both), where=areas[None] > 0)


def _hits(image: _Image, small: NDArray[np.bool_], level: int, least: float) -> NDArray[np.float64]:
    """Scores of the detections that find what counts, each object by the surest of those that cover it."""
    free, found = image.own | small, []
    for share, easiest in zip(image.shares, image.levels, strict=True):
        fits = free & (share > least)
        if fits.any():
            best = int(np.argmax(np.where(fits, image.scores, -np.inf)))
            free[best] = False
            if easiest <= level and not small[best]:
                found.append(float(image.scores[best]))
    return np.array(found)


def _thresholds(scores: NDArray[np.float64], true: int) -> list[float]:
    """Scores, from high to low, at which recall comes nearest to the next of its steps."""
    kept, wanted = [], 0.0
    for i, score in enumerate(scores):
        here, last = (i + 1) / true, i == len(scores) - 1
        if not last and (i + 2) / true - wanted < wanted - here:
            continue
        kept.append(float(score))
        wanted += 1 / STEPS
    return kept


def _counted(image: _Image, small: NDArray[np.bool_], level: int, least: float, threshold: float) -> tuple[int, int]:
    """How many detections of a score from ``threshold`` on are right, and how many wrong."""
    free = (image.own | small) & (image.scores >= threshold)
    right = 0
    for share, easiest in zip(image.shares, image.levels, strict=True):
        fits = free & (share > least)
        large = fits & ~small
        if not fits.any():
            continue
        best = int(np.argmax(np.where(large, share, -1.0))) if large.any() else int(np.argmax(fits))
        free[best] = False
        right += int(easiest <= level and not small[best])
    wrong = free & ~small
    wrong &= ~(image.covered > least).any(axis=0)
    return right, int(wrong.sum())
