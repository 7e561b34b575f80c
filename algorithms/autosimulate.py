"""AutoSimulate (Behl et al., ECCV 2020): how much would each scene help on the validation frames?

Algorithm 1: sample K scenes, render, fine-tune the task network, find ``v = (H + λI)^-1 g_val``, weigh each scene by
its influence ``v·∂l_k/∂θ`` (Eq. 8), and move the distribution by the score function (Eq. 11).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from algorithms.search import require_labels
from autosim.algorithm import Algorithm, Metrics
from autosim.learning.schedule import half_cosine
from autosim.search_space import Choice, LogUniform, Uniform, tunable
from autosim.stopwatch import Stopwatch

if TYPE_CHECKING:
    from torch import Tensor

    from autosim.learning.influence import Direction
    from autosim.rendering.frames import Frames
    from autosim.scenes.generator import SceneGenerator
    from autosim.scenes.steps import StepRule
    from autosim.session import Session

# What a checkpoint holds the state of.
PARTS = ("psi", "average", "mover", "network", "replay")


@dataclass(frozen=True)
class AutoSimulateConfig:
    """Options of AutoSimulate.

    Args:
        iterations: steps of the generator.
        frames: scenes rendered in a step, K in the paper.
        rate: step size α: of the means in units of their spread's variance, or of Adam for the transformer.
        choice_rate: step size of the logits of categorical attributes.
        epochs: passes over as many frames as a step renders, ε in the paper; drawn from all frames held.
        learning_rate: of this fine-tuning.
        approximation: of the influence direction v. quadratic solves with the Gauss-Newton matrix; exact with the
            Hessian, by cg or by fmin_ncg; approximate is H g; linear is g; none is constant, blind to the validation.
        damping: λ, in multiples of the largest eigenvalue of the curvature (the exact ones: absolute, as in the paper).
        products: most curvature products to solve with.
        estimator: replay uses the influences of the scenes held, ranked and freed of what shape and colour explain;
            paper uses those of the step alone as they are.
        memory: scenes held for replay.
        warm_up: images rendered before the generator moves: influences on an untrained network say nothing.
        exploration: least standard deviation of attributes, as a fraction of their range (replay only).
        exploration_left: share of it that is left at the end of the run; it is let down in the second half.
        choice_exploration: least probability of a choice (replay only).
        generator: what is learned: independent attributes, or Meta-Sim's distribution transformer.
    """

    iterations: int = 80
    frames: int = tunable(25, Choice((20, 50, 70)))
    rate: float = tunable(1.0, Choice((0.01, 0.1, 1.0, 10.0)))
    choice_rate: float = tunable(1.0, LogUniform(0.05, 3.0))
    epochs: int = tunable(20, Choice((5, 10, 20)))
    learning_rate: float = 5e-3
    approximation: Literal["quadratic", "exact", "exact-ncg", "approximate", "linear", "none"] = "quadratic"
    damping: float = tunable(1e-2, Choice((1e-3, 1e-2, 0.1, 10.0)))
    products: int = 6
    estimator: Literal["replay", "paper"] = "replay"
    memory: int = tunable(1000, Choice((100, 300, 1000)))
    warm_up: int = 100
    exploration: float = tunable(0.2, Uniform(0.05, 0.3))
    exploration_left: float = 0.3
    choice_exploration: float = 0.25
    generator: Literal["parametric", "transformer"] = "parametric"

    def __post_init__(self) -> None:
        for name in ("iterations", "frames", "epochs", "products", "rate", "choice_rate", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: {getattr(self, name)} is not above 0")
        limits = {"exploration": 0.5, "exploration_left": 1.0, "choice_exploration": 0.3}
        for name in (*limits, "damping", "memory", "warm_up"):
            if not 0 <= getattr(self, name) <= limits.get(name, float("inf")):
                raise ValueError(f"{name}: {getattr(self, name)} is not in [0, {limits.get(name, 'infinity')}]")


class AutoSimulate(Algorithm):
    """Bilevel optimisation: the validation loss after training, differentiated by one Newton step of the training."""

    name: ClassVar[str] = "autosimulate"
    Config: ClassVar[type] = AutoSimulateConfig

    def __init__(self, session: Session, config: AutoSimulateConfig) -> None:
        from autosim.learning.replay import Replay

        super().__init__(session, config)
        require_labels(session, self.name, "influences are on the validation loss")
        self.psi, self.mover = learned_generator(session, config)
        self.average = copy.deepcopy(self.psi)
        self.network = session.network().to(session.device)
        self.replay = Replay(config.memory if config.estimator == "replay" else 0)
        self.history: list[dict[str, float]] = []

    @property
    def generator(self) -> SceneGenerator:
        """``q_psi``; with replay the average of its parameters over the steps, the later ones above all."""
        return self.psi if self.config.estimator == "paper" else self.average

    def step(self, iteration: int) -> Metrics:
        """Algorithm 1, one step."""
        session, config, costs = self.session, self.config, Stopwatch()
        left = half_cosine(2 * session.progress(iteration, config.iterations) - 1, down_to=config.exploration_left)
        if config.estimator == "replay":
            self.psi.explore(config.exploration * left, config.choice_exploration)
        samples = self.psi.sample(config.frames, session.seed_sequence("scenes", iteration))
        frames = session.render(samples.scenes, "frames", iteration)
        costs.lap("rendering_seconds")
        if config.estimator == "paper":
            self.fine_tune(frames, config.epochs, iteration)
            costs.lap("training_seconds")
        direction, signal = self.influences(frames, costs)
        self.replay.add(samples, frames, self.psi, signal)
        weights = self.replay.weights(self.psi)
        if session.images > config.warm_up:
            self.move(weights)
        # Polynomial-decay averaging (Shamir and Zhang, ICML 2013) with η = 3.
        self.average.move_towards(self.psi, 4 / (iteration + 4))
        costs.lap("step_seconds")
        if config.estimator == "replay":
            # Last, so that every influence is of a scene that the network has not seen: like those yet to come.
            drawn = config.epochs * config.frames, weights, session.seed_sequence("replayed frames", iteration)
            self.fine_tune(self.replay.draw(*drawn), 1, iteration)
        score = session.task.evaluate(self.network, session.target.validation, session.device)
        costs.lap("training_seconds")
        self.history.append(direction.figures() | costs.laps)
        return {"val_score": score, **self.history[-1]}

    def fine_tune(self, frames: Frames, epochs: int, iteration: int) -> None:
        """Train the task network from where it was."""
        session, seed = self.session, self.session.integer_seed("fine-tuning", iteration)
        schedule = replace(session.env.schedule, epochs=epochs, learning_rate=self.config.learning_rate)
        session.task.train(self.network, frames, schedule, seed, session.device)

    def influences(self, frames: Frames, costs: Stopwatch) -> tuple[Direction, Tensor]:
        """``v``, from the gradient on validation frames and the curvature on these; each frame's ``v·∂l_k/∂θ``."""
        from autosim.learning.influence import influence_direction, surface_of

        session, config = self.session, self.config
        g = surface_of(session.task, self.network, session.target.validation, session.device).gradient()
        surface = surface_of(session.task, self.network, frames, session.device)
        direction = influence_direction(surface, g, config.approximation, config.damping, config.products)
        costs.lap("curvature_seconds")
        signal = surface.influences(direction.v)
        costs.lap("influence_seconds")
        return direction, signal

    def move(self, weights: Tensor) -> None:
        """Eq. 11: scenes whose training lowers the validation loss become likelier."""
        from autosim.learning.replay import ranked, without_immutable_part

        samples = self.replay.samples
        if self.config.estimator == "paper":
            signal = self.replay.batches[-1].signal
            self.mover(self.psi.score_function_loss(samples, -signal, enumerate_choices=True))
            return
        benefit = ranked(self.replay.signal, weights)
        benefit = without_immutable_part(self.psi.schema, samples.scenes, benefit, weights)
        benefit = benefit / (weights @ benefit.square()).sqrt().clamp(min=1e-12)
        loss = self.psi.score_function_loss(samples, -benefit * weights * len(weights))
        self.mover(loss)

    def state_dict(self) -> dict[str, Any]:
        """The state of all parts, and the figures so far."""
        parts = {name: getattr(self, name).state_dict() for name in PARTS}
        return parts | {"history": [dict(figures) for figures in self.history]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        for name in PARTS:
            getattr(self, name).load_state_dict(state[name])
        self.history = [dict(figures) for figures in state["history"]]

    def summary(self) -> dict[str, float]:
        """Mean of the figures over the steps; ``seconds`` by part are those of a step."""
        first, count = (self.history or [{}])[0], len(self.history)
        return {name: sum(step[name] for step in self.history) / count for name in first}


def learned_generator(session: Session, config: AutoSimulateConfig) -> tuple[SceneGenerator, StepRule]:
    """``q_psi`` and how it is stepped."""
    from autosim.scenes.parametric import ParametricGenerator
    from autosim.scenes.pretraining import pretrain
    from autosim.scenes.steps import AdamStep, GradientStep
    from autosim.scenes.transformer import DistributionTransformer

    if config.generator == "parametric":
        parametric = ParametricGenerator(session.env.prior())
        return parametric, GradientStep(parametric, config.rate, config.choice_rate, config.estimator == "replay")
    transformer = DistributionTransformer(session.env.prior(), seed=session.integer_seed("transformer"))
    pretrain(transformer, session.seed_sequence("pretraining"))
    return transformer, AdamStep(transformer, config.rate / 100)
