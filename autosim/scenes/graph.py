"""Scene graphs: trees of nodes with typed attributes, and their view as arrays.

A :class:`Schema` lists the node classes of an environment and the attributes of each. Continuous attributes are
normalised to [0, 1] over their range; periodic ones live on the circle [0, 1). Order is always that of the schema,
so arrays mean the same in every process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosim.scenes.attributes import Attribute, Categorical, ChoiceValue, Continuous, Value

__all__ = [
    "Attribute",
    "Categorical",
    "ChoiceValue",
    "Column",
    "Continuous",
    "Node",
    "NodeClass",
    "SceneArrays",
    "SceneGraph",
    "Schema",
    "Value",
]


@dataclass(frozen=True)
class NodeClass:
    """A kind of node. With ``slots`` > 1 nodes of one class are numbered (object 0, object 1, …)."""

    name: str
    attributes: tuple[Attribute, ...] = ()
    slots: int = 1

    def attribute(self, name: str) -> Attribute:
        """The attribute called ``name``; ``KeyError`` where the class has none."""
        for attribute in self.attributes:
            if attribute.name == name:
                return attribute
        raise KeyError(f"class {self.name!r} has no attribute {name!r}")


@dataclass(frozen=True)
class Node:
    """One node: its class, its slot within the class, a value for every attribute of the class."""

    node_class: str
    attributes: Mapping[str, Value] = field(default_factory=dict)
    slot: int = 0

    def __getitem__(self, name: str) -> Value:
        return self.attributes[name]


@dataclass(frozen=True)
class SceneGraph:
    """A tree of nodes in derivation order; ``parents[i] < i`` is the parent's index, -1 for a root.

    ``derivation`` holds the grammar's rule indices that made the structure, first applied first, where known.
    """

    nodes: tuple[Node, ...]
    parents: tuple[int, ...]
    derivation: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.nodes) != len(self.parents):
            raise ValueError(f"scene graph: {len(self.nodes)} nodes but {len(self.parents)} parents")
        for i, parent in enumerate(self.parents):
            if not -1 <= parent < i:
                raise ValueError(f"scene graph: node {i} has parent {parent}, not an earlier node or -1")

    def find(self, node_class: str) -> Iterator[Node]:
        """Nodes of a class, in order."""
        return (node for node in self.nodes if node.node_class == node_class)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary; :meth:`from_json` reads it back."""
        nodes = [
            {"class": node.node_class, "slot": node.slot, "parent": parent, "attributes": dict(node.attributes)}
            for node, parent in zip(self.nodes, self.parents, strict=True)
        ]
        return {"nodes": nodes, "derivation": None if self.derivation is None else list(self.derivation)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> SceneGraph:
        """Read what :meth:`to_json` wrote; ``ValueError`` names what is missing or malformed."""
        try:
            nodes = tuple(Node(n["class"], dict(n["attributes"]), int(n["slot"])) for n in data["nodes"])
            parents = tuple(int(n["parent"]) for n in data["nodes"])
            derivation = data.get("derivation")
            return SceneGraph(nodes, parents, None if derivation is None else tuple(int(r) for r in derivation))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"scene graph: malformed JSON ({error!r})") from error


@dataclass(frozen=True)
class SceneArrays:
    """Scenes as arrays: n nodes of all scenes one after another, C continuous and D categorical columns.

    ``scene``, ``node_class``, ``slot``, ``parent`` are int64 (n,), ``parent`` counted over all nodes and -1 for roots;
    ``continuous`` (n, C) is normalised, ``categorical`` (n, D) holds choice indices; both are 0 where the node's class
    lacks the column (see ``Schema.continuous_mask`` and ``categorical_mask``).
    """

    count: int
    scene: NDArray[np.int64]
    node_class: NDArray[np.int64]
    slot: NDArray[np.int64]
    parent: NDArray[np.int64]
    continuous: NDArray[np.float64]
    categorical: NDArray[np.int64]
    derivations: tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True)
class Column:
    """One attribute of one class: a column of the arrays."""

    node_class: str
    attribute: Attribute

    @property
    def key(self) -> str:
        """``class.attribute``"""
        return f"{self.node_class}.{self.attribute.name}"


@dataclass(frozen=True)
class Schema:
    """Node classes of an environment, in a fixed order."""

    classes: tuple[NodeClass, ...]

    def __post_init__(self) -> None:
        names = [c.name for c in self.classes]
        if len(set(names)) != len(names):
            raise ValueError(f"schema: class names {names} are not distinct")
        for c in self.classes:
            attributes = [a.name for a in c.attributes]
            if len(set(attributes)) != len(attributes):
                raise ValueError(f"schema: attributes {attributes} of class {c.name!r} are not distinct")

    @cached_property
    def class_index(self) -> dict[str, int]:
        """Position of each class name."""
        return {c.name: i for i, c in enumerate(self.classes)}

    def node_class(self, name: str) -> NodeClass:
        """The class called ``name``; ``KeyError`` lists the classes where there is none."""
        if name not in self.class_index:
            raise KeyError(f"schema has no class {name!r}; it has {list(self.class_index)}")
        return self.classes[self.class_index[name]]

    @cached_property
    def continuous_columns(self) -> tuple[Column, ...]:
        """Continuous attributes, class by class."""
        return tuple(Column(c.name, a) for c in self.classes for a in c.attributes if isinstance(a, Continuous))

    @cached_property
    def categorical_columns(self) -> tuple[Column, ...]:
        """Categorical attributes, class by class."""
        return tuple(Column(c.name, a) for c in self.classes for a in c.attributes if isinstance(a, Categorical))

    @cached_property
    def continuous_mask(self) -> NDArray[np.bool_]:
        """(classes, C): whether a class has the continuous column."""
        return np.array(
            [[col.node_class == c.name for col in self.continuous_columns] for c in self.classes], dtype=bool
        ).reshape(len(self.classes), len(self.continuous_columns))

    @cached_property
    def categorical_mask(self) -> NDArray[np.bool_]:
        """(classes, D): whether a class has the categorical column."""
        return np.array(
            [[col.node_class == c.name for col in self.categorical_columns] for c in self.classes], dtype=bool
        ).reshape(len(self.classes), len(self.categorical_columns))

    def key(self, node: Node, attribute: str) -> str:
        """``class.attribute``, or ``class.slot.attribute`` where the class has slots: the name of a parameter."""
        if self.node_class(node.node_class).slots > 1:
            return f"{node.node_class}.{node.slot}.{attribute}"
        return f"{node.node_class}.{attribute}"

    def validate(self, scene: SceneGraph) -> None:
        """Raise ``ValueError`` where a node's class, slot or attributes do not fit the schema."""
        for i, node in enumerate(scene.nodes):
            if node.node_class not in self.class_index:
                raise ValueError(f"node {i}: class {node.node_class!r} is not one of {list(self.class_index)}")
            node_class = self.node_class(node.node_class)
            if not 0 <= node.slot < node_class.slots:
                raise ValueError(f"node {i}: slot {node.slot} is outside [0, {node_class.slots})")
            expected = [a.name for a in node_class.attributes]
            if sorted(node.attributes) != sorted(expected):
                raise ValueError(f"node {i}: attributes {sorted(node.attributes)} instead of {sorted(expected)}")
            for attribute in node_class.attributes:
                try:
                    attribute.check(node[attribute.name])
                except ValueError as error:
                    raise ValueError(f"node {i}: {error}") from error

    def encode(self, scenes: Sequence[SceneGraph]) -> SceneArrays:
        """Scenes to arrays."""
        total = sum(len(scene.nodes) for scene in scenes)
        continuous = np.zeros((total, len(self.continuous_columns)))
        categorical = np.zeros((total, len(self.categorical_columns)), dtype=np.int64)
        scene_index, classes, slots, parents = (np.zeros(total, dtype=np.int64) for _ in range(4))
        row = 0
        for s, scene in enumerate(scenes):
            first = row
            for node, parent in zip(scene.nodes, scene.parents, strict=True):
                scene_index[row], slots[row] = s, node.slot
                classes[row] = self.class_index[node.node_class]
                parents[row] = parent if parent < 0 else parent + first
                for position, spec in self._continuous_of(node.node_class):
                    continuous[row, position] = spec.normalise(float(node[spec.name]))
                for position, choice in self._categorical_of(node.node_class):
                    categorical[row, position] = choice.index(node[choice.name])
                row += 1
        derivations = tuple(scene.derivation for scene in scenes)
        return SceneArrays(len(scenes), scene_index, classes, slots, parents, continuous, categorical, derivations)

    def decode(self, arrays: SceneArrays) -> list[SceneGraph]:
        """Arrays to scenes; continuous values outside [0, 1] are wrapped (periodic) or clipped."""
        nodes: list[list[Node]] = [[] for _ in range(arrays.count)]
        parents: list[list[int]] = [[] for _ in range(arrays.count)]
        first = np.searchsorted(arrays.scene, np.arange(arrays.count))
        for row in range(len(arrays.scene)):
            s = int(arrays.scene[row])
            node_class = self.classes[int(arrays.node_class[row])]
            values: dict[str, Value] = {}
            continuous = {spec.name: (i, spec) for i, spec in self._continuous_of(node_class.name)}
            categorical = {spec.name: (i, spec) for i, spec in self._categorical_of(node_class.name)}
            for attribute in node_class.attributes:
                if attribute.name in continuous:
                    position, spec = continuous[attribute.name]
                    values[attribute.name] = spec.denormalise(float(arrays.continuous[row, position]))
                else:
                    position, choice = categorical[attribute.name]
                    values[attribute.name] = choice.choices[int(arrays.categorical[row, position])]
            parent = int(arrays.parent[row])
            nodes[s].append(Node(node_class.name, values, int(arrays.slot[row])))
            parents[s].append(parent if parent < 0 else parent - int(first[s]))
        return [SceneGraph(tuple(n), tuple(p), d) for n, p, d in zip(nodes, parents, arrays.derivations, strict=True)]

    def mutable_continuous(self, scene: SceneGraph) -> list[tuple[int, Continuous]]:
        """(node index, attribute) of each mutable continuous attribute of a scene, in order."""
        return [
            (i, attribute)
            for i, node in enumerate(scene.nodes)
            for attribute in self.node_class(node.node_class).attributes
            if isinstance(attribute, Continuous) and attribute.mutable
        ]

    def values(self, scene: SceneGraph) -> NDArray[np.float64]:
        """Normalised mutable continuous attributes of a scene, in the order of :meth:`mutable_continuous`."""
        return np.array(
            [a.normalise(float(scene.nodes[i][a.name])) for i, a in self.mutable_continuous(scene)], dtype=np.float64
        )

    def with_values(self, scene: SceneGraph, values: Sequence[float] | NDArray[np.float64]) -> SceneGraph:
        """The scene with its mutable continuous attributes replaced by normalised ``values`` (wrapped or clipped)."""
        places = self.mutable_continuous(scene)
        if len(values) != len(places):
            raise ValueError(f"{len(values)} values for a scene with {len(places)} mutable continuous attributes")
        attributes = [dict(node.attributes) for node in scene.nodes]
        for (i, attribute), value in zip(places, values, strict=True):
            attributes[i][attribute.name] = attribute.denormalise(float(value))
        nodes = tuple(Node(node.node_class, new, node.slot) for node, new in zip(scene.nodes, attributes, strict=True))
        return SceneGraph(nodes, scene.parents, scene.derivation)

    def network_features(self, arrays: SceneArrays) -> NDArray[np.float32]:
        """(n, F) node features of one layout for all nodes: class and slot one-hot, continuous columns (sine and
        cosine of the angle where periodic, else scaled to [-1, 1]), categorical columns one-hot; 0 where absent.
        """
        slots = max((c.slots for c in self.classes), default=1)
        parts = [np.eye(len(self.classes))[arrays.node_class]]
        if slots > 1:
            has_slots = np.array([c.slots > 1 for c in self.classes])[arrays.node_class]
            parts.append(np.eye(slots)[arrays.slot] * has_slots[:, None])
        for i, column in enumerate(self.continuous_columns):
            present = self.continuous_mask[arrays.node_class, i]
            unit = arrays.continuous[:, i]
            assert isinstance(column.attribute, Continuous)
            if column.attribute.periodic:
                angle = 2 * np.pi * unit
                parts.append(np.stack([np.sin(angle) * present, np.cos(angle) * present], axis=1))
            else:
                parts.append(((2 * unit - 1) * present)[:, None])
        for i, column in enumerate(self.categorical_columns):
            assert isinstance(column.attribute, Categorical)
            present = self.categorical_mask[arrays.node_class, i]
            parts.append(np.eye(len(column.attribute.choices))[arrays.categorical[:, i]] * present[:, None])
        return np.concatenate(parts, axis=1).astype(np.float32)

    @property
    def feature_count(self) -> int:
        """Width F of :meth:`network_features`."""
        return int(self.network_features(self.encode([])).shape[1])

    def _continuous_of(self, name: str) -> list[tuple[int, Continuous]]:
        return self._positions[name][0]

    def _categorical_of(self, name: str) -> list[tuple[int, Categorical]]:
        return self._positions[name][1]

    @cached_property
    def _positions(self) -> dict[str, tuple[list[tuple[int, Continuous]], list[tuple[int, Categorical]]]]:
        positions: dict[str, tuple[list[tuple[int, Continuous]], list[tuple[int, Categorical]]]] = {
            c.name: ([], []) for c in self.classes
        }
        for i, column in enumerate(self.continuous_columns):
            assert isinstance(column.attribute, Continuous)
            positions[column.node_class][0].append((i, column.attribute))
        for i, column in enumerate(self.categorical_columns):
            assert isinstance(column.attribute, Categorical)
            positions[column.node_class][1].append((i, column.attribute))
        return positions
