"""torchvision's Faster R-CNN (Ren et al., 2015) on EfficientNet-lite0: a detector of two stages.

Its losses need the truth while proposals are drawn, so they do not follow from the outputs, and no influences can be
measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from autosim.errors import UserError
from autosim.learning.lite0 import FILTERS, Lite0
from autosim.learning.tasks.average_precision import Found
from autosim.learning.tasks.detection import BACKBONE_RATE, MOST, Detection, counting
from autosim.learning.tasks.detector_settings import Score
from autosim.seeding import torch_seeded

# Edges of the anchors of each level, as multiples of the usual box, and their shapes.
SCALES, SHAPES = (0.5, 1.0, 2.0, 4.0), (0.5, 1.0, 2.0)
# Edge of a usual box where none is told, in pixels.
USUAL = 32.0
# Proposals before and after overlapping ones are dropped, and those that a training step looks at.
BEFORE, AFTER, SAMPLED = 500, 200, 64
FEATURES = 256
LEAST_SCORE = 0.01
# On the learning rate of all but the backbone: environments' rates suit layers with group normalisation.
HEAD_RATE = 0.2


class FasterRcnn(Detection):
    """The same task as :class:`Detection`, whose options it has, by torchvision's network.

    Outputs are (n, 1 + :data:`MOST`, 6): width and height of the picture in the first row, then (x0, y0, x1, y1, score,
    class) of each box found, padded with class −1. Anchors follow from ``size``, a usual box in pixels.
    """

    has_influences = False

    def __init__(
        self,
        classes: Sequence[str],
        width: int = 16,
        flips: bool = True,
        colour: bool = True,
        frozen: int = 0,
        size: tuple[float, float] | None = None,
        score: Score = "AP50",
        look: bool = False,
        zoom: float = 1.0,
    ) -> None:
        super().__init__(classes, width, 4, flips, colour, "lite0", frozen, size, score, look, zoom)
        self.usual = USUAL if size is None else (size[0] * size[1]) ** 0.5
        self.rates = {"model.backbone.body": BACKBONE_RATE, "model": HEAD_RATE}

    def network(self, seed: int) -> nn.Module:
        """A fresh network; equal seeds give equal weights."""
        with torch_seeded(seed):
            network = RcnnNetwork(len(self.classes), 4 * self.width, self.usual, self.frozen)
        return network.to(memory_format=torch.channels_last)

    def losses(self, outputs: Tensor, targets: list[Tensor]) -> NoReturn:
        """``UserError``: there are none of outputs alone."""
        raise UserError("faster_rcnn: its losses do not follow from its outputs; methods that need these cannot use it")

    def training_losses(self, network: nn.Module, inputs: Tensor, targets: list[Tensor]) -> Tensor:
        """(n,): the sum of torchvision's four losses for each image. Boxes that do not count are left out."""
        assert isinstance(network, RcnnNetwork)
        return torch.stack([network.loss(image, _counted(rows)) for image, rows in zip(inputs, targets, strict=True)])

    def boxes(self, outputs: Tensor, height: int, width: int) -> list[Found]:
        """What outputs say of each image."""
        found = []
        for rows in outputs.detach().cpu().double().numpy():
            rows = rows[1:][rows[1:, 5] >= 0]
            found.append(Found(rows[:, :4], rows[:, 5].astype(int), rows[:, 4]))
        return found

    def size_of(self, outputs: Tensor) -> tuple[int, int]:
        """(height, width) in pixels of the pictures that outputs are of."""
        width, height = outputs[0, 0, :2].tolist()
        return round(height), round(width)


def _counted(rows: Tensor) -> Tensor:
    """Boxes that count and have an area, (k, 5)."""
    has_area = (rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1])
    return rows[has_area & counting(rows), :5]


def _as_it_is(image: Tensor, target: Any = None) -> tuple[Tensor, Any]:
    return image, target


class _Pyramid(nn.Module):
    """Levels of lite0 with as many filters each, in the form that torchvision takes."""

    def __init__(self, filters: int, frozen: int) -> None:
        from torchvision.ops import FeaturePyramidNetwork

        super().__init__()
        self.body, self.fpn, self.out_channels = Lite0(frozen), FeaturePyramidNetwork(list(FILTERS), filters), filters

    def forward(self, images: Tensor) -> Any:
        """Levels by name, the finest first."""
        return self.fpn({str(i): level for i, level in enumerate(self.body(images))})


class RcnnNetwork(nn.Module):
    """torchvision's network with ``filters`` in each level, for ``classes`` and boxes of about ``usual`` pixels."""

    def __init__(self, classes: int, filters: int, usual: float, frozen: int) -> None:
        from torchvision.models.detection import FasterRCNN
        from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
        from torchvision.models.detection.rpn import AnchorGenerator
        from torchvision.ops import MultiScaleRoIAlign

        super().__init__()
        sizes = tuple((usual * scale,) for scale in SCALES)
        names = [str(i) for i in range(len(FILTERS))]
        self.model = FasterRCNN(
            _Pyramid(filters, frozen),
            rpn_anchor_generator=AnchorGenerator(sizes, (SHAPES,) * len(sizes)),
            box_roi_pool=MultiScaleRoIAlign(names, output_size=7, sampling_ratio=2, canonical_scale=round(8 * usual)),
            box_head=TwoMLPHead(filters * 7 * 7, FEATURES),
            box_predictor=FastRCNNPredictor(FEATURES, classes + 1),
            rpn_pre_nms_top_n_train=BEFORE,
            rpn_pre_nms_top_n_test=BEFORE,
            rpn_post_nms_top_n_train=AFTER,
            rpn_post_nms_top_n_test=AFTER,
            rpn_batch_size_per_image=SAMPLED,
            box_batch_size_per_image=SAMPLED,
            box_score_thresh=LEAST_SCORE,
            box_detections_per_img=MOST,
            # lite0 does this itself.
            image_mean=[0.0, 0.0, 0.0],
            image_std=[1.0, 1.0, 1.0],
        )
        # It would bring pictures to 800 pixels.
        self.model.transform.resize = _as_it_is

    def forward(self, images: Tensor) -> Tensor:
        """What is found, see :class:`FasterRcnn`; in evaluation mode alone."""
        outputs = images.new_full((len(images), 1 + MOST, 6), -1.0)
        outputs[:, 0, :2] = images.new_tensor([images.shape[-1], images.shape[-2]])
        for row, found in zip(outputs, self.model(list(images)), strict=True):
            columns = found["boxes"], found["scores"][:, None], found["labels"][:, None] - 1
            row[1 : 1 + len(found["boxes"])] = torch.cat(columns, dim=1)
        return outputs

    def loss(self, image: Tensor, boxes: Tensor) -> Tensor:
        """The loss of one image (3, H, W) with boxes (k, 5); in training mode alone."""
        losses = self.model([image], [{"boxes": boxes[:, :4], "labels": boxes[:, 4].long() + 1}])
        return torch.stack(list(losses.values())).sum()
