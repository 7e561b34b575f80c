"""How far the learned distribution has moved from the start to the target, attribute by attribute.

Images do not show which of several equal objects is which, so the slots of a class are compared as a set: learned slots
are assigned to the target's so that the distances between their means add up to the least, and so are the start's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosim.scenes.generator import CategoricalSummary, ContinuousSummary
from autosim.scenes.graph import Attribute, Continuous, NodeClass, Schema

Summary = ContinuousSummary | CategoricalSummary
Summaries = Mapping[str, Summary]

# A start nearer than this fraction of the range is already there: a share of the way has no meaning.
ALREADY_THERE = 0.01
AXES = ("x", "y", "z")


@dataclass(frozen=True)
class Recovery:
    """One attribute (or a location as one vector) of one target slot.

    ``start_key`` and ``learned_key`` name the slots that were matched to ``key``. ``moved`` is
    ``1 - d(learned, target) / d(start, target)``: 1 at the target, 0 at the start, negative beyond the start; None
    where the start was within 1 % of the range. Distances are between means as fractions of the range (on the circle
    where periodic), for categories the total variation. A location as one vector has no summaries.
    """

    key: str
    start_key: str
    learned_key: str
    recovered: float | None
    start: Summary | None = None
    learned: Summary | None = None
    target: Summary | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; matched keys only where they differ from ``key``."""
        data: dict[str, Any] = {"recovered": None if self.recovered is None else round(self.recovered, 4)}
        for part in ("start", "learned", "target"):
            summary = getattr(self, part)
            if summary is not None:
                data[part] = summary_to_json(summary)
        for part in ("start_key", "learned_key"):
            if getattr(self, part) != self.key:
                data[part] = getattr(self, part)
        return data


def recoveries(schema: Schema, start: Summaries, learned: Summaries, target: Summaries) -> dict[str, Recovery]:
    """The move of every attribute that all three summaries hold, by the target's ``schema.key``, and of each location.

    A location is what the continuous attributes ``x``, ``y``, ``z`` of a class make up, or ``NAME_x``, ``NAME_y``, …;
    its key ends in ``location`` or ``NAME``.
    """
    result: dict[str, Recovery] = {}
    for node_class in schema.classes:
        from_start = match_slots(node_class, start, target)
        from_learned = match_slots(node_class, learned, target)
        for slot in from_learned:
            if slot not in from_start:
                continue
            prefixes = tuple(_prefix(node_class, s) for s in (from_start[slot], from_learned[slot], slot))
            for name, attributes in _parts(node_class).items():
                keys = [[prefix + attribute.name for prefix in prefixes] for attribute in attributes]
                if not all(s in start and le in learned and t in target for s, le, t in keys):
                    continue
                before = [_distance(a, start[s], target[t]) for a, (s, _, t) in zip(attributes, keys, strict=True)]
                after = [_distance(a, learned[le], target[t]) for a, (_, le, t) in zip(attributes, keys, strict=True)]
                s, le, t = (prefix + name for prefix in prefixes)
                recovered = _share(float(np.linalg.norm(before)), float(np.linalg.norm(after)))
                summaries = (start[s], learned[le], target[t]) if len(attributes) == 1 else (None, None, None)
                result[t] = Recovery(t, s, le, recovered, *summaries)
    return result


def match_slots(node_class: NodeClass, source: Summaries, target: Summaries) -> dict[int, int]:
    """Slot of ``source`` for each slot of ``target``, each used once, so that distances add up to the least.

    The distance of two slots is Euclidean over the means of the class's continuous attributes as fractions of their
    range, or over total variations where a class has categorical attributes only.
    """
    from scipy.optimize import linear_sum_assignment

    source_slots, target_slots = _slots(node_class, source), _slots(node_class, target)
    cost: NDArray[np.float64] = np.zeros((len(target_slots), len(source_slots)))
    for row, t in enumerate(target_slots):
        for column, s in enumerate(source_slots):
            pairs = [
                (a, _prefix(node_class, s) + a.name, _prefix(node_class, t) + a.name) for a in node_class.attributes
            ]
            pairs = [pair for pair in pairs if pair[1] in source and pair[2] in target]
            pairs = [pair for pair in pairs if isinstance(pair[0], Continuous)] or pairs
            cost[row, column] = np.linalg.norm([_distance(a, source[key], target[other]) for a, key, other in pairs])
    rows, columns = linear_sum_assignment(cost)
    return {target_slots[row]: source_slots[column] for row, column in zip(rows, columns, strict=True)}


def summary_to_json(summary: Summary) -> dict[str, Any]:
    """``mean`` and ``std``, or ``probabilities``."""
    if isinstance(summary, ContinuousSummary):
        return {"mean": round(summary.mean, 6), "std": round(summary.std, 6)}
    return {"probabilities": [round(p, 6) for p in summary.probabilities]}


def total_variation(a: CategoricalSummary, b: CategoricalSummary) -> float:
    """Half the sum of the absolute differences of probabilities: 0 for equal ones, 1 for those that share no choice."""
    return 0.5 * float(np.abs(np.subtract(a.probabilities, b.probabilities)).sum())


def _parts(node_class: NodeClass) -> dict[str, list[Attribute]]:
    """Each attribute by its name, then the groups that make up locations."""
    groups: dict[str, list[Attribute]] = {}
    for attribute in node_class.attributes:
        stem, _, axis = attribute.name.rpartition("_")
        if axis in AXES and isinstance(attribute, Continuous):
            groups.setdefault(stem or "location", []).append(attribute)
    own = {attribute.name: [attribute] for attribute in node_class.attributes}
    return own | {name: group for name, group in groups.items() if len(group) > 1 and name not in own}


def _prefix(node_class: NodeClass, slot: int) -> str:
    return f"{node_class.name}.{slot}." if node_class.slots > 1 else f"{node_class.name}."


def _slots(node_class: NodeClass, summaries: Summaries) -> list[int]:
    """Slots of a class that summaries know."""
    return [
        slot
        for slot in range(node_class.slots)
        if any(_prefix(node_class, slot) + a.name in summaries for a in node_class.attributes)
    ]


def _distance(attribute: Attribute, a: Summary, b: Summary) -> float:
    if isinstance(attribute, Continuous):
        assert isinstance(a, ContinuousSummary) and isinstance(b, ContinuousSummary)
        return abs(attribute.difference(a.mean, b.mean)) / (attribute.high - attribute.low)
    assert isinstance(a, CategoricalSummary) and isinstance(b, CategoricalSummary)
    return total_variation(a, b)


def _share(before: float, after: float) -> float | None:
    return None if before < ALREADY_THERE else 1.0 - after / before
