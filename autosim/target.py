"""Targets: the frames that a run is to do well on, drawn from a hidden distribution or a folder of the user's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autosim import seeding
from autosim.env import Env
from autosim.errors import UserError
from autosim.formats.images import read_image_folder
from autosim.rendering.frames import Frames
from autosim.rendering.pool import RenderPool

# Target frames do not depend on the run's seed: all runs on a target see the same ones.
TARGET_SEED = 0


@dataclass(frozen=True)
class Target:
    """Frames to do well on.

    ``images`` are what distribution matching sees: they have no annotations. ``validation`` has labels and steers; None
    where there are no labels. ``test`` is only ever scored; None where there is nothing to score against.
    """

    images: Frames
    validation: Frames | None
    test: Frames | None

    def __post_init__(self) -> None:
        if self.images.annotations:
            raise ValueError(f"target: the images to match have annotations {sorted(self.images.annotations)}")

    @property
    def labelled(self) -> bool:
        """Whether there are labels to go by."""
        return self.validation is not None


def hidden_target(env: Env, pool: RenderPool) -> Target:
    """Frames of the environment's own hidden distribution; the images to match are those of the validation frames.
    ``UserError`` where the environment has no such distribution.
    """
    parts = []
    for purpose, count, grammar in (
        ("validation", env.sizes.validation, env.validation_target()),
        ("test", env.sizes.test, env.target()),
    ):
        if grammar is None:
            raise UserError(f"environment {env.name!r} has no target of its own; give a folder of images, --target DIR")
        scenes = grammar.sample_many(count, seeding.seed_sequence(TARGET_SEED, f"target {purpose}"))
        parts.append(pool.render(scenes, seeding.frame_seeds(TARGET_SEED, f"target {purpose}", 0, count)))
    validation, test = parts
    return Target(Frames(validation.images), validation, test)


def folder_target(folder: Path, height: int, width: int) -> Target:
    """The images of a folder, brought to (height, width); ``UserError`` where they cannot be read."""
    return Target(read_image_folder(folder, height, width), None, None)
