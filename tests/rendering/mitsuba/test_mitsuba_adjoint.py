"""Mitsuba's adjoint: its pullbacks, what it refuses, and, where there is LLVM, differences of CLEVR's spheres."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from autosim.errors import RendererError
from autosim.rendering.actors.pool import RayPool
from autosim.rendering.differences import GradientSettings
from autosim.rendering.losses import scene_vjp
from autosim.rendering.mitsuba.pixels import enlarge, enlarge_pullback, srgb, srgb_pullback
from autosim.rendering.mitsuba.variant import llvm_library
from autosim.rendering.pool import LocalPool
from autosim.rendering.renderer import Renderer
from autosim.scenes.graph import Continuous, Node, SceneGraph, Schema
from autosim.testing import RendererSuite
from envs.clevr.renderer import ClevrRenderer
from envs.clevr.scene import Profile, clevr_schema

PROFILE = Profile(samples=(4, 64), bounces=(2, 4), sizes=(16, 32), edge=32)
SCHEMA = clevr_schema(PROFILE)
EDGE = PROFILE.edge
ADJOINT = GradientSettings("adjoint")


@pytest.fixture(scope="module")
def llvm() -> None:
    """Skips where Mitsuba has no LLVM to render with."""
    if llvm_library() is None:
        pytest.skip("there is no LLVM here that Mitsuba renders with")


def scene(*things: dict[str, Any], samples: int = 64, bounces: int = 4, size: int = EDGE) -> SceneGraph:
    """A lit scene of red rubber spheres unless told otherwise."""
    nodes = [
        Node("scene", {"samples": samples, "bounces": bounces, "size": size}),
        Node("ambient", {"intensity": 40.0}),
        Node("back", {"intensity": 50.0}),
    ]
    plain: dict[str, Any] = {"x": 0.0, "y": 0.0, "material": "rubber", "shape": "sphere", "colour": "red"}
    nodes += [Node("object", {**plain, **thing}, slot) for slot, thing in enumerate(things)]
    return SceneGraph(tuple(nodes), (-1,) + (0,) * (len(nodes) - 1))


PAIR: tuple[dict[str, Any], ...] = ({"x": 1.0, "y": -0.8}, {"x": -0.7, "y": 0.9, "colour": "cyan"})


def renderer_of(variant: Any = "llvm_ad_rgb", schema: Schema = SCHEMA) -> ClevrRenderer:
    return ClevrRenderer(schema, PROFILE.sizes, PROFILE.bounces, EDGE, variant)


@pytest.fixture(scope="module")
def spheres(llvm: None) -> Iterator[ClevrRenderer]:
    renderer = renderer_of()
    renderer.build()
    yield renderer
    renderer.close()


def smooth_cotangent() -> NDArray[np.float32]:
    """Waves across the picture, of another direction in each channel."""
    v, u = np.mgrid[0:EDGE, 0:EDGE] / EDGE
    waves = [np.sin(3 * u + 2 * v), np.cos(4 * u - v), u * v]
    return np.stack(waves, axis=-1).astype(np.float32)


class TestSpheres(RendererSuite):
    @pytest.fixture(autouse=True)
    def needed(self, llvm: None) -> None:
        """Only with LLVM."""

    def renderer(self) -> Renderer:
        return renderer_of()

    def scenes(self) -> Sequence[SceneGraph]:
        cube = scene({"shape": "cube"}, {"material": "metal", "x": 1.5}, samples=4)
        return [scene(*PAIR, samples=4), scene(*PAIR, samples=4, size=16, bounces=2), cube, scene(samples=4)]


def test_the_pullback_of_the_curve_is_its_slope() -> None:
    values = np.concatenate([np.linspace(1e-4, 2e-3, 9), np.linspace(0.02, 0.98, 25)])
    step = 0.01 * values
    upper, lower = (srgb((values + sign * step).astype(np.float32)).astype(np.float64) for sign in (1, -1))
    cotangent = np.linspace(-2, 2, len(values))
    pulled = srgb_pullback(values.astype(np.float32), cotangent)
    np.testing.assert_allclose(pulled, cotangent * (upper - lower) / (2 * step), rtol=2e-3, atol=1e-6)
    clipped = np.array([-0.5, 0.0, 1.0, 7.0], dtype=np.float32)
    assert srgb_pullback(clipped, np.ones(4)).tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("film", "height", "width"), [((16, 16), 32, 32), ((5, 3), 13, 8), ((19, 32), 24, 40), ((8, 8), 8, 8)]
)
def test_the_pullback_of_enlarging_is_its_transpose(film: tuple[int, int], height: int, width: int) -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(*film, 3)).astype(np.float32)
    cotangent = rng.normal(size=(height, width, 3)).astype(np.float32)
    pulled = enlarge_pullback(cotangent, *film)
    assert pulled.shape == image.shape
    forwards = float((enlarge(image, height, width).astype(np.float64) * cotangent).sum())
    assert float((pulled.astype(np.float64) * image).sum()) == pytest.approx(forwards, rel=1e-4, abs=1e-4)


def larger_schema() -> Schema:
    """CLEVR's with one more mutable attribute, which nothing in Mitsuba follows."""
    *others, last = SCHEMA.classes
    return Schema((*others, replace(last, attributes=(*last.attributes, Continuous("turn", 0.0, 1.0)))))


@pytest.mark.parametrize(
    ("graph", "schema", "reason"),
    [
        (scene(*PAIR), SCHEMA, "variant scalar_rgb has no adjoint, which needs llvm_ad_rgb"),
        (scene(*PAIR, {"shape": "cube"}), SCHEMA, "object 2 is a cube, and only spheres have an adjoint"),
        (scene({"shape": "cylinder"}), SCHEMA, "object 0 is a cylinder, and only spheres have an adjoint"),
        (
            scene({"turn": 0.5}),
            larger_schema(),
            "object.turn has no adjoint, only ambient.intensity, back.intensity, object.x, object.y have",
        ),
    ],
)
def test_what_it_is_not_right_for_is_refused_in_one_line(graph: SceneGraph, schema: Schema, reason: str) -> None:
    renderer = renderer_of("scalar_rgb", schema)
    assert renderer.adjoint_refusal(graph) == reason
    with pytest.raises(RendererError) as caught:
        renderer.checked_adjoint(graph, 0, smooth_cotangent())
    assert str(caught.value) == f"ClevrRenderer: {reason}; allowed are central, forward and spsa"


def test_spheres_are_not_refused_with_llvm(llvm: None) -> None:
    assert renderer_of().adjoint_refusal(scene(*PAIR)) is None
    assert renderer_of().adjoint_refusal(scene(*PAIR, {"shape": "cube"})) is not None


@pytest.mark.parametrize(("size", "bounces"), [(32, 4), (16, 2)])
def test_it_is_that_of_central_differences(spheres: ClevrRenderer, size: int, bounces: int) -> None:
    """In the mean of many seeds; a picture of 16 pixels is enlarged to 32."""
    graph, cotangent = scene(*PAIR, size=size, bounces=bounces), smooth_cotangent()

    def mean(count: int, settings: GradientSettings) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        draws = np.stack([scene_vjp(spheres, graph, seed, cotangent, settings) for seed in range(count)])
        return draws.mean(axis=0), draws.std(axis=0) / np.sqrt(count)

    adjoint, noise = mean(24, ADJOINT)
    central, own_noise = mean(24, GradientSettings(step=0.5))
    # Light has no edges: its derivative is nearly free of noise.
    np.testing.assert_allclose(adjoint[:2], central[:2], rtol=0.01)
    places, own = adjoint[2:], central[2:]
    error = float(np.hypot(np.linalg.norm(noise[2:]), np.linalg.norm(own_noise[2:])))
    # The noise of both means must leave room to tell a derivative without moving edges, or one counted twice.
    assert error < 0.1 * np.linalg.norm(own)
    assert np.linalg.norm(places - own) < 3 * error


def test_images_after_it_are_those_before_to_the_bit(spheres: ClevrRenderer) -> None:
    mixed = scene(
        {"shape": "cube", "x": 1.0}, {"shape": "sphere", "y": 1.0, "material": "metal"}, {"shape": "cylinder"}
    )
    graphs = [scene(*PAIR, samples=4), mixed, scene(PAIR[0], samples=4, size=16, bounces=2)]
    before = [(spheres.draw(graph, 5), spheres.render(graph, 6)) for graph in graphs]
    fresh = renderer_of()
    fresh.build()
    for graph in (graphs[0], graphs[2]):
        spheres.checked_adjoint(graph, 7, smooth_cotangent())
        for later, (image, frame) in zip(graphs, before, strict=True):
            np.testing.assert_array_equal(spheres.draw(later, 5), image)
            again = spheres.render(later, 6)
            np.testing.assert_array_equal(again.image, frame.image)
            np.testing.assert_array_equal(again.annotations["mask"], frame.annotations["mask"])
            np.testing.assert_array_equal(fresh.draw(later, 5), image)


def test_a_failure_half_way_leaves_no_trace(spheres: ClevrRenderer, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = scene(*PAIR, samples=4)
    before = spheres.draw(graph, 1)
    whole = spheres.adjoint(graph, 1, smooth_cotangent())
    pose = spheres.differentiable_pose

    def broken(*arguments: Any) -> dict[str, Any]:
        return {**pose(*arguments), "sphere_0.to_nowhere": 0.0}

    with monkeypatch.context() as patch:
        patch.setattr(spheres, "differentiable_pose", broken)
        with pytest.raises(KeyError, match="to_nowhere"):
            spheres.adjoint(graph, 1, smooth_cotangent())
    np.testing.assert_array_equal(spheres.draw(graph, 1), before)
    np.testing.assert_array_equal(spheres.adjoint(graph, 1, smooth_cotangent()), whole)


def test_the_seed_and_the_effort_reach_it(spheres: ClevrRenderer) -> None:
    graph, cotangent = scene(*PAIR), smooth_cotangent()
    first = spheres.adjoint(graph, 1, cotangent, 0.25)
    np.testing.assert_array_equal(spheres.adjoint(graph, 1, cotangent, 0.25), first)
    assert not np.array_equal(spheres.adjoint(graph, 2, cotangent, 0.25), first)
    equal = spheres.adjoint(scene(*PAIR, samples=16), 1, cotangent)
    np.testing.assert_array_equal(equal, first)


@pytest.mark.slow
def test_actors_give_what_this_process_gives(llvm: None, ray_session: None) -> None:
    graphs = [scene(*PAIR, samples=4), scene({"y": 1.0}, samples=4, size=16, bounces=2), scene(*PAIR[:1], samples=4)]
    cotangents = np.stack([smooth_cotangent()] * 3)
    with LocalPool(renderer_of()) as local, RayPool(renderer_of(), 1) as pool:
        here, there = (each.vjp(graphs, [1, 2, 3], cotangents, ADJOINT) for each in (local, pool))
        assert local.images == pool.images == 6
    for a, b in zip(here, there, strict=True):
        assert a.any()
        np.testing.assert_array_equal(a, b)
