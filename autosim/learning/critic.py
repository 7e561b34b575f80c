"""A discriminator between generated images and a target's, trained step by step."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autosim.learning.training import NETWORKS, images_at_once, to_tensor
from autosim.seeding import torch_seeded

# Longest edge of what the network sees, in pixels: larger pictures are averaged down to it.
EDGE = 64
# Edge of the grid that the network's last features are averaged to: where things are matters.
GRID = 4
# Pixels of the images whose logits are computed at once.
PIXELS = 2**20


class Critic:
    """Logit of an image being the target's: a small convolutional network without normalisation, trained by
    cross-entropy with the R1 penalty (Mescheder, Geiger and Nowozin, ICML 2018, Eq. 9): ``penalty`` / 2 times the mean
    squared gradient of the logit at the target's images, which keeps the logit smooth where generated and target images
    do not overlap.

    ``target`` are images, uint8 (m, H, W, 3). Weights follow from ``seed``.
    """

    def __init__(
        self,
        target: NDArray[np.uint8],
        width: int,
        rate: float,
        penalty: float,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device, self.penalty = device, penalty
        self.target = self._input(target)
        sizes = (3, width, 2 * width, 4 * width)
        layers: list[nn.Module] = []
        with torch_seeded(seed):
            for inputs, outputs in pairwise(sizes):
                layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.LeakyReLU(0.2)]
            head = [nn.AdaptiveAvgPool2d(GRID), nn.Flatten(), nn.Linear(sizes[-1] * GRID * GRID, 1)]
            self.network = nn.Sequential(*layers, *head).to(device)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=rate, betas=(0.5, 0.99))

    def train(self, generated: NDArray[np.uint8], steps: int, seed: np.random.SeedSequence) -> float:
        """So many steps on ``generated`` images (n, H, W, 3) and as many of the target, drawn anew in each; returns the
        last cross-entropy, which is log 4 where the two look alike.
        """
        fake, rng = self._input(generated), np.random.default_rng(seed)
        entropy = 0.0
        with NETWORKS.running():
            for _ in range(steps):
                entropy = self._step(fake, rng)
        return entropy

    def _step(self, fake: Tensor, rng: np.random.Generator) -> float:
        """One step; the cross-entropy before it."""
        count = min(len(fake), len(self.target))
        real = self.target[torch.from_numpy(rng.permutation(len(self.target))[:count])].clone().requires_grad_()
        logits = self.network(real)
        loss = nn.functional.softplus(-logits).mean() + nn.functional.softplus(self.network(fake)).mean()
        entropy = float(loss.detach())
        if self.penalty:
            (slopes,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
            loss = loss + self.penalty / 2 * slopes.square().sum(dim=(1, 2, 3)).mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return entropy

    @torch.no_grad()
    def logits(self, images: NDArray[np.uint8]) -> Tensor:
        """(n,) logits of images (n, H, W, 3): high where one looks like the target's."""
        size = images_at_once(images, PIXELS, 128)
        parts = [images[start : start + size] for start in range(0, len(images), size)]
        return torch.cat([self.network(self._input(part))[:, 0] for part in parts])

    def state_dict(self) -> dict[str, Any]:
        """Network and optimiser."""
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])

    def _input(self, images: NDArray[np.uint8]) -> Tensor:
        """(n, 3, h, w) in [-1, 1], no edge longer than ``EDGE``."""
        pixels = to_tensor(images, self.device)
        longest = max(pixels.shape[-2:])
        if longest > EDGE:
            height, width = (max(1, round(edge * EDGE / longest)) for edge in pixels.shape[-2:])
            pixels = nn.functional.interpolate(pixels, (height, width), mode="area")
        return pixels * 2 - 1
