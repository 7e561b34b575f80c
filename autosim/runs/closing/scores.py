"""The closing scores of a run; those that it is compared with are computed once for a target and cached."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from autosim.cache import cached_json, is_cached
from autosim.learning.tasks.score_noise import score_noise
from autosim.learning.tasks.task import TaskScore
from autosim.parallel import Begun, begin
from autosim.runs.closing.frames import closing_frames
from autosim.runs.closing.known import REAL, describe_target, known_frames, known_names
from autosim.runs.closing.trainings import (
    Trained,
    mean_score,
    rows,
    train_and_score_all,
    trained_on,
    training,
    trainings,
)
from autosim.scenes.generator import SceneGenerator
from autosim.session import Session
from autosim.target import TARGET_SEED, Target

if TYPE_CHECKING:
    from autosim.rendering.frames import Frames

UNLABELLED = "the target is unlabelled: distribution matching only, scores cannot be computed"
NO_TEST = "the target has no labelled images for the test: scores cannot be computed (--target.test DIR gives them)"
NO_ORACLE = "the target's own distribution is not known: there is no oracle score"
NO_GAP = "the oracle is no better than the prior by more than chance: there is no gap to close"
INTERRUPTED = "interrupted: test scores were not computed"
# Kind of file in the cache.
KNOWN = "closing scores"
# The name of networks trained on the learned distribution.
LEARNED = "learned"


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
    return begin(partial(train_and_score_all, training(session, test)), trainings(datasets, networks, seed))


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
        computed.update(zip(names, trained_on(session, datasets, test, networks, seed), strict=True))

    def compute_all() -> dict[str, Any]:
        if begun is not None:
            compute([LEARNED])
            if (scores := begun.result()) is not None:
                computed.update(zip(own, rows(scores, networks), strict=True))
        compute([name for name in (*own, LEARNED) if name not in computed])
        return {name: asdict(mean_score(computed[name])) for name in own}

    described = describe_target(session, networks, seed)
    fixed = cached_json(KNOWN, described, compute_all, partial(are_known_scores, names=own))
    if LEARNED not in computed:
        compute([LEARNED])
    found = {name: TaskScore(**entry) for name, entry in fixed.items()} | {LEARNED: mean_score(computed[LEARNED])}
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


def missing_scores(target: Target) -> str:
    """Why there can be no closing scores; empty where there can."""
    return "" if target.test is not None else NO_TEST if target.labelled else UNLABELLED


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
