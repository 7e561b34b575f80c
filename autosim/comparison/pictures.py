"""Pictures of a comparison: validation score against images and against seconds, and final images of each method."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autosim.reports.pictures import DOTS_PER_INCH, FAINT, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, distinct with the common colour blindnesses. More methods use them again, dashed.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31")
GRID = 400


def score_curves(results: Mapping[str, Any]) -> bytes:
    """A PNG: a row for each target, score against images and against seconds; median and quartiles over runs."""
    from matplotlib.figure import Figure

    targets = [entry for entry in results["target_score"] if runs_of(results, entry["target"])]
    rows = max(1, len(targets))
    figure = Figure(figsize=(10.5, 3.1 * rows + 0.5), dpi=DOTS_PER_INCH, facecolor="white", layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False)
    for line, entry in zip(axes, targets, strict=False):
        for axis, column, unit in zip(line, (0, 1), ("images", "seconds"), strict=True):
            draw_target(axis, results, entry, column)
            axis.set_xlabel(unit, fontsize=9, color=INK)
        name = f"validation {results['score_name']}"
        line[0].set_ylabel(name if entry["target"] is None else f"target {entry['target']}, {name}", fontsize=9)
    handles, labels = axes[0][0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper center", ncols=min(6, len(labels)), frameon=False, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def draw_target(axis: Axes, results: Mapping[str, Any], entry: Mapping[str, Any], column: int) -> None:
    """One panel: each method's median with its quartile band, and the target score dashed."""
    for i, method in enumerate(results["methods"]):
        traces = [run["trace"] for run in runs_of(results, entry["target"]) if run["method"] == method and run["trace"]]
        if not traces:
            continue
        xs, (lower, median, upper) = band(traces, column)
        colour, style = COLOURS[i % len(COLOURS)], "-" if i < len(COLOURS) else "--"
        axis.plot(xs, median, color=colour, linestyle=style, linewidth=1.6, label=method, drawstyle="steps-post")
        axis.fill_between(xs, lower, upper, color=colour, alpha=0.15, linewidth=0, step="post")
    if entry["value"] is not None:
        axis.axhline(entry["value"], color=INK, linestyle="--", linewidth=1.0, label="target score")
    axis.set_xlim(left=0)
    axis.tick_params(labelsize=8, colors=INK, length=3)
    axis.grid(axis="y", color=FAINT, linewidth=0.5)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def band(traces: Sequence[Sequence[Sequence[float]]], column: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where (m,), and lower quartile, median and upper quartile (3, m) of the best scores so far.

    From where every run has a score to where half of the runs have ended; one that ends before keeps its score.
    """
    points = [np.array(trace, dtype=float) for trace in traces]
    first = max(trace[0, column] for trace in points)
    last = float(np.median([trace[-1, column] for trace in points]))
    xs = np.linspace(first, max(last, first), GRID)
    held = [trace[np.searchsorted(trace[:, column], xs, side="right") - 1, 2] for trace in points]
    return xs, np.quantile(np.array(held), (0.25, 0.5, 0.75), axis=0)


def runs_of(results: Mapping[str, Any], target: int | None) -> list[Any]:
    """The runs on a target."""
    return [run for run in results["runs"] if run["target"] == target]


def strips(results: Mapping[str, Any], runs: Path, target: int | None) -> list[tuple[str, Path]]:
    """Pictures with their labels: the start, each method's final images (its run with the median test score), the
    target; those of them that are there.
    """
    on_target = runs_of(results, target)
    if not on_target:
        return []
    chosen = []
    for method in results["methods"]:
        own = [run for run in on_target if run["method"] == method]
        if own:
            own.sort(key=lambda run: (run["test_score"] is not None, run["test_score"] or 0.0))
            chosen.append((method, own[(len(own) - 1) // 2]["run"]))
    anywhere = runs / on_target[0]["run"] / "pictures"
    shown = [("start", anywhere / "start.png")]
    shown += [(method, runs / run / "pictures" / "end.png") for method, run in chosen]
    shown.append(("target", anywhere / "target.png"))
    return [(label, path) for label, path in shown if path.exists()]
