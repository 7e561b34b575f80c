"""What a run keeps to show: the same few scenes as learning goes on, and many scenes' attributes at its two ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autosim.rendering.drawn import DrawnFrames
from autosim.rendering.frames import Frames
from autosim.scenes.generator import SceneGenerator
from autosim.scenes.graph import SceneGraph
from autosim.seeding import seed_sequence
from autosim.session import Session
from autosim.target import TARGET_SEED

SCENES_SHOWN = 6
# Scenes that are summarised, and where numbers of nodes are learned, which differ more than attributes.
SCENES_SAMPLED, SCENES_COUNTED = 256, 1024


@dataclass
class Gallery:
    """Frames and scene samples by stage (``start``, ``middle``, ``end``, ``target``); none of it is counted.

    ``drawn`` has the frames of the generator's own stages with what they were drawn from.
    """

    frames: dict[str, Frames] = field(default_factory=dict)
    drawn: dict[str, DrawnFrames] = field(default_factory=dict)
    scenes: dict[str, tuple[SceneGraph, ...]] = field(default_factory=dict)

    def show(self, session: Session, generator: SceneGenerator, stage: str) -> None:
        """Keep frames of the generator's scenes as of now: equal seeds at every stage."""
        samples = generator.sample(SCENES_SHOWN, session.seed_sequence("pictures"))
        with session.uncounted():
            self._keep(stage, session.draw(samples.scenes, "pictures"))

    def to_state(self, stage: str) -> dict[str, Any] | None:
        """What was shown at a stage, as plain values; None where nothing was. :meth:`show_again` reads it back."""
        return self.drawn[stage].to_state() if stage in self.drawn else None

    def show_again(self, session: Session, stage: str, state: Mapping[str, Any]) -> None:
        """Keep what :meth:`to_state` wrote, its frames drawn again."""
        self._keep(stage, DrawnFrames.from_state(state, session.redraw))

    def sample(self, session: Session, generator: SceneGenerator, stage: str) -> None:
        """Keep scenes of the generator as of now, for their attributes."""
        self.scenes[stage] = generator.sample(_sampled(session), session.seed_sequence("attributes")).scenes

    def add_target(self, session: Session) -> None:
        """Keep target frames, with their truth where it is known, and scenes of the target where these are."""
        target = session.target
        shown = target.images if target.validation is None else target.validation
        self.frames["target"] = shown.select(slice(SCENES_SHOWN))
        grammar = session.env.target()
        if grammar is not None and not session.target_settings.given:
            seed = seed_sequence(TARGET_SEED, "target attributes")
            self.scenes["target"] = tuple(grammar.sample_many(_sampled(session), seed))

    def _keep(self, stage: str, drawn: DrawnFrames) -> None:
        self.drawn[stage], self.frames[stage] = drawn, drawn.frames


def _sampled(session: Session) -> int:
    return SCENES_COUNTED if "structure" in session.env.prior().learnable else SCENES_SAMPLED
