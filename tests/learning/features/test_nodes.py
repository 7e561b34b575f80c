"""Labels of single nodes: every attribute in its place, padded where scenes have fewer nodes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autosim.learning.features.nodes import node_labels
from autosim.scenes.graph import Categorical, Continuous
from tests.scenes.examples import digits, roads, seed, table
from tests.support.helpers import BLOB_SCHEMA, blob_scene, blob_scenes


def test_attributes_are_normalised_and_angles_are_on_the_circle() -> None:
    scene = blob_scene(3, blobs=2)
    labels = node_labels(BLOB_SCHEMA, [scene, blob_scene(4, blobs=1)])
    assert labels.node_class.tolist() == [[0, 1, 1], [0, 1, -1]]
    assert labels.slot.tolist() == [[0, 0, 1], [0, 0, -1]]
    assert labels.parent.tolist() == [[-1, 0, 0], [-1, 0, -1]]
    assert labels.present.tolist() == [[True, True, True], [True, True, False]]
    columns = {(part.attribute, part.part): i for i, part in enumerate(labels.parts)}
    assert list(columns) == [
        ("power", "value"), ("x", "value"), ("y", "value"), ("width", "value"), ("hue", "sine"), ("hue", "cosine")
    ]  # fmt: skip
    assert [part.mutable for part in labels.parts] == [True, True, True, False, True, True]
    blob = scene.nodes[2]
    found = labels.continuous[0, 2]
    assert found[columns["x", "value"]] == pytest.approx((float(blob["x"]) + 1) / 2)
    assert found[columns["hue", "sine"]] == pytest.approx(np.sin(np.deg2rad(float(blob["hue"]))), abs=1e-6)
    assert found[columns["hue", "cosine"]] == pytest.approx(np.cos(np.deg2rad(float(blob["hue"]))), abs=1e-6)
    assert found[columns["power", "value"]] == 0 and not labels.has[0, 2, columns["power", "value"]]
    signs = [("bright", "dim").index(str(node["sign"])) for node in scene.nodes[1:]]
    assert labels.categorical[0].tolist() == [[-1], *([sign] for sign in signs)]


@given(number=st.integers(0, 200))
@settings(max_examples=30)
def test_scenes_can_be_read_back(number: int) -> None:
    for grammar in (table(), digits(), roads()):
        scenes = [grammar.sample(seed(number, i)) for i in range(3)]
        schema = grammar.schema
        labels = node_labels(schema, scenes, most=max(len(scene.nodes) for scene in scenes) + 2)
        for i, scene in enumerate(scenes):
            count = len(scene.nodes)
            assert labels.present[i].sum() == count and labels.parent[i, :count].tolist() == list(scene.parents)
            for place, node in enumerate(scene.nodes):
                found = schema.classes[labels.node_class[i, place]]
                assert (found.name, labels.slot[i, place]) == (node.node_class, node.slot)
                known = {
                    (part.attribute, part.part): float(labels.continuous[i, place, k])
                    for k, part in enumerate(labels.parts)
                    if labels.has[i, place, k]
                }
                for attribute in found.attributes:
                    value = node[attribute.name]
                    if isinstance(attribute, Categorical):
                        key = f"{found.name}.{attribute.name}"
                        column = [c.key for c in schema.categorical_columns].index(key)
                        assert attribute.choices[labels.categorical[i, place, column]] == value
                        continue
                    assert isinstance(attribute, Continuous)
                    if attribute.periodic:
                        sine, cosine = known.pop((attribute.name, "sine")), known.pop((attribute.name, "cosine"))
                        unit = np.arctan2(sine, cosine) / (2 * np.pi) % 1.0
                    else:
                        unit = known.pop((attribute.name, "value"))
                    back = attribute.denormalise(unit)
                    span = attribute.high - attribute.low
                    assert attribute.difference(back, float(value)) == pytest.approx(0, abs=1e-5 * span)
                assert not known
            assert not labels.has[i, count:].any() and (labels.categorical[i, count:] == -1).all()


def test_no_scenes_have_no_labels_and_too_many_nodes_are_told() -> None:
    none = node_labels(BLOB_SCHEMA, [])
    assert none.present.shape == (0, 0) and none.continuous.shape == (0, 0, 6)
    scenes = blob_scenes(6)
    largest = max(len(scene.nodes) for scene in scenes)
    with pytest.raises(ValueError, match=f"has {largest} nodes, above {largest - 1}"):
        node_labels(BLOB_SCHEMA, scenes, most=largest - 1)
