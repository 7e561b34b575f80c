"""Structure features: labels read off derivations, counts that are told right, kept and read back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autosim.learning.features.structure import StructureFeatures, structure_counts, train_structure_features
from autosim.learning.training import to_tensor
from autosim.rendering.frames import Frames
from autosim.rendering.pool import LocalPool
from autosim.scenes.graph import SceneGraph
from tests.scenes.examples import digits, roads, seed
from tests.support.squares import SquareRenderer, SquaresConfig, SquaresEnv, squares

pytestmark = pytest.mark.usefixtures("one_thread")


def drawn(count: int, key: int = 0) -> tuple[list[SceneGraph], Frames]:
    env = SquaresEnv(SquaresConfig())
    scenes = env.prior().sample_many(count, seed(key))
    return scenes, LocalPool(env.renderer()).render(scenes, list(range(count)))


def test_counts_are_those_of_symbols_classes_and_children_in_order() -> None:
    grammar = roads()
    scenes = grammar.sample_many(40, seed(0))
    for scene, found in zip(scenes, structure_counts(grammar, scenes), strict=True):
        parents = [i for i, node in enumerate(scene.nodes) if node.node_class == "road"]
        assert found["Road"] == len(parents)
        for order, parent in enumerate(parents):
            cars = sum(p == parent for p in scene.parents)
            assert found[f"Road.{order}.car"] == cars
        assert found["car"] == sum(node.node_class == "car" for node in scene.nodes)


def test_symbols_of_one_class_are_counted_together_too() -> None:
    grammar = digits()
    scenes = grammar.sample_many(20, seed(1))
    for scene, found in zip(scenes, structure_counts(grammar, scenes), strict=True):
        assert found["all digit"] == sum(node.node_class == "digit" for node in scene.nodes)


@pytest.mark.slow
def test_it_learns_to_count_squares_and_is_kept() -> None:
    scenes, frames = drawn(400)
    features = train_structure_features(squares(np.full(4, 0.25)), scenes, frames, SquareRenderer.annotations, seed=0)
    assert features.group_names == ["Square"] and features.explained[0] > 0.7
    fresh_scenes, fresh = drawn(60, key=1)
    found = features.of_images(fresh.images)
    truth = torch.tensor([[float(len(scene.nodes))] for scene in fresh_scenes])
    assert float((found - truth).abs().mean()) < 0.5
    again = StructureFeatures.from_state(features.to_state())
    torch.testing.assert_close(again.of_images(fresh.images), found)
    assert again.explained == features.explained


def test_equal_arguments_give_equal_features() -> None:
    scenes, frames = drawn(40)
    grammar = SquaresEnv(SquaresConfig()).prior()
    first, second = (
        train_structure_features(grammar, scenes, frames, SquareRenderer.annotations, seed=3) for _ in range(2)
    )
    images = to_tensor(frames.images[:5])
    assert torch.equal(first(images), second(images))


def test_what_cannot_be_learned_is_refused() -> None:
    scenes, frames = drawn(10)
    grammar = SquaresEnv(SquaresConfig()).prior()
    with pytest.raises(ValueError, match="9 scenes for 10 frames"):
        train_structure_features(grammar, scenes[:9], frames, SquareRenderer.annotations, seed=0)
    alike = [scenes[0]] * 10
    with pytest.raises(ValueError, match="same structure"):
        train_structure_features(grammar, alike, frames, SquareRenderer.annotations, seed=0)
    unknown = SceneGraph(scenes[0].nodes, scenes[0].parents)
    with pytest.raises(ValueError, match="no derivation"):
        structure_counts(grammar, [unknown])


def test_pictures_of_any_shape_are_counted_in() -> None:
    scenes, frames = drawn(20)
    images = np.ascontiguousarray(frames.images[:, :29, :21])
    mask = np.ascontiguousarray(frames.annotations["mask"][:, :29, :21])
    odd = Frames(images, {"mask": mask})
    features = train_structure_features(squares(np.full(4, 0.25)), scenes, odd, SquareRenderer.annotations, seed=0)
    assert bool(features.of_images(np.zeros((1, 188, 620, 3), np.uint8)).isfinite().all())
    assert features.of_images(images).shape == (20, features.dimension)
