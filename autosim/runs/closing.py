"""The closing evaluation: test scores of the starting distribution, of the learned one and of the target's own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from autosim.cache import cached_json
from autosim.runs.config import plain
from autosim.scenes.generator import Part, Samples, SceneGenerator
from autosim.scenes.grammar import Grammar
from autosim.seeding import seed_sequence
from autosim.session import TARGET_SEED, Session, test_scores_of

if TYPE_CHECKING:
    from autosim.rendering.frames import Frames

UNLABELLED = "the target is unlabelled: distribution matching only, scores cannot be computed"
NO_GAP = "the oracle is no better than the prior: there is no gap to close"
INTERRUPTED = "interrupted: test scores were not computed"


@dataclass(frozen=True)
class Scores:
    """Test scores in [0, 1]; None where they cannot be known, and then ``note`` says why."""

    prior: float | None = None
    learned: float | None = None
    oracle: float | None = None
    note: str = ""

    @property
    def gap_closed(self) -> float | None:
        """``(learned - prior) / (oracle - prior)``; None where a score is missing or the oracle is no better."""
        if self.prior is None or self.learned is None or self.oracle is None or self.oracle <= self.prior:
            return None
        return (self.learned - self.prior) / (self.oracle - self.prior)


class GrammarSource(SceneGenerator):
    """A grammar's own distribution where a generator is asked for; it learns nothing."""

    def __init__(self, grammar: Grammar) -> None:
        super().__init__()
        self.grammar = grammar
        self.schema = grammar.schema

    def sample(self, count: int, seed: np.random.SeedSequence) -> Samples:
        """``count`` scenes of the grammar; ``values`` stays empty."""
        return Samples(tuple(self.grammar.sample_many(count, seed)), torch.empty(0))

    def log_prob(self, samples: Samples, part: Part = "all") -> Tensor:
        """Zeros: there are no learned choices."""
        return torch.zeros(len(samples))


def closing_scores(session: Session, learned: SceneGenerator) -> Scores:
    """Prior, learned and oracle test scores. Prior and oracle are computed once for a target and cached."""
    oracle = session.env.oracle()
    if oracle is None or session.target.test is None:
        return Scores(note=UNLABELLED)
    own = {"prior": GrammarSource(session.env.prior()), "oracle": GrammarSource(oracle)}
    computed: dict[str, float] = {}

    def compute_all() -> dict[str, float]:
        names = [*own, "learned"]
        computed.update(zip(names, test_scores_of(session, [*own.values(), learned]), strict=True))
        return {name: computed[name] for name in own}

    fixed = cached_json("scores", describe_target(session), compute_all)
    if "learned" not in computed:
        computed["learned"] = test_scores_of(session, [learned])[0]
    note = "" if fixed["oracle"] > fixed["prior"] else NO_GAP
    return Scores(fixed["prior"], computed["learned"], fixed["oracle"], note)


def describe_target(session: Session) -> dict[str, Any]:
    """What prior and oracle scores depend on, for the cache: by content, so that no stale score is ever found."""
    env, test = session.env, session.target.test
    assert test is not None
    drawn: dict[str, Callable[[], Grammar | None]] = {"prior": env.prior, "oracle": env.oracle}
    scenes = {}
    for name, grammar_of in drawn.items():
        grammar = grammar_of()
        assert grammar is not None
        first = grammar.sample_many(16, seed_sequence(TARGET_SEED, "final scenes"))
        scenes[name] = _digest(json.dumps([scene.to_json() for scene in first], sort_keys=True).encode())
    weights = session.task.network(TARGET_SEED).state_dict()
    return {
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
