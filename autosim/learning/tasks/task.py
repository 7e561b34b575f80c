"""Tasks: the network that the data is for, how it learns and how it is scored."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from autosim.learning.schedule import TrainingSchedule
from autosim.learning.training import fit
from autosim.rendering.frames import Frames
from autosim.seeding import torch_seeded


class Task(ABC):
    """What the rendered data is for. ``score_name`` names the score; larger is better, in [0, 1]."""

    score_name: str

    @abstractmethod
    def network(self, seed: int) -> nn.Module:
        """A fresh network; equal seeds give equal weights. No layer may mix samples of a batch."""

    @abstractmethod
    def prepare(self, frames: Frames, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """(inputs (n, …), targets (n, …)) as the network and the losses take them."""

    @abstractmethod
    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(n,) loss of each sample, differentiable in ``outputs``."""

    @abstractmethod
    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """Score of the network's outputs on a whole set, in [0, 1]."""

    def vary(self, inputs: Tensor) -> Tensor:
        """A batch of inputs as training sees it, drawn by torch's global random state; as they are by default."""
        return inputs

    def train(
        self,
        network: nn.Module,
        frames: Frames,
        schedule: TrainingSchedule,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> float:
        """Train in place, as :func:`fit` does; returns the last epoch's mean loss. Equal arguments and thread counts
        give equal weights.
        """
        if not len(frames):
            raise ValueError("training: no frames to train on")
        inputs, targets = self.prepare(frames, device)
        network.to(device).train()
        sums: list[float] = []

        def loss_of(batch: Tensor) -> Tensor:
            batch = batch.to(device)
            losses = self.losses(network(self.vary(inputs[batch])), targets[batch])
            sums.append(float(losses.detach().sum()))
            return losses.mean()

        with torch_seeded(seed, device):
            fit(network, len(frames), schedule, torch.Generator().manual_seed(seed), loss_of)
        network.eval()
        return sum(sums[-(len(sums) // schedule.epochs) :]) / len(frames)

    def evaluate(
        self, network: nn.Module, frames: Frames, device: torch.device | str = "cpu", batch_size: int = 128
    ) -> float:
        """Score of a network on frames."""
        return self.score(*self.predict(network, frames, device, batch_size))

    @torch.no_grad()
    def predict(
        self, network: nn.Module, frames: Frames, device: torch.device | str = "cpu", batch_size: int = 128
    ) -> tuple[Tensor, Tensor]:
        """(outputs (n, …) of a network on frames, targets (n, …))."""
        inputs, targets = self.prepare(frames, device)
        network.to(device).eval()
        return torch.cat([network(part) for part in inputs.split(batch_size)]), targets
