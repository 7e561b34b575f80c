"""CLEVR: exact masks, attributes that act, targets within the picture, spreads as declared."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from autosim.env import Env
from autosim.rendering.pool import LocalPool
from autosim.rendering.renderer import Renderer
from autosim.scenes.generator import CategoricalSummary, ContinuousSummary, summarise
from autosim.scenes.grammar import Choice, Normal
from autosim.scenes.graph import Continuous, Node, SceneGraph
from autosim.seeding import seed_sequence
from autosim.testing import EnvSuite, RendererSuite
from envs.clevr.env import Clevr, ClevrConfig
from envs.clevr.renderer import CAMERA, RADIUS, ClevrRenderer
from envs.clevr.scene import (
    COLOURS,
    MATERIALS,
    PROFILES,
    SHAPES,
    Profile,
    clevr_grammar,
    clevr_schema,
    start_priors,
    target_priors,
)

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = Profile(samples=(1, 4, 16), bounces=(2, 6), sizes=(16, 24), edge=24)
SCHEMA = clevr_schema(SMALL)
Thing = dict[str, Any]


def scene(
    *things: Thing, samples: int = 4, bounces: int = 2, size: int = 24, ambient: float = 50.0, back: float = 50.0
) -> SceneGraph:
    """A scene of objects that are red rubber spheres in the middle unless told otherwise; slots in order."""
    nodes = [
        Node("scene", {"samples": samples, "bounces": bounces, "size": size}),
        Node("ambient", {"intensity": ambient}),
        Node("back", {"intensity": back}),
    ]
    plain: Thing = {"x": 0.0, "y": 0.0, "material": "rubber", "shape": "sphere", "colour": "red"}
    nodes += [Node("object", {**plain, **thing}, slot) for slot, thing in enumerate(things)]
    graph = SceneGraph(tuple(nodes), (-1,) + (0,) * (len(nodes) - 1))
    SCHEMA.validate(graph)
    return graph


def mask_of(renderer: Renderer, graph: SceneGraph) -> NDArray[np.uint8]:
    return np.asarray(renderer.annotate(graph)["mask"], dtype=np.uint8)


def renderer_of(edge: int = 24) -> ClevrRenderer:
    renderer = ClevrRenderer(SCHEMA, SMALL.sizes, SMALL.bounces, edge)
    renderer.build()
    return renderer


@pytest.fixture(scope="module")
def small() -> ClevrRenderer:
    return renderer_of()


class TestEnvironment(EnvSuite):
    def env(self) -> Env:
        return Clevr(ClevrConfig(edge=32))


class TestRenderer(RendererSuite):
    def renderer(self) -> Renderer:
        return ClevrRenderer(SCHEMA, SMALL.sizes, SMALL.bounces, SMALL.edge)

    def scenes(self) -> Sequence[SceneGraph]:
        mixed = clevr_grammar(SCHEMA, target_priors(SMALL, 0)).sample_many(3, seed_sequence(0, "test"))
        return [*mixed, scene({"shape": "cube"}, size=16, bounces=6), scene()]


def distances_to_centre(edge: int, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance (edge, edge) between a point and the ray through each pixel's centre."""
    origin = np.array(CAMERA)
    forward = -origin / np.linalg.norm(origin)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    at = ((np.arange(edge) + 0.5) / edge * 2 - 1) * np.tan(np.deg2rad(49.13) / 2)
    rays = forward + at[None, :, None] * right - at[:, None, None] * np.cross(right, forward)
    rays /= np.linalg.norm(rays, axis=2, keepdims=True)
    return np.asarray(np.linalg.norm(np.cross(rays, centre - origin), axis=2))


@pytest.mark.parametrize("place", [(0.0, 0.0), (2.5, -2.0), (-3.0, 3.0), (-6.0, 4.0)])
def test_the_mask_of_a_sphere_is_that_of_its_equation(place: tuple[float, float]) -> None:
    edge = 40
    mask = mask_of(renderer_of(edge), scene({"x": place[0], "y": place[1]}))
    margin = RADIUS - distances_to_centre(edge, np.array([*place, RADIUS]))
    clear = np.abs(margin) > 1e-4
    assert clear.mean() > 0.99 and (margin > 0).any()
    np.testing.assert_array_equal(mask[clear], (margin > 0)[clear].astype(np.uint8))


def test_quality_and_light_leave_the_mask_alone(small: ClevrRenderer) -> None:
    things: list[Thing] = [{"x": 1.5}, {"shape": "cube", "x": -1.5}, {"shape": "cylinder", "y": 2.0}]
    first, second = (
        mask_of(small, scene(*things, samples=samples, bounces=bounces, size=size, ambient=ambient))
        for samples, bounces, size, ambient in [(1, 2, 16, 0.0), (16, 6, 24, 100.0)]
    )
    np.testing.assert_array_equal(first, second)
    assert set(np.unique(first).tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_its_class_material_and_colour(small: ClevrRenderer, shape: str) -> None:
    pictures: dict[tuple[str, str], NDArray[np.float32]] = {}
    for material in MATERIALS:
        for colour in COLOURS:
            thing = scene({"shape": shape, "material": material, "colour": colour}, ambient=80.0)
            mask = mask_of(small, thing)
            assert set(np.unique(mask).tolist()) == {0, SHAPES.index(shape) + 1}
            pictures[material, colour] = small.draw(thing, 0)[mask > 0].mean(axis=0)
    for (material, colour), seen in pictures.items():
        channels = np.array(COLOURS[colour])
        # Which channels lead is kept by white and nearly white lights; gray has none that lead.
        order = [(i, j) for i in range(3) for j in range(3) if channels[i] > channels[j] + 60]
        assert all(seen[i] > seen[j] for i, j in order), (material, colour, seen)
    values = np.array(list(pictures.values()))
    apart = np.abs(values[:, None] - values[None]).max(axis=2)[np.triu_indices(len(values), 1)]
    assert apart.min() > 1e-3


def test_lights_brighten_the_picture(small: ClevrRenderer) -> None:
    def brightness(ambient: float = 50.0, back: float = 50.0) -> float:
        return float(small.draw(scene({}, samples=16, ambient=ambient, back=back), 0).mean())

    levels = (0.0, 30.0, 100.0)
    for means in ([brightness(ambient=level) for level in levels], [brightness(back=level) for level in levels]):
        assert means[1] > means[0] + 0.01 and means[2] > means[1] + 0.01
    assert brightness(0.0, 0.0) > 0.02  # the key and the fill light stay


def test_more_samples_have_less_noise(small: ClevrRenderer) -> None:
    def noise(samples: int, effort: float = 1.0) -> float:
        things: list[Thing] = [{"material": "metal"}, {"x": 2.0, "shape": "cube"}]
        images = [small.draw(scene(*things, samples=samples, ambient=20.0), seed, effort) for seed in range(12)]
        return float(np.sqrt(np.var(images, axis=0, ddof=1).mean()))

    levels = [noise(1), noise(4), noise(16)]
    # Between the root of the number of samples, for independent ones, and the number, for perfectly spread ones;
    # clipped highlights bend that a little.
    for more, less in pairwise(levels):
        assert 1.6 < more / less < 4.2
    assert noise(16, effort=0.25) == pytest.approx(levels[1], rel=0.1)


def test_a_smaller_image_is_blurred(small: ClevrRenderer) -> None:
    things: list[Thing] = [{"colour": "yellow"}, {"shape": "cube", "x": -1.5}]

    def sharpness(size: int) -> float:
        image = np.mean([small.draw(scene(*things, samples=16, size=size), seed) for seed in range(4)], axis=0)
        return float(np.abs(np.diff(image, axis=0)).mean() + np.abs(np.diff(image, axis=1)).mean())

    assert sharpness(24) > 1.15 * sharpness(16)


def test_metal_is_darker_where_light_may_not_bounce_on(small: ClevrRenderer) -> None:
    def object_brightness(material: str, bounces: int) -> float:
        thing = scene({"material": material, "colour": "gray"}, bounces=bounces, samples=16, ambient=20.0)
        inside = mask_of(small, thing) > 0
        return float(np.mean([small.draw(thing, seed)[inside] for seed in range(6)]))

    gain = {m: object_brightness(m, 6) / object_brightness(m, 2) for m in MATERIALS}
    assert gain["metal"] > 1.05
    assert gain["metal"] > gain["rubber"]


def test_shapes_that_were_there_before_leave_no_trace() -> None:
    crowded = scene(*({"x": 2.0 * i - 2, "shape": shape, "material": "metal"} for i, shape in enumerate(SHAPES)))
    others = [
        scene({"shape": "cube"}),
        scene({"shape": "cylinder", "material": "metal", "colour": "blue"}, {"shape": "cube", "y": 3.0}),
        scene(),
    ]
    used = renderer_of()
    for other in others:
        fresh = renderer_of()
        used.draw(crowded, 0)
        np.testing.assert_array_equal(used.draw(other, 3), fresh.draw(other, 3))
        np.testing.assert_array_equal(mask_of(used, other), mask_of(fresh, other))


def test_an_object_under_the_camera_or_beyond_the_horizon_is_no_error(small: ClevrRenderer) -> None:
    for x, y in ((7.5, -6.5), (10.0, -10.0), (-10.0, 10.0)):
        image = small.draw(scene({"x": x, "y": y, "shape": "cube"}), 0)
        assert np.isfinite(image).all()


class SlotMasks(ClevrRenderer):
    """Masks that tell objects apart rather than shapes."""

    def mask_classes(self, scene: SceneGraph) -> dict[str, int]:
        return {f"{node['shape']}_{node.slot}": node.slot + 1 for node in scene.find("object")}


def test_target_seeds_give_different_targets_with_all_objects_in_the_picture() -> None:
    renderer = SlotMasks(SCHEMA, SMALL.sizes, SMALL.bounces, 64)
    renderer.build()
    drawn = []
    for target_seed in range(8):
        env = Clevr(ClevrConfig(target_seed=target_seed))
        target = env.target()
        assert target is not None and target == Clevr(ClevrConfig(target_seed=target_seed)).target()
        drawn.append(target.priors)
        visible = 0
        scenes = target.sample_many(5, seed_sequence(target_seed, "test"))
        for s in scenes:
            mask = mask_of(renderer, s)
            visible += sum(int((mask == slot + 1).sum()) >= 10 for slot in range(3))
        assert visible >= 0.9 * 3 * len(scenes), f"target {target_seed}: {visible} of {3 * len(scenes)} objects visible"
    assert len({str(priors) for priors in drawn}) == 8


def test_the_start_is_worse_than_the_target_in_every_respect() -> None:
    env = Clevr(ClevrConfig())
    start, target = (summarise(env.schema, g.sample_many(400, seed_sequence(0, "t"))) for g in (env.prior(), _target()))
    for key in ("scene.samples", "scene.bounces", "scene.size"):
        a, b = start[key], target[key]
        assert isinstance(a, CategoricalSummary) and isinstance(b, CategoricalSummary)
        assert a.probabilities[0] > 0.7 and b.probabilities[-1] > 0.7
    for key in ("ambient.intensity", "back.intensity"):
        a, b = start[key], target[key]
        assert isinstance(a, ContinuousSummary) and isinstance(b, ContinuousSummary)
        assert b.mean - a.mean > 15


def _target() -> Any:
    return Clevr(ClevrConfig()).target()


@pytest.mark.parametrize("which", ["start", "target"])
def test_attributes_spread_as_their_priors_declare(which: str) -> None:
    profile = PROFILES["default"]
    priors = start_priors(profile) if which == "start" else target_priors(profile, 3)
    grammar = clevr_grammar(clevr_schema(profile), priors)
    found = summarise(grammar.schema, grammar.sample_many(1500, seed_sequence(0, "spread")), mutable_only=False)
    assert set(found) == {k.key for k in grammar.attributes(mutable_only=False)}
    for keyed in grammar.attributes(mutable_only=False):
        prior, seen = grammar.prior(keyed.node_class, keyed.slot, keyed.attribute.name), found[keyed.key]
        if isinstance(keyed.attribute, Continuous):
            assert isinstance(prior, Normal) and isinstance(seen, ContinuousSummary)
            assert abs(seen.mean - prior.mean) < 5 * prior.std / np.sqrt(1500) + 0.01 * prior.std
            assert seen.std == pytest.approx(prior.std, rel=0.1)
        else:
            assert isinstance(prior, Choice) and isinstance(seen, CategoricalSummary)
            np.testing.assert_allclose(seen.probabilities, prior.normalised, atol=5 * np.sqrt(0.25 / 1500))


def test_the_published_ranges_build_and_draw() -> None:
    env = Clevr(ClevrConfig(profile="paper"))
    renderer = env.renderer()
    assert (renderer.height, renderer.width) == (256, 256)
    assert len(pickle.dumps(renderer)) < 100_000
    renderer.build()
    (first,) = env.prior().sample_many(1, seed_sequence(0, "paper"))
    worst = Node("scene", {"samples": 2, "bounces": 8, "size": 32})
    image = renderer.draw(SceneGraph((worst, *first.nodes[1:]), first.parents), 0)
    assert image.shape == (256, 256, 3) and 0.02 < image.mean() < 0.9


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("profile", "grand"), ("target_seed", -1), ("train_frames", 0),
        ("edge", 8), ("edge", 33), ("edge", 2048), ("edge", -8),
    ],
)  # fmt: skip
def test_options_out_of_range_are_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{field}: {value!r} is"):
        ClevrConfig(**{field: value})


def test_frames_for_detection_have_the_boxes_of_what_is_seen() -> None:
    env = Clevr(ClevrConfig(task="detection", variant="scalar_rgb"))
    scene = env.target().sample_many(1, seed_sequence(3, "boxes"))[0]
    with LocalPool(env.renderer()) as pool:
        frames = pool.render([scene], [1])
    (boxes,), (mask,) = frames.annotations["boxes"], frames.annotations["mask"]
    seen = boxes[boxes[:, 4] >= 0]
    assert 1 <= len(seen) <= 3
    inside = np.zeros(mask.shape, dtype=bool)
    for x0, y0, x1, y1, kind in seen.astype(int):
        part = mask[y0:y1, x0:x1] == kind + 1
        assert part[0].any() and part[-1].any() and part[:, 0].any() and part[:, -1].any()
        inside[y0:y1, x0:x1] = True
    assert inside[mask > 0].all()
    assert env.task().score_name == "AP50"
