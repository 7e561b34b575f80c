"""A trained network that reads scenes off pictures, calibrated on frames that it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from autosim.learning.features.content_network import input_size, network_input
from autosim.learning.features.labels import mask_shares
from autosim.learning.features.network_parts import explained_share
from autosim.learning.features.statistics import image_statistics
from autosim.learning.inference.attributes import NodeLabels, ReadClass, node_labels, read_classes, set_loss
from autosim.learning.inference.network import CELL, SceneNetwork
from autosim.learning.schedule import TrainingSchedule
from autosim.learning.training import fit, to_tensor
from autosim.rendering.annotations import Annotation, class_mask
from autosim.rendering.drawn import DrawnFrames
from autosim.scenes.graph import Schema
from autosim.seeding import torch_seeded

# Images whose predictions are made at once.
AT_ONCE = 128
# Cells whose means are nearer than this, as a share of the range, tell of one node.
MERGED = 0.06
# Expected number of nodes that a detection has to stand for.
LEAST_MASS = 0.3
# Distance within which a detection is a true node, as a share of the range.
MATCHED = 0.15
# What is tried to make probabilities as often right as they say.
TEMPERATURES = (0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0)
# Weight of the grid of the mask's classes, which no reading is made of.
GRID_WEIGHT = 4.0


@dataclass(frozen=True)
class Readings:
    """What is read of one class in n pictures, of up to ``most`` nodes each (one where the class is ``single``).

    ``present`` (n, most); ``means`` and ``sigmas`` (n, most, C) in units of the range; ``choices``: probabilities
    (n, most, K) of each categorical attribute.
    """

    present: NDArray[np.bool_]
    means: NDArray[np.float64]
    sigmas: NDArray[np.float64]
    choices: list[NDArray[np.float64]]


@dataclass
class Calibration:
    """How readings of one class relate to the truth, on held-out frames.

    A mean m reads ``offset + slope * a`` of the true value a (C,), with a standard deviation of ``noise`` (C,), all in
    units of the range; ``slope`` is below 1 where a network that is not sure keeps to the middle. ``explained`` are the
    shares of variance, or of entropy, that readings explain, by ``class.attribute``. ``frequencies`` are those of the
    choices in the frames that the network was trained on, and ``temperatures`` (D,) what their log-probabilities have
    to be divided by for probabilities to be as often right as they say.
    """

    offset: NDArray[np.float64]
    slope: NDArray[np.float64]
    noise: NDArray[np.float64]
    explained: dict[str, float] = field(default_factory=dict)
    frequencies: list[NDArray[np.float64]] = field(default_factory=list)
    temperatures: list[float] = field(default_factory=list)


class SceneReader:
    """A network and its calibration; :meth:`train` again refines both on other frames."""

    def __init__(
        self, schema: Schema, frames: DrawnFrames, declared: Mapping[str, Annotation], edge: int, seed: int
    ) -> None:
        self.schema, self.declared, self.seed = schema, declared, seed
        self.read = read_classes(schema, frames.scenes)
        height, width = frames.frames.images.shape[1:3]
        self.size = input_size(height, width, edge)
        mask = class_mask(declared)
        self.mask_classes = 0 if mask is None else len(mask[1].classes)
        with torch_seeded(seed):
            self.network = SceneNetwork(self.read, self.mask_classes, self.size)
        self.network.to(memory_format=torch.channels_last)
        self.calibrations: dict[str, Calibration] = {}
        # By attribute, the most that any training has explained: frames around an answer have little left to explain.
        self.explained: dict[str, float] = {}

    def train(
        self,
        frames: DrawnFrames,
        schedule: TrainingSchedule,
        held_out: int,
        seed: int,
        others: DrawnFrames | None = None,
    ) -> float:
        """Train on ``frames`` but the last ``held_out``, which calibrate, and on ``others``; returns the mean loss of
        the last epoch, in nats a frame.
        """
        kept = len(frames.scenes) - held_out
        parts = [(frames.select(slice(kept)))] + ([others] if others is not None else [])
        inputs = torch.cat([self._inputs(part.frames.images) for part in parts])
        statistics = torch.cat([self._statistics(part.frames.images) for part in parts])
        labels = [self._labels(part) for part in parts]
        joined = [first if len(labels) == 1 else first.joined(labels[1][i]) for i, first in enumerate(labels[0])]
        grids = [self._grid(part) for part in parts]
        grid = None if grids[0] is None else torch.cat([each for each in grids if each is not None])
        if not self.calibrations:
            self.network.statistics_mean.copy_(statistics.mean(dim=0))
            self.network.statistics_std.copy_(statistics.std(dim=0, unbiased=False) + 1e-3)
        self.network.train()
        losses: list[float] = []

        def loss_of(batch: Tensor) -> Tensor:
            sets, singles, logits = self.network(inputs[batch], statistics[batch])
            total = inputs.new_zeros(())
            in_sets, in_singles = iter(enumerate(sets)), iter(singles)
            for read, truth in zip(self.read, joined, strict=True):
                chosen = truth.select(batch)
                if read.single:
                    density = read.log_prob(next(in_singles), chosen.continuous[:, 0], chosen.choices[:, 0])
                    total = total - density.mean()
                else:
                    place, (rates, outputs) = next(in_sets)
                    total = total + set_loss(read, rates, outputs, self.network.background[place], chosen).mean()
            if logits is not None and grid is not None:
                total = total + GRID_WEIGHT * functional.cross_entropy(logits, grid[batch])
            losses.append(float(total.detach()))
            return total

        with torch_seeded(seed):
            fit(self.network, len(inputs), schedule, torch.Generator().manual_seed(seed), loss_of)
        self.network.eval()
        self._calibrate(frames.select(slice(kept, None)), joined)
        last = losses[-(len(losses) // schedule.epochs) :]
        return math.fsum(last) / len(last)

    @torch.no_grad()
    def readings(self, images: NDArray[np.uint8]) -> dict[str, Readings]:
        """What is read off images, by class."""
        parts: dict[str, list[Readings]] = {read.name: [] for read in self.read}
        for start in range(0, len(images), AT_ONCE):
            some = images[start : start + AT_ONCE]
            sets, singles, _ = self.network(self._inputs(some), self._statistics(some))
            in_sets, in_singles = iter(sets), iter(singles)
            for read in self.read:
                made = _single(read, next(in_singles)) if read.single else _detections(read, *next(in_sets))
                parts[read.name].append(made)
        return {name: _joined(found) for name, found in parts.items()}

    def _calibrate(self, frames: DrawnFrames, trained_on: Sequence[NodeLabels]) -> None:
        found = self.readings(frames.frames.images)
        for read, truth, seen in zip(self.read, self._labels(frames), trained_on, strict=True):
            frequencies = []
            for place, size in enumerate(read.sizes):
                counts = torch.bincount(seen.choices[..., place][seen.present], minlength=size).numpy() + 1.0
                frequencies.append(counts / counts.sum())
            made = calibrated(read, found[read.name], truth, frequencies)
            self.calibrations[read.name] = made
            for key, share in made.explained.items():
                self.explained[key] = max(share, self.explained.get(key, 0.0))

    def _inputs(self, images: NDArray[np.uint8]) -> Tensor:
        parts = [network_input(to_tensor(part), self.size) for part in _parts(images)]
        return torch.cat(parts).contiguous(memory_format=torch.channels_last)

    def _statistics(self, images: NDArray[np.uint8]) -> Tensor:
        return torch.cat([image_statistics(to_tensor(part)) for part in _parts(images)])

    def _labels(self, frames: DrawnFrames) -> list[NodeLabels]:
        return [node_labels(self.schema, read, frames.scenes) for read in self.read]

    def _grid(self, frames: DrawnFrames) -> Tensor | None:
        if self.mask_classes < 2:
            return None
        return mask_shares(frames.frames, self.declared, (self.size[0] // CELL, self.size[1] // CELL))


def calibrated(
    read: ReadClass, found: Readings, truth: NodeLabels, frequencies: list[NDArray[np.float64]]
) -> Calibration:
    """The calibration of readings of frames whose truth is known."""
    pairs = [
        (row, detection, node)
        for row in range(len(found.present))
        for detection, node in matched(read, found, truth, row)
    ]
    count = len(read.continuous)
    offset, slope, noise = np.zeros(count), np.ones(count), np.full(count, 0.02)
    explained = dict.fromkeys(read.attribute_keys(), 0.0)
    result = Calibration(offset, slope, noise, explained, frequencies, [1.0] * len(read.sizes))
    nodes = int(truth.present.sum())
    if len(pairs) < 10:
        return result
    rows, detections, places = (np.array(column) for column in zip(*pairs, strict=True))
    means = found.means[rows, detections]
    true = truth.continuous.numpy()[rows, places].astype(np.float64)
    # What was not found is not explained.
    share = len(pairs) / max(nodes, 1)
    for place, each in enumerate(read.continuous):
        gap = means[:, place] - true[:, place]
        if each.periodic:
            gap = (gap + 0.5) % 1.0 - 0.5
            noise[place] = max(float(np.sqrt(np.mean(gap**2))), 1e-3)
            turn = np.exp(2j * np.pi * true[:, place]).mean()
            about = true[:, place] - np.angle(turn) / (2 * np.pi)
            without = float(np.mean(((about + 0.5) % 1.0 - 0.5) ** 2))
            error = noise[place] ** 2
        else:
            without = float(true[:, place].var())
            error = float(np.mean(gap**2))
            if without > 1e-6:
                covariance = float(np.cov(true[:, place], means[:, place], bias=True)[0, 1])
                slope[place] = min(max(covariance / without, 0.05), 1.0)
            offset[place] = float(means[:, place].mean() - slope[place] * true[:, place].mean())
            residual = means[:, place] - offset[place] - slope[place] * true[:, place]
            # The spread that most residuals keep to: a few nodes that were taken for others are the outliers' share.
            noise[place] = max(float(np.quantile(np.abs(residual), 0.68)), 1e-3)
        explained[f"{read.name}.{each.name}"] = share * explained_share(torch.tensor(error), torch.tensor(without))
    for place, option in enumerate(read.categorical):
        chosen = truth.choices.numpy()[rows, places, place]
        probabilities = found.choices[place][rows, detections]
        entropy = -float(np.sum(frequencies[place] * np.log(frequencies[place])))
        errors = [
            -float(np.mean(np.log(tempered(probabilities, each)[np.arange(len(chosen)), chosen] + 1e-6)))
            for each in TEMPERATURES
        ]
        error = min(errors)
        result.temperatures[place] = TEMPERATURES[int(np.argmin(errors))]
        explained[f"{read.name}.{option.name}"] = share * explained_share(torch.tensor(error), torch.tensor(entropy))
    return result


def tempered(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """(…, K) probabilities with their logarithms divided by ``temperature``."""
    powers = np.maximum(probabilities, 1e-9) ** (1 / temperature)
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), dtype=np.float64)


def matched(read: ReadClass, found: Readings, truth: NodeLabels, row: int) -> list[tuple[int, int]]:
    """Pairs of a detection and a true node of one picture, each used once, so that distances add up to the least."""
    from scipy.optimize import linear_sum_assignment

    detections = np.flatnonzero(found.present[row])
    nodes = np.flatnonzero(truth.present[row].numpy())
    if read.single:
        return [(0, 0)]
    if not len(detections) or not len(nodes):
        return []
    gap = found.means[row, detections][:, None] - truth.continuous[row].numpy()[nodes][None]
    gap = np.where(read.periodic.numpy(), 0.0, gap)
    distance = np.sqrt((gap**2).sum(axis=2))
    lines, columns = linear_sum_assignment(distance)
    return [
        (int(detections[i]), int(nodes[j])) for i, j in zip(lines, columns, strict=True) if distance[i, j] < MATCHED
    ]


def _single(read: ReadClass, outputs: Tensor) -> Readings:
    means, sigmas, logs = read.split(outputs)
    present = np.ones((len(outputs), 1), dtype=bool)
    return Readings(
        present,
        means[:, None].double().numpy(),
        sigmas[:, None].double().numpy(),
        [log[:, None].exp().double().numpy() for log in logs],
    )


def _detections(read: ReadClass, log_rates: Tensor, outputs: Tensor) -> Readings:
    """The likeliest nodes, one after another: a cell with the highest rate left, and those that tell of the same."""
    means, sigmas, logs = read.split(outputs)
    rates = log_rates.exp()
    probabilities = [log.exp() for log in logs]
    n, count = len(rates), len(read.continuous)
    rows = torch.arange(n)
    present = np.zeros((n, read.most), dtype=bool)
    found_means = np.zeros((n, read.most, count))
    found_sigmas = np.full((n, read.most, count), 0.1)
    found_choices = [np.full((n, read.most, size), 1.0 / size) for size in read.sizes]
    for place in range(read.most):
        top = rates.argmax(dim=1)
        centre = means[rows, top]
        gap = read.difference(means, centre[:, None])
        # Angles do not tell nodes apart.
        apart = torch.where(read.periodic, torch.zeros_like(gap), gap).square().sum(dim=2).sqrt()
        weight = rates * (apart < MERGED)
        mass = weight.sum(dim=1)
        share = weight / mass.clamp_min(1e-9)[:, None]
        shift = (share[..., None] * gap).sum(dim=1)
        spread = (share[..., None] * (sigmas**2 + (gap - shift[:, None]) ** 2)).sum(dim=1).sqrt()
        mean = centre + shift
        mean = torch.where(read.periodic, mean % 1.0, mean)
        present[:, place] = (mass >= LEAST_MASS).numpy()
        found_means[:, place], found_sigmas[:, place] = mean.double().numpy(), spread.double().numpy()
        for option, probability in zip(found_choices, probabilities, strict=True):
            option[:, place] = (share[..., None] * probability).sum(dim=1).double().numpy()
        rates = rates * (apart >= MERGED)
    return Readings(present, found_means, found_sigmas, found_choices)


def _joined(parts: Sequence[Readings]) -> Readings:
    return Readings(
        np.concatenate([each.present for each in parts]),
        np.concatenate([each.means for each in parts]),
        np.concatenate([each.sigmas for each in parts]),
        [np.concatenate(column) for column in zip(*(each.choices for each in parts), strict=True)],
    )


def _parts(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [images[start : start + AT_ONCE] for start in range(0, len(images), AT_ONCE)] or [images]
