"""Scores of data sets by successive halving: most are given up after a training on few frames.

Li et al., "A System for Massively Parallel Hyperparameter Tuning" (ASHA), MLSys 2020: a data set goes on to the next
rung where it is among the best third of all that were scored on its rung so far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autosim.rendering.frames import Frames
    from autosim.scenes.generator import SceneGenerator
    from autosim.session import Session

SHARE = 3
"""One data set in so many goes on to the next rung, with so many times the frames."""


class Rungs:
    """Scores data sets on ``count`` rungs; with one rung each is scored in full.

    A data set has ``frames`` frames on the last rung and a third as many on each rung before, so the same number of
    epochs is a third of the steps. The frames of a rung are kept on the next one, and those of a data set that gets to
    the last are the ones that it would have without rungs; so is its score. ``scores`` holds the scores on each rung,
    and ``gains`` by how much those that went on from it rose on the next.
    """

    def __init__(self, session: Session, count: int, frames: int, epochs: int) -> None:
        self.session, self.epochs = session, epochs
        self.sizes = [max(1, math.ceil(frames / SHARE**left)) for left in reversed(range(count))]
        self.scores: list[list[float]] = [[] for _ in range(count)]
        self.gains: list[list[float]] = [[] for _ in range(count - 1)]

    def score(self, generators: Sequence[SceneGenerator], iteration: int) -> tuple[list[float], list[int]]:
        """Validation score of a data set of each generator, NaN where a training diverged, and the positions of those
        that were given up. The score of these is that on the rung they got to plus the mean gain of those that went on:
        what it may have come to.
        """
        if len(self.sizes) == 1:
            return self.session.score_generators(generators, self.sizes[0], self.epochs, iteration), []
        latest = [float("nan")] * len(generators)
        reached = [0] * len(generators)
        datasets = _Growing(self.session, generators, self.sizes[-1], iteration)
        going = list(range(len(generators)))
        schedule = replace(self.session.env.schedule, epochs=self.epochs)
        for rung, size in enumerate(self.sizes):
            frames = datasets.grown(going, size)
            found = self.session.score_datasets(frames, self.session.validation, schedule)
            if rung:
                gains = (score - latest[i] for i, score in zip(going, found, strict=True))
                self.gains[rung - 1] += [gain for gain in gains if not math.isnan(gain)]
            for i, score in zip(going, found, strict=True):
                latest[i], reached[i] = score, rung
            self.scores[rung] += [score for score in found if not math.isnan(score)]
            going = [i for i in going if self.promoted(latest[i], rung)]
            if not going:
                break
        given_up = [i for i, rung in enumerate(reached) if rung < len(self.sizes) - 1]
        # None of them counts for more than the best that was scored in full; ``min`` keeps a first NaN.
        most = max(self.scores[-1], default=1.0)
        for i in given_up:
            latest[i] = min(latest[i] + self._expected(reached[i]), most)
        return latest, given_up

    def promoted(self, score: float, rung: int) -> bool:
        """Whether a score is among the best third, rounded up, of all on its rung."""
        if math.isnan(score) or rung == len(self.sizes) - 1:
            return False
        better = sum(other > score for other in self.scores[rung])
        return better < math.ceil(len(self.scores[rung]) / SHARE)

    def _expected(self, rung: int) -> float:
        """Mean gain from a rung to the last one."""
        return sum(sum(gains) / len(gains) for gains in self.gains[rung:] if gains)

    def state_dict(self) -> dict[str, Any]:
        """Scores and gains so far."""
        return {"scores": [list(part) for part in self.scores], "gains": [list(part) for part in self.gains]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        self.scores = [list(part) for part in state["scores"]]
        self.gains = [list(part) for part in state["gains"]]


class _Growing:
    """Data sets of a round, each rendered as far as it is needed."""

    def __init__(self, session: Session, generators: Sequence[SceneGenerator], most: int, iteration: int) -> None:
        self.session, self.most = session, most
        # The scenes and seeds of Session.score_generators.
        self.seeds = session.frame_seeds("data sets", iteration, most * len(generators))
        self.scenes = [
            generator.sample(most, session.seed_sequence("data sets", iteration, i)).scenes
            for i, generator in enumerate(generators)
        ]
        self.parts: list[list[Frames]] = [[] for _ in generators]

    def grown(self, which: Sequence[int], size: int) -> list[Frames]:
        """The first ``size`` frames of some data sets; what is missing is rendered in one pass."""
        from autosim.rendering.frames import Frames

        missing = [(i, j) for i in which for j in range(sum(len(part) for part in self.parts[i]), size)]
        scenes = [self.scenes[i][j] for i, j in missing]
        rendered = self.session.pool.render(scenes, [self.seeds[i * self.most + j] for i, j in missing])
        start = 0
        for i in which:
            count = size - sum(len(part) for part in self.parts[i])
            self.parts[i].append(rendered.select(slice(start, start + count)))
            start += count
        return [Frames.concatenate(self.parts[i]) for i in which]
