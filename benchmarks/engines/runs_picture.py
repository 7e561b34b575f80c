"""Scenes of several runs side by side: ``python benchmarks/engines/runs_picture.py RUN_DIR... [--picture FILE]``.

Writes ``docs/images/blender-runs.png`` from the strips in the runs' own ``pictures/``: a panel for each run, a row for
each stage.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from autosim.errors import UserError  # noqa: E402
from autosim.files import fault, write_whole  # noqa: E402
from autosim.formats.pictures import read_picture  # noqa: E402
from autosim.reports.pictures import INK, STAGE_COLOURS, STAGES  # noqa: E402
from autosim.runs.folder import RunFolder  # noqa: E402

WIDTH, DOTS_PER_INCH = 9.0, 100


def strips(run: Path) -> dict[str, np.ndarray[Any, np.dtype[np.uint8]]]:
    """The pictures of each stage that a run kept, in a row, by stage; ``UserError`` where it kept none."""
    folder = RunFolder(run).pictures
    found = {stage: read_picture(path) for stage in STAGES if (path := folder / f"{stage}.png").exists()}
    if not found:
        raise fault(folder, f"holds none of {', '.join(f'{stage}.png' for stage in STAGES)}")
    return found


def draw(runs: Sequence[Path], picture: Path) -> None:
    """Write a PNG file: a panel for each run, headed by its algorithm; its stages from top to bottom."""
    from matplotlib.figure import Figure

    shown = [(str(RunFolder(run).read_summary()["algo"]), strips(run)) for run in runs]
    inner = WIDTH / len(shown)
    tallest = max(sum(strip.shape[0] / strip.shape[1] for strip in rows.values()) for _, rows in shown)
    figure = Figure((WIDTH, inner * tallest + 0.3), DOTS_PER_INCH, facecolor="white", layout="constrained")
    for number, (algorithm, rows) in enumerate(shown, start=1):
        # A target's pictures may be of another size, or fewer.
        width = max(strip.shape[1] for strip in rows.values())
        axis = figure.add_subplot(1, len(shown), number)
        bottom, middles = 0.0, []
        for strip in rows.values():
            height = strip.shape[0] * width / strip.shape[1]
            axis.imshow(strip, extent=(0, width, bottom + height, bottom), interpolation="nearest")
            middles.append(bottom + height / 2)
            bottom += height
        axis.set(xlim=(0, width), ylim=(bottom, 0), xticks=[], frame_on=False)
        axis.set_title(algorithm, fontsize=10, color=INK)
        axis.set_yticks(middles, list(rows), rotation=90, va="center")
        axis.tick_params(length=0, labelsize=9)
        for label in axis.get_yticklabels():
            label.set(color=STAGE_COLOURS[label.get_text()], fontweight="bold")
    content = io.BytesIO()
    figure.savefig(content, format="png")
    picture.parent.mkdir(parents=True, exist_ok=True)
    write_whole(picture, content.getvalue())


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR", help="folders of finished runs")
    where = ROOT / "docs" / "images" / "blender-runs.png"
    parser.add_argument("--picture", type=Path, default=where, help="file to write")
    parsed = parser.parse_args(arguments)
    try:
        draw(parsed.runs, parsed.picture)
    except UserError as error:
        print(f"runs_picture.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
