"""Changes of a picture's look that leave its contents where they are, to train on renders for photographs.

Exposure, contrast, white balance, saturation, sharpness and noise of a camera are changed at random for each image (as
domain randomisation does to the pictures instead of the scenes: Tremblay et al., "Training Deep Networks with Synthetic
Data", 2018).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

# Standard deviations: of the logarithms of gamma, contrast and the gain of each channel, and of brightness.
GAMMA, CONTRAST, GAINS, BRIGHTNESS = 0.3, 0.25, 0.12, 0.06
# Factor on the saturation, from and to; the largest standard deviation of noise.
SATURATION, NOISE = (0.4, 1.6), 0.06
# Share of images that are blurred; spread of the blur in pixels, from and to.
BLURRED, SPREADS = 0.4, (0.4, 1.4)
RADIUS = 3
GREY = (0.299, 0.587, 0.114)


def varied_look(images: Tensor) -> Tensor:
    """``images``, float (n, 3, H, W) in [0, 1], each with another look, in [0, 1]; by torch's global generator."""
    count = len(images)

    def normal(channels: int = 1) -> Tensor:
        return torch.randn(count, channels, 1, 1).to(images)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, 1).to(images)

    changed = images.clamp(1e-4, 1.0) ** (GAMMA * normal()).exp()
    grey = (changed * changed.new_tensor(GREY)[:, None, None]).sum(dim=1, keepdim=True)
    changed = grey + (changed - grey) * uniform(*SATURATION)
    changed = changed * (GAINS * normal(3)).exp()
    changed = (changed - 0.5) * (CONTRAST * normal()).exp() + 0.5 + BRIGHTNESS * normal()
    blurred = torch.nonzero(torch.rand(count) < BLURRED).flatten().tolist()
    for index in blurred:
        changed[index] = _blurred(changed[index], float(torch.empty(()).uniform_(*SPREADS)))
    changed = changed + uniform(0.0, NOISE) * torch.randn(images.shape).to(images)
    return changed.clamp(0.0, 1.0)


def _blurred(image: Tensor, spread: float) -> Tensor:
    """``image`` (3, H, W) blurred by a Gaussian of this standard deviation in pixels, edges repeated."""
    places = torch.arange(-RADIUS, RADIUS + 1).to(image)
    kernel = torch.exp(-0.5 * (places / spread) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    padded = functional.pad(image[None], (RADIUS,) * 4, mode="replicate")
    across = functional.conv2d(padded, kernel, groups=3)
    return functional.conv2d(across, kernel.transpose(2, 3), groups=3)[0]
