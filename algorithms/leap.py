"""Leap: read the scenes off the target's pictures, and infer the distribution behind them, instead of walking to it.

A network learns to read scenes off frames over all ranges, whose scenes are known for nothing. What it reads off the
target's images gives the distribution (the jump); frames around the answer refine the network and the answer; frames of
the answer itself show how wrong the estimate is, which is taken off. No gradient of the renderer, no labels needed.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from algorithms.searches.search import require_labels
from autosim.algorithm import Algorithm, Metrics
from autosim.errors import UserError
from autosim.learning.schedule import TrainingSchedule
from autosim.ranges import Checked, Range
from autosim.search_space import LogUniformRange, OneOf, tunable

if TYPE_CHECKING:
    from autosim.env import Env
    from autosim.rendering.annotations import Annotation
    from autosim.scenes.generator import SceneGenerator
    from autosim.session import Session


@dataclass(frozen=True)
class LeapConfig(Checked):
    """Options of Leap.

    Args:
        iterations: the jump, rounds of refining, and one that corrects the answer by its own frames; 1 is the jump
            alone, 2 leaves refining out.
        broad: frames over all ranges that the network learns to read from.
        edge: edge in pixels at which it sees pictures; 0 for that of the environment's features.
        epochs: passes over them.
        rate: peak learning rate.
        batch: frames of a step, here and in rounds.
        even: whether what is told precisely pulls no harder than the rest; scene-wide attributes are then learned
            sooner, places less exactly.
        second_looks: whether crops around what was found are looked at again, for what is small or turned.
        frames: frames of a round.
        round_epochs: passes over these and as many of the broad ones.
        round_rate: peak learning rate of a round.
        widening: factor on the answer's standard deviations in a round of refining.
        least_spread: smallest standard deviation there, as a share of the range.
        debias: whether the last iteration corrects the answer by its own frames; otherwise it refines as others do.
        reads: scenes are read off the target's images; or off pictures of the validation's labels (masks or boxes),
            which show where things are and how large, whatever the images look like: for photographs. What these do not
            show is then spread over its whole range, and does not stay as the start has it.
    """

    iterations: Annotated[int, Range(least=1)] = 4
    broad: Annotated[int, Range(least=50)] = tunable(1500, OneOf((700, 1500, 3000)))
    edge: Annotated[int, Range(least=0)] = 0
    epochs: Annotated[int, Range(least=1)] = tunable(25, OneOf((10, 16, 25)))
    rate: Annotated[float, Range(above=0)] = tunable(3e-3, LogUniformRange(1e-3, 1e-2))
    batch: Annotated[int, Range(least=1)] = 32
    even: bool = False
    second_looks: bool = True
    frames: Annotated[int, Range(least=20)] = tunable(300, OneOf((100, 300, 600)))
    round_epochs: Annotated[int, Range(least=1)] = 6
    round_rate: Annotated[float, Range(above=0)] = 1.5e-3
    widening: Annotated[float, Range(least=1)] = 1.6
    least_spread: Annotated[float, Range(least=0.005, most=0.5)] = 0.06
    debias: bool = True
    reads: Literal["images", "labels"] = "images"


class Leap(Algorithm):
    """Inference of the distribution from readings of the target's images."""

    name: ClassVar[str] = "leap"
    Config: ClassVar[type] = LeapConfig
    needs = ("attributes",)

    def __init__(self, session: Session, config: LeapConfig) -> None:
        from autosim.learning.inference.layouts import StructuredGenerator
        from autosim.learning.inference.target_distribution import DistributionReader
        from autosim.learning.label_pictures import labels_are_shown
        from autosim.scenes.parametric import ParametricGenerator

        super().__init__(session, config)
        # Where the structure is learned, answers have one of their own.
        make = StructuredGenerator if "structure" in session.env.prior().learnable else ParametricGenerator
        self.start = make(session.env.prior(), learn_spread=True)
        self.answer = copy.deepcopy(self.start)
        self.target = session.target.images
        self._draw = session.annotate if config.reads == "labels" else session.draw
        labels: dict[str, Annotation] = {}
        if config.reads == "labels":
            require_labels(session, self.name, "it reads their labels")
            self.target = session.validation
            declared, given = session.pool.annotations, self.target.annotations
            labels = {name: kind for name, kind in declared.items() if name in given}
            if not labels_are_shown(labels):
                raise UserError("algo.reads: labels, but here they say nothing of where things are; allowed is images")
            self.answer = make(session.env.prior().widened(), learn_spread=True)
        schedule = TrainingSchedule(config.epochs, config.batch, config.rate)
        looks, edge = config.second_looks, config.edge or session.env.feature_edge
        self.reader = DistributionReader(session, config.broad, schedule, config.even, looks, labels, edge)
        self.figures: dict[str, float] = {}

    @classmethod
    def refusal(cls, env: Env) -> str | None:
        """Also where nodes are to be counted that have no place to be found by, and where many nodes look alike."""
        from autosim.learning.inference.distribution import MOST_SLOTS
        from autosim.learning.inference.structure import hidden_class
        from autosim.seeding import seed_sequence

        hidden = hidden_class(env.prior(), seed_sequence(0, "numbers of nodes"))
        if hidden is not None:
            return f"it counts nodes by where they are, and places of {hidden} nodes are not learned"
        # Only nodes with something to learn have to be told apart.
        read = [each for each in env.schema.classes if any(attribute.mutable for attribute in each.attributes)]
        if any(node_class.slots > MOST_SLOTS for node_class in read):
            return f"it tells at most {MOST_SLOTS} nodes of a class apart"
        return super().refusal(env)

    @classmethod
    def shown(cls, config: LeapConfig) -> str:
        """The images alone, or the labels alone."""
        return config.reads

    @property
    def generator(self) -> SceneGenerator:
        """Independent distributions with the inferred parameters."""
        return self.answer

    def step(self, iteration: int) -> Metrics:
        """The jump; a round around the answer; or, last, a round of the answer's own frames."""
        from autosim.learning.inference.calibration import EXPLAINED

        if iteration == 0:
            self._infer(iteration)
        elif iteration < self.config.iterations - 1 or not self.config.debias:
            self.figures["reading_loss"] = self._refine(iteration)
            self._infer(iteration)
        else:
            self._debias(iteration)
        seen = self.reader.seen()
        return {
            "val_score": self.session.score_at_end(self.answer, iteration, self.config.iterations),
            "seen": sum(share >= EXPLAINED for share in seen.values()) / max(len(seen), 1),
            **self.figures,
        }

    def seen(self) -> dict[str, float]:
        """What readings explain of each attribute."""
        return self.reader.seen()

    def _infer(self, iteration: int) -> None:
        """What the target shows becomes the answer."""
        from autosim.learning.inference.layouts import StructuredGenerator
        from autosim.learning.inference.structure import fitted_table

        found = self.reader.infer(self.target, self.start)
        self.answer.set_parameters(found.attributes)
        if found.structure is not None:
            assert isinstance(self.answer, StructuredGenerator)
            seed = self.session.seed_sequence("structure", iteration)
            self.answer.take(fitted_table(self.start.grammar, found.structure, seed), found.layouts)

    def _refine(self, iteration: int) -> float:
        """Frames around the answer, and the network learns from them; returns its loss."""
        config, session = self.config, self.session
        seed = session.seed_sequence("scenes", iteration)
        scenes = self.reader.around(self.answer, config.widening, config.least_spread, config.frames, seed)
        drawn = self._draw(scenes, "frames", iteration)
        schedule = TrainingSchedule(config.round_epochs, config.batch, config.round_rate)
        return self.reader.refine(drawn, schedule, session.integer_seed("refine", iteration))

    def _debias(self, iteration: int) -> None:
        """Frames of the answer, what is inferred from them, and the difference taken off the answer."""
        session = self.session
        scenes = self.answer.sample(self.config.frames, session.seed_sequence("scenes", iteration)).scenes
        drawn = self._draw(scenes, "frames", iteration)
        self.answer.set_parameters(self.reader.debiased(self.answer, drawn))

    def state_dict(self) -> dict[str, Any]:
        """The answer and the network."""
        return {
            "answer": self.answer.state_dict(),
            "reader": self.reader.state_dict(),
            "figures": dict(self.figures),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        self.answer.load_state_dict(state["answer"])
        self.reader.load_state_dict(state["reader"])
        self.figures = dict(state.get("figures", {}))
