"""The frames that closing networks are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from autosim import seeding
from autosim.scenes.generator import SceneGenerator
from autosim.target import TARGET_SEED

if TYPE_CHECKING:
    from autosim.rendering.frames import Frames
    from autosim.scenes.graph import SceneGraph
    from autosim.session import Session


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


def repeated_to_train(session: Session, train: Frames) -> Frames:
    """Real images to train on. Where these are fewer than the frames that other networks are trained on, they are gone
    through again within an epoch: all see as many images.
    """
    count = max(len(train), session.env.train_frames)
    return train.select(np.arange(count) % len(train))
