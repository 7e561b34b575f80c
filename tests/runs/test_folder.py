"""Run folders: nothing is overwritten, nothing is half written, JSON stays JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from autosim.errors import UserError
from autosim.files import finite
from autosim.runs.folder import RunFolder

SUMMARY = {"algo": "a", "env": "b", "seed": 0, "iterations": 1, "images": 2, "seconds": 0.5, "date": "2026-01-01"}


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "new" / "run")
    with pytest.raises(UserError, match="in use"):
        RunFolder.create(tmp_path / "new" / "run")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert RunFolder.create(empty).pictures.is_dir()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="output folder"):
        RunFolder.create(tmp_path / "file" / "run")


def test_metrics_are_json_lines_that_read_back(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    folder.add_metrics(0, {"seconds": 0.5, "val_score": None, "loss": float("nan")})
    folder.add_metrics(1, {"seconds": 1.0, "val_score": 0.25, "loss": np.float32(2.0), "mmd2": torch.tensor(0.5)})
    lines = folder.read_metrics()
    folder.close()
    assert lines == [
        {"iteration": 0, "seconds": 0.5, "val_score": None, "loss": None},
        {"iteration": 1, "seconds": 1.0, "val_score": 0.25, "loss": 2.0, "mmd2": 0.5},
    ]
    assert list((folder.path / "tensorboard").iterdir())


def test_a_failed_checkpoint_leaves_the_one_before(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    folder.write_checkpoint({"iteration": 1})
    with pytest.raises(Exception, match="pickle"):
        folder.write_checkpoint({"iteration": lambda: 2})
    assert torch.load(folder.path / "checkpoint.pt") == {"iteration": 1}


def test_a_summary_is_strict_json(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    folder.write_summary({**SUMMARY, "score": float("inf"), "path": Path("a"), "list": (1, float("nan"))})
    text = (folder.path / "summary.json").read_text()
    assert json.loads(text) == folder.read_summary() == {**SUMMARY, "score": None, "path": "a", "list": [1, None]}


@pytest.mark.parametrize(("content", "message"), [(None, "is missing"), ("{", "not valid JSON")])
def test_an_unreadable_summary_is_told(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "summary.json").write_text(content)
    with pytest.raises(UserError, match=message):
        RunFolder(tmp_path).read_summary()


def test_finite_keeps_everything_that_json_knows() -> None:
    value = {"a": [1, 2.5, "x", None, True], "b": {"c": np.int64(3)}}
    assert finite(value) == {"a": [1, 2.5, "x", None, True], "b": {"c": 3}}
