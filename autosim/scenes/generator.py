"""The contract of scene generators: learned distributions ``q_psi(s)`` over scene graphs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autosim.scenes.attributes import Attribute, Categorical
from autosim.scenes.grammar import Grammar
from autosim.scenes.graph import Continuous, SceneGraph, Schema
from autosim.seeding import seed_sequence

Part = Literal["all", "continuous", "categorical"]
"""Which of a scene's learned attributes a log-probability covers; methods may move the two kinds in different ways."""

# Scenes from which means, spreads and probabilities are estimated where a generator has no parameters for each.
SCENES_READ = 1024


@dataclass(frozen=True)
class ContinuousSummary:
    """Mean and standard deviation of a continuous attribute in its own unit (circular where periodic)."""

    mean: float
    std: float


@dataclass(frozen=True)
class CategoricalSummary:
    """Frequency of each choice of a categorical attribute."""

    probabilities: tuple[float, ...]


AttributeSummary = ContinuousSummary | CategoricalSummary


@dataclass(frozen=True)
class Samples:
    """A batch drawn from a generator.

    ``values`` (m,) are the normalised mutable continuous attributes of all scenes, one scene after another in the order
    of ``Schema.mutable_continuous``: equal to those of ``scenes`` but differentiable in the generator's parameters
    (reparameterised). ``sources`` are the grammar samples that were transformed, for generators that transform some.
    """

    scenes: tuple[SceneGraph, ...]
    values: Tensor
    sources: tuple[SceneGraph, ...] | None = None

    def __len__(self) -> int:
        return len(self.scenes)


class SceneGenerator(nn.Module, ABC):
    """A distribution over scenes with parameters ``psi``: it samples, and it gives a differentiable ``log_prob``."""

    schema: Schema

    @abstractmethod
    def sample(self, count: int, seed: np.random.SeedSequence) -> Samples:
        """Draw ``count`` scenes; equal seeds and parameters give equal scenes. Scenes satisfy ``schema.validate``."""

    @abstractmethod
    def log_prob(self, samples: Samples, part: Part = "all") -> Tensor:
        """(count,) log-probability of each scene's learned attributes (of one kind), differentiable in the parameters.

        Parts that the generator does not learn (structure, immutable attributes) are left out: they are constants.
        """

    def picture_log_prob(self, samples: Samples) -> Tensor:
        """(count,) log-probability, up to a constant, of each scene's picture: that of all scenes with the same
        picture.

        Where slots of a class are interchangeable, neither a picture nor a signal that is measured on pictures depends
        on which slot holds which node. The derivative of this probability is then the mean of that of ``log_prob`` over
        all scenes with the same picture (Rao-Blackwell): the score-function estimate has the same mean and less
        variance. Generators without such slots return ``log_prob``.
        """
        return self.log_prob(samples)

    def project(self) -> None:
        """Put parameters that an optimiser moved out of bounds back within them: call it after every step.

        Does nothing in generators whose parameters are free.
        """
        return None

    def explore(self, spread: float, share: float) -> None:
        """Draw from a wider distribution while a method explores; ``log_prob`` is then that of the wider one.

        Standard deviations (normalised) that are not learned become those of the start, but at least ``spread``; no
        choice is less likely than ``share``, or, where there are many choices, than three quarters of an equal share.
        ``explore(0, 0)`` ends it. Generators without either ignore it.
        """
        return None

    def parameters_by_key(self) -> dict[str, AttributeSummary]:
        """Means, spreads and probabilities of the mutable attributes by ``schema.key``, continuous ones in their own
        unit.

        Generators that have such parameters return these; the others estimate them from a sample of scenes, always with
        the same seed.
        """
        with torch.no_grad():
            scenes = self.sample(SCENES_READ, seed_sequence(0, "parameters by key")).scenes
        return summarise(self.schema, scenes)

    def set_parameters(self, parameters: Mapping[str, AttributeSummary]) -> None:
        """Set means, spreads and probabilities of some attributes, as :meth:`parameters_by_key` gives them; spreads and
        probabilities beyond the generator's own bounds are set to the bound.

        ``ValueError`` names the key that is unknown, of another kind or out of range, and nothing is set then;
        ``NotImplementedError`` where the generator has no parameters of single attributes.
        """
        raise NotImplementedError(f"{type(self).__name__} has no parameters of single attributes that could be set")

    @torch.no_grad()
    def move_towards(self, other: SceneGenerator, share: float) -> None:
        """Move a ``share`` in [0, 1] of the way to the learned parameters of ``other``, a generator of the same grammar
        and options; what is not learned is copied. Called after each step, it keeps an average of the steps.
        """
        for mine, theirs in zip(self.parameters(), other.parameters(), strict=True):
            mine.lerp_(theirs, share if mine.requires_grad else 1.0)

    def score_function_loss(
        self, samples: Samples, signal: Tensor, part: Part = "all", enumerate_choices: bool = False
    ) -> Tensor:
        """``mean_k signal_k · log q(s_k)``: its gradient is the score-function estimate of ``∇ E_q[signal]``.

        ``signal`` (count,) is a cost (to be lowered) with any baseline already subtracted; it is detached here.
        ``enumerate_choices`` lowers the variance in categorical parts, by an estimate from the mean signal of each
        choice; generators that cannot do so ignore it.
        """
        return (signal.detach() * self.log_prob(samples, part)).mean()


@dataclass
class MovingAverage:
    """Exponential moving average used as a baseline; starts at the first value seen."""

    decay: float = 0.9
    value: float | None = None

    def update(self, observation: float) -> float:
        """Take in an observation and return the average *before* it (the first time: the observation itself)."""
        previous = observation if self.value is None else self.value
        self.value = observation if self.value is None else self.decay * self.value + (1 - self.decay) * observation
        return previous


class GrammarSource(SceneGenerator):
    """A grammar's own distribution where a generator is asked for; it learns nothing."""

    def __init__(self, grammar: Grammar) -> None:
        super().__init__()
        self.grammar = grammar
        self.schema = grammar.schema

    def sample(self, count: int, seed: np.random.SeedSequence) -> Samples:
        """``count`` scenes of the grammar; ``values`` stays empty."""
        return Samples(tuple(self.grammar.sample_many(count, seed)), torch.empty(0))

    def log_prob(self, samples: Samples, part: Part = "all") -> Tensor:
        """Zeros: there are no learned choices."""
        return torch.zeros(len(samples))


def check_summary(key: str, attribute: Attribute, summary: AttributeSummary) -> None:
    """``ValueError`` names the ``key`` where a summary is not of the attribute's kind, or out of its range."""
    if isinstance(attribute, Categorical):
        if not isinstance(summary, CategoricalSummary):
            raise ValueError(f"{key}: expected the probabilities of {len(attribute.choices)} choices, found {summary}")
        chances = summary.probabilities
        if len(chances) != len(attribute.choices):
            raise ValueError(f"{key}: {len(chances)} probabilities for {len(attribute.choices)} choices")
        if not all(0 <= chance <= 1 for chance in chances) or abs(math.fsum(chances) - 1) > 1e-3:
            raise ValueError(f"{key}: probabilities {chances} are not in [0, 1] or do not add up to 1")
        return
    if not isinstance(summary, ContinuousSummary):
        raise ValueError(f"{key}: expected a mean and a standard deviation, found {summary}")
    # A mean of values at a bound may lie beyond it by rounding.
    slack = 1e-9 * (attribute.high - attribute.low)
    if not attribute.low - slack <= summary.mean <= attribute.high + slack:
        raise ValueError(f"{key}: mean {summary.mean} is outside [{attribute.low}, {attribute.high}]")
    if not 0 <= summary.std < math.inf:
        raise ValueError(f"{key}: standard deviation {summary.std} is not in [0, infinity)")


def number_key(node_class: str) -> str:
    """What the number of a class's nodes is called among the keys of attributes."""
    return f"number of {node_class}"


def numbers_of_nodes(scenes: Sequence[SceneGraph], node_class: str) -> NDArray[np.int64]:
    """(n,) how many nodes of a class each scene has."""
    return np.array([sum(1 for _ in scene.find(node_class)) for scene in scenes], dtype=np.int64)


def summarise(schema: Schema, scenes: Sequence[SceneGraph], mutable_only: bool = True) -> dict[str, AttributeSummary]:
    """Empirical summary of every (mutable) attribute by ``schema.key``, in the order of the schema."""
    collected: dict[str, list[float]] = {}
    specs = {}
    for scene in scenes:
        for node in scene.nodes:
            for attribute in schema.node_class(node.node_class).attributes:
                if mutable_only and not attribute.mutable:
                    continue
                key = schema.key(node, attribute.name)
                specs[key] = attribute
                value = node[attribute.name]
                number = float(value) if isinstance(attribute, Continuous) else float(attribute.index(value))
                collected.setdefault(key, []).append(number)
    result: dict[str, AttributeSummary] = {}
    for key in collected:
        attribute, numbers = specs[key], np.array(collected[key])
        if not isinstance(attribute, Continuous):
            counts = np.bincount(numbers.astype(int), minlength=len(attribute.choices))
            result[key] = CategoricalSummary(tuple(float(c) for c in counts / counts.sum()))
        elif attribute.periodic:
            span = attribute.high - attribute.low
            angle = 2 * np.pi * (numbers - attribute.low) / span
            resultant = np.exp(1j * angle).mean()
            mean = attribute.low + float(np.angle(resultant)) % (2 * np.pi) / (2 * np.pi) * span
            deviation = (numbers - mean + span / 2) % span - span / 2
            result[key] = ContinuousSummary(mean, float(np.sqrt((deviation**2).mean())))
        else:
            result[key] = ContinuousSummary(float(numbers.mean()), float(numbers.std()))
    return result
