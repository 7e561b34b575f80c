"""Neural posterior estimation: which generators could have drawn a set of images like the target's.

Parameters of the generator are drawn from a prior, a few frames are rendered with each, and a flow learns the
parameters given moments of the frames' features (Papamakarios and Murray, "Fast epsilon-free Inference of Simulation
Models with Bayesian Conditional Density Estimation", NeurIPS 2016). Later rounds draw from the part of the prior where
the posterior is, a box (Miller et al., "Truncated Marginal Neural Ratio Estimation", NeurIPS 2021).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autosim.algorithm import Algorithm, Metrics
from autosim.ranges import Checked, Range
from autosim.search_space import LogUniformRange, OneOf, tunable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from autosim.scenes.generator import SceneGenerator
    from autosim.session import Session

# Sets that are rendered at once.
SETS = 25
# Draws from the posterior that the answer is the mean of.
DRAWS = 500


@dataclass(frozen=True)
class NpeConfig(Checked):
    """Options of neural posterior estimation.

    Args:
        iterations: rounds; in the first the parameters are drawn from the whole prior, and with one round the estimate
            is amortised: good for any target.
        simulations: sets of parameters drawn in a round.
        frames: frames rendered with each; the target's images are taken in sets of as many.
        epochs: most passes over the sets; training ends where the loss on held-out sets no longer falls.
        rate: its learning rate.
        width: units of the flow's layers.
        outside: share of the posterior's draws that may lie outside of the next round's box, in each dimension.
    """

    iterations: Annotated[int, Range(least=1)] = 3
    simulations: Annotated[int, Range(least=40)] = tunable(300, OneOf((150, 300, 600)))
    frames: Annotated[int, Range(least=2)] = tunable(10, OneOf((5, 10, 20)))
    epochs: Annotated[int, Range(least=1)] = 120
    rate: Annotated[float, Range(above=0)] = tunable(5e-3, LogUniformRange(1e-3, 2e-2))
    width: Annotated[int, Range(least=4)] = 32
    outside: Annotated[float, Range(above=0, below=1)] = 0.05


class Npe(Algorithm):
    """A posterior over the generator's parameters from sets of images, without labels. Needs the extra ``sbi``."""

    name: ClassVar[str] = "npe"
    Config: ClassVar[type] = NpeConfig
    needs = ("attributes",)

    def __init__(self, session: Session, config: NpeConfig) -> None:
        import numpy as np
        import torch

        from autosim.learning.posterior.box import Box
        from autosim.learning.posterior.flow import Moments, require_sbi
        from autosim.learning.posterior.generator_prior import GeneratorPrior
        from autosim.scenes.parametric import ParametricGenerator

        super().__init__(session, config)
        require_sbi()
        self.prior = GeneratorPrior(ParametricGenerator(session.env.prior(), learn_spread=True))
        self.answer = copy.deepcopy(self.prior.start)
        self.box = Box.whole(self.prior.periodic)
        self.moments = Moments(session.features)
        self.points: NDArray[np.float64] = np.zeros((0, len(self.prior.names)))
        self.sets = torch.zeros(0, 2 * session.features.features.dimension)
        images = session.target.images.images
        # The last set holds some images a second time where they do not come out even.
        count = -(-len(images) // config.frames)
        places = np.resize(np.arange(len(images)), count * config.frames)
        self.target = self._moments(images[places])
        self.figures: dict[str, float] = {}

    @classmethod
    def shown(cls, config: NpeConfig) -> str:
        """The images alone."""
        return "images"

    @property
    def generator(self) -> SceneGenerator:
        """The mean of the posterior; the start before the first round."""
        return self.answer

    def step(self, iteration: int) -> Metrics:
        """A round: sets of frames from the box, the posterior learned anew from all that lie in it, a smaller box."""
        import numpy as np
        import torch

        from autosim.learning.posterior.flow import SetPosterior, calibration

        session, config = self.session, self.config
        self._simulate(iteration)
        inside = np.flatnonzero(self.box.inside(self.points))
        local = self.box.local(self.points[inside])
        sets = self.sets[torch.from_numpy(inside)]
        # A tenth of this round's sets show whether the posterior is calibrated; it learns from the others.
        apart = max(10, config.simulations // 10)
        seed = session.integer_seed("posterior", iteration)
        posterior = SetPosterior.fit(
            local[:-apart], sets[:-apart], self.box.circles, config.epochs, config.rate, config.width, seed
        )
        ranks = posterior.ranks(local[-apart:], sets[-apart:], session.integer_seed("ranks", iteration))
        distance, chance = calibration(ranks)
        drawn = posterior.sample(self.target, DRAWS, session.integer_seed("posterior draws", iteration))
        # The target's sets are one distribution's: the answer is the mean over all of them.
        points = self.box.points(drawn.reshape(-1, drawn.shape[-1]))
        self.answer = self.prior.generator(self.box.mean(points))
        self.box = self.box.around(points, config.outside)
        self.figures = {"calibration_distance": distance, "calibration_chance": chance}
        width = float(self.box.width.mean())
        score = self.session.score_at_end(self.answer, iteration, self.config.iterations)
        return {"val_score": score, **self.figures, "box": width, "sets": float(len(inside))}

    def _simulate(self, iteration: int) -> None:
        """Parameters from the box, and frames of each."""
        import numpy as np
        import torch

        session, config = self.session, self.config
        rng = np.random.default_rng(session.seed_sequence("parameters", iteration))
        points = self.box.points(rng.random((config.simulations, len(self.prior.names))))
        seeds = session.frame_seeds("frames", iteration, config.simulations * config.frames)
        found = []
        for first in range(0, len(points), SETS):
            scenes = [
                scene
                for i, point in enumerate(points[first : first + SETS], first)
                for scene in self.prior.generator(point)
                .sample(config.frames, session.seed_sequence("scenes", iteration, i))
                .scenes
            ]
            start = first * config.frames
            frames = session.pool.render(scenes, seeds[start : start + len(scenes)])
            found.append(self._moments(frames.images))
        self.points = np.concatenate([self.points, points])
        self.sets = torch.cat([self.sets, *found])

    def _moments(self, images: NDArray[np.uint8]) -> Tensor:
        """(S, m) of images (S · frames, H, W, 3)."""
        features = self.session.features.features.of_images(images, self.session.device)
        return self.moments(features, self.config.frames)

    def seen(self) -> dict[str, float]:
        """What the features tell of each attribute."""
        return dict(self.session.features.features.seen)

    def state_dict(self) -> dict[str, Any]:
        """The answer, the box, and what was simulated, as moments of features."""
        return {
            "answer": self.answer.state_dict(),
            "box": {"low": self.box.low.tolist(), "width": self.box.width.tolist()},
            "points": self.points.tolist(),
            "sets": self.sets,
            "figures": dict(self.figures),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        import numpy as np

        from autosim.learning.posterior.box import Box

        self.answer.load_state_dict(state["answer"])
        self.box = Box(np.array(state["box"]["low"]), np.array(state["box"]["width"]), self.box.periodic)
        self.points = np.array(state["points"]).reshape(-1, len(self.prior.names))
        self.sets = state["sets"]
        self.figures = dict(state["figures"])

    def summary(self) -> dict[str, float]:
        """Calibration in the last round: distance of ranks from uniform ones, and how likely a calibrated posterior is
        as far off.
        """
        return dict(self.figures)
