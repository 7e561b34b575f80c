"""The network that reads scenes off pictures: a grid of cells, each of which may hold a node, and a scene-wide head."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from autosim.learning.features.network_parts import residual_body
from autosim.learning.features.statistics import COLOUR_STATISTICS, TEXTURE_STATISTICS
from autosim.learning.inference.attributes import ReadClass

# Edge in pixels of a cell.
CELL = 4
# Edge of the thumbnail that the scene-wide head sees.
THUMBNAIL = 4
STATISTICS = COLOUR_STATISTICS + TEXTURE_STATISTICS


class SceneNetwork(nn.Module):
    """Images at ``size`` (height, width: multiples of 8) to predictions of every class of ``read``.

    Cells see their surroundings, the whole picture by a path at half the resolution, and where they are. Scene-wide
    predictions are made of pooled activations, statistics of the image and a thumbnail.
    """

    statistics_mean: Tensor
    statistics_std: Tensor

    def __init__(self, read: Sequence[ReadClass], mask_classes: int, size: tuple[int, int], width: int = 16) -> None:
        super().__init__()
        self.read = tuple(read)
        self.sets = [each for each in self.read if not each.single]
        self.singles = [each for each in self.read if each.single]
        rows, columns = size[0] // CELL, size[1] // CELL
        inner = 2 * width
        self.stem = nn.Sequential(nn.Conv2d(3, width, 5, 2, 2, bias=False), _groups(width), nn.ReLU())
        self.down = residual_body(width, inner, 2, _groups)
        self.shortcut = nn.Conv2d(width, inner, 3, 2, 1)
        self.place = nn.Conv2d(inner + 2, inner, 3, 1, 1)
        self.around = residual_body(inner, inner, 1, _groups)
        self.wide = nn.Sequential(nn.Conv2d(inner, inner, 3, 1, 2, 2, bias=False), _groups(inner), nn.ReLU())
        self.context = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True), residual_body(inner, inner, 1, _groups), nn.ReLU(),
            nn.Conv2d(inner, inner, 3, 1, 2, 2), nn.ReLU(),
        )  # fmt: skip
        numbers = sum(1 + each.outputs for each in self.sets)
        self.cells = nn.Sequential(nn.Conv2d(inner, inner, 1), nn.ReLU(), nn.Conv2d(inner, max(numbers, 1), 1))
        self.bias = nn.Parameter(torch.zeros(max(numbers, 1), rows, columns))
        self.background = nn.Parameter(torch.full((max(len(self.sets), 1),), math.log(0.3)))
        self.grid = nn.Conv2d(inner, mask_classes, 1) if mask_classes > 1 else None
        seen = 2 * inner + STATISTICS + inner * THUMBNAIL**2
        outputs = sum(each.outputs for each in self.singles)
        self.scene = nn.Sequential(nn.Linear(seen, 96), nn.ReLU(), nn.Linear(96, max(outputs, 1)))
        ys, xs = torch.meshgrid(torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij")
        self.register_buffer("coordinates", torch.stack([xs, ys]), persistent=False)
        self.register_buffer("statistics_mean", torch.zeros(STATISTICS))
        self.register_buffer("statistics_std", torch.ones(STATISTICS))

    def forward(
        self, images: Tensor, statistics: Tensor
    ) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor], Tensor | None]:
        """(log-rates (n, cells) and predictions (n, cells, outputs) of each set, predictions (n, outputs) of each
        single node, logits of the mask's classes (n, classes, rows, columns) or None).
        """
        x = self.stem(images)
        x = functional.relu(self.down(x) + self.shortcut(x))
        coordinates = self.coordinates
        assert isinstance(coordinates, Tensor)
        x = functional.relu(self.place(torch.cat([x, coordinates.expand(len(x), -1, -1, -1)], dim=1)))
        x = functional.relu(x + self.around(x))
        context = functional.interpolate(self.context(x), size=x.shape[-2:], mode="nearest")
        x = self.wide(x) + context + x
        cells = (self.cells(x) + self.bias).flatten(2).transpose(1, 2)
        sets = []
        for part in cells.split([1 + each.outputs for each in self.sets], dim=2) if self.sets else ():
            sets.append((part[..., 0] - 4.0, part[..., 1:]))
        pooled = torch.cat([x.mean(dim=(2, 3)), (x.var(dim=(2, 3), unbiased=False) + 1e-4).sqrt()], dim=1)
        thumbnail = functional.adaptive_avg_pool2d(x, THUMBNAIL).flatten(1)
        scaled = (statistics - self.statistics_mean) / self.statistics_std
        scene = self.scene(torch.cat([pooled, scaled, thumbnail], dim=1))
        singles = list(scene.split([each.outputs for each in self.singles], dim=1)) if self.singles else []
        return sets, singles, None if self.grid is None else self.grid(x)


def _groups(filters: int) -> nn.Module:
    return nn.GroupNorm(filters // 4, filters)
