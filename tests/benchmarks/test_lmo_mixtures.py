"""Mixtures of lmo's cells: what choosing among them can gain."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.papers.lmo_mixtures import MIXTURES, chances, file_of, main
from benchmarks.record import read_record
from envs.lmo.cells import CELLS


def test_mixtures_draw_their_cells_alike() -> None:
    every, good = (dict(zip(CELLS, chances(mixture), strict=True)) for mixture in MIXTURES)
    assert set(every.values()) == {1 / 54}
    drawn = {cell.split("/")[1] for cell, chance in good.items() if chance}
    assert drawn == {"low", "middle", "high", "tilted"} and sum(good.values()) == pytest.approx(1.0)
    assert {chance for chance in good.values() if chance} == {1 / 24}


def test_networks_that_were_trained_are_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "networks").mkdir()
    for i, mixture in enumerate(MIXTURES):
        for network in range(2):
            scores = {"validation": 0.25, "test": (2 * i + network) / 10}
            file_of(tmp_path / "networks", mixture, network).write_text(json.dumps(scores))
    monkeypatch.setattr(sys, "argv", ["lmo_mixtures.py", "--networks", "2", "--out", str(tmp_path)])
    assert main() == 0
    record = read_record(tmp_path / "mixtures.json")
    assert record.table.lines[1] == ("good locations alike", "2", "0.250", "0.250", "0.200 to 0.300")
    assert len(record.rows) == 4 and "all cells alike" in capsys.readouterr().out


def test_what_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data-dir", str(tmp_path / "nowhere"), "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["lmo_mixtures.py", *words])
    assert main() == 2 and "nowhere" in capsys.readouterr().err
