"""What methods share that go by the score of whole data sets: the options, what was tried, and the best of it."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from algorithms.searches.rungs import SHARE, Rungs
from autosim.algorithm import Algorithm, Metrics
from autosim.errors import UserError
from autosim.ranges import Checked, Range
from autosim.search_space import OneOf, tunable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from autosim.scenes.generator import SceneGenerator
    from autosim.session import Session


@dataclass(frozen=True)
class SearchConfig(Checked):
    """How a data set is scored, with the same defaults for every method that scores data sets.

    Args:
        iterations: rounds; a budget of images or seconds may end the search earlier.
        datasets: data sets that are rendered, trained on and scored in a round, in parallel.
        frames: frames in each data set.
        epochs: passes of a network, from scratch, over its data set.
        rungs: successive halving: of N rungs each has three times the frames and training steps of the one before, and
            the best third goes on to it; 1 scores every data set in full.
    """

    iterations: Annotated[int, Range(least=1)] = 25
    datasets: Annotated[int, Range(least=1)] = tunable(2, OneOf((1, 2, 4, 8)))
    frames: Annotated[int, Range(least=1)] = tunable(100, OneOf((25, 50, 100)))
    epochs: Annotated[int, Range(least=1)] = tunable(20, OneOf((5, 10, 20)))
    rungs: Annotated[int, Range(least=1)] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if SHARE ** (self.rungs - 1) > self.frames:
            raise ValueError(f"rungs: {self.rungs} leave less than a frame of frames {self.frames} on the first")


class Search(Algorithm):
    """Proposes points of the generator's ``[0, 1]^d`` view; the point whose data set scored best is the result.

    ``points`` and ``scores`` are all that was tried, in order; the score of a training that diverged is NaN. Those at
    the positions ``given_up`` on a rung are what they may have come to.
    """

    needs = ("attributes",)

    def __init__(self, session: Session, config: SearchConfig) -> None:
        from autosim.scenes.parametric import ParametricGenerator

        super().__init__(session, config)
        require_labels(session, self.name)
        self.start = ParametricGenerator(session.env.prior())
        self.points: list[NDArray[np.float64]] = []
        self.scores: list[float] = []
        self.given_up: list[int] = []
        self.rungs = Rungs(session, config.rungs, config.frames, config.epochs)

    @abstractmethod
    def propose(self, iteration: int) -> list[NDArray[np.float64]]:
        """The points (d,) to try in this round."""

    @property
    def generator(self) -> SceneGenerator:
        """The best parameters so far; the starting distribution before any was scored."""
        best = best_of(finished(self.scores, self.given_up))
        return self.start if best is None else self.start.from_unit(self.points[best])

    def step(self, iteration: int) -> Metrics:
        """Propose points, render and score a data set of each."""
        points = self.propose(iteration)
        scores, given_up = self.rungs.score([self.start.from_unit(point) for point in points], iteration)
        self.points += points
        self.given_up += [len(self.scores) + i for i in given_up]
        self.scores += scores
        return round_metrics(finished(self.scores, self.given_up), scores)

    def state_dict(self) -> dict[str, Any]:
        """All points and their scores."""
        return {
            "points": [point.tolist() for point in self.points],
            "scores": list(self.scores),
            "given_up": list(self.given_up),
            "rungs": self.rungs.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        import numpy as np

        self.points = [np.array(point) for point in state["points"]]
        self.scores = list(state["scores"])
        # States from before there were rungs have neither.
        self.given_up = list(state.get("given_up", []))
        if "rungs" in state:
            self.rungs.load_state_dict(state["rungs"])


def finished(scores: list[float], given_up: list[int]) -> list[float]:
    """The scores with NaN in the place of those of data sets that were given up."""
    without = set(given_up)
    return [float("nan") if i in without else score for i, score in enumerate(scores)]


def require_labels(
    session: Session, method: str, reason: str = "it has nothing to go by but the validation score"
) -> None:
    """``UserError`` with the ``reason`` where the target has no labels."""
    if not session.target.labelled:
        raise UserError(f"{method} needs a labelled target: {reason} (--target.validation DIR gives labels)")


def best_of(scores: list[float]) -> int | None:
    """Position of the best score, the first of equals; None where there is none but NaN."""
    finite = [i for i, score in enumerate(scores) if not math.isnan(score)]
    return max(finite, key=lambda i: (scores[i], -i)) if finite else None


def penalised(scores: list[float]) -> list[float]:
    """The scores with the worst one in the place of each NaN, 0 where there are only NaN."""
    worst = min((score for score in scores if not math.isnan(score)), default=0.0)
    return [worst if math.isnan(score) else score for score in scores]


def round_metrics(scores: list[float], latest: list[float]) -> Metrics:
    """Best score so far as ``val_score``; best and mean of the latest round; how many of it failed."""
    best, finite = best_of(scores), [score for score in latest if not math.isnan(score)]
    return {
        "val_score": None if best is None else scores[best],
        "round_best": max(finite, default=None),
        "round_mean": sum(finite) / len(finite) if finite else None,
        "failed": float(len(latest) - len(finite)),
    }
