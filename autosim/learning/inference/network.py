"""The network that reads scenes off pictures: a grid of cells, each of which may hold a node, and a scene-wide head."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from autosim.learning.features.network_parts import groups, residual_body
from autosim.learning.features.statistics import COLOUR_STATISTICS, TEXTURE_STATISTICS
from autosim.learning.inference.attributes import ReadClass

# Edge in pixels of a cell.
CELL = 4
# Edge of the thumbnail that the scene-wide head sees.
THUMBNAIL = 4
# How far from the likeliest cell a single node may reach, as a share of half the picture.
NEAR = 0.25
STATISTICS = COLOUR_STATISTICS + TEXTURE_STATISTICS


@dataclass(frozen=True)
class Predicted:
    """What is predicted of a class: of a set, log-``rates`` (n, cells) and ``outputs`` (n, cells, outputs); of a single
    node ``outputs`` (n, outputs) and, if it is looked for, the ``place`` (n, 2) where it is, x and y in [-1, 1].
    """

    outputs: Tensor
    rates: Tensor | None = None
    place: Tensor | None = None


class SceneNetwork(nn.Module):
    """Images at ``size`` (height, width: multiples of 8) to predictions of every class of ``read``.

    Cells see their surroundings, the whole picture by a path at half the resolution, and where they are. Scene-wide
    predictions are made of pooled activations, statistics of the image and a thumbnail. A single node with an angle is
    looked for first, and read where it is; children of a single node are read given what that one is. Where a class of
    the ``mask`` has a set's name, cells that show it hold such nodes rather than others.
    """

    coordinates: Tensor
    statistics_mean: Tensor
    statistics_std: Tensor

    def __init__(self, read: Sequence[ReadClass], mask: Sequence[str], size: tuple[int, int], width: int = 16) -> None:
        super().__init__()
        self.read = tuple(read)
        told = {each.name: each.told for each in self.read}
        plain = [each for each in self.read if not each.parent]
        self.sets = [each for each in plain if not each.single]
        self.singles = [each for each in plain if each.single and not each.angles]
        self.own = [each for each in self.read if each.parent or (each.single and each.angles)]
        rows, columns = size[0] // CELL, size[1] // CELL
        inner = 2 * width
        self.stem = nn.Sequential(nn.Conv2d(3, width, 5, 2, 2, bias=False), groups(width), nn.ReLU())
        self.down = residual_body(width, inner, 2, groups)
        self.shortcut = nn.Conv2d(width, inner, 3, 2, 1)
        self.place = nn.Conv2d(inner + 2, inner, 3, 1, 1)
        self.around = residual_body(inner, inner, 1, groups)
        self.wide = nn.Sequential(nn.Conv2d(inner, inner, 3, 1, 2, 2, bias=False), groups(inner), nn.ReLU())
        self.context = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True), residual_body(inner, inner, 1, groups), nn.ReLU(),
            nn.Conv2d(inner, inner, 3, 1, 2, 2), nn.ReLU(),
        )  # fmt: skip
        numbers = sum(1 + each.outputs for each in self.sets)
        self.cells = nn.Sequential(nn.Conv2d(inner, inner, 1), nn.ReLU(), nn.Conv2d(inner, max(numbers, 1), 1))
        self.bias = nn.Parameter(torch.zeros(max(numbers, 1), rows, columns))
        self.background = nn.Parameter(torch.full((max(len(self.read), 1),), math.log(0.3)))
        self.grid = nn.Conv2d(inner, len(mask), 1) if len(mask) > 1 else None
        # Where a class of the mask has a node's name, it shows where such nodes are.
        self.shown = {each.name: mask.index(each.name) for each in self.read if each.name in mask and len(mask) > 1}
        seen = 2 * inner + STATISTICS + inner * THUMBNAIL**2
        outputs = sum(each.outputs for each in self.singles)
        self.scene = nn.Sequential(nn.Linear(seen, 96), nn.LayerNorm(96), nn.ReLU(), nn.Linear(96, max(outputs, 1)))
        self.heads = nn.ModuleDict()
        for each in self.own:
            given = told.get(each.parent, 0)
            self.heads[each.name] = (
                LocatedHead(inner, seen + given, each.outputs)
                if each.single
                else GivenCells(inner, given, each.outputs)
            )
        ys, xs = torch.meshgrid(torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij")
        self.register_buffer("coordinates", torch.stack([xs, ys]), persistent=False)
        self.register_buffer("statistics_mean", torch.zeros(STATISTICS))
        self.register_buffer("statistics_std", torch.ones(STATISTICS))

    def forward(
        self, images: Tensor, statistics: Tensor, given: Mapping[str, Tensor]
    ) -> tuple[dict[str, Predicted], Tensor | None]:
        """(what is predicted of each class, by name; logits of the mask's classes (n, classes, rows, columns) or None).
        ``given`` (n, told) tells of the parents of the classes that have one, by the child's name; a class whose parent
        is not told is left out.
        """
        x = self.stem(images)
        x = functional.relu(self.down(x) + self.shortcut(x))
        spread = self.coordinates.expand(len(x), -1, -1, -1)
        x = functional.relu(self.place(torch.cat([x, spread], dim=1)))
        x = functional.relu(x + self.around(x))
        context = functional.interpolate(self.context(x), size=x.shape[-2:], mode="nearest")
        x = self.wide(x) + context + x
        found: dict[str, Predicted] = {}
        grid = None if self.grid is None else self.grid(x)
        cells = (self.cells(x) + self.bias).flatten(2).transpose(1, 2)
        parts = cells.split([1 + each.outputs for each in self.sets], dim=2) if self.sets else ()
        for each, part in zip(self.sets, parts, strict=True):
            found[each.name] = Predicted(part[..., 1:], part[..., 0] + self._usual(each, grid))
        pooled = torch.cat([x.mean(dim=(2, 3)), (x.var(dim=(2, 3), unbiased=False) + 1e-4).sqrt()], dim=1)
        thumbnail = functional.adaptive_avg_pool2d(x, THUMBNAIL).flatten(1)
        scaled = (statistics - self.statistics_mean) / self.statistics_std
        seen = torch.cat([pooled, scaled, thumbnail], dim=1)
        if self.singles:
            outputs = self.scene(seen).split([each.outputs for each in self.singles], dim=1)
            found |= {each.name: Predicted(part) for each, part in zip(self.singles, outputs, strict=True)}
        located = torch.cat([x, spread], dim=1)
        for each in self.own:
            if each.parent and each.name not in given:
                continue
            told, head = given[each.name] if each.parent else seen[:, :0], self.heads[each.name]
            if each.single:
                outputs, place = head(located, torch.cat([seen, told], dim=1), self._usual(each, grid))
                found[each.name] = Predicted(outputs, place=place)
            else:
                rates, outputs = head(located, told)
                found[each.name] = Predicted(outputs, rates + self._usual(each, grid))
        return found, grid

    def _usual(self, read: ReadClass, grid: Tensor | None) -> Tensor:
        """Log-rates (n, cells) or (1, 1) of a class's nodes before anything is learned about them."""
        if grid is None or read.name not in self.shown:
            return self.bias.new_full((1, 1), -4.0)
        return grid.log_softmax(dim=1)[:, self.shown[read.name]].flatten(1) - 1.0


class LocatedHead(nn.Module):
    """Finds one thing among the cells, and predicts it by what is there and by what the whole picture says."""

    def __init__(self, inner: int, seen: int, outputs: int, hidden: int = 96) -> None:
        super().__init__()
        self.look = nn.Conv2d(inner + 2, 1, 1)
        self.hidden = nn.Sequential(
            nn.Linear(inner + 2 + seen, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.out = nn.Linear(hidden, outputs)

    def forward(self, located: Tensor, seen: Tensor, usual: Tensor) -> tuple[Tensor, Tensor]:
        """(predictions (n, outputs), where it is (n, 2)) by activations with coordinates (n, inner + 2, rows, columns)
        and by ``seen`` (n, seen). Where it is before anything is learned, ``usual`` (n, cells) tells in logarithms.
        """
        weights = (self.look(located).flatten(2) + usual[:, None]).softmax(dim=2)
        there = (located.flatten(2) * weights).sum(dim=2)
        # Weights elsewhere would draw the place to the middle.
        coordinates = located[:, -2:].flatten(2)
        top = weights.argmax(dim=2, keepdim=True).expand(-1, 2, -1)
        near = ((coordinates - coordinates.gather(2, top)).abs() < NEAR).all(dim=1, keepdim=True) * weights
        place = (coordinates * near).sum(dim=2) / near.sum(dim=2).clamp_min(1e-9)
        return self.out(self.hidden(torch.cat([there, seen], dim=1))), place


class GivenCells(nn.Module):
    """Predicts a set of things in the cells, given what they hang on."""

    def __init__(self, inner: int, told: int, outputs: int, hidden: int = 96) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Conv2d(inner + 2 + 3 * told, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, hidden, 1), nn.ReLU()
        )
        self.out = nn.Conv2d(hidden, 1 + outputs, 1)

    def forward(self, located: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """(log-rates (n, cells), predictions (n, cells, outputs)) of activations with coordinates, and (n, told)."""
        spread = told[:, :, None, None].expand(-1, -1, *located.shape[-2:])
        # A place counted from a turned parent is made of products of the cell's place and the parent's sine and cosine.
        products = [spread * located[:, axis, None] for axis in (-2, -1)]
        cells = self.out(self.hidden(torch.cat([located, spread, *products], dim=1))).flatten(2).transpose(1, 2)
        return cells[..., 0], cells[..., 1:]
