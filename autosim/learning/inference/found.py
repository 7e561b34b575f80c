"""Which nodes a network's predictions tell of: one of a single class, the likeliest of a set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autosim.learning.inference.angles import OUTPUTS
from autosim.learning.inference.attributes import NodeLabels, ReadClass
from autosim.learning.inference.calibration import Readings, matched
from autosim.learning.inference.network import Predicted

# Cells whose means are nearer than this, as a share of the range, tell of one node.
MERGED = 0.06
# Expected number of nodes that a detection has to stand for.
LEAST_MASS = 0.3


@dataclass(frozen=True)
class Found:
    """Nodes of one class in n pictures: ``present`` (n, most), predictions ``outputs`` (n, most, outputs) and, unless
    nothing is looked for, ``places`` (n, most, 2), x and y in [-1, 1].
    """

    present: Tensor
    outputs: Tensor
    places: Tensor | None

    def select(self, part: slice) -> Found:
        """Those of some pictures."""
        places = None if self.places is None else self.places[part]
        return Found(self.present[part], self.outputs[part], places)

    def readings(self, read: ReadClass) -> Readings:
        """What the predictions say."""
        predicted = read.split(self.outputs)
        return Readings(
            self.present.numpy(),
            predicted.means.double().numpy(),
            predicted.sigmas.double().numpy(),
            [mixture.densities() for mixture in predicted.angles],
            [log.exp().double().numpy() for log in predicted.choices],
        )


@dataclass(frozen=True)
class FoundNodes:
    """k nodes that were found and are known: in pictures ``rows`` (k,), at ``places`` (k, 2), predicted by ``outputs``
    (k, outputs), and their ``truth`` (k, …).
    """

    rows: Tensor
    places: Tensor
    outputs: Tensor
    truth: NodeLabels

    def select(self, index: Tensor) -> FoundNodes:
        """Some of them."""
        return FoundNodes(self.rows[index], self.places[index], self.outputs[index], self.truth.select(index))


def nodes_at(read: ReadClass, found: Found, truth: NodeLabels) -> FoundNodes:
    """The nodes found that are near a true one."""
    assert found.places is not None
    rows, detections, nodes = torch.from_numpy(matched(read, found.readings(read), truth))
    at = rows, detections
    return FoundNodes(rows, found.places[at], found.outputs[at], truth.select((rows, nodes)))


def joined(parts: Sequence[Found]) -> Found:
    """Those of several parts of the pictures, one after another."""
    places = [each.places for each in parts if each.places is not None]
    return Found(
        torch.cat([each.present for each in parts]),
        torch.cat([each.outputs for each in parts]),
        torch.cat(places) if places else None,
    )


def nodes_found(read: ReadClass, predicted: Predicted, coordinates: Tensor) -> Found:
    """The nodes in ``predicted``; ``coordinates`` (2, rows, columns) are those of the cells."""
    if predicted.rates is None:
        place = predicted.place
        present = torch.ones(len(predicted.outputs), 1, dtype=torch.bool)
        return Found(present, predicted.outputs[:, None], None if place is None else place[:, None])
    return _likeliest(read, predicted.rates, predicted.outputs, coordinates.flatten(1).T)


def _likeliest(read: ReadClass, log_rates: Tensor, outputs: Tensor, coordinates: Tensor) -> Found:
    """One after another: a cell with the highest rate left, and those that tell of the same; its angles are those of
    the first.
    """
    predicted = read.split(outputs)
    means, sigmas = predicted.means, predicted.sigmas
    rates = log_rates.exp()
    first = 2 * len(read.continuous)
    angles = outputs[..., first : first + OUTPUTS * len(read.angles)]
    rows = torch.arange(len(rates))
    present, found, places = [], [], []
    for _ in range(read.most):
        top = rates.argmax(dim=1)
        centre = means[rows, top]
        gap = means - centre[:, None]
        apart = gap.square().sum(dim=2).sqrt()
        weight = rates * (apart < MERGED)
        mass = weight.sum(dim=1)
        share = weight / mass.clamp_min(1e-9)[:, None]
        shift = (share[..., None] * gap).sum(dim=1)
        spread = (share[..., None] * (sigmas**2 + (gap - shift[:, None]) ** 2)).sum(dim=1).sqrt()
        choices = [(share[..., None] * log.exp()).sum(dim=1).clamp_min(1e-6).log() for log in predicted.choices]
        present.append(mass >= LEAST_MASS)
        found.append(read.joined(centre + shift, spread, angles[rows, top], choices))
        places.append(share @ coordinates)
        rates = rates * (apart >= MERGED)
    return Found(torch.stack(present, dim=1), torch.stack(found, dim=1), torch.stack(places, dim=1))
