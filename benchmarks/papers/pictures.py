"""Pictures like the papers': learned and target distributions of structure side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

COLOURS = {"target": "#bbbbbb", "learned": "#0072b2"}


def write_pictures(results: Mapping[str, Any], out: Path) -> list[Path]:
    """``NAME.png`` for each row of which runs have distributions: a line of panels for each seed; returns the paths."""
    from matplotlib.figure import Figure

    written = []
    for label in dict.fromkeys(run["row"] for run in results["runs"]):
        runs = [run for run in results["runs"] if run["row"] == label and "distributions" in run]
        if not runs:
            continue
        names = list(runs[0]["distributions"])
        figure = Figure(figsize=(3.6 * len(names), 2.1 * len(runs)), dpi=110, facecolor="white", layout="constrained")
        axes = figure.subplots(len(runs), len(names), squeeze=False)
        for line, run in zip(axes, runs, strict=True):
            for axis, name in zip(line, names, strict=True):
                for offset, part in ((-0.2, "target"), (0.2, "learned")):
                    shares = run["distributions"][name][part]
                    axis.bar(np.arange(len(shares)) + offset, shares, 0.4, color=COLOURS[part], label=part)
                axis.set_xlabel(name, fontsize=8)
                axis.tick_params(labelsize=7)
                for side in ("top", "right"):
                    axis.spines[side].set_visible(False)
            line[0].set_ylabel(f"seed {run['seed']}", fontsize=8)
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False, fontsize=8)
        written.append(out / f"{label.replace(' ', '-')}.png")
        figure.savefig(written[-1])
    return written
