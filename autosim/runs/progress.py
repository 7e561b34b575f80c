"""What a run shows while it works: a bar on a terminal, plain lines elsewhere; at the end a short table."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from autosim.reports.formatting import clock_text, percent_text, score_text

if TYPE_CHECKING:
    from rich.progress import TaskID

# Seconds between two lines where there is no terminal.
LINE_INTERVAL = 5.0


class ProgressDisplay:
    """Shows iterations as they pass. A context manager; :meth:`advance` once an iteration, :meth:`note` in between."""

    def __init__(self, console: Console, iterations: int, score_name: str) -> None:
        self._console = console
        self._iterations = iterations
        self._score_name = score_name
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._last_line = -LINE_INTERVAL

    def __enter__(self) -> ProgressDisplay:
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("[bold]iterations"),
                MofNCompleteColumn(),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[figures]}"),
                console=self._console,
                transient=True,
            )
            self._progress.start()
            self._task = self._progress.add_task("", total=self._iterations, figures="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def advance(self, done: int, fraction: float, seconds: float, images: int, score: float | None) -> None:
        """``done`` iterations and ``fraction`` of the budget are used up after ``seconds`` and ``images``."""
        rate = images / seconds if seconds > 0 else 0.0
        remaining = seconds * (1 - fraction) / fraction if fraction > 0 else 0.0
        shown = "unknown" if score is None else f"{score:.3f}"
        figures = f"{rate:.0f} images/s · {self._score_name} {shown} · {clock_text(remaining)} left"
        if self._progress is not None and self._task is not None:
            total = max(done, round(done / fraction)) if fraction > 0 else self._iterations
            self._progress.update(self._task, completed=done, total=min(total, self._iterations), figures=figures)
            return
        now = time.monotonic()
        if now - self._last_line >= LINE_INTERVAL or fraction >= 1:
            self._last_line = now
            self._console.print(f"iteration {done}/{self._iterations} · {figures}", highlight=False)

    def note(self, text: str) -> None:
        """A line of its own above the bar."""
        self._console.print(text, highlight=False)


def figures_text(figures: Mapping[str, float]) -> str:
    """A method's own closing figures in one line; ``X_start`` and ``X_end`` as one entry ``X start → end``."""
    parts = []
    for name, value in figures.items():
        stem = name.removesuffix("_start")
        if name.endswith("_end") and f"{name.removesuffix('_end')}_start" in figures:
            continue
        if stem != name and f"{stem}_end" in figures:
            parts.append(f"{stem.replace('_', ' ')} {value:.4g} → {figures[f'{stem}_end']:.4g}")
        else:
            parts.append(f"{name.replace('_', ' ')} {value:.4g}")
    return " · ".join(parts)


def summary_table(summary: Mapping[str, Any]) -> Table:
    """The closing table: prior, learned, oracle, gap closed, images, seconds."""
    table = Table(title=f"{summary['algo']} on {summary['env']}, seed {summary['seed']}", title_justify="left")
    cells = {
        f"prior {summary['score_name']}": score_text(summary["prior_score"]),
        "learned": score_text(summary["test_score"]),
        "oracle": score_text(summary["oracle_score"]),
        "gap closed": percent_text(summary["gap_closed"]),
        "images": f"{summary['images']:,}",
        "seconds": f"{summary['seconds']:.0f}",
    }
    for name in cells:
        table.add_column(name, justify="right")
    table.add_row(*cells.values())
    return table
