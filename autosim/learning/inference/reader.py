"""A trained network that reads scenes off pictures, calibrated on frames that it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from autosim.learning.features.content_network import input_size, network_input
from autosim.learning.features.labels import mask_shares
from autosim.learning.features.statistics import image_statistics
from autosim.learning.inference.attributes import (
    MOST_GRADIENT,
    NodeLabels,
    ReadClass,
    node_labels,
    read_classes,
    set_loss,
)
from autosim.learning.inference.calibration import (
    Calibration,
    Frequencies,
    Readings,
    calibrated,
    posterior,
)
from autosim.learning.inference.found import Found, joined, nodes_at, nodes_found
from autosim.learning.inference.network import CELL, SceneNetwork
from autosim.learning.inference.second_look import SecondLook, looked, train_second_look
from autosim.learning.schedule import TrainingSchedule
from autosim.learning.training import fit, to_tensor
from autosim.rendering.annotations import Annotation, class_mask
from autosim.rendering.drawn import DrawnFrames
from autosim.scenes.graph import Schema
from autosim.seeding import torch_seeded

# Images whose predictions are made at once.
AT_ONCE = 128
# Weight of the grid of the mask's classes, which no reading is made of.
GRID_WEIGHT = 4.0
# The same where the mask shows where nodes are: what is small there is not found before the grid shows it.
LOCATING_WEIGHT = 60.0
# Most that a pixel of a rare class counts for.
MOST_BALANCE = 20.0
# Share by which a second look has to explain more of an attribute to count.
LEAST_BETTER = 0.02
# When readings of children are calibrated, their parent is read as if it were known to be so near to the truth.
NEAR = 0.08


class SceneReader:
    """A network and its calibration; :meth:`train` again refines both on other frames."""

    def __init__(
        self,
        schema: Schema,
        frames: DrawnFrames,
        declared: Mapping[str, Annotation],
        edge: int,
        seed: int,
        even: bool = False,
        second_looks: bool = True,
        ruled: Collection[str] = (),
    ) -> None:
        self.schema, self.declared, self.seed = schema, declared, seed
        self.even, self.second_looks = even, second_looks
        self.read = read_classes(schema, frames.scenes, ruled)
        height, width = frames.frames.images.shape[1:3]
        self.size = input_size(height, width, edge)
        mask = class_mask(declared)
        self.mask = () if mask is None else tuple(mask[1].classes)
        with torch_seeded(seed):
            self.network = SceneNetwork(self.read, self.mask, self.size)
            self.looks = {each.name: SecondLook(each) for each in self.read}
        self.network.to(memory_format=torch.channels_last)
        # By class that a second look is worth, attributes of which it tells more.
        self.helpful: dict[str, list[str]] = {}
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
        parts = [frames.select(slice(kept))] + ([others] if others is not None else [])
        inputs = torch.cat([self._inputs(part.frames.images) for part in parts])
        statistics = torch.cat([self._statistics(part.frames.images) for part in parts])
        labels = self._labels(parts)
        grids = [self._grid(part) for part in parts]
        grid = None if grids[0] is None else torch.cat([each for each in grids if each is not None])
        if not self.calibrations:
            self.network.statistics_mean.copy_(statistics.mean(dim=0))
            self.network.statistics_std.copy_(statistics.std(dim=0, unbiased=False) + 1e-3)
        self.network.train()
        losses: list[float] = []

        told = self._true_parents(labels)
        balance, grid_weight = None, GRID_WEIGHT
        if grid is not None and self.network.shown:
            grid_weight = LOCATING_WEIGHT
            # Where the mask shows where nodes are, what is rare in it counts as much as what is not.
            balance = (1.0 / (len(self.mask) * grid.mean(dim=(0, 2, 3))).clamp_min(1e-3)).clamp_max(MOST_BALANCE)

        def loss_of(batch: Tensor) -> Tensor:
            given = {name: values[batch] for name, values in told.items()}
            predicted, logits = self.network(inputs[batch], statistics[batch], given)
            total = inputs.new_zeros(())
            for place, (read, truth) in enumerate(zip(self.read, labels, strict=True)):
                chosen = truth.select(batch)
                made = predicted[read.name]
                if made.rates is None:
                    # Where a thing is has to be told as precisely as can be: a second look goes there.
                    even = self.even and made.place is None
                    total = total - read.log_prob(made.outputs, chosen.select((slice(None), 0)), even).mean()
                else:
                    background = self.network.background[place]
                    total = total + set_loss(read, made.rates, made.outputs, background, chosen, self.even).mean()
            if logits is not None and grid is not None:
                total = total + grid_weight * functional.cross_entropy(logits, grid[batch], balance)
            losses.append(float(total.detach()))
            return total

        with torch_seeded(seed):
            order = torch.Generator().manual_seed(seed)
            fit(self.network, len(inputs), schedule, order, loss_of, most=MOST_GRADIENT if self.even else None)
        self.network.eval()
        aside = frames.select(slice(kept, None))
        self._look_again([*parts, aside], held_out, schedule, seed)
        self._calibrate(aside, labels)
        last = losses[-(len(losses) // schedule.epochs) :]
        return math.fsum(last) / len(last)

    def readings(self, images: NDArray[np.uint8], told: Mapping[str, Tensor]) -> dict[str, Readings]:
        """What is read off n images, by class. ``told`` (n, told) tells of the parents of the classes that have one, by
        the child's name; a class whose parent is not told is left out.
        """
        return {
            read.name: found.readings(read)
            for read, found in zip(self.read, self._found(images, told, self.helpful), strict=True)
            if found is not None
        }

    @torch.no_grad()
    def _found(
        self, images: NDArray[np.uint8], told: Mapping[str, Tensor], second: Mapping[str, Collection[str]]
    ) -> list[Found | None]:
        """The nodes of each class, after a second look at the attributes ``second`` by class; None where a class's
        parent is not told.
        """
        parts: list[list[Found]] = [[] for _ in self.read]
        for start in range(0, len(images), AT_ONCE):
            places = slice(start, start + AT_ONCE)
            given = {name: values[places] for name, values in told.items()}
            some = images[places]
            predicted, _ = self.network(self._inputs(some), self._statistics(some), given)
            for read, known in zip(self.read, parts, strict=True):
                if read.name not in predicted:
                    continue
                found = nodes_found(read, predicted[read.name], self.network.coordinates)
                if read.name in second:
                    found = self._seen_again(read, found, some, second[read.name])
                known.append(found)
        return [joined(known) if known else None for known in parts]

    def _look_again(self, parts: Sequence[DrawnFrames], held_out: int, schedule: TrainingSchedule, seed: int) -> None:
        """Train the second looks on all frames but the last ``held_out``, which tell whether they help."""
        refining = bool(self.calibrations)
        if not self.second_looks or (refining and not self.helpful):
            return
        images = np.concatenate([part.frames.images for part in parts])
        labels = self._labels(parts)
        first = self._found(images, self._true_parents(labels), {})
        for read, truth, found in zip(self.read, labels, first, strict=True):
            # Where nothing was gained at first, nothing will be.
            if found is None or found.places is None or (refining and read.name not in self.helpful):
                continue
            look = self.looks[read.name]
            nodes = nodes_at(read, found, truth)
            train_second_look(look, images, nodes.select(nodes.rows < len(images) - held_out), schedule, seed)
            aside = slice(len(images) - held_out, None)
            before, known, learned = found.select(aside), truth.select(aside), Frequencies.of(read, truth)
            after = self._seen_again(read, before, images[aside], [each.name for each in read.attributes])
            shares = [calibrated(read, each.readings(read), known, learned).explained for each in (before, after)]
            better = [
                each.name
                for each, key in zip(read.attributes, read.attribute_keys(), strict=True)
                if shares[1][key] > shares[0][key] + LEAST_BETTER
            ]
            if better or refining:
                self.helpful[read.name] = better

    def _seen_again(self, read: ReadClass, found: Found, images: NDArray[np.uint8], of: Collection[str]) -> Found:
        """What was found in ``images``, with some attributes as the second look tells them."""
        if found.places is None or not of:
            return found
        changed = [place for name in of for place in read.places_of(name)]
        outputs = found.outputs.clone()
        outputs[..., changed] = looked(self.looks[read.name], images, found.places, outputs)[..., changed]
        return replace(found, outputs=outputs)

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
        for read, truth, seen in zip(self.read, self._labels([frames]), trained_on, strict=True):
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

    def _labels(self, parts: Sequence[DrawnFrames]) -> list[NodeLabels]:
        scenes = [scene for part in parts for scene in part.scenes]
        return [node_labels(self.schema, read, scenes) for read in self.read]

    def _grid(self, frames: DrawnFrames) -> Tensor | None:
        if len(self.mask) < 2:
            return None
        return mask_shares(frames.frames, self.declared, (self.size[0] // CELL, self.size[1] // CELL))


def _parts(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [images[start : start + AT_ONCE] for start in range(0, len(images), AT_ONCE)] or [images]
