"""Average precision of boxes, as COCO's evaluation defines it (Lin et al., "Microsoft COCO", ECCV 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Overlaps that count as found, and recalls at which precision is read.
OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
# Most boxes of an image that count, the surest ones.
MOST = 100


@dataclass(frozen=True)
class Found:
    """What a detector says of one image: ``boxes`` (k, 4) xyxy in pixels, ``classes`` (k,) and ``scores`` (k,)."""

    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]
    scores: NDArray[np.float64]


def overlaps(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union of boxes (n, 4) and (m, 4), xyxy: (n, m)."""
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    both = np.clip(high - low, 0.0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    either = areas[0][:, None] + areas[1][None, :] - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)


class AveragePrecision:
    """Precision over recall of each class, added image by image."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._images = 0
        # By class: for each image (image, scores (k,), found at each overlap (10, k)), and the number of true boxes.
        self._matches: list[list[tuple[int, NDArray[np.float64], NDArray[np.bool_]]]] = [[] for _ in range(classes)]
        self._true = np.zeros(classes, dtype=np.int64)

    def add(self, found: Found, truth: NDArray[np.floating]) -> None:
        """One image; ``truth`` has rows (x0, y0, x1, y1, class)."""
        truth = np.asarray(truth, dtype=np.float64).reshape(-1, 5)
        for kind in range(self.classes):
            boxes = truth[truth[:, 4] == kind, :4]
            self._true[kind] += len(boxes)
            chosen = np.flatnonzero(found.classes == kind)
            chosen = chosen[np.argsort(-found.scores[chosen], kind="mergesort")][:MOST]
            matched = _matched(overlaps(found.boxes[chosen], boxes))
            self._matches[kind].append((self._images, found.scores[chosen], matched))
        self._images += 1

    def by_overlap(self, kind: int) -> NDArray[np.float64] | None:
        """Average precision (10,) of a class at each of :data:`OVERLAPS`; None where there is no true box of it."""
        if not self._true[kind]:
            return None
        scores = np.concatenate([scores for _, scores, _ in self._matches[kind]])
        matched = np.concatenate([matched for _, _, matched in self._matches[kind]], axis=1)
        order = np.argsort(-scores, kind="mergesort")
        return np.array([_average(matched[level, order], int(self._true[kind])) for level in range(len(OVERLAPS))])

    def mean(self, overlap: float | None = None) -> float:
        """Mean over the classes that there are, at one of :data:`OVERLAPS` or over all of them, 0 for none."""
        curves = [curve for kind in range(self.classes) if (curve := self.by_overlap(kind)) is not None]
        if not curves:
            return 0.0
        means = np.mean(curves, axis=0)
        return float(means.mean() if overlap is None else means[int(np.argmin(np.abs(OVERLAPS - overlap)))])


def found_right(found: NDArray[np.floating], truth: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether boxes (k, 5), the surest first, are those of true ones (m, 5) of the same class at half overlap: (k,). A
    true box is found once.
    """
    right = np.zeros(len(found), dtype=bool)
    for kind in np.unique(found[:, 4]):
        own = found[:, 4] == kind
        right[own] = _matched(overlaps(found[own, :4], truth[truth[:, 4] == kind, :4]))[0]
    return right


def _matched(shares: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each detection (rows, the surest first) finds a true box (columns) at each overlap: (10, rows). A box is
    found once, by the detection that comes first; a detection takes the box that it covers best of those left.
    """
    detections, boxes = shares.shape
    matched = np.zeros((len(OVERLAPS), detections), dtype=bool)
    for level, least in enumerate(OVERLAPS):
        free = np.ones(boxes, dtype=bool)
        for row in range(detections):
            candidates = np.where(free, shares[row], -1.0)
            # Of equal overlaps the last counts, as in pycocotools.
            best = boxes - 1 - int(np.argmax(candidates[::-1])) if boxes else -1
            if best >= 0 and candidates[best] >= min(least, 1 - 1e-10):
                free[best], matched[level, row] = False, True
    return matched


def _average(matched: NDArray[np.bool_], true: int) -> float:
    """Area under the precision that is reached at a recall or a higher one, read at :data:`RECALLS`."""
    hits = np.cumsum(matched, dtype=np.float64)
    recall, precision = hits / true, hits / np.arange(1, len(matched) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, RECALLS, side="left")
    return float(np.where(places < len(precision), np.append(precision, 0.0)[places], 0.0).mean())


def named(classes: Sequence[str], precision: AveragePrecision, overlap: float | None) -> dict[str, float]:
    """Average precision at an overlap, or over all of them, by the name of the class, of classes that there are."""
    level = slice(None) if overlap is None else int(np.argmin(np.abs(OVERLAPS - overlap)))
    curves = ((name, precision.by_overlap(kind)) for kind, name in enumerate(classes))
    return {name: float(np.mean(curve[level])) for name, curve in curves if curve is not None}
