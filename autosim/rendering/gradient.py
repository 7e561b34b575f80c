"""Gradients through a renderer: finite differences of a scene's attributes, and the autograd operation around them.

The gradient of a loss ``L`` with respect to an attribute ``a`` is estimated from images at shifted attributes, each
dotted with the cotangent ``dL/dR``: ``(<dL/dR, R(a+)> - <dL/dR, R(a-)>) / (a+ - a-)`` for central differences (Kar et
al., "Meta-Sim", ICCV 2019, section 3.3). Only these scalars leave the process that renders, never the images. Both
sides share the scene's seed (common random numbers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from autosim.rendering.renderer import Renderer
from autosim.scenes.graph import Continuous, Node, SceneGraph, Schema
from autosim.seeding import seed_sequence

if TYPE_CHECKING:
    from torch import Tensor

    from autosim.rendering.frames import Frames
    from autosim.rendering.pool import RenderPool

Method = Literal["central", "forward", "spsa"]

# A quarter turn each way is where the two sides of a difference on a circle are farthest apart.
_LARGEST_PERIODIC_STEP = 0.25


@dataclass(frozen=True)
class GradientSettings:
    """How gradients through a renderer are estimated.

    ``central``: two renders an attribute, error of second order in the step. ``forward``: one an attribute and one
    shared, error of first order. ``spsa``: simultaneous perturbation (Spall, IEEE TAC 1992), two renders for each of
    ``spsa_samples`` (at least 1) random sign vectors whatever the number of attributes; unbiased to second order but
    noisy. ``step`` (above 0) multiplies every attribute's own step, ``Continuous.normalised_step``; steps of periodic
    attributes end at a quarter of the circle. ``effort`` in (0, 1] is that of the renders for gradients.
    """

    method: Method = "central"
    step: float = 1.0
    effort: float = 1.0
    spsa_samples: int = 4

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise ValueError(f"method: {self.method!r} is not one of {list(get_args(Method))}")
        if not (np.isfinite(self.step) and self.step > 0):
            raise ValueError(f"step: {self.step} is not above 0")
        if not 0 < self.effort <= 1:
            raise ValueError(f"effort: {self.effort} is not in (0, 1]")
        if self.spsa_samples < 1:
            raise ValueError(f"spsa_samples: {self.spsa_samples} is not at least 1")


def renders_per_scene(settings: GradientSettings, attributes: int) -> int:
    """Images rendered for the gradient of one scene with so many mutable continuous attributes."""
    if attributes == 0:
        return 0
    return {"central": 2 * attributes, "forward": 1 + attributes, "spsa": 2 * settings.spsa_samples}[settings.method]


class Stencil:
    """The perturbed scenes that one scene's gradient is made of, by number, and how their losses make the gradient.

    A function of its arguments alone, so that any process can draw any of the scenes. Attributes are shifted by their
    step and then kept in range: clipped, so that a difference is one-sided at a bound, or wrapped on the circle.
    """

    def __init__(self, schema: Schema, scene: SceneGraph, seed: int, settings: GradientSettings) -> None:
        self._scene = scene
        self._places = schema.mutable_continuous(scene)
        self._settings = settings
        self._units = np.array([_unit(scene.nodes[node], attribute) for node, attribute in self._places])
        steps = np.array([_step(attribute, settings) for _, attribute in self._places])
        count = len(self._places)
        if settings.method == "central":
            signs = np.repeat(np.eye(count), 2, axis=0)
            signs[1::2] *= -1
        elif settings.method == "forward":
            # Towards the side with room for the whole step; above the middle that is downwards if not upwards.
            periodic = np.array([attribute.periodic for _, attribute in self._places], dtype=bool)
            upwards = periodic | (self._units + steps <= 1) | (self._units <= 0.5)
            signs = np.concatenate([np.zeros((1, count)), np.diag(np.where(upwards, 1.0, -1.0))])
        else:
            draws = np.random.default_rng(seed_sequence(seed, "spsa")).integers(0, 2, (settings.spsa_samples, count))
            signs = np.repeat(2.0 * draws - 1.0, 2, axis=0)
            signs[1::2] *= -1
        self._offsets = self._reached(signs * steps)

    def __len__(self) -> int:
        """Number of scenes to render."""
        return renders_per_scene(self._settings, len(self._places))

    def scene(self, number: int) -> SceneGraph:
        """The perturbed scene of this number; attributes that do not move keep their exact values."""
        changed: dict[int, dict[str, Any]] = {}
        for (node, attribute), unit, offset in zip(self._places, self._units, self._offsets[number], strict=True):
            if offset != 0:
                values = changed.setdefault(node, dict(self._scene.nodes[node].attributes))
                values[attribute.name] = attribute.denormalise(unit + offset)
        nodes = tuple(
            Node(node.node_class, changed[i], node.slot) if i in changed else node
            for i, node in enumerate(self._scene.nodes)
        )
        return SceneGraph(nodes, self._scene.parents, self._scene.derivation)

    def gradient(self, losses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Gradient (attributes,) with respect to normalised values, from the loss of each scene, (len(self),)."""
        if not self._places:
            return np.zeros(0)
        if self._settings.method == "forward":
            return (losses[1:] - losses[0]) / np.diagonal(self._offsets[1:])
        if self._settings.method == "central":
            return (losses[0::2] - losses[1::2]) / np.diagonal(self._offsets[0::2] - self._offsets[1::2])
        differences = self._offsets[0::2] - self._offsets[1::2]
        return ((losses[0::2] - losses[1::2])[:, None] / differences).mean(axis=0)

    def _reached(self, offsets: NDArray[np.float64]) -> NDArray[np.float64]:
        periodic = np.array([attribute.periodic for _, attribute in self._places], dtype=bool)
        return np.where(periodic, offsets, np.clip(self._units + offsets, 0.0, 1.0) - self._units)


def dot(cotangent: NDArray[np.floating[Any]], image: NDArray[np.float32]) -> float:
    """Sum over pixels of cotangent times image, both (H, W, 3), in double precision.

    A plain sum, as the order of a BLAS product may depend on the machine's threads.
    """
    return float(np.multiply(cotangent, image, dtype=np.float64).sum())


def scene_vjp(
    renderer: Renderer, scene: SceneGraph, seed: int, cotangent: NDArray[np.float32], settings: GradientSettings
) -> NDArray[np.float64]:
    """``dL/d(normalised value)`` of each mutable continuous attribute of a scene, in the order of ``Schema.values``.

    ``cotangent`` (H, W, 3) is ``dL/dR`` for an image ``R`` in [0, 1]. The renderer must be built.
    """
    stencil = Stencil(renderer.schema, scene, seed, settings)
    images = (renderer.checked_draw(stencil.scene(i), seed, settings.effort) for i in range(len(stencil)))
    return stencil.gradient(np.array([dot(cotangent, image) for image in images]))


def differentiable_render(
    pool: RenderPool,
    scenes: Sequence[SceneGraph],
    values: Tensor,
    seeds: Sequence[int],
    settings: GradientSettings | None = None,
) -> tuple[Tensor, Frames]:
    """Render scenes so that a loss of the images can be differentiated with respect to the scenes' attributes.

    ``values`` (m,) holds the normalised mutable continuous attributes of all scenes, one scene after another in the
    order of ``Schema.values``; the scenes already have these values (values beyond a range count as clipped to it).
    Returns images, float32 (n, 3, H, W) in [0, 1] on the device of ``values`` and with a gradient to it, and the frames
    that they come from. Backward, each scene's own cotangent is sent to where it is rendered; scenes with a cotangent
    of zero, such as those that the loss leaves out, cost no renders. ``ValueError`` where ``values`` do not fit.
    """
    settings = settings or GradientSettings()
    _check_values(pool.schema, scenes, values.detach().cpu().double().numpy())
    frames = pool.render(scenes, seeds)
    images = _operation().apply(values, pool, tuple(scenes), tuple(seeds), settings, frames.images)
    return images, frames


@cache
def _operation() -> Any:
    import torch
    from torch.autograd.function import once_differentiable

    class Render(torch.autograd.Function):
        @staticmethod
        def forward(
            ctx: Any,
            values: Tensor,
            pool: RenderPool,
            scenes: tuple[SceneGraph, ...],
            seeds: tuple[int, ...],
            settings: GradientSettings,
            images: NDArray[np.uint8],
        ) -> Tensor:
            ctx.work = (pool, scenes, seeds, settings)
            ctx.device, ctx.dtype = values.device, values.dtype
            return torch.from_numpy(images).to(values.device).permute(0, 3, 1, 2).float().div(255.0).contiguous()

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
            pool, scenes, seeds, settings = ctx.work
            cotangents = cotangent.detach().permute(0, 2, 3, 1).contiguous().cpu().numpy()
            gradients = pool.vjp(scenes, seeds, cotangents, settings)
            gradient = torch.from_numpy(np.concatenate(gradients)).to(device=ctx.device, dtype=ctx.dtype)
            return gradient, None, None, None, None, None

    return Render


def _check_values(schema: Schema, scenes: Sequence[SceneGraph], values: NDArray[np.float64]) -> None:
    expected = np.concatenate([schema.values(scene) for scene in scenes]) if scenes else np.zeros(0)
    if values.shape != expected.shape:
        raise ValueError(f"values have shape {values.shape}, but the scenes hold {len(expected)} mutable attributes")
    places = [(i, attribute) for i, scene in enumerate(scenes) for _, attribute in schema.mutable_continuous(scene)]
    for (index, attribute), value, held in zip(places, values, expected, strict=True):
        # Values come in single precision and through another network; scenes in another order are far off.
        if attribute.periodic:
            distance = abs((value - held + 0.5) % 1.0 - 0.5)
        else:
            distance = abs(min(max(value, 0.0), 1.0) - held)
        if not distance < 1e-3:
            raise ValueError(f"scene {index}, {attribute.name!r}: value {value:.6g} but the scene holds {held:.6g}")


def _unit(node: Node, attribute: Continuous) -> float:
    unit = attribute.normalise(float(node[attribute.name]))
    return unit if attribute.periodic else min(max(unit, 0.0), 1.0)


def _step(attribute: Continuous, settings: GradientSettings) -> float:
    step = attribute.normalised_step * settings.step
    return min(step, _LARGEST_PERIODIC_STEP) if attribute.periodic else step
