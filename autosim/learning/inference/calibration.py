"""How readings relate to the truth, measured on frames that the network was not trained on."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from autosim.learning.features.network_parts import explained_share
from autosim.learning.inference.angles import at, circular, density_of, entropy_of, normals, tempered_densities
from autosim.learning.inference.attributes import NodeLabels, ReadClass
from autosim.scenes.graph import Categorical, Continuous

# An attribute of which less is explained keeps its start: mixtures fitted to guesses run to an extreme.
EXPLAINED, EXPLAINED_CHOICE = 0.1, 0.2
# Distance within which a detection is a true node, as a share of the range.
MATCHED = 0.15
# Nats that readings of an angle have to gain before they count: an answer made of less is chance, and rounds around it
# confirm it.
LEAST_GAIN = 0.3
# Smallest standard deviation of a number of nodes, and frames that the line through all numbers counts for.
LEAST_NOISE, USUAL = 0.25, 4.0
# What is tried to make probabilities as often right as they say.
TEMPERATURES = (0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0)


def needed(attribute: Continuous | Categorical) -> float:
    """Share of an attribute that has to be explained for it to be inferred."""
    return EXPLAINED_CHOICE if isinstance(attribute, Categorical) else EXPLAINED


@dataclass(frozen=True)
class Readings:
    """What is read of one class in n pictures, of up to ``most`` nodes each (one where the class is ``single``).

    ``present`` (n, most); ``means`` and ``sigmas`` (n, most, C) in units of the range; ``angles``: densities (n, most,
    GRID) of each angle, with a mean of 1; ``choices``: probabilities (n, most, K) of each categorical attribute.
    """

    present: NDArray[np.bool_]
    means: NDArray[np.float64]
    sigmas: NDArray[np.float64]
    angles: list[NDArray[np.float64]]
    choices: list[NDArray[np.float64]]


@dataclass(frozen=True)
class Frequencies:
    """How often values occur in the frames that a network was trained on: shares (K,) of each choice, a density (GRID,)
    of each angle.
    """

    angles: list[NDArray[np.float64]]
    choices: list[NDArray[np.float64]]

    @classmethod
    def of(cls, read: ReadClass, labels: NodeLabels) -> Frequencies:
        """Those of known nodes."""
        angles = labels.angles[labels.present].double().numpy()
        choices = []
        for place, size in enumerate(read.sizes):
            counts = torch.bincount(labels.choices[..., place][labels.present], minlength=size).numpy() + 1.0
            choices.append(counts / counts.sum())
        return cls([density_of(angles[:, place]) for place in range(len(read.angles))], choices)


@dataclass
class Calibration:
    """How readings of one class relate to the truth, on held-out frames.

    A mean m reads ``offset + slope * a`` of the true value a (C,), with a standard deviation of ``noise`` (C,), all in
    units of the range; ``slope`` is below 1 where a network that is not sure keeps to the middle. ``explained`` are the
    shares of variance, or of entropy, that readings explain, by ``class.attribute``; an angle's is 1 - exp(-2 g), where
    g are the nats that its density gains on that of all nodes together, less :data:`LEAST_GAIN`. Log-probabilities and
    log-densities have to be divided by ``choice_temperatures`` and ``angle_temperatures``, to be as often right as they
    say. ``number`` (most + 1, most + 1) has the probabilities of finding m nodes where there are n.
    """

    offset: NDArray[np.float64]
    slope: NDArray[np.float64]
    noise: NDArray[np.float64]
    explained: dict[str, float]
    frequencies: Frequencies
    angle_temperatures: list[float] = field(default_factory=list)
    choice_temperatures: list[float] = field(default_factory=list)
    number: NDArray[np.float64] = field(default_factory=lambda: np.eye(1))

    def angle_likelihoods(self, found: Readings) -> list[NDArray[np.float64]]:
        """(n, most, GRID) of each angle: readings without what the frames that were trained on had more of."""
        return [
            tempered_densities(density, temperature) / frequency
            for density, frequency, temperature in zip(
                found.angles, self.frequencies.angles, self.angle_temperatures, strict=True
            )
        ]

    def choice_likelihoods(self, found: Readings) -> list[NDArray[np.float64]]:
        """(n, most, K) of each choice, likewise."""
        return [
            tempered(probability, temperature) / frequency
            for probability, frequency, temperature in zip(
                found.choices, self.frequencies.choices, self.choice_temperatures, strict=True
            )
        ]


def calibrated(read: ReadClass, found: Readings, truth: NodeLabels, frequencies: Frequencies) -> Calibration:
    """The calibration of readings of frames whose truth is known."""
    rows, detections, places = matched(read, found, truth)
    count = len(read.continuous)
    offset, slope, noise = np.zeros(count), np.ones(count), np.full(count, 0.02)
    explained = dict.fromkeys(read.attribute_keys(), 0.0)
    ones = ([1.0] * len(read.angles), [1.0] * len(read.sizes))
    result = Calibration(offset, slope, noise, explained, frequencies, *ones)
    nodes = int(truth.present.sum())
    if read.varies:
        true_numbers = truth.present.sum(dim=1).numpy()
        numbers = found.present.sum(axis=1)
        result.number = numbers_confused(numbers, true_numbers, read.most)
        explained[read.number_key] = explained_by(numbers, true_numbers)
    if len(rows) < 10:
        return result
    # What was not found is not explained.
    share = len(rows) / max(nodes, 1)
    means = found.means[rows, detections]
    true = truth.continuous.numpy()[rows, places].astype(np.float64)
    for place, each in enumerate(read.continuous):
        without = float(true[:, place].var())
        if without > 1e-6:
            covariance = float(np.cov(true[:, place], means[:, place], bias=True)[0, 1])
            slope[place] = min(max(covariance / without, 0.05), 1.0)
        offset[place] = float(means[:, place].mean() - slope[place] * true[:, place].mean())
        residual = means[:, place] - offset[place] - slope[place] * true[:, place]
        # The spread that most residuals keep to: a few nodes that were taken for others are the outliers' share.
        noise[place] = max(float(np.quantile(np.abs(residual), 0.68)), 1e-3)
        error = float(np.mean((means[:, place] - true[:, place]) ** 2))
        explained[f"{read.name}.{each.name}"] = share * explained_share(torch.tensor(error), torch.tensor(without))
    for place, turned in enumerate(read.angles):
        angles = truth.angles.double().numpy()[rows, places, place]
        densities = found.angles[place][rows, detections]
        gains = [float(np.mean(np.log(at(tempered_densities(densities, each), angles)))) for each in TEMPERATURES]
        # Frames around an answer are told apart from each other, not from all there are.
        gain = max(gains) + entropy_of(angles) - LEAST_GAIN
        result.angle_temperatures[place] = TEMPERATURES[int(np.argmax(gains))]
        explained[f"{read.name}.{turned.name}"] = share * (1.0 - float(np.exp(-2 * max(gain, 0.0))))
    for place, option in enumerate(read.categorical):
        chosen = truth.choices.numpy()[rows, places, place]
        probabilities = found.choices[place][rows, detections]
        shares = frequencies.choices[place]
        entropy = -float(np.sum(shares * np.log(shares)))
        errors = [
            -float(np.mean(np.log(tempered(probabilities, each)[np.arange(len(chosen)), chosen] + 1e-6)))
            for each in TEMPERATURES
        ]
        result.choice_temperatures[place] = TEMPERATURES[int(np.argmin(errors))]
        explained[f"{read.name}.{option.name}"] = share * explained_share(
            torch.tensor(min(errors)), torch.tensor(entropy)
        )
    return result


def numbers_confused(found: NDArray[np.int64], true: NDArray[np.int64], most: int) -> NDArray[np.float64]:
    """(most + 1, most + 1) probabilities of finding m nodes where there are n, by the numbers (k,) that were found and
    the true ones: how often each was, together with what a line through all of them expects.
    """
    numbers = np.arange(most + 1)
    slope = float(np.clip(np.polyfit(true, found, 1)[0], 0.2, 1.5)) if true.min() < true.max() else 1.0
    offset = float((found - slope * true).mean())
    noise = max(float((found - offset - slope * true).std()), LEAST_NOISE)
    usual = np.exp(-0.5 * ((numbers - offset - slope * numbers[:, None]) / noise) ** 2) + 1e-6
    counts = USUAL * usual / usual.sum(axis=1, keepdims=True)
    np.add.at(counts, (np.minimum(true, most), np.minimum(found, most)), 1.0)
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def explained_by(found: NDArray[np.int64], true: NDArray[np.int64]) -> float:
    """Share of the variance of ``true`` (k,) that ``found`` tells, in [0, 1]."""
    if min(len(set(true.tolist())), len(set(found.tolist()))) < 2:
        return 0.0
    return float(max(np.corrcoef(found, true)[0, 1], 0.0) ** 2)


def tempered(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """(…, K) probabilities with their logarithms divided by ``temperature``."""
    powers = np.maximum(probabilities, 1e-9) ** (1 / temperature)
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), dtype=np.float64)


def matched(read: ReadClass, found: Readings, truth: NodeLabels) -> NDArray[np.int64]:
    """(3, k): picture, detection and true node of k pairs, each used once, so that distances in a picture add up to
    the least.
    """
    pairs = [(row, *pair) for row in range(len(found.present)) for pair in _matched_in(read, found, truth, row)]
    return np.array(pairs, dtype=np.int64).reshape(-1, 3).T


def _matched_in(read: ReadClass, found: Readings, truth: NodeLabels, row: int) -> list[tuple[int, int]]:
    from scipy.optimize import linear_sum_assignment

    detections = np.flatnonzero(found.present[row])
    nodes = np.flatnonzero(truth.present[row].numpy())
    if read.single:
        return [(0, 0)]
    if not len(detections) or not len(nodes):
        return []
    gap = found.means[row, detections][:, None] - truth.continuous[row].numpy()[nodes][None]
    distance = np.sqrt((gap**2).sum(axis=2))
    lines, columns = linear_sum_assignment(distance)
    return [
        (int(detections[i]), int(nodes[j])) for i, j in zip(lines, columns, strict=True) if distance[i, j] < MATCHED
    ]


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


def posterior(
    found: Readings,
    calibration: Calibration,
    means: NDArray[np.float64],
    stds: NDArray[np.float64],
    angles: NDArray[np.float64],
    angle_stds: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(values (n, C), angles (n, A)) of a single node, given readings and that they come from normals: ``means`` and
    ``stds`` (n, C) or (C,) in units of the range, ``angles`` and ``angle_stds`` (n, A) or (A,) in turns.
    """
    values, noise = corrected(found, calibration)
    gain = stds**2 / (stds**2 + noise[:, 0] ** 2)
    turned = np.zeros((len(values), angles.shape[-1]))
    for place, likelihood in enumerate(calibration.angle_likelihoods(found)):
        known = normals(np.asarray(angles[..., place]), np.asarray(angle_stds[..., place]))
        turned[:, place] = circular(likelihood[:, 0] * known)[0]
    return means + gain * (values[:, 0] - means), turned
