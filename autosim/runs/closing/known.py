"""What a learned distribution is compared with, and what the scores of that depend on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from autosim import seeding
from autosim.runs.closing.frames import closing_frames, repeated_to_train
from autosim.runs.config import plain
from autosim.scenes.generator import GrammarSource, SceneGenerator
from autosim.session import Session
from autosim.target import TARGET_SEED

if TYPE_CHECKING:
    from autosim.rendering.frames import Frames

# The name of networks trained on real images.
REAL = "real"


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
