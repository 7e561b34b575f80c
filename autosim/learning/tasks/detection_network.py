"""One-stage detectors without anchors: a feature pyramid, from random weights or on EfficientNet-lite0, and a head."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from autosim.learning.lite0 import FILTERS, STRIDES, Lite0

# Share of cells that hold an object, as the network begins.
BEGINNING = 0.02


class DetectorNetwork(nn.Module):
    """For images (n, 3, H, W): (n, classes + 4, H / stride, W / stride), rounded up, for each cell the logits of an
    object of each class whose centre is there, the place of the centre within the cell (2, x and y in cells) and the
    logarithm of width and height in cells (2).

    ``width`` to ``4 * width`` filters; ``stride`` is 2 or 4. Group normalisation: no layer mixes samples. ``size``:
    width and height, in cells, that boxes have as the network begins.
    """

    def __init__(self, classes: int, width: int = 16, stride: int = 4, size: tuple[float, float] = (1.0, 1.0)) -> None:
        super().__init__()
        self.stride = stride
        self.down_half = _block(3, width, 2)
        self.down_quarter = nn.Sequential(_block(width, 2 * width, 2), _block(2 * width, 2 * width))
        self.down_eighth = nn.Sequential(_block(2 * width, 4 * width, 2), _block(4 * width, 4 * width))
        self.down_sixteenth = nn.Sequential(_block(4 * width, 4 * width, 2), _block(4 * width, 4 * width))
        self.up_eighth = _block(8 * width, 4 * width)
        self.up_quarter = _block(6 * width, 2 * width)
        self.up_half = _block(3 * width, 2 * width) if stride == 2 else nn.Identity()
        self.head = _head(2 * width, classes, size)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        half = self.down_half(images)
        quarter = self.down_quarter(half)
        eighth = self.down_eighth(quarter)
        features = self.up_eighth(_joined(self.down_sixteenth(eighth), eighth))
        features = self.up_quarter(_joined(features, quarter))
        if self.stride == 2:
            features = self.up_half(_joined(features, half))
        outputs: Tensor = self.head(features)
        return outputs


class Lite0Network(nn.Module):
    """The same on EfficientNet-lite0, with ``stride`` 4 or 8 and ``frozen`` parts that do not learn.

    Each level gets ``4 * width`` filters and is added to the finer one (Lin et al., "Feature Pyramid Networks", 2017).
    The backbone's normalisation is frozen, that of the rest is by groups.
    """

    def __init__(
        self,
        classes: int,
        width: int = 16,
        stride: int = 4,
        size: tuple[float, float] = (1.0, 1.0),
        frozen: int = 0,
    ) -> None:
        super().__init__()
        self.stride, self.first = stride, STRIDES.index(stride)
        self.backbone = Lite0(frozen)
        self.lateral = nn.ModuleList([_block(filters, 4 * width, kernel=1) for filters in FILTERS[self.first :]])
        self.head = _head(4 * width, classes, size)

    def forward(self, images: Tensor) -> Tensor:
        """See :class:`DetectorNetwork`."""
        levels = self.backbone(images)[self.first :]
        features = self.lateral[-1](levels[-1])
        for level, lateral in zip(levels[-2::-1], self.lateral[-2::-1], strict=True):
            finer = lateral(level)
            features = finer + functional.interpolate(features, size=finer.shape[-2:], mode="nearest")
        outputs: Tensor = self.head(features)
        return outputs


def _block(inputs: int, outputs: int, step: int = 1, kernel: int = 3) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, step, kernel // 2)
    return nn.Sequential(convolution, nn.GroupNorm(outputs // 4, outputs), nn.ReLU())


def _head(filters: int, classes: int, size: tuple[float, float]) -> nn.Sequential:
    """What the outputs of a cell are computed by, with boxes of ``size`` in the beginning."""
    last = nn.Conv2d(filters, classes + 4, 1)
    assert last.bias is not None
    nn.init.zeros_(last.bias)
    nn.init.constant_(last.bias[:classes], float(torch.logit(torch.tensor(BEGINNING))))
    with torch.no_grad():
        last.bias[classes + 2 :] = torch.tensor([math.log(length) for length in size])
    return nn.Sequential(_block(filters, filters), last)


def _joined(coarse: Tensor, fine: Tensor) -> Tensor:
    return torch.cat([functional.interpolate(coarse, size=fine.shape[-2:], mode="nearest"), fine], dim=1)
