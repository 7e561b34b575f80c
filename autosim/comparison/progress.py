"""What a comparison shows while it works: a bar over all runs on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from autosim.comparison.plan import ComparisonRun
from autosim.comparison.tables import main_table
from autosim.reports.formatting import clock_text
from autosim.runs.processes import Event

# Seconds between two lines where there is no terminal.
LINE_INTERVAL = 60.0


class ComparisonProgress:
    """Follows runs by the files that they write. A context manager; hand it every event, and call ``tick`` often."""

    def __init__(self, console: Console, jobs: Sequence[ComparisonRun], runs: Path, already: int) -> None:
        self._console, self._jobs, self._runs = console, jobs, runs
        self._already = already
        self._started = time.monotonic()
        self._running: set[int] = set()
        self._ended = 0
        self._images = 0
        self._best: dict[str, float] = {}
        self._last_line = self._started
        self._progress: Progress | None = None

    def __enter__(self) -> ComparisonProgress:
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("[bold]runs"),
                MofNCompleteColumn(),
                BarColumn(bar_width=20),
                TextColumn("{task.fields[figures]}"),
                console=self._console,
                transient=True,
            )
            self._progress.start()
            self._progress.add_task("", total=len(self._jobs) + self._already, completed=self._already, figures="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def event(self, event: Event) -> None:
        """A run has started, is done or has failed."""
        job = self._jobs[event.index]
        if event.kind == "started":
            self._running.add(event.index)
            return
        self._running.discard(event.index)
        self._ended += 1
        images, _, best = last_figures(self._runs / job.name)
        self._images += images
        self._note_best(job.label, best)
        place = f"{self._already + self._ended}/{self._already + len(self._jobs)}"
        if event.kind == "failed":
            self._console.print(f"{place} {job.name} failed: {event.cause}", highlight=False, markup=False)
        elif self._progress is None:
            score = "no score" if best is None else f"best {best:.3f}"
            self._console.print(f"{place} {job.name}: {score}, {images:,} images", highlight=False, markup=False)
        self.tick()

    def tick(self) -> None:
        """Bring what is shown up to date."""
        now = time.monotonic()
        if self._progress is None and now - self._last_line < LINE_INTERVAL:
            return
        share, images = float(self._ended), self._images
        for index in self._running:
            job = self._jobs[index]
            seen, seconds, best = last_figures(self._runs / job.name)
            images += seen
            self._note_best(job.label, best)
            budget = job.config.settings.budget
            shares = [
                seen / budget.images if budget.images else 0.0,
                seconds / budget.seconds if budget.seconds else 0.0,
            ]
            share += min(0.99, max(shares))
        elapsed = now - self._started
        remaining = f"{clock_text(elapsed * (len(self._jobs) - share) / share)} left" if share > 0 else "starting"
        best_text = " ".join(f"{label} {score:.3f}" for label, score in self._best.items())
        figures = " · ".join(filter(None, (f"{images / max(elapsed, 1e-9):.0f} images/s", best_text, remaining)))
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], completed=self._already + share, figures=figures)
        else:
            self._last_line = now
            done = self._already + self._ended
            self._console.print(f"{done}/{self._already + len(self._jobs)} · {figures}", highlight=False, markup=False)

    def _note_best(self, label: str, score: float | None) -> None:
        if score is not None:
            self._best[label] = max(score, self._best.get(label, 0.0))


def last_figures(folder: Path) -> tuple[int, float, float | None]:
    """Images, seconds and best validation score of a run so far, from its ``metrics.jsonl``."""
    try:
        text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    except OSError:
        return 0, 0.0, None
    lines: list[dict[str, Any]] = []
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:  # the last line, half written
            continue
    if not lines:
        return 0, 0.0, None
    scores = [line["val_score"] for line in lines if line.get("val_score") is not None]
    return int(lines[-1]["images"]), float(lines[-1]["seconds"]), max(scores, default=None)


def results_table(results: Mapping[str, Any]) -> Table:
    """The closing table: medians, a line for each method; ``images`` and ``seconds`` are those to the target score."""
    table = Table(title=f"{results['comparison']} on {results['env']}, medians", title_justify="left")
    table.add_column(results["comparison"] if results["comparison"] != "algorithms" else "method")
    heads = ("val", "test", "gap", "images", "×", "seconds", "×", "reached")
    for head in heads:
        table.add_column(head, justify="right")
    for line in main_table(results).lines:
        medians = [text.split(" [")[0].replace("**", "") for text in (line[0], *line[2 : len(heads) + 2])]
        table.add_row(*medians)
    return table
