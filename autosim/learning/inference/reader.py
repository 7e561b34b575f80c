"""A trained network that reads scenes off pictures, calibrated on frames that it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from autosim.learning.features.content_network import input_size, network_input
from autosim.learning.features.labels import mask_shares
from autosim.learning.features.statistics import image_statistics
from autosim.learning.inference.angles import GRID
from autosim.learning.inference.attributes import NodeLabels, ReadClass, node_labels, read_classes, set_loss
from autosim.learning.inference.calibration import Calibration, Frequencies, Readings, calibrated, posterior
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
# Weight of the grid of the mask's classes, which no reading is made of.
GRID_WEIGHT = 4.0
# The same where the mask shows where nodes are: what is small there is not found before the grid shows it.
LOCATING_WEIGHT = 60.0
# Most that a pixel of a rare class counts for.
MOST_BALANCE = 20.0
# When readings of children are calibrated, their parent is read as if it were known to be so near to the truth.
NEAR = 0.08


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
        self.mask = () if mask is None else tuple(mask[1].classes)
        with torch_seeded(seed):
            self.network = SceneNetwork(self.read, self.mask, self.size)
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

        told = self._true_parents(joined)
        balance, grid_weight = None, GRID_WEIGHT
        if grid is not None and self.network.shown:
            grid_weight = LOCATING_WEIGHT
            # Where the mask shows where nodes are, what is rare in it counts as much as what is not.
            balance = (1.0 / (len(self.mask) * grid.mean(dim=(0, 2, 3))).clamp_min(1e-3)).clamp_max(MOST_BALANCE)

        def loss_of(batch: Tensor) -> Tensor:
            given = {name: values[batch] for name, values in told.items()}
            predicted, logits = self.network(inputs[batch], statistics[batch], given)
            total = inputs.new_zeros(())
            for place, (read, truth) in enumerate(zip(self.read, joined, strict=True)):
                chosen = truth.select(batch)
                rates, outputs = predicted[read.name]
                if rates is None:
                    total = total - read.log_prob(outputs, chosen.select((slice(None), 0))).mean()
                else:
                    total = total + set_loss(read, rates, outputs, self.network.background[place], chosen).mean()
            if logits is not None and grid is not None:
                total = total + grid_weight * functional.cross_entropy(logits, grid[batch], balance)
            losses.append(float(total.detach()))
            return total

        with torch_seeded(seed):
            fit(self.network, len(inputs), schedule, torch.Generator().manual_seed(seed), loss_of)
        self.network.eval()
        self._calibrate(frames.select(slice(kept, None)), joined)
        last = losses[-(len(losses) // schedule.epochs) :]
        return math.fsum(last) / len(last)

    @torch.no_grad()
    def readings(self, images: NDArray[np.uint8], told: Mapping[str, Tensor]) -> dict[str, Readings]:
        """What is read off n images, by class. ``told`` (n, told) tells of the parents of the classes that have one, by
        the child's name; a class whose parent is not told is left out.
        """
        known = [read for read in self.read if not read.parent or read.name in told]
        parts: dict[str, list[Readings]] = {read.name: [] for read in known}
        for start in range(0, len(images), AT_ONCE):
            places = slice(start, start + AT_ONCE)
            given = {name: values[places] for name, values in told.items()}
            some = images[places]
            predicted, _ = self.network(self._inputs(some), self._statistics(some), given)
            for read in known:
                rates, outputs = predicted[read.name]
                made = _single(read, outputs) if rates is None else _detections(read, rates, outputs)
                parts[read.name].append(made)
        return {name: _joined(found) for name, found in parts.items()}

    def told_to_children(
        self, read: ReadClass, values: NDArray[np.float64], angles: NDArray[np.float64]
    ) -> dict[str, Tensor]:
        """What classes that hang on ``read`` are told, by their names: its values (n, C) in units of the range and
        angles (n, A) in turns.
        """
        telling = read.telling(torch.from_numpy(values).float(), torch.from_numpy(angles).float())
        return {child.name: telling for child in self.read if child.parent == read.name}

    def _true_parents(self, labels: Sequence[NodeLabels]) -> dict[str, Tensor]:
        told: dict[str, Tensor] = {}
        for read, known in zip(self.read, labels, strict=True):
            if read.single:
                told |= self.told_to_children(read, known.continuous[:, 0].numpy(), known.angles[:, 0].numpy())
        return told

    def _calibrate(self, frames: DrawnFrames, trained_on: Sequence[NodeLabels]) -> None:
        images, told = frames.frames.images, dict[str, Tensor]()
        found = self.readings(images, told)
        for read, truth, seen in zip(self.read, self._labels(frames), trained_on, strict=True):
            if read.name not in found:
                found = self.readings(images, told)
            made = calibrated(read, found[read.name], truth, Frequencies.of(read, seen))
            self.calibrations[read.name] = made
            for key, share in made.explained.items():
                self.explained[key] = max(share, self.explained.get(key, 0.0))
            if read.single:
                values, angles = truth.continuous[:, 0].double().numpy(), truth.angles[:, 0].double().numpy()
                spreads = (np.full_like(values, NEAR), np.full_like(angles, NEAR))
                near = posterior(found[read.name], made, values, spreads[0], angles, spreads[1])
                told |= self.told_to_children(read, *near)

    def _inputs(self, images: NDArray[np.uint8]) -> Tensor:
        parts = [network_input(to_tensor(part), self.size) for part in _parts(images)]
        return torch.cat(parts).contiguous(memory_format=torch.channels_last)

    def _statistics(self, images: NDArray[np.uint8]) -> Tensor:
        return torch.cat([image_statistics(to_tensor(part)) for part in _parts(images)])

    def _labels(self, frames: DrawnFrames) -> list[NodeLabels]:
        return [node_labels(self.schema, read, frames.scenes) for read in self.read]

    def _grid(self, frames: DrawnFrames) -> Tensor | None:
        if len(self.mask) < 2:
            return None
        return mask_shares(frames.frames, self.declared, (self.size[0] // CELL, self.size[1] // CELL))


def _single(read: ReadClass, outputs: Tensor) -> Readings:
    predicted = read.split(outputs[:, None])
    return Readings(
        np.ones((len(outputs), 1), dtype=bool),
        predicted.means.double().numpy(),
        predicted.sigmas.double().numpy(),
        [mixture.densities() for mixture in predicted.angles],
        [log.exp().double().numpy() for log in predicted.choices],
    )


def _detections(read: ReadClass, log_rates: Tensor, outputs: Tensor) -> Readings:
    """The likeliest nodes, one after another: a cell with the highest rate left, and those that tell of the same; its
    angles are those of the first.
    """
    predicted = read.split(outputs)
    means, sigmas = predicted.means, predicted.sigmas
    rates = log_rates.exp()
    probabilities = [log.exp() for log in predicted.choices]
    n, count = len(rates), len(read.continuous)
    rows = torch.arange(n)
    present = np.zeros((n, read.most), dtype=bool)
    found_means = np.zeros((n, read.most, count))
    found_sigmas = np.full((n, read.most, count), 0.1)
    found_angles = [np.ones((n, read.most, GRID)) for _ in read.angles]
    found_choices = [np.full((n, read.most, size), 1.0 / size) for size in read.sizes]
    for place in range(read.most):
        top = rates.argmax(dim=1)
        centre = means[rows, top]
        gap = means - centre[:, None]
        apart = gap.square().sum(dim=2).sqrt()
        weight = rates * (apart < MERGED)
        mass = weight.sum(dim=1)
        share = weight / mass.clamp_min(1e-9)[:, None]
        shift = (share[..., None] * gap).sum(dim=1)
        spread = (share[..., None] * (sigmas**2 + (gap - shift[:, None]) ** 2)).sum(dim=1).sqrt()
        present[:, place] = (mass >= LEAST_MASS).numpy()
        found_means[:, place], found_sigmas[:, place] = (centre + shift).double().numpy(), spread.double().numpy()
        for angle, mixture in zip(found_angles, predicted.angles, strict=True):
            angle[:, place] = mixture.select((rows, top)).densities()
        for option, probability in zip(found_choices, probabilities, strict=True):
            option[:, place] = (share[..., None] * probability).sum(dim=1).double().numpy()
        rates = rates * (apart >= MERGED)
    return Readings(present, found_means, found_sigmas, found_angles, found_choices)


def _joined(parts: Sequence[Readings]) -> Readings:
    return Readings(
        np.concatenate([each.present for each in parts]),
        np.concatenate([each.means for each in parts]),
        np.concatenate([each.sigmas for each in parts]),
        [np.concatenate(column) for column in zip(*(each.angles for each in parts), strict=True)],
        [np.concatenate(column) for column in zip(*(each.choices for each in parts), strict=True)],
    )


def _parts(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [images[start : start + AT_ONCE] for start in range(0, len(images), AT_ONCE)] or [images]
