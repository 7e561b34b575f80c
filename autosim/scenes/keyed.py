"""The mutable attributes of a batch of scenes as flat vectors, each entry with its parameter's key; and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autosim.scenes.grammar import Grammar, KeyedAttribute
from autosim.scenes.graph import Categorical, Continuous, Node, SceneArrays, SceneGraph, Schema, Value


@dataclass(frozen=True)
class Entries:
    """Where the mutable attributes of one kind are: scene after scene, node after node, in the schema's order.

    All are int64 (m,): ``scene``; ``node``, counted over all scenes; ``column`` of the schema's arrays; and ``key``,
    the position in ``KeyedAttributes.continuous`` or ``.categorical``.
    """

    scene: NDArray[np.int64]
    node: NDArray[np.int64]
    column: NDArray[np.int64]
    key: NDArray[np.int64]


@dataclass(frozen=True)
class SceneLayout:
    """Nodes of a batch of scenes, int64 (n,) each: scene, position of the class in the schema, slot."""

    scene: NDArray[np.int64]
    node_class: NDArray[np.int64]
    slot: NDArray[np.int64]

    @staticmethod
    def of(schema: Schema, scenes: Sequence[SceneGraph]) -> SceneLayout:
        """The layout of scenes, without reading their attributes."""
        lengths = [len(scene.nodes) for scene in scenes]
        classes = [schema.class_index[node.node_class] for scene in scenes for node in scene.nodes]
        slots = [node.slot for scene in scenes for node in scene.nodes]
        return SceneLayout(
            np.repeat(np.arange(len(scenes), dtype=np.int64), lengths),
            np.array(classes, dtype=np.int64),
            np.array(slots, dtype=np.int64),
        )


@dataclass(frozen=True)
class KeyedAttributes:
    """The mutable attributes that a grammar can emit, and where they are in scenes."""

    grammar: Grammar

    @cached_property
    def continuous(self) -> tuple[KeyedAttribute, ...]:
        """Continuous ones, in the grammar's order."""
        return tuple(k for k in self.grammar.attributes() if isinstance(k.attribute, Continuous))

    @cached_property
    def categorical(self) -> tuple[KeyedAttribute, ...]:
        """Categorical ones, in the grammar's order."""
        return tuple(k for k in self.grammar.attributes() if isinstance(k.attribute, Categorical))

    def locate(self, layout: SceneLayout | SceneArrays) -> tuple[Entries, Entries]:
        """(continuous, categorical) entries; the former in the order of ``Schema.mutable_continuous``, scene by scene.

        Raises ``ValueError`` where there is a node that the grammar cannot emit.
        """
        emitted, continuous, categorical = self._tables
        known = emitted[layout.node_class, layout.slot]
        if not known.all():
            node = int(np.argmin(known))
            name, slot = self.grammar.schema.classes[layout.node_class[node]].name, layout.slot[node]
            raise ValueError(f"scene {layout.scene[node]}: the grammar emits no node of class {name!r}, slot {slot}")
        return self._entries(layout, continuous), self._entries(layout, categorical)

    def write(
        self, scenes: Sequence[SceneGraph], values: NDArray[np.float64], indices: NDArray[np.int64]
    ) -> tuple[SceneGraph, ...]:
        """The scenes with normalised ``values`` and choice ``indices`` as mutable attributes, in ``locate``'s order."""
        next_value, next_index = iter(values.tolist()), iter(indices.tolist())
        result = []
        for scene in scenes:
            nodes = []
            for node in scene.nodes:
                attributes: dict[str, Value] = dict(node.attributes)
                continuous, categorical = self._mutable[node.node_class]
                for spec in continuous:
                    attributes[spec.name] = spec.denormalise(next(next_value))
                for option in categorical:
                    attributes[option.name] = option.choices[next(next_index)]
                nodes.append(Node(node.node_class, attributes, node.slot))
            result.append(SceneGraph(tuple(nodes), scene.parents, scene.derivation))
        return tuple(result)

    def _entries(self, layout: SceneLayout | SceneArrays, table: NDArray[np.int64]) -> Entries:
        keys = table[layout.node_class, layout.slot]
        node, column = np.nonzero(keys >= 0)
        return Entries(layout.scene[node], node, column, keys[node, column])

    @cached_property
    def _tables(self) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
        """By class and slot: whether emitted; by class, slot and column: the key, or -1."""
        schema = self.grammar.schema
        shape = (len(schema.classes), max(c.slots for c in schema.classes))
        emitted = np.zeros(shape, dtype=bool)
        for emission in self.grammar.emissions.values():
            emitted[schema.class_index[emission.node_class], emission.slot] = True
        continuous = np.full((*shape, len(schema.continuous_columns)), -1, dtype=np.int64)
        categorical = np.full((*shape, len(schema.categorical_columns)), -1, dtype=np.int64)
        for keyed, columns, table in (
            (self.continuous, schema.continuous_columns, continuous),
            (self.categorical, schema.categorical_columns, categorical),
        ):
            position = {column.key: i for i, column in enumerate(columns)}
            for i, k in enumerate(keyed):
                table[schema.class_index[k.node_class], k.slot, position[f"{k.node_class}.{k.attribute.name}"]] = i
        return emitted, continuous, categorical

    @cached_property
    def _mutable(self) -> dict[str, tuple[list[Continuous], list[Categorical]]]:
        return {
            c.name: (
                [a for a in c.attributes if isinstance(a, Continuous) and a.mutable],
                [a for a in c.attributes if isinstance(a, Categorical) and a.mutable],
            )
            for c in self.grammar.schema.classes
        }
