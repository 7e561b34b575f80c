"""One run: set up, iterate within the budget, evaluate, record."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from autosim import registry
from autosim.errors import LostProcessError, OneLineError, RendererError, UserError, machine_or_user
from autosim.learning.stopwatch import Stages
from autosim.parallel import Begun, tell_if_ray_dies
from autosim.registry import one_line
from autosim.rendering.usage import Usage
from autosim.reports.formatting import clock_text
from autosim.runs.closing import INTERRUPTED, Scores, Trained, begin_known_scores, closing_scores, missing_scores
from autosim.runs.config import RunConfig
from autosim.runs.folder import RunFolder, check_free, default_folder, locked
from autosim.runs.gallery import Gallery
from autosim.runs.interrupt import StopRequest
from autosim.runs.live import LiveReport, write_evidence
from autosim.runs.opening import choose_device, open_environment, open_session
from autosim.runs.progress import RunProgress, cost_text, figures_text, summary_table
from autosim.runs.summary import attribute_recoveries, summarise_run

if TYPE_CHECKING:
    import torch

    from autosim.algorithm import Algorithm
    from autosim.env import Env
    from autosim.scenes.generator import SceneGenerator
    from autosim.session import Session
    from autosim.target import Target


@dataclass
class Tally:
    """What a run has used and reached so far; ``seconds`` and ``core_seconds`` are spent in iterations,
    ``setup_seconds`` before them, ``setup_core_seconds`` in setting the algorithm up. ``notice`` is what the renderer
    does wrong, ``feature_images`` and ``feature_cost`` are those of the features' frames, and ``seen`` is what features
    tell of each attribute.
    """

    iterations: int = 0
    images: int = 0
    render_cost: float = 0.0
    core_seconds: float = 0.0
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


def execute(
    config: RunConfig,
    out: Path | None,
    console: Console,
    command: str,
    targets: dict[str, Target] | None = None,
    observe: Observer | None = None,
) -> dict[str, Any]:
    """Make the run that ``config`` describes, in the folder ``out`` or one of its own; returns the summary. Runs of one
    process that are given the same ``targets`` render each of them once. ``observe`` is given what was used and the
    recommended generator before the first iteration and after each.

    Ctrl-C ends the run early with a complete folder, ``interrupted`` in its summary and, to be quick, no test scores.
    ``UserError`` where the environment, its target, the device or the folder cannot be used; no folder is left then.
    """
    path = out or default_folder(config)
    check_free(path)
    env = open_environment(config)
    device = choose_device(config.settings.device)
    folder = RunFolder.create(path)
    folder.write_config(config, command)
    try:
        with locked(path):
            return make(config, env, device, folder, console, command, None, targets, observe)
    except UserError:
        if not folder.read_metrics():
            folder.discard()
        raise


def resume(config: RunConfig, path: Path, console: Console, command: str) -> dict[str, Any]:
    """Go on with a run that was stopped, at whatever moment, and end as it would have; returns the summary.

    ``config`` is the one in the folder; ``command`` is noted where the folder does not hold the first one.
    ``UserError`` where the run has ended, another process is at work on it, or its checkpoints cannot be used.
    """
    folder = RunFolder(path)
    with locked(path):
        if folder.ended():
            raise UserError(f"run folder {path}: the run has ended, there is nothing to go on with")
        state, note = folder.read_checkpoint(config.iterations)
        if state is not None and state["config"] != config.to_dict():
            raise UserError(f"run folder {path}: checkpoint.pt is of a run with another configuration than config.yaml")
        if note:
            console.print(note, highlight=False, soft_wrap=True)
        env = open_environment(config)
        device = choose_device(config.settings.device)
        folder.check_metrics(0 if state is None else state["iteration"])
        return make(config, env, device, folder, console, folder.read_command() or command, state)


def make(
    config: RunConfig,
    env: Env,
    device: torch.device,
    folder: RunFolder,
    console: Console,
    command: str,
    state: Mapping[str, Any] | None,
    targets: dict[str, Target] | None = None,
    observe: Observer | None = None,
) -> dict[str, Any]:
    """The run in its folder, from the beginning or from a checkpoint's state.

    Whatever ends it says how to go on. Nothing of an earlier start of the run is changed before set-up has succeeded.
    """
    tally, gallery, scores = Tally(), Gallery(), Scores(note=INTERRUPTED)
    notes: tuple[str, ...] = ()
    begun: Begun[list[Trained]] | None = None
    resumed, started = folder.begun, time.perf_counter()
    to_go_on = f"autosim run --resume {folder.path} goes on"
    tell_if_ray_dies(to_go_on)
    try:
        console.print(f"{config.algo} on {config.env}, in {folder.path}: setting up", highlight=False)
        if given := config.set_by_environment():
            told = ", ".join(f"{key} {value}" for key, value in given.items())
            console.print(f"set by the environment: {told}", highlight=False, soft_wrap=True)
        stages = shown_stages(console)
        live = LiveReport(config, env, folder, gallery, command)
        with open_session(config, env, device, targets, stages) as session:
            planned = replace(config.algo_config, iterations=config.iterations)
            # Before the algorithm is set up, which takes long: an image of the user's own may be unreadable.
            gallery.add_target(session)
            notes = session.target.notes
            for note in notes:
                console.print(note, highlight=False, soft_wrap=True, markup=False)
            if (unscored := missing_scores(session.target)) and unscored not in notes:
                console.print(unscored, highlight=False, soft_wrap=True)
            live.first(session, tally, notes)
            # Beside a run that may take so many seconds, nothing else is to take them.
            if config.settings.budget.seconds is None:
                begun = begin_known_scores(session, config.settings.closing_networks)
            with stages.stage(f"setting {config.algo} up"):
                before = session.core_seconds()
                algorithm = registry.find_algorithm(config.algo)(session, planned)
                tally.setup_core_seconds = session.core_seconds() - before
            with stages.stage("scenes to be shown"):
                gallery.show(session, algorithm.generator, "start")
                gallery.sample(session, algorithm.generator, "start")
            live.renew(tally)
            console.print(f"set-up took {told_seconds(stages)}", highlight=False, soft_wrap=True)
            tally.setup_seconds = time.perf_counter() - started
            if state is not None:
                try:
                    take_up(session, algorithm, tally, gallery, state)
                except OneLineError:
                    raise
                except Exception as error:  # of whatever kind an algorithm raises at a state of another form
                    raise UserError(
                        f"run folder {folder.path}: its checkpoint does not fit: {one_line(error)}"
                    ) from error
            folder.keep_metrics(tally.iterations)
            resumed = False
            iterate(config, session, algorithm, folder, tally, gallery, console, live, observe)
            gallery.show(session, algorithm.generator, "end")
            gallery.sample(session, algorithm.generator, "end")
            tally.figures, tally.seen = algorithm.summary(), algorithm.seen()
            if not tally.interrupted:
                if not unscored:
                    console.print("training fresh networks for the closing scores", highlight=False)
                scores = closing_scores(session, algorithm.generator, config.settings.closing_networks, begun=begun)
    except KeyboardInterrupt:
        if resumed:
            console.print(f"interrupted during set-up; {to_go_on}", highlight=False, soft_wrap=True)
            raise
        tally.interrupted = True
        tally.setup_seconds = tally.setup_seconds or time.perf_counter() - started
    except RendererError as error:
        kept = ""
        if error.scene is not None:
            kept = f"the scene is in {folder.write_failed_scene(error.scene)}; "
        error.hint = f"{kept}{to_go_on} once the renderer is mended"
        raise
    except LostProcessError as error:
        error.hint = to_go_on
        raise
    except (OSError, MemoryError) as error:
        if not folder.begun:
            raise
        raise told_how_to_go_on(error, to_go_on) from error
    finally:
        folder.close()
        if begun is not None:
            begun.cancel()
    recoveries = attribute_recoveries(env.schema, gallery)
    summary = summarise_run(config, env, asdict(tally), scores, recoveries, command, notes)
    folder.write_summary(summary)
    try:
        write_evidence(folder, env, gallery, recoveries, summary, scores)
    except (OSError, MemoryError) as error:
        raise told_how_to_go_on(error, f"the run has ended; autosim report {folder.path} writes its report") from error
    title = f"{config.algo} on {config.env}, seed {config.settings.seed}"
    console.print(summary_table(summary).rich(title))
    console.print(cost_text(summary), highlight=False, soft_wrap=True)
    if tally.figures:
        console.print(figures_text(tally.figures), highlight=False, soft_wrap=True)
    for sentence in summary["verdict"]:
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    console.print(f"report: {folder.path / 'report.html'}", highlight=False, soft_wrap=True)
    if tally.interrupted:
        console.print(f"interrupted; {to_go_on}", highlight=False, soft_wrap=True)
    return summary


def told_how_to_go_on(error: OSError | MemoryError, hint: str) -> OneLineError:
    """What failed on the machine, with how to go on once that is mended."""
    told = machine_or_user(error)
    told.hint = hint
    return told


def shown_stages(console: Console) -> Stages:
    """The parts of set-up, each told as it begins."""

    def tell(name: str) -> None:
        console.print(f"set-up {clock_text(stages.elapsed)} · {name}", highlight=False, markup=False, soft_wrap=True)

    stages = Stages(tell)
    return stages


def told_seconds(stages: Stages) -> str:
    """How long set-up took, and what most of it was spent on."""
    parts = [f"{name} {seconds:.0f} s" for name, seconds in stages.seconds.items() if seconds >= 0.5]
    return f"{stages.elapsed:.0f} s" + (f": {', '.join(parts)}" if parts else "")


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
    before, cores_before = time.perf_counter(), session.core_seconds()
    figures = algorithm.step(tally.iterations)
    tally.seconds += time.perf_counter() - before
    tally.core_seconds += session.core_seconds() - cores_before
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
    session.resumed_usage += Usage(tally.images, tally.render_cost) - session.used
    if state["middle"] is not None:
        gallery.show_again(session, "middle", state["middle"])
