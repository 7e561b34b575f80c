"""Algorithm ``climb``: shift the generator's parameters at random, and stay where the validation score rises."""

from dataclasses import dataclass

import numpy as np

from autosim.algorithm import Algorithm
from autosim.errors import UserError
from autosim.scenes.parametric import ParametricGenerator


@dataclass(frozen=True)
class ClimbConfig:
    """Options of the algorithm."""

    iterations: int = 20
    """Shifts to try."""
    shift: float = 0.15
    """Standard deviation of a shift, where every parameter is in [0, 1]."""
    frames: int = 24
    """Frames that a network is trained on to score a shift."""


class Climb(Algorithm):
    """Random shifts, of which those that help are kept."""

    name = "climb"
    Config = ClimbConfig  # its fields are the options --algo.shift, …

    def __init__(self, session, config):
        super().__init__(session, config)
        if not session.target.labelled:
            raise UserError("climb needs a labelled target")
        self.start = ParametricGenerator(session.env.prior())
        self.point, self.score = self.start.to_unit(), float("-inf")

    @property
    def generator(self):
        """The distribution that the method recommends now."""
        return self.start.from_unit(self.point)

    def step(self, iteration):
        """One shift: scenes, frames, the score of a network trained on them."""
        session = self.session
        rng = np.random.default_rng(session.seed_sequence("shift", iteration))
        point = np.clip(self.point + self.config.shift * rng.normal(size=len(self.point)), 0, 1)
        samples = self.start.from_unit(point).sample(self.config.frames, session.seed_sequence("scenes", iteration))
        frames = session.render(samples.scenes, "frames", iteration)
        (score,) = session.score_datasets([frames], session.target.validation)
        if score > self.score:
            self.point, self.score = point, score
        return {"val_score": self.score, "tried": score}

    def state_dict(self):
        """What a checkpoint keeps."""
        return {"point": self.point.tolist(), "score": self.score}

    def load_state_dict(self, state):
        self.point, self.score = np.array(state["point"]), state["score"]
