"""Gradients through a renderer: the perturbed scenes of a finite difference, and the gradient that they give.

The gradient of a loss ``L`` with respect to an attribute ``a`` is estimated from images at shifted attributes, each
dotted with the cotangent ``dL/dR``: ``(<dL/dR, R(a+)> - <dL/dR, R(a-)>) / (a+ - a-)`` for central differences (Kar et
al., "Meta-Sim", ICCV 2019, section 3.3). Only these scalars leave the process that renders, never the images. Both
sides share the scene's seed (common random numbers). With the method ``adjoint`` a renderer's own derivative replaces
the differences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from autosim.ranges import Checked, Range
from autosim.scenes.graph import Continuous, Node, SceneGraph, Schema
from autosim.seeding import seed_sequence

GradientMethod = Literal["central", "forward", "spsa", "adjoint"]

# With a quarter turn each way the two sides of a difference on a circle are farthest apart.
_LARGEST_PERIODIC_STEP = 0.25
# An adjoint counts as two images: the image itself, and the backward pass through the scene.
ADJOINT_IMAGES = 2


@dataclass(frozen=True)
class GradientSettings(Checked):
    """How gradients through a renderer are estimated.

    ``central``: two renders for each attribute, error of second order in the step. ``forward``: one for each attribute
    and one shared, error of first order. ``spsa``: simultaneous perturbation (Spall, IEEE TAC 1992), two renders for
    each of ``spsa_samples`` (at least 1) random sign vectors whatever the number of attributes; unbiased to second
    order but noisy. ``adjoint``: the renderer's own derivative (``Renderer.adjoint``), for renderers and scenes that
    have one; its cost does not depend on the number of attributes, and it has neither step nor directions. ``step``
    (above 0) multiplies every attribute's own step, ``Continuous.normalised_step``; steps of periodic attributes end at
    a quarter of the circle. ``effort`` in (0, 1] is that of the renders for gradients. ``windows``: central differences
    are drawn only in the part of the picture that they can change (``Renderer.window``).
    """

    method: GradientMethod = "central"
    """central, forward or spsa differences, or the renderer's own adjoint."""
    step: Annotated[float, Range(above=0)] = 1.0
    """Multiplies every attribute's own step."""
    effort: Annotated[float, Range(above=0, most=1)] = 1.0
    """Share of the renderer's quality, samples a pixel say, in renders for gradients."""
    spsa_samples: Annotated[int, Range(least=1)] = 4
    """Random directions for each scene with spsa."""
    windows: bool = True
    """Whether central differences are drawn in their windows alone, where the renderer has windows."""


def renders_per_scene(settings: GradientSettings, attributes: int) -> int:
    """Images rendered for the gradient of one scene with so many mutable continuous attributes.

    An adjoint counts as two: one image forwards, and one for the backward pass, which takes longer than an image.
    """
    if attributes == 0:
        return 0
    renders = {
        "central": 2 * attributes,
        "forward": 1 + attributes,
        "spsa": 2 * settings.spsa_samples,
        "adjoint": ADJOINT_IMAGES,
    }
    return renders[settings.method]


class Stencil:
    """The perturbed scenes of one scene's gradient, by number, and the gradient that their losses give.

    It depends on its arguments alone, so that any process can draw any of the scenes. Attributes are shifted by their
    step and then kept in range: clipped, so that a difference is one-sided at a bound, or wrapped on the circle.
    ``ValueError`` for the adjoint, which has no perturbed scenes. Perturbed scenes 2k and 2k + 1 of central differences
    are those of attribute k of ``places`` (node's index, attribute).
    """

    def __init__(self, schema: Schema, scene: SceneGraph, seed: int, settings: GradientSettings) -> None:
        if settings.method == "adjoint":
            raise ValueError("method: the adjoint has no perturbed scenes")
        self._scene = scene
        self.seed, self.settings = seed, settings
        self.places = schema.mutable_continuous(scene)
        self._units = np.array([_unit(scene.nodes[node], attribute) for node, attribute in self.places])
        steps = np.array([_step(attribute, settings) for _, attribute in self.places])
        count = len(self.places)
        if settings.method == "central":
            signs = np.repeat(np.eye(count), 2, axis=0)
            signs[1::2] *= -1
        elif settings.method == "forward":
            # Towards the side with room for the whole step; above the middle that is downwards if not upwards.
            periodic = np.array([attribute.periodic for _, attribute in self.places], dtype=bool)
            upwards = periodic | (self._units + steps <= 1) | (self._units <= 0.5)
            signs = np.concatenate([np.zeros((1, count)), np.diag(np.where(upwards, 1.0, -1.0))])
        else:
            draws = np.random.default_rng(seed_sequence(seed, "spsa")).integers(0, 2, (settings.spsa_samples, count))
            signs = np.repeat(2.0 * draws - 1.0, 2, axis=0)
            signs[1::2] *= -1
        self._offsets = self._reached(signs * steps)

    def __len__(self) -> int:
        """Number of scenes to render."""
        return renders_per_scene(self.settings, len(self.places))

    def scene(self, number: int) -> SceneGraph:
        """The perturbed scene of this number; attributes that do not move keep their exact values."""
        changed: dict[int, dict[str, Any]] = {}
        for (node, attribute), unit, offset in zip(self.places, self._units, self._offsets[number], strict=True):
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
        if not self.places:
            return np.zeros(0)
        if self.settings.method == "forward":
            return (losses[1:] - losses[0]) / np.diagonal(self._offsets[1:])
        if self.settings.method == "central":
            return (losses[0::2] - losses[1::2]) / np.diagonal(self._offsets[0::2] - self._offsets[1::2])
        differences = self._offsets[0::2] - self._offsets[1::2]
        return ((losses[0::2] - losses[1::2])[:, None] / differences).mean(axis=0)

    def _reached(self, offsets: NDArray[np.float64]) -> NDArray[np.float64]:
        periodic = np.array([attribute.periodic for _, attribute in self.places], dtype=bool)
        return np.where(periodic, offsets, np.clip(self._units + offsets, 0.0, 1.0) - self._units)


def _unit(node: Node, attribute: Continuous) -> float:
    unit = attribute.normalise(float(node[attribute.name]))
    return unit if attribute.periodic else min(max(unit, 0.0), 1.0)


def _step(attribute: Continuous, settings: GradientSettings) -> float:
    step = attribute.normalised_step * settings.step
    return min(step, _LARGEST_PERIODIC_STEP) if attribute.periodic else step
