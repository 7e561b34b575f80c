"""Fresh networks trained on data sets, and what they score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from autosim import seeding
from autosim.errors import UserError
from autosim.learning.tasks.task import TaskScore
from autosim.parallel import parallel_map
from autosim.runs.closing.frames import closing_frames
from autosim.runs.gallery import SCENES_SHOWN
from autosim.scenes.generator import SceneGenerator
from autosim.session import Session, trained
from autosim.target import TARGET_SEED

if TYPE_CHECKING:
    import torch

    from autosim.learning.schedule import TrainingSchedule
    from autosim.learning.tasks.task import Task
    from autosim.rendering.frames import Frames


# Frames, and the seed of a network that learns from them.
Training = tuple["Frames", int]


@dataclass(frozen=True)
class Trained:
    """What came of a training: its score, and what the network finds in the first frames that it was scored on, where
    there is something to show.
    """

    score: TaskScore
    found: Frames | None = None


def closing_test_scores(
    session: Session, generators: Sequence[SceneGenerator], networks: int = 1, seed: int = TARGET_SEED
) -> list[list[float]]:
    """For each generator the test scores of ``networks`` fresh networks, trained on the same frames of it."""
    test = session.target.test
    if test is None:
        raise UserError("the target is unlabelled: there is nothing to score against")
    return frames_scores(session, [closing_frames(session, each, seed) for each in generators], test, networks, seed)


def frames_scores(
    session: Session, datasets: Sequence[Frames], against: Frames, networks: int = 1, seed: int = TARGET_SEED
) -> list[list[float]]:
    """For each data set the scores against labelled frames of ``networks`` fresh networks that were trained on it."""
    found = trained_on(session, datasets, against, networks, seed)
    return [[network.score.value for network in row] for row in found]


def trained_on(
    session: Session, datasets: Sequence[Frames], against: Frames, networks: int, seed: int
) -> list[list[Trained]]:
    """For each data set what came of ``networks`` fresh networks that were trained on it."""
    work = trainings(datasets, networks, seed)
    return rows(parallel_map(training(session, against), work, limit=session.workers), networks)


def network_seeds(networks: int, seed: int = TARGET_SEED) -> list[int]:
    """Seeds of the closing networks' weights and trainings; the first is ``seed`` itself."""
    return [seed, *(seeding.integer_seed(seed, "closing network", 0, i) for i in range(1, networks))]


def trainings(datasets: Sequence[Frames], networks: int, seed: int) -> list[Training]:
    """What is to be trained: each data set with each network's seed, data set by data set."""
    return [(frames, own) for frames in datasets for own in network_seeds(networks, seed)]


def rows(found: list[Trained], networks: int) -> list[list[Trained]]:
    """The same by data set."""
    return [found[start : start + networks] for start in range(0, len(found), networks)]


def mean_score(row: Sequence[Trained]) -> TaskScore:
    """The mean score of some networks."""
    return TaskScore.mean([network.score for network in row])


def training(session: Session, against: Frames) -> Callable[[Training], Trained]:
    """What makes a training, in whichever process."""
    return partial(_train_and_score, session.task, session.env.schedule, against, session.device)


def _train_and_score(
    task: Task, schedule: TrainingSchedule, against: Frames, device: torch.device, work: Training
) -> Trained:
    frames, seed = work
    network = trained(task, schedule, seed, frames, device)
    if network is None:
        return Trained(TaskScore(float("nan")))
    scorer = task.scored(network, against, device)
    found = task.found(network, against.select(slice(SCENES_SHOWN)), device)
    return Trained(TaskScore(scorer.compute(), scorer.by_class()), found)


def train_and_score_all(train: Callable[[Training], Trained], work: Sequence[Training]) -> list[Trained]:
    """One training after the other."""
    return [train(each) for each in work]
