"""What a run keeps to show: the same few scenes as learning goes on, and many scenes' attributes at its two ends."""

from __future__ import annotations

from dataclasses import dataclass, field

from autosim.rendering.frames import Frames
from autosim.scenes.generator import SceneGenerator
from autosim.scenes.graph import SceneGraph
from autosim.seeding import seed_sequence
from autosim.session import TARGET_SEED, Session

SCENES_SHOWN = 6
SCENES_SAMPLED = 256


@dataclass
class Gallery:
    """Frames and scene samples by stage (``start``, ``middle``, ``end``, ``target``); none of it is counted."""

    frames: dict[str, Frames] = field(default_factory=dict)
    scenes: dict[str, tuple[SceneGraph, ...]] = field(default_factory=dict)

    def show(self, session: Session, generator: SceneGenerator, stage: str) -> None:
        """Keep frames of the generator's scenes as of now: equal seeds at every stage."""
        samples = generator.sample(SCENES_SHOWN, session.seed_sequence("pictures"))
        with session.uncounted():
            self.frames[stage] = session.render(samples.scenes, "pictures")

    def sample(self, session: Session, generator: SceneGenerator, stage: str) -> None:
        """Keep scenes of the generator as of now, for their attributes."""
        self.scenes[stage] = generator.sample(SCENES_SAMPLED, session.seed_sequence("attributes")).scenes

    def add_target(self, session: Session) -> None:
        """Keep target frames, and scenes of the target where its distribution is known."""
        self.frames["target"] = session.target.validation.select(slice(SCENES_SHOWN))
        grammar = session.env.target()
        if grammar is not None:
            seed = seed_sequence(TARGET_SEED, "target attributes")
            self.scenes["target"] = tuple(grammar.sample_many(SCENES_SAMPLED, seed))
