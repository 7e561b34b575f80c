"""The contract of image features for distribution matching, and simple statistics of images."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Features(nn.Module, ABC):
    """Maps each image to a vector. Parameters are frozen and the module stays in evaluation mode.

    ``groups`` are slices that cover 0 … ``dimension`` in order, with a name each: kinds of features that a divergence
    should treat apart, so that many of one kind do not drown the few of another. ``weights`` say how much each should
    count, in [0, 1]: little where a group tells little.
    """

    groups: list[slice]
    group_names: list[str]
    weights: list[float]

    @property
    def dimension(self) -> int:
        """Number d of features."""
        return self.groups[-1].stop

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """(n, d) features of images, float (n, 3, H, W) in [0, 1]; differentiable, each image by itself."""

    @torch.no_grad()
    def in_batches(self, images: Tensor, batch_size: int = 128) -> Tensor:
        """(n, d) features without gradient, computed in parts to save memory."""
        return torch.cat([self(part) for part in images.split(batch_size)])

    def freeze(self) -> None:
        """Take the parameters out of learning and set evaluation mode; to be called at the end of construction."""
        self.requires_grad_(False)
        super().train(False)

    def train(self, mode: bool = True) -> Features:
        """Features never go back to training mode."""
        return self
