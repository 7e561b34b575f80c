"""The network of content features, its input and its loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from autosim.learning.features.labels import ContentLabels, ContentTargets
from autosim.learning.features.network_parts import CELL, groups, residual_body
from autosim.learning.features.statistics import COLOUR_STATISTICS, TEXTURE_STATISTICS, gaussian_blur

# Standard deviation in pixels of the blur of the network's input.
INPUT_BLUR = 0.7
STATISTICS = COLOUR_STATISTICS + TEXTURE_STATISTICS


class ContentNetwork(nn.Module):
    """A ResNet of three residual blocks at strides 4, 8 and 8, with a head for each kind of label.

    Normalisation removes an image's overall brightness, so the heads of the scene-wide labels take image statistics
    beside the pooled activations.
    """

    statistics_mean: Tensor
    statistics_std: Tensor

    def __init__(self, targets: ContentTargets, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), groups(width), nn.ReLU())
        self.blocks = nn.ModuleList(
            [
                residual_body(width, 2 * width, 2, groups),
                residual_body(2 * width, 4 * width, 2, groups),
                residual_body(4 * width, 4 * width, 1, groups),
            ]
        )
        self.shortcuts = nn.ModuleList(
            [nn.Conv2d(width, 2 * width, 1, 2), nn.Conv2d(2 * width, 4 * width, 1, 2), nn.Identity()]
        )
        self.grid = nn.Conv2d(4 * width, targets.mask_classes, 1) if targets.mask_classes else None
        outputs = len(targets.continuous) + len(targets.counts) + sum(targets.categorical_sizes)
        self.scene = nn.Sequential(nn.Linear(8 * width + STATISTICS, 64), nn.ReLU(), nn.Linear(64, max(outputs, 1)))
        self.register_buffer("statistics_mean", torch.zeros(STATISTICS))
        self.register_buffer("statistics_std", torch.ones(STATISTICS))

    def forward(self, images: Tensor, statistics: Tensor) -> tuple[Tensor | None, Tensor]:
        """(grid logits (n, classes, h, w) or None, scene-wide outputs (n, continuous + counts + choices))."""
        x = self.stem(images)
        for block, shortcut in zip(self.blocks, self.shortcuts, strict=True):
            x = functional.relu(block(x) + shortcut(x))
        mean = x.mean(dim=(2, 3))
        spread = (x.var(dim=(2, 3), unbiased=False) + 1e-4).sqrt()
        scaled = (statistics - self.statistics_mean) / self.statistics_std
        return None if self.grid is None else self.grid(x), self.scene(torch.cat([mean, spread, scaled], dim=1))


def input_size(height: int, width: int, edge: int) -> tuple[int, int]:
    """(height, width) of the network's input for images of a size: in whole cells, as near to their aspect as these
    allow, and with a longest edge of about ``edge`` pixels at most.
    """
    factor = min(1.0, edge / max(height, width))
    return _whole_cells(height * factor), _whole_cells(width * factor)


def _whole_cells(pixels: float) -> int:
    return max(1, round(pixels / CELL)) * CELL


def network_input(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images at (height, width), each new pixel the mean of what it covers, lightly blurred.

    Without the blur, the network's derivative with respect to an image varies mostly from pixel to pixel, and gradients
    through a renderer are smaller than their sampling noise.
    """
    if images.shape[-2:] != torch.Size(size):
        images = functional.interpolate(images, size=size, mode="area")
    margin = max(1, round(3 * INPUT_BLUR))
    images = functional.pad(images, (margin, margin, margin, margin), mode="replicate")
    images = gaussian_blur(images, INPUT_BLUR)[..., margin:-margin, margin:-margin]
    return images.contiguous(memory_format=torch.channels_last)


def split_outputs(targets: ContentTargets, scene: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The network's scene-wide outputs as (continuous, counts, logits of each categorical attribute)."""
    k, m = len(targets.continuous), len(targets.counts)
    rest = scene[:, k + m : k + m + sum(targets.categorical_sizes)]
    return scene[:, :k], scene[:, k : k + m], list(rest.split(targets.categorical_sizes, dim=1))


class ContentLoss:
    """Sum of the heads' losses, each scaled to be about 1 where only the label's frequencies are known."""

    def __init__(self, targets: ContentTargets, labels: ContentLabels) -> None:
        self.targets = targets
        self.continuous_scale, self.counts_scale = _spread(labels.continuous), _spread(labels.counts)
        self.class_weights: Tensor | None = None
        self.grid_scale = 1.0
        if labels.grid is not None:
            share = labels.grid.mean(dim=(0, 2, 3))
            weights = (share + 1e-4) ** -0.5
            self.class_weights = weights / (weights * share).sum()
            entropy = -(self.class_weights * share * (share + 1e-4).log()).sum()
            self.grid_scale = 1.0 / max(float(entropy), 1e-3)

    def __call__(self, outputs: tuple[Tensor | None, Tensor], labels: ContentLabels) -> Tensor:
        """Mean loss of a batch."""
        grid, scene = outputs
        continuous, counts, choices = split_outputs(self.targets, scene)
        total = scene.sum() * 0.0
        if grid is not None and labels.grid is not None:
            total = total + 4.0 * self.grid_scale * functional.cross_entropy(grid, labels.grid, self.class_weights)
        if continuous.shape[1]:
            total = total + (((continuous - labels.continuous) / self.continuous_scale) ** 2).mean()
        if counts.shape[1]:
            total = total + (((counts - labels.counts) / self.counts_scale) ** 2).mean()
        for logits, target in zip(choices, labels.categorical.unbind(dim=1), strict=True):
            total = total + functional.cross_entropy(logits, target) / len(choices)
        return total


def _spread(labels: Tensor) -> Tensor:
    """Standard deviations of the columns of (n, K), K possibly 0, where torch warns of empty ones."""
    return (labels.std(dim=0, unbiased=False) if labels.shape[1] else labels.new_zeros(0)).clamp_min(1e-3)
