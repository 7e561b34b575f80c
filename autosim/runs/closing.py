"""The closing evaluation: test scores of the starting distribution, of the learned one and of the target's own.

Each is that of fresh networks trained on frames of the distribution: same number, schedule and seeds for all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from autosim import seeding
from autosim.cache import cached_json, is_cached
from autosim.errors import UserError
from autosim.learning.tasks.score_noise import score_noise
from autosim.learning.tasks.task import TaskScore
from autosim.parallel import Begun, begin, parallel_map
from autosim.runs.config import plain
from autosim.runs.gallery import SCENES_SHOWN
from autosim.scenes.generator import GrammarSource, SceneGenerator
from autosim.session import Session, trained
from autosim.target import TARGET_SEED, Target

if TYPE_CHECKING:
    from autosim.learning.schedule import TrainingSchedule
    from autosim.learning.tasks.task import Task
    from autosim.rendering.frames import Frames
    from autosim.scenes.graph import SceneGraph

UNLABELLED = "the target is unlabelled: distribution matching only, scores cannot be computed"
NO_TEST = "the target has no labelled images for the test: scores cannot be computed (--target.test DIR gives them)"
NO_ORACLE = "the target's own distribution is not known: there is no oracle score"
NO_GAP = "the oracle is no better than the prior by more than chance: there is no gap to close"
INTERRUPTED = "interrupted: test scores were not computed"
# Kind of file in the cache.
KNOWN = "closing scores"
# What else than distributions networks are trained on.
LEARNED, REAL = "learned", "real"


@dataclass(frozen=True)
class Trained:
    """What came of a training: its score, and what the network finds in the first frames that it was scored on, where
    there is something to show.
    """

    score: TaskScore
    found: Frames | None = None


@dataclass(frozen=True)
class Scores:
    """Test scores in [0, 1]; None where they cannot be known, and then ``note`` says why.

    Each is the mean over the closing networks; ``each`` holds those of the single ones on the learned distribution.
    On a user's own images ``broad`` is the score of broad randomisation, attributes uniform over their ranges, and
    ``real`` that of networks trained on real images, where there are labelled ones to train on. ``by_class`` holds the
    score of each class, by the names of these scores. ``shown`` are a few test frames, with their truth and with what
    the first closing network finds in them.
    """

    prior: float | None = None
    learned: float | None = None
    oracle: float | None = None
    note: str = ""
    each: tuple[float, ...] = ()
    broad: float | None = None
    real: float | None = None
    by_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    shown: tuple[Frames, Frames] | None = field(default=None, compare=False, repr=False)

    @property
    def gap_closed(self) -> float | None:
        """``(learned - prior) / (oracle - prior)``; None where a score is missing, or where the oracle is no better by
        more than chance: a share of noise means nothing.
        """
        if self.prior is None or self.learned is None or self.oracle is None:
            return None
        if self.oracle - self.prior <= score_noise(self.each):
            return None
        return (self.learned - self.prior) / (self.oracle - self.prior)


def begin_known_scores(session: Session, networks: int = 1, seed: int = TARGET_SEED) -> Begun[list[Trained]] | None:
    """Draw the frames of the distributions that a run is compared with, and begin to train networks on them, in one
    process beside what this one goes on with; None where their scores are cached, where there can be none, or where
    fewer than two workers leave no process for it.
    """
    test = session.target.test
    if test is None or session.workers < 2:
        return None
    own, described = known_names(session), describe_target(session, networks, seed)
    if is_cached(KNOWN, described, partial(are_known_scores, names=own)):
        return None
    with session.stage("frames to compare with"):
        datasets = [known_frames(session, name, seed) for name in own]
    return begin(partial(_train_and_score_all, _training(session, test)), _trainings(datasets, networks, seed))


def closing_scores(
    session: Session,
    learned: SceneGenerator,
    networks: int = 1,
    seed: int = TARGET_SEED,
    begun: Begun[list[Trained]] | None = None,
) -> Scores:
    """Prior, learned and oracle test scores, the means over ``networks`` fresh networks; ``seed`` is that of their
    frames and of the first network. What runs are compared with is computed once for a target and cached; ``begun`` is
    what :func:`begin_known_scores` gave.
    """
    if unscored := missing_scores(session.target):
        return Scores(note=unscored)
    own, test = known_names(session), session.target.test
    assert test is not None
    computed: dict[str, list[Trained]] = {}

    def compute(names: Sequence[str]) -> None:
        datasets = [
            closing_frames(session, learned, seed) if name == LEARNED else known_frames(session, name, seed)
            for name in names
        ]
        computed.update(zip(names, _trained_on(session, datasets, test, networks, seed), strict=True))

    def compute_all() -> dict[str, Any]:
        if begun is not None:
            compute([LEARNED])
            if (scores := begun.result()) is not None:
                computed.update(zip(own, _rows(scores, networks), strict=True))
        compute([name for name in (*own, LEARNED) if name not in computed])
        return {name: asdict(_mean_score(computed[name])) for name in own}

    described = describe_target(session, networks, seed)
    fixed = cached_json(KNOWN, described, compute_all, partial(are_known_scores, names=own))
    if LEARNED not in computed:
        compute([LEARNED])
    found = {name: TaskScore(**entry) for name, entry in fixed.items()} | {LEARNED: _mean_score(computed[LEARNED])}
    values = {name: score.value for name, score in found.items()}
    by_class = {name: score.by_class for name, score in found.items() if score.by_class}
    each = tuple(network.score.value for network in computed[LEARNED])
    seen = computed[LEARNED][0].found
    shown = None if seen is None else (test.select(slice(len(seen))), seen)
    scores = Scores(
        values["prior"],
        values[LEARNED],
        values.get("oracle"),
        each=each,
        broad=values.get("broad"),
        real=values.get(REAL),
        by_class=by_class,
        shown=shown,
    )
    note = NO_ORACLE if scores.oracle is None else NO_GAP if scores.gap_closed is None else ""
    return replace(scores, note=note)


def are_known_scores(found: object, names: Collection[str]) -> bool:
    """Whether a value is, for each of the names, a :class:`TaskScore` in [0, 1] as JSON has it, and nothing more."""
    if not isinstance(found, dict) or not all(isinstance(entry, dict) for entry in found.values()):
        return False
    by_class = [entry.get("by_class") for entry in found.values()]
    return (
        all(set(entry) == {"value", "by_class"} for entry in found.values())
        and are_scores({name: entry["value"] for name, entry in found.items()}, names)
        and all(isinstance(classes, dict) and are_scores(classes, classes) for classes in by_class)
    )


def are_scores(found: object, names: Collection[str]) -> bool:
    """Whether a value is a score in [0, 1] for each of the names, and nothing more."""
    if not isinstance(found, dict) or set(found) != set(names):
        return False
    return all(type(score) is float and 0 <= score <= 1 for score in found.values())


def missing_scores(target: Target) -> str:
    """Why there can be no closing scores; empty where there can."""
    return "" if target.test is not None else NO_TEST if target.labelled else UNLABELLED


def closing_test_scores(
    session: Session, generators: Sequence[SceneGenerator], networks: int = 1, seed: int = TARGET_SEED
) -> list[list[float]]:
    """For each generator the test scores of ``networks`` fresh networks, trained on the same frames of it."""
    test = session.target.test
    if test is None:
        raise UserError("the target is unlabelled: there is nothing to score against")
    return frames_scores(session, [closing_frames(session, each, seed) for each in generators], test, networks, seed)


def repeated_to_train(session: Session, train: Frames) -> Frames:
    """Real images to train on. Where these are fewer than the frames that other networks are trained on, they are gone
    through again within an epoch: all see as many images.
    """
    count = max(len(train), session.env.train_frames)
    return train.select(np.arange(count) % len(train))


def frames_scores(
    session: Session, datasets: Sequence[Frames], against: Frames, networks: int = 1, seed: int = TARGET_SEED
) -> list[list[float]]:
    """For each data set the scores against labelled frames of ``networks`` fresh networks that were trained on it."""
    found = _trained_on(session, datasets, against, networks, seed)
    return [[network.score.value for network in row] for row in found]


def _trained_on(
    session: Session, datasets: Sequence[Frames], against: Frames, networks: int, seed: int
) -> list[list[Trained]]:
    work = _trainings(datasets, networks, seed)
    return _rows(parallel_map(_training(session, against), work, limit=session.workers), networks)


def _mean_score(row: Sequence[Trained]) -> TaskScore:
    return TaskScore.mean([network.score for network in row])


Training = tuple["Frames", int]


def _trainings(datasets: Sequence[Frames], networks: int, seed: int) -> list[Training]:
    return [(frames, own) for frames in datasets for own in network_seeds(networks, seed)]


def _rows(found: list[Trained], networks: int) -> list[list[Trained]]:
    return [found[start : start + networks] for start in range(0, len(found), networks)]


def _training(session: Session, against: Frames) -> Callable[[Training], Trained]:
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


def _train_and_score_all(train: Callable[[Training], Trained], work: Sequence[Training]) -> list[Trained]:
    return [train(each) for each in work]


def closing_frames(session: Session, generator: SceneGenerator, seed: int = TARGET_SEED) -> Frames:
    """The frames of a generator that its closing scores come from; they are not counted."""
    return closing_frames_of(session, closing_scenes(generator, session.env.train_frames, seed), seed)


def closing_scenes(generator: SceneGenerator, count: int, seed: int = TARGET_SEED) -> tuple[SceneGraph, ...]:
    """The scenes that these frames show."""
    return generator.sample(count, seeding.seed_sequence(seed, "final scenes")).scenes


def closing_frames_of(session: Session, scenes: Sequence[SceneGraph], seed: int = TARGET_SEED) -> Frames:
    """Frames of scenes, with the seeds of closing frames; they are not counted."""
    with session.uncounted():
        return session.pool.render(scenes, seeding.frame_seeds(seed, "final frames", 0, len(scenes)))


def network_seeds(networks: int, seed: int = TARGET_SEED) -> list[int]:
    """Seeds of the closing networks' weights and trainings; the first is ``seed`` itself."""
    return [seed, *(seeding.integer_seed(seed, "closing network", 0, i) for i in range(1, networks))]


def known_distributions(session: Session) -> dict[str, SceneGenerator]:
    """What runs are compared with: ``prior``, and ``oracle`` where the target's distribution is known, otherwise
    ``broad``: every attribute that can be learned uniform over its range.
    """
    prior, own = session.env.prior(), session.target_settings.given
    known = {
        "prior": prior,
        "oracle": None if own else session.env.oracle(),
        "broad": prior.widened() if own else None,
    }
    return {name: GrammarSource(grammar) for name, grammar in known.items() if grammar is not None}


def known_names(session: Session) -> list[str]:
    """What the learned distribution's score is compared with: distributions, and ``real`` where there are labelled
    images to train on.
    """
    return [*known_distributions(session), *([REAL] if session.target.train is not None else [])]


def known_frames(session: Session, name: str, seed: int) -> Frames:
    """The frames behind the score that is compared with under one of these names."""
    if name == REAL:
        assert session.target.train is not None
        return repeated_to_train(session, session.target.train)
    return closing_frames(session, known_distributions(session)[name], seed)


def describe_target(session: Session, networks: int = 1, seed: int = TARGET_SEED) -> dict[str, Any]:
    """What the scores that are compared with depend on, for the cache: by content, so that no stale one is ever
    found.
    """
    env, test, train = session.env, session.target.test, session.target.train
    assert test is not None
    scenes = {}
    for name, generator in known_distributions(session).items():
        first = generator.sample(16, seeding.seed_sequence(seed, "final scenes")).scenes
        scenes[name] = _digest(json.dumps([scene.to_json() for scene in first], sort_keys=True).encode())
    weights = session.task.network(seed).state_dict()
    others = {} if (networks, seed) == (1, TARGET_SEED) else {"networks": networks, "seed": seed}
    real = {} if train is None else {REAL: _digest(*_frame_bytes(train))}
    return {
        **others,
        **real,
        "env": env.name,
        "config": plain(asdict(env.config)),
        "train_frames": env.train_frames,
        "schedule": plain(asdict(env.schedule)),
        "task": f"{type(session.task).__qualname__} {sorted(vars(session.task).items())}",
        "torch": torch.__version__,
        "scenes": scenes,
        "test": _digest(*_frame_bytes(test)),
        "network": _digest(*(tensor.detach().cpu().numpy().tobytes() for tensor in weights.values())),
    }


def _frame_bytes(frames: Frames) -> list[bytes]:
    return [
        frames.images.tobytes(),
        *(np.ascontiguousarray(frames.annotations[k]).tobytes() for k in sorted(frames.annotations)),
    ]


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
