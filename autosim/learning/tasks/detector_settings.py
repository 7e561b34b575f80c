"""Options of detectors, for environments to offer as ``--env.detector.X``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from autosim.ranges import Checked, Range

if TYPE_CHECKING:
    from autosim.learning.tasks.detection import Detection

# Parts of EfficientNet-lite0: the stem and sixteen blocks.
LITE0_PARTS = 17
Score = Literal["AP50", "mAP", "kitti", "kitti50"]
SCORE_NAMES = {"AP50": "AP50", "mAP": "mAP", "kitti": "AP moderate", "kitti50": "AP50 moderate"}
OF_KITTI = ("kitti", "kitti50")
STRIDES = {"scratch": (2, 4), "lite0": (4, 8), "faster_rcnn": (4,)}


@dataclass(frozen=True)
class DetectorSettings(Checked):
    """Which detector learns.

    Args:
        network: a small one that begins with random weights (scratch), one on EfficientNet-lite0 with ImageNet weights
            (lite0), from packages that the extra detection installs, or torchvision's Faster R-CNN on the same
            (faster_rcnn), of which AutoSimulate cannot measure influences.
        width: filters of the small network's first layer; lite0's pyramid has four times as many.
        stride: edge of a cell in pixels, 2 or 4 for the small network, 4 or 8 for lite0; 0 for the finest that suits.
        frozen: how many of lite0's 17 parts do not learn, counted from the picture on.
        flips: mirror half of the images in training.
        colour: change brightness and contrast in training.
        look: change in training how a camera sees, for renders of what will be photographed: exposure, white balance,
            saturation, sharpness and noise; in place of colour.
        zoom: largest factor by which training makes pictures larger or smaller; 1 leaves them as they are.
        score: average precision at half overlap (AP50), COCO's mean over overlaps (mAP), or KITTI's at the moderate
            level, at its own overlaps (kitti) or at half (kitti50); these two follow KITTI's rules of what counts.
    """

    network: Literal["scratch", "lite0", "faster_rcnn"] = "scratch"
    width: Annotated[int, Range(least=4)] = 16
    stride: Literal[0, 2, 4, 8] = 0
    frozen: Annotated[int, Range(least=0, most=LITE0_PARTS)] = 0
    flips: bool = True
    colour: bool = True
    look: bool = False
    zoom: Annotated[float, Range(least=1, most=4)] = 1.0
    score: Score = "AP50"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % 4:
            raise ValueError(f"width: {self.width} is not a multiple of 4")
        allowed = STRIDES[self.network]
        if self.stride and self.stride not in allowed:
            shown = " or ".join(map(str, allowed))
            raise ValueError(f"stride: {self.stride}, but {self.network} has {shown}; 0 takes what suits")
        if self.network == "scratch":
            if self.frozen:
                raise ValueError(f"frozen: {self.frozen}, but only lite0 has trained weights to keep (network lite0)")
            return
        from autosim.learning.lite0 import missing_packages

        if (fault := missing_packages()) is not None:
            raise ValueError(f"network: {self.network} {fault}")

    def task(self, classes: Sequence[str], stride: int, size: tuple[float, float] | None = None) -> Detection:
        """The task of finding ``classes``; ``stride`` is used where the settings have none and the network allows it.
        ``size``: width and height in pixels of a usual box.
        """
        alike: dict[str, Any] = {
            "width": self.width,
            "flips": self.flips,
            "colour": self.colour,
            "frozen": self.frozen,
            "size": size,
            "score": self.score,
            "look": self.look,
            "zoom": self.zoom,
        }
        if self.network == "faster_rcnn":
            from autosim.learning.tasks.faster_rcnn import FasterRcnn

            return FasterRcnn(classes, **alike)
        from autosim.learning.tasks.detection import Detection

        finest = stride if stride in STRIDES[self.network] else STRIDES[self.network][0]
        return Detection(classes, stride=self.stride or finest, backbone=self.network, **alike)
