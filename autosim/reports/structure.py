"""How far the learned structure of scenes has moved: numbers of nodes, and what rules set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from autosim.reports.recovery import Recovery, Summary, total_variation
from autosim.scenes.generator import CategoricalSummary, ContinuousSummary, number_key, numbers_of_nodes, summarise
from autosim.scenes.grammar import Grammar
from autosim.scenes.graph import SceneGraph, Schema

ENDS = ("start", "learned", "target")
# What a few hundred scenes cannot tell apart: of standard deviations of a number, and of total variations.
NOISE = 0.1


def structure_recoveries(grammar: Grammar, scenes: Mapping[str, Sequence[SceneGraph]]) -> dict[str, Recovery]:
    """The move of ``number of CLASS``, wherever that differs from scene to scene, and of the shares of each categorical
    attribute that rules of the ``grammar`` set, in classes without slots.

    ``scenes`` has samples of the ``start``, as ``learned`` and, where it is known, of the ``target``. ``recovered`` is
    by the distance between mean numbers, or by the total variation between shares; None without a target, and where the
    start is within .1 standard deviations of its mean, or within .1 of its shares.
    """
    parts = [part for part in ENDS if part in scenes]
    ends = _numbers(grammar.schema, scenes, parts)
    for part in parts:
        for key, shares in _shares(grammar, scenes[part]).items():
            ends.setdefault(key, {})[part] = shares
    return {
        key: Recovery(key, key, key, _moved(each), *(each.get(part) for part in ENDS))
        for key, each in ends.items()
        if len(each) == len(parts)
    }


def structure_frequencies(grammar: Grammar, scenes: Sequence[SceneGraph]) -> dict[str, CategoricalSummary]:
    """How often scenes have 0, 1, … nodes of each class whose number differs, by ``number of CLASS``, and the shares of
    the kinds that rules set.
    """
    found: dict[str, CategoricalSummary] = {}
    for name in (each.name for each in grammar.schema.classes):
        counts = np.bincount(numbers_of_nodes(scenes, name))
        if (counts > 0).sum() > 1:
            found[number_key(name)] = CategoricalSummary(tuple((counts / counts.sum()).tolist()))
    return found | _shares(grammar, scenes)


def _numbers(
    schema: Schema, scenes: Mapping[str, Sequence[SceneGraph]], parts: Sequence[str]
) -> dict[str, dict[str, Summary]]:
    found: dict[str, dict[str, Summary]] = {}
    for name in (each.name for each in schema.classes):
        counts = {part: numbers_of_nodes(scenes[part], name) for part in parts}
        if len(set(np.concatenate(list(counts.values())))) > 1:
            found[number_key(name)] = {
                part: ContinuousSummary(float(count.mean()), float(count.std())) for part, count in counts.items()
            }
    return found


def _shares(grammar: Grammar, scenes: Sequence[SceneGraph]) -> dict[str, CategoricalSummary]:
    return {
        key: summary
        for key, summary in summarise(grammar.schema, scenes, mutable_only=False).items()
        if key in grammar.set_by_rules and isinstance(summary, CategoricalSummary)
    }


def _moved(ends: Mapping[str, Summary]) -> float | None:
    if "target" not in ends:
        return None
    start, learned, target = (ends[part] for part in ENDS)
    if isinstance(start, ContinuousSummary) and isinstance(target, ContinuousSummary):
        least = NOISE * max(start.std, target.std)
    else:
        least = NOISE
    before, after = _distance(start, target), _distance(learned, target)
    return None if before <= least else 1.0 - after / before


def _distance(a: Summary, b: Summary) -> float:
    if isinstance(a, CategoricalSummary) and isinstance(b, CategoricalSummary):
        return total_variation(a, b)
    assert isinstance(a, ContinuousSummary) and isinstance(b, ContinuousSummary)
    return abs(a.mean - b.mean)
