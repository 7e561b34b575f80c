"""Small tasks on plain arrays, for tests of second-order tools: they need no frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from autosim.learning.tasks.targets import Targets
from autosim.learning.tasks.task import Scorer, Task
from autosim.rendering.frames import Frames


def scored(task: Task, outputs: Tensor, targets: Targets) -> float:
    """The score of one batch of outputs."""
    scorer = task.scorer()
    scorer.update(outputs, targets)
    return scorer.compute()


def perceptron(outputs: int) -> list[nn.Module]:
    """Two layers on three numbers."""
    return [nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, outputs)]


def convolutional() -> list[nn.Module]:
    """Convolutions with group normalisation on 4×4 images of one channel."""
    return [
        nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3)
    ]  # fmt: skip


class ArrayTask(Task):
    """A task whose inputs and targets a test makes itself."""

    score_name = "accuracy"

    def __init__(self, *layers: nn.Module) -> None:
        self.layers = layers

    def network(self, seed: int) -> nn.Module:
        """The given layers in double precision, with normal parameters."""
        network = nn.Sequential(*self.layers).double()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.normal_(0, 0.5, generator=generator)
        return network

    def prepare(self, frames: Frames, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Not for frames."""
        raise NotImplementedError

    def scorer(self) -> Scorer:
        """Not scored."""
        raise NotImplementedError


class Classification(ArrayTask):
    """Cross-entropy of class indices (n,)."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(n,) nats."""
        return functional.cross_entropy(outputs, targets, reduction="none")


class Logistic(ArrayTask):
    """Logistic regression: targets (n,) 0 or 1, one output."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(n,) nats."""
        return functional.binary_cross_entropy_with_logits(outputs[:, 0], targets.to(outputs), reduction="none")


class Wavy(ArrayTask):
    """A loss that is not convex in the outputs."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(n,)"""
        return torch.sin(2 * outputs - targets[:, None]).mean(dim=1)


class Linear(ArrayTask):
    """A loss that is linear in the outputs: no curvature there."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(n,)"""
        return (outputs * targets[:, None]).mean(dim=1)
