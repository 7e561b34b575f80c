"""What a search shows: a bar on a terminal and a line for each trial that ends; at the end a table."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from autosim.reports.formatting import score_text
from autosim.tuning.records import Records, TrialRecord


class TuneDisplay:
    """Shows trials as they pass. A context manager; :meth:`told` whenever a record has changed."""

    def __init__(self, console: Console, records: Records, total: int, metric: str) -> None:
        self._console, self._records, self._total, self._metric = console, records, total, metric
        self._shown = {trial.number for trial in records.trials if trial.ended}
        self._progress = Progress(
            TextColumn("[bold]trials"),
            MofNCompleteColumn(),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=total, completed=len(self._shown), figures="")

    def __enter__(self) -> TuneDisplay:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def told(self, record: TrialRecord) -> None:
        """Show what is new: a line when a trial has ended, the others on the bar."""
        if record.ended and record.number not in self._shown:
            self._shown.add(record.number)
            text = f"trial {record.number} ({len(self._shown)}/{self._total}) · {self._figures(record)}"
            self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)
        best = self._records.best
        parts = [] if best is None else [f"best {self._metric} {score_text(best.value)}, trial {best.number}"]
        running = [trial for trial in self._records.trials if trial.state == "running"]
        parts += [f"{trial.number} at {trial.progress:.0f} %" for trial in running]
        self._progress.update(self._task, completed=len(self._shown), figures=" · ".join(parts))

    def _figures(self, record: TrialRecord) -> str:
        counts = f"{record.iterations} iterations, {record.images:,} images, {record.seconds:.0f} s"
        ended = "" if record.state == "done" else f" · {ending(record)}"
        return f"{self._metric} {score_text(record.value)} · {counts}{ended} · {setting_text(record.setting)}"


def ending(record: TrialRecord) -> str:
    """How a trial ended, or where it is."""
    if record.state == "failed":
        return f"failed: {record.error}"
    if record.state == "stopped":
        return f"stopped early, at {record.progress:.0f} %"
    return record.state


def setting_text(setting: dict[str, Any]) -> str:
    """A setting in one line."""
    return ", ".join(f"{name}={value_text(value)}" for name, value in setting.items())


def value_text(value: Any) -> str:
    """An option's value; floats with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def trials_table(records: Records, names: Sequence[str], metric: str, title: str) -> Table:
    """All trials, best first."""
    table = Table(title=title, title_justify="left")
    for name in ("trial", *names, metric, "iterations", "images", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("ended", overflow="fold", min_width=16)
    for record in records.ranked():
        settings = [value_text(record.setting[name]) for name in names]
        counts = [str(record.iterations), f"{record.images:,}", f"{record.seconds:.0f}"]
        ended = f"early, at {record.progress:.0f} %" if record.state == "stopped" else ending(record)
        if record.number == 0:
            ended += " (default)"
        table.add_row(str(record.number), *settings, score_text(record.value), *counts, ended)
    return table
