"""The contract of renderers. A renderer is built once, in the process that draws, and then draws scene after scene."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from autosim.errors import RendererError
from autosim.rendering.annotations import Annotation, check_image
from autosim.rendering.frames import Frame
from autosim.rendering.usage import memory_held
from autosim.rendering.windows import Window
from autosim.scenes.graph import SceneGraph, Schema

# End of the line that refuses an adjoint.
ALLOWED = "allowed are central, forward and spsa"

Kind = TypeVar("Kind", bound="Renderer")


class Renderer(ABC):
    """Draws scenes. Results of every method depend on its arguments alone, not on earlier calls.

    Before :meth:`build` an instance is a light, picklable description, sent to the workers; ``build`` creates what is
    large (an engine's scene, buffers) in the worker's process.

    A renderer implements :meth:`draw`, and :meth:`annotate` where it has ground truth; :meth:`render` is made of both.
    One that gives image and ground truth at once, as an engine in another process does, implements :meth:`render`
    alone; the others are then made of it. ``annotations`` declares the ground truth by name, and every frame is
    checked against it. ``field_of_view`` is the horizontal one of the picture in degrees, None where there is no
    perspective camera.
    """

    schema: Schema
    height: int
    width: int
    annotations: Mapping[str, Annotation] = MappingProxyType({})
    field_of_view: float | None = None

    def __new__(cls: type[Kind], *args: Any, **kwargs: Any) -> Kind:
        """``TypeError`` for a class that implements neither ``draw`` nor ``render``."""
        if cls.draw is Renderer.draw and cls.render is Renderer.render:
            raise TypeError(f"{cls.__name__} implements neither draw nor render; one of them has to make the image")
        return super().__new__(cls)

    @abstractmethod
    def build(self) -> None:
        """Load the engine and build its scene; called once in the process that draws."""

    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        """The image, float32 (height, width, 3), sRGB in [0, 1].

        ``seed`` (31 bits) fixes all randomness, so that equal arguments give equal pixels. ``effort`` in (0, 1] may
        lower the quality (fewer samples, say) where only differences of images are wanted.

        By default the image of :meth:`render`, rounded to 8 bits, whatever the effort: steps of finite differences
        should then change pixels by several of the 255 levels.
        """
        return self._as_drawn(self.render(scene, seed))

    def annotate(self, scene: SceneGraph) -> Mapping[str, NDArray[np.generic]]:
        """Ground truth by name, as ``annotations`` declares it, exact and without randomness.

        By default that of :meth:`render` where :meth:`draw` is made of it too, and otherwise none.
        """
        return self.render(scene, 0).annotations if self._only_renders() else {}

    def draw_many(
        self, scenes: Sequence[SceneGraph], seeds: Sequence[int], effort: float = 1.0
    ) -> Sequence[NDArray[np.float32]]:
        """The images of several scenes, equal to those of :meth:`draw` in every pixel; for renderers that draw many at
        once faster than one by one. Made of :meth:`render_many` where :meth:`draw` is made of :meth:`render`.
        """
        if self._only_renders():
            return [self._as_drawn(frame) for frame in self.render_many(scenes, seeds)]
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

    def window(self, scene: SceneGraph, node: int, attribute: str) -> Window | None:
        """The part of a scene's picture that shows something of one attribute of the node of index ``node``; None for
        the whole picture, as by default.

        Where two scenes differ in that attribute alone, their pictures differ within the union of their two windows
        only, or so little outside that a gradient may ignore it. A window may reach beyond the picture; it is empty
        where the attribute does not show.
        """
        return None

    def draw_window(self, scene: SceneGraph, seed: int, effort: float, window: Window) -> NDArray[np.float32]:
        """The image in a window that lies within the picture, float32 (window.height, window.width, 3); by default cut
        out of the whole.

        Noise may differ from that of :meth:`draw`, so both sides of a difference have to be drawn in the same window.
        """
        return self.draw(scene, seed, effort)[window.slices]

    def checked_window(self, scene: SceneGraph, seed: int, effort: float, window: Window) -> NDArray[np.float32]:
        """What :meth:`draw_window` gives, clipped to [0, 1]; ``RendererError`` as for :meth:`checked_draw`."""
        return self._checked(self.draw_window(scene, seed, effort, window), "draw_window", window.height, window.width)

    def cost(self, scene: SceneGraph, effort: float = 1.0, window: Window | None = None) -> float:
        """Render cost of an image: samples a pixel times pixels. Works before :meth:`build`, too.

        By default height times width times ``effort``, and in a window its share of that where :meth:`draw_window` is
        implemented. A renderer whose scenes set the render quality overrides this.
        """
        cost = self.height * self.width * effort
        if window is None or type(self).draw_window is Renderer.draw_window:
            return cost
        return cost * window.share(self.height, self.width)

    @property
    def annotates_by_rendering(self) -> bool:
        """Whether :meth:`annotate` renders an image to find the ground truth."""
        return self._only_renders() and type(self).annotate is Renderer.annotate

    def adjoint_refusal(self, scene: SceneGraph) -> str | None:
        """Why :meth:`adjoint` cannot differentiate a scene, as a message to follow the renderer's name; None where it
        can.

        Works before :meth:`build`, too. By default a renderer that overrides :meth:`adjoint` can differentiate every
        scene.
        """
        return "has no adjoint" if type(self).adjoint is Renderer.adjoint else None

    def adjoint(
        self, scene: SceneGraph, seed: int, cotangent: NDArray[np.float32], effort: float = 1.0
    ) -> NDArray[np.float64]:
        """The renderer's own derivative of a scene's image, in reverse mode; for renderers that have one.

        ``cotangent`` (height, width, 3) is ``dL/dR`` for the image ``R`` in [0, 1] that :meth:`draw` gives, clipping
        included. Returns ``dL/d(normalised value)`` of each mutable continuous attribute, float64 (attributes,) in the
        order of ``Schema.values``. ``seed`` and ``effort`` as for :meth:`draw`; the call does not change images drawn
        later. ``RendererError`` where there is no adjoint.
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

    def _checked(
        self, image: NDArray[np.float32], method: str = "draw", height: int | None = None, width: int | None = None
    ) -> NDArray[np.float32]:
        found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        expected = (self.height if height is None else height, self.width if width is None else width, 3)
        if not isinstance(image, np.ndarray) or image.dtype != np.float32 or image.shape != expected:
            raise RendererError(f"{type(self).__name__}: {method} gave {found} instead of float32 {expected}")
        if not np.isfinite(image).all():
            bad = int(np.count_nonzero(~np.isfinite(image)))
            raise RendererError(f"{type(self).__name__}: {method} gave {bad} values that are not finite")
        return np.clip(image, 0.0, 1.0)

    def _only_renders(self) -> bool:
        return type(self).draw is Renderer.draw

    def _as_drawn(self, frame: Frame) -> NDArray[np.float32]:
        check_image(frame.image, self.height, self.width)
        return frame.image.astype(np.float32) / np.float32(255.0)

    def render(self, scene: SceneGraph, seed: int) -> Frame:
        """Image, uint8 (height, width, 3), with its ground truth; by default what :meth:`draw` gives, rounded to 8
        bits, with what :meth:`annotate` gives.
        """
        if self._only_renders():
            raise RendererError(f"{type(self).__name__}: Renderer.render needs draw, which is not implemented")
        return Frame(eight_bits(self.checked_draw(scene, seed)), self.annotate(scene))

    def render_many(self, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> Sequence[Frame]:
        """Frames of several scenes, each what :meth:`render` gives."""
        return [self.render(scene, seed) for scene, seed in zip(scenes, seeds, strict=True)]

    def instances(self, scene: SceneGraph) -> NDArray[np.uint16] | None:
        """Which object each pixel shows, uint16 (height, width): 1, 2, …, and 0 where there is none, exact and without
        randomness; None where the renderer cannot tell, as by default.

        For data sets that are written from scenes: an environment that learns from instances declares an annotation.
        """
        return None

    def resized(self, height: int, width: int, samples: int | None = None) -> Renderer:
        """An unbuilt renderer of the same scenes whose pictures have (height, width), and ``samples`` a pixel for every
        scene where that is given, whatever quality a scene asks for. ``RendererError`` where it cannot be, as by
        default.
        """
        raise RendererError(f"{type(self).__name__}: draws pictures of {self.width}×{self.height} in its own way only")

    def core_seconds(self) -> float:
        """CPU seconds used so far by what draws: this process, and others where a renderer has any."""
        return time.process_time()

    def memory_held(self) -> int:
        """Bytes of memory that what draws holds now: this process, and others where a renderer has any."""
        return memory_held()

    def close(self) -> None:  # noqa: B027 - nothing to release by default
        """Release what ``build`` created."""


def eight_bits(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """An image in [0, 1], or several, rounded to 0 … 255."""
    return np.rint(image * 255.0).astype(np.uint8)
