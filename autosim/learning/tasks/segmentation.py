"""Segmentation: a small U-Net, a class-balanced loss and the mean intersection over union."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from autosim.learning.tasks.task import Scorer, Task
from autosim.learning.training import to_tensor
from autosim.rendering.frames import Frames
from autosim.seeding import torch_seeded

Normalisation = Literal["group", "none"]
Average = Literal["classes", "foreground"]


class UNet(nn.Module):
    """A U-Net of eight 3×3 convolutions with ``width`` to ``4 * width`` filters, for images (n, 3, H, W) of any size.

    The first three convolutions have stride 2, so that only the image itself is held at full resolution, and the last
    predicts the four pixels of each 2×2 block at once (pixel shuffle): on a CPU three times as fast as a U-Net that
    begins and ends at full resolution. No layer mixes samples.
    """

    def __init__(self, classes: int, width: int = 16, normalisation: Normalisation = "group") -> None:
        super().__init__()

        def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
            layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 3, stride, 1)]
            if normalisation == "group":
                layers.append(nn.GroupNorm(outputs // 4, outputs))
            return nn.Sequential(*layers, nn.ReLU())

        self.down_half = block(3, width, stride=2)
        self.down_quarter = block(width, 2 * width, stride=2)
        self.down_eighth = block(2 * width, 4 * width, stride=2)
        self.bottom = block(4 * width, 4 * width)
        self.up_quarter = block(4 * width + 2 * width, 2 * width)
        self.up_half = block(2 * width + width, 2 * width)
        self.refine = block(2 * width, width)
        self.classify = nn.Conv2d(width, 4 * classes, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """(n, classes, H, W) logits."""
        half = self.down_half(images)
        quarter = self.down_quarter(half)
        bottom = self.bottom(self.down_eighth(quarter))
        quarter = self.up_quarter(torch.cat([_resize(bottom, quarter), quarter], dim=1))
        half = self.up_half(torch.cat([_resize(quarter, half), half], dim=1))
        logits = functional.pixel_shuffle(self.classify(self.refine(half)), 2)
        return logits[..., : images.shape[-2], : images.shape[-1]]


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(x, size=like.shape[-2:], mode="nearest")


class Segmentation(Task):
    """Assign each pixel one of ``classes``; targets are class indices in the annotation ``mask``, uint8 (n, H, W).

    ``width`` (a multiple of 4) is the number of filters of the first layer; ``normalisation`` is ``group`` or ``none``.

    The loss is balanced within each image: a pixel of class c counts ``f_c ** -balance``, where f_c is the share of the
    image that has class c, and the weights of an image add up to 1. With 0 every pixel counts the same, with 1 every
    class that is in the image. The loss of a sample is thus a function of that sample alone. Class frequencies of a
    training set would make it depend on the other samples, and those of the target would tell a method what is hidden.

    ``average`` says what the score is the mean of, see :class:`IntersectionOverUnion`: all ``classes`` alike, or pixels
    of the ``foreground``. Where what is to be learned is how often each class occurs, the mean over classes rewards a
    network for classes that the target hardly has.
    """

    reads = ("mask",)

    def __init__(
        self,
        classes: Sequence[str],
        width: int = 16,
        normalisation: Normalisation = "group",
        balance: float = 0.75,
        average: Average = "classes",
    ) -> None:
        if len(classes) < 2 or len(set(classes)) != len(classes):
            raise ValueError(f"classes: {list(classes)} are not at least two different names")
        if width < 4 or width % 4:
            raise ValueError(f"width: {width} is not a multiple of 4 from 4 on")
        if normalisation not in ("group", "none"):
            raise ValueError(f"normalisation: {normalisation!r} is not one of ['group', 'none']")
        if not 0 <= balance <= 1:
            raise ValueError(f"balance: {balance} is not in [0, 1]")
        if average not in ("classes", "foreground"):
            raise ValueError(f"average: {average!r} is not one of ['classes', 'foreground']")
        self.classes = tuple(classes)
        self.average: Average = average
        self.score_name = "mIoU" if average == "classes" else "foreground IoU"
        self.width = width
        self.normalisation: Normalisation = normalisation
        self.balance = balance

    def network(self, seed: int) -> nn.Module:
        """A fresh :class:`UNet`; equal seeds give equal weights. The global random state is left as it was."""
        with torch_seeded(seed):
            network = UNet(len(self.classes), self.width, self.normalisation)
        return network.to(memory_format=torch.channels_last)

    def prepare(self, frames: Frames, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """(images (n, 3, H, W), targets int64 (n, H, W)); ``ValueError`` where masks are missing or do not fit."""
        if "mask" not in frames.annotations:
            raise ValueError(f"segmentation: frames have no annotation 'mask', only {sorted(frames.annotations)}")
        mask = frames.annotations["mask"]
        if mask.shape != frames.images.shape[:3]:
            raise ValueError(f"segmentation: masks of shape {mask.shape} for images of shape {frames.images.shape}")
        targets = torch.from_numpy(mask.astype("int64"))
        if len(targets) and int(targets.max()) >= len(self.classes):
            raise ValueError(f"segmentation: mask has class {int(targets.max())}, but there are {len(self.classes)}")
        images = to_tensor(frames.images, device).contiguous(memory_format=torch.channels_last)
        return images, targets.to(device)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(n,) class-balanced cross-entropy, in nats."""
        cross_entropy = functional.cross_entropy(outputs, targets, reduction="none").flatten(1)
        flat = targets.flatten(1)
        share = functional.one_hot(flat, len(self.classes)).to(outputs.dtype).mean(dim=1)
        weights = share.gather(1, flat) ** -self.balance
        return (cross_entropy * weights).sum(dim=1) / weights.sum(dim=1)

    def found(self, network: nn.Module, frames: Frames, device: torch.device | str = "cpu") -> Frames:
        """The likeliest class of each pixel."""
        classes = [outputs.argmax(dim=1).cpu() for outputs, _ in self.predict(network, frames, device)]
        return Frames(frames.images, {"mask": torch.cat(classes).numpy().astype("uint8")})

    def scorer(self) -> IntersectionOverUnion:
        """Intersection over union."""
        return IntersectionOverUnion(self.classes, self.average)


class IntersectionOverUnion(Scorer):
    """Intersection over union, with each class's pixels pooled over all images.

    Of the ``classes``: the mean over them; those that are neither predicted nor in the targets are left out. Of the
    ``foreground``: all classes but the first, the intersections' sum over the unions' sum, so that a class counts as
    often as it occurs or is predicted; 1 where there is no foreground at all. The first is torchmetrics' macro Jaccard
    index to the last digit; importing that library takes each process longer than many a training.
    """

    def __init__(self, classes: Sequence[str], average: Average = "classes") -> None:
        self.classes = tuple(classes)
        self.average: Average = average
        # Row: the target's class; column: the predicted one.
        self.pixels = torch.zeros(len(self.classes), len(self.classes), dtype=torch.int64)

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Count the pixels of logits (n, classes, H, W) by their largest class and their target, int64 (n, H, W)."""
        count = len(self.classes)
        pairs = targets.flatten() * count + outputs.argmax(dim=1).flatten()
        self.pixels += torch.bincount(pairs, minlength=count**2).reshape(count, count).cpu()

    def compute(self) -> float:
        """The score in [0, 1]; ``ValueError`` where nothing was seen."""
        if not int(self.pixels.sum()):
            raise ValueError("intersection over union: no pixels were seen")
        pixels = self.pixels.float()
        both = pixels.diagonal()
        either = pixels.sum(dim=0) + pixels.sum(dim=1) - both
        if self.average == "foreground":
            union = float(either[1:].sum())
            return float(both[1:].sum()) / union if union else 1.0
        known = (either > 0).float()
        shares = both / either.clamp(min=1.0)
        return float((known * shares / known.sum()).sum())

    def by_class(self) -> dict[str, float]:
        """Intersection over union of each class that is there or predicted."""
        pixels = self.pixels
        both = pixels.diagonal()
        union = pixels.sum(dim=0) + pixels.sum(dim=1) - both
        shares = zip(self.classes, both.tolist(), union.tolist(), strict=True)
        return {name: common / either for name, common, either in shares if either}
