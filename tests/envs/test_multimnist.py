"""MultiMNIST: numbers and classes as declared, a hidden distribution for each seed, digits in a row in the target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from autosim.env import Env
from autosim.rendering.renderer import Renderer
from autosim.scenes.grammar import Grammar
from autosim.scenes.graph import SceneGraph
from autosim.seeding import seed_sequence
from autosim.testing import EnvSuite, RendererSuite
from envs.digits import load_digits
from envs.multimnist.env import FIRST_DIGIT, MORE, MOST, MultiMnist, MultiMnistConfig

pytestmark = pytest.mark.usefixtures("one_thread")


def env(**options: int) -> MultiMnist:
    return MultiMnist(MultiMnistConfig(**{"edge": 64, "train_frames": 4, **options}))  # type: ignore[arg-type]


def drawn(grammar: Grammar | None, count: int = 2000) -> list[SceneGraph]:
    assert grammar is not None
    return grammar.sample_many(count, seed_sequence(3, "digits"))


class TestMultiMnist(EnvSuite):
    def env(self) -> Env:
        return env()


class TestMultiDigitRenderer(RendererSuite):
    def renderer(self) -> Renderer:
        return env().renderer()

    def scenes(self) -> Sequence[SceneGraph]:
        return [scene for scene in drawn(env().prior(), 20) if len(scene.nodes) > 2][:3]


def test_the_prior_has_all_numbers_and_classes_alike() -> None:
    scenes = drawn(env().prior())
    numbers = np.bincount([len(list(scene.find("digit"))) for scene in scenes], minlength=MOST + 1) / len(scenes)
    labels = [int(node["label"]) for scene in scenes for node in scene.find("digit")]
    assert numbers == pytest.approx(np.full(MOST + 1, 1 / 11), abs=0.025)
    assert np.bincount(labels) / len(labels) == pytest.approx(np.full(10, 0.1), abs=0.015)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_target_has_the_hidden_distributions(seed: int) -> None:
    problem = env(target_seed=seed)
    scenes = drawn(problem.target())
    numbers = np.bincount([len(list(scene.find("digit"))) for scene in scenes], minlength=MOST + 1) / len(scenes)
    labels = [int(node["label"]) for scene in scenes for node in scene.find("digit")]
    assert numbers == pytest.approx(problem.target_counts, abs=0.035)
    assert np.bincount(labels, minlength=10) / len(labels) == pytest.approx(problem.target_classes, abs=0.025)


def test_each_seed_hides_another_distribution() -> None:
    first, second = env(target_seed=0), env(target_seed=1)
    assert np.abs(first.target_counts - second.target_counts).sum() > 0.2
    assert np.abs(first.target_classes - second.target_classes).sum() > 0.2
    assert np.array_equal(first.target_counts, env(target_seed=0).target_counts)


def test_strings_and_nodes_say_the_same() -> None:
    for scene in drawn(env().target(), 50):
        assert scene.derivation is not None
        rules, nodes = scene.derivation, list(scene.find("digit"))
        assert rules.count(MORE) == len(nodes)
        assert [rule - FIRST_DIGIT for rule in rules if rule >= FIRST_DIGIT] == [int(node["label"]) for node in nodes]


def test_the_target_s_digits_stand_in_a_row_in_the_middle() -> None:
    for scene in drawn(env().target(), 50):
        places = np.array([float(node["x"]) for node in scene.find("digit")])
        heights = np.array([float(node["y"]) for node in scene.find("digit")])
        if len(places) > 1:
            assert np.diff(places) == pytest.approx(np.diff(places)[0])
            assert places.mean() == pytest.approx(0.5) and 0 < np.diff(places)[0] < 0.15
        assert heights == pytest.approx(np.full(len(heights), 0.5), abs=0.03)


def test_digits_of_start_validation_and_target_are_apart() -> None:
    problem, digits = env(), load_digits("bundled")
    used = []
    for grammar in (problem.prior(), problem.validation_target(), problem.target()):
        nodes = [node for scene in drawn(grammar, 300) for node in scene.find("digit")]
        used.append({digits.index(int(node["label"]), float(node["variant"])) for node in nodes})
    assert not used[0] & used[1] and not used[0] & used[2] and not used[1] & used[2]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"edge": 65}, "edge"),
        ({"edge": 1024}, "edge"),
        ({"target_seed": -1}, "target_seed"),
        ({"train_frames": 0}, "train"),
    ],
)
def test_options_are_checked(options: dict[str, int], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        env(**options)
