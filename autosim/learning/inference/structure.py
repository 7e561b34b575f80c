"""The structure of scenes behind a set of pictures: how many nodes of each class there are, and what rules set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autosim.learning.inference.attributes import is_place
from autosim.learning.inference.rule_table import RuleTable
from autosim.scenes.generator import numbers_of_nodes
from autosim.scenes.grammar import Grammar
from autosim.scenes.graph import Categorical, SceneGraph, Schema

# Steps of expectation-maximisation for a distribution of numbers, and what is added to how often each occurs.
STEPS, PSEUDO_COUNT = 200, 0.05
# Strings that a table is fitted to, at most how many times, and steps of fitting their weights.
STRINGS, ROUNDS, SCALINGS = 2000, 10, 80
# Strings that have to carry the weight of all, as a share.
LEAST_EFFECTIVE = 0.2
# Scenes that show whether a class's number varies.
LOOKED_AT = 64


@dataclass(frozen=True)
class Structure:
    """``numbers``: by class, (most + 1,) probabilities of having 0, 1, … nodes; ``shares``: by ``class.attribute``,
    (K,) how often rules set each choice.
    """

    numbers: Mapping[str, NDArray[np.float64]]
    shares: Mapping[str, NDArray[np.float64]]


def hidden_class(grammar: Grammar, seed: np.random.SeedSequence) -> str | None:
    """A class whose number differs from scene to scene and which has no place that is learned, by which its nodes could
    be told apart; None where there is none.
    """
    if "structure" not in grammar.learnable:
        return None
    scenes = grammar.sample_many(LOOKED_AT, seed)
    for each in grammar.schema.classes:
        placed = any(is_place(kind) for kind in each.attributes)
        if not placed and np.ptp(numbers_of_nodes(scenes, each.name)) > 0:
            return each.name
    return None


def numbers_of(found: NDArray[np.int64], confused: NDArray[np.float64]) -> NDArray[np.float64]:
    """(most + 1,) the likeliest distribution of a number, by what is ``found`` (n,) in pictures; ``confused`` (most +
    1, most + 1) has the probabilities of finding m where there are n.
    """
    most = len(confused) - 1
    likelihood = confused.T[np.minimum(found, most)]
    chances = np.full(most + 1, 1.0 / (most + 1))
    for _ in range(STEPS):
        belongs = likelihood * chances
        chances = (belongs / belongs.sum(axis=1, keepdims=True)).sum(axis=0) + PSEUDO_COUNT
        chances = chances / chances.sum()
    return chances


def fitted_table(grammar: Grammar, wanted: Structure, seed: np.random.SeedSequence) -> RuleTable:
    """Of the distributions that have the structure ``wanted``, that which is nearest to the grammar's own, as a table.

    Strings of the present table are weighted so that their numbers and shares are the wanted ones (iterative
    proportional fitting), no further than a fifth of them carry, and the table is fitted to these; and again.
    """
    present = grammar
    table: RuleTable | None = None
    for part in seed.spawn(ROUNDS):
        scenes = present.sample_many(STRINGS, part)
        logs = _log_weights(grammar.schema, scenes, wanted)
        share = _carried(logs)
        weights = np.exp(share * (logs - logs.max()))
        table = RuleTable.of(grammar, [scene.derivation or () for scene in scenes], weights)
        present = replace(grammar, strings=table)
        if share == 1.0:
            break
    assert table is not None
    return table


def _log_weights(schema: Schema, scenes: Sequence[SceneGraph], wanted: Structure) -> NDArray[np.float64]:
    """(n,) logarithms of weights by which scenes have the numbers and shares that are wanted."""
    numbers = {
        name: np.minimum(numbers_of_nodes(scenes, name), len(chances) - 1) for name, chances in wanted.numbers.items()
    }
    chosen = {key: _chosen(schema, key, scenes) for key in wanted.shares}
    logs = np.zeros(len(scenes))
    for _ in range(SCALINGS):
        for key, shares in wanted.shares.items():
            weights = np.exp(logs - logs.max())
            now = weights @ chosen[key] / max(float(weights @ chosen[key].sum(axis=1)), 1e-12)
            # The step of generalised iterative scaling.
            most = max(float(chosen[key].sum(axis=1).max()), 1.0)
            logs = logs + chosen[key] @ (np.log(np.maximum(shares, 1e-6)) - np.log(np.maximum(now, 1e-6))) / most
        for name, chances in wanted.numbers.items():
            weights = np.exp(logs - logs.max())
            now = np.bincount(numbers[name], weights, minlength=len(chances)) / weights.sum()
            logs = logs + (np.log(np.maximum(chances, 1e-6)) - np.log(np.maximum(now, 1e-9)))[numbers[name]]
    return logs


def _chosen(schema: Schema, key: str, scenes: Sequence[SceneGraph]) -> NDArray[np.float64]:
    """(n, K) how many nodes have each choice of ``class.attribute``."""
    name, attribute = key.split(".")
    spec = schema.node_class(name).attribute(attribute)
    assert isinstance(spec, Categorical)
    result = np.zeros((len(scenes), len(spec.choices)))
    for row, scene in enumerate(scenes):
        for node in scene.find(name):
            result[row, spec.index(node[attribute])] += 1
    return result


def _carried(logs: NDArray[np.float64]) -> float:
    """The largest power of weights, 1 at most, at which the effective number of strings is enough."""

    def enough(power: float) -> bool:
        weights = np.exp(power * (logs - logs.max()))
        return float(weights.sum() ** 2 / (weights**2).sum()) >= LEAST_EFFECTIVE * len(logs)

    if enough(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if enough(middle) else (low, middle)
    return low
