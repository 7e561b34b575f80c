"""Adversarial variational optimisation: a discriminator says which frames look like the target's, and the generator's
distribution moves towards these.

Louppe, Hermans and Cranmer, "Adversarial Variational Optimization of Non-Differentiable Simulators", AISTATS 2019: a
discriminator by cross-entropy with the R1 penalty of Mescheder et al. (ICML 2018); a proposal over the simulator's
parameters moved by the score function, with a penalty on its entropy. Here the proposal is the generator itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autosim.algorithm import Algorithm, Metrics
from autosim.learning.schedule import half_cosine
from autosim.ranges import Checked, Range
from autosim.search_space import LogUniformRange, OneOf, UniformRange, tunable

if TYPE_CHECKING:
    from torch import Tensor

    from autosim.scenes.generator import SceneGenerator
    from autosim.session import Session


@dataclass(frozen=True)
class AvoConfig(Checked):
    """Options of adversarial variational optimisation.

    Args:
        iterations: steps of the generator.
        batch_size: frames rendered in a step.
        spread: smallest standard deviation at the start, as a share of the range: it is learned from there.
        learning_rate: of Adam on the generator's means and the logarithms of its spreads.
        choice_rate: of Adam on its logits.
        entropy: weight of the generator's entropy, which is added to the loss: above 0 it prefers narrow distributions.
        critic_steps: steps of the discriminator for each of the generator.
        critic_rate: learning rate of its Adam.
        critic_width: its channels in the first layer.
        penalty: weight of the squared gradient of its logit at the target's images (R1).
    """

    iterations: Annotated[int, Range(least=1)] = 150
    batch_size: Annotated[int, Range(least=4)] = tunable(48, OneOf((24, 48, 96)))
    spread: Annotated[float, Range(least=0.005, most=0.5)] = tunable(0.15, UniformRange(0.05, 0.3))
    learning_rate: Annotated[float, Range(above=0)] = tunable(0.03, LogUniformRange(5e-3, 0.1))
    choice_rate: Annotated[float, Range(above=0)] = tunable(0.05, LogUniformRange(0.01, 0.5))
    entropy: Annotated[float, Range(least=0)] = 0.0
    critic_steps: Annotated[int, Range(least=1)] = tunable(4, OneOf((2, 4, 8)))
    critic_rate: Annotated[float, Range(above=0)] = 1e-3
    critic_width: Annotated[int, Range(least=4)] = 16
    penalty: Annotated[float, Range(least=0)] = tunable(1.0, LogUniformRange(0.1, 10.0))


class Avo(Algorithm):
    """Adversarial learning of the generator's distribution by the score function; it sees images alone."""

    name: ClassVar[str] = "avo"
    Config: ClassVar[type] = AvoConfig
    needs = ("attributes",)

    def __init__(self, session: Session, config: AvoConfig) -> None:
        import torch

        from autosim.learning.critic import Critic
        from autosim.scenes.parametric import ParametricGenerator

        super().__init__(session, config)
        self.proposal = ParametricGenerator(session.env.prior(), learn_spread=True)
        with torch.no_grad():
            self.proposal.log_spreads.clamp_(min=math.log(config.spread))
        groups: list[dict[str, Any]] = [
            {"params": [self.proposal.means, self.proposal.log_spreads], "lr": config.learning_rate},
            {"params": [self.proposal.logits], "lr": config.choice_rate},
        ]
        self.optimiser = torch.optim.Adam(groups, betas=(0.5, 0.99))
        self.rates = [group["lr"] for group in self.optimiser.param_groups]
        images = session.target.images.images
        seed = session.integer_seed("critic")
        self.critic = Critic(images, config.critic_width, config.critic_rate, config.penalty, seed, session.device)
        self.history: list[float] = []

    @classmethod
    def shown(cls, config: AvoConfig) -> str:
        """The images alone."""
        return "images"

    @property
    def generator(self) -> SceneGenerator:
        """The proposal as of now."""
        return self.proposal

    def step(self, iteration: int) -> Metrics:
        """Frames of the proposal; some steps of the discriminator; one of the proposal towards higher logits."""
        import torch

        session, config = self.session, self.config
        # The rates fall to a fiftieth by the last iteration, so that the noise of the steps averages out.
        decay = half_cosine(session.progress(iteration, config.iterations), down_to=0.02)
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * decay
        samples = self.proposal.sample(config.batch_size, session.seed_sequence("scenes", iteration))
        images = session.render(samples.scenes, "frames", iteration).images
        loss = self.critic.train(images, config.critic_steps, session.seed_sequence("critic", iteration))
        logits = self.critic.logits(images)
        with torch.no_grad():
            cost = -logits.double()
            if config.entropy:
                # The gradient of the entropy is the score function of minus the log-probability.
                cost = cost - config.entropy * self.proposal.log_prob(samples)
        self.optimiser.zero_grad(set_to_none=True)
        self.proposal.score_function_loss(samples, less_the_others(cost), enumerate_choices=True).backward()
        self.optimiser.step()
        self.proposal.project()
        self.history.append(loss)
        spread = float(self.proposal.log_spreads.detach().exp().mean()) if len(self.proposal.log_spreads) else 0.0
        score = self.session.score_at_end(self.proposal, iteration, self.config.iterations)
        return {"val_score": score, "critic_loss": loss, "spread": spread}

    def state_dict(self) -> dict[str, Any]:
        """Proposal, discriminator, both optimisers, and the losses so far."""
        return {
            "proposal": self.proposal.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "critic": self.critic.state_dict(),
            "history": list(self.history),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        self.proposal.load_state_dict(state["proposal"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.critic.load_state_dict(state["critic"])
        self.history = list(state["history"])

    def summary(self) -> dict[str, float]:
        """The discriminator's loss over the last fifth of the steps; log 4 where it tells nothing apart."""
        last = self.history[-max(1, len(self.history) // 5) :]
        return {"critic_loss_end": sum(last) / len(last)} if last else {}


def less_the_others(cost: Tensor) -> Tensor:
    """Each cost (n,) less the mean of the others, a baseline that keeps the score-function estimate unbiased."""
    return (cost - cost.mean()) * (len(cost) / (len(cost) - 1))
