"""Tables of rules: they hold the distributions of numbers and kinds that strings have, and say what is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autosim.learning.inference.rule_table import RuleTable
from autosim.scenes.grammar import Grammar
from tests.scenes.examples import digits, roads, seed, table


def strings_of(grammar: Grammar, count: int, *key: int) -> list[tuple[int, ...]]:
    return [scene.derivation or () for scene in grammar.sample_many(count, seed(*key))]


@settings(max_examples=20, deadline=None)
@given(make=st.sampled_from([table, digits, roads]), key=st.integers(0, 1000))
def test_every_string_of_a_table_is_a_derivation(make: object, key: int) -> None:
    assert callable(make)
    grammar: Grammar = make()
    strings = strings_of(grammar, 30, key)
    found = RuleTable.of(grammar, strings, np.ones(len(strings)))
    for own in grammar.rules_of.values():
        assert found.chances[:, list(own)].sum(axis=1) == pytest.approx(1.0)
    for scene in replace(grammar, strings=found).sample_many(20, seed(key, 1)):
        grammar.schema.validate(scene)
        grammar.derivation(scene)


def test_it_has_the_weighted_numbers_and_kinds_of_its_strings() -> None:
    """Two strings of digits, one of which counts three times as much."""
    grammar = digits()
    by_length: dict[int, tuple[int, ...]] = {}
    for string in strings_of(grammar, 300, 0):
        by_length.setdefault(len(string), string)
    short, long = sorted(by_length)[0], sorted(by_length)[2]
    found = RuleTable.of(grammar, [by_length[short], by_length[long]], np.array([3.0, 1.0]))
    lengths = [len(string) for string in strings_of(replace(grammar, strings=found), 400, 1)]
    assert lengths.count(short) / len(lengths) == pytest.approx(0.75, abs=0.08)
    assert lengths.count(long) / len(lengths) == pytest.approx(0.25, abs=0.08)


def test_what_is_no_table_is_refused() -> None:
    grammar = digits()
    good = RuleTable.of(grammar, strings_of(grammar, 10, 0), np.ones(10)).chances
    with pytest.raises(ValueError, match=r"^rule table: expected \(lengths, "):
        RuleTable(grammar, good[:, 1:])
    with pytest.raises(ValueError, match=r"^rule table: the probabilities of 'Scene' do not sum to 1"):
        RuleTable(grammar, 0.5 * good)
    with pytest.raises(ValueError, match=r"^rule table: the probabilities"):
        RuleTable(grammar, np.where(good == good.max(), np.nan, good))
