"""Pictures of a comparison: scores against core-seconds, images and render cost, and final images of each method."""

from __future__ import annotations

import io
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autosim.comparison.figures import REFERENCES
from autosim.reports.pictures import DOTS_PER_INCH, FAINT, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, distinct with the common colour blindnesses. More methods use them again, dashed.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31")
AXES = {"core_seconds": "core-seconds", "images": "images", "render_cost": "render cost (samples × pixels)"}
REFERENCE_STYLES = {"start": ":", "broad": "-.", "oracle": "--"}


def score_curves(results: Mapping[str, Any]) -> bytes:
    """A PNG: means over targets at each checkpoint with their intervals, against what had been used by then."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.0, 4.4), dpi=DOTS_PER_INCH, facecolor="white", layout="constrained")
    axes = figure.subplots(1, len(AXES), sharey=True)
    for axis, (unit, label) in zip(axes, AXES.items(), strict=True):
        draw_curves(axis, results, unit)
        axis.set_xlabel(label, fontsize=9, color=INK)
    axes[0].set_ylabel(f"{results['measure']['part']} {results['score_name']}", fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(6, len(labels)), frameon=False, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def draw_curves(axis: Axes, results: Mapping[str, Any], unit: str) -> None:
    """One panel: a line for each method, from the start's score on, and what they are compared with."""
    rows = {row["method"]: row for row in results["rows"]}
    start, budget = rows[REFERENCES["start"]]["score"]["mean"], results["budget"]["core_seconds"]
    methods = [row for row in results["rows"] if not row["reference"] and row["runs"]]
    for i, row in enumerate(methods):
        points = row["checkpoints"]
        # A run that has ended keeps what it recommends.
        used = [point["share"] * budget if unit == "core_seconds" else point[unit] for point in points]
        xs = [0.0, *used]
        ys = [start, *(point["score"]["mean"] for point in points)]
        colour, style = COLOURS[i % len(COLOURS)], "-" if i < len(COLOURS) else "--"
        axis.plot(xs, ys, color=colour, linestyle=style, linewidth=1.6, marker="o", markersize=3, label=row["method"])
        if all(point["score"]["low"] is not None for point in points):
            low, high = ([start, *(point["score"][end] for point in points)] for end in ("low", "high"))
            axis.fill_between(xs, low, high, color=colour, alpha=0.13, linewidth=0)
    for name, style in REFERENCE_STYLES.items():
        if (row := rows.get(REFERENCES[name])) is not None:
            axis.axhline(row["score"]["mean"], color=INK, linestyle=style, linewidth=1.0, label=row["method"])
    if unit != "core_seconds":
        axis.set_xscale("symlog", linthresh=max(1.0, _smallest(methods, unit)))
    axis.set_xlim(left=0)
    axis.tick_params(labelsize=8, colors=INK, length=3)
    axis.grid(axis="y", color=FAINT, linewidth=0.5)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def strips(results: Mapping[str, Any], runs: Path, target: int | None) -> list[tuple[str, Path]]:
    """Pictures with their labels: the start, each method's final images (its run with the median score), the target;
    those of them that are there.
    """
    on_target = [run for run in results["runs"] if run["target"] == target]
    if not on_target:
        return []
    chosen = []
    for method in results["methods"]:
        own = [run for run in on_target if run["method"] == method]
        if own:
            own.sort(key=lambda run: float(run["checkpoints"][-1]["score"]))
            chosen.append((method, own[(len(own) - 1) // 2]["run"]))
    anywhere = runs / on_target[0]["run"] / "pictures"
    shown = [("start", anywhere / "start.png")]
    shown += [(method, runs / run / "pictures" / "end.png") for method, run in chosen]
    shown.append(("target", anywhere / "target.png"))
    return [(label, path) for label, path in shown if path.exists()]


def _smallest(rows: list[Mapping[str, Any]], unit: str) -> float:
    used = [point[unit] for row in rows for point in row["checkpoints"] if point[unit]]
    return statistics.median(used) / 10 if used else 1.0
