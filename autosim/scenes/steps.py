"""Step rules: how the gradient of a loss moves a generator's parameters."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from autosim.scenes.generator import SceneGenerator
from autosim.scenes.grammar import Grammar, child_seed
from autosim.scenes.parametric import ParametricGenerator


class StepRule(ABC):
    """Moves a generator's parameters against the gradient of a loss, and projects them back into their bounds."""

    @abstractmethod
    def __call__(self, loss: Tensor, noise: float = 0.0) -> None:
        """One step. ``noise`` is the variance that the estimated correlation of signal and attribute would have if the
        signal did not depend on the attribute; rules that cannot use it ignore it.
        """

    def state_dict(self) -> dict[str, Any]:
        """What later steps depend on."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        return None


class GradientStep(StepRule):
    """Steps of ``rate`` times the natural gradient, for means, and ``choice_rate`` times the gradient, for logits.

    The gradient in a mean is multiplied by its normal's variance, the inverse of the Fisher information: for a signal
    of unit variance the step is then ``rate`` standard deviations times the correlation r of signal and attribute. The
    step is multiplied by ``(1 − noise / r²)``, or by 0 where that is negative: a correlation that may well be chance
    moves nothing (the positive-part James-Stein estimate of one mean).
    """

    def __init__(self, generator: ParametricGenerator, rate: float, choice_rate: float) -> None:
        self.generator, self.rate, self.choice_rate = generator, rate, choice_rate

    def __call__(self, loss: Tensor, noise: float = 0.0) -> None:
        """One step."""
        generator = self.generator
        moved = [(generator.means, self.rate), (generator.logits, self.choice_rate)]
        gradients = torch.autograd.grad(loss, [parameter for parameter, _ in moved], allow_unused=True)
        with torch.no_grad():
            for (parameter, rate), gradient in zip(moved, gradients, strict=True):
                if gradient is None:
                    continue
                if parameter is generator.means:
                    spreads = generator.log_spreads.exp()
                    correlation = gradient * spreads
                    kept = (1 - noise / correlation.square().clamp(min=1e-30)).clamp(min=0)
                    gradient = kept * correlation * spreads
                parameter.sub_(rate * gradient)
        generator.project()


class AdamStep(StepRule):
    """Adam with rate ``rate`` on all parameters of a generator."""

    def __init__(self, generator: SceneGenerator, rate: float) -> None:
        self.generator = generator
        self.optimiser = torch.optim.Adam(generator.parameters(), lr=rate, betas=(0.9, 0.99))

    def __call__(self, loss: Tensor, noise: float = 0.0) -> None:
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


def stepped_generator(
    grammar: Grammar,
    kind: Literal["parametric", "transformer"],
    rate: float,
    choice_rate: float,
    seed: np.random.SeedSequence,
) -> tuple[SceneGenerator, StepRule]:
    """A generator that starts at the grammar's priors, and its rule: :class:`GradientStep` for independent attributes,
    :class:`AdamStep` at a hundredth of ``rate`` for the distribution transformer, which is pre-trained first.
    """
    if kind == "parametric":
        parametric = ParametricGenerator(grammar)
        return parametric, GradientStep(parametric, rate, choice_rate)
    # Only the transformer needs torch-geometric, which takes long to import.
    from autosim.scenes.pretraining import pretrain
    from autosim.scenes.transformer import DistributionTransformer

    transformer = DistributionTransformer(grammar, seed=int(seed.generate_state(1)[0]))
    pretrain(transformer, child_seed(seed, 0))
    return transformer, AdamStep(transformer, rate / 100)
