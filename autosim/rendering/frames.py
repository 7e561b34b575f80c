"""Frames: images with their ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """One image, uint8 (H, W, 3), and its annotations by name, as :mod:`autosim.rendering.annotations` has them."""

    image: NDArray[np.uint8]
    annotations: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)


@dataclass(frozen=True)
class Frames:
    """n images, uint8 (n, H, W, 3), and annotations stacked along a first axis of length n."""

    images: NDArray[np.uint8]
    annotations: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values in self.annotations.items():
            if len(values) != len(self.images):
                raise ValueError(f"annotation {name!r} has {len(values)} entries for {len(self.images)} images")

    def __len__(self) -> int:
        return len(self.images)

    def select(self, index: NDArray[np.generic] | Sequence[int] | slice) -> Frames:
        """The frames at ``index`` (integers, booleans or a slice), in that order."""
        chosen = index if isinstance(index, slice) else np.asarray(index)
        return Frames(self.images[chosen], {name: values[chosen] for name, values in self.annotations.items()})

    def with_labels_permuted(self) -> Frames:
        """The same images, each with the annotations of the one before it: labels that teach nothing of an image."""
        return Frames(self.images, {name: np.roll(values, 1, axis=0) for name, values in self.annotations.items()})

    def frame(self, index: int) -> Frame:
        """One of the frames."""
        return Frame(self.images[index], {name: values[index] for name, values in self.annotations.items()})

    @staticmethod
    def stack(frames: Sequence[Frame]) -> Frames:
        """Frames of one renderer, one after another; ``ValueError`` where there are none or shapes differ."""
        if not frames:
            raise ValueError("no frames to stack")
        return Frames(
            np.stack([frame.image for frame in frames]),
            {name: np.stack([frame.annotations[name] for frame in frames]) for name in frames[0].annotations},
        )

    @staticmethod
    def concatenate(parts: Sequence[Frames]) -> Frames:
        """Several batches of one renderer as one; ``ValueError`` where there are none or shapes differ."""
        if not parts:
            raise ValueError("no frames to concatenate")
        return Frames(
            np.concatenate([part.images for part in parts]),
            {name: np.concatenate([part.annotations[name] for part in parts]) for name in parts[0].annotations},
        )
