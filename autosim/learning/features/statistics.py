"""Simple statistics of images: colour, contrast, sharpness and noise; and a Gaussian blur."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

# Numbers of image statistics: colour and contrast first, then sharpness and noise.
COLOUR_STATISTICS = 6
TEXTURE_STATISTICS = 6


def image_statistics(images: Tensor) -> Tensor:
    """(n, 12) smooth statistics of images (n, 3, H, W), at least 12 pixels high and wide.

    Colour and contrast: mean and standard deviation of each channel. Sharpness and noise: for the grey image at full,
    half and quarter resolution, the logarithms of the mean absolute gradient and of the mean absolute response to a
    filter that ignores straight edges (Immerkær, "Fast Noise Variance Estimation", 1996).
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
    # Rounded by half a grey level: differentiable at 0, and the logarithm of a flat image is finite.
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
