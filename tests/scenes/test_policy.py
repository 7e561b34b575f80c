"""The grammar policy: every string derives, probabilities are those of its steps, equal seeds give equal strings."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autosim.errors import UserError
from autosim.scenes.generator import Samples
from autosim.scenes.grammar import Derivation, Emission, Grammar, Rule
from autosim.scenes.graph import NodeClass, Schema
from autosim.scenes.policy import GrammarPolicy
from tests.scenes.examples import digits, roads, seed, table

pytestmark = pytest.mark.usefixtures("one_thread")


def spread(policy: GrammarPolicy, scale: float, key: int) -> GrammarPolicy:
    """The policy with random weights that make it far from uniform."""
    generator = torch.Generator().manual_seed(key)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return policy


@given(grammar=st.sampled_from([digits, roads]), scale=st.floats(0, 1), key=st.integers(0, 1000), context=st.booleans())
@settings(max_examples=12)
def test_every_string_derives_from_the_grammar(grammar: object, scale: float, key: int, context: bool) -> None:
    assert callable(grammar)
    policy = spread(GrammarPolicy(grammar(), longest=60, width=8, context=context), scale, key)
    try:
        strings = policy.sample_strings(20, seed(key))
    except UserError as error:  # weights may make a policy that hardly ever ends
        assert "in a row had more than 60 rules" in str(error)
        return
    for string in strings.rules:
        derivation = Derivation(policy.grammar)
        for rule in string:
            assert derivation.mask()[rule]
            derivation.apply(rule)
        assert derivation.done and len(string) <= 60
    assert int(strings.rejections.min()) >= 0


@given(scale=st.floats(0, 2), key=st.integers(0, 1000), context=st.booleans(), lengths=st.booleans())
@settings(max_examples=20)
def test_log_prob_is_the_sum_over_the_steps(scale: float, key: int, context: bool, lengths: bool) -> None:
    """Step by step, each string on its own: a softmax over the rules of the open symbol."""
    policy = spread(GrammarPolicy(roads(), longest=40, width=8, context=context, lengths=lengths), scale, key)
    strings = [roads().sample(seed(key, i)).derivation or () for i in range(4)]
    found = policy.requires_grad_(False).log_prob_of(strings)
    for string, value in zip(strings, found.tolist(), strict=True):
        total = 0.0
        for t, rule in enumerate(string):
            others = list(policy.grammar.rules_of[policy.grammar.rules[rule].head])
            ahead = torch.stack([policy.log_prob_of([[*string[:t], other]])[0] for other in others])
            shares = ahead.softmax(0)
            assert float(ahead.exp().sum()) == pytest.approx(float(policy.log_prob_of([string[:t]]).exp()[0]), rel=1e-4)
            total += float(shares[others.index(rule)].log())
        assert value == pytest.approx(total, rel=1e-4, abs=1e-5)


def two_steps() -> Grammar:
    """Four strings in all, so that their probabilities can be added up."""
    schema = Schema((NodeClass("a"), NodeClass("b")))
    rules = (
        Rule("S", ("First", "Second")),
        *(Rule(head, (leaf,)) for head, leaf in itertools.product(("First", "Second"), ("a", "b"))),
    )
    return Grammar(schema, "S", rules, {"a": Emission("a"), "b": Emission("b")})


@pytest.mark.parametrize(("context", "lengths"), [(True, False), (True, True), (False, False)])
def test_frequencies_are_those_of_the_probabilities(context: bool, lengths: bool) -> None:
    policy = spread(GrammarPolicy(two_steps(), width=8, context=context, lengths=lengths), 1.0, 3)
    strings = [(0, first, second) for first in (1, 2) for second in (3, 4)]
    probabilities = policy.log_prob_of(strings).exp().detach().numpy()
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-6)
    drawn = policy.sample_strings(4000, seed(0)).rules
    frequencies = np.array([drawn.count(string) / len(drawn) for string in strings])
    assert np.abs(frequencies - probabilities).max() < 4 * 0.5 / np.sqrt(len(drawn))


def test_only_with_context_do_choices_depend_on_each_other() -> None:
    """Both symbols the same, each value as often as the other: no context-free grammar can say that."""
    correlated = [(0, 1, 3), (0, 2, 4)]
    losses = {}
    for context in (True, False):
        policy = GrammarPolicy(two_steps(), width=16, context=context)
        optimiser = torch.optim.Adam(policy.parameters(), lr=0.02)
        for _ in range(150):
            optimiser.zero_grad()
            loss = -policy.log_prob_of(correlated).mean()
            loss.backward()
            optimiser.step()
        losses[context] = float(loss.detach())
    assert losses[True] == pytest.approx(np.log(2), abs=0.02)
    assert losses[False] == pytest.approx(2 * np.log(2), abs=0.02)


@given(grammar=st.sampled_from([digits, roads]), key=st.integers(0, 1000), count=st.integers(1, 12))
@settings(max_examples=20)
def test_the_same_seed_gives_the_same_strings(grammar: object, key: int, count: int) -> None:
    assert callable(grammar)
    policies = [spread(GrammarPolicy(grammar(), longest=40, width=8), 0.5, key) for _ in range(2)]
    first, second = (policy.sample_strings(count, seed(key)) for policy in policies)
    assert first.rules == second.rules and torch.equal(first.rejections, second.rejections)


def test_equal_seeds_give_equal_strings_whatever_the_count() -> None:
    policy = GrammarPolicy(digits(), longest=40, width=8)
    many, few = policy.sample_strings(30, seed(5)), policy.sample_strings(10, seed(5))
    assert many.rules[:10] == few.rules
    assert policy.sample_strings(10, seed(6)).rules != few.rules
    again = GrammarPolicy(digits(), longest=40, width=8)
    assert again.sample_strings(10, seed(5)).rules == few.rules
    scenes = policy.sample(10, seed(5)).scenes
    assert [s.to_json() for s in scenes] == [s.to_json() for s in again.sample(10, seed(5)).scenes]
    for scene in scenes:
        policy.schema.validate(scene)


def test_long_strings_are_drawn_again_and_counted() -> None:
    policy = GrammarPolicy(digits(), longest=6, width=8)
    strings = policy.sample_strings(200, seed(0))
    assert max(len(string) for string in strings.rules) <= 6
    assert int(strings.rejections.sum()) > 0
    free = GrammarPolicy(digits(), longest=200, width=8)
    assert int(free.sample_strings(200, seed(0)).rejections.sum()) == 0


def test_log_prob_of_scenes_is_that_of_their_derivations() -> None:
    policy = GrammarPolicy(roads(), longest=40, width=8)
    samples = policy.sample(6, seed(1))
    strings = [scene.derivation or () for scene in samples.scenes]
    assert torch.allclose(policy.log_prob(samples), policy.log_prob_of(strings))
    assert torch.equal(policy.log_prob(samples, "continuous"), torch.zeros(6, dtype=torch.float64))
    bare = Samples(tuple(type(s)(s.nodes, s.parents) for s in samples.scenes), samples.values)
    with pytest.raises(ValueError, match="scene 0 has no derivation"):
        policy.log_prob(bare)


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="shortest derivation has 2 rules, above 1"):
        GrammarPolicy(digits(), longest=1)
    with pytest.raises(ValueError, match="at least 1"):
        GrammarPolicy(table(), width=0)
    with pytest.raises(UserError, match="100 strings in a row had more than 2 rules"):
        policy = GrammarPolicy(digits(), longest=2, width=4)
        with torch.no_grad():
            policy.output.bias.fill_(-50.0)
            policy.output.bias[1] = 50.0
        policy.sample_strings(3, seed(0))


def test_how_long_a_list_is_so_far_counts_from_where_it_began() -> None:
    """Roads and the cars on each are lists; a road's cars begin anew."""
    derivation = Derivation(roads())
    seen = []
    for rule in (0, 1, 3, 4, 4, 5, 1, 3, 5, 2):
        seen.append((derivation.symbol, derivation.repeats))
        derivation.apply(rule)
    first = [("Scene", 0), ("Roads", 0), ("Road", 0), ("Cars", 0), ("Cars", 1), ("Cars", 2)]
    assert seen == [*first, ("Roads", 1), ("Road", 0), ("Cars", 0), ("Roads", 2)]
    assert derivation.done and derivation.repeats == 0


def test_a_policy_that_is_told_lengths_has_a_say_for_each() -> None:
    """Only lists of exactly two roads, without cars: the offsets alone can say so."""
    policy = GrammarPolicy(roads(), longest=30, width=4, lengths=True)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.zero_()
        policy.repeated.weight[:2, 1] = 20.0
        policy.repeated.weight[2, 2] = 20.0
        policy.repeated.weight[:, 5] = 20.0
    assert set(policy.sample_strings(50, seed(0)).rules) == {(0, 1, 3, 5, 1, 3, 5, 2)}
