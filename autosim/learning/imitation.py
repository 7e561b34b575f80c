"""Pre-training of the grammar policy: maximum likelihood on strings of the prior (Meta-Sim2 §3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from autosim.errors import UserError
from autosim.learning.schedule import half_cosine
from autosim.scenes.grammar import Grammar
from autosim.scenes.policy import GrammarPolicy


@dataclass(frozen=True)
class ImitationSettings:
    """``steps`` of Adam on ``batch_size`` strings each; the rate falls from ``learning_rate`` to a hundredth on half a
    cosine.
    """

    steps: int = 600
    batch_size: int = 64
    learning_rate: float = 5e-3


def prior_strings(
    grammar: Grammar, count: int, longest: int, seed: np.random.SeedSequence
) -> tuple[list[tuple[int, ...]], int]:
    """``count`` strings of rules of a grammar's scenes, and the most rules that a policy's strings may have:
    ``longest``, or 1.5 times those of the longest string where that is 0.

    ``UserError`` where all strings are the same, so that there is nothing to learn, or ``longest`` is too short.
    """
    strings = [scene.derivation or () for scene in grammar.sample_many(count, seed)]
    if len(set(strings)) == 1:
        raise UserError("there is no structure to learn: all scenes of this environment have one and the same")
    most = max(len(string) for string in strings)
    if longest and longest < most:
        raise UserError(f"longest: {longest} is below the prior's longest derivation, {most} rules")
    return strings, longest or round(1.5 * most)


def imitate(
    policy: GrammarPolicy,
    strings: Sequence[Sequence[int]],
    seed: np.random.SeedSequence,
    settings: ImitationSettings | None = None,
) -> float:
    """Raise the likelihood of ``strings`` under the policy; returns the mean log-likelihood of the last tenth's
    batches, in nats.

    Raises ``ValueError`` where a string is longer than the policy's longest, or there is none.
    """
    settings = settings or ImitationSettings()
    longest = max((len(string) for string in strings), default=0)
    if not 0 < longest <= policy.longest:
        raise ValueError(f"imitation: {len(strings)} strings of up to {longest} rules; the most are {policy.longest}")
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.Adam(policy.parameters(), lr=settings.learning_rate)
    likelihoods = []
    for step in range(settings.steps):
        optimiser.param_groups[0]["lr"] = settings.learning_rate * half_cosine(step / settings.steps, 0.01)
        chosen = rng.integers(len(strings), size=settings.batch_size)
        likelihood = policy.log_prob_of([strings[i] for i in chosen]).mean()
        optimiser.zero_grad(set_to_none=True)
        (-likelihood).backward()
        optimiser.step()
        likelihoods.append(float(likelihood.detach()))
    optimiser.zero_grad(set_to_none=True)
    return float(np.mean(likelihoods[-max(1, settings.steps // 10) :]))
