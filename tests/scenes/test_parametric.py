"""Independent attribute distributions: start, bounds, score function, the view for search methods."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autosim.scenes.generator import AttributeSummary, CategoricalSummary, ContinuousSummary, Samples, summarise
from autosim.scenes.grammar import Choice, Constant, Emission, Grammar, Normal, Rule, Uniform
from autosim.scenes.graph import Categorical, Continuous, NodeClass, SceneGraph, Schema
from autosim.scenes.parametric import ParametricGenerator
from tests.scenes.examples import digits, roads, seed, table


def _single(attribute: Continuous | Categorical, prior: Normal | Choice) -> ParametricGenerator:
    schema = Schema((NodeClass("a", (attribute,)),))
    grammar = Grammar(schema, "S", (Rule("S", ()),), {"S": Emission("a")}, {f"a.{attribute.name}": prior})
    return ParametricGenerator(grammar, learn_spread=True)


def _continuous(generator: ParametricGenerator, key: str) -> ContinuousSummary:
    found = generator.parameters_by_key()[key]
    assert isinstance(found, ContinuousSummary)
    return found


def _probabilities(generator: ParametricGenerator, key: str) -> list[float]:
    found = generator.parameters_by_key()[key]
    assert isinstance(found, CategoricalSummary)
    return list(found.probabilities)


def test_parameters_start_at_the_priors() -> None:
    grammar = table().with_priors(
        {"object.1.y": Uniform(0, 6), "object.2.y": Constant(3.0), "object.2.material": Constant("metal")}
    )
    generator = ParametricGenerator(grammar)
    assert _continuous(generator, "object.0.x").mean == pytest.approx(-5, abs=1e-5)
    assert _continuous(generator, "object.0.x").std == pytest.approx(1.5, abs=1e-5)
    assert _continuous(generator, "object.1.y").mean == pytest.approx(3, abs=1e-5)
    assert _continuous(generator, "object.1.y").std == pytest.approx(6 / math.sqrt(12), abs=1e-5)
    assert _continuous(generator, "object.2.y").std == pytest.approx(0.005 * 20, abs=1e-5)
    assert _probabilities(generator, "scene.samples") == pytest.approx([0.8, 0.1, 0.1], abs=1e-5)
    assert _probabilities(generator, "object.2.material") == pytest.approx([0.001, 0.999], abs=1e-5)
    assert list(generator.parameters_by_key()) == [k.key for k in grammar.attributes()]
    assert not generator.log_spreads.requires_grad


def test_samples_reproduce_the_prior() -> None:
    grammar = table()
    generator = ParametricGenerator(grammar)
    drawn = summarise(grammar.schema, generator.sample(3000, seed(0)).scenes)
    prior = summarise(grammar.schema, grammar.sample_many(3000, seed(1)))
    assert list(drawn) == list(prior)
    for key, found in drawn.items():
        wanted = prior[key]
        if isinstance(found, ContinuousSummary) and isinstance(wanted, ContinuousSummary):
            assert abs(found.mean - wanted.mean) < 5 * wanted.std / math.sqrt(1500)
            assert found.std == pytest.approx(wanted.std, rel=0.1)
        else:
            assert isinstance(found, CategoricalSummary) and isinstance(wanted, CategoricalSummary)
            assert found.probabilities == pytest.approx(wanted.probabilities, abs=0.06)


@pytest.mark.parametrize("make", [table, digits, roads])
def test_samples_are_valid_seeded_and_prefix_stable(make: type) -> None:
    grammar: Grammar = make()
    generator = ParametricGenerator(grammar)
    state = torch.random.get_rng_state()
    samples = generator.sample(30, seed(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    for scene in samples.scenes:
        grammar.schema.validate(scene)
    values = np.concatenate([grammar.schema.values(scene) for scene in samples.scenes])
    assert np.allclose(values, samples.values.detach().numpy(), atol=1e-6)
    assert generator.sample(30, seed(2)).scenes == samples.scenes
    assert generator.sample(4, seed(2)).scenes == samples.scenes[:4]
    assert generator.sample(30, seed(3)).scenes != samples.scenes
    assert torch.isfinite(generator.log_prob(samples)).all()


@settings(max_examples=10)
@given(key=st.integers(0, 2**32))
def test_log_prob_gradient_is_that_of_differences(key: int) -> None:
    generator = ParametricGenerator(digits(), learn_spread=True).double()
    samples = generator.sample(6, seed(key))
    weights = torch.linspace(-1, 2, 6, dtype=torch.float64)

    def value() -> torch.Tensor:
        return (weights * generator.log_prob(samples)).sum()

    parameters = [generator.means, generator.log_spreads, generator.logits]
    found = torch.autograd.grad(value(), parameters)
    h = 1e-6
    for parameter, gradient in zip(parameters, found, strict=True):
        for i in range(len(parameter)):
            with torch.no_grad():
                parameter[i] += h
                above = float(value())
                parameter[i] -= 2 * h
                below = float(value())
                parameter[i] += h
            assert float(gradient[i]) == pytest.approx((above - below) / (2 * h), rel=1e-4, abs=1e-3)


def test_score_function_of_a_normal_mean() -> None:
    """AutoSimulate's supplement §3: ``E[f Σ^-1 (s - psi)]``; for ``f = s²`` that is ``2 psi``."""
    generator = _single(Continuous("x", 0, 1), Normal(0.4, 0.05))
    samples = generator.sample(6000, seed(0))
    s = samples.values.detach().double()
    baseline = float((s**2).mean())
    generator.score_function_loss(samples, s**2 - baseline).backward()
    assert generator.means.grad is not None
    closed_form = ((s**2 - baseline) * (s - generator.means.detach().double()) / 0.05**2).mean()
    assert float(generator.means.grad) == pytest.approx(float(closed_form), rel=1e-4)
    assert float(generator.means.grad) == pytest.approx(0.8, abs=0.05)


def test_score_function_of_a_bernoulli_and_of_a_categorical() -> None:
    """AutoSimulate's supplement §3: with respect to the probability, ``f(1) - f(0)``."""
    cost = {"a": 1.0, "b": 4.0, "c": -2.0}
    for p in ([0.7, 0.3], [0.5, 0.2, 0.3]):
        names = tuple(list(cost)[: len(p)])
        generator = _single(Categorical("c", names), Choice(p))
        samples = generator.sample(6000, seed(0))
        signal = torch.tensor([cost[str(scene.nodes[0]["c"])] for scene in samples.scenes])
        generator.score_function_loss(samples, signal).backward()
        assert generator.logits.grad is not None
        mean = sum(q * cost[name] for q, name in zip(p, names, strict=True))
        exact = [q * (cost[name] - mean) for q, name in zip(p, names, strict=True)]
        wanted = [p[0] * p[1] * (cost["b"] - cost["a"])] if len(p) == 2 else exact
        assert generator.logits.grad.tolist() == pytest.approx(wanted, abs=0.06)


def test_score_function_is_unbiased_where_values_are_censored() -> None:
    """``d/dmean E[clip(mean + std eps)]`` is the probability of the inside; the bounds' masses play their part."""
    generator = _single(Continuous("x", 0, 1), Normal(0.95, 0.1))
    samples = generator.sample(12000, seed(0))
    generator.score_function_loss(samples, samples.values.detach() - 0.92).backward()
    assert generator.means.grad is not None
    assert float(generator.means.grad) == pytest.approx(0.6915, abs=0.04)


def test_project_keeps_parameters_within_bounds_and_leaves_good_ones() -> None:
    generator = ParametricGenerator(digits(), learn_spread=True)
    before = {name: p.detach().clone() for name, p in generator.named_parameters()}
    generator.project()
    for name, parameter in generator.named_parameters():
        assert torch.allclose(parameter, before[name], atol=1e-6)
    with torch.no_grad():
        generator.means.copy_(torch.tensor([1.25, -0.5, -0.25]))
        generator.log_spreads.copy_(torch.tensor([-20.0, 3.0, -3.0]))
        generator.logits.copy_(torch.tensor([50.0, 0.0, 0.0, -50.0]))
    generator.project()
    assert generator.means.tolist() == pytest.approx([0.25, 0.0, 0.75])
    assert generator.log_spreads.exp().tolist() == pytest.approx([0.005, 0.5, math.exp(-3)])
    assert _probabilities(generator, "digit.ink") == pytest.approx([0.997, 0.001, 0.001, 0.001], abs=1e-5)


def test_gradient_steps_reach_a_target() -> None:
    generator = ParametricGenerator(table(), learn_spread=True)
    optimiser = torch.optim.Adam(generator.parameters(), lr=0.05)
    index = [k.key for k in generator.keyed.continuous].index("object.0.x")
    for step in range(150):
        values = generator.sample(32, seed(4, step)).values.view(32, -1)[:, index]
        optimiser.zero_grad()
        ((values.mean() - 0.8) ** 2 + (values.std() - 0.02) ** 2).backward()
        optimiser.step()
        generator.project()
    assert _continuous(generator, "object.0.x").mean == pytest.approx(6, abs=0.4)
    assert _continuous(generator, "object.0.x").std == pytest.approx(0.4, abs=0.15)


@settings(max_examples=30)
@given(data=st.data())
def test_unit_view_round_trip(data: st.DataObject) -> None:
    generator = ParametricGenerator(table())
    names = generator.unit_dimensions()
    x = np.array(data.draw(st.lists(st.floats(0, 1), min_size=len(names), max_size=len(names))))
    moved = generator.from_unit(x)
    back = dict(zip(names, moved.to_unit(), strict=True))
    assert np.allclose(moved.from_unit(moved.to_unit()).to_unit(), moved.to_unit(), atol=1e-5)
    for name, value in zip(names, x, strict=True):
        if name in ("scene.samples", "scene.size"):
            chosen = min(int(value * 3), 2)
            assert back[name] == pytest.approx((chosen + 0.5) / 3)
            assert _probabilities(moved, name)[chosen] == pytest.approx(0.998, abs=1e-5)
        else:
            assert back[name] == pytest.approx(value, abs=1.1e-3)


def test_unit_view_copies_and_checks() -> None:
    generator = ParametricGenerator(table())
    names = generator.unit_dimensions()
    assert names == [k.key for k in table().attributes()]
    x = np.full(len(names), 0.9)
    moved = generator.from_unit(x)
    assert _continuous(moved, "object.2.y").mean == pytest.approx(8, abs=1e-5)
    assert _continuous(moved, "object.2.y").std == _continuous(generator, "object.2.y").std
    assert _continuous(generator, "object.2.y").mean == pytest.approx(0, abs=1e-5)
    for bad in (x[1:], np.append(x[1:], 1.5), np.append(x[1:], np.nan)):
        with pytest.raises(ValueError, match="unit view: expected 14 values in \\[0, 1\\]"):
            generator.from_unit(bad)


def test_state_dict_and_foreign_scenes() -> None:
    generator = ParametricGenerator(table())
    other = generator.from_unit(np.full(14, 0.3))
    generator.load_state_dict(other.state_dict())
    assert generator.sample(5, seed(1)).scenes == other.sample(5, seed(1)).scenes
    one_object = replace(
        table(), rules=(Rule("Scene", ("object0",)),), emissions={"object0": Emission("object", 0)}, priors={}
    )
    with pytest.raises(ValueError, match="the grammar emits no node of class 'scene', slot 0"):
        ParametricGenerator(one_object).log_prob(Samples(generator.sample(1, seed(1)).scenes, torch.zeros(8)))
    with pytest.raises(ValueError, match="floor"):
        ParametricGenerator(digits(), floor=0.3)
    with pytest.raises(ValueError, match="spreads"):
        ParametricGenerator(digits(), min_spread=0.0)


@given(start=st.floats(0, 0.999), end=st.floats(0, 0.999), share=st.floats(0, 1))
@settings(deadline=None)
def test_moving_towards_another_takes_the_shorter_way_round(start: float, end: float, share: float) -> None:
    attribute = Continuous("yaw", 0.0, 1.0, periodic=True)
    mine, theirs = _single(attribute, Normal(0.0, 0.1)), _single(attribute, Normal(0.0, 0.1))
    with torch.no_grad():
        mine.means.fill_(start)
        theirs.means.fill_(end)
    mine.move_towards(theirs, share)
    way = abs(start - end)
    gone = abs(float(mine.means.detach()) - start)
    assert min(gone, 1 - gone) == pytest.approx(share * min(way, 1 - way), abs=1e-5)


def test_moving_towards_another_weighs_the_learned_and_copies_the_rest() -> None:
    mine, theirs = ParametricGenerator(table()), ParametricGenerator(table())
    with torch.no_grad():
        mine.means.fill_(0.2)
        theirs.means.fill_(0.6)
    theirs.explore(0.2, 0.1)
    mine.move_towards(theirs, 0.25)
    assert torch.allclose(mine.means, torch.full_like(mine.means, 0.3))
    assert torch.equal(mine.log_spreads, theirs.log_spreads)
    assert mine.floor == 0.1
    mine.move_towards(theirs, 1.0)
    for name, value in theirs.state_dict().items():
        assert torch.allclose(mine.state_dict()[name], value, atol=1e-6), name


def relabelled(samples: Samples, order: tuple[int, ...]) -> Samples:
    """The same scenes with the objects' slots permuted."""
    scenes = tuple(
        SceneGraph(
            tuple(replace(n, slot=order[n.slot]) if n.node_class == "object" else n for n in scene.nodes),
            scene.parents,
            scene.derivation,
        )
        for scene in samples.scenes
    )
    return Samples(scenes, samples.values)


def test_a_picture_s_probability_is_that_of_all_scenes_that_show_it() -> None:
    generator = ParametricGenerator(table())
    generator.explore(0.2, 0.2)
    samples = generator.sample(20, seed(5))
    found = generator.picture_log_prob(samples)
    orders = list(itertools.permutations(range(3)))
    expected = torch.stack([generator.log_prob(relabelled(samples, order)) for order in orders]).logsumexp(0)
    torch.testing.assert_close(found, expected)
    for order in orders:
        torch.testing.assert_close(generator.picture_log_prob(relabelled(samples, order)), found)


def test_without_interchangeable_slots_it_is_the_scene_s_own() -> None:
    for grammar in (digits(), roads(), table().with_priors({"object.1.shape": Choice([1.0, 0.0, 0.0])})):
        generator = ParametricGenerator(grammar)
        samples = generator.sample(10, seed(6))
        torch.testing.assert_close(generator.picture_log_prob(samples), generator.log_prob(samples))


def test_the_score_of_pictures_has_the_same_mean_and_less_variance() -> None:
    """The signal is one of pictures: how near the nearest object is to a place."""
    generator = ParametricGenerator(table())
    generator.explore(0.2, 0.2)
    plain: list[torch.Tensor] = []
    pictures: list[torch.Tensor] = []
    for draw in range(40):
        samples = generator.sample(100, seed(7, draw))
        places = torch.tensor([[(n["x"], n["y"]) for n in scene.find("object")] for scene in samples.scenes])
        signal = -(places - torch.tensor([2.0, 1.0])).norm(dim=2).amin(dim=1).double()
        signal = signal - signal.mean()
        for found, log_prob in ((plain, generator.log_prob), (pictures, generator.picture_log_prob)):
            (gradient,) = torch.autograd.grad((signal * log_prob(samples)).mean(), [generator.means])
            found.append(gradient[2:])
    first, second = torch.stack(plain), torch.stack(pictures)
    assert float(second.var(0).sum()) < 0.7 * float(first.var(0).sum())
    error = ((first - second).mean(0) / ((first - second).var(0) / len(first)).sqrt()).abs()
    assert float(error.max()) < 4


def numbers(parameters: dict[str, AttributeSummary]) -> dict[str, list[float]]:
    """Mean and standard deviation, or the probabilities, by key."""
    return {
        key: list(found.probabilities) if isinstance(found, CategoricalSummary) else [found.mean, found.std]
        for key, found in parameters.items()
    }


@pytest.mark.parametrize("grammar", [table(), digits()], ids=["table", "digits"])
@given(point=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_parameters_that_are_read_can_be_set_again(grammar: Grammar, point: int) -> None:
    one, other = ParametricGenerator(grammar), ParametricGenerator(grammar)
    with torch.no_grad():
        for parameter in (one.means, one.logits, one.log_spreads):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(point)))
    one.project()
    other.set_parameters(one.parameters_by_key())
    assert numbers(other.parameters_by_key()) == {
        key: pytest.approx(values, rel=1e-5, abs=1e-6) for key, values in numbers(one.parameters_by_key()).items()
    }
    drawn = [generator.sample(20, seed(1)) for generator in (one, other)]
    torch.testing.assert_close(drawn[0].values, drawn[1].values, rtol=1e-4, atol=1e-4)


def test_some_parameters_are_set_and_the_others_stay() -> None:
    generator = ParametricGenerator(table())
    before = numbers(generator.parameters_by_key())
    wanted: dict[str, AttributeSummary] = {
        "object.1.x": ContinuousSummary(-2.5, 0.75),
        "scene.size": CategoricalSummary((0.25, 0.25, 0.5)),
    }
    generator.set_parameters(wanted)
    after = numbers(generator.parameters_by_key())
    assert after["object.1.x"] == pytest.approx([-2.5, 0.75])
    assert after["scene.size"] == pytest.approx([0.25, 0.25, 0.5])
    others = [key for key in before if key not in wanted]
    assert [after[key] for key in others] == [pytest.approx(before[key]) for key in others]
    drawn = summarise(generator.schema, generator.sample(2000, seed(0)).scenes)["object.1.x"]
    assert isinstance(drawn, ContinuousSummary) and drawn.mean == pytest.approx(-2.5, abs=0.1)


def test_what_is_read_off_scenes_can_be_set_even_where_all_are_alike() -> None:
    generator = ParametricGenerator(table())
    scenes = [generator.grammar.sample(seed(0))] * 7
    generator.set_parameters(summarise(generator.schema, scenes))
    found = generator.parameters_by_key()
    for key, summary in summarise(generator.schema, scenes).items():
        own = found[key]
        if isinstance(summary, ContinuousSummary) and isinstance(own, ContinuousSummary):
            assert own.mean == pytest.approx(summary.mean, abs=1e-4) and own.std > 0
        elif isinstance(own, CategoricalSummary):
            assert max(own.probabilities) == pytest.approx(1, abs=0.01) and min(own.probabilities) > 0


@pytest.mark.parametrize(
    ("key", "summary", "said"),
    [
        ("object.3.x", ContinuousSummary(0, 1), "no such attribute"),
        ("object.0.shape", CategoricalSummary((1.0, 0.0, 0.0)), "no such attribute"),
        ("object.0.x", ContinuousSummary(10.5, 1), r"mean 10.5 is outside \[-10, 10\]"),
        ("object.0.x", ContinuousSummary(float("nan"), 1), "mean nan"),
        ("object.0.x", ContinuousSummary(1, -0.1), "standard deviation -0.1"),
        ("object.0.x", ContinuousSummary(1, float("nan")), "standard deviation nan"),
        ("object.0.x", CategoricalSummary((1.0,)), "expected a mean"),
        ("scene.size", ContinuousSummary(1, 1), "expected the probabilities of 3 choices"),
        ("scene.size", CategoricalSummary((0.5, 0.5)), "2 probabilities for 3 choices"),
        ("scene.size", CategoricalSummary((0.5, 0.4, 0.0)), "add up to 1"),
        ("scene.size", CategoricalSummary((1.5, -0.5, 0.0)), r"not in \[0, 1\]"),
        ("scene.size", CategoricalSummary((float("nan"), 0.5, 0.5)), r"not in \[0, 1\]"),
    ],
)
def test_parameters_out_of_range_are_refused_by_key_and_nothing_is_set(
    key: str, summary: AttributeSummary, said: str
) -> None:
    generator = ParametricGenerator(table())
    before = generator.parameters_by_key()
    with pytest.raises(ValueError, match=rf"^{key}: .*{said}"):
        generator.set_parameters({"object.1.x": ContinuousSummary(3.0, 1.0), key: summary})
    assert generator.parameters_by_key() == before


def test_spreads_and_probabilities_beyond_the_generator_s_bounds_are_put_to_them() -> None:
    generator = ParametricGenerator(table(), min_spread=0.01, max_spread=0.2, floor=0.05)
    wide, narrow = ContinuousSummary(0, 18.0), ContinuousSummary(0, 0.0)
    sure = CategoricalSummary((1.0, 0.0, 0.0))
    generator.set_parameters({"object.0.x": wide, "object.0.y": narrow, "scene.size": sure})
    found = numbers(generator.parameters_by_key())
    assert found["object.0.x"][1] == pytest.approx(0.2 * 20) and found["object.0.y"][1] == pytest.approx(0.01 * 20)
    assert found["scene.size"] == pytest.approx([0.9, 0.05, 0.05])
