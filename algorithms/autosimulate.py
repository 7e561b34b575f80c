"""AutoSimulate (Behl et al., ECCV 2020): how much would each scene help on the validation frames?

Algorithm 1: sample K scenes, render, fine-tune the task network, find ``v = (H + λI)^-1 g_val``, weigh each scene by
its influence ``v·∂l_k/∂θ`` (Eq. 8), and move the distribution by the score function (Eq. 11). What the paper leaves
open is settled so that chance moves little: influences less their mean over the batch, in units of their running
spread, and a step measured by what it would be if they were chance.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import torch

from algorithms.searches.search import require_labels
from autosim.algorithm import Algorithm, Metrics
from autosim.learning.influence.scale import RunningScale
from autosim.learning.stopwatch import Stopwatch
from autosim.ranges import Checked, Range
from autosim.search_space import OneOf, tunable

if TYPE_CHECKING:
    from autosim.rendering.frames import Frames
    from autosim.scenes.generator import SceneGenerator
    from autosim.session import Session

COSTS = tuple(f"{part}_seconds" for part in ("rendering", "training", "curvature", "influence", "step"))


@dataclass(frozen=True)
class AutoSimulateConfig(Checked):
    """Options of AutoSimulate.

    Args:
        iterations: steps of the generator.
        frames: scenes rendered in a step, K in the paper.
        rate: α: standard deviations that a mean moves in a step where influences are chance; of the transformer's Adam,
            in hundredths.
        choice_rate: the same of the logits of categorical attributes.
        epochs: passes over the step's frames, ε in the paper.
        learning_rate: of this fine-tuning, whose Adam is kept from step to step.
        approximation: of the influence direction v. quadratic solves with the Gauss-Newton matrix; exact with the
            Hessian, by cg or by fmin_ncg; approximate is H g; linear is g; none is constant, blind to the validation.
        spread: least standard deviation of attributes in the scenes that are drawn to learn from, as a share of their
            range; 0 for the start's.
        learned_spread: the same of what is learned.
        damping: λ.
        products: most curvature products to solve with.
        generator: what is learned: independent attributes, or Meta-Sim's distribution transformer.
        fresh: measure influences at the network of the steps before and fine-tune it afterwards, so that it has not
            seen the scenes that it judges; not in the paper.
        restart: fine-tune from the network's initial weights in every step; not in the paper.
        permute: give each validation frame another one's labels: the control that has to learn nothing.
        validation_frames: validation frames whose gradient a step takes, drawn anew in each; 0 takes all.
    """

    iterations: Annotated[int, Range(least=1)] = 80
    frames: Annotated[int, Range(least=2)] = tunable(50, OneOf((20, 50, 70)))
    rate: Annotated[float, Range(above=0)] = tunable(0.1, OneOf((0.01, 0.1, 0.3, 1.0, 10.0)))
    choice_rate: Annotated[float, Range(above=0)] = tunable(0.1, OneOf((0.03, 0.1, 0.3)))
    epochs: Annotated[int, Range(least=1)] = tunable(5, OneOf((2, 5, 10, 20)))
    learning_rate: Annotated[float, Range(above=0)] = 1e-3
    approximation: Literal["quadratic", "exact", "exact-ncg", "approximate", "linear", "none"] = "quadratic"
    spread: Annotated[float, Range(least=0, most=0.5)] = tunable(0.2, OneOf((0.0, 0.1, 0.2, 0.3)))
    learned_spread: Annotated[float, Range(least=0, most=0.5)] = tunable(0.0, OneOf((0.0, 0.1, 0.2)))
    damping: Annotated[float, Range(least=0)] = tunable(0.1, OneOf((0.01, 0.1, 1.0, 10.0)))
    products: Annotated[int, Range(least=1)] = 8
    generator: Literal["parametric", "transformer"] = "parametric"
    permute: bool = False
    fresh: bool = False
    restart: bool = False
    validation_frames: Annotated[int, Range(least=0)] = 0


class AutoSimulate(Algorithm):
    """Bilevel optimisation: the validation loss after training, differentiated by one Newton step of the training."""

    name: ClassVar[str] = "autosimulate"
    Config: ClassVar[type] = AutoSimulateConfig
    needs = ("attributes",)

    def __init__(self, session: Session, config: AutoSimulateConfig) -> None:
        from autosim.learning.influence.probe import Probe
        from autosim.scenes.steps import stepped_generator

        super().__init__(session, config)
        require_labels(session, self.name, "influences are on the validation loss")
        # The mean of K signals of unit variance has a standard deviation of 1 / √K.
        rates = config.rate * math.sqrt(config.frames), config.choice_rate * math.sqrt(config.frames)
        seed = session.seed_sequence("transformer")
        self.psi, self.mover = stepped_generator(session.env.prior(), config.generator, *rates, seed)
        self.network = session.network().to(session.device)
        self.optimiser = session.task.optimiser(self.network, config.learning_rate)
        self.probe = Probe(session.task, self.network, session.device)
        self.scale = RunningScale()
        self.validation = session.validation.with_labels_permuted() if config.permute else session.validation
        self.skipped = 0
        self.history: list[dict[str, float]] = []

    @property
    def generator(self) -> SceneGenerator:
        """``q_psi`` with the spreads of what is learned."""
        learned = copy.deepcopy(self.psi)
        learned.explore(self.config.learned_spread, 0.0)
        return learned

    def step(self, iteration: int) -> Metrics:
        """Algorithm 1, one step. One whose influences are not finite is left out and counted; of fresh ones the first
        is left out, at a network that has learned nothing.
        """
        session, config, costs = self.session, self.config, Stopwatch(*COSTS)
        self.psi.explore(config.spread, 0.0)
        samples = self.psi.sample(config.frames, session.seed_sequence("scenes", iteration))
        frames = session.draw(samples.scenes, "frames", iteration).frames
        costs.lap("rendering_seconds")
        if not config.fresh:
            self.fine_tune(frames, iteration)
            costs.lap("training_seconds")
        shown = self.validation_of(iteration)
        self.probe.point(shown, frames, config.approximation, config.damping, config.products, relative=False)
        costs.lap("curvature_seconds")
        influences = self.probe.influences(frames)
        costs.lap("influence_seconds")
        if not bool(torch.isfinite(influences).all()):
            self.skipped += 1
        elif not config.fresh or iteration:
            signal = self.scale(influences - influences.mean())
            self.mover(self.psi.score_function_loss(samples, -signal, enumerate_choices=True))
        costs.lap("step_seconds")
        if config.fresh:
            self.fine_tune(frames, iteration)
        score = session.task.evaluate(self.network, session.validation, session.device)
        costs.lap("training_seconds")
        assert self.probe.direction is not None
        self.history.append(self.probe.direction.figures() | {"skipped": float(self.skipped)} | costs.laps)
        return {"val_score": score, **self.history[-1]}

    def validation_of(self, iteration: int) -> Frames:
        """The validation frames whose gradient a step takes."""
        most, held = self.config.validation_frames, len(self.validation)
        if not most or most >= held:
            return self.validation
        rng = np.random.default_rng(self.session.seed_sequence("validation", iteration))
        return self.validation.select(np.sort(rng.choice(held, most, replace=False)))

    def fine_tune(self, frames: Frames, iteration: int) -> None:
        """Train the task network from where it was, or from its initial weights."""
        session, config = self.session, self.config
        if config.restart:
            self.network.load_state_dict(session.network().state_dict())
            self.optimiser = session.task.optimiser(self.network, config.learning_rate)
        schedule = replace(session.env.schedule, epochs=config.epochs, learning_rate=config.learning_rate)
        seed = session.integer_seed("fine-tuning", iteration)
        session.task.train(self.network, frames, schedule, seed, session.device, self.optimiser)

    def state_dict(self) -> dict[str, Any]:
        """Generator, step rule, task network and its optimiser, and the figures so far."""
        return {
            "psi": self.psi.state_dict(),
            "mover": self.mover.state_dict(),
            "network": self.network.state_dict(),
            "optimiser": copy.deepcopy(self.optimiser.state_dict()),
            "scale": self.scale.square,
            "skipped": self.skipped,
            "history": [dict(figures) for figures in self.history],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        for name in ("psi", "mover", "network", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.scale.square, self.skipped = state["scale"], state["skipped"]
        self.history = [dict(figures) for figures in state["history"]]

    def summary(self) -> dict[str, float]:
        """Steps left out, and means of the other figures over the steps; ``seconds`` by part are those of a step."""
        names = dict.fromkeys(name for step in self.history for name in step)
        means = {name: fmean(step[name] for step in self.history) for name in names}
        return means | {"skipped": float(self.skipped)}
