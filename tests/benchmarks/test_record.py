"""The one format of results, and that every committed file is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autosim.errors import UserError
from autosim.reports.table import Table
from benchmarks.evidence import RESULTS
from benchmarks.record import NEEDED, fault_of, made_now, read_record
from tests.support.toy import ROOT

TABLE = Table(("what", "is"), (("a", "1"),), "lr")
GOOD: dict[str, Any] = {
    "command": "python benchmarks/x.py", "date": "2026-11-24", "commit": None, "versions": {"python": "3.11"},
    "machine": {"cores": 2, "cpu": None, "memory": None}, "seeds": [0, 1], "table": TABLE.to_json(), "rows": [{"a": 1}],
}  # fmt: skip


@pytest.mark.parametrize("path", sorted((ROOT / RESULTS).glob("*.json")), ids=lambda path: path.stem)
def test_every_committed_file_is_in_the_format(path: Path) -> None:
    assert fault_of(json.loads(path.read_text(encoding="utf-8"))) is None


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    made = made_now("python x.py", TABLE, [{"a": 1}, {"a": 2}], [3], ["A note."], {"all": {"runs": [{"b": [1, 2]}]}})
    made.write(tmp_path / "deep" / "x.json")
    assert read_record(tmp_path / "deep" / "x.json") == made
    assert made.machine is not None and made.machine["cores"] >= 1
    assert made.versions is not None and "python" in made.versions
    assert made.commit is None or made.commit[:7].isalnum()


def test_without_a_value_a_key_is_null() -> None:
    unknown = ("command", "date", "commit", "versions", "machine", "seeds")
    assert fault_of({**GOOD, **dict.fromkeys(unknown)}) is None


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"command": 3}, "command is neither"),
        ({"versions": {"python": 3}}, "versions is neither"),
        ({"machine": {"cores": 2}}, "machine is neither"),
        ({"machine": 2}, "machine is neither"),
        ({"seeds": 3}, "seeds is neither"),
        ({"seeds": [True]}, "seeds is neither"),
        ({"rows": {}}, "rows is not"),
        ({"rows": [1]}, "rows is not"),
        ({"notes": [1]}, "notes is not"),
        ({"notes": 1}, "notes is not"),
        ({"details": []}, "details is not"),
        ({"table": {}}, "its table is not heads"),
        ({"surprise": 1}, "surprise is not a key"),
    ],
)
def test_what_is_not_in_the_format_is_named(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    (tmp_path / "x.json").write_text(json.dumps({**GOOD, **change}))
    with pytest.raises(UserError, match=rf"x\.json: {fault}"):
        read_record(tmp_path / "x.json")


@pytest.mark.parametrize("name", NEEDED)
def test_every_key_is_needed(name: str) -> None:
    assert fault_of(GOOD) is None
    assert fault_of({key: value for key, value in GOOD.items() if key != name}) == f"{name} is missing"
