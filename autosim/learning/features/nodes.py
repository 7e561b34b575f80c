"""Labels of frames with the attributes of every node, as padded arrays: for networks that predict scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autosim.scenes.graph import Continuous, SceneGraph, Schema


@dataclass(frozen=True)
class NodePart:
    """A column of the continuous labels: ``part`` is value for an attribute in [0, 1] over its range, or for a periodic
    one the sine or cosine of its angle, in [-1, 1].
    """

    node_class: str
    attribute: str
    part: str
    mutable: bool


@dataclass(frozen=True)
class NodeLabels:
    """Labels of n scenes with up to N nodes each, in the order of the scenes' nodes.

    ``node_class`` is the position in ``Schema.classes``, ``parent`` the place of the parent's node, −1 for a root; both
    and ``slot`` are int64 (n, N), −1 where a scene has fewer nodes. ``continuous`` float32 (n, N, K) has the columns
    ``parts``, 0 where a node's class lacks them; ``has`` bool (n, N, K) is True where it has them. ``categorical``
    int64 (n, N, D) holds indices of choices, in the columns ``Schema.categorical_columns``, −1 where a node lacks them.
    """

    parts: tuple[NodePart, ...]
    node_class: NDArray[np.int64]
    slot: NDArray[np.int64]
    parent: NDArray[np.int64]
    continuous: NDArray[np.float32]
    has: NDArray[np.bool_]
    categorical: NDArray[np.int64]

    @property
    def present(self) -> NDArray[np.bool_]:
        """(n, N) where there is a node."""
        return self.node_class >= 0


def node_labels(schema: Schema, scenes: Sequence[SceneGraph], most: int | None = None) -> NodeLabels:
    """Labels of scenes, padded to ``most`` nodes, by default to those of the largest scene.

    ``ValueError`` where a scene has more nodes than ``most``.
    """
    lengths = [len(scene.nodes) for scene in scenes]
    width = max(lengths, default=0) if most is None else most
    for i, length in enumerate(lengths):
        if length > width:
            raise ValueError(f"node labels: scene {i} has {length} nodes, above {width}")
    arrays = schema.encode(scenes)
    first = np.cumsum([0, *lengths])[:-1]
    place = np.arange(len(arrays.scene)) - np.repeat(first, lengths)
    at = arrays.scene, place
    parts, values, has = _continuous(schema, arrays.continuous, schema.continuous_mask[arrays.node_class])

    def padded(known: NDArray[np.generic], empty: int) -> NDArray[np.generic]:
        result = np.full((len(scenes), width, *known.shape[1:]), empty, dtype=known.dtype)
        result[at] = known
        return result

    inside = np.where(arrays.parent >= 0, arrays.parent - np.repeat(first, lengths), -1)
    categorical = np.where(schema.categorical_mask[arrays.node_class], arrays.categorical, -1)
    return NodeLabels(
        parts,
        padded(arrays.node_class, -1).astype(np.int64),
        padded(arrays.slot, -1).astype(np.int64),
        padded(inside, -1).astype(np.int64),
        padded(values, 0).astype(np.float32),
        padded(has, 0).astype(np.bool_),
        padded(categorical, -1).astype(np.int64),
    )


def _continuous(
    schema: Schema, units: NDArray[np.float64], present: NDArray[np.bool_]
) -> tuple[tuple[NodePart, ...], NDArray[np.float64], NDArray[np.bool_]]:
    """The parts of all continuous columns, their values (m, K) for m nodes, and where a node has them."""
    parts: list[NodePart] = []
    values: list[NDArray[np.float64]] = []
    has: list[NDArray[np.bool_]] = []
    for i, column in enumerate(schema.continuous_columns):
        attribute = column.attribute
        assert isinstance(attribute, Continuous)
        angle = 2 * np.pi * units[:, i]
        circle = {"sine": np.sin(angle), "cosine": np.cos(angle)}
        for part, found in (circle if attribute.periodic else {"value": units[:, i]}).items():
            parts.append(NodePart(column.node_class, attribute.name, part, attribute.mutable))
            values.append(found * present[:, i])
            has.append(present[:, i])
    shape = (len(units), len(parts))
    return tuple(parts), np.array(values).T.reshape(shape), np.array(has, dtype=bool).T.reshape(shape)
