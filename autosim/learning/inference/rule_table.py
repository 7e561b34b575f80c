"""Structures as a table: how likely each rule of a grammar is, by how long the list at hand already is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autosim.scenes.derivation import Derivation
from autosim.scenes.grammar import Grammar
from autosim.scenes.priors import pick

# What a rule counts for that was never used, as a share of a string.
UNUSED = 1e-4


@dataclass(frozen=True)
class RuleTable:
    """A distribution over the derivations of ``grammar``, for :attr:`Grammar.strings`.

    ``chances`` (L, K) has the probability of each of the grammar's K rules among those of its own symbol, where that
    symbol has been made ``Derivation.repeats`` times in a row by its own rule: a row for 0, 1, …, and the last for L -
    1 and more. It holds any distribution of a list's length and of what is on the list, each thing independent of the
    others.

    Raises ``ValueError`` where the shape is wrong, or a symbol's rules do not sum to 1.
    """

    grammar: Grammar
    chances: NDArray[np.float64]

    def __post_init__(self) -> None:
        rules = len(self.grammar.rules)
        if self.chances.ndim != 2 or self.chances.shape[1] != rules or not len(self.chances):
            raise ValueError(f"rule table: expected (lengths, {rules}), found {self.chances.shape}")
        known = bool((self.chances >= 0).all())
        for symbol, own in self.grammar.rules_of.items():
            if not known or not np.allclose(self.chances[:, list(own)].sum(axis=1), 1.0):
                raise ValueError(f"rule table: the probabilities of {symbol!r} do not sum to 1")

    @classmethod
    def of(cls, grammar: Grammar, strings: Sequence[Sequence[int]], weights: NDArray[np.float64]) -> RuleTable:
        """The table that makes ``strings`` likeliest, weighted by ``weights`` (n,) of at least 0. What they never come
        to is as the grammar's own weights have it.
        """
        rows, repeats, rules = _used(grammar, strings)
        lengths = int(repeats.max(initial=0)) + 1
        counts = np.zeros((lengths, len(grammar.rules)))
        np.add.at(counts, (repeats, rules), weights[rows] / max(float(weights.sum()), 1e-12))
        chances = np.zeros_like(counts)
        for own in (list(own) for own in grammar.rules_of.values()):
            usual = np.array([grammar.rules[i].weight for i in own])
            found = counts[:, own] + UNUSED * usual / usual.sum()
            chances[:, own] = found / found.sum(axis=1, keepdims=True)
        return cls(grammar, chances)

    def __call__(self, rng: np.random.Generator) -> list[int]:
        """A string of rules; cut short, and thus no derivation, once it has more than the grammar's ``max_steps``."""
        derivation = Derivation(self.grammar)
        while not derivation.done and len(derivation.rules) <= self.grammar.max_steps:
            row = self.chances[min(derivation.repeats, len(self.chances) - 1)]
            own = self.grammar.rules_of[derivation.symbol]
            weights = [float(row[i]) for i in own]
            cumulative = np.cumsum(weights).tolist()
            derivation.apply(own[pick(cumulative, weights, float(rng.random()))])
        return derivation.rules


def _used(grammar: Grammar, strings: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """(3, m): string, ``Derivation.repeats`` and rule of every step of all strings."""
    steps = []
    for row, string in enumerate(strings):
        derivation = Derivation(grammar)
        for rule in string:
            steps.append((row, derivation.repeats, rule))
            derivation.apply(rule)
    return np.array(steps, dtype=np.int64).reshape(-1, 3).T
