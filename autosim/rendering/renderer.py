"""The contract of renderers. A renderer is built once where it works and then draws scene after scene."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from autosim.errors import RendererError
from autosim.rendering.frames import Frame
from autosim.scenes.graph import SceneGraph, Schema

# What a line that refuses an adjoint ends with.
ALLOWED = "allowed are central, forward and spsa"


class Renderer(ABC):
    """Draws scenes. Every method is a function of its arguments alone: no state of an earlier call may show.

    Before :meth:`build` an instance is a light, picklable description, sent to the workers; ``build`` makes whatever is
    heavy (an engine's scene, buffers) in the worker's process.

    ``classes`` tells how many classes there are in each annotation that holds class indices; what a renderer gives is
    checked against it.
    """

    schema: Schema
    height: int
    width: int
    classes: Mapping[str, int] = MappingProxyType({})

    @abstractmethod
    def build(self) -> None:
        """Load the engine and build its scene; called once in the process that draws."""

    @abstractmethod
    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        """The image, float32 (height, width, 3), sRGB in [0, 1].

        ``seed`` (31 bits) fixes all randomness, so that equal arguments give equal pixels. ``effort`` in (0, 1] may
        lower the quality (fewer samples, say) where only differences of images are wanted.
        """

    def annotate(self, scene: SceneGraph) -> Mapping[str, NDArray[np.generic]]:
        """Ground truth by name, exact and without randomness; none by default."""
        return {}

    def draw_many(
        self, scenes: Sequence[SceneGraph], seeds: Sequence[int], effort: float = 1.0
    ) -> Sequence[NDArray[np.float32]]:
        """The images of several scenes, each pixel for pixel what :meth:`draw` gives; for renderers that draw many at
        less than the cost of each.
        """
        return [self.draw(scene, seed, effort) for scene, seed in zip(scenes, seeds, strict=True)]

    def checked_draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        """What :meth:`draw` gives, clipped to [0, 1]; ``RendererError`` unless finite float32 (height, width, 3)."""
        return self._checked(self.draw(scene, seed, effort))

    def checked_draw_many(
        self, scenes: Sequence[SceneGraph], seeds: Sequence[int], effort: float = 1.0
    ) -> list[NDArray[np.float32]]:
        """The same for :meth:`draw_many`."""
        images = self.draw_many(scenes, seeds, effort)
        if len(images) != len(scenes):
            raise RendererError(f"{type(self).__name__}: draw_many gave {len(images)} images of {len(scenes)} scenes")
        return [self._checked(image) for image in images]

    def adjoint_refusal(self, scene: SceneGraph) -> str | None:
        """Why :meth:`adjoint` does not take a scene, as what follows the renderer's name in a line; None where it does.

        Asked before a run too, of a renderer that is not built. By default a renderer that overrides :meth:`adjoint`
        takes every scene.
        """
        return "has no adjoint" if type(self).adjoint is Renderer.adjoint else None

    def adjoint(
        self, scene: SceneGraph, seed: int, cotangent: NDArray[np.float32], effort: float = 1.0
    ) -> NDArray[np.float64]:
        """The renderer's own derivative of a scene's image, backwards; for renderers that can tell it.

        ``cotangent`` (height, width, 3) is ``dL/dR`` for the image ``R`` in [0, 1] that :meth:`draw` gives, clipping
        included. Returns ``dL/d(normalised value)`` of each mutable continuous attribute, float64 (attributes,) in the
        order of ``Schema.values``. ``seed`` and ``effort`` as for :meth:`draw`; images drawn later are what they would
        have been without the call. ``RendererError`` where there is none.
        """
        raise RendererError(f"{type(self).__name__}: has no adjoint; {ALLOWED}")

    def checked_adjoint(
        self, scene: SceneGraph, seed: int, cotangent: NDArray[np.float32], effort: float = 1.0
    ) -> NDArray[np.float64]:
        """What :meth:`adjoint` gives; ``RendererError`` where it is refused or not finite float64 (attributes,)."""
        name = type(self).__name__
        if (refusal := self.adjoint_refusal(scene)) is not None:
            raise RendererError(f"{name}: {refusal}; {ALLOWED}")
        gradient = self.adjoint(scene, seed, cotangent, effort)
        found = f"{gradient.dtype} {gradient.shape}" if isinstance(gradient, np.ndarray) else type(gradient).__name__
        expected = (len(self.schema.mutable_continuous(scene)),)
        if not isinstance(gradient, np.ndarray) or gradient.dtype != np.float64 or gradient.shape != expected:
            raise RendererError(f"{name}: adjoint gave {found} instead of float64 {expected}")
        if not np.isfinite(gradient).all():
            bad = int(np.count_nonzero(~np.isfinite(gradient)))
            raise RendererError(f"{name}: adjoint gave {bad} values that are not finite")
        return gradient

    def _checked(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        expected = (self.height, self.width, 3)
        if not isinstance(image, np.ndarray) or image.dtype != np.float32 or image.shape != expected:
            raise RendererError(f"{type(self).__name__}: draw gave {found} instead of float32 {expected}")
        if not np.isfinite(image).all():
            bad = int(np.count_nonzero(~np.isfinite(image)))
            raise RendererError(f"{type(self).__name__}: draw gave {bad} values that are not finite")
        return np.clip(image, 0.0, 1.0)

    def render(self, scene: SceneGraph, seed: int) -> Frame:
        """Image, rounded to 8 bits, with its ground truth."""
        return Frame(eight_bits(self.checked_draw(scene, seed)), self.annotate(scene))

    def render_many(self, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> Sequence[Frame]:
        """Frames of several scenes, each what :meth:`render` gives."""
        return [self.render(scene, seed) for scene, seed in zip(scenes, seeds, strict=True)]

    def close(self) -> None:  # noqa: B027 - nothing to release by default
        """Release what ``build`` took."""


def eight_bits(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """An image in [0, 1], or several, rounded to 0 … 255."""
    return np.rint(image * 255.0).astype(np.uint8)
