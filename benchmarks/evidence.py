"""Finished runs, or a comparison, into the results: ``python benchmarks/evidence.py DIR... --name NAME``; see
``--help``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autosim.comparison.tables import comparison_document, is_comparison
from autosim.errors import UserError
from autosim.reports.formatting import is_number
from autosim.runs.config import available_cpus
from autosim.runs.folder import RunFolder
from autosim.runs.summary import without_out

if TYPE_CHECKING:
    from benchmarks.record import Record

RESULTS = Path("benchmarks/results")
DOCUMENTS = (Path("README.md"), Path("docs/results.md"), Path("docs/protocol.md"), Path("docs/blender.md"))
COPIED = (
    "algo", "env", "seed", "workers", "iterations", "images", "seconds", "setup_seconds", "score_name", "val_score",
    "test_score", "prior_score", "oracle_score", "gap_closed", "note", "date", "versions",
)  # fmt: skip
SUMMARISED = ("test_score", "gap_closed", "images", "seconds", "setup_seconds", "mmd2_ratio", "least_recovered")
NOT_FIGURES = ("iteration", "seconds", "images")
AXES = ("x", "y", "z")
COMPARISON = "comparison.json"
# What a record of runs holds beside its rows.
OF_RUNS = ("name", "env", "algorithms")


@dataclass(frozen=True)
class EvidenceRequest:
    """What a command line asks for: ``runs`` to gather under ``name`` in ``out``, the documents' tables, or both."""

    runs: tuple[Path, ...]
    name: str | None
    out: Path
    documents: bool


def parse_request(arguments: Sequence[str]) -> EvidenceRequest:
    """The request of a command line; ``UserError`` in one line where it is wrong."""
    from autosim.cli.options import Option, parse

    options = [Option(key, hint=None, default=None, help="", group="") for key in ("runs", "name", "out", "documents")]
    values = parse(_parser(), options, list(arguments))
    runs, name = tuple(Path(run) for run in values["runs"]), values["name"]
    if runs and name is None:
        raise UserError("--name NAME is needed beside run folders: the figures go to NAME.json and NAME.md")
    if name is not None and not runs:
        raise UserError("no run folders to gather: python benchmarks/evidence.py RUN_DIR... --name NAME")
    if name is not None and not re.fullmatch(r"[\w-]+", name):
        raise UserError(f"--name: {name!r} is not made of letters, digits, - and _")
    if not runs and not values["documents"]:
        raise UserError("nothing to do: give run folders and --name NAME, or --documents")
    return EvidenceRequest(runs, name, Path(values["out"]), bool(values["documents"]))


def gather(folders: Sequence[Path], name: str) -> dict[str, Any]:
    """The figures of finished runs on one environment, sorted by algorithm, target seed and seed, as JSON knows them.

    ``runs`` holds a row for each run, ``algorithms`` median and quartiles over the runs of each algorithm, of those
    where a figure is known. ``UserError`` where a folder is not that of a finished run, or two are of the same one.
    """
    rows: list[dict[str, Any]] = []
    seen: dict[str, Path] = {}
    for folder in folders:
        config = _read_config(folder)
        repeated = json.dumps({key: value for key, value in config.items() if key != "workers"}, sort_keys=True)
        if repeated in seen:
            raise UserError(f"run folders {seen[repeated]} and {folder} are of the same run: equal configuration")
        seen[repeated] = folder
        rows.append(run_row(folder, config))
    environments = sorted({row["env"] for row in rows})
    if len(environments) > 1:
        raise UserError(f"runs on several environments ({', '.join(environments)}): give each a --name of its own")
    rows.sort(key=lambda row: (row["algo"], row["target_seed"] or 0, row["seed"]))
    algorithms = list(dict.fromkeys(row["algo"] for row in rows))
    return {
        "name": name,
        "env": environments[0],
        "cpus": available_cpus(),
        "runs": rows,
        "algorithms": {algo: summarise_rows([row for row in rows if row["algo"] == algo]) for algo in algorithms},
    }


def run_row(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """One run's figures. ``metrics`` has the first and the last value of each figure of ``metrics.jsonl``,
    ``mmd2_ratio`` the last by the first; ``moved`` each attribute's share of its way to the target.
    """
    run = RunFolder(folder)
    summary = run.read_summary()
    missing = [key for key in COPIED if key not in summary]
    if missing:
        raise UserError(f"run folder {folder}: summary.json has no {missing[0]!r}")
    if summary.get("interrupted"):
        raise UserError(f"run folder {folder}: the run was interrupted, and only finished ones are evidence")
    try:
        lines = run.read_metrics()
    except UserError as error:
        raise UserError(f"run folder {error}") from error
    environment = config.get("env")
    row = {key: summary[key] for key in COPIED}
    row["target_seed"] = environment.get("target_seed") if isinstance(environment, dict) else None
    row["metrics"] = {key: {"first": first, "last": last} for key, first, last in _ends(lines)}
    mmd2 = row["metrics"].get("mmd2", {"first": 0, "last": 0})
    row["mmd2_ratio"] = mmd2["last"] / mmd2["first"] if mmd2["first"] else None
    attributes = summary.get("attributes", {})
    row["recovered"] = {key: entry.get("recovered") for key, entry in attributes.items()}
    row["least_recovered"], row["least_recovered_attribute"] = least_recovered(attributes)
    row["figures"] = {key: value for key, value in summary.items() if key not in COPIED and is_number(value)}
    row["command"] = without_out(str(summary.get("command", "")))
    return row


def least_recovered(attributes: Mapping[str, Mapping[str, Any]]) -> tuple[float | None, str]:
    """The smallest share of its way that an attribute moved, and its name; a location counts once, as one vector."""
    parts: set[str] = set()
    for key, entry in attributes.items():
        if "start" not in entry:
            prefix, _, name = key.rpartition(".")
            stem = f"{prefix}." if name == "location" else f"{prefix}.{name}_"
            parts |= {stem + axis for axis in AXES}
    known = [(entry["recovered"], key) for key, entry in attributes.items() if key not in parts]
    known = [pair for pair in known if pair[0] is not None]
    return min(known) if known else (None, "")


def summarise_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Number of runs, and ``median``, ``lower_quartile`` and ``upper_quartile`` of the main figures (linear
    interpolation); None where a figure is known of no run.
    """
    import numpy as np

    result: dict[str, Any] = {"runs": len(rows)}
    for name in SUMMARISED:
        known = [float(row[name]) for row in rows if row[name] is not None]
        if not known:
            result[name] = None
            continue
        lower, median, upper = (round(float(q), 6) for q in np.quantile(known, (0.25, 0.5, 0.75)))
        result[name] = {"median": median, "lower_quartile": lower, "upper_quartile": upper}
    return result


def record_of_runs(evidence: Mapping[str, Any]) -> Record:
    """What :func:`gather` found, in the benchmarks' format; each row has its own command."""
    from benchmarks.record import Record
    from benchmarks.tables import runs_table

    rows = evidence["runs"]
    used = [row["versions"] for row in rows]
    return Record(
        command=None,
        date=max(row["date"] for row in rows),
        commit=None,
        versions=used[0] if all(versions == used[0] for versions in used) else None,
        machine={"cores": evidence["cpus"], "cpu": None, "memory": None},
        seeds=sorted({row["seed"] for row in rows}),
        table=runs_table(evidence),
        rows=rows,
        details={name: evidence[name] for name in OF_RUNS},
    )


def evidence_of(record: Record) -> dict[str, Any] | None:
    """What :func:`record_of_runs` was made of; None where the record is not one of runs."""
    if set(record.details) != set(OF_RUNS):
        return None
    return {**record.details, "cpus": record.machine["cores"] if record.machine else None, "runs": list(record.rows)}


def read_comparison(folder: Path) -> dict[str, Any]:
    """What ``autosim compare`` wrote in a folder; ``UserError`` where it cannot be read."""
    path = folder / COMPARISON
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not is_comparison(results):
        raise UserError(f"{path}: holds no comparison")
    return dict(results)


def _ends(lines: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, float, float]]:
    for key in dict.fromkeys(key for line in lines for key in line):
        values = [line[key] for line in lines if isinstance(line.get(key), (int, float))]
        if values and key not in NOT_FIGURES:
            yield key, values[0], values[-1]


def _read_config(folder: Path) -> dict[str, Any]:
    import yaml

    try:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"run folder {folder}: config.yaml: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"run folder {folder}: config.yaml is not YAML") from error
    if not isinstance(config, dict):
        raise UserError(f"run folder {folder}: config.yaml holds no mapping of options")
    return config


def _parser() -> Any:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        prog="python benchmarks/evidence.py",
        usage="%(prog)s [RUN_DIR ...] [--name NAME] [--out DIR] [--documents]",
        description="Gather finished runs into one file of figures and its table; make the documents' tables anew.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument(
        "runs",
        metavar="RUN_DIR",
        nargs="*",
        type=str,
        default=[],
        help="folders of finished runs, or that of a comparison",
    )
    parser.add_argument("--name", type=str, help="what to call the results: DIR/NAME.json and DIR/NAME.md")
    parser.add_argument("--out", metavar="DIR", type=str, default=str(RESULTS), help="folder of the results")
    parser.add_argument(
        "--documents",
        action="store_true",
        help="make the tables of README.md and of two pages in docs anew from the files in the results' folder",
    )
    return parser


def existing_documents() -> list[Path]:
    """The documents with tables that are there; ``UserError`` where there is none."""
    found = [path for path in DOCUMENTS if path.exists()]
    if not found:
        raise UserError(
            f"none of {', '.join(map(str, DOCUMENTS))} is here; --documents works in a clone of the repository"
        )
    return found


def main(arguments: Sequence[str]) -> int:
    """Gather finished runs into one file of figures; write the tables of the documents anew. Returns the exit code."""
    from benchmarks import tables
    from benchmarks.parts.comparison_record import record_of_comparison

    if any(argument in ("-h", "--help") for argument in arguments):
        print(_parser().format_help(), end="")
        return 0
    try:
        request = parse_request(arguments)
        if request.runs and request.name:
            if any((folder / COMPARISON).exists() for folder in request.runs):
                if len(request.runs) > 1:
                    raise UserError("a comparison is written by itself: give its folder alone")
                results = read_comparison(request.runs[0])
                record = record_of_comparison(results)
                page = comparison_document(results)
            else:
                evidence = gather(request.runs, request.name)
                record, page = record_of_runs(evidence), tables.runs_document(evidence)
            for path in tables.write_results(record, page, request.name, request.out):
                print(path)
        if request.documents:
            for path in existing_documents():
                tables.update_document(path, request.out)
                print(path)
    except UserError as error:
        print(f"evidence: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    raise SystemExit(main(sys.argv[1:]))
