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

from autosim.learning.inference.angles import GRID, circular, normals
from autosim.learning.inference.attributes import ReadClass
from autosim.learning.inference.calibration import (
    Calibration,
    Readings,
    corrected,
    needed,
    posterior,
)
from autosim.scenes.generator import AttributeSummary, CategoricalSummary, ContinuousSummary
from autosim.scenes.graph import Continuous

# Smallest standard deviation, as a share of the range.
LEAST_STD = 0.005
# Weight of detections that belong to no slot.
OUTLIERS = 0.05
RESTARTS, STEPS = 12, 60
# Added to how often each choice is made, and at most to all of them together: few pictures do not show that one is
# never made.
PSEUDO_COUNT, PSEUDO_COUNTS = 0.5, 1.5
# Most slots of a class whose assignments are all summed.
MOST_SLOTS = 5


@dataclass
class Slots:
    """Mixture components: means and standard deviations (S, C) in units of the range, those (S, A) of angles in turns,
    probabilities (S, K) of each choice.
    """

    means: NDArray[np.float64]
    stds: NDArray[np.float64]
    angles: NDArray[np.float64]
    angle_stds: NDArray[np.float64]
    choices: list[NDArray[np.float64]]
    fit: float = -np.inf


@dataclass(frozen=True)
class Evidence:
    """What n pictures say of the nodes of a class: which detections there are (n, D), values and standard deviations of
    their errors (n, D, C), likelihoods (n, D, GRID) of each angle and (n, D, K) of each choice.
    """

    present: NDArray[np.bool_]
    values: NDArray[np.float64]
    noise: NDArray[np.float64]
    angles: list[NDArray[np.float64]]
    choices: list[NDArray[np.float64]]


@dataclass(frozen=True)
class Shown:
    """Which attributes pictures show: (C,), (A,) and (D,)."""

    continuous: NDArray[np.bool_]
    angles: NDArray[np.bool_]
    choices: NDArray[np.bool_]

    @classmethod
    def of(cls, read: ReadClass, calibration: Calibration) -> Shown:
        """Those of which enough is explained."""
        shares = np.array([calibration.explained[key] for key in read.attribute_keys()])
        enough = shares >= np.array([needed(each) for each in read.attributes])
        return cls(*np.split(enough, (len(read.continuous), len(read.continuous) + len(read.angles))))


def inferred(
    read: ReadClass,
    found: Readings,
    calibration: Calibration,
    start: Mapping[str, AttributeSummary],
    keys: Sequence[str],
    seed: np.random.SeedSequence,
    stay: bool = False,
) -> dict[str, AttributeSummary]:
    """Means, spreads and probabilities by ``key.attribute``, for a class whose slots are ``keys``: "class" of a single
    node, "class.0", "class.1", … of several. Attributes that are hardly explained are left out. ``stay``: of the ways
    round that look the same, take that which is nearest to the start. Nodes of a class with one key all have that slot.
    """
    shown = Shown.of(read, calibration)
    if not any(part.any() for part in (shown.continuous, shown.angles, shown.choices)):
        return {}
    values, noise = corrected(found, calibration)
    evidence = Evidence(
        found.present, values, noise, calibration.angle_likelihoods(found), calibration.choice_likelihoods(found)
    )
    begin = _begin(read, start, keys)
    best = begin
    generator = np.random.default_rng(seed)
    # A single node's mixture has one component, and one mode but for its angles.
    restarts = RESTARTS if len(keys) > 1 or shown.angles.any() else 1
    if stay and shown.angles.any():
        restarts = 1
    for restart in range(restarts):
        slots = _restarted(begin, evidence, generator) if restart else begin
        fitted = _fitted(slots, evidence, shown, len(keys) == 1 and not read.single)
        if fitted.fit > best.fit:
            best = fitted
    return _summaries(read, best, keys, shown)


def likely(
    read: ReadClass, found: Readings, calibration: Calibration, known: Mapping[str, AttributeSummary], key: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(values (n, C) in units of the range, angles (n, A) in turns) of a single node in each picture, given readings
    and the distribution ``known`` that it comes from.
    """
    slots = _begin(read, known, (key,))
    stds, angle_stds = slots.stds[0].copy(), slots.angle_stds[0].copy()
    for spreads, attributes in ((stds, read.continuous), (angle_stds, read.angles)):
        for place, each in enumerate(attributes):
            summary = known.get(f"{key}.{each.name}")
            if isinstance(summary, ContinuousSummary):
                spreads[place] = max(summary.std / (each.high - each.low), LEAST_STD)
    return posterior(found, calibration, slots.means[0], stds, slots.angles[0], angle_stds)


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
            for each in (*read.continuous, *read.angles):
                a, b = known.get(f"{own}.{each.name}"), estimate.get(f"{other}.{each.name}")
                if isinstance(a, ContinuousSummary) and isinstance(b, ContinuousSummary):
                    cost[row, column] += (each.difference(a.mean, b.mean) / (each.high - each.low)) ** 2
    rows, columns = linear_sum_assignment(cost)
    names = [each.name for each in read.attributes]
    return {
        f"{keys[row]}.{name}": estimate[f"{keys[column]}.{name}"]
        for row, column in zip(rows, columns, strict=True)
        for name in names
        if f"{keys[column]}.{name}" in estimate
    }


def shared_out(
    summary: CategoricalSummary, likelihoods: NDArray[np.float64], truth: NDArray[np.int64]
) -> CategoricalSummary:
    """Each choice's probability shared out among those that it is taken for. ``likelihoods`` (n, K) are of frames whose
    choices ``truth`` (n,) are known. Few pictures would otherwise decide between what they do not tell apart; what is
    told apart keeps its probability.
    """
    taken_for = likelihoods / likelihoods.sum(axis=1, keepdims=True)
    confused = np.eye(taken_for.shape[1])
    for choice in np.unique(truth):
        confused[choice] = taken_for[truth == choice].mean(axis=0)
    shares = np.array(summary.probabilities) @ confused
    return CategoricalSummary(tuple(float(share) for share in shares / shares.sum()))


def _fitted(slots: Slots, evidence: Evidence, shown: Shown, shared: bool) -> Slots:
    """Expectation-maximisation from ``slots``; ``shared``: any number of nodes have the only slot."""
    means, stds, angles, angle_stds = (
        part.copy() for part in (slots.means, slots.stds, slots.angles, slots.angle_stds)
    )
    choices = [each.copy() for each in slots.choices]
    values, noise, present = evidence.values, evidence.noise, evidence.present
    fit = -np.inf
    for _ in range(STEPS):
        gap = values[:, :, None] - means  # (n, detections, slots, C)
        variance = stds**2 + noise[:, :, None] ** 2
        density = -0.5 * (gap**2 / variance + np.log(2 * np.pi * variance))
        scores = density[..., shown.continuous].sum(axis=3)
        turned = {}
        for place in np.flatnonzero(shown.angles):
            own = normals(angles[:, place], angle_stds[:, place])
            mixed = np.maximum(evidence.angles[place] @ own.T / GRID, 1e-12)
            scores = scores + np.log(mixed)
            turned[place] = own, mixed
        for place in np.flatnonzero(shown.choices):
            mixed = np.einsum("ndk,sk->nds", evidence.choices[place], choices[place])
            scores = scores + np.log(np.maximum(mixed, 1e-12))
        belongs, fit = _independent(scores, present) if shared else _assignments(scores, present)
        weight = belongs.sum(axis=(0, 1)) + 1e-9
        # What a node's value is given its reading and its slot.
        gain = stds**2 / variance
        shift = gain * gap
        left = gain * noise[:, :, None] ** 2
        step = np.einsum("nds,ndsc->sc", belongs, shift) / weight[:, None]
        spread = np.einsum("nds,ndsc->sc", belongs, (shift - step) ** 2 + left) / weight[:, None]
        means = np.clip(means + np.where(shown.continuous, step, 0.0), 0.0, 1.0)
        stds = np.where(shown.continuous, np.sqrt(np.maximum(spread, LEAST_STD**2)), stds)
        for place, (own, mixed) in turned.items():
            weights = own * np.einsum("nds,ndg->sg", belongs / mixed, evidence.angles[place])
            found, width = circular(weights + 1e-12)
            angles[:, place], angle_stds[:, place] = found, np.maximum(width, LEAST_STD)
        for place in np.flatnonzero(shown.choices):
            posteriors = choices[place] * evidence.choices[place][:, :, None]
            posteriors = posteriors / np.maximum(posteriors.sum(axis=3, keepdims=True), 1e-12)
            added = min(PSEUDO_COUNT, PSEUDO_COUNTS / posteriors.shape[3])
            counts = np.einsum("nds,ndsk->sk", belongs, posteriors) + added
            choices[place] = counts / counts.sum(axis=1, keepdims=True)
    return Slots(means, stds, angles, angle_stds, choices, fit)


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


def _independent(scores: NDArray[np.float64], present: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """The same where all nodes have one slot."""
    inside = np.logaddexp(scores + np.log(1 - OUTLIERS), np.log(OUTLIERS))
    own = np.exp(scores + np.log(1 - OUTLIERS) - inside) * present[:, :, None]
    return own, float(inside[present].sum())


def _begin(read: ReadClass, start: Mapping[str, AttributeSummary], keys: Sequence[str]) -> Slots:
    """The start's own parameters, spread out enough for readings to reach them."""
    centres = []
    for attributes in (read.continuous, read.angles):
        means = np.full((len(keys), len(attributes)), 0.5)
        for slot, key in enumerate(keys):
            for place, each in enumerate(attributes):
                known = start.get(f"{key}.{each.name}")
                if isinstance(known, ContinuousSummary):
                    means[slot, place] = np.clip((known.mean - each.low) / (each.high - each.low), 0.0, 1.0)
        centres.append(means)
    means, angles = centres
    choices = [np.full((len(keys), size), 1.0 / size) for size in read.sizes]
    return Slots(means, np.full_like(means, 0.3), angles, np.full_like(angles, 0.3), choices)


def _restarted(begin: Slots, evidence: Evidence, generator: np.random.Generator) -> Slots:
    """From the nodes of a picture that shows as many as any, or of several pictures where none shows enough."""
    count = len(begin.means)
    numbers = evidence.present.sum(axis=1)
    if not numbers.max(initial=0):
        return begin
    full = np.flatnonzero(numbers == numbers.max())
    row = int(generator.choice(full))
    picked = [(row, int(place)) for place in np.flatnonzero(evidence.present[row])][:count]
    while len(picked) < count:
        row = int(generator.choice(np.flatnonzero(numbers)))
        picked.append((row, int(generator.choice(np.flatnonzero(evidence.present[row])))))
    rows, places = map(list, zip(*picked, strict=True))
    means = np.clip(evidence.values[rows, places], 0.0, 1.0)
    angles = begin.angles.copy()
    for number, likelihood in enumerate(evidence.angles):
        for slot, density in enumerate(likelihood[rows, places]):
            angles[slot, number] = generator.choice(GRID, p=density / density.sum()) / GRID
    return Slots(means, np.full_like(begin.stds, 0.1), angles, np.full_like(begin.angle_stds, 0.1), begin.choices)


def _summaries(read: ReadClass, slots: Slots, keys: Sequence[str], shown: Shown) -> dict[str, AttributeSummary]:
    result: dict[str, AttributeSummary] = {}
    numeric = (
        (read.continuous, shown.continuous, slots.means, slots.stds),
        (read.angles, shown.angles, slots.angles, slots.angle_stds),
    )
    for slot, key in enumerate(keys):
        for attributes, seen, means, stds in numeric:
            for place in np.flatnonzero(seen):
                each: Continuous = attributes[place]
                mean = each.denormalise(float(means[slot, place]))
                result[f"{key}.{each.name}"] = ContinuousSummary(
                    mean, float(stds[slot, place]) * (each.high - each.low)
                )
        for place in np.flatnonzero(shown.choices):
            chances = slots.choices[place][slot]
            result[f"{key}.{read.categorical[place].name}"] = CategoricalSummary(
                tuple(float(p) for p in chances / chances.sum())
            )
    return result
