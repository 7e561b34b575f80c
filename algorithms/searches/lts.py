"""Learning to simulate (Ruiz, Schulter and Chandraker, ICLR 2019): a policy over parameters, learned by REINFORCE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from algorithms.searches.rungs import Rungs
from algorithms.searches.search import SearchConfig, best_of, finished, penalised, require_labels, round_metrics
from autosim.algorithm import Algorithm, Metrics
from autosim.ranges import Range
from autosim.search_space import LogUniformRange, OneOf, tunable

if TYPE_CHECKING:
    from torch import Tensor

    from autosim.scenes.generator import SceneGenerator
    from autosim.session import Session


@dataclass(frozen=True)
class LearningToSimulateConfig(SearchConfig):
    """Options of learning to simulate.

    Args:
        datasets: data sets a step, K in the paper: each of parameters drawn from the policy, in parallel.
        spread: standard deviation of the policy around its means, as a fraction of each range; it stays as it is.
        learning_rate: of Adam on the policy's means.
        choice_rate: of Adam on its logits.
        baseline_decay: of the moving average of past scores.
        standardise: divide the advantages of a step by the standard deviation of its scores (not in the paper).
        keep_best: the result is the parameters whose data set scored best, instead of the policy's own (not in the
            paper).
    """

    datasets: Annotated[int, Range(least=1)] = tunable(5, OneOf((5, 10, 40, 50)))
    spread: Annotated[float, Range(above=0)] = tunable(0.1, LogUniformRange(0.03, 0.3))
    learning_rate: Annotated[float, Range(above=0)] = tunable(0.05, LogUniformRange(0.01, 0.2))
    choice_rate: Annotated[float, Range(above=0)] = tunable(0.3, LogUniformRange(0.05, 1.0))
    baseline_decay: Annotated[float, Range(least=0, below=1)] = 0.9
    standardise: bool = tunable(False, OneOf((False, True)))
    keep_best: bool = False


class LearningToSimulate(Algorithm):
    """A Gaussian over the scaled parameters and a distribution over the choices of categorical ones.

    The policy's parameters are those of ``policy``, a generator: its ``means`` and ``logits``. Where the policy draws
    the parameters of a data set, the generator itself draws scenes.
    """

    name: ClassVar[str] = "lts"
    Config: ClassVar[type] = LearningToSimulateConfig
    needs = ("attributes",)

    def __init__(self, session: Session, config: LearningToSimulateConfig) -> None:
        import torch

        from autosim.scenes.generator import MovingAverage
        from autosim.scenes.parametric import ParametricGenerator

        super().__init__(session, config)
        require_labels(session, self.name)
        self.policy = ParametricGenerator(session.env.prior())
        groups: list[dict[str, Any]] = [
            {"params": [self.policy.means]},
            {"params": [self.policy.logits], "lr": config.choice_rate},
        ]
        self.optimiser = torch.optim.Adam(groups, lr=config.learning_rate)
        self.baseline = MovingAverage(config.baseline_decay)
        self.scores: list[float] = []
        self.given_up: list[int] = []
        self.rungs = Rungs(session, config.rungs, config.frames, config.epochs)
        self.best_parameters: dict[str, Any] = {}

    @property
    def generator(self) -> SceneGenerator:
        """The policy's means and probabilities; with ``keep_best`` the parameters of the best data set."""
        if not (self.config.keep_best and self.best_parameters):
            return self.policy
        return self.policy.with_parameters(**self.best_parameters)

    def step(self, iteration: int) -> Metrics:
        """Algorithm 1: draw K sets of parameters, score a data set of each, one step along the policy gradient."""
        means, choices = self.draw(iteration)
        generators = [self.policy.with_parameters(m, c) for m, c in zip(means, choices, strict=True)]
        latest, given_up = self.rungs.score(generators, iteration)
        self.given_up += [len(self.scores) + i for i in given_up]
        self.scores += latest
        best = best_of(finished(self.scores, self.given_up))
        if best is not None and best >= len(self.scores) - len(latest):
            row = best - len(self.scores)
            self.best_parameters = {"means": means[row], "choices": choices[row]}
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss(means, choices, penalised(self.scores)[-len(latest) :])
        loss.backward()
        self.optimiser.step()
        self.policy.project()
        return round_metrics(finished(self.scores, self.given_up), latest)

    def draw(self, iteration: int) -> tuple[Tensor, Tensor]:
        """Means (K, C) before censoring or wrapping, and indices of the choices (K, D), drawn from the policy."""
        import numpy as np
        import torch

        count, policy = self.config.datasets, self.policy
        rng = np.random.default_rng(self.session.seed_sequence("policy", iteration))
        noise = torch.from_numpy(rng.standard_normal((count, len(policy.means)))).to(policy.means.dtype)
        uniform = torch.from_numpy(rng.random((count, len(policy.choices()))))
        means = policy.means.detach() + self.config.spread * noise
        choices = [choice.sample(uniform[:, i]) for i, choice in enumerate(policy.choices())]
        return means, torch.stack(choices, dim=1) if choices else torch.zeros(count, 0, dtype=torch.int64)

    def loss(self, means: Tensor, choices: Tensor, scores: list[float]) -> Tensor:
        """Minus the mean of advantage times log-probability: its gradient is minus the policy gradient."""
        import torch

        rewards = torch.tensor(scores, dtype=torch.float64)
        advantages = rewards - self.baseline.update(float(rewards.mean()))
        if self.config.standardise:
            advantages = advantages / rewards.std(correction=0).clamp(min=1e-8)
        return -(advantages * self.log_prob(means, choices)).mean()

    def log_prob(self, means: Tensor, choices: Tensor) -> Tensor:
        """(K,) log-probability of drawn parameters, but for a constant; differentiable in the policy's parameters."""
        total = -0.5 * ((means - self.policy.means).double() / self.config.spread).square().sum(dim=1)
        for i, choice in enumerate(self.policy.choices()):
            total = total + choice.log_prob(choices[:, i])
        return total

    def state_dict(self) -> dict[str, Any]:
        """Policy, optimiser, baseline, scores and the best parameters."""
        return {
            "policy": self.policy.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "baseline": self.baseline.value,
            "scores": list(self.scores),
            "full": list(self.given_up),
            "rungs": self.rungs.state_dict(),
            "best_parameters": dict(self.best_parameters),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        self.policy.load_state_dict(state["policy"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.baseline.value = state["baseline"]
        self.scores = list(state["scores"])
        # States from before there were rungs have neither.
        self.given_up = list(state.get("given_up", []))
        if "rungs" in state:
            self.rungs.load_state_dict(state["rungs"])
        self.best_parameters = dict(state["best_parameters"])
