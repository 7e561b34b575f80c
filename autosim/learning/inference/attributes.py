"""Which attributes of scenes are read off pictures, their true values as tensors, and the density of a prediction."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

from autosim.learning.inference.angles import OUTPUTS, AngleMixture
from autosim.scenes.generator import number_key, numbers_of_nodes
from autosim.scenes.graph import Attribute, Categorical, Continuous, SceneGraph, Schema

# Smallest and largest standard deviation of a prediction, as fractions of the range.
LEAST_SIGMA, MOST_SIGMA = 0.003, 1.0
# Longest gradient of a training with even gradients.
MOST_GRADIENT = 20.0


@dataclass(frozen=True)
class Prediction:
    """What is predicted of nodes: ``means`` and ``sigmas`` (…, C) in units of the range, a mixture for each angle, and
    log-probabilities (…, K) of each choice.
    """

    means: Tensor
    sigmas: Tensor
    angles: list[AngleMixture]
    choices: list[Tensor]


@dataclass(frozen=True)
class ReadClass:
    """The mutable attributes of a class of nodes: of its only node in each scene (``single``), or of a set of ``most``
    nodes at most, of which a picture does not tell which is which.

    ``continuous`` are those on a line, ``angles`` the periodic ones. A prediction for a node is a vector of ``outputs``
    numbers: the means on the lines, logarithms of their standard deviations, mixtures for the angles, logits of the
    choices. Where ``parent`` names a single class, it is made given the parent's own attributes: what is told from a
    road is told once it is known which way the road goes. Of a class that ``varies``, scenes have different numbers.
    """

    name: str
    single: bool
    most: int
    continuous: tuple[Continuous, ...]
    categorical: tuple[Categorical, ...]
    angles: tuple[Continuous, ...] = ()
    parent: str = ""
    varies: bool = False

    @cached_property
    def sizes(self) -> list[int]:
        """Number of choices of each categorical attribute."""
        return [len(each.choices) for each in self.categorical]

    @property
    def outputs(self) -> int:
        """Numbers that predict a node."""
        return 2 * len(self.continuous) + OUTPUTS * len(self.angles) + sum(self.sizes)

    @property
    def told(self) -> int:
        """Numbers that tell a child where its parent is (:meth:`telling`)."""
        return len(self.continuous) + 2 * len(self.angles)

    @property
    def attributes(self) -> tuple[Continuous | Categorical, ...]:
        """Those on lines, the angles, and the choices."""
        return (*self.continuous, *self.angles, *self.categorical)

    @property
    def number_key(self) -> str:
        """The name of how many nodes there are."""
        return number_key(self.name)

    def attribute_keys(self) -> list[str]:
        """``class.attribute`` of :attr:`attributes`."""
        return [f"{self.name}.{each.name}" for each in self.attributes]

    def places_of(self, attribute: str) -> list[int]:
        """Which numbers of a prediction are about an attribute."""
        count = len(self.continuous)
        for place, each in enumerate(self.continuous):
            if each.name == attribute:
                return [place, count + place]
        first = 2 * count
        sizes = [*[OUTPUTS] * len(self.angles), *self.sizes]
        for name, size in zip([each.name for each in self.attributes[count:]], sizes, strict=True):
            if name == attribute:
                return list(range(first, first + size))
            first += size
        raise KeyError(attribute)

    def telling(self, continuous: Tensor, angles: Tensor) -> Tensor:
        """(…, told) numbers about -1 to 1 for values (…, C) in units of the range and angles (…, A) in turns."""
        turned = 2 * math.pi * angles
        return torch.cat([2 * continuous - 1, turned.sin(), turned.cos()], dim=-1)

    def split(self, outputs: Tensor) -> Prediction:
        """What predictions (…, outputs) say."""
        count = len(self.continuous)
        sizes = [count, count, *[OUTPUTS] * len(self.angles), *self.sizes]
        means, logs, *rest = outputs.split(sizes, dim=-1)
        sigmas = (logs - 1.5).clamp(math.log(LEAST_SIGMA), math.log(MOST_SIGMA)).exp()
        angles, choices = rest[: len(self.angles)], rest[len(self.angles) :]
        return Prediction(
            means + 0.5,
            sigmas,
            [AngleMixture.of(each) for each in angles],
            [logits.log_softmax(dim=-1) for logits in choices],
        )

    def joined(self, means: Tensor, sigmas: Tensor, angles: Tensor, choices: Sequence[Tensor]) -> Tensor:
        """(…, outputs) that say what :meth:`split` splits: ``means`` and ``sigmas`` (…, C) in units of the range,
        numbers for the mixtures of all angles (…, :data:`OUTPUTS` A), log-probabilities of each choice.
        """
        return torch.cat([means - 0.5, sigmas.clamp_min(LEAST_SIGMA).log() + 1.5, angles, *choices], dim=-1)

    def log_prob(self, outputs: Tensor, truth: NodeLabels, even: bool = False) -> Tensor:
        """(…) log-density of true values, whose shapes broadcast with predictions (…, outputs).

        ``even`` weights gradients of the means by twice their standard deviations: else what is told precisely pulls
        some hundred times as hard as the rest, which is then not learned (Seitzer et al., "On the pitfalls of
        heteroscedastic uncertainty estimation with probabilistic neural networks", 2022, Section 4, β = .5).
        """
        predicted = self.split(outputs)
        means = predicted.means
        if even:
            weights = 2 * predicted.sigmas.detach()
            means = weights * means + ((1 - weights) * means).detach()
        scaled = (truth.continuous - means) / predicted.sigmas
        total = (-0.5 * scaled**2 - predicted.sigmas.log() - 0.5 * math.log(2 * math.pi)).sum(dim=-1)
        for place, mixture in enumerate(predicted.angles):
            total = total + mixture.log_prob(truth.angles[..., place])
        for place, log in enumerate(predicted.choices):
            shape = torch.broadcast_shapes(log.shape[:-1], truth.choices.shape[:-1])
            index = truth.choices[..., place].expand(shape)[..., None]
            total = total + log.expand(*shape, log.shape[-1]).gather(-1, index)[..., 0]
        return total


@dataclass(frozen=True)
class NodeLabels:
    """True attributes of one class in n scenes: ``present`` (n, most), ``continuous`` (n, most, C) in units of the
    range, ``angles`` (n, most, A) in turns, ``choices`` int64 (n, most, D).
    """

    present: Tensor
    continuous: Tensor
    angles: Tensor
    choices: Tensor

    def parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The four tensors."""
        return self.present, self.continuous, self.angles, self.choices

    def select(self, index: Any) -> NodeLabels:
        """Those of some scenes, or some nodes: anything that indexes a tensor."""
        return NodeLabels(*(part[index] for part in self.parts()))

    def joined(self, others: NodeLabels) -> NodeLabels:
        """These scenes, and then ``others``."""
        return NodeLabels(*(torch.cat(pair) for pair in zip(self.parts(), others.parts(), strict=True)))


def read_classes(schema: Schema, scenes: Sequence[SceneGraph], ruled: Collection[str] = ()) -> tuple[ReadClass, ...]:
    """The classes that have mutable attributes with more than one value, as they occur in ``scenes``; parents before
    their children. ``ruled`` (``class.attribute``) are read as well, which rules set.
    """
    found: dict[str, ReadClass] = {}
    above = {each.name: _parents(scenes, each.name) for each in schema.classes}
    # A class comes after the one that its nodes hang on.
    for node_class in sorted(schema.classes, key=lambda each: _depth(above, each.name)):
        numbers = numbers_of_nodes(scenes, node_class.name)
        attributes = [
            each for each in node_class.attributes if each.mutable or f"{node_class.name}.{each.name}" in ruled
        ]
        numeric = [each for each in attributes if isinstance(each, Continuous)]
        categorical = tuple(each for each in attributes if isinstance(each, Categorical) and len(each.choices) > 1)
        if not numbers.max() or not (numeric or categorical):
            continue
        parents = above[node_class.name]
        known = found.get(next(iter(parents))) if len(parents) == 1 else None
        found[node_class.name] = ReadClass(
            node_class.name,
            bool(numbers.min() == numbers.max() == 1),
            int(numbers.max()),
            tuple(each for each in numeric if not each.periodic),
            categorical,
            tuple(each for each in numeric if each.periodic),
            known.name if known is not None and known.single and known.told else "",
            bool(numbers.min() < numbers.max()),
        )
    return tuple(found.values())


def is_place(attribute: Attribute) -> TypeGuard[Continuous]:
    """Whether an attribute is learned, and on a line: nodes are told apart by these."""
    return isinstance(attribute, Continuous) and attribute.mutable and not attribute.periodic


def node_labels(schema: Schema, read: ReadClass, scenes: Sequence[SceneGraph]) -> NodeLabels:
    """True attributes of a class; nodes beyond ``most`` are left out."""
    shape = (len(scenes), read.most)
    present = np.zeros(shape, dtype=bool)
    continuous = np.zeros((*shape, len(read.continuous)), dtype=np.float32)
    angles = np.zeros((*shape, len(read.angles)), dtype=np.float32)
    choices = np.zeros((*shape, len(read.categorical)), dtype=np.int64)
    for row, scene in enumerate(scenes):
        for place, node in zip(range(read.most), scene.find(read.name), strict=False):
            present[row, place] = True
            continuous[row, place] = [each.normalise(float(node[each.name])) for each in read.continuous]
            angles[row, place] = [each.normalise(float(node[each.name])) for each in read.angles]
            choices[row, place] = [each.index(node[each.name]) for each in read.categorical]
    return NodeLabels(*(torch.from_numpy(part) for part in (present, continuous, angles, choices)))


def set_loss(
    read: ReadClass,
    log_rates: Tensor,
    outputs: Tensor,
    background: Tensor,
    labels: NodeLabels,
    even: bool = False,
) -> Tensor:
    """(n,) negative log-likelihood of sets of nodes under a Poisson process: cells of ``log_rates`` (n, cells) with
    predictions (n, cells, outputs), and a uniform ``background`` (log-rate, scalar) for what no cell explains. It needs
    neither an order of the nodes nor a matching of nodes to cells. ``even`` as in :meth:`ReadClass.log_prob`.
    """
    density = read.log_prob(outputs[:, None], labels.select((slice(None), slice(None), None)), even)
    uniform = background - sum(math.log(size) for size in read.sizes)
    known = torch.logsumexp(log_rates[:, None] + density, dim=2)
    each = torch.logaddexp(known, uniform.expand_as(known))
    expected = log_rates.exp().sum(dim=1) + background.exp()
    return expected - (labels.present * each).sum(dim=1)


def _parents(scenes: Sequence[SceneGraph], name: str) -> set[str]:
    """Classes of the nodes on which those of a class hang, and "" where one hangs on none."""
    found: set[str] = set()
    for scene in scenes:
        for node, parent in zip(scene.nodes, scene.parents, strict=True):
            if node.node_class == name:
                found.add("" if parent < 0 else scene.nodes[parent].node_class)
    return found


def _depth(above: dict[str, set[str]], name: str) -> int:
    """How many classes are above one, each the only one above the next."""
    depth, seen = 0, {name}
    while len(above.get(name, ())) == 1 and (name := next(iter(above[name]))) and name not in seen:
        depth += 1
        seen.add(name)
    return depth
