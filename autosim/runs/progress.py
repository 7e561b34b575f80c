"""What a run shows while it works, and the short table at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from autosim.reports.cost import iterations_core_seconds
from autosim.reports.formatting import clock_text, memory_text, percent_text, score_text
from autosim.reports.progress import ProgressDisplay
from autosim.reports.table import Table

# Seconds between two plain lines.
LINE_INTERVAL = 5.0


class RunProgress(ProgressDisplay):
    """Shows iterations as they pass; :meth:`advance` once an iteration."""

    def __init__(self, console: Console, iterations: int, score_name: str) -> None:
        super().__init__(console, "iteration", iterations, interval=LINE_INTERVAL)
        self._score_name = score_name

    def advance(self, done: int, fraction: float, seconds: float, images: int, score: float | None) -> None:
        """``done`` iterations and ``fraction`` of the budget are used up after ``seconds`` and ``images``."""
        rate = images / seconds if seconds > 0 else 0.0
        remaining = max(0.0, seconds * (1 - fraction) / fraction) if fraction > 0 else 0.0
        shown = "" if score is None else f"{self._score_name} {score:.3f} · "
        figures = f"{rate:.0f} images/s · {shown}{clock_text(remaining)} left"
        total = max(done, round(done / fraction)) if fraction > 0 else self.total
        self.show(done, figures, total=min(total, self.total), last=fraction >= 1)


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
    """The closing table: prior, learned, oracle, gap closed, images, seconds; on a user's own images broad
    randomisation and training on real images in place of oracle and gap. What else a run has cost is in
    :func:`cost_text`: a terminal of 80 columns has no room for more.
    """
    if "broad_score" in summary:
        known = {"broad": score_text(summary["broad_score"]), "trained on real": score_text(summary["real_score"])}
    else:
        known = {"oracle": score_text(summary["oracle_score"]), "gap closed": percent_text(summary["gap_closed"])}
    cells = {
        f"prior {summary['score_name']}": score_text(summary["prior_score"]),
        "learned": score_text(summary["test_score"]),
        **known,
        "images": f"{summary['images']:,}",
        "seconds": f"{summary['seconds']:.0f}",
    }
    return Table(tuple(cells), (tuple(cells.values()),), "r" * len(cells))


def cost_text(summary: Mapping[str, Any]) -> str:
    """What a run has cost beside images and seconds, in one line."""
    setup = summary.get("setup_core_seconds", 0.0)
    cores = f"core-seconds {setup + summary['core_seconds']:.0f}, {setup:.0f} of them set-up"
    if (known := iterations_core_seconds(summary)) is not None:
        cores += f", {known.rendering:.0f} rendering, {known.networks:.0f} networks, {known.own:.0f} the method's own"
    parts = [f"render cost {summary['render_cost']:.3g}", cores]
    return " · ".join([*parts, f"peak memory {memory_text(summary.get('peak_memory'))} MiB"])
