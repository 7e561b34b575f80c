"""The distribution transformer: pre-training, sampling, log-probability, directed edges."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from autosim.scenes.generator import CategoricalSummary, ContinuousSummary, Samples, summarise
from autosim.scenes.grammar import Constant, Emission, Grammar, Normal, Rule
from autosim.scenes.graph import Categorical, Continuous, Node, NodeClass, SceneGraph, Schema
from autosim.scenes.pretraining import PretrainSettings, check_prior, pretrain
from autosim.scenes.transformer import DistributionTransformer
from tests.scenes.examples import digits, roads, seed, table


@pytest.mark.parametrize(
    ("make", "residual"),
    [
        pytest.param(table, False, marks=pytest.mark.slow),
        (table, True),
        (digits, False),
        pytest.param(digits, True, marks=pytest.mark.slow),
    ],
)
def test_pretraining_reproduces_the_prior_in_mean_and_spread(make: type, residual: bool) -> None:
    grammar: Grammar = make()
    generator = DistributionTransformer(grammar, seed=1, residual=residual)
    report = pretrain(generator, seed(0))
    assert report.converged and report.checks[report.worst].excess <= 1
    assert report.steps == 0 if residual else report.steps > 0
    assert list(report.checks) == [k.key for k in grammar.attributes()]
    drawn = summarise(grammar.schema, generator.sample(2000, seed(1)).scenes)
    prior = summarise(grammar.schema, grammar.sample_many(2000, seed(2)))
    for keyed in grammar.attributes():
        found, wanted = drawn[keyed.key], prior[keyed.key]
        if isinstance(found, CategoricalSummary) and isinstance(wanted, CategoricalSummary):
            assert found.probabilities == pytest.approx(wanted.probabilities, abs=0.03 + 0.05)
        else:
            assert isinstance(keyed.attribute, Continuous)
            assert isinstance(found, ContinuousSummary) and isinstance(wanted, ContinuousSummary)
            span = keyed.attribute.high - keyed.attribute.low
            noise = 0.02 * span
            tolerance = 0.01 * span + 5 * math.hypot(wanted.std, noise) / math.sqrt(1000)
            assert abs(keyed.attribute.difference(found.mean, wanted.mean)) < tolerance
            assert found.std == pytest.approx(math.hypot(wanted.std, noise), rel=0.18)


def test_the_check_finds_what_is_not_reproduced() -> None:
    untrained = DistributionTransformer(table())
    report = pretrain(untrained, seed(0), PretrainSettings(max_steps=1))
    assert not report.converged and report.steps == 1 and report.checks[report.worst].excess > 1
    # A generator that has forgotten its input has the right means, perhaps, but no spread.
    grammar = digits().with_priors({"digit.x": Normal(128, 40), "digit.yaw": Normal(180, 30)})
    collapsed = DistributionTransformer(grammar)
    with torch.no_grad():
        collapsed.network.read_out.weight.zero_()
        collapsed.network.read_out.bias.zero_()
        collapsed.network.read_out.bias[-5] = -1.0
    checks = check_prior(collapsed, seed(1))
    assert checks["digit.x"].mean_error < 0.02 and checks["digit.x"].spread_ratio < 0.3
    assert checks["digit.yaw"].spread_ratio < 0.5 and checks["digit.yaw"].excess > 1


@pytest.mark.parametrize("residual", [False, True])
def test_structure_and_immutable_attributes_are_kept(residual: bool) -> None:
    grammar = digits()
    generator = DistributionTransformer(grammar, residual=residual)
    samples = generator.sample(20, seed(5))
    assert samples.sources is not None
    for scene, source in zip(samples.scenes, samples.sources, strict=True):
        grammar.schema.validate(scene)
        assert scene.parents == source.parents and scene.derivation == source.derivation
        assert [n.node_class for n in scene.nodes] == [n.node_class for n in source.nodes]
        assert [n["label"] for n in scene.find("digit")] == [n["label"] for n in source.find("digit")]
    values = np.concatenate([grammar.schema.values(scene) for scene in samples.scenes])
    assert np.allclose(values, samples.values.detach().numpy(), atol=1e-6)


def test_equal_seeds_give_equal_weights_and_samples() -> None:
    state = torch.random.get_rng_state()
    first, second, third = (DistributionTransformer(table(), seed=s) for s in (3, 3, 4))
    assert first.sample(5, seed(0)).scenes == second.sample(5, seed(0)).scenes
    assert first.sample(5, seed(0)).scenes != third.sample(5, seed(0)).scenes
    assert first.sample(3, seed(0)).scenes == first.sample(5, seed(0)).scenes[:3]
    quick = PretrainSettings(max_steps=3, scenes=128)
    assert pretrain(first, seed(1), quick).loss == pretrain(second, seed(1), quick).loss
    assert torch.equal(torch.random.get_rng_state(), state)
    third.load_state_dict(first.state_dict())
    assert third.sample(5, seed(0)).scenes == first.sample(5, seed(0)).scenes


def test_a_scene_does_not_depend_on_the_others_of_its_batch() -> None:
    generator = DistributionTransformer(digits())
    sources = digits().sample_many(6, seed(0))
    together = generator.transform(sources, seed(1), noise=False).scenes
    alone = [generator.transform([source], seed(2), noise=False).scenes[0] for source in sources]
    for a, b in zip(together, alone, strict=True):
        assert np.allclose(digits().schema.values(a), digits().schema.values(b), atol=1e-5)


def _differences(generator: DistributionTransformer, samples: Samples, parameter: torch.Tensor, i: int) -> float:
    h = 1e-6
    flat = parameter.data.view(-1)
    flat[i] += h
    above = float(generator.log_prob(samples).sum().detach())
    flat[i] -= 2 * h
    below = float(generator.log_prob(samples).sum().detach())
    flat[i] += h
    return (above - below) / (2 * h)


@pytest.mark.parametrize("residual", [False, True])
def test_log_prob_gradient_is_that_of_differences_and_not_zero(residual: bool) -> None:
    """Fault 4 of the public implementation: its score-function gradient is exactly zero."""
    generator = DistributionTransformer(digits(), hidden=8, residual=residual, learn_spread=True).double()
    with torch.no_grad():
        generator.network.read_out.weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    samples = generator.sample(5, seed(0))
    generator.log_prob(samples).sum().backward()
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None and bool((parameter.grad != 0).any()), name
        flat = parameter.grad.view(-1)
        for i in torch.topk(flat.abs(), min(4, len(flat))).indices.tolist():
            difference = _differences(generator, samples, parameter, i)
            assert float(flat[i]) == pytest.approx(difference, rel=1e-3, abs=1e-3), name


def test_score_function_gradient_is_that_of_the_mean() -> None:
    """For the cost ``sum of values``, ``∇ E[f]`` is the gradient of the means' sum, where nothing is censored."""
    grammar = digits().with_priors(
        {"digit.x": Normal(128, 5), "canvas.hue": Constant(180.0), "digit.yaw": Normal(180, 5)}
    )
    generator = DistributionTransformer(grammar, hidden=8, residual=True, std=0.05)
    source = grammar.derive([0, 1, 3, 2], seed(0))
    samples = generator.transform([source] * 6000, seed(1))
    cost = samples.values.detach().view(6000, -1).sum(dim=1)
    generator.score_function_loss(samples, cost - cost.mean()).backward()
    found = generator.network.read_out.weight.grad
    assert found is not None
    found = found.clone()
    generator.zero_grad()
    generator.transform([source], seed(2), noise=False).values.sum().backward()
    exact = generator.network.read_out.weight.grad
    assert exact is not None
    continuous = exact.abs().sum(dim=1) > 0
    cosine = torch.nn.functional.cosine_similarity(found[continuous].flatten(), exact[continuous].flatten(), dim=0)
    assert float(cosine) > 0.98
    assert float(found[continuous].norm() / exact.norm()) == pytest.approx(1, abs=0.1)


def test_log_prob_needs_sources_and_gives_the_density() -> None:
    generator = DistributionTransformer(table(), std=0.03)
    samples = generator.sample(3, seed(0))
    with pytest.raises(ValueError, match="source"):
        generator.log_prob(replace(samples, sources=None))
    with pytest.raises(ValueError, match="source"):
        generator.log_prob(replace(samples, sources=tuple(digits().sample_many(3, seed(0)))))
    again = Samples(samples.scenes, torch.zeros(0), samples.sources)
    assert torch.equal(generator.log_prob(again), generator.log_prob(samples))
    schema = Schema((NodeClass("a", (Continuous("x", 0, 2), Categorical("c", ("p", "q")))),))
    grammar = Grammar(schema, "S", (Rule("S", ()),), {"S": Emission("a")}, {"a.x": Constant(1.0), "a.c": Constant("p")})
    one = DistributionTransformer(grammar, residual=True, std=0.1, floor=0.05)
    source = grammar.sample(seed(0))
    moved = SceneGraph((Node("a", {"x": 1.3, "c": "q"}),), (-1,))
    expected = -0.5 * 1.5**2 - math.log(0.1) - 0.5 * math.log(2 * math.pi) + math.log(0.1)
    found = one.log_prob(Samples((moved,), torch.zeros(1), (source,)))
    assert float(found.detach()) == pytest.approx(expected, abs=1e-4)


def test_top_down_and_bottom_up_edges_have_weights_of_their_own() -> None:
    """Fault 8 of the public implementation: an undirected graph, where swapping the ends of an edge changes nothing."""
    schema = Schema((NodeClass("a", (Continuous("x", 0, 1),)),))
    rules = (Rule("S", ("leaf",)),)
    grammar = Grammar(schema, "S", rules, {"S": Emission("a"), "leaf": Emission("a")})

    def outputs(generator: DistributionTransformer, parent: float, child: float) -> list[float]:
        scene = SceneGraph((Node("a", {"x": parent}), Node("a", {"x": child})), (-1, 0))
        values = generator.transform([scene], seed(0), noise=False).values
        return [float(v) for v in values.detach()]

    generator = DistributionTransformer(grammar, seed=0)
    a, b = outputs(generator, 0.2, 0.9)
    d, c = outputs(generator, 0.9, 0.2)
    assert abs(a - c) + abs(b - d) > 1e-3
    # Both ends hear of each other.
    assert abs(outputs(generator, 0.2, 0.5)[0] - a) > 1e-4
    assert abs(outputs(generator, 0.5, 0.9)[1] - b) > 1e-4


def test_periodic_outputs_are_near_across_the_seam() -> None:
    """Fault 7: inputs of 359 and 1 degrees give outputs 2 degrees apart, and the gradient passes the seam."""
    generator = DistributionTransformer(digits(), residual=True)
    schema = digits().schema
    scenes = [SceneGraph((Node("canvas", {"hue": hue}),), (-1,)) for hue in (359.0, 1.0)]
    moved = generator.transform(scenes, seed(0), noise=False)
    assert [float(scene.nodes[0]["hue"]) for scene in moved.scenes] == pytest.approx([359, 1], abs=1e-3)
    bias = generator.network.read_out.bias
    gradients = [torch.autograd.grad(value, bias, retain_graph=True)[0] for value in moved.values]
    assert torch.nn.functional.cosine_similarity(gradients[0], gradients[1], dim=0) > 0.99
    samples = generator.transform(scenes * 200, seed(1))
    for scene in samples.scenes:
        schema.validate(scene)
    spread = summarise(schema, samples.scenes)["canvas.hue"]
    assert isinstance(spread, ContinuousSummary) and spread.std == pytest.approx(0.02 * 360, rel=0.2)


@pytest.mark.parametrize("length", [0.01, 1.0, 100.0])
def test_an_offset_turns_an_angle_as_far_whatever_the_network_says(length: float) -> None:
    grammar = digits()
    generator = DistributionTransformer(grammar, seed=3)

    def means() -> torch.Tensor:
        predicted = generator.predict(generator.batch(grammar.sample_many(20, seed(0))))
        return predicted.means[predicted.periodic]

    with torch.no_grad():
        generator.network.read_out.weight.mul_(length)
        generator.network.read_out.bias.mul_(length)
        before = means()
        generator.offsets.add_(1.0)
        turned = torch.remainder(means() - before, 1.0)
    torch.testing.assert_close(turned, torch.full_like(turned, 0.25), atol=1e-4, rtol=0)


def test_spreads_are_learned_only_on_request_and_kept_in_bounds() -> None:
    fixed, learned = (DistributionTransformer(table(), learn_spread=learn) for learn in (False, True))
    for generator in (fixed, learned):
        generator.log_prob(generator.sample(4, seed(0))).sum().backward()
    assert fixed.log_spreads.grad is None
    assert learned.log_spreads.grad is not None and bool((learned.log_spreads.grad != 0).all())
    with torch.no_grad():
        learned.log_spreads.fill_(5.0)
    learned.project()
    assert learned.log_spreads.exp().tolist() == pytest.approx([0.5] * 8)


def test_choices_keep_a_floor_and_means_stay_in_range_whatever_the_weights() -> None:
    generator = DistributionTransformer(table(), floor=0.02)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(100)
    with torch.no_grad():
        predicted = generator.predict(generator.batch(table().sample_many(20, seed(0))))
    assert float(predicted.means.min()) >= 0 and float(predicted.means.max()) <= 1
    for _, choice in predicted.choices:
        assert float(choice.probabilities.max()) <= 0.98 + 1e-5
        assert float(choice.probabilities.min()) > 0.002


def test_grammars_without_some_kind_of_attribute_work() -> None:
    generator = DistributionTransformer(roads())
    samples = generator.sample(10, seed(0))
    assert torch.isfinite(generator.log_prob(samples)).all()
    schema = Schema((NodeClass("a", (Categorical("c", ("only",)),)), NodeClass("b")))
    grammar = Grammar(schema, "S", (Rule("S", ("b",)),), {"S": Emission("a"), "b": Emission("b")})
    bare = DistributionTransformer(grammar)
    assert pretrain(bare, seed(0)).converged
    assert bare.log_prob(bare.sample(2, seed(0))).tolist() == pytest.approx([0, 0])


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match=r"std 0\.9"):
        DistributionTransformer(table(), std=0.9)
    with pytest.raises(ValueError, match=r"floor 0\.5"):
        DistributionTransformer(table(), floor=0.5)
    with pytest.raises(ValueError, match="layers 0"):
        DistributionTransformer(table(), layers=0)
    with pytest.raises(ValueError, match="max_steps: 0"):
        PretrainSettings(max_steps=0)


def test_means_and_spreads_are_read_off_samples_and_cannot_be_set() -> None:
    transformer = DistributionTransformer(table(), std=0.05)
    found = transformer.parameters_by_key()
    assert found == transformer.parameters_by_key()
    assert set(found) == {keyed.key for keyed in transformer.grammar.attributes()}
    with torch.no_grad():
        transformer.offsets[[keyed.key for keyed in transformer.keyed.continuous].index("object.1.x")] += 3.0
    moved, before = transformer.parameters_by_key()["object.1.x"], found["object.1.x"]
    assert isinstance(moved, ContinuousSummary) and isinstance(before, ContinuousSummary)
    assert moved.mean > before.mean + 1
    with pytest.raises(NotImplementedError, match="DistributionTransformer has no parameters of single attributes"):
        transformer.set_parameters(found)
