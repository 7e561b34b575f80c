"""Tasks: the networks that the data is for, how they learn and how they are scored."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from autosim.learning.schedule import TrainingSchedule
from autosim.learning.tasks.targets import Targets
from autosim.learning.training import NETWORKS, adam, fit, images_at_once
from autosim.rendering.annotations import Annotation
from autosim.rendering.frames import Frames
from autosim.seeding import torch_seeded

# Most pixels, and most images, in a batch that is evaluated.
EVALUATED_PIXELS, EVALUATED_IMAGES = 2**19, 128


@dataclass(frozen=True)
class TaskScore:
    """The score of a network, in [0, 1] or NaN, and that of each class that has one, by name."""

    value: float
    by_class: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def mean(cls, scores: Sequence[TaskScore]) -> TaskScore:
        """The mean of one or more scores; of a class, over those that it has one in."""
        names = dict.fromkeys(name for score in scores for name in score.by_class)
        found = {name: [score.by_class[name] for score in scores if name in score.by_class] for name in names}
        by_class = {name: math.fsum(values) / len(values) for name, values in found.items()}
        return cls(math.fsum(score.value for score in scores) / len(scores), by_class)


class Scorer(ABC):
    """Scores a network's outputs batch by batch, so that those of a whole data set are never in memory."""

    @abstractmethod
    def update(self, outputs: Tensor, targets: Any) -> None:
        """Add the outputs (n, …) for a batch and its targets."""

    @abstractmethod
    def compute(self) -> float:
        """The score of everything added so far, in [0, 1], larger is better."""

    def by_class(self) -> dict[str, float]:
        """The score of each class that has one, by name; empty for tasks without classes."""
        return {}


class Task(ABC):
    """What the rendered data is for. ``score_name`` names the score; larger is better, in [0, 1].

    A task chooses the form of its targets, a tensor or a list of tensors (:data:`Targets`), and states it in its own
    signatures: nothing else reads them. ``reads`` names the annotations that :meth:`prepare` needs, so that labels of
    a user's own images are asked for these alone; None for all that are declared. ``beside`` are annotations
    that these labels have and frames that are drawn do not. ``rates`` are factors on the learning rate for parts of the
    network, by name: those that begin with trained weights learn more slowly. ``has_influences``: whether losses follow
    from the outputs, as influences need it. ``any_size``: whether its networks take pictures of any height and width.
    """

    score_name: str
    reads: tuple[str, ...] | None = None
    beside: Mapping[str, Annotation] = MappingProxyType({})
    has_influences: bool = True
    any_size: bool = True
    rates: Mapping[str, float] = MappingProxyType({})

    @abstractmethod
    def network(self, seed: int) -> nn.Module:
        """A fresh network; equal seeds give equal weights. No layer may mix samples of a batch. Outputs are one tensor
        (n, …).
        """

    @abstractmethod
    def prepare(self, frames: Frames, device: torch.device | str = "cpu") -> tuple[Tensor, Targets]:
        """(inputs (n, …), targets of n samples) of a batch of frames, as the network and the losses take them.

        What a frame gives depends on this frame alone. ``ValueError`` where annotations are missing or do not fit.
        """

    @abstractmethod
    def losses(self, outputs: Tensor, targets: Any) -> Tensor:
        """(n,) loss of each sample, differentiable in ``outputs``; that of a sample depends on this sample alone."""

    @abstractmethod
    def scorer(self) -> Scorer:
        """A scorer that has seen nothing yet."""

    def training_losses(self, network: nn.Module, inputs: Tensor, targets: Any) -> Tensor:
        """(n,) loss of each sample in training: that of the outputs, unless a network's losses need the truth before
        there are outputs.
        """
        return self.losses(network(inputs), targets)

    def vary(self, inputs: Tensor, targets: Any) -> tuple[Tensor, Targets]:
        """A batch as training uses it, varied by torch's global random state; unchanged by default. A change of an
        input, a flip say, is made to its target too; shapes of inputs and the number of samples stay.
        """
        return inputs, targets

    def train(
        self,
        network: nn.Module,
        frames: Frames,
        schedule: TrainingSchedule,
        seed: int,
        device: torch.device | str = "cpu",
        optimiser: torch.optim.Optimizer | None = None,
    ) -> float:
        """Train in place, as :func:`fit` does; returns the last epoch's mean loss. Equal arguments and thread counts
        give equal weights. Frames are converted as they are used: only a batch is held as floating-point numbers. An
        ``optimiser`` (of :meth:`optimiser`) goes on from where it was, at a constant rate.
        """
        if not len(frames):
            raise ValueError("training: no frames to train on")
        network.to(device).train()
        sums: list[float] = []

        def loss_of(batch: Tensor) -> Tensor:
            inputs, targets = self.vary(*self.prepare(frames.select(batch.numpy()), device))
            losses = self.training_losses(network, inputs, targets)
            sums.append(float(losses.detach().sum()))
            return losses.mean()

        with torch_seeded(seed, device):
            order = torch.Generator().manual_seed(seed)
            fit(network, len(frames), schedule, order, loss_of, self.rates, optimiser)
        network.eval()
        return sum(sums[-(len(sums) // schedule.epochs) :]) / len(frames)

    def optimiser(self, network: nn.Module, rate: float) -> torch.optim.Optimizer:
        """Adam as :meth:`train` uses it, for a network that is trained on again and again."""
        return adam(network, rate, self.rates)

    def evaluate(
        self, network: nn.Module, frames: Frames, device: torch.device | str = "cpu", batch_size: int | None = None
    ) -> float:
        """Score of a network on frames; ``ValueError`` where there are none."""
        return self.scored(network, frames, device, batch_size).compute()

    def scored(
        self, network: nn.Module, frames: Frames, device: torch.device | str = "cpu", batch_size: int | None = None
    ) -> Scorer:
        """A scorer with a network's outputs on frames: it gives the score, and the score of each class."""
        if not len(frames):
            raise ValueError("evaluation: no frames to score on")
        scorer = self.scorer()
        with NETWORKS.running():
            for outputs, targets in self.predict(network, frames, device, batch_size):
                scorer.update(outputs, targets)
        return scorer

    def found(self, network: nn.Module, frames: Frames, device: torch.device | str = "cpu") -> Frames | None:
        """A few frames with what a network finds in them in place of the truth, as annotations of the same names and
        forms, for the report; None where a task has nothing to show.
        """
        return None

    def predict(
        self, network: nn.Module, frames: Frames, device: torch.device | str = "cpu", batch_size: int | None = None
    ) -> Iterator[tuple[Tensor, Targets]]:
        """(outputs of a network, targets), batch by batch and in the order of the frames. A batch has ``batch_size``
        frames; by default 128, or fewer where images are large.
        """
        network.to(device).eval()
        size = batch_size or images_at_once(frames.images, EVALUATED_PIXELS, EVALUATED_IMAGES)
        for start in range(0, len(frames), size):
            inputs, targets = self.prepare(frames.select(slice(start, start + size)), device)
            with torch.no_grad():
                outputs = network(inputs)
            yield outputs, targets
