"""The contract of image features for distribution matching."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autosim.learning.training import images_at_once, to_tensor

# Pixels of the images whose features are computed at once; a pixel takes some hundred bytes meanwhile.
PIXELS = 2**20


class Features(nn.Module, ABC):
    """Maps each image to a vector. Parameters are frozen and the module stays in evaluation mode.

    ``groups`` are slices that cover 0 … ``dimension`` in order, with a name each: kinds of features that a divergence
    should treat separately, so that many of one kind do not outweigh the few of another. ``weights`` in [0, 1] say how
    much each should count: little for a group with little information. ``seen`` are the shares of attributes, by key,
    that features explain on held-out frames, where they were trained to.
    """

    seen: Mapping[str, float] = MappingProxyType({})

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
        """(n, d) features of images, uint8 (n, H, W, 3), without gradient. Batches of ``batch_size`` are converted one
        by one; by default of 128, or of fewer where images are large.
        """
        size = batch_size or images_at_once(images, PIXELS, 128)
        parts = (images[start : start + size] for start in range(0, len(images), size))
        return torch.cat([self(to_tensor(part, device)) for part in parts])

    def freeze(self) -> None:
        """Freeze the parameters and set evaluation mode; call it at the end of the constructor."""
        self.requires_grad_(False)
        super().train(False)

    def train(self, mode: bool = True) -> Features:
        """Features never go back to training mode."""
        return self
