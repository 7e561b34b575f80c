"""A comparison's results in the benchmarks' format, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autosim.comparison.tables import main_table, notes
from benchmarks.record import MACHINE, Record

# What a record has in places of its own; the rest of a comparison's results are its details.
OWN = ("command", "date", "seeds", "rows")


def record_of_comparison(results: Mapping[str, Any]) -> Record:
    """A comparison's results as ``autosim compare`` writes them, in the benchmarks' format."""
    return Record(
        command=results["command"],
        date=results["date"],
        commit=None,
        versions=_only([run["versions"] for run in results["runs"]]),
        machine=_only([{**run["machine"], "memory": None} for run in results["runs"]], MACHINE),
        seeds=results["seeds"],
        table=main_table(results),
        rows=results["rows"],
        notes=notes(results),
        details={name: value for name, value in results.items() if name not in OWN},
    )


def comparison_of(record: Record) -> dict[str, Any] | None:
    """The results that :func:`record_of_comparison` was made of; None where the record is not one of a comparison."""
    if "comparison" not in record.details:
        return None
    return {**record.details, **{name: getattr(record, name) for name in OWN}}


def _only(found: Sequence[Mapping[str, Any]], order: Sequence[str] = ()) -> dict[str, Any] | None:
    """What all have in common where they are equal; None otherwise."""
    first = dict(found[0])
    return {name: first[name] for name in order or first} if all(dict(each) == first for each in found) else None
