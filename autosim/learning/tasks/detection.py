"""Detection: upright boxes by a one-stage detector without anchors, scored by average precision.

Objects are points with a size (Zhou, Wang and Krähenbühl, "Objects as Points", 2019): a heat map for each class, with
the focal loss of the paper's equation 1, and place and size of the box at and around each centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from autosim.learning.appearance import varied_look
from autosim.learning.tasks.average_precision import Found
from autosim.learning.tasks.detection_network import DetectorNetwork, Lite0Network
from autosim.learning.tasks.detection_scores import BoxScorer, KittiScorer
from autosim.learning.tasks.detector_settings import OF_KITTI, SCORE_NAMES, DetectorSettings, Score
from autosim.learning.tasks.kitti_precision import LEVELS
from autosim.learning.tasks.task import Task
from autosim.learning.tasks.zoom import zoomed
from autosim.learning.training import to_tensor
from autosim.rendering.annotations import RatedBoxes
from autosim.rendering.frames import Frames
from autosim.seeding import torch_seeded

# Exponents of the focal loss: of a wrong probability, and of the distance to a centre.
ALPHA, BETA = 2.0, 4.0
# Spread of a centre's peak, as a share of the box's sides.
PEAK = 0.12
# Height of a peak above which a cell says place and size of its box.
LEAST_PEAK = 0.1
# Most boxes that are read off an image.
MOST = 100
# How far brightness and contrast vary in training.
BRIGHTNESS, CONTRAST = 0.15, 0.3
# On the learning rate of weights that were trained on ImageNet.
BACKBONE_RATE = 0.1


class Detection(Task):
    """Find the boxes of objects of ``classes``; the truth is the annotation ``boxes``, of the kind ``Boxes``.

    Targets are a list with float32 (k, 5) for each image: x0, y0, x1, y1 in pixels, and the class. ``width`` (a
    multiple of 4) is the number of filters of the first layer; ``stride``, 2 or 4, the edge of a cell in pixels.
    Training flips images and changes their brightness and contrast; ``flips`` and ``colour`` turn that off. With
    ``look`` it changes their look as :func:`varied_look` does, in place of ``colour``; with ``zoom`` above 1 it makes
    them larger or smaller by up to that factor (:func:`zoomed`).

    ``backbone`` is ``scratch``, or ``lite0`` for EfficientNet-lite0 with ImageNet weights, of whose 17 parts the first
    ``frozen`` do not learn; its ``stride`` is 4 or 8, and its pyramid has ``4 * width`` filters. ``size`` are width and
    height of a usual box in pixels, that which boxes have as a network begins; one cell by default.

    ``score`` is average precision at half overlap (AP50), COCO's mean over overlaps (mAP), or KITTI's at the moderate
    level, at its own overlaps (kitti) or at half (kitti50). With the last two, targets of a user's own labels have
    rows of six, with the level at which each object counts (:class:`RatedBoxes`); where one does not count, or anything
    may be, the loss asks for nothing.
    """

    reads = ("boxes",)

    def __init__(
        self,
        classes: Sequence[str],
        width: int = 16,
        stride: int = 4,
        flips: bool = True,
        colour: bool = True,
        backbone: Literal["scratch", "lite0"] = "scratch",
        frozen: int = 0,
        size: tuple[float, float] | None = None,
        score: Score = "AP50",
        look: bool = False,
        zoom: float = 1.0,
    ) -> None:
        if not classes or len(set(classes)) != len(classes):
            raise ValueError(f"classes: {list(classes)} are not one name or more, all different")
        if size is not None and not min(size) > 0:
            raise ValueError(f"size: {size} is not two lengths above 0")
        # Checks the rest, and that lite0 is installed.
        DetectorSettings(backbone, width, stride, frozen, zoom=zoom, score=score)  # type: ignore[arg-type]
        self.classes = tuple(classes)
        self.width, self.stride = width, stride
        self.flips, self.colour, self.look, self.zoom = flips, colour, look, zoom
        self.backbone, self.frozen = backbone, frozen
        self.size = (1.0, 1.0) if size is None else (size[0] / stride, size[1] / stride)
        self.score, self.score_name = score, SCORE_NAMES[score]
        if score in OF_KITTI:
            self.beside = {"rated": RatedBoxes(self.classes, 1)}
        if backbone == "lite0":
            self.rates = {"backbone": BACKBONE_RATE}

    def network(self, seed: int) -> nn.Module:
        """A fresh network; equal seeds give equal weights."""
        common = len(self.classes), self.width, self.stride, self.size
        with torch_seeded(seed):
            scratch = self.backbone == "scratch"
            network = DetectorNetwork(*common) if scratch else Lite0Network(*common, self.frozen)
        return network.to(memory_format=torch.channels_last)

    def prepare(self, frames: Frames, device: torch.device | str = "cpu") -> tuple[Tensor, list[Tensor]]:
        """(images (n, 3, H, W), boxes (k, 5) of each); ``ValueError`` where boxes are missing or of no such class."""
        name = "rated" if self.score in OF_KITTI and "rated" in frames.annotations else "boxes"
        if name not in frames.annotations:
            raise ValueError(f"detection: frames have no annotation 'boxes', only {sorted(frames.annotations)}")
        rows, columns = np.asarray(frames.annotations[name], dtype=np.float32), 5 + (name == "rated")
        if rows.ndim != 3 or rows.shape[2] != columns:
            raise ValueError(f"detection: {name} of shape {rows.shape} instead of (n, most, {columns})")
        if rows.size and rows[..., 4].max() >= len(self.classes):
            raise ValueError(f"detection: a box has class {int(rows[..., 4].max())} of {len(self.classes)}")
        images = to_tensor(frames.images, device).contiguous(memory_format=torch.channels_last)
        # The last column is -1 in rows that are not used, and in no other.
        return images, [torch.from_numpy(each[each[:, -1] >= 0]).to(device) for each in rows]

    def vary(self, inputs: Tensor, targets: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Half of the images mirrored with their boxes; brightness and contrast, or the whole look, of each changed;
        each at another size.
        """
        images, boxes = inputs.clone(), list(targets)
        if self.flips:
            for i in torch.nonzero(torch.rand(len(images)) < 0.5).flatten().tolist():
                images[i] = images[i].flip(-1)
                x0, y0, x1, y1 = boxes[i][:, :4].unbind(1)
                mirrored = torch.stack([images.shape[-1] - x1, y0, images.shape[-1] - x0, y1], dim=1)
                boxes[i] = torch.cat([mirrored, boxes[i][:, 4:]], dim=1)
        if self.look:
            images = varied_look(images)
        elif self.colour:
            shape = (len(images), 1, 1, 1)
            contrast = (1 + CONTRAST * (2 * torch.rand(shape) - 1)).to(images.device)
            brightness = (BRIGHTNESS * (2 * torch.rand(shape) - 1)).to(images.device)
            images = ((images - 0.5) * contrast + 0.5 + brightness).clamp(0.0, 1.0)
        return (images, boxes) if self.zoom == 1 else zoomed(images, boxes, self.zoom)

    def losses(self, outputs: Tensor, targets: list[Tensor]) -> Tensor:
        """(n,): the focal loss of the heat maps, and the smooth L1 loss of places and sizes, each a mean over the
        objects of the image (1 where there are none). Of an object all cells around its centre tell its box, weighted
        by its peak's height there, as in Liu et al., "Training-Time-Friendly Network" (AAAI 2020, section 3.3).
        """
        return torch.stack([self._loss(output, boxes) for output, boxes in zip(outputs, targets, strict=True)])

    def _loss(self, output: Tensor, boxes: Tensor) -> Tensor:
        count, (rows, columns) = len(self.classes), output.shape[-2:]
        boxes, asked = self._asked(boxes, rows, columns)
        centres = (boxes[:, :2] + boxes[:, 2:4]) / (2 * self.stride)
        sizes = (boxes[:, 2:4] - boxes[:, :2]).clamp(min=1.0) / self.stride
        heat, height, owner = _peaks(centres, sizes, boxes[:, 4].long(), output[:count])
        logits = output[:count]
        probability = logits.sigmoid()
        is_centre = heat == 1
        positive = functional.softplus(-logits) * (1 - probability) ** ALPHA * is_centre
        negative = functional.softplus(logits) * probability**ALPHA * (1 - heat) ** BETA
        if asked is not None:
            negative = negative * asked
        loss = (positive + negative).sum() / max(1, len(boxes))
        if len(boxes):
            row, column = torch.nonzero(owner >= 0, as_tuple=True)
            mine, weight = owner[row, column], height[row, column]
            shares = weight / weight.new_zeros(len(boxes)).index_add(0, mine, weight)[mine]
            wanted = torch.cat([(centres[mine] - torch.stack([column, row], dim=1)).T, sizes[mine].log().T])
            apart = functional.smooth_l1_loss(output[count:, row, column], wanted, beta=0.5, reduction="none")
            loss = loss + (apart.sum(dim=0) * shares).sum() / len(boxes)
        return loss

    def _asked(self, boxes: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor | None]:
        """The boxes that count, and where the loss asks for nothing to be there, bool (classes, rows, columns); None
        for everywhere.
        """
        if boxes.shape[1] < 6:
            return boxes, None
        counts = counting(boxes)
        asked = torch.ones((len(self.classes), rows, columns), dtype=torch.bool, device=boxes.device)
        for *corners, kind, _ in boxes[~counts].tolist():
            x0, y0, x1, y1 = (corner / self.stride for corner in corners)
            kinds = slice(None) if kind < 0 else int(kind)
            asked[kinds, int(y0) : ceil(y1), int(x0) : ceil(x1)] = False
        return boxes[counts], asked

    def boxes(self, outputs: Tensor, height: int, width: int) -> list[Found]:
        """What outputs (n, …) say of each image of (height, width): peaks of the heat maps, at most :data:`MOST`."""
        count = len(self.classes)
        heat = outputs[:, :count].sigmoid()
        peaks = heat * (functional.max_pool2d(heat, 3, stride=1, padding=1) == heat)
        scores, places = peaks.flatten(1).topk(min(MOST, peaks[0].numel()), dim=1)
        columns = outputs.shape[-1]
        found = []
        for output, score, place in zip(outputs, scores, places, strict=True):
            kept = score > 0
            score, place = score[kept], place[kept]
            kind, cell = place // output[0].numel(), place % output[0].numel()
            row, column = cell // columns, cell % columns
            offset, size = output[count : count + 2, row, column], output[count + 2 :, row, column].clamp(max=8).exp()
            centre = torch.stack([column, row]) + offset
            corners = torch.cat([centre - size / 2, centre + size / 2]).T * self.stride
            limits = torch.tensor([width, height, width, height], dtype=corners.dtype, device=corners.device)
            clipped = torch.minimum(corners.clamp(min=0), limits)
            found.append(Found(clipped.detach().cpu().double().numpy(), *_read(kind, score)))
        return found

    def found(self, network: nn.Module, frames: Frames, device: torch.device | str = "cpu") -> Frames:
        """The surest boxes first, as many as there are objects in the picture that count."""
        boxes = []
        for outputs, targets in self.predict(network, frames, device):
            for read, truth in zip(self.boxes(outputs, *self.size_of(outputs)), targets, strict=True):
                surest = np.argsort(-read.scores, kind="stable")[: int(counting(truth).sum())]
                boxes.append(np.column_stack([read.boxes[surest], read.classes[surest]]).astype(np.float32))
        rows = np.full((len(boxes), max([1, *map(len, boxes)]), 5), -1.0, dtype=np.float32)
        for row, own in zip(rows, boxes, strict=True):
            row[: len(own)] = own
        return Frames(frames.images, {"boxes": rows})

    def size_of(self, outputs: Tensor) -> tuple[int, int]:
        """(height, width) in pixels of the pictures that outputs are of, rounded up to whole cells."""
        return outputs.shape[-2] * self.stride, outputs.shape[-1] * self.stride

    def scorer(self) -> BoxScorer | KittiScorer:
        """Average precision, as ``score`` says."""
        return KittiScorer(self) if self.score in OF_KITTI else BoxScorer(self)


def counting(boxes: Tensor) -> Tensor:
    """Which of the boxes (k, 5 or 6) are objects that count, of a class and, where levels are told, of one: (k,)."""
    of_a_class = boxes[:, 4] >= 0
    return of_a_class if boxes.shape[1] < 6 else of_a_class & (boxes[:, 5] < len(LEVELS))


def _peaks(centres: Tensor, sizes: Tensor, kinds: Tensor, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The heat map of each class, in the form of ``like`` (classes, rows, columns); the height of the highest peak of
    any class at each cell, and whose it is, −1 where none is above :data:`LEAST_PEAK`. Centres and sizes (k, 2) are in
    cells.
    """
    rows, columns = like.shape[-2:]
    heat, height = torch.zeros_like(like), torch.zeros_like(like[0])
    owner = torch.full((rows, columns), -1, device=like.device)
    across, down = torch.arange(columns, device=like.device), torch.arange(rows, device=like.device)
    cells = centres.floor().long()
    cells = torch.stack([cells[:, 0].clamp(0, columns - 1), cells[:, 1].clamp(0, rows - 1)], dim=1)
    for number, (cell, size, kind) in enumerate(zip(cells, sizes, kinds, strict=True)):
        spread = (PEAK * size).clamp(min=0.3)
        peak = torch.exp(
            -0.5 * ((across - cell[0]) / spread[0])[None] ** 2 - 0.5 * ((down - cell[1]) / spread[1])[:, None] ** 2
        )
        heat[kind] = torch.maximum(heat[kind], peak)
        highest = (peak > height) & (peak > LEAST_PEAK)
        height, owner = torch.where(highest, peak, height), torch.where(highest, number, owner)
    return heat, height, owner


def _read(kind: Tensor, score: Tensor) -> tuple[np.ndarray, np.ndarray]:
    return kind.detach().cpu().numpy(), score.detach().cpu().double().numpy()
