"""The discriminator: it learns, its penalty keeps it smooth, and it takes up a state."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from autosim.learning.critic import Critic

pytestmark = pytest.mark.usefixtures("one_thread")


def grey(level: float, count: int, seed: int, edge: int = 16) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(level, 20, (count, edge, edge, 3))
    return np.clip(noise, 0, 255).astype(np.uint8)


def critic(penalty: float = 1.0, target: NDArray[np.uint8] | None = None) -> Critic:
    return Critic(grey(160, 20, 0) if target is None else target, 4, 3e-3, penalty, seed=1)


def test_it_learns_what_the_target_looks_like() -> None:
    learned = critic()
    loss = learned.train(grey(90, 20, 1), 40, np.random.SeedSequence(0))
    assert loss < 1.0 < math.log(4)
    assert float(learned.logits(grey(160, 8, 2)).mean()) > float(learned.logits(grey(90, 8, 3)).mean()) + 0.5


def test_the_penalty_bounds_the_slope_of_the_logit() -> None:
    slopes = []
    for penalty in (0.0, 100.0):
        learned = critic(penalty)
        learned.train(grey(90, 20, 1), 40, np.random.SeedSequence(0))
        images = learned.target.clone().requires_grad_()
        (slope,) = torch.autograd.grad(learned.network(images).sum(), images)
        slopes.append(float(slope.square().sum(dim=(1, 2, 3)).mean()))
    assert slopes[1] < 0.2 * slopes[0]


def test_a_state_goes_on_as_if_never_stopped() -> None:
    first, second = critic(), critic()
    first.train(grey(90, 20, 1), 3, np.random.SeedSequence(0))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for one in (first, second):
        one.train(grey(90, 20, 2), 3, np.random.SeedSequence(1))
    images = grey(120, 4, 5)
    assert torch.equal(first.logits(images), second.logits(images))


def test_pictures_of_any_shape_are_taken() -> None:
    wide = np.random.default_rng(0).integers(0, 255, (3, 40, 130, 3)).astype(np.uint8)
    learned = critic(target=wide)
    assert learned.target.shape == (3, 3, 20, 64) and learned.logits(wide).shape == (3,)
