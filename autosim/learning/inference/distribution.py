"""The distribution of scenes behind a set of pictures, by what was read off each.

Readings are of single pictures and not exact: the spread of readings is that of the scenes and of the reader's noise
together, and frequent choices are over-represented among guesses. Both are taken out again. Which of several equal
nodes is which a picture does not show: slots are mixture components, found by expectation-maximisation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from autosim.learning.inference.attributes import ReadClass
from autosim.learning.inference.reader import Calibration, Readings, tempered
from autosim.scenes.generator import AttributeSummary, CategoricalSummary, ContinuousSummary
from autosim.scenes.graph import Continuous

# An attribute of which less is explained keeps its start: mixtures fitted to guesses run to an extreme.
EXPLAINED = 0.1
# Smallest standard deviation, as a share of the range.
LEAST_STD = 0.005
# Weight of detections that belong to no slot.
OUTLIERS = 0.05
RESTARTS, STEPS = 12, 60
# Added to how often each choice is made: few pictures do not show that one is never made.
PSEUDO_COUNT = 0.5
# Most slots of a class whose assignments are all summed.
MOST_SLOTS = 5


@dataclass
class Slots:
    """Mixture components: means and standard deviations (S, C) in units of the range, probabilities (S, K) of each
    choice.
    """

    means: NDArray[np.float64]
    stds: NDArray[np.float64]
    choices: list[NDArray[np.float64]]
    fit: float = -np.inf


def inferred(
    read: ReadClass,
    found: Readings,
    calibration: Calibration,
    start: Mapping[str, AttributeSummary],
    keys: Sequence[str],
    seed: np.random.SeedSequence,
) -> dict[str, AttributeSummary]:
    """Means, spreads and probabilities by ``key.attribute``, for a class whose slots are ``keys``: "class" of a single
    node, "class.0", "class.1", … of several. Attributes that are hardly explained are left out.
    """
    values, noise = corrected(found, calibration)
    seen = [calibration.explained[key] >= EXPLAINED for key in read.attribute_keys()]
    shown = np.array(seen[: len(read.continuous)], dtype=bool)
    options = np.array(seen[len(read.continuous) :], dtype=bool)
    if not shown.any() and not options.any():
        return {}
    likelihoods = [
        tempered(probability, temperature) / frequency
        for probability, frequency, temperature in zip(
            found.choices, calibration.frequencies, calibration.temperatures, strict=True
        )
    ]
    begin = _begin(read, start, keys)
    best = begin
    generator = np.random.default_rng(seed)
    restarts = RESTARTS if len(keys) > 1 else 1
    for restart in range(restarts):
        slots = _restarted(begin, found, values, generator) if len(keys) > 1 and restart else begin
        fitted = _fitted(read, slots, found.present, values, noise, likelihoods, shown, options)
        if fitted.fit > best.fit:
            best = fitted
    return _summaries(read, best, keys, shown, options)


def aligned(
    estimate: Mapping[str, AttributeSummary],
    known: Mapping[str, AttributeSummary],
    read: ReadClass,
    keys: Sequence[str],
) -> dict[str, AttributeSummary]:
    """The estimate with its slots in the order of the known ones: those that are nearest to each other together."""
    from scipy.optimize import linear_sum_assignment

    cost = np.zeros((len(keys), len(keys)))
    for row, own in enumerate(keys):
        for column, other in enumerate(keys):
            for each in read.continuous:
                a, b = known.get(f"{own}.{each.name}"), estimate.get(f"{other}.{each.name}")
                if isinstance(a, ContinuousSummary) and isinstance(b, ContinuousSummary):
                    cost[row, column] += (each.difference(a.mean, b.mean) / (each.high - each.low)) ** 2
    rows, columns = linear_sum_assignment(cost)
    names = [each.name for each in read.continuous] + [each.name for each in read.categorical]
    return {
        f"{keys[row]}.{name}": estimate[f"{keys[column]}.{name}"]
        for row, column in zip(rows, columns, strict=True)
        for name in names
        if f"{keys[column]}.{name}" in estimate
    }


def corrected(found: Readings, calibration: Calibration) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(values, standard deviations of their errors), both (n, most, C): readings as they would be without the pull to
    the middle of a network that is not sure.
    """
    values = (found.means - calibration.offset) / calibration.slope
    usual = calibration.noise / calibration.slope
    # A reading that the network is less sure of than usual counts less.
    typical = np.median(found.sigmas[found.present], axis=0) if found.present.any() else 1.0
    factor = np.clip(found.sigmas / np.maximum(typical, 1e-6), 0.5, 4.0)
    return values, usual * factor


def _fitted(
    read: ReadClass,
    slots: Slots,
    present: NDArray[np.bool_],
    values: NDArray[np.float64],
    noise: NDArray[np.float64],
    likelihoods: list[NDArray[np.float64]],
    shown: NDArray[np.bool_],
    options: NDArray[np.bool_],
) -> Slots:
    """Expectation-maximisation from ``slots``."""
    periodic = read.periodic.numpy()
    means, stds, choices = slots.means.copy(), slots.stds.copy(), [each.copy() for each in slots.choices]
    fit = -np.inf
    for _ in range(STEPS):
        gap = values[:, :, None] - means  # (n, detections, slots, C)
        gap = np.where(periodic, (gap + 0.5) % 1.0 - 0.5, gap)
        variance = stds**2 + noise[:, :, None] ** 2
        density = -0.5 * (gap**2 / variance + np.log(2 * np.pi * variance))
        scores = density[..., shown].sum(axis=3)
        for place in np.flatnonzero(options):
            mixed = np.einsum("ndk,sk->nds", likelihoods[place], choices[place])
            scores = scores + np.log(np.maximum(mixed, 1e-12))
        belongs, fit = _assignments(scores, present)
        weight = belongs.sum(axis=(0, 1)) + 1e-9
        # What a node's value is given its reading and its slot.
        gain = stds**2 / variance
        shift = gain * gap
        left = gain * noise[:, :, None] ** 2
        step = np.einsum("nds,ndsc->sc", belongs, shift) / weight[:, None]
        spread = np.einsum("nds,ndsc->sc", belongs, (shift - step) ** 2 + left) / weight[:, None]
        means = means + np.where(shown, step, 0.0)
        means = np.where(periodic, means % 1.0, np.clip(means, 0.0, 1.0))
        stds = np.where(shown, np.sqrt(np.maximum(spread, LEAST_STD**2)), stds)
        for place in np.flatnonzero(options):
            posterior = choices[place] * likelihoods[place][:, :, None]
            posterior = posterior / np.maximum(posterior.sum(axis=3, keepdims=True), 1e-12)
            counts = np.einsum("nds,ndsk->sk", belongs, posterior) + PSEUDO_COUNT
            choices[place] = counts / counts.sum(axis=1, keepdims=True)
    return Slots(means, stds, choices, fit)


def _assignments(scores: NDArray[np.float64], present: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """(n, detections, slots) how likely each detection is each slot's, no two of one picture being one slot's, and the
    log-likelihood of it all; ``scores`` (n, detections, slots) are log-densities.
    """
    slots = scores.shape[2]
    belongs = np.zeros_like(scores)
    fit = 0.0
    for pattern in np.unique(present, axis=0):
        rows = np.flatnonzero((present == pattern).all(axis=1))
        places = np.flatnonzero(pattern)
        if not len(places):
            continue
        # Each detection has a slot, or is nobody's.
        inside = np.logaddexp(scores[np.ix_(rows, places)] + np.log(1 - OUTLIERS), np.log(OUTLIERS))
        own = np.exp(scores[np.ix_(rows, places)] + np.log(1 - OUTLIERS) - inside)
        ways = list(permutations(range(slots), min(len(places), slots)))
        chosen = places[: len(ways[0])]
        totals = np.stack([sum(inside[:, i, slot] for i, slot in enumerate(way)) for way in ways], axis=1)
        whole = np.logaddexp.reduce(totals, axis=1)
        fit += float((whole - np.log(len(ways))).sum())
        shares = np.exp(totals - whole[:, None])
        for number, way in enumerate(ways):
            for i, slot in enumerate(way):
                belongs[rows, chosen[i], slot] += shares[:, number] * own[:, i, slot]
    return belongs, fit


def _begin(read: ReadClass, start: Mapping[str, AttributeSummary], keys: Sequence[str]) -> Slots:
    """The start's own parameters, spread out enough for readings to reach them."""
    means, stds = np.full((len(keys), len(read.continuous)), 0.5), np.full((len(keys), len(read.continuous)), 0.3)
    choices = [np.full((len(keys), size), 1.0 / size) for size in read.sizes]
    for slot, key in enumerate(keys):
        for place, each in enumerate(read.continuous):
            known = start.get(f"{key}.{each.name}")
            if isinstance(known, ContinuousSummary):
                means[slot, place] = np.clip((known.mean - each.low) / (each.high - each.low), 0.0, 1.0)
    return Slots(means, stds, choices)


def _restarted(begin: Slots, found: Readings, values: NDArray[np.float64], generator: np.random.Generator) -> Slots:
    """From the nodes of a picture that shows as many as any, or of several pictures where none shows enough."""
    count = len(begin.means)
    numbers = found.present.sum(axis=1)
    if not numbers.max(initial=0):
        return begin
    full = np.flatnonzero(numbers == numbers.max())
    row = int(generator.choice(full))
    picked = [values[row, place] for place in np.flatnonzero(found.present[row])][:count]
    while len(picked) < count:
        row = int(generator.choice(np.flatnonzero(numbers)))
        picked.append(values[row, int(generator.choice(np.flatnonzero(found.present[row])))])
    means = np.clip(np.stack(picked), 0.0, 1.0)
    return Slots(means, np.full_like(begin.stds, 0.1), begin.choices)


def _summaries(
    read: ReadClass, slots: Slots, keys: Sequence[str], shown: NDArray[np.bool_], options: NDArray[np.bool_]
) -> dict[str, AttributeSummary]:
    result: dict[str, AttributeSummary] = {}
    for slot, key in enumerate(keys):
        for place in np.flatnonzero(shown):
            each: Continuous = read.continuous[place]
            mean = each.denormalise(float(slots.means[slot, place]))
            result[f"{key}.{each.name}"] = ContinuousSummary(
                mean, float(slots.stds[slot, place]) * (each.high - each.low)
            )
        for place in np.flatnonzero(options):
            chances = slots.choices[place][slot]
            result[f"{key}.{read.categorical[place].name}"] = CategoricalSummary(
                tuple(float(p) for p in chances / chances.sum())
            )
    return result
