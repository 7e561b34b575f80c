"""Which attributes of scenes are read off pictures, their true values as tensors, and the density of a prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from autosim.scenes.graph import Categorical, Continuous, SceneGraph, Schema

# Smallest and largest standard deviation of a prediction, as fractions of the range.
LEAST_SIGMA, MOST_SIGMA = 0.003, 1.0


@dataclass(frozen=True)
class ReadClass:
    """The mutable attributes of a class of nodes: of its only node in each scene (``single``), or of a set of ``most``
    nodes at most, of which a picture does not tell which is which.

    A prediction for a node is a vector of ``outputs`` numbers: for each continuous attribute its mean (of a periodic
    one a sine and a cosine) and then a logarithm of its standard deviation, for each categorical one its logits.
    """

    name: str
    single: bool
    most: int
    continuous: tuple[Continuous, ...]
    categorical: tuple[Categorical, ...]

    @cached_property
    def periodic(self) -> Tensor:
        """(C,) whether each continuous attribute is periodic."""
        return torch.tensor([each.periodic for each in self.continuous], dtype=torch.bool)

    @cached_property
    def sizes(self) -> list[int]:
        """Number of choices of each categorical attribute."""
        return [len(each.choices) for each in self.categorical]

    @property
    def outputs(self) -> int:
        """Numbers that predict a node."""
        return sum(3 if each.periodic else 2 for each in self.continuous) + sum(self.sizes)

    def attribute_keys(self) -> list[str]:
        """``class.attribute`` of the continuous and then the categorical ones."""
        names = [each.name for each in self.continuous] + [each.name for each in self.categorical]
        return [f"{self.name}.{name}" for name in names]

    def split(self, outputs: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """(means (…, C) in units of the range, standard deviations (…, C), log-probabilities (…, K) of each choice)
        of predictions (…, outputs).
        """
        means: list[Tensor] = []
        position = 0
        for each in self.continuous:
            if each.periodic:
                angle = torch.atan2(outputs[..., position], outputs[..., position + 1] + 1e-6)
                means.append(angle / (2 * math.pi) % 1.0)
            else:
                means.append(outputs[..., position] + 0.5)
            position += 2 if each.periodic else 1
        count = len(self.continuous)
        logs = outputs[..., position : position + count] - 1.5
        sigmas = logs.clamp(math.log(LEAST_SIGMA), math.log(MOST_SIGMA)).exp()
        choices = outputs[..., position + count :].split(self.sizes, dim=-1) if self.sizes else ()
        stacked = torch.stack(means, dim=-1) if means else outputs[..., :0]
        return stacked, sigmas, [logits.log_softmax(dim=-1) for logits in choices]

    def difference(self, a: Tensor, b: Tensor) -> Tensor:
        """``a - b`` of continuous values (…, C), along the shorter way of periodic ones."""
        gap = a - b
        return torch.where(self.periodic.to(gap.device), (gap + 0.5) % 1.0 - 0.5, gap)

    def log_prob(self, outputs: Tensor, continuous: Tensor, choices: Tensor) -> Tensor:
        """(…) log-density of true values: normalised ``continuous`` (…, C) and indices of ``choices`` (…, D)."""
        means, sigmas, logs = self.split(outputs)
        scaled = self.difference(continuous, means) / sigmas
        total = (-0.5 * scaled**2 - sigmas.log() - 0.5 * math.log(2 * math.pi)).sum(dim=-1)
        for place, log in enumerate(logs):
            shape = torch.broadcast_shapes(log.shape[:-1], choices.shape[:-1])
            index = choices[..., place].expand(shape)[..., None]
            total = total + log.expand(*shape, log.shape[-1]).gather(-1, index)[..., 0]
        return total


@dataclass(frozen=True)
class NodeLabels:
    """True attributes of one class in n scenes: ``present`` (n, most), ``continuous`` (n, most, C), ``choices`` int64
    (n, most, D).
    """

    present: Tensor
    continuous: Tensor
    choices: Tensor

    def select(self, index: Tensor) -> NodeLabels:
        """Those of some scenes."""
        return NodeLabels(self.present[index], self.continuous[index], self.choices[index])

    def joined(self, others: NodeLabels) -> NodeLabels:
        """These scenes, and then ``others``."""
        pairs = zip(
            (self.present, self.continuous, self.choices),
            (others.present, others.continuous, others.choices),
            strict=True,
        )
        return NodeLabels(*(torch.cat(pair) for pair in pairs))


def read_classes(schema: Schema, scenes: Sequence[SceneGraph]) -> tuple[ReadClass, ...]:
    """The classes that have mutable attributes with more than one value, as they occur in ``scenes``."""
    found: list[ReadClass] = []
    for node_class in schema.classes:
        numbers = [sum(1 for _ in scene.find(node_class.name)) for scene in scenes]
        attributes = [each for each in node_class.attributes if each.mutable]
        continuous = tuple(each for each in attributes if isinstance(each, Continuous))
        categorical = tuple(each for each in attributes if isinstance(each, Categorical) and len(each.choices) > 1)
        if max(numbers) and (continuous or categorical):
            single = min(numbers) == max(numbers) == 1
            found.append(ReadClass(node_class.name, single, max(numbers), continuous, categorical))
    return tuple(found)


def node_labels(schema: Schema, read: ReadClass, scenes: Sequence[SceneGraph]) -> NodeLabels:
    """True attributes of a class; nodes beyond ``most`` are left out."""
    present = np.zeros((len(scenes), read.most), dtype=bool)
    continuous = np.zeros((len(scenes), read.most, len(read.continuous)), dtype=np.float32)
    choices = np.zeros((len(scenes), read.most, len(read.categorical)), dtype=np.int64)
    for row, scene in enumerate(scenes):
        for place, node in zip(range(read.most), scene.find(read.name), strict=False):
            present[row, place] = True
            continuous[row, place] = [each.normalise(float(node[each.name])) for each in read.continuous]
            choices[row, place] = [each.index(node[each.name]) for each in read.categorical]
    return NodeLabels(torch.from_numpy(present), torch.from_numpy(continuous), torch.from_numpy(choices))


def set_loss(read: ReadClass, log_rates: Tensor, outputs: Tensor, background: Tensor, labels: NodeLabels) -> Tensor:
    """(n,) negative log-likelihood of sets of nodes under a Poisson process: cells of ``log_rates`` (n, cells) with
    predictions (n, cells, outputs), and a uniform ``background`` (log-rate, scalar) for what no cell explains. It needs
    neither an order of the nodes nor a matching of nodes to cells.
    """
    density = read.log_prob(outputs[:, None], labels.continuous[:, :, None], labels.choices[:, :, None])
    uniform = background - sum(math.log(size) for size in read.sizes)
    known = torch.logsumexp(log_rates[:, None] + density, dim=2)
    each = torch.logaddexp(known, uniform.expand_as(known))
    expected = log_rates.exp().sum(dim=1) + background.exp()
    return expected - (labels.present * each).sum(dim=1)
