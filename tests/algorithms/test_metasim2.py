"""Meta-Sim2 as a whole, on a few squares: structure moves to the target's, and the prior's is where it starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from algorithms.metasim2 import MetaSim2, MetaSim2Config
from autosim.algorithm import Algorithm
from autosim.env import Env
from autosim.errors import UserError
from autosim.learning import imitation
from autosim.rendering.pool import LocalPool
from autosim.seeding import seed_sequence
from autosim.session import Session
from autosim.testing import AlgorithmSuite
from tests.support.helpers import blob_session
from tests.support.squares import MORE, SquaresConfig, SquaresEnv

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = MetaSim2Config(iterations=4, batch_size=8, pretraining=64, feature_frames=60, score_every=2, memory=32)


IMITATE = imitation.imitate


@pytest.fixture(scope="module", autouse=True)
def short_imitation() -> Iterator[None]:
    """Most tests do not look at how well the prior is imitated."""
    short = partial(IMITATE, settings=imitation.ImitationSettings(steps=20))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imitation, "imitate", short)
        yield


def session(seed: int = 0) -> Session:
    env = SquaresEnv(SquaresConfig())
    return Session(env, LocalPool(env.renderer()), seed=seed, workers=0)


class TestMetaSim2(AlgorithmSuite):
    def env(self) -> Env:
        return SquaresEnv(SquaresConfig())

    def algorithm(self, session: Session) -> Algorithm:
        return MetaSim2(session, QUICK)


def counts(algorithm: MetaSim2, number: int = 2000) -> list[float]:
    """Shares of scenes with 0 to 3 squares."""
    strings = algorithm.policy.sample_strings(number, seed_sequence(3, "counts")).rules
    found = Counter(string.count(MORE) for string in strings)
    return [found[i] / number for i in range(4)]


@pytest.mark.parametrize(
    "reward", ["density", pytest.param("joint", marks=pytest.mark.slow), pytest.param("mmd", marks=pytest.mark.slow)]
)
def test_the_number_of_things_becomes_the_targets(monkeypatch: pytest.MonkeyPatch, reward: Any) -> None:
    """0 to 3 squares, all numbers alike; the target has 2 most of the time."""
    # Half the steps are enough for this grammar.
    monkeypatch.setattr(imitation, "imitate", partial(IMITATE, settings=imitation.ImitationSettings(steps=300)))
    config = replace(
        QUICK, iterations=30, batch_size=32, pretraining=150, feature_frames=150, learning_rate=1e-2, reward=reward,
        memory=200, score_every=1000, bandwidth=0.3,
    )  # fmt: skip
    algorithm = MetaSim2(session(), config)
    before = counts(algorithm)
    assert before == pytest.approx([0.25] * 4, abs=0.08)
    for iteration in range(config.iterations):
        algorithm.step(iteration)
    after = counts(algorithm)
    assert after[2] > before[2] + 0.25, after


def test_too_long_strings_cost_what_they_should() -> None:
    """With a longest of the prior's own, a policy that was widened rejects now and then."""
    algorithm = MetaSim2(session(), replace(QUICK, longest=5, batch_size=64, patience=0))
    with torch.no_grad():
        algorithm.policy.output.weight.zero_()
        algorithm.policy.output.bias.zero_()
    metrics = algorithm.step(0)
    assert metrics["rejected"] is not None and 0 < metrics["rejected"] <= 1


def test_it_says_why_where_there_is_no_structure_to_learn() -> None:
    with pytest.raises(UserError, match="one and the same") as caught:
        MetaSim2(blob_session(), QUICK)
    assert "\n" not in str(caught.value)


def test_a_longest_below_the_prior_s_is_refused() -> None:
    with pytest.raises(UserError, match="longest"):
        MetaSim2(session(), replace(QUICK, longest=3))


@pytest.mark.parametrize(
    ("option", "value"),
    [("iterations", 0), ("batch_size", 3), ("bandwidth", 0.0), ("baseline_decay", 1.0), ("penalty", -1.0)],
)
def test_options_are_checked(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=option):
        replace(QUICK, **{option: value})


def test_parameters_come_from_a_run_of_meta_sim_or_a_line_says_why_not(tmp_path: Any) -> None:
    with pytest.raises(UserError, match="no such file"):
        MetaSim2(session(), replace(QUICK, parameters=str(tmp_path)))
    (tmp_path / "checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(UserError, match="not of a metasim run"):
        MetaSim2(session(), replace(QUICK, parameters=str(tmp_path)))


def test_lengths_are_part_of_the_context() -> None:
    with pytest.raises(ValueError, match=r"^lengths: without context the policy sees nothing"):
        MetaSim2Config(lengths=True, context=False)
    policy = MetaSim2(session(), replace(QUICK, lengths=True)).policy
    assert policy.lengths and policy.repeated.weight.requires_grad
