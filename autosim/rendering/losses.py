"""Losses of perturbed scenes: their images and labels dotted with a loss's cotangents, where they are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosim.errors import RendererError
from autosim.rendering.differences import GradientSettings, Stencil
from autosim.rendering.renderer import Renderer
from autosim.rendering.usage import Usage
from autosim.rendering.windows import Window
from autosim.scenes.graph import SceneGraph

# Perturbed scenes of one stencil that are drawn together.
AT_ONCE = 32


@dataclass(frozen=True)
class Cotangents:
    """``dL/d(image)``, float32 (n, H, W, 3) for images in [0, 1], None where the loss has none; and by the name of a
    class mask ``dL/d(one-hot mask)``, float32 (n, H, W, classes).
    """

    images: NDArray[np.float32] | None = None
    labels: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def select(self, rows: Sequence[int]) -> Cotangents:
        """Those of some scenes."""

        def chosen(values: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.ascontiguousarray(values[list(rows)], dtype=np.float32)

        images = None if self.images is None else chosen(self.images)
        return Cotangents(images, {name: chosen(values) for name, values in self.labels.items()})

    def of(self, row: int) -> Cotangent:
        """Those of one scene."""
        image = None if self.images is None else self.images[row]
        return Cotangent(image, {name: values[row] for name, values in self.labels.items()})


@dataclass(frozen=True)
class Cotangent:
    """The same for one scene: float32 (H, W, 3) and (H, W, classes)."""

    image: NDArray[np.float32] | None = None
    labels: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


def dot(cotangent: NDArray[np.floating[Any]], image: NDArray[np.float32]) -> float:
    """Sum over pixels of cotangent times image, both (H, W, 3), in double precision.

    A plain sum, as the order of a BLAS product may depend on the machine's threads.
    """
    return float(np.multiply(cotangent, image, dtype=np.float64).sum())


def label_dot(cotangent: NDArray[np.floating[Any]], mask: NDArray[np.integer[Any]]) -> float:
    """Sum over pixels of the cotangent (H, W, classes) at the class that the mask (H, W) has there."""
    chosen = np.take_along_axis(cotangent, mask.astype(np.int64)[..., None], axis=2)
    return float(chosen.sum(dtype=np.float64))


def stencil_losses(
    renderer: Renderer, stencil: Stencil, start: int, stop: int, cotangent: Cotangent
) -> tuple[list[float], Usage]:
    """Losses of the perturbed scenes ``start`` to ``stop``, to first order in images and masks, and what they used (its
    core-seconds are not measured here).

    With ``GradientSettings.windows`` both sides of a central difference are drawn only in the window that the renderer
    gives, and not at all where the cotangent is zero in it. Masks are always whole.
    """
    losses = np.zeros(stop - start)
    used = Usage()
    if cotangent.image is not None and cotangent.image.any():
        windows = [difference_window(renderer, stencil, number) for number in range(start, stop)]
        whole = [number for number, window in zip(range(start, stop), windows, strict=True) if window is None]
        effort = stencil.settings.effort
        for first in range(0, len(whole), AT_ONCE):
            numbers = whole[first : first + AT_ONCE]
            scenes = [stencil.scene(number) for number in numbers]
            images = renderer.checked_draw_many(scenes, [stencil.seed] * len(scenes), effort)
            for number, scene, image in zip(numbers, scenes, images, strict=True):
                losses[number - start] = dot(cotangent.image, image)
                used += Usage(1, renderer.cost(scene, effort))
        for number, window in zip(range(start, stop), windows, strict=True):
            if window is not None and (part := cotangent.image[window.slices]).any():
                scene = stencil.scene(number)
                losses[number - start] = dot(part, renderer.checked_window(scene, stencil.seed, effort, window))
                used += Usage(1, renderer.cost(scene, effort, window))
    if any(values.any() for values in cotangent.labels.values()):
        for number in range(start, stop):
            scene = stencil.scene(number)
            losses[number - start] += _labels_loss(renderer, scene, cotangent.labels)
            if renderer.annotates_by_rendering:
                used += Usage(1, renderer.cost(scene))
    return losses.tolist(), used


def difference_window(renderer: Renderer, stencil: Stencil, number: int) -> Window | None:
    """The part of the picture that perturbed scene ``number`` and the other side of its difference can differ in;
    None for the whole picture, as for all but central differences.
    """
    if not stencil.settings.windows or stencil.settings.method != "central":
        return None
    place, attribute = stencil.places[number // 2]
    window = Window(0, 0, 0, 0)
    for side in (number - number % 2, number - number % 2 + 1):
        told = renderer.window(stencil.scene(side), place, attribute.name)
        if told is None:
            return None
        window = window.union(told)
    window = window.clipped(renderer.height, renderer.width)
    return None if window.share(renderer.height, renderer.width) == 1 else window


def scene_vjp(
    renderer: Renderer, scene: SceneGraph, seed: int, cotangent: NDArray[np.float32], settings: GradientSettings
) -> NDArray[np.float64]:
    """``dL/d(normalised value)`` of each mutable continuous attribute of a scene, in the order of ``Schema.values``.

    ``cotangent`` (H, W, 3) is ``dL/dR`` for an image ``R`` in [0, 1]. The renderer must be built. ``RendererError``
    where the method is the adjoint and the renderer has none.
    """
    if settings.method == "adjoint":
        return renderer.checked_adjoint(scene, seed, cotangent, settings.effort)
    stencil = Stencil(renderer.schema, scene, seed, settings)
    losses, _ = stencil_losses(renderer, stencil, 0, len(stencil), Cotangent(cotangent))
    return stencil.gradient(np.array(losses))


def _labels_loss(renderer: Renderer, scene: SceneGraph, labels: Mapping[str, NDArray[np.float32]]) -> float:
    truth = renderer.annotate(scene)
    loss = 0.0
    for name, values in labels.items():
        if name not in truth:
            raise RendererError(f"annotation {name!r} is missing; given are {sorted(truth)}")
        mask = renderer.annotations[name].check(name, truth[name], renderer.height, renderer.width)
        loss += label_dot(values, mask)
    return loss
