"""What a search shows: a bar on a terminal and a line for each trial that ends; at the end a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from autosim.reports.formatting import score_text
from autosim.reports.progress import ProgressDisplay
from autosim.reports.table import Table
from autosim.tuning.records import Records, TrialRecord


class TuneDisplay(ProgressDisplay):
    """Shows trials as they pass; :meth:`changed` whenever a record has changed."""

    def __init__(self, console: Console, records: Records, total: int, metric: str) -> None:
        self._records, self._metric = records, metric
        self._shown = {trial.number for trial in records.trials if trial.ended}
        super().__init__(console, "trial", total, len(self._shown))

    def changed(self, record: TrialRecord) -> None:
        """Show what is new: a line when a trial has ended, the others on the bar."""
        if record.ended and record.number not in self._shown:
            self._shown.add(record.number)
            self.note(f"trial {record.number} ({len(self._shown)}/{self.total}) · {self._figures(record)}")
        best = self._records.best
        parts = [] if best is None else [f"best {self._metric} {score_text(best.value)}, trial {best.number}"]
        running = [trial for trial in self._records.trials if trial.state == "running"]
        parts += [f"{trial.number} at {trial.progress:.0f} %" for trial in running]
        self.show(len(self._shown), " · ".join(parts))

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


def trials_table(records: Records, names: Sequence[str], metric: str) -> Table:
    """All trials, best first."""
    heads = ("trial", *names, metric, "iterations", "images", "seconds", "ended")
    lines = []
    for record in records.ranked():
        settings = [value_text(record.setting[name]) for name in names]
        counts = [str(record.iterations), f"{record.images:,}", f"{record.seconds:.0f}"]
        ended = f"early, at {record.progress:.0f} %" if record.state == "stopped" else ending(record)
        if record.number == 0:
            ended += " (default)"
        lines.append((str(record.number), *settings, score_text(record.value), *counts, ended))
    return Table(heads, tuple(lines), "r" * (len(heads) - 1) + "l")
