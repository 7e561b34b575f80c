"""Files of a run that are well-formed and wrong are told by the value that is; what is right passes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autosim.cli.main import main
from autosim.errors import UserError
from autosim.runs.checks import checkpoint_fault, metrics_fault, summary_fault
from autosim.runs.closing.scores import are_scores
from autosim.runs.folder import RunFolder

CHECKPOINT: dict[str, Any] = {
    "iteration": 3, "images": 10, "render_cost": 1.0, "seconds": 1, "core_seconds": 1.0, "setup_seconds": 1.0,
    "setup_core_seconds": 1.0,
    "val_score": 0.5, "config": {}, "algorithm": {}, "middle": None,
}  # fmt: skip
SPREADS = {"start": {"mean": 0.0, "std": 1.0}, "learned": {"probabilities": [0.5, 0.5]}}
SUMMARY: dict[str, Any] = {
    "algo": "a", "env": "b", "seed": 0, "iterations": 1, "images": 2, "seconds": 0.5, "date": "2026-01-01", "note": "",
    "prior_score": None, "test_score": 0.5, "gap_closed": -3.5, "interrupted": False, "peak_memory": None,
    "attributes": {"x": {"recovered": None, **SPREADS}}, "versions": {}, "method_s_own": "anything",
    "structure": {"x": {"recovered": 0.5}},
}  # fmt: skip
LINE: dict[str, Any] = {"iteration": 0, "images": 3, "seconds": 0.5, "val_score": None, "own": "anything"}
# Of no type and in no range that any of these values has.
wrong = st.sampled_from([-1, -0.5, float("nan"), float("inf"), float("-inf"), [[]], [None], b"x", object()])
SHARED = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_what_is_right_passes() -> None:
    assert checkpoint_fault(CHECKPOINT, 3) is checkpoint_fault({**CHECKPOINT, "val_score": None}) is None
    assert summary_fault(SUMMARY) is metrics_fault(LINE) is None


@given(st.sampled_from(list(CHECKPOINT)), wrong)
@SHARED
def test_a_wrong_value_of_a_checkpoint_is_named(key: str, value: Any) -> None:
    fault = checkpoint_fault({**CHECKPOINT, key: value})
    assert fault is not None and fault.startswith(f"{key} is ")
    left = {name: found for name, found in CHECKPOINT.items() if name != key}
    assert checkpoint_fault(left) == (None if key == "setup_core_seconds" else f"{key} is missing")


@given(st.sampled_from([key for key in SUMMARY if key not in ("gap_closed", "method_s_own")]), wrong)
@SHARED
def test_a_wrong_value_of_a_summary_is_named(key: str, value: Any) -> None:
    fault = summary_fault({**SUMMARY, key: value})
    assert fault is not None and fault.startswith(f"{key} is ")


@given(st.sampled_from(["start", "learned", "target"]), st.sampled_from(["mean", "std", "probabilities"]), wrong)
@SHARED
def test_a_wrong_value_of_an_attribute_is_named(part: str, key: str, value: Any) -> None:
    if key == "mean" and value in (-1, -0.5):
        return
    spread = {"probabilities": value} if key == "probabilities" else {"mean": 0.0, "std": 1.0, key: value}
    for moves in ("attributes", "structure"):
        fault = summary_fault({**SUMMARY, moves: {"x": {"recovered": 0.5, part: spread}}})
        assert fault is not None and fault.startswith(f"{moves}.x.{part}: {key} is ")


@pytest.mark.parametrize("value", [None, 1, "x", [], [{}], True, 1.5])
def test_what_is_no_mapping_is_none_of_them(value: Any) -> None:
    for fault in (checkpoint_fault(value), summary_fault(value), metrics_fault(value)):
        assert fault is not None and "instead of a mapping" in fault


def test_a_checkpoint_past_the_end_and_figures_of_another_kind() -> None:
    assert checkpoint_fault(CHECKPOINT, 2) == "iteration is 3, and the run has 2"
    for key, value in (("iteration", None), ("images", -1), ("seconds", float("nan")), ("val_score", "x")):
        assert (metrics_fault({**LINE, key: value}) or "").startswith(f"{key} is ")


@pytest.mark.parametrize("value", [None, 1, [], {}, {"a": 0.5}, {"a": 0.5, "b": float("nan")}, {"a": 0.5, "b": 2.0}])
def test_scores_of_another_form_are_none(value: Any) -> None:
    assert are_scores({"a": 0.25, "b": 0.5}, ("a", "b")) and not are_scores(value, ("a", "b"))


@given(st.sampled_from(["null", "3", "[1]", "{}", '"x"', "NaN", json.dumps({**SUMMARY, "images": "many"})]))
@SHARED
def test_a_report_of_a_wrong_summary_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (tmp_path / "summary.json").write_text(content)
    assert main(["report", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "summary.json" in error and len(error) <= 301


def test_a_wrong_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path) -> None:
    torch.save({**CHECKPOINT, "seconds": float("nan")}, tmp_path / "checkpoint.pt")
    with pytest.raises(UserError, match=r"checkpoint\.pt is damaged \(seconds is nan instead of"):
        RunFolder(tmp_path).read_checkpoint()
    torch.save(CHECKPOINT, tmp_path / "checkpoint.previous.pt")
    state, note = RunFolder(tmp_path).read_checkpoint(5)
    assert state == CHECKPOINT and "going on from the one before" in note
