"""Rendering as one operation for autograd: forward it renders, backward the pool sends gradients of attributes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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
