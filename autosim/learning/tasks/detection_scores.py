"""Scores of detectors: average precision as COCO or as KITTI defines it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from autosim.formats.kitti import scale_of
from autosim.learning.tasks.average_precision import AveragePrecision, named
from autosim.learning.tasks.kitti_precision import KittiPrecision, rated_by_height
from autosim.learning.tasks.task import Scorer

if TYPE_CHECKING:
    from autosim.learning.tasks.detection import Detection

# Half of the union.
OVERLAP = 0.5


class BoxScorer(Scorer):
    """Average precision of a detector; ``precision`` has it at every overlap."""

    def __init__(self, task: Detection) -> None:
        self._task = task
        self._overlap = OVERLAP if task.score == "AP50" else None
        self.precision = AveragePrecision(len(task.classes))

    def update(self, outputs: Tensor, targets: list[Tensor]) -> None:
        """Boxes read off outputs against the true ones. Boxes are not clipped to the picture, whose size outputs do not
        tell to the pixel.
        """
        height, width = self._task.size_of(outputs)
        for found, truth in zip(self._task.boxes(outputs, height, width), targets, strict=True):
            self.precision.add(found, truth.cpu().numpy())

    def compute(self) -> float:
        """Mean over the classes of average precision, at an overlap of .5 or over all overlaps."""
        return self.precision.mean(self._overlap)

    def by_class(self) -> dict[str, float]:
        """Of each class that there is."""
        return named(self._task.classes, self.precision, self._overlap)


class KittiScorer(Scorer):
    """Average precision as KITTI defines it; ``precision`` has it at every level."""

    def __init__(self, task: Detection) -> None:
        self._task = task
        self.precision = KittiPrecision(task.classes, OVERLAP if task.score == "kitti50" else None)

    def update(self, outputs: Tensor, targets: list[Tensor]) -> None:
        """Boxes read off outputs against the true ones. Pictures are taken to be KITTI's, scaled. Where labels do not
        say at which level objects count, their height does.
        """
        height, width = self._task.size_of(outputs)
        scale = scale_of(width)
        for found, truth in zip(self._task.boxes(outputs, height, width), targets, strict=True):
            rows = truth.cpu().numpy()
            self.precision.add(found, rows if rows.shape[1] == 6 else rated_by_height(rows, scale), scale)

    def compute(self) -> float:
        """Mean over the classes at the moderate level."""
        return self.precision.mean()

    def by_class(self) -> dict[str, float]:
        """Of each class and level that there is."""
        return self.precision.named()
