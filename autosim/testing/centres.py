"""A small detection task with both forms of targets: find the cell with the centre of each box, and the box's size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from autosim.learning.tasks.targets import Targets
from autosim.learning.tasks.task import Scorer, Task
from autosim.learning.training import to_tensor
from autosim.rendering.frames import Frames
from autosim.seeding import torch_seeded

# Edge of a cell in pixels: the network's stride.
CELL = 8


class DenseCentres(Task):
    """Find boxes of ``classes`` in the annotation ``boxes``, float32 (n, most, 5); targets are these, still padded.

    For each cell of 8 × 8 pixels the network gives a logit for each class (whether the centre of such a box is there)
    and the logarithms of the box's width and height in cells: (n, classes + 2, rows, columns). In training, half of the
    images are mirrored.
    """

    score_name = "F1"

    def __init__(self, classes: Sequence[str], width: int = 8) -> None:
        self.classes, self.width = tuple(classes), width

    def network(self, seed: int) -> nn.Module:
        """Three convolutions of stride 2; no layer mixes samples."""
        width, outputs = self.width, len(self.classes) + 2
        with torch_seeded(seed):
            return nn.Sequential(
                nn.Conv2d(3, width, 5, 2, 2),
                nn.ReLU(),
                nn.Conv2d(width, 2 * width, 3, 2, 1),
                nn.ReLU(),
                nn.Conv2d(2 * width, outputs, 3, 2, 1),
            )

    def prepare(self, frames: Frames, device: torch.device | str = "cpu") -> tuple[Tensor, Targets]:
        """(images (n, 3, H, W), boxes (n, most, 5)); ``ValueError`` where there are none."""
        if "boxes" not in frames.annotations:
            raise ValueError(f"centres: frames have no annotation 'boxes', only {sorted(frames.annotations)}")
        boxes = torch.from_numpy(frames.annotations["boxes"].astype("float32"))
        return to_tensor(frames.images, device), boxes.to(device)

    def vary(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Targets]:
        """Images and their boxes, each mirrored or not."""
        turned = torch.rand(len(inputs), device=inputs.device) < 0.5
        return self.mirrored(inputs, targets, turned)

    def mirrored(self, inputs: Tensor, targets: Tensor, turned: Tensor) -> tuple[Tensor, Targets]:
        """The images that are ``turned``, bool (n,), mirrored left to right with their boxes."""
        images = torch.where(turned[:, None, None, None], inputs.flip(3), inputs)
        boxes = targets[..., [2, 1, 0, 3, 4]]
        boxes = torch.cat([inputs.shape[3] - boxes[..., :1], boxes[..., 1:2], inputs.shape[3] - boxes[..., 2:3],
                           boxes[..., 3:]], dim=-1)  # fmt: skip
        used = targets[..., 4:] >= 0
        return images, torch.where(turned[:, None, None] & used, boxes, targets)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(n,) cross-entropy of the cells, summed, plus the mean error of the sizes."""
        classes = len(self.classes)
        logits, sizes = outputs[:, :classes], outputs[:, classes:]
        place = _cells(targets, outputs)
        sample, kind, row, column, box = place
        heat = torch.zeros_like(logits)
        heat[sample, kind, row, column] = 1.0
        found = functional.binary_cross_entropy_with_logits(logits, heat, reduction="none").flatten(1).sum(dim=1)
        wanted = ((box[:, 2:4] - box[:, :2]).clamp(min=1.0) / CELL).log()
        errors = functional.smooth_l1_loss(sizes[sample, :, row, column], wanted, reduction="none").sum(dim=1)
        counts = torch.bincount(sample, minlength=len(outputs)).clamp(min=1)
        return found + torch.zeros_like(found).index_add(0, sample, errors) / counts

    def scorer(self) -> CentreScorer:
        """F1 of the cells."""
        return CentreScorer(self.classes)


class ListedCentres(DenseCentres):
    """The same with a list of targets, for each image a tensor (boxes, 5) of as many as it has."""

    def prepare(self, frames: Frames, device: torch.device | str = "cpu") -> tuple[Tensor, Targets]:
        """(images (n, 3, H, W), n tensors of boxes)."""
        images, padded = super().prepare(frames, device)
        return images, [boxes[boxes[:, 4] >= 0] for boxes in padded]

    def mirrored(self, inputs: Tensor, targets: Targets, turned: Tensor) -> tuple[Tensor, Targets]:
        """The same for a list."""
        found = [
            super(ListedCentres, self).mirrored(inputs[i : i + 1], boxes[None], turned[i : i + 1])
            for i, boxes in enumerate(targets)
        ]
        return torch.cat([image for image, _ in found]), [boxes[0] for _, boxes in found]

    def losses(self, outputs: Tensor, targets: Targets) -> Tensor:
        """The same for a list."""
        return torch.cat(
            [super(ListedCentres, self).losses(outputs[i : i + 1], t[None]) for i, t in enumerate(targets)]
        )


class CentreScorer(Scorer):
    """F1 of the predicted cells over all images, for all classes together and for each."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.right, self.found, self.there = (torch.zeros(len(classes)) for _ in range(3))

    def update(self, outputs: Tensor, targets: Targets) -> None:
        """Add outputs of the network and boxes, padded or listed."""
        for output, boxes in zip(outputs, targets, strict=True):
            _, kind, row, column, _ = _cells(boxes[None], output[None])
            heat = torch.zeros_like(output[: len(self.classes)], dtype=torch.bool)
            heat[kind, row, column] = True
            guess = output[: len(self.classes)] > 0
            self.right += (heat & guess).sum(dim=(1, 2)).cpu()
            self.found += guess.sum(dim=(1, 2)).cpu()
            self.there += heat.sum(dim=(1, 2)).cpu()

    def compute(self) -> float:
        """F1; 1 where there are no boxes and none are predicted."""
        either = float((self.found + self.there).sum())
        return 2 * float(self.right.sum()) / either if either else 1.0

    def by_class(self) -> dict[str, float]:
        """F1 of each class that is in the targets or predicted."""
        either = (self.found + self.there).tolist()
        shares = zip(self.classes, self.right.tolist(), either, strict=True)
        return {name: 2 * right / both for name, right, both in shares if both}


def _cells(boxes: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Sample, class, row and column of the cell with the centre of each of the k used boxes, and the boxes (k, 5)."""
    sample, place = (boxes[..., 4] >= 0).nonzero(as_tuple=True)
    used = boxes[sample, place]
    middle = (used[:, :2] + used[:, 2:4]) / 2 / CELL
    row = middle[:, 1].long().clamp(0, outputs.shape[2] - 1)
    column = middle[:, 0].long().clamp(0, outputs.shape[3] - 1)
    return sample, used[:, 4].long(), row, column, used
