"""Meta-Sim (Kar et al., ICCV 2019): match the target's image features, and learn from the task's score.

Algorithm 1: transform grammar samples, render, lower the MMD² to the target (Eq. 1) through the renderer, train the
task network on the frames and push its validation score up by REINFORCE (Eq. 3-4).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from autosim.algorithm import Algorithm, Metrics
from autosim.learning.schedule import half_cosine
from autosim.ranges import Checked, Range
from autosim.search_space import LogUniformRange, OneOf, UniformRange, tunable

if TYPE_CHECKING:
    from autosim.scenes.generator import SceneGenerator
    from autosim.session import Session


@dataclass(frozen=True)
class MetaSimConfig(Checked):
    """Options of Meta-Sim.

    Args:
        iterations: steps of the generator.
        batch_size: scenes rendered in a step.
        divergence: of image features: the paper's MMD², or a debiased Sinkhorn divergence (optimal transport).
        learning_rate: of Adam on the transformer's network.
        offsets: learn an offset for each slot's attribute too, beside the network (the paper has the network alone).
        offset_rate: of Adam on the offsets of continuous attributes.
        choice_rate: of Adam on the offsets of categorical attributes.
        std: preset standard deviation around each predicted attribute, as a fraction of its range.
        exploration: added to std at first; it falls to 0. An object that has left the picture gives no
            gradient; while its place is spread out, some of its samples stay in.
        learn_spread: learn the standard deviations too, starting from std; there is no exploration then.
        residual: transform the attributes by a correction that starts at zero, instead of predicting them.
        categorical: move categorical attributes as well, by the score function of the MMD (the paper keeps them).
        task_loss: add the task's validation score (the paper's second loss).
        task_weight: weight of the task loss.
        task_steps: steps of the generator whose frames the task network is trained on after each.
        task_rate: learning rate of that training.
        baseline_decay: of the moving average of past scores.
        score_every: steps from one training of the task network to the next; 1 where there is the task loss.
    """

    iterations: Annotated[int, Range(least=1)] = 80
    batch_size: Annotated[int, Range(least=4)] = tunable(24, OneOf((8, 16, 24, 32)))
    divergence: Literal["mmd", "sinkhorn"] = "mmd"
    learning_rate: Annotated[float, Range(above=0)] = tunable(1e-3, LogUniformRange(1e-4, 1e-2))
    offsets: bool = True
    offset_rate: Annotated[float, Range(above=0)] = tunable(0.06, LogUniformRange(0.01, 0.2))
    choice_rate: Annotated[float, Range(above=0)] = tunable(0.15, LogUniformRange(0.02, 0.6))
    std: Annotated[float, Range(least=0.005, most=0.5)] = 0.01
    exploration: Annotated[float, Range(least=0, most=0.5)] = tunable(0.06, UniformRange(0.0, 0.15))
    learn_spread: bool = False
    residual: bool = False
    categorical: bool = True
    task_loss: bool = True
    task_weight: Annotated[float, Range(least=0)] = tunable(1e-3, LogUniformRange(1e-4, 1e-2))
    task_steps: Annotated[int, Range(least=1)] = 4
    task_rate: Annotated[float, Range(above=0)] = 2e-3
    baseline_decay: Annotated[float, Range(least=0, below=1)] = 0.9
    score_every: Annotated[int, Range(least=1)] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task_loss and self.score_every != 1:
            raise ValueError(f"score_every: {self.score_every} is not 1, and the task loss needs a score of each step")


class MetaSim(Algorithm):
    """Distribution matching and task performance through a distribution transformer."""

    name: ClassVar[str] = "metasim"
    Config: ClassVar[type] = MetaSimConfig
    needs = ("continuous attributes",)

    def __init__(self, session: Session, config: MetaSimConfig) -> None:
        import torch

        from algorithms.task_network import OnlineTaskNetwork
        from autosim.learning.matching import FIGURES, matcher_of
        from autosim.scenes.generator import MovingAverage
        from autosim.scenes.pretraining import pretrain
        from autosim.scenes.transformer import DistributionTransformer

        super().__init__(session, config)
        self.transformer = DistributionTransformer(
            session.env.prior(),
            std=config.std,
            learn_spread=config.learn_spread,
            residual=config.residual,
            seed=session.integer_seed("transformer"),
        ).to(session.device)
        with session.stage("pre-training"):
            self.pretraining = pretrain(self.transformer, session.seed_sequence("pretraining"))
        self.features = session.features.features
        images = session.target.images.images
        self.matcher = matcher_of(config.divergence, session.features, images, session.device)
        offsets = [self.transformer.offsets] if config.offsets else []
        groups: list[dict[str, Any]] = [
            {"params": list(self.transformer.network.parameters())},
            {"params": [*offsets, self.transformer.log_spreads], "lr": config.offset_rate},
            {"params": [self.transformer.choice_offsets] if config.offsets else [], "lr": config.choice_rate},
        ]
        self.optimiser = torch.optim.Adam(groups, lr=config.learning_rate, betas=(0.9, 0.99))
        self.rates = [group["lr"] for group in self.optimiser.param_groups]
        self.task = OnlineTaskNetwork(session, config.task_steps, config.task_rate)
        self.baseline = MovingAverage(config.baseline_decay)
        self.score: float | None = None
        self.figure = FIGURES[config.divergence]
        self.history: dict[str, list[float]] = {self.figure: [], "task_loss": []}

    @classmethod
    def shown(cls, config: MetaSimConfig) -> str:
        """The images; with the task loss the labels too."""
        return "images, labels" if config.task_loss else "images"

    @property
    def generator(self) -> SceneGenerator:
        """The distribution transformer."""
        return self.transformer

    def step(self, iteration: int) -> Metrics:
        """Algorithm 1, one epoch of one batch."""
        import torch

        session, config = self.session, self.config
        # The rates fall to a fiftieth by the last iteration, so that the noise of the steps averages out.
        decay = half_cosine(session.progress(iteration, config.iterations), down_to=0.02)
        if not config.learn_spread:
            self.transformer.set_spread(config.std + config.exploration * max(decay - 0.02, 0.0))
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * decay
        samples = self.transformer.sample(config.batch_size, session.seed_sequence("scenes", iteration))
        images, drawn = session.differentiable_render(samples, "frames", iteration)
        # The task network learns from these frames while others at shifted attributes are rendered.
        due = iteration % config.score_every == 0
        scored = session.in_background(partial(self.task, drawn, iteration)) if due else lambda: self.score
        phi = self.features(images)
        divergence = self.matcher(phi)
        (slopes,) = torch.autograd.grad(divergence, samples.values)
        loss = (samples.values * slopes).sum()
        if config.categorical:
            # The renderer has no derivative in a category: the score function of the same divergence moves those.
            cost = self.matcher.witness(phi.detach(), baseline=True)
            loss = loss + self.transformer.score_function_loss(samples, cost, "categorical")
        self.score = scored()
        losses = {self.figure: float(divergence.detach())}
        if config.task_loss and self.score is not None:
            advantage = self.score - self.baseline.update(self.score)
            task_loss = -advantage * self.transformer.log_prob(samples).sum()
            loss = loss + config.task_weight * task_loss
            losses["task_loss"] = float(task_loss.detach())
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.transformer.project()
        for name, value in losses.items():
            self.history[name].append(value)
        return {"val_score": self.score, **losses}

    def seen(self) -> dict[str, float]:
        """What the features tell of each attribute."""
        return dict(self.features.seen)

    def state_dict(self) -> dict[str, Any]:
        """Transformer, optimiser, task network, baseline and the losses so far."""
        return {
            "transformer": self.transformer.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "task": self.task.state_dict(),
            "baseline": self.baseline.value,
            "score": self.score,
            "history": {name: list(values) for name, values in self.history.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        self.transformer.load_state_dict(state["transformer"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.task.load_state_dict(state["task"])
        self.baseline.value, self.score = state["baseline"], state["score"]
        self.history = {name: list(values) for name, values in state["history"].items()}

    def summary(self) -> dict[str, float]:
        """Both losses apart: first and last fifth of the steps, averaged."""
        figures: dict[str, float] = {
            "pretraining_steps": self.pretraining.steps,
            "pretraining_converged": self.pretraining.converged,
        }
        for name, values in self.history.items():
            if values:
                part = max(1, len(values) // 5)
                figures[f"{name}_start"] = sum(values[:part]) / part
                figures[f"{name}_end"] = sum(values[-part:]) / part
        return figures
