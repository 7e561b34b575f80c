"""Step rules: how the gradient of a loss moves a generator's parameters."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from autosim.scenes.generator import SceneGenerator
from autosim.scenes.parametric import ParametricGenerator


class StepRule(ABC):
    """Moves a generator's parameters against the gradient of a loss, and projects them back into their bounds."""

    @abstractmethod
    def __call__(self, loss: Tensor) -> None:
        """One step."""

    def state_dict(self) -> dict[str, Any]:
        """What later steps depend on."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        return None


class GradientStep(StepRule):
    """Steps of ``rate`` times the gradient, for means, and ``choice_rate`` times, for logits.

    With ``natural`` the gradient in a mean is multiplied by its normal's variance, the inverse of the Fisher
    information: for a signal of unit variance the step is then ``rate`` standard deviations times the correlation of
    signal and attribute.
    """

    def __init__(self, generator: ParametricGenerator, rate: float, choice_rate: float, natural: bool) -> None:
        self.generator, self.rate, self.choice_rate, self.natural = generator, rate, choice_rate, natural

    def __call__(self, loss: Tensor) -> None:
        """One step."""
        generator = self.generator
        moved = [(generator.means, self.rate), (generator.logits, self.choice_rate)]
        gradients = torch.autograd.grad(loss, [parameter for parameter, _ in moved], allow_unused=True)
        with torch.no_grad():
            for (parameter, rate), gradient in zip(moved, gradients, strict=True):
                if gradient is None:
                    continue
                if self.natural and parameter is generator.means:
                    gradient = gradient * generator.log_spreads.exp().square()
                parameter.sub_(rate * gradient)
        generator.project()


class AdamStep(StepRule):
    """Adam with rate ``rate`` on all parameters of a generator."""

    def __init__(self, generator: SceneGenerator, rate: float) -> None:
        self.generator = generator
        self.optimiser = torch.optim.Adam(generator.parameters(), lr=rate, betas=(0.9, 0.99))

    def __call__(self, loss: Tensor) -> None:
        """One step."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.generator.project()

    def state_dict(self) -> dict[str, Any]:
        """The optimiser's state."""
        return copy.deepcopy(self.optimiser.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        self.optimiser.load_state_dict(state)
