"""A small one-stage detector without anchors: a feature pyramid and one head."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# Share of cells that hold an object, as the network begins.
BEGINNING = 0.02


class DetectorNetwork(nn.Module):
    """For images (n, 3, H, W): (n, classes + 4, H / stride, W / stride), rounded up, for each cell the logits of an
    object of each class whose centre is there, the place of the centre within the cell (2, x and y in cells) and the
    logarithm of width and height in cells (2).

    ``width`` to ``4 * width`` filters; ``stride`` is 2 or 4. Group normalisation: no layer mixes samples.
    """

    def __init__(self, classes: int, width: int = 16, stride: int = 4) -> None:
        super().__init__()

        def block(inputs: int, outputs: int, step: int = 1) -> nn.Sequential:
            layers = (nn.Conv2d(inputs, outputs, 3, step, 1), nn.GroupNorm(outputs // 4, outputs), nn.ReLU())
            return nn.Sequential(*layers)

        self.stride = stride
        self.down_half = block(3, width, 2)
        self.down_quarter = nn.Sequential(block(width, 2 * width, 2), block(2 * width, 2 * width))
        self.down_eighth = nn.Sequential(block(2 * width, 4 * width, 2), block(4 * width, 4 * width))
        self.down_sixteenth = nn.Sequential(block(4 * width, 4 * width, 2), block(4 * width, 4 * width))
        self.up_eighth = block(8 * width, 4 * width)
        self.up_quarter = block(6 * width, 2 * width)
        self.up_half = block(3 * width, 2 * width) if stride == 2 else nn.Identity()
        self.head = nn.Sequential(block(2 * width, 2 * width), nn.Conv2d(2 * width, classes + 4, 1))
        last = self.head[1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.zeros_(last.bias)
        nn.init.constant_(last.bias[:classes], float(torch.logit(torch.tensor(BEGINNING))))

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


def _joined(coarse: Tensor, fine: Tensor) -> Tensor:
    return torch.cat([functional.interpolate(coarse, size=fine.shape[-2:], mode="nearest"), fine], dim=1)
