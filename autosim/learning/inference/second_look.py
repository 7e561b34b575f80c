"""A second look at what was found: crops of the picture around each node, at its full resolution.

Cells of the first look see the picture coarsely and from where they are: the angle of a small thing that may be
anywhere, or what it is made of, are told better from a crop in whose middle it lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from autosim.learning.features.network_parts import groups, residual_body
from autosim.learning.inference.attributes import MOST_GRADIENT, ReadClass
from autosim.learning.inference.found import FoundNodes
from autosim.learning.schedule import TrainingSchedule
from autosim.learning.training import fit, to_tensor
from autosim.seeding import torch_seeded

# Edges of the crops, as shares of the picture's shorter edge; those of many nodes, which are small; and pixels that
# each is drawn with.
SHARES, SMALL_SHARES, EDGE = (0.25, 0.5), (0.125, 0.25), 24
# More nodes of a class than these are many.
MANY = 5
BATCH, MOST_RATE = 32, 3e-3
# Most steps of a training: many nodes take fewer passes. Small ones are told apart later.
MOST_STEPS, MOST_STEPS_SMALL = 1000, 2000
# Standard deviation by which crops miss a node's middle in training, as a share of half the smallest crop.
JITTER = 0.08


class SecondLook(nn.Module):
    """What crops add to predictions of a class; nothing before it is trained."""

    def __init__(self, read: ReadClass, width: int = 16) -> None:
        super().__init__()
        self.read = read
        self.small = read.most > MANY
        self.shares = SMALL_SHARES if self.small else SHARES
        inner = 2 * width
        self.stem = nn.Sequential(
            nn.Conv2d(3 * len(self.shares), width, 5, 2, 2, bias=False), groups(width), nn.ReLU(),
        )  # fmt: skip
        self.down = residual_body(width, inner, 2, groups)
        self.shortcut = nn.Conv2d(width, inner, 1, 2)
        cells = (EDGE // 4) ** 2
        self.hidden = nn.Sequential(nn.Linear(inner * cells, 96), nn.ReLU())
        self.out = nn.Linear(96, read.outputs)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, images: Tensor, places: Tensor, outputs: Tensor) -> Tensor:
        """(k, outputs): first predictions ``outputs`` (k, outputs) of nodes at ``places`` (k, 2), put right by what
        their ``images`` (k, 3, height, width), in [0, 1], show there.
        """
        x = self.stem(crops(images, places, self.shares) - 0.5)
        x = functional.relu(self.down(x) + self.shortcut(x))
        added = self.out(self.hidden(x.flatten(1)))
        # Means move by standard deviations of the first look.
        means, rest = added.split([len(self.read.continuous), added.shape[1] - len(self.read.continuous)], dim=1)
        return outputs + torch.cat([means * self.read.split(outputs).sigmas, rest], dim=1)


def crops(images: Tensor, places: Tensor, shares: Sequence[float] = SHARES) -> Tensor:
    """(k, 3 shares, EDGE, EDGE): windows of each of ``shares`` around ``places`` (k, 2), one in each of ``images`` (k,
    3, height, width); beyond the picture its edge goes on.
    """
    height, width = images.shape[-2:]
    shorter = min(height, width)
    steps = (torch.arange(EDGE, device=images.device) + 0.5) / EDGE * 2 - 1
    ys, xs = torch.meshgrid(steps, steps, indexing="ij")
    window = torch.stack([xs, ys], dim=-1)
    result = []
    for share in shares:
        # Means over what a pixel of the crop covers.
        coarser = int(share * shorter / EDGE)
        seen = functional.avg_pool2d(images, coarser) if coarser > 1 else images
        scale = torch.tensor([share * shorter / width, share * shorter / height], device=images.device)
        points = places[:, None, None] + window * scale
        result.append(functional.grid_sample(seen, points, padding_mode="border", align_corners=False))
    return torch.cat(result, dim=1)


def train_second_look(
    look: SecondLook, images: NDArray[np.uint8], nodes: FoundNodes, schedule: TrainingSchedule, seed: int
) -> None:
    """Train on nodes that were found in ``images`` (n, height, width, 3)."""
    if not len(nodes.rows):
        return

    def loss_of(batch: Tensor) -> Tensor:
        some = nodes.select(batch)
        missed = JITTER * look.shares[0] * torch.randn(len(batch), 2)
        predicted = look(to_tensor(images[some.rows.numpy()]), some.places + missed, some.outputs)
        return -look.read.log_prob(predicted, some.truth, look.small).mean()

    look.train()
    # With uneven gradients places are put right, and what small nodes are is not learned.
    limit = MOST_GRADIENT if look.small else None
    steps = MOST_STEPS_SMALL if look.small else MOST_STEPS
    most = max(steps * BATCH // len(nodes.rows), 1)
    rate = min(schedule.learning_rate, MOST_RATE)
    schedule = replace(schedule, epochs=min(schedule.epochs, most), batch_size=BATCH, learning_rate=rate)
    with torch_seeded(seed):
        fit(look, len(nodes.rows), schedule, torch.Generator().manual_seed(seed), loss_of, most=limit)
    look.eval()


@torch.no_grad()
def looked(look: SecondLook, images: NDArray[np.uint8], places: Tensor, outputs: Tensor) -> Tensor:
    """(n, most, outputs) after a second look at every node of ``images`` (n, height, width, 3)."""
    seen = to_tensor(images)
    return torch.stack([look(seen, places[:, i], outputs[:, i]) for i in range(outputs.shape[1])], dim=1)
