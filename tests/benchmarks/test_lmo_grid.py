"""The grid of lmo's cells: what a distribution over cells is worth by the scores of cells alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autosim.errors import UserError
from benchmarks.papers.lmo_grid import CellScore, file_of, grid_table, learned_probabilities, main, standing
from benchmarks.record import read_record
from envs.lmo.cells import CELLS, LOCATIONS

SUMMARY = {"algo": "a", "env": "lmo", "seed": 0, "iterations": 1, "images": 2, "seconds": 0.5, "date": "2026-01-01"}


def run_folder(folder: Path, probabilities: list[float]) -> Path:
    folder.mkdir()
    chances = {"probabilities": probabilities}
    learned: dict[str, Any] = {"recovered": None, "start": chances, "learned": chances, "target": None}
    (folder / "summary.json").write_text(json.dumps({**SUMMARY, "attributes": {"scene.cell": learned}}))
    return folder


def test_a_distribution_stands_where_its_likeliest_cell_does() -> None:
    scores = [0.1, 0.4, 0.3, 0.2]
    found = standing([0.0, 0.25, 0.75, 0.0], scores)
    assert (found.rank, found.best) == (2, 0.3) and found.mean == pytest.approx(0.25 * 0.4 + 0.75 * 0.3)
    assert standing([0.5, 0.0, 0.0, 0.5], scores).rank == 3
    assert standing([1.0] * 4, scores).rank == 1 and standing([1.0] * 4, scores).mean == pytest.approx(0.25)


def test_each_cell_has_its_place_in_the_table() -> None:
    scores = {cell: CellScore(0.0, i / 100) for i, cell in enumerate(CELLS)}
    table = grid_table(scores)
    assert len(table.heads) == 7 and [line[0] for line in table.lines] == list(LOCATIONS)
    (line,) = [line for line in table.lines if line[0] == "far"]
    assert line[table.heads.index("office, fine")] == f"{scores['office/far/fine'].test:.3f}"


def test_runs_that_have_learned_no_cell_are_refused(tmp_path: Path) -> None:
    uniform = [1 / len(CELLS)] * len(CELLS)
    assert learned_probabilities(run_folder(tmp_path / "a", uniform)) == uniform
    with pytest.raises(UserError, match=r"--learned: .* is no run that has learned scene\.cell"):
        learned_probabilities(run_folder(tmp_path / "b", [0.5, 0.5]))


def test_cells_that_were_measured_are_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cells").mkdir()
    for i, cell in enumerate(CELLS):
        file_of(tmp_path / "cells", cell).write_text(json.dumps({"validation": 0.5, "test": i / 100}))
    second_best = run_folder(tmp_path / "run", list(np.eye(len(CELLS))[-2]))
    words = ["--out", str(tmp_path), "--learned", f"climber={second_best}"]
    monkeypatch.setattr(sys, "argv", ["lmo_grid.py", *words])
    assert main() == 0
    record = read_record(tmp_path / "grid.json")
    assert len(record.rows) == len(CELLS) and record.details["standings"]["climber"]["rank"] == 2
    assert "its likeliest cell is number 2 of 54" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["lmo_grid.py", "--out", str(tmp_path), "--learned", "x=nowhere"])
    assert main() == 2 and "nowhere" in capsys.readouterr().err
