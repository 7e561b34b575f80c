"""The one format of results: ``benchmarks/results/NAME.json``, whatever script made it.

``command``, ``date`` and ``commit`` say how the figures were made, ``versions`` and ``machine`` (``cores``, ``cpu``,
``memory`` in bytes) with what, ``seeds`` from which seeds; null where that is not known. ``table`` (``heads``,
``lines``, ``alignment``) is what documents show, with the paragraphs of ``notes`` below it. ``rows`` are the figures
behind the table, and ``details`` what else the script found.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from autosim.errors import UserError
from autosim.files import write_whole
from autosim.reports.table import Table

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("command", "date", "commit", "versions", "machine", "seeds", "table", "rows")
OPTIONAL = ("notes", "details")
MACHINE = ("cores", "cpu", "memory")


@dataclass(frozen=True)
class Record:
    """Results in the one format; the module's text says what its fields are."""

    command: str | None
    date: str | None
    commit: str | None
    versions: Mapping[str, str] | None
    machine: Mapping[str, Any] | None
    seeds: Sequence[int] | None
    table: Table
    rows: Sequence[Mapping[str, Any]]
    notes: Sequence[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def markdown(self) -> str:
        """What a document shows."""
        return "\n\n".join([self.table.markdown(), *self.notes])

    def write(self, path: Path) -> None:
        """Write the file, one row to a line."""
        content = {name: getattr(self, name) for name in (*NEEDED, *OPTIONAL)}
        content["table"] = self.table.to_json()
        content = {name: value for name, value in content.items() if name in NEEDED or value}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, (laid_out(content) + "\n").encode())


def made_now(
    command: str,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    seeds: Sequence[int] | None = None,
    notes: Sequence[str] = (),
    details: Mapping[str, Any] | None = None,
) -> Record:
    """A record of what this process has just measured, on this machine, with this code."""
    from autosim.runs.summary import versions

    today = datetime.now(timezone.utc).date().isoformat()
    return Record(command, today, commit(), versions(), machine(), seeds, table, rows, notes, details or {})


def machine() -> dict[str, Any]:
    """Cores that this process may use, the processor's name, and bytes of memory; null where it cannot be read."""
    from autosim.runs.config import available_cpus

    found: dict[str, Any] = {"cores": available_cpus(), "cpu": platform.processor() or None, "memory": None}
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        found["cpu"] = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)
        found["memory"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError, AttributeError):  # no Linux
        pass
    return found


def commit() -> str | None:
    """The commit of the code, with a + where files differ from it; null outside of a repository."""
    try:
        done = [
            subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
            for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
    except (OSError, subprocess.CalledProcessError):
        return None
    return done[0] + ("+" if done[1] else "")


def read_record(path: Path) -> Record:
    """A file of results; ``UserError`` where it cannot be read or is not in the format."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if (fault := fault_of(content)) is not None:
        raise UserError(f"{path}: {fault}")
    return Record(**{**content, "table": Table.from_json(content["table"])})


def fault_of(content: Any) -> str | None:
    """The first thing in which a file's content is not in the format; None where it is."""
    if not isinstance(content, dict):
        return "not a mapping"
    missing, unknown = [n for n in NEEDED if n not in content], set(content) - {*NEEDED, *OPTIONAL}
    if missing or unknown:
        return f"{missing[0]} is missing" if missing else f"{min(unknown)} is not a key of results"
    for name in ("command", "date", "commit"):
        if not isinstance(content[name], str | None):
            return f"{name} is neither a text nor null"
    if not _is_mapping(content["versions"], str):
        return "versions is neither a mapping of texts nor null"
    if content["machine"] is not None and (
        not isinstance(content["machine"], dict) or tuple(content["machine"]) != MACHINE
    ):
        return "machine is neither cores, cpu and memory nor null"
    seeds = content["seeds"]
    if seeds is not None and not (isinstance(seeds, list) and all(type(seed) is int for seed in seeds)):
        return "seeds is neither a list of integers nor null"
    if not isinstance(content["rows"], list) or not all(isinstance(row, dict) for row in content["rows"]):
        return "rows is not a list of mappings"
    notes = content.get("notes", [])
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        return "notes is not a list of texts"
    if not isinstance(content.get("details", {}), dict):
        return "details is not a mapping"
    try:
        Table.from_json(content["table"])
    except ValueError as error:
        return f"its table is {error}"
    return None


def laid_out(value: Any, depth: int = 0) -> str:
    """JSON with an entry to a line down to the elements of ``rows`` and of what ``details`` holds."""
    pad = " " * (depth + 1)
    if isinstance(value, Mapping) and value and depth < 2:
        lines = [f"{pad}{_json(key)}: {laid_out(item, depth + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{' ' * depth}}}"
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], (Mapping, list, tuple)):
        return "[\n" + ",\n".join(f"{pad}{_json(item)}" for item in value) + f"\n{' ' * depth}]"
    return _json(value)


def _is_mapping(value: Any, kind: type) -> bool:
    return value is None or (isinstance(value, dict) and all(isinstance(item, kind) for item in value.values()))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
