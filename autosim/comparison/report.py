"""The page of a comparison, ``report.html``: tables, curves and final images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autosim.comparison.pictures import score_curves, strips
from autosim.comparison.tables import cost_table, made_text, main_table, notes, runs_table, targets_table
from autosim.comparison.verdict import verdict
from autosim.files import write_whole
from autosim.reports.page import Picture, Section, page

STRIPS_NOTE = "Of each method the run with the median score."


def write_comparison_report(results: Mapping[str, Any], out: Path) -> Path:
    """Write ``report.html`` from the figures and the pictures in the run folders below ``out``; returns its path."""
    targets = [row["target"] for row in results["targets"]]
    sections = [
        Section("Comparison", verdict(results), table=main_table(results), after=notes(results)),
        Section("Scores as the budget is used", pictures=[Picture(score_curves(results), "score curves")]),
        *(section for target in targets for section in images_sections(results, out / "runs", target)),
        Section("What it cost", table=cost_table(results)),
        Section("Gap closed on each target", table=targets_table(results)),
        Section(
            "Every run",
            table=runs_table(results),
            warnings=[f"{entry['run']} failed: {entry['cause']}" for entry in results["failures"]],
        ),
        Section("How it was made", after=[made_text(results)]),
    ]
    content = page(
        f"{'Methods' if results['comparison'] == 'algorithms' else results['comparison']} on {results['env']}",
        f"{len(results['runs'])} runs · {len(results['seeds'])} seed{'s' if len(results['seeds']) > 1 else ''} · "
        f"{len(targets)} target{'s' if len(targets) > 1 else ''} · {results['date']}",
        sections,
        width="84rem",
    )
    path = out / "report.html"
    write_whole(path, content)
    return path


def images_sections(results: Mapping[str, Any], runs: Path, target: int | None) -> list[Section]:
    """Images of the start, of each method's run with the median score, and of the target; nothing without any."""
    shown = [Picture(path.read_bytes(), label) for label, path in strips(results, runs, target)]
    heading = "Final images" if target is None else f"Final images on target {target}"
    return [Section(heading, [STRIPS_NOTE], strips=shown)] if shown else []
