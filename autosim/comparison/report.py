"""The page of a comparison, ``report.html``: tables, curves and final images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autosim.comparison.pictures import score_curves, strips
from autosim.comparison.tables import main_table, notes, rows_table, runs_table, targets_table
from autosim.files import write_whole
from autosim.reports.page import Picture, Section, page

STRIPS_NOTE = "Of each method the run with the median test score."


def write_comparison_report(results: Mapping[str, Any], out: Path) -> Path:
    """Write ``report.html`` from the figures and the pictures in the run folders below ``out``; returns its path."""
    targets = results["targets"]
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    sections = [
        Section("Comparison", table=main_table(results), after=notes(results)),
        Section("Score against images and against seconds", pictures=[Picture(score_curves(results), "score curves")]),
        *(section for target in targets for section in images_sections(results, out / "runs", target)),
        *(
            Section(f"Target {entry['target']}", table=rows_table(results, entry["rows"]))
            for entry in results["by_target"]
        ),
        Section("Targets", table=targets_table(results)),
        Section(
            "Every run",
            table=runs_table(results),
            warnings=[f"{entry['run']} failed: {entry['cause']}" for entry in results["failures"]],
        ),
        Section(
            "Command",
            code=results["command"],
            after=[f"{results['workers']} runs at once on {results['cpus']} CPUs; {versions}"],
        ),
    ]
    content = page(
        f"{'Methods' if results['comparison'] == 'algorithms' else results['comparison']} on {results['env']}",
        f"{len(results['runs'])} runs · {len(results['seeds'])} seeds · {len(targets)} "
        f"target{'s' if len(targets) > 1 else ''} · {results['date']}",
        sections,
        width="84rem",
    )
    path = out / "report.html"
    write_whole(path, content)
    return path


def images_sections(results: Mapping[str, Any], runs: Path, target: int | None) -> list[Section]:
    """Images of the start, of each method's run with the median test score, and of the target; nothing without any."""
    shown = [Picture(path.read_bytes(), label) for label, path in strips(results, runs, target)]
    heading = "Final images" if target is None else f"Final images on target {target}"
    return [Section(heading, [STRIPS_NOTE], strips=shown)] if shown else []
