"""Mitsuba 3 scenes, in process: one scene is built, then changed in place for every image."""

from __future__ import annotations

import copy
import os
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from autosim.rendering.mitsuba.pixels import (
    enlarge,
    enlarge_pullback,
    enlarge_window,
    source_window,
    srgb,
    srgb_pullback,
)
from autosim.rendering.mitsuba.sensors import Sensors, film_shape
from autosim.rendering.mitsuba.silhouettes import View
from autosim.rendering.mitsuba.variant import LIBRARY, Variant, choose_variant, llvm_library
from autosim.rendering.renderer import Renderer
from autosim.rendering.windows import Window
from autosim.scenes.graph import SceneGraph, Schema
from autosim.seeding import integer_seed

Number = TypeVar("Number", bound=np.generic)
# A fixed block size makes scalar renders independent of the number of threads.
BLOCK_SIZE = 16
# Samples of an image (pixels times samples a pixel) from which LLVM's variant is faster than the scalar one.
WORTH_LLVM = 64 * 64 * 4


@dataclass(frozen=True)
class Quality:
    """How an image is rendered: samples a pixel, light bounces, and the pixels of its longer edge (``size``), from
    which the other one follows by the picture's aspect.
    """

    samples: int
    bounces: int
    size: int


class MitsubaRenderer(Renderer):
    """Base of renderers on Mitsuba 3.

    A subclass describes the scene once (:meth:`scene_dict`), writes a scene graph's values into it (:meth:`pose`), and
    gives a scene's :class:`Quality` and the class of each shape in the mask (:meth:`mask_classes`). ``field_of_view``
    is the horizontal one in degrees. Images smaller than (height, width) are enlarged bilinearly; masks are always cast
    through the centres of the final pixels, so they are exact at any quality. ``variant`` is one of Mitsuba's: pixels
    of LLVM's and of the scalar one differ within the noise of their samples. LLVM's begins each image with some
    milliseconds of preparation, so images of fewer than :data:`WORTH_LLVM` samples are always rendered by the scalar
    one.

    LLVM's variant has an adjoint where a subclass gives :meth:`differentiable_pose`: that of Mitsuba's projective
    sampling (Zhang et al., "Projective Sampling for Differentiable Rendering of Geometry", SIGGRAPH Asia 2023), which
    accounts for what comes into view and for shadows. It is right for spheres; it is not for meshes with split vertices
    or that touch others. With few samples it differs from finite differences of the same images: the sRGB curve is not
    linear, so noise changes the mean of a pixel, which only differences take into account.

    A subclass may give windows (:meth:`window`), for which :attr:`view` computes where solids and their shadows are in
    the picture. The noise of an image in a window differs from that of the whole image.
    """

    field_of_view: float

    def __init__(
        self,
        schema: Schema,
        sizes: tuple[int, ...],
        bounces: tuple[int, ...],
        height: int,
        width: int,
        variant: Variant = "scalar_rgb",
    ) -> None:
        self.schema = schema
        self.sizes = sizes
        self.bounces = bounces
        self.height = height
        self.width = width
        self.variant = choose_variant(variant)
        self.library = llvm_library() if self.variant == "llvm_ad_rgb" else None
        # Pixels of a picture's longer edge for each that a scene asks for; samples a pixel of every scene.
        self._scale, self._fixed_samples = 1.0, 0

    @abstractmethod
    def scene_dict(self, mi: Any) -> dict[str, Any]:
        """The scene as ``mi.load_dict`` takes it, without integrator and sensor."""

    @abstractmethod
    def camera(self, mi: Any) -> Any:
        """``to_world`` of the camera; where it moves, of any one."""

    def camera_of(self, mi: Any, scene: SceneGraph) -> Any:
        """``to_world`` of a scene's camera, where the camera moves; by default None, and :meth:`camera` holds."""
        return None

    @abstractmethod
    def pose(self, mi: Any, scene: SceneGraph) -> dict[str, Any]:
        """Scene parameters by name; every call must give every name, whatever the scene."""

    @abstractmethod
    def quality(self, scene: SceneGraph) -> Quality:
        """Render quality of a scene."""

    @abstractmethod
    def mask_classes(self, scene: SceneGraph) -> dict[str, int]:
        """Class id in the annotation ``mask``, which a subclass declares, by shape name; shapes left out are 0."""

    def differentiable_pose(self, mi: Any, scene: SceneGraph, values: Mapping[tuple[int, str], Any]) -> dict[str, Any]:
        """Those parameters of :meth:`pose` that depend on mutable continuous attributes, as functions of these.

        ``values`` holds the attributes by node's index and name, in their own units, as ``mi.Float`` that derivatives
        are taken with respect to. Only called for scenes where :meth:`undifferentiable` gives None.
        """
        raise NotImplementedError(f"{type(self).__name__} has no differentiable pose")

    def undifferentiable(self, scene: SceneGraph) -> str | None:
        """Why a scene cannot have an adjoint, as a message to follow the renderer's name; None where it can.

        A subclass that gives :meth:`differentiable_pose` says here for which scenes and attributes it is right.
        """
        return "has no adjoint"

    def adjoint_refusal(self, scene: SceneGraph) -> str | None:
        """See :meth:`Renderer.adjoint_refusal`: the reason that :meth:`undifferentiable` gives, or the variant."""
        refusal = self.undifferentiable(scene)
        if refusal is None and self.variant != "llvm_ad_rgb":
            return f"variant {self.variant} has no adjoint, which needs llvm_ad_rgb"
        return refusal

    def build(self) -> None:
        """Load the scene with one sensor for each size and one integrator for each number of bounces; with LLVM's
        variant once more for the scalar one.
        """
        self._scalar: MitsubaRenderer | None = None
        if self.library is not None:
            os.environ[LIBRARY] = self.library
            self._scalar = copy.copy(self)
            self._scalar.variant, self._scalar.library = "scalar_rgb", None
            self._scalar.build()
        import drjit as dr
        import mitsuba as mi

        dr.set_thread_count(1)
        mi.set_variant(self.variant)
        mi.set_log_level(mi.LogLevel.Error)
        self._mi: Any = mi
        # The types of this variant, whichever is active: changing the active one takes longer than an image.
        self._types: Any = import_module(f"mitsuba.{self.variant}")
        # Merging equal materials or meshes would remove parameters and order shapes by memory address.
        self._scene = mi.load_dict({"type": "scene", **self.scene_dict(mi)}, optimize=False)
        self._parameters = mi.traverse(self._scene)
        camera, shape = self.camera(mi), (self.height, self.width)
        self._sensors = Sensors(mi, self._types, camera, self.field_of_view, *shape, self._film_edges())
        self._integrators = {
            depth: mi.load_dict(self._integrator_dict(depth), optimize=False) for depth in self.bounces
        }
        # Projective integrators by number of bounces; they are loaded when first needed.
        self._projective: dict[int, Any] = {}
        # Where the camera stands still these are the same for all scenes, and computed once.
        self._rays: Any = None
        self._shapes = {shape.id(): shape for shape in self._scene.shapes()}
        self._posed: SceneGraph | None = None

    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        """See :meth:`Renderer.draw`; ``effort`` scales the samples a pixel, at least one."""
        if self._scalar is not None and self._is_small(scene, effort):
            return self._scalar.draw(scene, seed, effort)
        return srgb(enlarge(self._radiance(scene, seed, effort), self.height, self.width))

    def draw_window(self, scene: SceneGraph, seed: int, effort: float, window: Window) -> NDArray[np.float32]:
        """See :meth:`Renderer.draw_window`."""
        film, picture = self._film(scene), (self.height, self.width)
        source = source_window(film, picture, window)
        if self._scalar is not None and self._is_small(scene, effort, source):
            return self._scalar.draw_window(scene, seed, effort, window)
        return srgb(enlarge_window(self._radiance(scene, seed, effort, source), film, picture, window))

    def cost(self, scene: SceneGraph, effort: float = 1.0, window: Window | None = None) -> float:
        """Samples a pixel times pixels of the scene's film."""
        film = self._film(scene)
        source = window and source_window(film, (self.height, self.width), window)
        return float(_samples(self._quality(scene), effort) * _pixels(film, source))

    @cached_property
    def view(self) -> View:
        """The camera, of a renderer that is built and whose camera stands still."""
        return View(np.array(self.camera(self._mi).matrix), self.field_of_view, self.height, self.width)

    def adjoint(
        self, scene: SceneGraph, seed: int, cotangent: NDArray[np.float32], effort: float = 1.0
    ) -> NDArray[np.float64]:
        """See :meth:`Renderer.adjoint`: an image with the samples of :meth:`draw`, then as many backwards.

        The backward pass has noise of its own: if it shared the image's, the gradient would be biased.
        """
        import drjit as dr

        self._take_turn()
        mi, quality = self._types, self._quality(scene)
        radiance = self._radiance(scene, seed, effort)
        pulled = srgb_pullback(enlarge(radiance, self.height, self.width), cotangent)
        places = self.schema.mutable_continuous(scene)
        values = {(node, spec.name): mi.Float(float(scene.nodes[node][spec.name])) for node, spec in places}
        dr.enable_grad(*values.values())
        self._set(self.differentiable_pose(mi, scene, values))
        self._projective_integrator(quality.bounces).render_backward(
            self._scene,
            params=self._parameters,
            grad_in=mi.TensorXf(enlarge_pullback(pulled, *self._film(scene))),
            sensor=self._sensors.whole(quality.size),
            seed=_mitsuba_seed(integer_seed(seed, "adjoint"), self._film(scene)),
            spp=_samples(quality, effort),
        )
        slopes = [float(dr.grad(value)[0]) for value in values.values()]
        # Otherwise the scene would keep the graph of derivatives in memory until the next image.
        self._apply(scene)
        return np.array([slope * (spec.high - spec.low) for slope, (_, spec) in zip(slopes, places, strict=True)])

    def annotate(self, scene: SceneGraph) -> dict[str, NDArray[np.generic]]:
        """``mask``: uint8 (height, width), the class seen through each pixel's centre."""
        return {"mask": self._seen(scene, self.mask_classes(scene), np.uint8)}

    def instances(self, scene: SceneGraph) -> NDArray[np.uint16]:
        """See :meth:`Renderer.instances`: the shapes that have a class in the mask, in that order."""
        numbers = {name: number for number, name in enumerate(self.mask_classes(scene), start=1)}
        return self._seen(scene, numbers, np.uint16)

    def resized(self, height: int, width: int, samples: int | None = None) -> MitsubaRenderer:
        """See :meth:`Renderer.resized`: films grow with the picture; with ``samples`` they have all of its pixels."""
        other = copy.copy(self)
        other.height, other.width = height, width
        other._scale = self._scale * max(height, width) / max(self.height, self.width)
        other._fixed_samples = samples or self._fixed_samples
        return other

    def _seen(self, scene: SceneGraph, numbers: Mapping[str, int], dtype: type[Number]) -> NDArray[Number]:
        """The number of the shape seen through each pixel's centre, (height, width); 0 for shapes without one."""
        if self._scalar is not None and self._is_small(scene):
            return self._scalar._seen(scene, numbers, dtype)
        # Right after an image of the same scene, Mitsuba's scene already has its values.
        if scene is not self._posed:
            self._apply(scene)
        values = {self._shapes[name]: value for name, value in numbers.items()}
        found = np.zeros(self.height * self.width, dtype=dtype)
        if self._rays is None:
            self._rays = self._centre_rays()
        if self.variant.startswith("scalar"):
            for i, ray in enumerate(self._rays):
                hit = self._scene.ray_intersect_preliminary(ray)
                if hit.is_valid():
                    found[i] = values.get(hit.shape, 0)
        else:
            hits = self._scene.ray_intersect_preliminary(self._rays)
            for shape, value in values.items():
                found[np.array(hits.shape == self._types.ShapePtr(shape), dtype=bool)] = value
        return found.reshape(self.height, self.width)

    def _quality(self, scene: SceneGraph) -> Quality:
        """The quality that a scene asks for, at the size and with the samples of :meth:`resized`."""
        own = self.quality(scene)
        if self._fixed_samples:
            return Quality(self._fixed_samples, own.bounces, max(self.height, self.width))
        return own if self._scale == 1 else replace(own, size=self._scaled(own.size))

    def _scaled(self, size: int) -> int:
        return max(1, round(size * self._scale))

    def _film_edges(self) -> tuple[int, ...]:
        if self._fixed_samples:
            return (max(self.height, self.width),)
        return tuple(dict.fromkeys(self._scaled(size) for size in self.sizes))

    def _film(self, scene: SceneGraph) -> tuple[int, int]:
        """Height and width of a scene's film."""
        return film_shape(self._quality(scene).size, self.height, self.width)

    def _radiance(
        self, scene: SceneGraph, seed: int, effort: float, window: Window | None = None
    ) -> NDArray[np.float32]:
        """Linear radiance of the scene's film, or of a window of it: (rows, columns, 3)."""
        quality = self._quality(scene)
        self._apply(scene)
        sensors = self._sensors
        sensor = sensors.whole(quality.size) if window is None else sensors.window(quality.size, window)
        image = self._integrators[quality.bounces].render(
            self._scene,
            sensor=sensor,
            seed=_mitsuba_seed(seed, self._film(scene)),
            spp=_samples(quality, effort),
        )
        return np.array(image, dtype=np.float32)[..., :3]

    def _is_small(self, scene: SceneGraph, effort: float = 1.0, window: Window | None = None) -> bool:
        return _pixels(self._film(scene), window) * _samples(self._quality(scene), effort) < WORTH_LLVM

    def _take_turn(self) -> None:
        """Mitsuba's Python code works with one variant at a time, which other renderers may have changed."""
        if self._mi.variant() != self.variant:
            self._mi.set_variant(self.variant)

    def _projective_integrator(self, depth: int) -> Any:
        if depth not in self._projective:
            # Guiding learns where shadows' edges are from samples of its own, which cost more than an image.
            how = {"type": "prb_projective", "max_depth": depth, "guiding": "none"}
            self._projective[depth] = self._mi.load_dict(how)
        return self._projective[depth]

    def _apply(self, scene: SceneGraph) -> None:
        self._set(self.pose(self._types, scene))
        if (camera := self.camera_of(self._types, scene)) is not None:
            self._sensors.aim(camera)
            self._rays = None
        self._posed = scene

    def _set(self, values: Mapping[str, Any]) -> None:
        self._posed = None
        for name, value in values.items():
            # Mitsuba skips setting an equal value, and with it the update of derived quantities.
            self._parameters.set_dirty(name)
            self._parameters[name] = value
        self._parameters.update()

    def _integrator_dict(self, depth: int) -> dict[str, Any]:
        return {"type": "path", "max_depth": depth, "block_size": BLOCK_SIZE}

    def _centre_rays(self) -> Any:
        mi = self._mi
        sensor = self._sensors.picture()
        y, x = np.mgrid[0 : self.height, 0 : self.width]
        u, v = (x.ravel() + 0.5) / self.width, (y.ravel() + 0.5) / self.height
        if self.variant.startswith("scalar"):
            return [
                sensor.sample_ray(0.0, 0.5, mi.ScalarPoint2f(float(a), float(b)), mi.ScalarPoint2f(0.5))[0]
                for a, b in zip(u, v, strict=True)
            ]
        return sensor.sample_ray(0.0, 0.5, mi.Point2f(u, v), mi.Point2f(0.5))[0]


def _samples(quality: Quality, effort: float) -> int:
    return max(1, round(quality.samples * effort))


def _pixels(film: tuple[int, int], window: Window | None) -> int:
    return film[0] * film[1] if window is None else window.height * window.width


def _mitsuba_seed(seed: int, film: tuple[int, int]) -> int:
    """Mitsuba multiplies the seed by the number of pixels in 32 bits."""
    return seed % (2**32 // (film[0] * film[1]))
