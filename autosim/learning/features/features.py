"""The contract of image features for distribution matching, and simple statistics of images."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autosim.learning.training import images_at_once, to_tensor

# Pixels of the images whose features are computed at once.
PIXELS = 2**23


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
    def of_images(
        self, images: NDArray[np.uint8], device: torch.device | str = "cpu", batch_size: int | None = None
    ) -> Tensor:
        """(n, d) features of images, uint8 (n, H, W, 3), without gradient. Batches of ``batch_size`` are converted as
        their turn comes; by default of 128, or of fewer where images are large.
        """
        size = batch_size or images_at_once(images, PIXELS, 128)
        parts = (images[start : start + size] for start in range(0, len(images), size))
        return torch.cat([self(to_tensor(part, device)) for part in parts])

    def freeze(self) -> None:
        """Take the parameters out of learning and set evaluation mode; to be called at the end of construction."""
        self.requires_grad_(False)
        super().train(False)

    def train(self, mode: bool = True) -> Features:
        """Features never go back to training mode."""
        return self
