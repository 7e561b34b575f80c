"""Rendering as one autograd operation: forward it renders, backward it returns gradients of attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autosim.rendering.annotations import ClassMask
from autosim.rendering.differences import GradientSettings
from autosim.scenes.graph import SceneGraph, Schema

if TYPE_CHECKING:
    from torch import Tensor

    from autosim.rendering.frames import Frames
    from autosim.rendering.pool import RenderPool


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
    Returns images, float32 (n, 3, H, W) in [0, 1] on the device of ``values`` and differentiable in it, and the frames
    that they come from. Backward, each scene's own cotangent is sent to the process that renders it; scenes with a
    cotangent of zero, such as those that the loss leaves out, are not rendered. ``ValueError`` where ``values`` do not
    fit.
    """
    settings = settings or GradientSettings()
    _check_values(pool.schema, scenes, values.detach().cpu().double().numpy())
    frames = pool.render(scenes, seeds)
    images, _ = _operation().apply(values, _Work(pool, tuple(scenes), tuple(seeds), settings, frames))
    return images, frames


def differentiable_masks(
    pool: RenderPool,
    scenes: Sequence[SceneGraph],
    values: Tensor,
    seeds: Sequence[int],
    labels: str,
    settings: GradientSettings | None = None,
) -> tuple[Tensor, Tensor, Frames]:
    """As :func:`differentiable_render`, with the class mask named ``labels`` beside the images: images, one-hot masks,
    float32 (n, classes, H, W), both differentiable in ``values``, and the frames.

    A loss that is linear in the one-hot masks is differenced exactly, between the masks of scenes at shifted
    attributes: each pixel counts with the cotangent of its class. A mask changes by whole pixels, so a step should move
    an object by at least one pixel. Backward, no images are drawn where the loss does not depend on them.
    ``ValueError`` where ``labels`` is no class mask of the renderer, or the method is the adjoint.
    """
    settings = settings or GradientSettings()
    masks = [name for name, kind in pool.annotations.items() if isinstance(kind, ClassMask)]
    if labels not in masks:
        raise ValueError(f"labels: {labels!r} is no class mask; allowed are {masks}")
    if settings.method == "adjoint":
        raise ValueError("method: the adjoint has none of labels; allowed are central, forward and spsa")
    _check_values(pool.schema, scenes, values.detach().cpu().double().numpy())
    frames = pool.render(scenes, seeds)
    images, one_hot = _operation().apply(values, _Work(pool, tuple(scenes), tuple(seeds), settings, frames, labels))
    return images, one_hot, frames


@dataclass(frozen=True)
class _Work:
    """Arguments of the operation. ``labels`` names the class mask that is returned beside the images, if any."""

    pool: RenderPool
    scenes: tuple[SceneGraph, ...]
    seeds: tuple[int, ...]
    settings: GradientSettings
    frames: Frames
    labels: str | None = None

    def vjp(
        self, cotangents: NDArray[np.float32] | None, masks: NDArray[np.float32] | None
    ) -> list[NDArray[np.float64]]:
        labels = {} if self.labels is None or masks is None else {self.labels: masks}
        return self.pool.vjp(self.scenes, self.seeds, cotangents, self.settings, labels)


@cache
def _operation() -> Any:
    import torch
    from torch.autograd.function import once_differentiable

    class Render(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, values: Tensor, work: _Work) -> tuple[Tensor, Tensor | None]:
            ctx.work = work
            ctx.device, ctx.dtype = values.device, values.dtype
            ctx.set_materialize_grads(False)
            frames = work.frames
            images = torch.from_numpy(frames.images).to(values.device).permute(0, 3, 1, 2).float().div(255.0)
            if work.labels is None:
                return images.contiguous(), None
            kind = work.pool.annotations[work.labels]
            assert isinstance(kind, ClassMask)
            mask = torch.from_numpy(frames.annotations[work.labels]).to(values.device).long()
            one_hot = torch.nn.functional.one_hot(mask, len(kind.classes)).permute(0, 3, 1, 2).float()
            return images.contiguous(), one_hot.contiguous()

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, cotangent: Tensor | None, masks: Tensor | None) -> tuple[Tensor | None, None]:
            given = [
                None if each is None else each.detach().permute(0, 2, 3, 1).contiguous().cpu().numpy()
                for each in (cotangent, masks)
            ]
            gradients = ctx.work.vjp(*given)
            gradient = torch.from_numpy(np.concatenate(gradients)).to(device=ctx.device, dtype=ctx.dtype)
            return gradient, None

    return Render


def _check_values(schema: Schema, scenes: Sequence[SceneGraph], values: NDArray[np.float64]) -> None:
    expected = np.concatenate([schema.values(scene) for scene in scenes]) if scenes else np.zeros(0)
    if values.shape != expected.shape:
        raise ValueError(f"values have shape {values.shape}, but the scenes hold {len(expected)} mutable attributes")
    places = [(i, attribute) for i, scene in enumerate(scenes) for _, attribute in schema.mutable_continuous(scene)]
    for (index, attribute), value, held in zip(places, values, expected, strict=True):
        # Values in single precision differ a little; those of scenes in another order differ much more.
        if attribute.periodic:
            distance = abs((value - held + 0.5) % 1.0 - 0.5)
        else:
            distance = abs(min(max(value, 0.0), 1.0) - held)
        if not distance < 1e-3:
            raise ValueError(f"scene {index}, {attribute.name!r}: value {value:.6g} but the scene holds {held:.6g}")
