"""Score-function estimates against closed forms: AutoSimulate's supplement §3 (Behl et al., ECCV 2020)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autosim.scenes.generator import Samples
from autosim.scenes.grammar import Choice, Emission, Grammar, Normal, Prior, Rule
from autosim.scenes.graph import Attribute, Categorical, Continuous, Node, NodeClass, SceneGraph, Schema
from autosim.scenes.parametric import ParametricGenerator
from autosim.scenes.transformer import DistributionTransformer
from tests.scenes.examples import digits, seed

NAMES = ("a", "b", "c", "d")


def one_node(attributes: dict[Attribute, Prior]) -> ParametricGenerator:
    """A generator of scenes of one node."""
    schema = Schema((NodeClass("n", tuple(attributes)),))
    priors = {f"n.{attribute.name}": prior for attribute, prior in attributes.items()}
    return ParametricGenerator(Grammar(schema, "S", (Rule("S", ()),), {"S": Emission("n")}, priors))


def categorical(*probabilities: Sequence[float]) -> ParametricGenerator:
    """A generator of one node with a categorical attribute for each list of probabilities."""
    attributes = [Categorical(f"c{i}", NAMES[: len(p)]) for i, p in enumerate(probabilities)]
    return one_node({a: Choice(list(p)) for a, p in zip(attributes, probabilities, strict=True)})


def choice_scene(*choices: int) -> SceneGraph:
    """A scene of :func:`categorical` with these choices."""
    return SceneGraph((Node("n", {f"c{i}": NAMES[choice] for i, choice in enumerate(choices)}),), (-1,))


def gradient(generator: ParametricGenerator, samples: Samples, signal: Tensor, enumerate_choices: bool) -> Tensor:
    """(means, logits) gradient of the score-function loss."""
    loss = generator.score_function_loss(samples, signal, enumerate_choices=enumerate_choices)
    found = torch.autograd.grad(loss, [generator.means, generator.logits], materialize_grads=True)
    return torch.cat([part.double() for part in found])


def expected_over_batches(
    generator: ParametricGenerator, scenes: list[SceneGraph], cost: Callable[[SceneGraph], float], size: int, how: bool
) -> tuple[Tensor, Tensor]:
    """Mean and mean square of the estimate over all batches of ``size`` scenes, each as likely as it is."""
    alone = generator.log_prob(Samples(tuple(scenes), torch.zeros(0))).detach().exp()
    assert float(alone.sum()) == pytest.approx(1, abs=1e-5)
    mean, square = torch.zeros(()), torch.zeros(())
    for batch in itertools.product(range(len(scenes)), repeat=size):
        samples = Samples(tuple(scenes[i] for i in batch), torch.zeros(0))
        signal = torch.tensor([cost(scenes[i]) for i in batch], dtype=torch.float64)
        found = gradient(generator, samples, signal, how)
        chance = alone[list(batch)].prod()
        mean, square = mean + chance * found, square + chance * found**2
    return mean, square


def exact_gradient(
    generator: ParametricGenerator, scenes: list[SceneGraph], cost: Callable[[SceneGraph], float]
) -> Tensor:
    """Gradient of the expected cost with respect to the logits, by adding up all scenes."""
    likelihood = generator.log_prob(Samples(tuple(scenes), torch.zeros(0))).exp()
    costs = torch.tensor([cost(scene) for scene in scenes], dtype=torch.float64)
    return torch.autograd.grad((likelihood * costs).sum(), generator.logits)[0].double()


@pytest.mark.parametrize("how", [False, True], ids=["score function", "enumerated"])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("probabilities", [[0.7, 0.3], [0.02, 0.98], [0.6, 0.3, 0.1]])
def test_both_estimates_of_one_choice_are_unbiased(probabilities: list[float], size: int, how: bool) -> None:
    generator = categorical(probabilities)
    costs = dict(zip(NAMES, (1.0, 4.0, -2.0), strict=False))
    scenes = [choice_scene(i) for i in range(len(probabilities))]

    def cost(scene: SceneGraph) -> float:
        return costs[str(scene.nodes[0]["c0"])]

    mean, _ = expected_over_batches(generator, scenes, cost, size, how)
    p, f = torch.tensor(probabilities, dtype=torch.float64), torch.tensor(list(costs.values())[: len(probabilities)])
    bernoulli, several = (p[0] * p[1] * (f[1] - f[0])).reshape(1), p * (f - (p * f).sum())
    closed_form = bernoulli if len(p) == 2 else several
    torch.testing.assert_close(mean, closed_form, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("how", [False, True], ids=["score function", "enumerated"])
def test_both_estimates_are_unbiased_where_attributes_share_a_signal(how: bool) -> None:
    generator = categorical([0.8, 0.2], [0.5, 0.3, 0.2])
    scenes = [choice_scene(i, j) for i, j in itertools.product(range(2), range(3))]

    def cost(scene: SceneGraph) -> float:
        i, j = (NAMES.index(str(scene.nodes[0][name])) for name in ("c0", "c1"))
        return 1.0 + i - 2.0 * j + 3.0 * i * j

    expected = exact_gradient(generator, scenes, cost)
    for size in (1, 3):
        mean, _ = expected_over_batches(generator, scenes, cost, size, how)
        torch.testing.assert_close(mean, expected, rtol=1e-4, atol=1e-5)


def test_enumeration_has_less_variance() -> None:
    generator = categorical([0.5, 0.3, 0.2])
    scenes = [choice_scene(i) for i in range(3)]

    def cost(scene: SceneGraph) -> float:
        return {"a": 1.0, "b": 4.0, "c": -2.0}[str(scene.nodes[0]["c0"])]

    variance = []
    for how in (False, True):
        mean, square = expected_over_batches(generator, scenes, cost, 5, how)
        variance.append(float((square - mean**2).sum()))
    assert variance[1] < 0.7 * variance[0]


def test_with_many_samples_enumeration_is_exact_where_the_choice_alone_decides() -> None:
    """Whatever the frequencies in the batch: ``f(1) − f(0)`` for a Bernoulli, ``f(i)`` for a categorical."""
    generator = categorical([0.7, 0.3], [0.5, 0.3, 0.2])
    batch = [choice_scene(i % 2, 0) for i in range(60)] + [choice_scene(1, i % 3) for i in range(60)]
    samples = Samples(tuple(batch), torch.zeros(0))
    first = torch.tensor([float(scene.nodes[0]["c0"] == "b") for scene in batch])
    found = gradient(generator, samples, 5 * first, True)
    assert float(found[0]) == pytest.approx(0.7 * 0.3 * 5, rel=1e-4)
    third = torch.tensor([float(scene.nodes[0]["c1"] == "c") for scene in batch])
    found = gradient(generator, samples, 5 * third, True)
    assert found[1:].tolist() == pytest.approx([-0.5, -0.3, 0.8], rel=1e-4)


@settings(max_examples=20)
@given(count=st.integers(1, 12), key=st.integers(0, 2**32), weights=st.integers(0, 1000))
def test_only_categorical_parts_change_and_keys_that_a_scene_repeats_keep_the_score_function(
    count: int, key: int, weights: int
) -> None:
    generator = ParametricGenerator(digits(), learn_spread=True)
    samples = generator.sample(count, np.random.SeedSequence(key))
    signal = torch.randn(count, generator=torch.Generator().manual_seed(weights))
    plain = generator.score_function_loss(samples, signal, "continuous")
    assert torch.equal(generator.score_function_loss(samples, signal, "continuous", enumerate_choices=True), plain)
    whole = gradient(generator, samples, signal, True)
    assert torch.isfinite(whole).all()
    torch.testing.assert_close(whole[:3], gradient(generator, samples, signal, False)[:3])
    parts = [generator.score_function_loss(samples, signal, part, True) for part in ("continuous", "categorical")]
    torch.testing.assert_close(sum(parts), generator.score_function_loss(samples, signal, "all", True))
    digit_counts = [sum(node.node_class == "digit" for node in scene.nodes) for scene in samples.scenes]
    if max(digit_counts) > 1:
        torch.testing.assert_close(whole, gradient(generator, samples, signal, False))


def test_a_key_that_only_some_scenes_have_is_estimated_without_bias() -> None:
    """Structure comes from the grammar: half of the scenes have a node whose choice costs 6, and others cost 1."""
    schema = Schema((NodeClass("root"), NodeClass("n", (Categorical("c", ("a", "b")),))))
    rules = (Rule("S", ("Maybe",)), Rule("Maybe", ("node",)), Rule("Maybe", ()))
    grammar = Grammar(schema, "S", rules, {"S": Emission("root"), "node": Emission("n")}, {"n.c": Choice([0.6, 0.4])})
    generator = ParametricGenerator(grammar)

    def cost(scene: SceneGraph) -> float:
        return 6.0 * (scene.nodes[1]["c"] == "b") if len(scene.nodes) > 1 else 1.0

    for how in (False, True):
        found = []
        for i in range(200):
            samples = generator.sample(5, seed(5, i))
            signal = torch.tensor([cost(scene) for scene in samples.scenes])
            found.append(float(gradient(generator, samples, signal, how)[0]))
        error = np.std(found) / math.sqrt(len(found))
        assert abs(np.mean(found) - 0.5 * 0.6 * 0.4 * 6) < 5 * error
        assert error < 0.05


@pytest.mark.parametrize("name", ["linear", "quadratic"])
def test_the_estimate_of_a_normal_s_mean_is_unbiased(name: str) -> None:
    """``E[f Σ^-1 (s − psi)]`` is 3 for ``f = 3 s`` and ``2 psi`` for ``f = s²``; five standard errors are allowed."""
    generator = one_node({Continuous("x", 0, 1): Normal(0.5, 0.05), Continuous("y", 0, 1): Normal(0.4, 0.08)})
    found = []
    for i in range(200):
        samples = generator.sample(50, seed(6, i))
        x = samples.values.detach().double().view(50, 2)[:, 0]
        signal = 3 * x - 1.5 if name == "linear" else x**2 - 0.25
        whole = gradient(generator, samples, signal, i % 2 == 0)
        by_hand = signal @ (samples.values.detach().double().view(50, 2) - generator.means.detach().double())
        by_hand = by_hand / torch.tensor([0.05, 0.08], dtype=torch.float64) ** 2 / 50
        torch.testing.assert_close(whole, by_hand, rtol=1e-3, atol=1e-4)
        found.append(whole.numpy())
    error = np.std(found, axis=0) / math.sqrt(len(found))
    assert (np.abs(np.mean(found, axis=0) - [3.0 if name == "linear" else 1.0, 0.0]) < 5 * error).all()
    assert error.max() < 0.1


def test_generators_that_cannot_enumerate_take_the_score_function() -> None:
    generator = DistributionTransformer(digits())
    samples = generator.sample(6, seed(7))
    signal = torch.linspace(-1, 1, 6)
    plain = generator.score_function_loss(samples, signal)
    assert torch.equal(generator.score_function_loss(samples, signal, enumerate_choices=True), plain)
