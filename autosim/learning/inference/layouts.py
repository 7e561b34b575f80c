"""Scenes whose nodes lie as those of pictures do, which distributions of single attributes cannot tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autosim.learning.inference.attributes import ReadClass
from autosim.learning.inference.calibration import EXPLAINED, Calibration, Readings, corrected
from autosim.learning.inference.rule_table import RuleTable
from autosim.scenes.generator import Samples
from autosim.scenes.grammar import child_seed
from autosim.scenes.graph import Continuous, SceneGraph
from autosim.scenes.parametric import ParametricGenerator


@dataclass(frozen=True)
class Layouts:
    """Where the nodes of a class lie in some pictures: for each picture values (k, C) of the ``attributes`` of its k
    nodes, in units of the range.
    """

    node_class: str
    attributes: tuple[Continuous, ...]
    pictures: list[NDArray[np.float64]]

    @classmethod
    def of(cls, read: ReadClass, found: Readings, calibration: Calibration) -> Layouts:
        """By what was read off pictures, of attributes that these show."""
        values, _ = corrected(found, calibration)
        explained = [calibration.explained[f"{read.name}.{each.name}"] for each in read.continuous]
        shown = [place for place, share in enumerate(explained) if share >= EXPLAINED]
        values = np.clip(values[..., shown], 0.0, 1.0)
        pictures = [own[there] for own, there in zip(values, found.present, strict=True)]
        return cls(read.name, tuple(read.continuous[place] for place in shown), pictures)

    def laid_out(self, scenes: Sequence[SceneGraph], rng: np.random.Generator) -> list[SceneGraph]:
        """The scenes, each with the layout of a picture that has as many nodes; where there is none, as it is."""
        by_number: dict[int, list[NDArray[np.float64]]] = {}
        for values in self.pictures:
            by_number.setdefault(len(values), []).append(values)
        return [self._laid_out(scene, by_number, rng) for scene in scenes]

    def _laid_out(
        self, scene: SceneGraph, by_number: Mapping[int, list[NDArray[np.float64]]], rng: np.random.Generator
    ) -> SceneGraph:
        places = [i for i, node in enumerate(scene.nodes) if node.node_class == self.node_class]
        alike = by_number.get(len(places), ())
        if not places or not alike:
            return scene
        nodes = list(scene.nodes)
        for i, own in zip(places, rng.permutation(alike[int(rng.integers(len(alike)))]), strict=True):
            found = {each.name: each.denormalise(float(v)) for each, v in zip(self.attributes, own, strict=True)}
            nodes[i] = replace(nodes[i], attributes={**nodes[i].attributes, **found})
        return replace(scene, nodes=tuple(nodes))


class StructuredGenerator(ParametricGenerator):
    """Structures from a table of rules, nodes that lie as those of pictures do, and independent distributions of what
    else is learned. Before :meth:`take`, the grammar's own. Probabilities are those of the independent distributions.
    """

    table: RuleTable | None = None
    layouts: tuple[Layouts, ...] = ()

    def take(self, table: RuleTable, layouts: Sequence[Layouts]) -> None:
        """Draw structures from ``table``, and places from ``layouts``."""
        self.table, self.layouts = table, tuple(layouts)
        self.grammar = replace(self.grammar, strings=table)

    def sample(self, count: int, seed: np.random.SeedSequence) -> Samples:
        """As the contract says; ``values`` are the scenes' own, and not differentiable."""
        scenes = list(super().sample(count, seed).scenes)
        rng = np.random.default_rng(child_seed(seed, 3))
        for each in self.layouts:
            scenes = each.laid_out(scenes, rng)
        arrays = self.schema.encode(scenes)
        real, _ = self.keyed.locate(arrays)
        return Samples(tuple(scenes), torch.from_numpy(arrays.continuous[real.node, real.column]).float())

    def get_extra_state(self) -> dict[str, Any]:
        """The table and the layouts, for ``state_dict``."""
        layouts = [
            {
                "node_class": each.node_class,
                "attributes": [kind.name for kind in each.attributes],
                "numbers": torch.tensor([len(values) for values in each.pictures]),
                "values": torch.from_numpy(np.concatenate([np.zeros((0, len(each.attributes))), *each.pictures])),
            }
            for each in self.layouts
        ]
        return {"chances": None if self.table is None else torch.from_numpy(self.table.chances), "layouts": layouts}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """What :meth:`get_extra_state` gave."""
        if state["chances"] is None:
            return
        layouts = []
        for each in state["layouts"]:
            own = self.schema.node_class(each["node_class"])
            placed = tuple(kind for kind in map(own.attribute, each["attributes"]) if isinstance(kind, Continuous))
            ends = np.cumsum(each["numbers"].numpy())
            layouts.append(Layouts(each["node_class"], placed, np.split(each["values"].numpy(), ends)[: len(ends)]))
        self.take(RuleTable(replace(self.grammar, strings=None), state["chances"].numpy()), layouts)
