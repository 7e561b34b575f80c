"""The structure behind pictures: numbers without the reader's noise, and the table that has them."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from autosim.learning.inference.attributes import ReadClass
from autosim.learning.inference.calibration import (
    Calibration,
    Frequencies,
    Readings,
    explained_by,
    numbers_confused,
)
from autosim.learning.inference.layouts import Layouts, StructuredGenerator
from autosim.learning.inference.structure import Structure, fitted_table, hidden_class, numbers_of
from autosim.scenes.grammar import Grammar
from autosim.scenes.graph import Continuous, SceneGraph
from autosim.scenes.parametric import ParametricGenerator
from envs.aerial.env import Aerial, AerialConfig
from envs.multimnist.env import MultiMnist, MultiMnistConfig
from tests.scenes.examples import digits, roads, seed, table

LABELS = "digit.label"


def numbers_in(scenes: list[SceneGraph], name: str, most: int) -> NDArray[np.float64]:
    counts = [min(sum(1 for _ in scene.find(name)), most) for scene in scenes]
    return np.bincount(counts, minlength=most + 1) / len(scenes)


def test_what_rules_set_is_told_from_what_is_drawn() -> None:
    assert digits().set_by_rules == {LABELS}
    assert MultiMnist(MultiMnistConfig()).prior().set_by_rules == {LABELS}
    # Shapes and colours of these objects are drawn from priors.
    assert table().set_by_rules == roads().set_by_rules == frozenset()


def test_nodes_that_cannot_be_found_by_their_place_are_named() -> None:
    assert hidden_class(MultiMnist(MultiMnistConfig()).prior(), seed(0)) is None
    assert hidden_class(table(), seed(0)) is None
    assert hidden_class(Aerial(AerialConfig(case="structure")).prior(), seed(0)) == "car"


@settings(max_examples=25)
@given(st.floats(-0.25, 0.25), st.floats(0.95, 1.1), st.integers(0, 1000))
def test_numbers_are_found_less_the_noise_and_the_bias_of_finding(offset: float, slope: float, key: int) -> None:
    """Every number is found as itself more often than not, or else as one that no other is taken for."""
    rng = np.random.default_rng(key)
    wanted = rng.dirichlet(np.ones(5))
    known, true = rng.integers(0, 5, 400), rng.choice(5, size=2000, p=wanted)

    def found(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.clip(np.round(offset + slope * numbers + rng.normal(0, 0.2, len(numbers))), 0, 6).astype(np.int64)

    confused = numbers_confused(found(known), known, 6)
    assert confused.sum(axis=1) == pytest.approx(1.0)
    assert 0.5 * np.abs(numbers_of(found(true), confused)[:5] - wanted).sum() < 0.12


def test_a_number_that_is_not_found_explains_nothing() -> None:
    rng = np.random.default_rng(0)
    known = rng.integers(0, 9, 500)
    assert explained_by(known, known) == pytest.approx(1.0)
    assert explained_by(rng.permutation(known), known) < 0.1
    same = np.full(5, 3)
    assert explained_by(same, same) == explained_by(same, known[:5]) == 0.0


def test_a_table_has_the_numbers_and_kinds_that_are_wanted() -> None:
    rng = np.random.default_rng(3)
    grammar: Grammar = MultiMnist(MultiMnistConfig()).prior()
    wanted = Structure({"digit": rng.dirichlet(np.ones(11))}, {LABELS: rng.dirichlet(np.ones(10))})
    found = replace(grammar, strings=fitted_table(grammar, wanted, seed(1)))
    scenes = found.sample_many(1500, seed(2))
    assert 0.5 * np.abs(numbers_in(scenes, "digit", 10) - wanted.numbers["digit"]).sum() < 0.06
    labels = np.bincount([int(node["label"]) for scene in scenes for node in scene.find("digit")], minlength=10)
    assert 0.5 * np.abs(labels / labels.sum() - wanted.shares[LABELS]).sum() < 0.05
    # What is not wanted stays as the grammar has it.
    free = replace(grammar, strings=fitted_table(grammar, Structure({}, {}), seed(1)))
    assert 0.5 * np.abs(numbers_in(free.sample_many(1500, seed(2)), "digit", 10) - 1 / 11).sum() < 0.08


def test_nodes_lie_as_those_of_a_picture_with_as_many() -> None:
    grammar = digits()
    # Nothing is seen of the second attribute: it stays as it was drawn.
    placed = (Continuous("x", 0, 256), Continuous("depth", 0, 1))
    read = ReadClass("digit", False, 3, placed, (), varies=True)
    present = np.array([[True, True, False], [True, False, False]])
    means = np.array([[[0.25, 0.5], [0.75, 0.5], [0.9, 0.5]], [[0.5, 0.5], [0.1, 0.5], [0.1, 0.5]]])
    readings = Readings(present, means, np.full_like(means, 0.01), [], [])
    explained = {"digit.x": 0.9, "digit.depth": 0.02}
    calibration = Calibration(np.zeros(2), np.ones(2), np.full(2, 0.01), explained, Frequencies([], []))
    layouts = Layouts.of(read, readings, calibration)
    assert layouts.attributes == placed[:1]
    scenes = grammar.sample_many(40, seed(0))
    changed = layouts.laid_out(scenes, np.random.default_rng(0))
    places = {1: [128.0], 2: [64.0, 192.0]}
    seen = set()
    for before, after in zip(scenes, changed, strict=True):
        grammar.schema.validate(after)
        found = sorted(float(node["x"]) for node in after.find("digit"))
        seen.add(len(found))
        assert [node["label"] for node in after.find("digit")] == [node["label"] for node in before.find("digit")]
        assert found == pytest.approx(places.get(len(found), sorted(float(n["x"]) for n in before.find("digit"))))
    assert {0, 1, 2, 3} <= seen


def test_a_structured_generator_draws_as_it_was_told_and_is_stored_whole() -> None:
    grammar = digits()
    made = StructuredGenerator(grammar, learn_spread=True)
    before = made.sample(30, seed(0)).scenes
    plain = ParametricGenerator(grammar, learn_spread=True).sample(30, seed(0)).scenes
    assert before == plain
    wanted = Structure({"digit": np.array([0.0, 0.0, 1.0, 0.0])}, {LABELS: np.array([0.8, 0.1, 0.1])})
    place = next(each for each in grammar.schema.node_class("digit").attributes if each.name == "x")
    assert isinstance(place, Continuous)
    layouts = Layouts("digit", (place,), [np.array([[0.25], [0.75]]), np.zeros((0, 1)), np.array([[0.5], [1.0]])])
    made.take(fitted_table(grammar, wanted, seed(1)), [layouts])
    drawn = made.sample(200, seed(2))
    rows = [sorted(float(node["x"]) for node in scene.find("digit")) for scene in drawn.scenes]
    two = [row for row in rows if len(row) == 2]
    assert len(two) > 180
    assert {tuple(row) for row in two} == {(64.0, 192.0), (128.0, 256.0)}
    values = [
        kind.normalise(float(node[kind.name]))
        for scene in drawn.scenes
        for node in scene.nodes
        for kind in grammar.schema.node_class(node.node_class).attributes
        if isinstance(kind, Continuous) and kind.mutable
    ]
    assert drawn.values.tolist() == pytest.approx(values, abs=1e-6)
    other = StructuredGenerator(grammar, learn_spread=True)
    buffer = io.BytesIO()
    torch.save(made.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert other.sample(50, seed(3)).scenes == made.sample(50, seed(3)).scenes
    fresh = StructuredGenerator(grammar, learn_spread=True)
    fresh.load_state_dict(StructuredGenerator(grammar, learn_spread=True).state_dict())
    assert fresh.sample(30, seed(0)).scenes == before
