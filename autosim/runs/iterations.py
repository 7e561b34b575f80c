"""The iterations of a run: what they use and reach, and the checkpoints between them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from autosim.rendering.usage import Usage
from autosim.runs.config import RunConfig
from autosim.runs.folder import RunFolder
from autosim.runs.gallery import Gallery
from autosim.runs.interrupt import StopRequest
from autosim.runs.progress import RunProgress

if TYPE_CHECKING:
    from rich.console import Console

    from autosim.algorithm import Algorithm
    from autosim.runs.live import LiveReport
    from autosim.scenes.generator import SceneGenerator
    from autosim.session import Session


@dataclass
class Tally:
    """What a run has used and reached so far; ``seconds`` and ``core_seconds`` are spent in iterations,
    ``setup_seconds`` before them, ``setup_core_seconds`` in setting the algorithm up. ``rendering_core_seconds`` and
    ``network_core_seconds`` are those of the iterations' that rendering and the training and scoring of networks took.
    ``notice`` is what the renderer does wrong, ``feature_images`` and ``feature_cost`` are those of the features'
    frames, and ``seen`` is what features tell of each attribute.
    """

    iterations: int = 0
    images: int = 0
    render_cost: float = 0.0
    core_seconds: float = 0.0
    rendering_core_seconds: float = 0.0
    network_core_seconds: float = 0.0
    feature_images: int = 0
    feature_cost: float = 0.0
    seconds: float = 0.0
    setup_seconds: float = 0.0
    setup_core_seconds: float = 0.0
    val_score: float | None = None
    interrupted: bool = False
    notice: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)

    @property
    def charged_core_seconds(self) -> float:
        """CPU seconds that the method is charged so far: its set-up and its iterations."""
        return self.setup_core_seconds + self.core_seconds

    def fraction(self, config: RunConfig) -> float:
        """Share of the budget used, by whichever limit is nearest; 1 and above is the end."""
        budget = config.settings.budget
        shares = [self.iterations / config.iterations]
        if budget.images is not None:
            shares.append(self.images / budget.images)
        if budget.seconds is not None:
            shares.append(self.seconds / budget.seconds)
        if budget.core_seconds is not None:
            shares.append(self.charged_core_seconds / budget.core_seconds)
        return max(shares)


Observer = Callable[[Tally, "SceneGenerator"], object]


def iterate(
    config: RunConfig,
    session: Session,
    algorithm: Algorithm,
    folder: RunFolder,
    tally: Tally,
    gallery: Gallery,
    console: Console,
    live: LiveReport,
    observe: Observer | None,
) -> None:
    """Step until the budget is used up or Ctrl-C; metrics each time, checkpoints now and then and at the end, and the
    report with some of them.
    """
    observe = observe or (lambda tally, generator: None)
    written = time.perf_counter()

    def write() -> None:
        nonlocal written
        write_checkpoint(config, algorithm, folder, tally, gallery)
        written = time.perf_counter()

    with StopRequest() as stop, RunProgress(console, config.iterations, session.task.score_name) as display:
        count_features(session, tally)
        observe(tally, algorithm.generator)
        while tally.iterations == 0 or (tally.fraction(config) < 1 and not stop.made):
            figures = advance(session, algorithm, tally)
            observe(tally, algorithm.generator)
            folder.add_metrics(tally.iterations - 1, figures)
            fraction = tally.fraction(config)
            if session.pool.notice and not tally.notice:
                tally.notice = session.pool.notice
                display.note(tally.notice)
            display.advance(tally.iterations, fraction, tally.seconds, tally.images, tally.val_score)
            if 0.5 <= fraction < 1 and "middle" not in gallery.frames:
                gallery.show(session, algorithm.generator, "middle")
            overdue = time.perf_counter() - written >= config.settings.checkpoint_seconds
            if fraction < 1 and (overdue or tally.iterations % config.settings.checkpoint_every == 0):
                write()
                live.renew(tally)
        tally.interrupted = stop.made and tally.fraction(config) < 1
        write()


def advance(session: Session, algorithm: Algorithm, tally: Tally) -> dict[str, Any]:
    """One iteration: its figures, led by what has been used so far."""
    before, cores_before = time.perf_counter(), session.core_seconds_by_part()
    figures = algorithm.step(tally.iterations)
    tally.seconds += time.perf_counter() - before
    spent = session.core_seconds_by_part() - cores_before
    tally.core_seconds += spent.total
    tally.rendering_core_seconds += spent.rendering
    tally.network_core_seconds += spent.networks
    tally.images, tally.render_cost = session.images, session.render_cost
    count_features(session, tally)
    score = figures.get("val_score")
    tally.val_score = float(score) if score is not None and math.isfinite(score) else None
    tally.iterations += 1
    return {
        "seconds": round(tally.seconds, 3),
        "core_seconds": round(tally.core_seconds, 3),
        "images": tally.images,
        # Parts may be summed in any order, which changes the last digits.
        "render_cost": round(tally.render_cost),
        "val_score": tally.val_score,
        **figures,
    }


def count_features(session: Session, tally: Tally) -> None:
    """Frames of features so far."""
    tally.feature_images, tally.feature_cost = session.feature_usage.images, session.feature_usage.cost


def write_checkpoint(
    config: RunConfig, algorithm: Algorithm, folder: RunFolder, tally: Tally, gallery: Gallery
) -> None:
    """Everything that later iterations, the summary and the pictures depend on."""
    folder.write_checkpoint(
        {
            "iteration": tally.iterations,
            "images": tally.images,
            "render_cost": tally.render_cost,
            "seconds": tally.seconds,
            "core_seconds": tally.core_seconds,
            "rendering_core_seconds": tally.rendering_core_seconds,
            "network_core_seconds": tally.network_core_seconds,
            "setup_seconds": tally.setup_seconds,
            "setup_core_seconds": tally.setup_core_seconds,
            "val_score": tally.val_score,
            "config": config.to_dict(),
            "algorithm": algorithm.state_dict(),
            "middle": gallery.to_state("middle"),
        }
    )


def take_up(session: Session, algorithm: Algorithm, tally: Tally, gallery: Gallery, state: Mapping[str, Any]) -> None:
    """Go on from what :func:`write_checkpoint` wrote; ``ValueError`` where a parameter is not finite, and whatever the
    algorithm raises where the state is not its own.
    """
    algorithm.load_state_dict(state["algorithm"])
    for name, values in algorithm.generator.named_parameters():
        if not bool(values.isfinite().all()):
            raise ValueError(f"the generator's {name} is not finite")
    tally.iterations, tally.images, tally.seconds = state["iteration"], state["images"], state["seconds"]
    tally.setup_seconds, tally.val_score = state["setup_seconds"], state["val_score"]
    tally.setup_core_seconds = state.get("setup_core_seconds", tally.setup_core_seconds)
    tally.render_cost, tally.core_seconds = state["render_cost"], state["core_seconds"]
    tally.rendering_core_seconds = state.get("rendering_core_seconds", 0.0)
    tally.network_core_seconds = state.get("network_core_seconds", 0.0)
    session.resumed_usage += Usage(tally.images, tally.render_cost) - session.used
    if state["middle"] is not None:
        gallery.show_again(session, "middle", state["middle"])
