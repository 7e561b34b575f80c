"""Scene graphs: attributes, arrays, JSON, node features."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autosim.scenes.generator import ContinuousSummary, MovingAverage, summarise
from autosim.scenes.graph import Categorical, Continuous, Node, NodeClass, SceneGraph, Schema
from tests.scenes.examples import digits, roads, seed, table

KEYS = st.integers(0, 2**32)


@settings(max_examples=50)
@given(key=KEYS, count=st.integers(0, 4))
def test_arrays_and_json_read_back_the_scenes(key: int, count: int) -> None:
    for grammar in (table(), digits(), roads()):
        schema, scenes = grammar.schema, grammar.sample_many(count, seed(key))
        arrays = schema.encode(scenes)
        back = schema.decode(arrays)
        assert [s.parents for s in back] == [s.parents for s in scenes]
        assert [s.derivation for s in back] == [s.derivation for s in scenes]
        for old, new in zip(scenes, back, strict=True):
            schema.validate(new)
            for a, b in zip(old.nodes, new.nodes, strict=True):
                assert (a.node_class, a.slot, list(a.attributes)) == (b.node_class, b.slot, list(b.attributes))
                for name, value in a.attributes.items():
                    assert b[name] == value or math.isclose(float(b[name]), float(value), rel_tol=1e-9, abs_tol=1e-9)
        assert [SceneGraph.from_json(json.loads(json.dumps(s.to_json()))) for s in scenes] == scenes
        assert schema.network_features(arrays).shape == (len(arrays.scene), schema.feature_count)


@settings(max_examples=200)
@given(low=st.floats(-1e3, 1e3), span=st.floats(1e-2, 1e3), unit=st.floats(-2, 3), periodic=st.booleans())
def test_denormalised_values_are_in_range_and_normalise_back(
    low: float, span: float, unit: float, periodic: bool
) -> None:
    spec = Continuous("x", low, low + span, periodic=periodic)
    value = spec.denormalise(unit)
    spec.check(value)
    expected = unit % 1.0 if periodic else min(max(unit, 0.0), 1.0)
    difference = abs(spec.normalise(value) - expected)
    assert min(difference, 1 - difference if periodic else difference) < 1e-9


@settings(max_examples=50)
@given(key=KEYS)
def test_values_are_read_and_replaced_in_order(key: int) -> None:
    schema = digits().schema
    scene = digits().sample(seed(key))
    values = schema.values(scene)
    assert len(values) == 1 + 2 * (len(scene.nodes) - 1)
    moved = schema.with_values(scene, (values + 0.25) % 1.0)
    assert np.allclose(schema.values(moved), (values + 0.25) % 1.0)
    assert schema.with_values(moved, values).parents == scene.parents
    with pytest.raises(ValueError, match="mutable continuous attributes"):
        schema.with_values(scene, [*values, 0.5])


def _angle_features(degrees: float) -> np.ndarray:
    schema = digits().schema
    scene = SceneGraph((Node("canvas", {"hue": degrees}),), (-1,))
    return schema.network_features(schema.encode([scene]))[0]


def test_features_of_angles_are_near_on_the_circle() -> None:
    """Fault 7 of the public implementation: 350 and 10 degrees were far apart."""
    near = np.linalg.norm(_angle_features(350) - _angle_features(10))
    assert near == pytest.approx(2 * math.sin(math.radians(10)), abs=1e-6)
    assert np.linalg.norm(_angle_features(190) - _angle_features(10)) == pytest.approx(2, abs=1e-6)
    spec = Continuous("yaw", 0, 360, periodic=True)
    assert spec.difference(10, 350) == pytest.approx(20) and spec.difference(350, 10) == pytest.approx(-20)


def test_features_have_one_layout_and_tell_slots_apart() -> None:
    schema = table().schema
    arrays = schema.encode([table().with_priors({}).sample(seed(1))])
    features = schema.network_features(arrays)
    assert features[:, :4].tolist() == np.eye(4)[[0, 1, 2, 3, 3, 3]].tolist()
    assert features[3:, 4:7].tolist() == np.eye(3).tolist() and not features[:3, 4:7].any()
    x = arrays.continuous[3:, 2]
    assert np.allclose(features[3:, 9], 2 * x - 1) and not features[:3, 9].any()


def test_mistakes_are_named() -> None:
    scene = table().sample(seed(1))
    schema = table().schema

    def check(message: str, **changes: object) -> None:
        node = replace(scene.nodes[3], **changes)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=message):
            schema.validate(SceneGraph((*scene.nodes[:3], node, *scene.nodes[4:]), scene.parents))

    check("node 3: class 'lamp'", node_class="lamp")
    check("node 3: slot 3", slot=3)
    check("node 3: attributes", attributes={"x": 1.0})
    check("node 3: attribute 'x': 11", attributes={**scene.nodes[3].attributes, "x": 11.0})
    check("node 3: attribute 'x'.*not a number", attributes={**scene.nodes[3].attributes, "x": "left"})
    check("node 3: attribute 'material': 'wood'", attributes={**scene.nodes[3].attributes, "material": "wood"})
    with pytest.raises(ValueError, match="node 0 has parent 0"):
        SceneGraph((Node("a"),), (0,))
    with pytest.raises(ValueError, match="malformed JSON"):
        SceneGraph.from_json({"nodes": [{"class": "a"}]})
    with pytest.raises(ValueError, match="not below high"):
        Continuous("x", 0, math.inf)
    with pytest.raises(ValueError, match="distinct"):
        Categorical("c", (1, 1))
    with pytest.raises(ValueError, match="distinct"):
        Schema((NodeClass("a"), NodeClass("a")))


def test_summary_of_angles_is_circular() -> None:
    schema = digits().schema
    scenes = [SceneGraph((Node("canvas", {"hue": hue}),), (-1,)) for hue in (350.0, 10.0)]
    found = summarise(schema, scenes)["canvas.hue"]
    assert isinstance(found, ContinuousSummary)
    assert schema.classes[0].attributes[0].difference(found.mean, 0) == pytest.approx(0, abs=1e-9)  # type: ignore[union-attr]
    assert found.std == pytest.approx(10)


def test_baseline_is_the_average_before_the_observation() -> None:
    baseline = MovingAverage(decay=0.5)
    assert [baseline.update(x) for x in (4.0, 8.0, 0.0)] == [4.0, 4.0, 6.0]
    assert baseline.value == 3.0
