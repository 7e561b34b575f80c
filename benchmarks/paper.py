"""The papers' controlled experiments: ``python benchmarks/paper.py metasim-table1 [--seeds 3]``; see ``--help``.

Makes the runs that a table or figure takes, two at once, and prints what was published beside what was measured; writes
JSON, Markdown and pictures. Runs that are finished are not made again, and not measured again; one that was interrupted
goes on from its last checkpoint. Long tables are made a few rows at a time: ``--only ROW,ROW`` makes these, and
``--known FILE`` keeps the rows that were measured earlier.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autosim.runs.planned import PlannedRun
    from benchmarks.papers.trial import Experiment, Trial

# What was measured of a run, in its folder.
MEASURED = "measured.json"


def work_of(trial: Trial, out: Path, cores: int = 0) -> PlannedRun:
    """The run of a trial; on ``cores`` workers of its own, or in one process."""
    from autosim.cli.run_options import configure
    from autosim.runs.planned import PlannedRun

    options = {
        "algo": trial.algo_options,
        "env": trial.env_options,
        "seed": trial.seed,
        "workers": cores,
        **trial.options,
    }
    config = configure(trial.algo, trial.env, options)
    return PlannedRun(config, out / "runs" / trial.name, f"autosim run --config runs/{trial.name}/config.yaml")


def make_runs(name: str, works: Sequence[PlannedRun], out: Path, workers: int) -> None:
    """Make, or go on with, those that are not finished, and measure them; says which has started, is done or failed."""
    from autosim.runs.planned import discard, has_checkpoint, import_libraries, is_finished
    from autosim.runs.processes import Event, WorkerProcesses

    discard([work for work in works if not (is_finished(work) or has_checkpoint(work))])
    waiting = [work for work in works if not (work.folder / MEASURED).exists()]

    def report(event: Event) -> None:
        print(f"{waiting[event.index].folder.name}: {event.kind} {event.cause}".rstrip(), flush=True)

    (out / "runs").mkdir(parents=True, exist_ok=True)
    # A run that has all cores to itself starts its own workers, and is made in this process, where it shows itself.
    alone = workers == 1
    processes_needed = 0 if alone else min(workers, len(waiting))
    with WorkerProcesses(processes_needed, out / "processes.log", import_libraries) as processes:
        processes.run(partial(make_and_measure, name, shown=alone), waiting, report)


def make_and_measure(name: str, work: PlannedRun, shown: bool = False) -> None:
    """Make a run of an experiment, unless it is finished, and note in its folder what is measured of it; ``shown`` says
    whether its progress is.
    """
    from rich.console import Console

    from autosim.files import write_whole
    from autosim.runs.folder import RunFolder
    from autosim.runs.planned import is_finished, make_run
    from benchmarks.papers.experiments import EXPERIMENTS

    if not is_finished(work):
        # What a job prints goes to a file; this is for the terminal.
        make_run(work, console=Console(file=sys.__stdout__) if shown else None)
    figures = EXPERIMENTS[name].measure(work.config, work.folder, RunFolder(work.folder).read_summary())
    write_whole(work.folder / MEASURED, json.dumps(figures, indent=1).encode())


def gather(trials: Sequence[Trial], works: Sequence[PlannedRun]) -> list[dict[str, Any]]:
    """What was measured of each run that is there."""
    return [
        {"row": trial.row, "seed": trial.seed, **json.loads((work.folder / MEASURED).read_text(encoding="utf-8"))}
        for trial, work in zip(trials, works, strict=True)
        if (work.folder / MEASURED).exists()
    ]


def rows_in_order(trials: Sequence[Trial]) -> list[str]:
    """The experiment's rows, as its table has them."""
    return list(dict.fromkeys(trial.row for trial in trials))


def chosen_rows(trials: Sequence[Trial], only: str | None) -> list[Trial]:
    """The trials of the rows that ``only`` names, with commas between them; all where it is None. ``UserError``."""
    from autosim.errors import UserError

    if only is None:
        return list(trials)
    rows, wanted = rows_in_order(trials), only.split(",")
    if unknown := [row for row in wanted if row not in rows]:
        raise UserError(f"--only: no row {unknown[0]!r}; there are: {', '.join(rows)}")
    return [trial for trial in trials if trial.row in wanted]


def earlier_runs(known: Path | None, name: str) -> list[dict[str, Any]]:
    """What was measured of the runs in an earlier record of the experiment; ``UserError`` if it is none."""
    from autosim.errors import UserError
    from benchmarks.record import read_record

    if known is None:
        return []
    details = read_record(known).details
    if details.get("experiment") != name or not isinstance(details.get("runs"), list):
        raise UserError(f"--known: {known} has no runs of {name}")
    return list(details["runs"])


def with_earlier(
    runs: Sequence[dict[str, Any]], earlier: Sequence[dict[str, Any]], trials: Sequence[Trial]
) -> list[dict[str, Any]]:
    """All runs in the order of the experiment's rows; of a row that was made again, none of the earlier ones."""
    made, order = {run["row"] for run in runs}, rows_in_order(trials)
    kept = [run for run in earlier if run["row"] in order and run["row"] not in made]
    return sorted([*runs, *kept], key=lambda run: (order.index(run["row"]), run["seed"]))


def copy_pictures(trials: Sequence[Trial], works: Sequence[PlannedRun], out: Path) -> None:
    """``ROW-scenes.png``: frames of start, end and target of each row's first finished run."""
    done: set[str] = set()
    for trial, work in zip(trials, works, strict=True):
        picture = work.folder / "pictures" / "scenes.png"
        if trial.row not in done and picture.exists():
            done.add(trial.row)
            shutil.copyfile(picture, out / f"{trial.row.replace(' ', '-')}-scenes.png")


def summarise(experiment: Experiment, runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each label: the published figure, and the median, least and largest of ours, by name; whether the worst
    seed is within the bound, where there is one.
    """
    rows = []
    for label in dict.fromkeys(run["row"] for run in runs):
        own = [run for run in runs if run["row"] == label]
        figures = {}
        for name in experiment.figures:
            known = [float(run[name]) for run in own if run[name] is not None]
            bound = experiment.bounds.get(label, {}).get(name)
            complete = len(known) == len(own)
            figures[name] = {
                "published": experiment.published.get(label, {}).get(name),
                "median": statistics.median(known) if known else None,
                "least": min(known, default=None),
                "largest": max(known, default=None),
                "bound": bound,
                "holds": None
                if bound is None
                else complete and (min(known) >= bound if bound > 0 else max(known) <= -bound),
            }
        rows.append({"row": label, "seeds": len(own), "figures": figures})
    return rows


def number(value: float | None) -> str:
    """Three digits or so."""
    if not value:
        return "–" if value is None else "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 1.5 else f"{value:.3f}"


def held(figure: Mapping[str, Any]) -> str:
    """What a figure has to be, and whether the worst seed is."""
    if figure["bound"] is None:
        return ""
    sign = "≥" if figure["bound"] > 0 else "≤"
    return f"{sign} {number(abs(figure['bound']))}: {'yes' if figure['holds'] else 'no'}"


def table(heads: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """For each row what was published, our median, our least and largest where there are several runs, and what they
    are held to.
    """
    lines = []
    for row in rows:
        figures, own = [row["figures"][name] for name in heads], []
        if any(figure["published"] is not None for figure in figures):
            own.append(["published", *(number(figure["published"]) for figure in figures)])
        ours = f"ours, median of {row['seeds']}" if row["seeds"] > 1 else "ours, one run"
        own.append([ours, *(number(figure["median"]) for figure in figures)])
        if row["seeds"] > 1:
            spread = [f"{number(figure['least'])} to {number(figure['largest'])}" for figure in figures]
            own.append(["least to largest", *spread])
        if any(figure["bound"] is not None for figure in figures):
            own.append(["held to", *map(held, figures)])
        lines += [["" if place else row["row"], *line] for place, line in enumerate(own)]
    return {"heads": ["experiment", "figures", *heads.values()], "lines": lines, "alignment": "ll" + "r" * len(heads)}


def main() -> int:
    """Run one experiment."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from autosim.errors import UserError
    from autosim.reports.table import Table
    from benchmarks.papers.experiments import EXPERIMENTS
    from benchmarks.papers.pictures import write_pictures
    from benchmarks.record import made_now

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=list(EXPERIMENTS))
    parser.add_argument("--seeds", type=int, default=3, help="runs of each row, with seeds 0 to N-1 (default: 3)")
    parser.add_argument("--digits", choices=["bundled", "mnist"], default="bundled", help="which digits are drawn")
    parser.add_argument(
        "--data-dir",
        type=Path,
        help="folder of MNIST's idx files, for --digits mnist; or of LM-O's photographs",
    )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--workers", type=int, default=cores, help="runs at once; 1 gives each all cores")
    parser.add_argument("--only", metavar="ROW,ROW", help="make these rows alone")
    parser.add_argument("--known", type=Path, metavar="FILE", help="earlier record, whose other rows are kept")
    parser.add_argument("--out", type=Path, help="folder to write to (default: runs/EXPERIMENT)")
    arguments = parser.parse_args()
    if arguments.seeds < 1 or arguments.workers < 1:
        parser.error("--seeds and --workers have to be at least 1")
    experiment = EXPERIMENTS[arguments.experiment]
    asked, kind = ["--digits", arguments.digits], arguments.digits
    if experiment.photographs:
        asked, kind = (["--data-dir", "LMO"], "photographs") if arguments.data_dir else ([], "stand-ins")
    out = arguments.out or Path("runs") / f"{arguments.experiment}-{kind}"
    digits = {"digits": arguments.digits, "data_dir": arguments.data_dir}
    try:
        all_trials = experiment.trials(arguments.seeds, digits)
        trials = chosen_rows(all_trials, arguments.only)
        earlier = earlier_runs(arguments.known, arguments.experiment)
        works = [work_of(trial, out, cores if arguments.workers == 1 else 0) for trial in trials]
        make_runs(arguments.experiment, works, out, arguments.workers)
        made = gather(trials, works)
        runs = with_earlier(made, earlier, all_trials)
        copy_pictures(trials, works, out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted; the same with --out {out} goes on from here", file=sys.stderr)
        return 130
    rows = summarise(experiment, runs)
    asked += ["--only", arguments.only] if arguments.only else []
    asked += ["--known", str(arguments.known)] if arguments.known else []
    command = shlex.join(
        ["python", "benchmarks/paper.py", arguments.experiment, "--seeds", str(arguments.seeds), *asked]
    )
    details = {
        "experiment": arguments.experiment,
        "title": experiment.title,
        "heads": dict(experiment.figures),
        "runs": runs,
    }
    shown = Table.from_json(table(experiment.figures, rows))
    record = made_now(command, shown, rows, list(range(arguments.seeds)), details=details)
    record.write(out / "paper.json")
    text = f"# {experiment.title}\n\n{record.markdown()}\n"
    (out / "paper.md").write_text(text, encoding="utf-8")
    write_pictures(details, out)
    print(text)
    print(f"written to {out}")
    return 0 if len(made) == len(trials) else 1


if __name__ == "__main__":
    raise SystemExit(main())
