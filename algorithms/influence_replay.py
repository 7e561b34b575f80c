"""Influence replay: AutoSimulate's influences (Behl et al., ECCV 2020, Eq. 8 and 11) of all scenes rendered so far.

Where rendering is dear, a scene is worth more than one step. Each step renders a few scenes and holds them. Influences
are measured at probes, networks with fresh weights that are trained for a while, and averaged over probes; the score
function runs over all scenes held, weighted by how much likelier they have become. It is not the published method:
``autosimulate`` is.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from algorithms.searches.search import require_labels
from autosim.algorithm import Algorithm, Metrics
from autosim.learning.schedule import half_cosine
from autosim.learning.stopwatch import Stopwatch
from autosim.ranges import Checked, Range
from autosim.search_space import LogUniformRange, OneOf, UniformRange, tunable

if TYPE_CHECKING:
    from torch import Tensor

    from autosim.rendering.drawn import DrawnFrames
    from autosim.rendering.frames import Frames
    from autosim.scenes.generator import Samples, SceneGenerator
    from autosim.session import Session

# What a checkpoint holds the state of.
PARTS = ("psi", "average", "mover", "network", "probe", "replay")
COSTS = tuple(f"{part}_seconds" for part in ("rendering", "training", "curvature", "influence", "step"))


@dataclass(frozen=True)
class InfluenceReplayConfig(Checked):
    """Options of influence replay.

    Args:
        iterations: steps of the generator.
        frames: scenes rendered in a step.
        rate: step size: of the means in units of their spread's variance, or of Adam for the transformer.
        choice_rate: step size of the logits of categorical attributes.
        epochs: passes over as many frames as a step renders, drawn from all frames held.
        learning_rate: of this fine-tuning.
        approximation: of the influence direction v. quadratic solves with the Gauss-Newton matrix; exact with the
            Hessian, by cg or by fmin_ncg; approximate is H g; linear is g; none is constant, blind to the validation.
        damping: λ, in multiples of the largest eigenvalue of the curvature (the exact ones: absolute, as in the paper).
        products: most curvature products to solve with.
        memory: scenes held.
        warm_up: images rendered before the first probe.
        renewal: images rendered from one probe to the next; each counts at all scenes held.
        passes: frames that a probe, a network with fresh weights, is trained on, drawn from those held, but no more
            than eight times as many as these.
        shrinkage: of steps that may be chance; 0 makes all of them in full.
        exploration: least standard deviation of attributes, as a fraction of their range.
        exploration_left: share of it that is left at the end of the run; it falls to that in the second half.
        choice_exploration: least probability of a choice.
        generator: what is learned: independent attributes, or Meta-Sim's distribution transformer.
    """

    iterations: Annotated[int, Range(least=1)] = 80
    frames: Annotated[int, Range(least=1)] = tunable(25, OneOf((20, 50, 70)))
    rate: Annotated[float, Range(above=0)] = tunable(1.0, OneOf((0.01, 0.1, 1.0, 2.0, 10.0)))
    choice_rate: Annotated[float, Range(above=0)] = tunable(1.0, LogUniformRange(0.05, 3.0))
    epochs: Annotated[int, Range(least=1)] = tunable(30, OneOf((5, 10, 20, 30)))
    learning_rate: Annotated[float, Range(above=0)] = 5e-3
    approximation: Literal["quadratic", "exact", "exact-ncg", "approximate", "linear", "none"] = "quadratic"
    damping: Annotated[float, Range(least=0)] = tunable(1e-2, OneOf((1e-3, 1e-2, 0.1, 10.0)))
    products: Annotated[int, Range(least=1)] = 8
    memory: Annotated[int, Range(least=0)] = tunable(1000, OneOf((100, 300, 1000)))
    warm_up: Annotated[int, Range(least=0)] = 100
    renewal: Annotated[int, Range(least=0)] = 200
    passes: Annotated[int, Range(least=1)] = tunable(2000, OneOf((1000, 2000, 4000)))
    shrinkage: Annotated[float, Range(least=0)] = tunable(0.2, OneOf((0.0, 0.2, 0.4, 0.7)))
    exploration: Annotated[float, Range(least=0, most=0.5)] = tunable(0.2, UniformRange(0.05, 0.3))
    exploration_left: Annotated[float, Range(least=0, most=1)] = 0.3
    choice_exploration: Annotated[float, Range(least=0, most=0.3)] = 0.25
    generator: Literal["parametric", "transformer"] = "parametric"


class InfluenceReplay(Algorithm):
    """Scenes' influences on the validation loss, averaged over probes, freed of what shape, colour and their own loss
    explain.
    """

    name: ClassVar[str] = "influence_replay"
    Config: ClassVar[type] = InfluenceReplayConfig
    needs = ("attributes",)

    def __init__(self, session: Session, config: InfluenceReplayConfig) -> None:
        from autosim.learning.influence.probe import Probe
        from autosim.learning.replay.scenes import SceneReplay
        from autosim.scenes.steps import stepped_generator

        super().__init__(session, config)
        require_labels(session, self.name, "influences are on the validation loss")
        options = config.generator, config.rate, config.choice_rate
        self.psi, self.mover = stepped_generator(session.env.prior(), *options, session.seed_sequence("transformer"))
        self.average = copy.deepcopy(self.psi)
        self.network = session.network().to(session.device)
        self.probe = Probe(session.task, session.network().to(session.device), session.device)
        self.replay = SceneReplay(config.memory, session.redraw, columns=2)
        self.due = config.warm_up
        self.history: list[dict[str, float]] = []

    @property
    def generator(self) -> SceneGenerator:
        """The average of ``q_psi``'s parameters over the steps, the later ones above all."""
        return self.average

    def step(self, iteration: int) -> Metrics:
        """Render, hold, measure, move, and train the task network on what is held."""
        session, config, costs = self.session, self.config, Stopwatch(*COSTS)
        left = half_cosine(2 * session.progress(iteration, config.iterations) - 1, config.exploration_left)
        self.psi.explore(config.exploration * left, config.choice_exploration)
        samples = self.psi.sample(config.frames, session.seed_sequence("scenes", iteration))
        drawn = session.draw(samples.scenes, "frames", iteration)
        costs.lap("rendering_seconds")
        weights = self.replay_step(samples, drawn, iteration, costs)
        count, seed = config.epochs * config.frames, session.seed_sequence("replayed frames", iteration)
        self.fine_tune(self.replay.draw(count, weights, seed), iteration)
        # Polynomial-decay averaging (Shamir and Zhang, ICML 2013) with η = 3.
        self.average.move_towards(self.psi, 4 / (iteration + 4))
        score = session.task.evaluate(self.network, session.validation, session.device)
        costs.lap("training_seconds")
        self.history.append((self.probe.direction.figures() if self.probe.direction else {}) | costs.laps)
        return {"val_score": score, **self.history[-1]}

    def fine_tune(self, frames: Frames, iteration: int) -> None:
        """Train the task network from where it was, once through frames."""
        session, seed = self.session, self.session.integer_seed("fine-tuning", iteration)
        schedule = replace(session.env.schedule, epochs=1, learning_rate=self.config.learning_rate)
        session.task.train(self.network, frames, schedule, seed, session.device)

    def point(self, frames: Frames, costs: Stopwatch) -> None:
        """``v``, from the gradient on validation frames and the curvature on these."""
        options = self.config.approximation, self.config.damping, self.config.products
        self.probe.point(self.session.validation, frames, *options)
        costs.lap("curvature_seconds")

    def replay_step(self, samples: Samples, drawn: DrawnFrames, iteration: int, costs: Stopwatch) -> Tensor:
        """Eq. 11 over all scenes held; returns their weights (n,)."""
        from autosim.learning.replay.scenes import benefit

        session, config, probe, replay = self.session, self.config, self.probe, self.replay
        replay.add(samples, drawn, self.psi, probe.measure(drawn.frames) if probe.direction else None)
        weights = replay.weights(self.psi)
        costs.lap("influence_seconds")
        if (rendered := (iteration + 1) * config.frames) >= self.due:
            self.due = rendered + config.renewal
            seed, passes = session.seed_sequence("probe", iteration), min(config.passes, 8 * len(weights))
            chosen = replay.draw(passes, weights, seed)
            probe.renew(session.integer_seed("probe", iteration), chosen, session.env.schedule)
            costs.lap("training_seconds")
            self.point(replay.draw(2 * config.frames, weights, seed, replace=False), costs)
            replay.add_signals(probe.measure(replay.frames))
            costs.lap("influence_seconds")
        if probe.direction:
            found = benefit(replay, self.psi.schema, weights)
            loss = -(found * weights * self.psi.picture_log_prob(replay.samples)).sum()
            self.mover(loss, noise=config.shrinkage * float((weights * found).square().sum()))
        costs.lap("step_seconds")
        return weights

    def state_dict(self) -> dict[str, Any]:
        """The state of all parts, and the figures so far."""
        parts = {name: getattr(self, name).state_dict() for name in PARTS}
        return parts | {"due": self.due, "history": [dict(figures) for figures in self.history]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        for name in PARTS:
            getattr(self, name).load_state_dict(state[name])
        self.due, self.history = state["due"], [dict(figures) for figures in state["history"]]

    def summary(self) -> dict[str, float]:
        """Mean of the figures over the steps that have them; ``seconds`` by part are those of a step."""
        names = dict.fromkeys(name for step in self.history for name in step)
        return {name: fmean(step[name] for step in self.history if name in step) for name in names}
