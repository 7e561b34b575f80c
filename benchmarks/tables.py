"""Markdown tables of results, and documents that hold them between comments, so that no figure is typed by hand.

A document says ``<!-- evidence: NAME -->`` where the table of ``NAME.json`` begins and ``<!-- end of evidence -->``
where it ends. ``<!-- evidence: NAME; HEAD; HEAD -->`` shows these columns alone, without notes: what is decided by. Of
a comparison they may also be columns of the table of what it cost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autosim.comparison.tables import cost_table
from autosim.errors import UserError
from autosim.files import write_whole
from autosim.reports.formatting import DASH, percent_text, score_text
from autosim.reports.table import Table
from benchmarks.parts.comparison_record import comparison_of
from benchmarks.record import Record, read_record

BEGIN = re.compile(r"<!-- evidence: ([\w-]+)((?:; [^;\n]*)*) -->\n")
END = "<!-- end of evidence -->"


def write_results(record: Record, page: str, name: str, out: Path) -> list[Path]:
    """Write ``NAME.json`` and its page ``NAME.md``; returns the paths.

    ``UserError`` where they cannot be written or would replace figures of another kind.
    """
    path = out / f"{name}.json"
    if path.exists():
        found = read_record(path)
        # Comparisons of an earlier version may lack parts that these have.
        comparisons = None not in (comparison_of(found), comparison_of(record))
        if not comparisons and set(found.details) != set(record.details):
            raise UserError(f"{path} holds figures of another kind; choose another --name")
    try:
        record.write(path)
        write_whole(path.with_suffix(".md"), page.encode())
    except OSError as error:
        raise UserError(f"{out}: {error.strerror or error}") from error
    return [path, path.with_suffix(".md")]


def update_document(path: Path, results: Path) -> None:
    """Write a document's tables anew from the JSON files in ``results``; ``UserError`` where either cannot be used."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    updated = with_tables(text, results, str(path))
    if updated != text:
        write_whole(path, updated.encode())


def with_tables(text: str, results: Path, source: str = "document") -> str:
    """A document's text with each table made from its JSON file, or a note in its place where there is no such file."""
    if not BEGIN.search(text):
        raise UserError(f"{source}: has no line <!-- evidence: NAME --> to put a table after")
    parts: list[str] = []
    position = 0
    while begin := BEGIN.search(text, position):
        end = text.find(END, begin.end())
        following = BEGIN.search(text, begin.end())
        if end < 0 or (following is not None and following.start() < end):
            raise UserError(f"{source}: <!-- evidence: {begin.group(1)} --> is not followed by {END}")
        heads = begin.group(2).split("; ")[1:]
        parts += [text[position : begin.end()], table_of(results / f"{begin.group(1)}.json", heads), "\n"]
        position = end
    return "".join([*parts, text[position:]])


def table_of(path: Path, heads: Sequence[str] = ()) -> str:
    """The table of a file of results with its notes, or the columns under ``heads`` without; ``UserError`` where it has
    no such column.
    """
    if not path.exists():
        return f"*Not measured yet: there is no `{path.name}` among the results.*"
    record = read_record(path)
    if not heads:
        return record.markdown()
    table, results = record.table, comparison_of(record)
    if results is not None and not set(heads) <= set(table.heads):
        table = cost_table(results)
    if missing := [head for head in heads if head not in table.heads]:
        raise UserError(f"{path}: has no column {missing[0]!r}, only {', '.join(map(repr, table.heads))}")
    kept = [table.heads.index(head) for head in heads]
    lines = tuple(tuple(line[column] for column in kept) for line in table.lines)
    return Table(tuple(heads), lines, "".join(table.alignment[column] for column in kept)).markdown()


def runs_table(evidence: Mapping[str, Any]) -> Table:
    """A line for each run, and below those of an algorithm its median and quartiles."""
    score = evidence["runs"][0]["score_name"]
    heads = [
        "algorithm", "target", "seed", f"prior {score}", "learned", "oracle", "gap closed", "images", "seconds",
        "MMD² left", "least moved",
    ]  # fmt: skip
    lines = []
    for algo, summary in evidence["algorithms"].items():
        for row in evidence["runs"]:
            if row["algo"] == algo:
                lines.append(_run_cells(row))
        if summary["runs"] > 1:
            lines.append(_median_cells(algo, summary))
    return Table(tuple(heads), tuple(map(tuple, lines)), "lrr" + "r" * (len(heads) - 3))


def recovery_table(evidence: Mapping[str, Any]) -> Table:
    """How far each attribute moved in each run."""
    rows = evidence["runs"]
    heads = ["attribute", *(f"{row['algo']} {_target(row)}/{row['seed']}" for row in rows)]
    keys = list(dict.fromkeys(key for row in rows for key in row["recovered"]))
    lines = [[f"`{key}`", *(percent_text(row["recovered"].get(key)) for row in rows)] for key in keys]
    return Table(tuple(heads), tuple(map(tuple, lines)), "l" + "r" * len(rows))


def checks_table(checks: Sequence[Mapping[str, Any]]) -> Table:
    """A line for each thing that was checked: what it is, what it has to reach, what came out."""
    lines = []
    for entry in checks:
        holds = {True: "yes", False: "**no**"}.get(entry["holds"], DASH)
        lines.append((str(entry["name"]), str(entry["criterion"]), str(entry["figure"]), holds))
    return Table(("what", "has to be", "is", "holds"), tuple(lines), "llll")


def runs_document(evidence: Mapping[str, Any]) -> str:
    """A page with the runs, how far attributes moved, and how to make each of them again."""
    rows = evidence["runs"]
    made = [
        f"- {row['algo']}, target {_target(row)}, seed {row['seed']} ({row['date']}, {row['iterations']} iterations, "
        f"{row['workers']} workers, set-up {row['setup_seconds']:.0f} s): `{row['command']}`"
        for row in rows
    ]
    versions = list(dict.fromkeys(", ".join(f"{k} {v}" for k, v in row["versions"].items()) for row in rows))
    return "\n".join(
        [
            f"# Runs on {evidence['env']}",
            "",
            f"Made by `autosim evidence` from finished runs; the figures are those of `{evidence['name']}.json`.",
            "",
            runs_table(evidence).markdown(),
            "",
            "Below the runs of an algorithm: median [lower quartile, upper quartile]. MMD² left: that of the last "
            "iteration by that of the first. Least moved: the attribute that moved the smallest share of its way from "
            "the start's mean to the target's, a location counted as one vector.",
            "",
            "## How far each attribute moved",
            "",
            "By algorithm, target seed / seed. 100 % is at the target, 0 % at the start; a dash where the start was "
            "there already. Slots of a class are compared as a set.",
            "",
            recovery_table(evidence).markdown(),
            "",
            "## How they were made",
            "",
            *made,
            "",
            f"On {evidence['cpus']} CPUs, with " + "; or ".join(versions) + ".",
            "",
        ]
    )


def _run_cells(row: Mapping[str, Any]) -> list[str]:
    least = percent_text(row["least_recovered"])
    return [
        row["algo"],
        _target(row),
        str(row["seed"]),
        score_text(row["prior_score"]),
        score_text(row["test_score"]),
        score_text(row["oracle_score"]),
        percent_text(row["gap_closed"]),
        f"{row['images']:,}",
        f"{row['seconds']:.0f}",
        percent_text(row["mmd2_ratio"]),
        f"{least} (`{row['least_recovered_attribute']}`)" if row["least_recovered_attribute"] else least,
    ]


def _median_cells(algo: str, summary: Mapping[str, Any]) -> list[str]:
    return [
        f"**{algo}, median of {summary['runs']}**",
        "",
        "",
        "",
        _quartiles(summary["test_score"], lambda value: f"{value:.3f}"),
        "",
        _quartiles(summary["gap_closed"], lambda value: f"{100 * value:.0f} %"),
        _quartiles(summary["images"], lambda value: f"{value:,.0f}"),
        _quartiles(summary["seconds"], lambda value: f"{value:.0f}"),
        _quartiles(summary["mmd2_ratio"], lambda value: f"{100 * value:.0f} %"),
        _quartiles(summary["least_recovered"], lambda value: f"{100 * value:.0f} %"),
    ]


def _quartiles(figure: Mapping[str, float] | None, text: Callable[[float], str]) -> str:
    if figure is None:
        return DASH
    median, lower, upper = (text(figure[key]) for key in ("median", "lower_quartile", "upper_quartile"))
    return f"**{median}**" if lower == upper else f"**{median}** [{lower}, {upper}]"


def _target(row: Mapping[str, Any]) -> str:
    return DASH if row["target_seed"] is None else str(row["target_seed"])
