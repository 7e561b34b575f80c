"""What a comparison shows while it works, and the short table at its end."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from autosim.comparison.plan import Comparison, ComparisonRun
from autosim.comparison.tables import main_table
from autosim.reports.formatting import clock_text
from autosim.reports.progress import ProgressDisplay
from autosim.reports.table import Table
from autosim.runs.processes import Event

# Seconds between two plain lines.
LINE_INTERVAL = 60.0


class ComparisonProgress(ProgressDisplay):
    """Follows runs by the files that they write. Hand it every event, and call :meth:`tick` often."""

    def __init__(self, console: Console, jobs: Sequence[ComparisonRun], comparison: Comparison, already: int) -> None:
        super().__init__(console, "run", already + len(jobs), already, LINE_INTERVAL, at_once=False)
        self._jobs, self._runs, self._budget = jobs, comparison.runs, comparison.core_seconds
        self._already = already
        self._started = time.monotonic()
        self._running: set[int] = set()
        self._ended = 0
        self._images = 0
        self._best: dict[str, float] = {}

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
        place = f"run {self._already + self._ended}/{self.total}"
        if event.kind == "failed":
            self.note(f"{place} {job.name} failed: {event.cause}")
        elif not self.has_bar:
            score = "no score" if best is None else f"best {best:.3f}"
            self.note(f"{place} {job.name}: {score}, {images:,} images")
        self.tick()

    def tick(self) -> None:
        """Bring what is shown up to date."""
        if not self.due:
            return
        share, images = float(self._ended), self._images
        for index in self._running:
            job = self._jobs[index]
            seen, spent, best = last_figures(self._runs / job.name)
            images += seen
            self._note_best(job.label, best)
            share += share_done(self._runs / job.name, spent / self._budget, time.time())
        elapsed = time.monotonic() - self._started
        remaining = f"{clock_text(elapsed * (len(self._jobs) - share) / share)} left" if share > 0 else "starting"
        best_text = " ".join(f"{label} {score:.3f}" for label, score in self._best.items())
        figures = " · ".join(filter(None, (f"{images / max(elapsed, 1e-9):.0f} images/s", best_text, remaining)))
        self.show(self._already + self._ended, figures, begun=share - self._ended)

    def _note_best(self, label: str, score: float | None) -> None:
        if score is not None:
            self._best[label] = max(score, self._best.get(label, 0.0))


def share_done(folder: Path, used: float, now: float) -> float:
    """Share of a run that is over, which has ``used`` so much of its budget. How far its scores at the end have come is
    not seen: they are taken to last as long as the run did, by the times of its files. ``now`` is a time as files have.
    """
    try:
        begun, ended = ((folder / name).stat().st_mtime for name in ("config.yaml", "summary.json"))
    except OSError:  # the iterations go on
        return 0.5 * min(1.0, used)
    return 0.5 + 0.49 * min(1.0, max(0.0, now - ended) / max(1.0, ended - begun))


def last_figures(folder: Path) -> tuple[int, float, float | None]:
    """Images, core-seconds and best validation score of a run so far, from its ``metrics.jsonl``."""
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
    return int(lines[-1]["images"]), float(lines[-1]["core_seconds"]), max(scores, default=None)


def results_table(results: Mapping[str, Any]) -> Table:
    """The closing table: means over targets, a line for each method and what it is compared with."""
    table = main_table(results)
    gaps = [i for i, head in enumerate(table.heads) if head.startswith("gap closed")]
    others = [i for i, head in enumerate(table.heads) if " after " not in head and head != "is shown"]
    kept = [*others[:2], *gaps[-1:], *others[2:]]
    # A terminal of 80 columns has no room for intervals.
    lines = tuple(tuple(line[i].split(" [")[0] for i in kept) for line in table.lines)
    heads = tuple("gap closed" if i in gaps else table.heads[i] for i in kept)
    return Table(heads, lines, "l" + "r" * (len(heads) - 1))
