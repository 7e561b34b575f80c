"""Aerial views: cars stand on their roads, numbers depend on which road it is, textures are made from seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from autosim.env import Env
from autosim.rendering.renderer import Renderer
from autosim.scenes.graph import Node, SceneGraph
from autosim.seeding import seed_sequence
from autosim.testing import EnvSuite, RendererSuite
from envs.aerial import textures
from envs.aerial.env import Aerial, AerialConfig, structure_string
from envs.aerial.renderer import CLASSES
from envs.aerial.targets import Traffic, traffic

pytestmark = pytest.mark.usefixtures("one_thread")
ROAD, CAR = CLASSES.index("road"), CLASSES.index("car")


def env(case: str = "segmentation", **options: Any) -> Aerial:
    return Aerial(AerialConfig(case=case, **{"train_frames": 4, **options}))  # type: ignore[arg-type]


def crossing(yaw: float, along: float = 0.0, across: float = 0.0) -> SceneGraph:
    """A road with two cars in one place."""
    values = {"variant": 0.5}
    car = {"along": along, "across": across, "yaw": 0.0, **values}
    nodes = (
        Node("grass", values),
        Node("road", {"offset": 0.0, "yaw": yaw, **values}),
        Node("car", car, 0),
        Node("car", car, 1),
        Node("tree", {"x": 0.1, "y": 0.1, "yaw": 0.0, **values}),
        Node("house", {"x": 0.9, "y": 0.9, "yaw": 0.0, **values}),
    )
    return SceneGraph(nodes, (-1, -1, 1, 1, -1, -1))


class TestSegmentation(EnvSuite):
    def env(self) -> Env:
        return env(edge=32)


class TestStructure(EnvSuite):
    def env(self) -> Env:
        return env("structure", edge=64)


class TestAerialRenderer(RendererSuite):
    def renderer(self) -> Renderer:
        return env(edge=32).renderer()

    def scenes(self) -> Sequence[SceneGraph]:
        return [crossing(0.0), crossing(40.0, 0.2, 0.3), crossing(200.0, -0.3, -1.0)]


@pytest.mark.parametrize("yaw", [0.0, 30.0, 90.0, 135.0, 250.0])
def test_a_car_goes_along_its_road_whichever_way_that_turns(yaw: float) -> None:
    """In road coordinates: ``along`` 0.3 to the right of the middle for a road that lies flat, turned with it."""
    renderer = env().renderer()
    renderer.build()
    mask = renderer.annotate(crossing(yaw, along=0.3))["mask"]
    rows, columns = np.nonzero(mask == CAR)
    angle = np.deg2rad(yaw)
    assert columns.mean() + 0.5 == pytest.approx(64 * (0.5 + 0.3 * np.cos(angle)), abs=1.0)
    assert rows.mean() + 0.5 == pytest.approx(64 * (0.5 - 0.3 * np.sin(angle)), abs=1.0)
    assert set(np.unique(mask[binary_dilation(mask == CAR)])) == {ROAD, CAR}


def test_the_target_s_cars_are_on_the_road_and_the_start_s_often_are_not() -> None:
    problem = env()
    renderer = problem.renderer()
    renderer.build()
    beside = []
    for grammar in (problem.prior(), problem.target()):
        scenes = grammar.sample_many(60, seed_sequence(0, "cars"))
        on_road = [abs(float(car["across"])) < 0.5 for scene in scenes for car in scene.find("car")]
        beside.append(1 - np.mean(on_road))
    assert beside[0] > 0.4 and beside[1] == 0


@pytest.mark.parametrize("seed", range(1, 7))
def test_a_seed_draws_another_target_where_everything_can_be_seen(seed: int) -> None:
    problem = Aerial(AerialConfig(target_seed=seed))
    renderer = problem.renderer()
    renderer.build()
    scenes = problem.target().sample_many(40, seed_sequence(0, "target"))
    assert scenes == Aerial(AerialConfig(target_seed=seed)).target().sample_many(40, seed_sequence(0, "target"))
    assert scenes != Aerial(AerialConfig(target_seed=seed + 1)).target().sample_many(40, seed_sequence(0, "target"))
    masks = [renderer.annotate(scene)["mask"] for scene in scenes]
    for index, least in ((1, 200), (2, 20), (3, 20), (4, 20)):
        assert np.mean([np.count_nonzero(mask == index) >= least for mask in masks]) > 0.9, CLASSES[index]


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_numbers_of_roads_and_cars_are_as_declared(seed: int) -> None:
    expected = traffic(seed)
    assert (expected == Traffic()) == (seed == 0)
    problem = Aerial(AerialConfig("structure", target_seed=seed))
    scenes = problem.target().sample_many(3000, seed_sequence(0, "roads"))
    roads, first, others = [], [], []
    for scene in scenes:
        places = [i for i, node in enumerate(scene.nodes) if node.node_class == "road"]
        cars = [sum(parent == i for parent in scene.parents) for i in places]
        roads.append(len(places))
        first.append(cars[0])
        others += cars[1:]
    assert np.bincount(roads, minlength=5)[1:] / len(roads) == pytest.approx(np.array(expected.roads), abs=0.03)
    assert np.mean(first) == pytest.approx(expected.first, abs=0.25)
    assert np.mean(others) == pytest.approx(expected.others, abs=0.2)


def test_the_prior_has_up_to_four_roads_and_eight_cars_on_each() -> None:
    scenes = env("structure").prior().sample_many(1000, seed_sequence(0, "roads"))
    roads = np.bincount([len(list(scene.find("road"))) for scene in scenes], minlength=5) / len(scenes)
    assert roads == pytest.approx(np.full(5, 0.2), abs=0.05)
    cars = [
        sum(parent == i for parent in scene.parents)
        for scene in scenes
        for i, node in enumerate(scene.nodes)
        if node.node_class == "road"
    ]
    assert np.bincount(cars) / len(cars) == pytest.approx(np.full(9, 1 / 9), abs=0.03)


def test_cars_of_a_road_have_places_of_their_own() -> None:
    grammar = env("structure").target()
    rules = structure_string([12, 0, 3])
    scene = grammar.derive(rules, seed_sequence(0, "traffic"))
    road = next(i for i, node in enumerate(scene.nodes) if node.node_class == "road")
    along = sorted(float(n["along"]) for n, parent in zip(scene.nodes, scene.parents, strict=True) if parent == road)
    assert len(along) == 12 and min(np.diff(along)) > 0.04
    env("structure").schema.validate(scene)


def test_textures_are_many_and_all_different() -> None:
    cars = textures.cars()
    assert len(cars) == textures.CARS >= 300
    assert len({car.tobytes() for car in cars}) == len(cars)
    for made in (textures.trees(), textures.houses(), textures.roads()):
        assert len({one.tobytes() for one in made}) == len(made)
    assert np.array_equal(cars, textures.cars())


@pytest.mark.parametrize(
    ("options", "name"), [({"edge": 33}, "edge"), ({"edge": 8}, "edge"), ({"train_frames": 0}, "train_frames")]
)
def test_options_are_checked(options: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        env(**options)


def test_a_case_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="case"):
        env("parking")
