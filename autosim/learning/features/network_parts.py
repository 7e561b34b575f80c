"""What networks that learn features share: residual blocks, held-out frames, the share of these that is explained."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

# Edge in pixels of a cell of the grid of these networks' classes: the total stride of their convolutions.
CELL = 8
# Share of the frames that is held out from training, to measure how well each kind of label is predicted.
HELD_OUT = 0.1


def groups(filters: int) -> nn.Module:
    """Normalisation in groups of four filters, which mixes no pictures."""
    return nn.GroupNorm(filters // 4, filters)


def residual_body(inputs: int, outputs: int, stride: int, normalisation: Callable[[int], nn.Module]) -> nn.Sequential:
    """Two 3×3 convolutions, each normalised, to be added to a shortcut; ``normalisation`` takes the filters."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        normalisation(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
        normalisation(outputs),
    )


def held_out_split(count: int, order: torch.Generator) -> tuple[Tensor, Tensor]:
    """Indices below ``count`` in a random order: the held-out ones, and the rest."""
    shuffled, aside = torch.randperm(count, generator=order), int(HELD_OUT * count)
    return shuffled[:aside], shuffled[aside:]


def explained_share(error: Tensor, without: Tensor) -> float:
    """Share in [0, 1] by which a prediction with ``error`` lowers the error ``without`` it; 0 where that is 0."""
    share = 1.0 - float(error) / float(without) if float(without) > 0 else 0.0
    return min(max(share, 0.0), 1.0)
