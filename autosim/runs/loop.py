"""One run: set up, iterate within the budget, evaluate, record."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from autosim import registry
from autosim.errors import LostProcessError, OneLineError, RendererError, UserError, machine_or_user
from autosim.learning.stopwatch import Stages
from autosim.parallel import Begun, tell_if_ray_dies
from autosim.registry import one_line
from autosim.reports.formatting import clock_text
from autosim.runs.closing.scores import INTERRUPTED, Scores, begin_known_scores, closing_scores, missing_scores
from autosim.runs.closing.trainings import Trained
from autosim.runs.config import RunConfig
from autosim.runs.folder import RunFolder, check_free, default_folder, locked
from autosim.runs.gallery import Gallery
from autosim.runs.iterations import Observer, Tally, iterate, take_up
from autosim.runs.live import LiveReport, write_evidence
from autosim.runs.opening import choose_device, open_environment, open_session
from autosim.runs.progress import cost_text, figures_text, summary_table
from autosim.runs.summary import attribute_recoveries, moved_structure, summarise_run

if TYPE_CHECKING:
    import torch

    from autosim.env import Env
    from autosim.target import Target


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
    recoveries, structure = attribute_recoveries(env.schema, gallery), moved_structure(env, gallery)
    summary = summarise_run(config, env, asdict(tally), scores, recoveries, structure, command, notes)
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
