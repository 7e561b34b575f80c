"""Samples of every learned attribute at the start, after learning, and of the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autosim.reports.recovery import Recovery
from autosim.scenes.graph import Attribute, Continuous, SceneGraph, Schema


@dataclass(frozen=True)
class AttributeSamples:
    """Values of one attribute: numbers in its own unit, or choice indices; ``target`` None where it is not known."""

    spec: Attribute
    start: NDArray[np.float64]
    learned: NDArray[np.float64]
    target: NDArray[np.float64] | None


def attribute_values(schema: Schema, scenes: Sequence[SceneGraph]) -> dict[str, NDArray[np.float64]]:
    """Values of every mutable attribute by ``schema.key``, choice indices where categorical."""
    collected: dict[str, list[float]] = {}
    for scene in scenes:
        for node in scene.nodes:
            for attribute in schema.node_class(node.node_class).attributes:
                if attribute.mutable:
                    value = node[attribute.name]
                    number = float(value) if isinstance(attribute, Continuous) else float(attribute.index(value))
                    collected.setdefault(schema.key(node, attribute.name), []).append(number)
    return {key: np.array(numbers) for key, numbers in collected.items()}


def attribute_samples(
    schema: Schema,
    start: Sequence[SceneGraph],
    learned: Sequence[SceneGraph],
    target: Sequence[SceneGraph] | None,
    matched: Mapping[str, Recovery],
) -> dict[str, AttributeSamples]:
    """Samples by the target's key; slots are lined up as ``matched`` says."""
    specs = {
        (f"{c.name}.{slot}.{a.name}" if c.slots > 1 else f"{c.name}.{a.name}"): a
        for c in schema.classes
        for slot in range(c.slots)
        for a in c.attributes
    }
    before, after = attribute_values(schema, start), attribute_values(schema, learned)
    wanted = attribute_values(schema, target) if target is not None else {}
    samples = {}
    for key in specs:
        move = matched.get(key)
        start_key, learned_key = (move.start_key, move.learned_key) if move else (key, key)
        if start_key in before and learned_key in after:
            samples[key] = AttributeSamples(specs[key], before[start_key], after[learned_key], wanted.get(key))
    return samples
