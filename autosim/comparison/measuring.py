"""Scores of what methods recommend, and of what they are compared with, by fresh networks on uncounted frames."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autosim.comparison.checkpoints import CheckpointRecorder, read_checkpoint
from autosim.comparison.plan import Measure
from autosim.errors import UserError
from autosim.files import read_json, write_whole
from autosim.runs.config import RunConfig, available_cpus
from autosim.runs.planned import TARGETS, PlannedRun, is_finished, make_run

if TYPE_CHECKING:
    from autosim.rendering.frames import Frames
    from autosim.scenes.graph import SceneGraph
    from autosim.session import Session

MEASURED = "measured.json"


@dataclass(frozen=True)
class MeasuredRun:
    """A run to make and to measure. ``core_seconds`` is its budget."""

    run: PlannedRun
    core_seconds: float
    measure: Measure

    @property
    def measured(self) -> bool:
        """Whether it was made and measured already."""
        return is_finished(self.run) and (self.run.folder / MEASURED).exists()


@dataclass(frozen=True)
class References:
    """What all methods on a target are compared with, by the same measure: the start, broad randomisation and the
    oracle; their scores go to ``path``.
    """

    config: RunConfig
    measure: Measure
    path: Path


def make_and_measure(work: MeasuredRun) -> None:
    """Make a run where it is not finished, silently, then score its checkpoints; ``KeyboardInterrupt`` where it was
    interrupted.
    """
    if not is_finished(work.run):
        from autosim.runs.opening import open_environment

        count = open_environment(work.run.config).train_frames
        recorder = CheckpointRecorder(work.run.folder, work.core_seconds, work.measure.shares, count)
        make_run(work.run, recorder)
        recorder.finish()
    measure_run(work)


def measure_run(work: MeasuredRun) -> None:
    """Write ``measured.json``: the scores at each share, and the processor that the run was made on. Scenes that two
    shares have in common are scored once.
    """
    from autosim.runs.opening import choose_device, open_environment, open_session

    config, shares = work.run.config, work.measure.shares
    checkpoints = [read_checkpoint(work.run.folder, share) for share in shares]
    scored: dict[str, list[float]] = {}
    texts = [json.dumps([scene.to_json() for scene in checkpoint.scenes]) for checkpoint in checkpoints]
    env = open_environment(config)
    with open_session(config, env, choose_device(config.settings.device), TARGETS) as session:
        for checkpoint, text in zip(checkpoints, texts, strict=True):
            if text not in scored:
                scored[text] = scene_scores(session, checkpoint.scenes, work.measure)
    content = {
        "machine": {"cpu": processor(), "cores": available_cpus()},
        "scores": {f"{share:g}": scored[text] for share, text in zip(shares, texts, strict=True)},
    }
    write_whole(work.run.folder / MEASURED, (json.dumps(content, indent=1) + "\n").encode())


def measure_references(work: References) -> None:
    """Write the scores of the start, of broad randomisation and, where they are known, of the oracle and of networks
    that were trained on real images.
    """
    from autosim.runs.closing.frames import closing_scenes, repeated_to_train
    from autosim.runs.closing.trainings import frames_scores
    from autosim.runs.opening import choose_device, open_environment, open_session
    from autosim.scenes.generator import GrammarSource

    env = open_environment(work.config)
    with open_session(work.config, env, choose_device(work.config.settings.device), TARGETS) as session:
        prior, own = env.prior(), session.target_settings.given
        grammars = {"start": prior, "broad": prior.widened(), "oracle": None if own else env.oracle()}
        found = {
            name: scene_scores(session, closing_scenes(GrammarSource(grammar), env.train_frames), work.measure)
            for name, grammar in grammars.items()
            if grammar is not None
        }
        if (real := session.target.train) is not None:
            frames = repeated_to_train(session, real)
            found["real"] = frames_scores(session, [frames], scored_on(session, work.measure), work.measure.networks)[0]
        content = {"scores": found, "score_name": session.task.score_name}
    work.path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(work.path, (json.dumps(content, indent=1) + "\n").encode())


def scene_scores(session: Session, scenes: Sequence[SceneGraph], measure: Measure) -> list[float]:
    """Scores of fresh networks trained on frames of scenes; seeds of frames and networks are the same for all."""
    from autosim.runs.closing.frames import closing_frames_of
    from autosim.runs.closing.trainings import frames_scores

    frames = closing_frames_of(session, scenes)
    return frames_scores(session, [frames], scored_on(session, measure), measure.networks)[0]


def scored_on(session: Session, measure: Measure) -> Frames:
    """The part of the target that scores are taken on; ``UserError`` where it has no labels."""
    frames = session.target.test if measure.part == "test" else session.target.validation
    if frames is None:
        raise UserError(f"the target has no labelled images for the {measure.part}: methods cannot be compared")
    return frames


def read_scores(path: Path) -> dict[str, Any]:
    """What :func:`measure_run` or :func:`measure_references` wrote; ``UserError`` where it is not that."""
    found = read_json(path)
    if not isinstance(found, dict) or not isinstance(found.get("scores"), dict):
        raise UserError(f"{path}: holds no scores")
    return found


def processor() -> str | None:
    """The processor's name; None where it cannot be read."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return platform.processor() or None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)
