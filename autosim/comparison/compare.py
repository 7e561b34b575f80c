"""A comparison from beginning to end: prepare what runs share, make and measure the runs, write figures and pages."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from autosim.comparison.figures import gather_comparison
from autosim.comparison.known import KnownRows, read_known
from autosim.comparison.measuring import MeasuredRun, make_and_measure
from autosim.comparison.plan import Comparison, ComparisonRun
from autosim.comparison.preparation import Preparation, prepare, references_of, set_up_of, told, work_of
from autosim.comparison.progress import ComparisonProgress
from autosim.comparison.report import write_comparison_report
from autosim.comparison.tables import comparison_document
from autosim.errors import UserError
from autosim.files import read_json, write_whole
from autosim.formats.parts import find_places
from autosim.runs.config import plain
from autosim.runs.folder import check_free
from autosim.runs.opening import check_suited, open_environment
from autosim.runs.planned import discard, import_libraries, is_finished
from autosim.runs.processes import Event, WorkerProcesses

PLAN = "plan.json"
LOG = "processes.log"


def compare(comparison: Comparison, console: Console, command: str) -> dict[str, Any]:
    """Make and measure the runs that are not there yet, and write ``comparison.json``, ``comparison.md`` and
    ``report.html`` of all; returns what the first holds. A run that fails is reported, and the others go on.

    Ctrl-C ends the runs that have begun; the same command continues with what is missing. ``UserError`` where the
    folder cannot be used, a target is unlabelled, a method cannot work on it, or every run failed.
    """
    jobs, known = comparison.jobs(), read_known(comparison.known, comparison)
    check_folder(comparison)
    works = {job.name: work_of(comparison, job) for job in jobs}
    there = {job.name for job in jobs if known.run(job) or works[job.name].measured}
    check_targets(comparison)
    waiting = [job for job in jobs if job.name not in there]
    command = write_plan(comparison, command)
    discard([works[job.name].run for job in waiting if not is_finished(works[job.name].run)])
    already = f", {len(there)} of them finished before" if there else ""
    console.print(f"{len(jobs)} runs in {comparison.out}{already}", highlight=False, soft_wrap=True)
    try:
        failures = make_runs(comparison, waiting, works, known, console)
    except KeyboardInterrupt:
        console.print(f"interrupted; the same with --out {comparison.out} goes on from here", highlight=False)
        raise
    if len(failures) == len(jobs):
        raise UserError(f"every run failed; the last: {failures[jobs[-1].name]} (see {comparison.out / LOG})")
    finished = [job for job in jobs if job.name not in failures]
    results = gather_comparison(comparison, finished, known, failures, command)
    write_results(results, comparison.out)
    return results


def make_runs(
    comparison: Comparison,
    waiting: Sequence[ComparisonRun],
    works: Mapping[str, MeasuredRun],
    known: KnownRows,
    console: Console,
) -> dict[str, str]:
    """Make what runs share and then the runs; returns why some failed, by name."""
    failures: dict[str, str] = {}
    unknown = [target for target in comparison.targets if known.target(comparison, target) is None]
    references = [references_of(comparison, target) for target in unknown]
    preparations: list[Preparation] = [each for each in references if not each.path.exists()]
    if waiting:
        preparations.insert(0, set_up_of(waiting))
    with WorkerProcesses(comparison.workers, comparison.out / LOG, import_libraries) as processes:
        make_preparations(processes, preparations, console)
        if not waiting:
            return failures
        with ComparisonProgress(console, waiting, comparison, len(works) - len(waiting)) as progress:

            def report(event: Event) -> None:
                progress.event(event)
                if event.kind == "failed":
                    failures[waiting[event.index].name] = event.cause

            processes.run(make_and_measure, [works[job.name] for job in waiting], report, progress.tick)
    return failures


def check_folder(comparison: Comparison) -> None:
    """``UserError`` where the folder is a file, holds something that is no comparison, or one that was measured
    otherwise.
    """
    out, path = comparison.out, comparison.out / PLAN
    if not path.exists():
        check_free(out)
        return
    plan, wanted = read_json(path), plain(comparison.measure)
    if not isinstance(plan, dict) or plan.get("env", comparison.env) != comparison.env:
        raise UserError(f"{out} holds a comparison on another environment; choose another --out")
    if plan.get("measure", wanted) != wanted:
        raise UserError(
            f"{out} holds a comparison that was measured otherwise ({plan['measure']}); choose another --out"
        )


def check_targets(comparison: Comparison) -> None:
    """``UserError`` where an environment cannot be opened, its target has no labels, or a method cannot learn on it."""
    method = comparison.methods[0]
    for target in comparison.targets:
        env = open_environment(comparison.job(method, target, comparison.seeds[0]).config)
        for other in comparison.methods[1:]:
            check_suited(other.algo, env)
        own = comparison.settings.target
        labelled = {"validation", "test"} <= set(find_places(own)) if own.given else env.target() is not None
        if not labelled:
            raise UserError(
                f"environment {comparison.env!r}: the target is unlabelled, and methods are compared by their scores "
                "on labelled images for validation and test"
            )


def write_plan(comparison: Comparison, command: str) -> str:
    """``plan.json``: what is to be made and how it is measured, on disk before the first run. Returns the command that
    the folder was first made with, or that asked for more of it.
    """
    path = comparison.out / PLAN
    plan = {
        "env": comparison.env,
        "methods": [method.label for method in comparison.methods],
        "targets": list(comparison.targets),
        "seeds": list(comparison.seeds),
        "measure": plain(comparison.measure),
    }
    if path.exists():
        found = read_json(path)
        if all(found.get(name) == value for name, value in plan.items()):
            return str(found.get("command", command))
    try:
        comparison.runs.mkdir(parents=True, exist_ok=True)
        write_whole(path, (json.dumps({**plan, "command": command}, indent=1, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise UserError(f"output folder {comparison.out}: {error.strerror or error}") from error
    return command


def make_preparations(processes: WorkerProcesses, wanted: Sequence[Preparation], console: Console) -> None:
    """Compute what runs share, and tell what and for how long; ``UserError`` where that fails."""
    since: dict[int, float] = {}

    def report(event: Event) -> None:
        named = f"preparing what the runs share, {event.index + 1} of {len(wanted)}: {told(wanted[event.index])}"
        if event.kind == "started":
            since[event.index] = time.monotonic()
            console.print(named, highlight=False, soft_wrap=True)
        elif event.kind == "done":
            console.print(f"{named}: {time.monotonic() - since[event.index]:.0f} s", highlight=False, soft_wrap=True)
        if event.kind == "failed":
            raise UserError(event.cause if event.mendable else f"preparation failed: {event.cause}")

    if wanted:
        processes.run(prepare, wanted, report)


def write_results(results: Mapping[str, Any], out: Path) -> None:
    """``comparison.json``, ``comparison.md`` and ``report.html``."""
    write_whole(out / "comparison.json", results_text(results).encode())
    write_whole(out / "comparison.md", comparison_document(results).encode())
    write_comparison_report(results, out)


def results_text(results: Mapping[str, Any]) -> str:
    """Results as JSON, an entry or an element of a list to a line: short, and still fit to be compared line by line."""
    lines = []
    for key, value in results.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            elements = ",\n".join(f"  {_json(element)}" for element in value)
            lines.append(f" {_json(key)}: [\n{elements}\n ]")
        else:
            lines.append(f" {_json(key)}: {_json(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
