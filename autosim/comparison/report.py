"""The page of a comparison, ``report.html``: tables, curves and final images, with nothing to load."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from autosim.comparison.pictures import score_curves, strips
from autosim.comparison.tables import Table, main_table, notes, rows_table, runs_table, targets_table
from autosim.files import write_whole
from autosim.reports.run_page import PAGE, STYLE

OWN_STYLE = """
main { max-width: 84rem; }
table.strips td { border: 0; vertical-align: middle; padding: .1rem .7rem .1rem 0; }
table.strips img { margin: 0; image-rendering: pixelated; height: 72px; max-width: none; }
"""


def write_comparison_report(results: Mapping[str, Any], out: Path) -> Path:
    """Write ``report.html`` from the figures and the pictures in the run folders below ``out``; returns its path."""
    title = f"{'Methods' if results['comparison'] == 'algorithms' else results['comparison']} on {results['env']}"
    subtitle = (
        f"{len(results['runs'])} runs · {len(results['seeds'])} seeds · {len(results['targets'])} "
        f"target{'s' if len(results['targets']) > 1 else ''} · {results['date']}"
    )
    parts = [
        section("Comparison", html_table(main_table(results)) + note_list(results)),
        section("Score against images and against seconds", image(score_curves(results), "score curves")),
        *(images_section(results, out / "runs", target) for target in results["targets"]),
        *(
            section(f"Target {entry['target']}", html_table(rows_table(results, entry["rows"])))
            for entry in results["by_target"]
        ),
        section("Targets", html_table(targets_table(results))),
        section("Every run", html_table(runs_table(results)) + failures(results)),
        section("Command", f"<pre>{escape(results['command'])}</pre><p>{escape(made_with(results))}</p>"),
    ]
    page = PAGE.format(
        title=escape(title), style=STYLE + OWN_STYLE, subtitle=escape(subtitle), body="\n".join(filter(None, parts))
    )
    path = out / "report.html"
    write_whole(path, page.encode())
    return path


def section(heading: str, body: str) -> str:
    """A part of the page."""
    return f"<section><h2>{escape(heading)}</h2>{body}</section>"


def html_table(table: Table) -> str:
    """A table as HTML."""
    kinds = ["" if letter == "l" else ' class="n"' for letter in table.alignment]
    heads = "".join(f"<th{kind}>{escape(head)}</th>" for head, kind in zip(table.heads, kinds, strict=True))
    rows = "".join(
        "<tr>" + "".join(f"<td{kind}>{html_cell(text)}</td>" for text, kind in zip(line, kinds, strict=True)) + "</tr>"
        for line in table.lines
    )
    return f"<table><tr>{heads}</tr>{rows}</table>"


def html_cell(text: str) -> str:
    """A cell's text; what is between ``**`` is bold."""
    return re.sub(r"\*\*(.*?)\*\*", r"<strong>\1</strong>", escape(text))


def note_list(results: Mapping[str, Any]) -> str:
    """What one has to know to read the table."""
    return "".join(f"<p>{escape(text)}</p>" for text in notes(results))


def images_section(results: Mapping[str, Any], runs: Path, target: int | None) -> str:
    """Images of the start, of each method's run with the median test score, and of the target, below each other."""
    shown = strips(results, runs, target)
    if not shown:
        return ""
    rows = "".join(
        f"<tr><td>{escape(label)}</td><td>{image(path.read_bytes(), label)}</td></tr>" for label, path in shown
    )
    heading = "Final images" if target is None else f"Final images on target {target}"
    return section(
        heading, f'<p>Of each method the run with the median test score.</p><table class="strips">{rows}</table>'
    )


def failures(results: Mapping[str, Any]) -> str:
    """The runs that failed, and why."""
    return "".join(
        f'<p class="note">{escape(entry["run"])} failed: {escape(entry["cause"])}</p>' for entry in results["failures"]
    )


def image(data: bytes, label: str) -> str:
    """A PNG inside the page."""
    return f'<img alt="{escape(label)}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'


def made_with(results: Mapping[str, Any]) -> str:
    """Machine and versions in one line."""
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    return f"{results['workers']} runs at once on {results['cpus']} CPUs; {versions}"
