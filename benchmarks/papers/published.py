"""What AutoSimulate's paper reports on CLEVR, put beside a comparison's own columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autosim.comparison.tables import main_table, notes
from autosim.reports.formatting import DASH, count_text, score_text
from autosim.reports.table import Table
from benchmarks.record import Record

# AutoSimulate (Behl et al., ECCV 2020), Table 2: images, seconds and test mIoU on CLEVR.
PUBLISHED: dict[str, dict[str, float]] = {
    "lts": {"images": 3750, "seconds": 182 * 60, "test_score": 0.610},
    "random": {"images": 2090, "seconds": 158 * 60, "test_score": 0.608},
    "bo": {"images": 960, "seconds": 43 * 60, "test_score": 0.629},
    "autosimulate": {"images": 390, "seconds": 53 * 60, "test_score": 0.629},
}
# What a record has in places of its own; the rest of a comparison's results are its details.
OWN = ("command", "date", "versions", "seeds", "rows", "cpus")
HEADS = ("paper: images", "paper: time", "paper: test mIoU")
NOTE = (
    "The paper's columns are Table 2 of AutoSimulate (Behl et al., ECCV 2020), which has no Meta-Sim: other hidden "
    "targets, images of up to 256 pixels with up to 512 samples from Blender, and a larger network; ours are "
    "rendered with Mitsuba at up to 64 pixels and 16 samples on CPUs. Compare ratios, not absolute figures."
)


def record_of_comparison(results: Mapping[str, Any]) -> Record:
    """A comparison's results as ``autosim compare`` writes them, in the benchmarks' format."""
    table, texts = table_beside_published(results)
    return Record(
        command=results["command"],
        date=results["date"],
        commit=None,
        versions=results["versions"],
        machine={"cores": results["cpus"], "cpu": None, "memory": None},
        seeds=results["seeds"],
        table=table,
        rows=results["rows"],
        notes=texts,
        details={name: value for name, value in results.items() if name not in OWN},
    )


def comparison_of(record: Record) -> dict[str, Any] | None:
    """The results that :func:`record_of_comparison` was made of; None where the record is not one of a comparison."""
    if "comparison" not in record.details:
        return None
    own = {name: getattr(record, name) for name in OWN if name != "cpus"}
    return {**record.details, **own, "cpus": record.machine["cores"] if record.machine else None}


def table_beside_published(results: Mapping[str, Any]) -> tuple[Table, list[str]]:
    """The main table of a comparison and its notes, with the paper's columns where the paper has such an experiment."""
    table, texts = main_table(results), notes(results)
    if results["comparison"] == "algorithms" and results["env"] == "clevr":
        cells = [published_cells(PUBLISHED.get(row["algo"])) for row in results["rows"]]
        lines = tuple((*line, *more) for line, more in zip(table.lines, cells, strict=True))
        table = Table((*table.heads, *HEADS), lines, table.alignment + "r" * len(HEADS))
        texts = [*texts, NOTE]
    return table, texts


def published_cells(paper: Mapping[str, float] | None) -> list[str]:
    """Images, time and test score that the paper reports."""
    if paper is None:
        return [DASH] * len(HEADS)
    hours, minutes = divmod(round(paper["seconds"]) // 60, 60)
    clock = f"{hours} h {minutes:02d}" if hours else f"{minutes} min"
    return [count_text(paper["images"]), clock, score_text(paper["test_score"])]
