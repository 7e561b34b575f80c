"""The matrix: how a run's process is watched and what came of it, rows by pair, bars, rows made again."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from benchmarks.matrix import Cell, make, outcome, write
from benchmarks.parts.matrix_table import gaps, matrix_table, missed, noise, notes
from benchmarks.parts.watched import Watched, watch
from benchmarks.record import read_record

BUSY = "import subprocess, sys, time\n{}\nx = bytearray(100 << 20)\nend = time.process_time() + {}\n"
BUSY += "while time.process_time() < end: pass\n"


def row(algo: str = "a", env: str = "e", seed: int = 1, **figures: Any) -> dict[str, Any]:
    scores = {"prior_score": 0.2, "test_score": 0.6, "oracle_score": 0.7, "gap_closed": 0.8}
    used = {"seconds": 50.0, "core_seconds": 80.0, "memory": 1500}
    return {"algo": algo, "env": env, "seed": seed, "outcome": "ended", **scores, **used, **figures}


def python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_a_process_is_watched_with_its_children(tmp_path: Path) -> None:
    child = f"subprocess.run([sys.executable, '-c', {BUSY.format('', 0.3)!r}])"
    with (tmp_path / "log").open("w") as log:
        found = watch(python(BUSY.format(child, 0.2) + "print('said'); sys.exit(3)"), 60, log, look=0.05)
    assert found.code == 3 and not found.interrupted
    assert found.core_seconds > 0.35 and found.memory > 100
    assert (tmp_path / "log").read_text() == "said\n"


def test_time_that_is_up_and_ctrl_c_end_it(tmp_path: Path, heard_interrupts: None) -> None:
    waiting = python("import time\ntry:\n time.sleep(60)\nexcept KeyboardInterrupt: print('ends')")
    with (tmp_path / "log").open("w") as log:
        assert watch(waiting, 1.0, log, look=0.1).code is None
        threading.Timer(1.0, os.kill, (os.getpid(), 2)).start()
        assert watch(waiting, 60, log, look=0.1).interrupted
    assert (tmp_path / "log").read_text() == "ends\nends\n"


@pytest.mark.parametrize(("known", "resumed"), [(True, True), (False, False)])
def test_a_run_is_gone_on_with_where_it_is_known_what_it_has_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool, resumed: bool
) -> None:
    cell = Cell("a", "e", 1, tmp_path)
    (cell.folder / "run").mkdir(parents=True)
    (cell.folder / "run" / "checkpoint.pt").touch()
    if known:
        (cell.folder / "used.json").write_text('{"seconds": 50.0, "core_seconds": 80.0}')
    commands: list[list[str]] = []

    def ends(command: list[str], *_: object) -> Watched:
        commands.append(command)
        return Watched(1, 2.0, 3.0, 4)

    monkeypatch.setattr("benchmarks.parts.watched.watch", ends)
    found = make(cell, 60.0)
    assert ("--resume" in commands[0]) == resumed == (cell.folder / "run").exists()
    assert (found["seconds"], found["core_seconds"]) == ((52.0, 83.0) if known else (2.0, 3.0))


@pytest.mark.parametrize(
    ("code", "told"),
    [(0, "ended"), (2, "refused"), (1, "failed"), (-9, "killed"), (137, "killed"), (None, "timed out")],
)
def test_an_exit_code_says_what_came_of_a_run(tmp_path: Path, code: int | None, told: str) -> None:
    cell = Cell("a", "e", 1, tmp_path)
    cell.folder.mkdir()
    (cell.folder / "log.txt").write_text("setting up\nautosim: a cannot work on e\n\n")
    found = outcome(cell, code)
    assert found["outcome"] == told
    (cell.folder / "run").mkdir()
    assert outcome(cell, 2)["outcome"] == "failed"
    assert found.get("reason", "a cannot work on e") in ("a cannot work on e", "autosim: a cannot work on e")


def test_shares_of_the_gap_are_those_of_single_networks() -> None:
    assert gaps([row(), row(gap_closed=None)]) == [0.8]
    networks = {"prior": [0.1, 0.3], "learned": [0.45, 0.7], "oracle": [0.6, 0.8]}
    assert gaps([row(networks=networks)]) == pytest.approx([0.5, 1.0])
    assert noise([row()]) == 0.015 and noise([row(networks=networks)]) == pytest.approx((0.5 * (0.02 + 0.03125)) ** 0.5)


def test_bars_that_are_missed_are_named() -> None:
    assert missed([row()], closing=True) == []
    assert missed([row(gap_closed=0.7)], closing=True) == ["gap closed"] and not missed([row(gap_closed=0.7)], False)
    assert missed([row(memory=3073), row(core_seconds=601)], False) == ["memory", "time"]
    assert missed([row(outcome="killed")], False) == ["killed"] and not missed([row(outcome="refused")], False)
    networks = {"prior": [0.2, 0.3], "learned": [0.2, 0.3], "oracle": [0.6, 0.7]}
    assert missed([row(test_score=0.1)], False) == ["below its start"]
    assert not missed([row(test_score=0.1, networks=networks)], False)


def test_a_pair_has_a_line_and_a_refusal_its_reason() -> None:
    rows = [row(), row(seed=2, gap_closed=0.6, memory=1600), row("b", outcome="refused", reason="b cannot work on e")]
    table = matrix_table(rows)
    assert len(table.heads) <= 7
    assert table.lines[0][:4] == ("e", "a", "2 of 2", "1,600") and table.lines[0][6] == "70 % [60, 80]"
    assert table.lines[1] == ("e", "b", "refused", "–", "–", "–", "–")
    texts = notes(rows, {("e", "a"): True}, [("f", "a"), ("f", "b")])
    assert "Not run yet: a, b on f." in texts and not any(text.startswith("No gap") for text in texts)
    assert any(text.startswith("No gap on e: ") for text in notes([row(gap_closed=None)], {}))
    assert any(text.startswith("No gap on e: ") for text in notes([row(oracle_score=0.22, gap_closed=20.0)], {}))
    assert "Refused: b cannot work on e." in texts and texts[-1].endswith("Missed by: a on e (gap closed).")


def test_rows_of_other_runs_stay_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "matrix.json"
    write([row(), row(seed=2)], path)
    write([row(seed=2, gap_closed=0.1), row("b")], path)
    record = read_record(path)
    assert [(r["algo"], r["seed"], r["gap_closed"]) for r in record.rows] == [
        ("a", 1, 0.8),
        ("a", 2, 0.1),
        ("b", 1, 0.8),
    ]
    assert record.seeds == [1, 2] and len(record.table.lines) == 2
