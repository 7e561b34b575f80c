"""Strings that are used again count as often as they would be drawn now."""

from __future__ import annotations

import math

import pytest
import torch

from autosim.learning.replay.strings import LEAST_OFTEN, MOST_OFTEN, StringReplay


def filled(memory: int = 10) -> StringReplay:
    replay = StringReplay(memory)
    log_probs = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64).log()
    replay.add([(0, 1), (0, 2), (2,)], torch.arange(6.0).view(3, 2), torch.zeros(3).double(), log_probs)
    return replay


def test_weights_are_what_has_become_of_the_probabilities() -> None:
    weights = filled().weights(torch.tensor([0.25, 0.25, 0.5], dtype=torch.float64).log())
    assert weights.tolist() == pytest.approx([0.5 / 3.5, 1 / 3.5, 2 / 3.5])


def test_means_under_weights_are_those_of_the_present_distribution() -> None:
    generator = torch.Generator().manual_seed(0)
    before, now = (torch.tensor(p, dtype=torch.float64) for p in ([0.6, 0.3, 0.1], [0.3, 0.3, 0.4]))
    drawn = torch.multinomial(before, 20_000, replacement=True, generator=generator)
    replay = StringReplay(20_000)
    features = torch.nn.functional.one_hot(drawn, 3).double()
    replay.add([(int(i),) for i in drawn], features, torch.zeros(len(drawn)).double(), before.log()[drawn])
    found = replay.weights(now.log()[drawn]) @ replay.features
    assert found.tolist() == pytest.approx(now.tolist(), abs=0.02)


def test_no_string_counts_without_bounds() -> None:
    replay = filled()
    now = replay.log_probs + torch.tensor([100.0, 0.0, -100.0], dtype=torch.float64)
    weights = replay.weights(now)
    assert weights.sum().item() == pytest.approx(1.0)
    assert (weights[0] / weights[1]).item() == pytest.approx(MOST_OFTEN)
    assert (weights[2] / weights[1]).item() == pytest.approx(LEAST_OFTEN)


def test_only_the_last_are_held() -> None:
    replay = filled(memory=4)
    new = torch.full((3,), math.log(0.1), dtype=torch.float64)
    replay.add([(3,), (4,), (5,)], torch.ones(3, 2), torch.ones(3).double(), new)
    assert replay.rules == [(2,), (3,), (4,), (5,)]
    assert replay.features.tolist() == [[4.0, 5.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    assert replay.penalties.tolist() == [0, 1, 1, 1] and len(replay.log_probs) == 4


def test_the_state_is_taken_up() -> None:
    first, second = filled(), StringReplay(10)
    second.load_state_dict(first.state_dict())
    now = torch.zeros(3, dtype=torch.float64)
    assert second.rules == first.rules and torch.equal(second.weights(now), first.weights(now))
    assert torch.equal(second.features, first.features)
