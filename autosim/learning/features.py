"""The contract of image features for distribution matching, and simple statistics of images."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional


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


# Numbers of image statistics: colour and contrast first, then sharpness and noise.
COLOUR_STATISTICS = 6
TEXTURE_STATISTICS = 6


def image_statistics(images: Tensor) -> Tensor:
    """(n, 12) smooth statistics of images (n, 3, H, W), at least 12 pixels high and wide.

    Colour and contrast: mean and standard deviation of each channel. Sharpness and noise: for the grey image at full,
    half and quarter resolution, the logarithms of the mean absolute gradient and of the mean absolute response to a
    mask that is blind to straight edges (Immerkær, "Fast Noise Variance Estimation", 1996).
    """
    parts = [images.mean(dim=(2, 3)), (images.var(dim=(2, 3)) + 1e-6).sqrt()]
    grey = images.mean(dim=1, keepdim=True)
    noise_mask = images.new_tensor([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])[None, None] / 6.0
    for _ in range(3):
        across = grey[..., :, 1:] - grey[..., :, :-1]
        down = grey[..., 1:, :] - grey[..., :-1, :]
        noise = functional.conv2d(grey, noise_mask)
        parts.append(torch.log(_mean_absolute(across) + _mean_absolute(down)))
        parts.append(torch.log(_mean_absolute(noise)))
        grey = functional.avg_pool2d(grey, 2)
    return torch.cat(parts, dim=1)


def _mean_absolute(x: Tensor, softness: float = 2e-3) -> Tensor:
    # Half a grey level of softness: differentiable at 0, and the logarithm of a flat image is finite.
    return (x * x + softness * softness).sqrt().mean(dim=(1, 2, 3))[:, None]


def gaussian_blur(maps: Tensor, sigma: float) -> Tensor:
    """(n, c, h, w) maps blurred by a Gaussian of ``sigma`` cells; beyond the border the maps are 0."""
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=maps.dtype, device=maps.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    channels = maps.shape[1]
    column = kernel[None, None, :, None].expand(channels, 1, -1, 1)
    row = kernel[None, None, None, :].expand(channels, 1, 1, -1)
    maps = functional.conv2d(maps, column, padding=(radius, 0), groups=channels)
    return functional.conv2d(maps, row, padding=(0, radius), groups=channels)
