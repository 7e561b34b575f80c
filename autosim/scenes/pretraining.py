"""Pre-training of the distribution transformer: an autoencoder of grammar samples, until the prior is reproduced."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autosim.ranges import Checked, Range
from autosim.scenes.grammar import child_seed
from autosim.scenes.transformer import DistributionTransformer, GraphBatch, sample_values

CONTINUOUS_WEIGHT = 10.0
"""Weight of absolute errors (fractions of the range) relative to cross-entropies (nats)."""

DECAY_STEPS = 200
"""Steps after which the learning rate is half its first value; after twice as many it is a third."""


@dataclass(frozen=True)
class PretrainSettings(Checked):
    """``max_steps`` of Adam on batches of ``batch_size`` scenes out of ``scenes`` grammar samples; each ``check_every``
    steps the prior is compared on ``check_scenes`` fresh ones.

    An attribute passes where its mean is within ``mean_tolerance`` of the range, the ratio of standard deviations
    within ``1 ± spread_tolerance``, and every choice's probability within ``choice_tolerance``. Raises ``ValueError``
    where one is not above 0.
    """

    max_steps: Annotated[int, Range(least=1)] = 3000
    batch_size: Annotated[int, Range(least=1)] = 64
    scenes: Annotated[int, Range(least=1)] = 2048
    learning_rate: Annotated[float, Range(above=0)] = 6e-3
    check_every: Annotated[int, Range(least=1)] = 100
    check_scenes: Annotated[int, Range(least=1)] = 512
    mean_tolerance: Annotated[float, Range(above=0)] = 0.01
    spread_tolerance: Annotated[float, Range(above=0)] = 0.1
    choice_tolerance: Annotated[float, Range(above=0)] = 0.03


@dataclass(frozen=True)
class AttributeCheck:
    """Output against prior for one attribute. ``mean_error``: of the range, or of the probability furthest off;
    ``spread_ratio``: of standard deviations, 1 for categorical attributes; ``excess``: at most 1 where it passes.
    """

    mean_error: float
    spread_ratio: float
    excess: float


@dataclass(frozen=True)
class PretrainReport:
    """How pre-training ended; ``worst`` is the key of the attribute with the largest excess ("" without attributes)."""

    converged: bool
    steps: int
    loss: float
    worst: str
    checks: Mapping[str, AttributeCheck]


def pretrain(
    generator: DistributionTransformer, seed: np.random.SeedSequence, settings: PretrainSettings | None = None
) -> PretrainReport:
    """Autoencode grammar samples (Meta-Sim §3.3: cross-entropy, L1; along the circle for periodic attributes) until
    mean and spread of every mutable attribute are those of the prior, checked on fresh samples.

    The check adds the generator's own noise to the prior too. A generator that passes at once is left as it is. Runs on
    one thread: on graphs this small, more threads are several times slower.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _pretrain(generator, seed, settings or PretrainSettings())
    finally:
        torch.set_num_threads(threads)


def _pretrain(
    generator: DistributionTransformer, seed: np.random.SeedSequence, settings: PretrainSettings
) -> PretrainReport:
    scenes = generator.grammar.sample_many(settings.scenes, child_seed(seed, 0))
    size = settings.batch_size
    batches = [generator.batch(scenes[i : i + size]) for i in range(0, len(scenes), size)]
    rng = np.random.default_rng(child_seed(seed, 1))
    optimiser = torch.optim.Adam(generator.network.parameters(), lr=settings.learning_rate)
    checks = check_prior(generator, child_seed(child_seed(seed, 2), 0), settings)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 / (1 + step / DECAY_STEPS))
    loss, step, order = math.nan, 0, np.zeros(0, dtype=np.int64)
    while step < settings.max_steps and not _passed(checks):
        if not len(order):
            order = rng.permutation(len(batches))
        batch, order = batches[order[0]], order[1:]
        optimiser.zero_grad(set_to_none=True)
        total = reconstruction_loss(generator, batch)
        total.backward()
        optimiser.step()
        schedule.step()
        loss, step = float(total.detach()), step + 1
        if step % settings.check_every == 0 or step == settings.max_steps:
            checks = check_prior(generator, child_seed(child_seed(seed, 2), step), settings)
    optimiser.zero_grad(set_to_none=True)
    worst = max(checks, key=lambda key: checks[key].excess, default="")
    return PretrainReport(_passed(checks), step, loss, worst, checks)


def reconstruction_loss(generator: DistributionTransformer, batch: GraphBatch) -> Tensor:
    """Mean cross-entropy of the choices plus ``CONTINUOUS_WEIGHT`` times the mean absolute error of the means."""
    predicted = generator.predict(batch)
    loss = torch.zeros((), dtype=predicted.means.dtype, device=predicted.means.device)
    if len(predicted.means):
        error = predicted.means - batch.values.to(predicted.means.dtype)
        error = torch.where(predicted.periodic, error - error.detach().round(), error)
        loss = loss + CONTINUOUS_WEIGHT * error.abs().mean()
    for rows, choice in predicted.choices:
        target = generator.smoothed(batch.indices[rows], choice.logits.shape[-1])
        loss = loss + nn.functional.cross_entropy(choice.logits, target) * len(rows) / len(batch.indices)
    return loss


@torch.no_grad()
def check_prior(
    generator: DistributionTransformer, seed: np.random.SeedSequence, settings: PretrainSettings | None = None
) -> dict[str, AttributeCheck]:
    """Compare the generator's output with the prior on fresh grammar samples, by ``schema.key``.

    Both sides get the same draw of the generator's noise, so that the comparison has almost no sampling error. Keys
    that no sample has are left out.
    """
    settings = settings or PretrainSettings()
    batch = generator.batch(generator.grammar.sample_many(settings.check_scenes, child_seed(seed, 0)))
    predicted = generator.predict(batch)
    noise = torch.from_numpy(np.random.default_rng(child_seed(seed, 1)).standard_normal(len(predicted.means)))
    noise = noise.to(predicted.means)
    output = sample_values(predicted, noise).double().cpu().numpy()
    prior = replace(predicted, means=batch.values.to(predicted.means.dtype))
    expected = sample_values(prior, noise).double().cpu().numpy()
    checks = {}
    for i, keyed in enumerate(generator.keyed.continuous):
        rows = (batch.real_key == i).cpu().numpy()
        if rows.any():
            periodic = bool(predicted.periodic.cpu().numpy()[rows][0])
            checks[keyed.key] = _continuous_check(output[rows], expected[rows], periodic, settings)
    for positions, choice in predicted.choices:
        for i in torch.unique(batch.choice_key[positions]).tolist():
            own = batch.choice_key[positions] == i
            probabilities = choice.probabilities[own].mean(dim=0)
            frequencies = nn.functional.one_hot(batch.indices[positions][own], len(probabilities)).double().mean(dim=0)
            error = float((probabilities - frequencies).abs().max())
            checks[generator.keyed.categorical[i].key] = AttributeCheck(error, 1.0, error / settings.choice_tolerance)
    return {k.key: checks[k.key] for k in generator.grammar.attributes() if k.key in checks}


def _passed(checks: Mapping[str, AttributeCheck]) -> bool:
    return all(check.excess <= 1 for check in checks.values())


def _continuous_check(
    output: NDArray[np.float64], expected: NDArray[np.float64], periodic: bool, settings: PretrainSettings
) -> AttributeCheck:
    if periodic:
        found, wanted = (np.exp(2j * np.pi * x).mean() for x in (output, expected))
        # A uniform prior has no mean direction; the distance of the mean points in the disc is always defined.
        error = float(abs(found - wanted)) / (2 * np.pi)
        ratio = _circular_std(found) / _circular_std(wanted) if abs(wanted) > 0.2 else 1.0
    else:
        error, ratio = float(abs(output.mean() - expected.mean())), float(output.std() / expected.std())
    excess = max(error / settings.mean_tolerance, abs(ratio - 1) / settings.spread_tolerance)
    return AttributeCheck(error, ratio, excess)


def _circular_std(resultant: complex) -> float:
    return math.sqrt(-2 * math.log(min(max(abs(resultant), 1e-12), 1 - 1e-12))) / (2 * math.pi)
