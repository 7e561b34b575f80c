"""A probe: a network that influences are measured at, and the direction that they are measured along."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from autosim.errors import UserError
from autosim.learning.influence.direction import Approximation, Direction, influence_direction
from autosim.learning.influence.frames_loss import FramesLoss
from autosim.learning.schedule import TrainingSchedule
from autosim.learning.tasks.task import Task
from autosim.rendering.frames import Frames


class Probe:
    """Influences of frames at ``network``; :meth:`point` has to be called first. ``UserError`` for a task without.

    How long the network has trained matters more than anything else. An influence says what a frame does for the
    validation frames through what the network still has to learn: one that has learned all that its frames can teach
    learns most from frames that are farthest from them.
    """

    def __init__(self, task: Task, network: nn.Module, device: torch.device | str = "cpu") -> None:
        if not task.has_influences:
            raise UserError(
                f"influences cannot be measured at {type(task).__name__}, whose losses do not follow from its outputs; "
                "take another network, or a method without influences"
            )
        self.task, self.network, self.device = task, network, device
        self.direction: Direction | None = None

    def renew(self, seed: int, frames: Frames, schedule: TrainingSchedule) -> None:
        """Train a network with fresh weights on ``frames`` for one epoch, with the schedule's batches and rate;
        :meth:`point` has to be called again.
        """
        self.network = self.task.network(seed).to(self.device)
        self.task.train(self.network, frames, replace(schedule, epochs=1), seed, self.device)
        self.direction = None

    def point(
        self,
        validation: Frames,
        frames: Frames,
        approximation: Approximation,
        damping: float,
        limit: int,
        relative: bool = True,
    ) -> None:
        """Find ``v`` of :func:`influence_direction` for the validation loss and the curvature on ``frames``."""
        g = FramesLoss(self.task, self.network, validation, self.device).gradient()
        loss = FramesLoss(self.task, self.network, frames, self.device)
        self.direction = influence_direction(loss, g, approximation, damping, limit, relative)

    def influences(self, frames: Frames) -> Tensor:
        """(n,) ``v·∂l_k/∂θ``; ``ValueError`` before the probe is pointed."""
        return self.measure(frames)[:, 0]

    def measure(self, frames: Frames) -> Tensor:
        """(n, 2) influences and losses; ``ValueError`` before the probe is pointed."""
        if self.direction is None:
            raise ValueError("probe: it has to be pointed before influences can be measured")
        loss = FramesLoss(self.task, self.network, frames, self.device)
        return torch.stack(loss.influences_and_losses(self.direction.v), dim=1)

    def state_dict(self) -> dict[str, Any]:
        """Weights and direction."""
        direction = None if self.direction is None else dict(vars(self.direction))
        return {"network": self.network.state_dict(), "direction": direction}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        self.network.load_state_dict(state["network"])
        self.network.eval()
        self.direction = None if state["direction"] is None else Direction(**state["direction"])
