"""Replay: importance weights, ranks and the baseline from what is not learned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from autosim.learning.replay.scenes import SceneReplay, benefit, immutable_features, ranked, tempered, unexplained
from autosim.rendering.drawn import DrawnFrames
from autosim.rendering.frames import Frames
from autosim.scenes.generator import Samples
from autosim.scenes.graph import SceneGraph
from autosim.scenes.parametric import ParametricGenerator
from autosim.seeding import seed_sequence
from tests.scenes.examples import digits, table


def numbered(scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> Frames:
    """Frames of one colour each, that of their seed."""
    values = np.array(seeds, dtype=np.uint8)
    return Frames(np.broadcast_to(values[:, None, None, None], (len(scenes), 2, 2, 3)).copy())


def drawn(samples: Samples, first: int = 0) -> DrawnFrames:
    """Frames whose seeds count up from ``first``."""
    seeds = tuple((first + i) % 256 for i in range(len(samples)))
    return DrawnFrames(samples.scenes, seeds, numbered(samples.scenes, seeds))


def filled(steps: int, each: int, shift: float, capacity: int = 10_000) -> tuple[SceneReplay, ParametricGenerator]:
    """Batches of a generator whose means move by ``shift`` from one to the next."""
    generator, replay = ParametricGenerator(table()), SceneReplay(capacity, numbered)
    generator.explore(0.1, 0.1)
    for step in range(steps):
        samples = generator.sample(each, seed_sequence(0, "replay", step))
        replay.add(samples, drawn(samples, step * each), generator, torch.arange(each)[:, None] * 10.0**step)
        with torch.no_grad():
            generator.means.add_(shift)
        generator.project()
    return replay, generator


def test_the_oldest_batches_are_dropped_beyond_the_capacity() -> None:
    replay, _ = filled(steps=5, each=4, shift=0.01, capacity=12)
    assert len(replay.samples) == len(replay.frames) == 12
    last, _ = filled(steps=5, each=4, shift=0.01, capacity=0)
    assert last.samples.scenes == replay.samples.scenes[-4:]


def test_weights_are_equal_where_the_distribution_stood_still() -> None:
    replay, generator = filled(steps=3, each=5, shift=0.0)
    weights = replay.weights(generator)
    assert torch.allclose(weights, torch.full((15,), 1 / 15, dtype=torch.float64))
    assert float(1 / weights.square().sum()) == pytest.approx(15)


def in_order(places: Tensor) -> Tensor:
    """(n, 6) the least, middle and largest x and y of three objects."""
    return places.view(len(places), 3, 2).sort(dim=1).values.flatten(1)


def test_weighted_means_are_those_of_the_present_distribution() -> None:
    replay, generator = filled(steps=4, each=500, shift=0.03)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    weights = replay.weights(generator)
    assert float(weights.sum()) == pytest.approx(1)
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    present = generator.sample(4000, seed_sequence(1, "present"))
    columns = len(replay.samples.values) // len(replay.samples)
    old = replay.samples.values.view(-1, columns).double()
    new = present.values.detach().view(-1, columns).double()
    # The objects are interchangeable, so weights tell of pictures: of lights, and of coordinates in order.
    old, new = (torch.cat([part[:, :2], in_order(part[:, 2:])], dim=1) for part in (old, new))
    # The plain mean lags behind by the mean shift; the weighted one does not.
    lag = (old.mean(0) - new.mean(0)).abs().max()
    error = ((weights[:, None] * old).sum(0) - new.mean(0)).abs().max()
    assert lag > 0.03 and error < 0.02


def test_signals_are_tempered_among_all_of_one_measurement() -> None:
    """Batches that are added later belong to the measurement that was begun last."""
    replay, generator = filled(steps=2, each=5, shift=0.0)
    assert torch.allclose(
        replay.signal,
        tempered(torch.arange(5.0).repeat(2)[:, None] * torch.tensor([1.0, 10]).repeat_interleave(5)[:, None]),
    )
    first = torch.tensor([3.0, 1, 4, 1, 5, 9, 2, 6, 5, 3])[:, None]
    replay.add_signals(first)
    new, later = generator.sample(5, seed_sequence(1, "new")), torch.tensor([20.0, 30, 10, 40, 0])[:, None]
    replay.add(new, drawn(new), generator, later)
    assert torch.allclose(replay.signal[10:], tempered(torch.cat([first, later]))[10:])
    again = SceneReplay(replay.capacity, numbered)
    again.load_state_dict(replay.state_dict())
    for each in (replay, again):
        each.add(new, drawn(new), generator, 2 * later)
    assert torch.equal(again.signal, replay.signal)


def test_batches_count_by_how_far_their_mean_signals_are_to_be_trusted() -> None:
    """Signals of two measurements correlate by 1/5; the second batch has one signal a scene only."""
    generator, replay = ParametricGenerator(table()), SceneReplay(100_000, numbered)
    random, each = np.random.default_rng(0), 3000
    truth = random.standard_normal(each)
    looks = [torch.from_numpy(0.5 * truth + random.standard_normal(each))[:, None] for _ in range(4)]
    samples = generator.sample(each, seed_sequence(0, "trusted"))
    replay.add(samples, drawn(samples), generator)
    assert replay.reliability.tolist() == [1.0]
    for look in looks:
        replay.add_signals(look)
    new = generator.sample(each, seed_sequence(1, "trusted"))
    replay.add(new, drawn(new), generator, looks[3])
    # Rooted signals correlate a little less than 1/5.
    often, once = replay.reliability.tolist()
    assert once == 1.0 and often == pytest.approx(4 / (1 + 3 * 0.19), rel=0.05)
    weights = replay.weights(generator)
    assert float(weights.sum()) == pytest.approx(1)
    assert float(weights[0] / weights[-1]) == pytest.approx(often / once)


def rooted(signal: Tensor) -> Tensor:
    """The root of the distance from the median, with its sign, standardised; for one column."""
    distance = signal - signal.flatten().sort().values[(len(signal) - 1) // 2]
    root = distance / distance.abs().sqrt().clamp(min=1e-12)
    return (root - root.mean()) / root.std(correction=0)


def test_further_looks_are_averaged_with_the_first() -> None:
    replay, generator = filled(steps=2, each=5, shift=0.0)
    before, latest = replay.signal.clone(), torch.tensor([3.0, 1, 4, 1, 5, 9, 2, 6, 5, 3])[:, None]
    replay.add_signals(latest)
    once = rooted(latest)
    assert torch.allclose(replay.signal, (before + once) / 2)
    new = generator.sample(5, seed_sequence(1, "new"))
    replay.add(new, drawn(new), generator)
    assert torch.equal(replay.signal[10:], torch.zeros(5, 1).double())
    third = torch.arange(15.0)[:, None]
    replay.add_signals(third)
    last = rooted(third)
    assert torch.allclose(replay.signal[:10], (before + once + last[:10]) / 3)
    assert torch.allclose(replay.signal[10:], last[10:].double())


def test_tempered_signals_keep_order_and_side_but_not_their_tails() -> None:
    signal = torch.tensor([[-3.0], [-1.0], [0.0], [2.0], [1000.0]])
    found = tempered(signal)[:, 0]
    assert bool((found.diff() > 0).all())
    assert float(found.mean()) == pytest.approx(0, abs=1e-12) and float(found.std(correction=0)) == pytest.approx(1)
    assert float(signal[4] - signal[3]) / float(signal[3] - signal[0]) > 150
    assert float(found[4] - found[3]) / float(found[3] - found[0]) < 12


def test_frames_are_drawn_half_by_weight() -> None:
    replay, _ = filled(steps=2, each=5, shift=0.0)
    weights = torch.zeros(10, dtype=torch.float64)
    weights[3] = 1.0
    often = replay.draw(4000, weights, seed_sequence(0, "draw")).images[:, 0, 0, 0]
    shares = np.bincount(often, minlength=10) / 4000
    assert shares[3] == pytest.approx(0.55, abs=0.04)
    assert np.delete(shares, 3) == pytest.approx(np.full(9, 0.05), abs=0.02)
    once = replay.draw(40, weights, seed_sequence(1, "draw"), replace=False).images[:, 0, 0, 0]
    assert sorted(once.tolist()) == list(range(10))


def test_state_is_taken_up_again() -> None:
    replay, generator = filled(steps=3, each=4, shift=0.02)
    state = replay.state_dict()
    assert not [value for entry in state for value in entry.values() if getattr(value, "dtype", None) == torch.uint8]
    other = SceneReplay(replay.capacity, numbered)
    other.load_state_dict(state)
    assert np.array_equal(other.frames.images, replay.frames.images)
    assert other.samples.scenes == replay.samples.scenes
    assert torch.equal(other.weights(generator), replay.weights(generator))
    assert torch.equal(other.signal, replay.signal)


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=30), st.integers(0, 1000))
def test_ranks_keep_the_order_and_have_mean_zero(values: list[int], seed: int) -> None:
    signal = torch.tensor(values, dtype=torch.float64)
    weights = torch.softmax(torch.randn(len(values), generator=torch.Generator().manual_seed(seed)).double(), dim=0)
    scores = ranked(signal, weights)
    assert abs(float(weights @ scores)) < 1e-9
    order = signal.argsort(stable=True)
    assert bool((scores[order].diff() >= 0).all())
    assert torch.equal(scores, ranked(3 * signal + 2, weights))


def test_what_the_immutable_part_explains_is_taken_away() -> None:
    generator = ParametricGenerator(digits())
    samples = generator.sample(300, seed_sequence(0, "digits"))
    weights = torch.full((300,), 1 / 300, dtype=torch.float64)
    parts = immutable_features(generator.schema, samples.scenes)
    random = np.random.default_rng(0)
    noise = torch.from_numpy(random.standard_normal(300))
    signal = torch.from_numpy(parts @ random.standard_normal(parts.shape[1])) * 5 + noise
    left = unexplained(signal, torch.from_numpy(parts), weights)
    assert float(signal.var()) > 10
    assert float(left.var()) < 1.3
    assert np.corrcoef(left.numpy(), noise.numpy())[0, 1] > 0.9


def test_the_benefit_of_a_frame_is_judged_among_those_that_are_as_hard() -> None:
    """The influence is mostly difficulty, and difficulty is mostly darkness; what is left points the other way."""
    generator, replay = ParametricGenerator(table()), SceneReplay(10_000, numbered, columns=2)
    samples = generator.sample(600, seed_sequence(0, "benefit"))
    light = torch.tensor([next(iter(scene.find("ambient")))["intensity"] for scene in samples.scenes]).double()
    light = (light - light.mean()) / light.std()
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 600)))
    loss = (-light + noise[0]).exp()
    influence = 0.5 * light + 2 * (-light + noise[0]) + 0.5 * noise[1]
    replay.add(samples, drawn(samples), generator, torch.stack([influence, loss], dim=1))
    weights = replay.weights(generator)
    found = benefit(replay, generator.schema, weights)
    assert np.corrcoef(influence.numpy(), light.numpy())[0, 1] < -0.4
    assert np.corrcoef(found.numpy(), light.numpy())[0, 1] > 0.15
    assert 0.05 < float(weights @ found.square()) < 0.6


def test_a_signal_that_the_loss_explains_moves_nothing() -> None:
    """As that of a direction that is blind to the validation frames."""
    generator, replay = ParametricGenerator(table()), SceneReplay(10_000, numbered, columns=2)
    samples = generator.sample(600, seed_sequence(0, "explained"))
    loss = torch.from_numpy(np.random.default_rng(0).standard_normal(600)).exp()
    replay.add(samples, drawn(samples), generator, torch.stack([-3 * loss, loss], dim=1))
    weights = replay.weights(generator)
    assert float(weights @ benefit(replay, generator.schema, weights).square()) < 0.05


def test_the_baseline_leaves_the_gradient_and_takes_variance() -> None:
    """The signal is one mutable value plus a large function of what is immutable."""
    generator = ParametricGenerator(digits())
    plain: list[Tensor] = []
    with_baseline: list[Tensor] = []
    random = np.random.default_rng(1)
    weigh = 5 * random.standard_normal(1000)
    for draw in range(60):
        samples = generator.sample(150, seed_sequence(draw, "baseline"))
        parts = immutable_features(generator.schema, samples.scenes)
        weights = torch.full((150,), 1 / 150, dtype=torch.float64)
        owner = generator.log_prob(samples, "continuous").detach()
        signal = torch.from_numpy(parts @ weigh[: parts.shape[1]]) + owner
        for found, used in (
            (plain, signal - signal.mean()),
            (with_baseline, unexplained(signal, torch.from_numpy(parts), weights)),
        ):
            loss = generator.score_function_loss(samples, used, "continuous")
            (gradient,) = torch.autograd.grad(loss, [generator.means])
            found.append(gradient)
    plain_draws, baseline_draws = torch.stack(plain), torch.stack(with_baseline)
    assert bool((baseline_draws.var(0) < 0.5 * plain_draws.var(0)).all())
    spread = (plain_draws.var(0) / 60 + baseline_draws.var(0) / 60).sqrt()
    assert bool(((plain_draws.mean(0) - baseline_draws.mean(0)).abs() < 4.5 * spread).all())
