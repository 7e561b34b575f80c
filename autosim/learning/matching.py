"""Which divergence a method matches the target's image features by, made from a run's features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from autosim.learning.divergence import DistributionMatcher
from autosim.learning.sinkhorn import SinkhornMatcher

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from autosim.learning.features.sources import ReferencedFeatures

Divergence = Literal["mmd", "sinkhorn"]
# What each is called among a run's figures.
FIGURES: dict[Divergence, str] = {"mmd": "mmd2", "sinkhorn": "sinkhorn"}


def matcher_of(
    divergence: Divergence, source: ReferencedFeatures, images: NDArray[np.uint8], device: torch.device | str = "cpu"
) -> DistributionMatcher:
    """The divergence of generated features from those of target ``images`` (n, H, W, 3)."""
    features = source.features
    target = features.of_images(images, device)
    kind = SinkhornMatcher if divergence == "sinkhorn" else DistributionMatcher
    return kind(target, source.reference, features.groups, features.weights)
