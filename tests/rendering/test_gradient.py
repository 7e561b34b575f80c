"""Gradients through a renderer, against closed forms and autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from autosim.rendering.differences import GradientSettings, renders_per_scene
from autosim.rendering.gradient import differentiable_render
from autosim.rendering.losses import scene_vjp
from autosim.rendering.pool import LocalPool
from autosim.scenes.graph import Node, SceneGraph
from tests.support.helpers import BLOB_SCHEMA, BlobRenderer, FaultyRenderer, LinearRenderer, blob_scene, blob_scenes


def built(size: int = 16) -> BlobRenderer:
    renderer = BlobRenderer(size)
    renderer.build()
    return renderer


def values_of(scenes: list[SceneGraph]) -> Tensor:
    values = np.concatenate([BLOB_SCHEMA.values(scene) for scene in scenes])
    return torch.tensor(values, dtype=torch.float32, requires_grad=True)


def nonlinear_loss(images: Tensor) -> Tensor:
    """Not a sum over scenes: pairs of images interact, as in a divergence between sets."""
    flat = images.flatten(1)
    pairs = torch.cdist(flat, flat + 0.3).square().div(20.0).neg().exp().mean()
    return 5 * pairs + torch.sin(3 * images).square().mean() + images.mean(dim=(1, 2, 3)).prod()


def exact_gradient(scenes: list[SceneGraph], seeds: list[int]) -> NDArray[np.float64]:
    values = torch.tensor(np.concatenate([BLOB_SCHEMA.values(s) for s in scenes]), requires_grad=True)
    nonlinear_loss(BlobRenderer().torch_images(scenes, values, seeds)).backward()
    assert values.grad is not None
    return values.grad.numpy()


def estimated_gradient(
    scenes: list[SceneGraph], seeds: list[int], how: GradientSettings | None = None
) -> NDArray[np.float64]:
    values = values_of(scenes)
    with LocalPool(BlobRenderer()) as pool:
        images, _ = differentiable_render(pool, scenes, values, seeds, how)
        nonlinear_loss(images).backward()
    assert values.grad is not None
    return values.grad.double().numpy()


def cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_analytic_renderer_agrees_with_its_torch_form() -> None:
    scenes, seeds = blob_scenes(4), [3, 1, 4, 1]
    reference = BlobRenderer().torch_images(scenes, values_of(scenes).double(), seeds).detach()
    renderer = built()
    drawn = np.stack([renderer.draw(scene, seed) for scene, seed in zip(scenes, seeds, strict=True)])
    np.testing.assert_allclose(drawn.transpose(0, 3, 1, 2), reference, atol=1e-5)


@pytest.mark.parametrize(("method", "tolerance"), [("central", 0.01), ("forward", 0.12)])
def test_gradient_of_a_whole_loss_equals_autograd_in_direction_and_scale(method: str, tolerance: float) -> None:
    scenes, seeds = blob_scenes(8), list(range(8))
    exact = exact_gradient(scenes, seeds)
    estimate = estimated_gradient(scenes, seeds, GradientSettings(method))  # type: ignore[arg-type]
    assert cosine(estimate, exact) > (0.999 if method == "central" else 0.99)
    assert np.linalg.norm(estimate - exact) < tolerance * np.linalg.norm(exact)


def test_error_of_central_differences_is_of_second_order_in_the_step() -> None:
    scene, renderer = blob_scene(1, blobs=2), built()
    cotangent = np.random.default_rng(0).normal(size=(16, 16, 3)).astype(np.float32)
    values = torch.tensor(BLOB_SCHEMA.values(scene), requires_grad=True)
    image = renderer.torch_images([scene], values, [7])[0].permute(1, 2, 0)
    (image * torch.from_numpy(cotangent)).sum().backward()
    assert values.grad is not None
    exact = values.grad.numpy()

    def error(step: float) -> float:
        return float(np.linalg.norm(scene_vjp(renderer, scene, 7, cotangent, GradientSettings(step=step)) - exact))

    assert error(4.0) / error(2.0) == pytest.approx(4.0, rel=0.1)
    assert error(1.0) < 0.01 * np.linalg.norm(exact)


def test_images_are_those_of_the_frames_between_0_and_1() -> None:
    scenes, values = blob_scenes(3), values_of(blob_scenes(3))
    with LocalPool(BlobRenderer()) as pool:
        images, frames = differentiable_render(pool, scenes, values, [0, 1, 2])
    assert images.dtype == torch.float32 and images.requires_grad
    np.testing.assert_array_equal((images.detach() * 255).round().permute(0, 2, 3, 1), frames.images)
    assert 0.3 < float(images.detach().max()) <= 1.0


def test_a_scene_gradient_is_its_own_cotangent_alone() -> None:
    scenes, seeds = blob_scenes(5), [9, 8, 7, 6, 5]
    sizes = [len(BLOB_SCHEMA.values(scene)) for scene in scenes]

    def gradients(order: list[int]) -> list[Tensor]:
        values = values_of([scenes[i] for i in order])
        with LocalPool(BlobRenderer()) as pool:
            images, _ = differentiable_render(pool, [scenes[i] for i in order], values, [seeds[i] for i in order])
            images.square().sum().backward()
        assert values.grad is not None
        return list(values.grad.split([sizes[i] for i in order]))

    together = gradients([0, 1, 2, 3, 4])
    assert torch.equal(gradients([3])[0], together[3])
    reordered = gradients([4, 3, 0])
    assert all(torch.equal(a, together[i]) for a, i in zip(reordered, [4, 3, 0], strict=True))


def test_scenes_that_the_loss_leaves_out_are_not_rendered_again() -> None:
    scenes, values = blob_scenes(4), values_of(blob_scenes(4))
    sizes = [len(BLOB_SCHEMA.values(scene)) for scene in scenes]
    with LocalPool(BlobRenderer()) as pool:
        images, _ = differentiable_render(pool, scenes, values, [0, 1, 2, 3])
        images[1:3].square().sum().backward()
        assert pool.images == 4 + 2 * (sizes[1] + sizes[2])
    assert values.grad is not None
    norms = [float(part.norm()) for part in values.grad.split(sizes)]
    assert norms[0] == norms[3] == 0 and min(norms[1:3]) > 0


def test_values_must_be_those_of_the_scenes() -> None:
    scenes = [blob_scene(0, 2), blob_scene(1, 2)]
    with LocalPool(BlobRenderer()) as pool:
        with pytest.raises(ValueError, match=r"scene 0, 'power': value .* but the scene holds"):
            differentiable_render(pool, scenes, values_of(scenes[::-1]), [0, 1])
        with pytest.raises(ValueError, match="hold 14 mutable attributes"):
            differentiable_render(pool, scenes, values_of(scenes[:1]), [0, 1])
        turned = values_of(scenes).detach()
        turned[3] += 1.0
        turned[1] = BLOB_SCHEMA.values(scenes[0])[1]
        assert len(differentiable_render(pool, scenes, turned, [0, 1])[1]) == 2


knob = st.floats(0.0, 1.0)


@settings(max_examples=60)
@given(knob, knob, knob, st.floats(0.1, 60.0), st.sampled_from(["central", "forward"]))
def test_differences_of_a_linear_renderer_are_exact_even_at_the_bounds(
    a: float, b: float, c: float, step: float, method: str
) -> None:
    renderer = LinearRenderer()
    cotangent = np.random.default_rng(1).normal(size=(4, 4, 3)).astype(np.float32)
    exact = np.tensordot(renderer.patterns, cotangent, axes=3)
    how = GradientSettings(method, step=step)  # type: ignore[arg-type]
    estimate = scene_vjp(renderer, renderer.scene(a, b, 4 * c - 2), 0, cotangent, how)
    np.testing.assert_allclose(estimate, exact, atol=2e-4 / min(step, 1.0))


@pytest.mark.parametrize("hue", [0.0, 0.001, 359.999, 360.0, 2.0, 180.0])
@pytest.mark.parametrize("step", [1.0, 1000.0])
def test_a_periodic_attribute_is_differenced_across_its_seam(hue: float, step: float) -> None:
    scene = blob_scene(2, blobs=1)
    scene = SceneGraph((scene.nodes[0], Node("blob", {**scene.nodes[1].attributes, "hue": hue})), scene.parents)
    cotangent = np.ones((16, 16, 3), dtype=np.float32) * np.array([1, -2, 3], dtype=np.float32)
    how = GradientSettings(step=step)
    gradient = scene_vjp(built(), scene, 0, cotangent, how)[3]
    width = min(4.0 * step, 90.0)

    def loss(degrees: float) -> float:
        turned = Node("blob", {**scene.nodes[1].attributes, "hue": degrees % 360})
        return float((built().draw(SceneGraph((scene.nodes[0], turned), scene.parents), 0) * cotangent).sum())

    assert gradient == pytest.approx((loss(hue + width) - loss(hue - width)) / (2 * width / 360), rel=1e-3)


def test_both_sides_of_a_difference_share_the_seed_and_the_effort() -> None:
    seen: list[tuple[int, float]] = []

    class Recorder(BlobRenderer):
        def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
            seen.append((seed, effort))
            return super().draw(scene, seed, effort)

    renderer, scene = Recorder(), blob_scene(3, blobs=1)
    renderer.build()
    cotangent = np.ones((16, 16, 3), dtype=np.float32)
    for method, expected in [("central", 8), ("forward", 5), ("spsa", 6)]:
        seen.clear()
        how = GradientSettings(method, effort=0.25, spsa_samples=3)  # type: ignore[arg-type]
        scene_vjp(renderer, scene, 77, cotangent, how)
        assert seen == [(77, 0.25)] * expected
        assert renders_per_scene(how, 4) == expected
        assert renders_per_scene(how, 0) == 0


@pytest.mark.parametrize("values", [(0.5, 0.4, 0.3), (0.0, 1.0, 2.0)])
def test_spsa_is_unbiased_for_a_linear_renderer(values: tuple[float, float, float]) -> None:
    renderer = LinearRenderer()
    cotangent = np.random.default_rng(2).normal(size=(4, 4, 3)).astype(np.float32)
    exact = np.tensordot(renderer.patterns, cotangent, axes=3)
    how = GradientSettings("spsa", spsa_samples=1)
    draws = np.stack([scene_vjp(renderer, renderer.scene(*values), seed, cotangent, how) for seed in range(1500)])
    error = draws.std(axis=0) / np.sqrt(len(draws))
    assert error.min() > 0
    assert (np.abs(draws.mean(axis=0) - exact) < 5 * error + 1e-3).all()
    again = scene_vjp(renderer, renderer.scene(*values), 11, cotangent, how)
    np.testing.assert_array_equal(again, draws[11])


def test_immutable_and_categorical_attributes_have_no_gradient() -> None:
    scene = blob_scene(4, blobs=2)
    gradient = scene_vjp(built(), scene, 0, np.ones((16, 16, 3), dtype=np.float32), GradientSettings())
    assert gradient.dtype == np.float64
    assert len(gradient) == len(BLOB_SCHEMA.values(scene)) == 1 + 2 * 3


def test_gradients_are_those_of_images_as_clipped_to_the_range_of_colours() -> None:
    scene, renderer = blob_scene(5, blobs=3), FaultyRenderer("range")
    renderer.build()
    image = renderer.draw(scene, 0)
    beyond = (image < -0.05) | (image > 1.05)
    assert beyond.any()
    gradient = scene_vjp(renderer, scene, 0, beyond.astype(np.float32), GradientSettings())
    np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


@pytest.mark.parametrize(
    "field", [{"method": "backward"}, {"step": 0.0}, {"step": float("nan")}, {"effort": 0.0}, {"spsa_samples": 0}]
)
def test_settings_out_of_range_are_named(field: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(field))}: "):
        GradientSettings(**field)  # type: ignore[arg-type]
