"""What the files of a run have to hold: one may be well-formed and wrong, so values are checked before use."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from autosim.files import shown

Test = tuple[Callable[[Any], bool], str]


def is_number(value: object) -> bool:
    """Whether a value is an int or a float, and finite."""
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _optional(test: Test) -> Test:
    return lambda value: value is None or test[0](value), f"{test[1]} or null"


TEXT: Test = (lambda value: isinstance(value, str), "a text")
FLAG: Test = (lambda value: isinstance(value, bool), "true or false")
COUNT: Test = (lambda value: type(value) is int and value >= 0, "a whole number of at least 0")
NUMBER: Test = (is_number, "a number")
AMOUNT: Test = (lambda value: is_number(value) and value >= 0, "a number of at least 0")
SCORE: Test = (lambda value: is_number(value) and 0 <= value <= 1, "a number in [0, 1]")
MAPPING: Test = (lambda value: isinstance(value, dict), "a mapping")
TEXTS: Test = (lambda value: isinstance(value, list) and all(map(TEXT[0], value)), "a list of texts")
NUMBERS: Test = (lambda value: isinstance(value, list) and all(map(is_number, value)), "a list of numbers")
SHARES: Test = (lambda value: isinstance(value, dict) and all(map(is_number, value.values())), "a mapping of numbers")
BY_CLASS: Test = (
    lambda value: isinstance(value, dict) and all(map(SHARES[0], value.values())),
    "mappings of numbers by name",
)

# By name: what a value has to be. Those of the first part have to be there.
CHECKPOINT = {
    "iteration": COUNT,
    "images": COUNT,
    "render_cost": AMOUNT,
    "seconds": AMOUNT,
    "core_seconds": AMOUNT,
    "setup_seconds": AMOUNT,
    "config": MAPPING,
    "algorithm": MAPPING,
    "middle": _optional(MAPPING),
    "val_score": _optional(SCORE),
}
# What checkpoints of earlier versions lack.
IN_CHECKPOINT = dict.fromkeys(("setup_core_seconds", "rendering_core_seconds", "network_core_seconds"), AMOUNT)
SUMMARY = {
    "algo": TEXT,
    "env": TEXT,
    "seed": COUNT,
    "iterations": COUNT,
    "images": COUNT,
    "seconds": AMOUNT,
    "date": TEXT,
}
# What a summary tells of moves from the start to the target.
MOVES = ("attributes", "structure")
IN_SUMMARY = {
    **dict.fromkeys(("score_name", "note", "command"), TEXT),
    **dict.fromkeys(("val_score", "test_score", "prior_score", "oracle_score"), _optional(SCORE)),
    **dict.fromkeys(("broad_score", "real_score"), _optional(SCORE)),
    **dict.fromkeys(("render_cost", "feature_images", "feature_cost", "core_seconds"), AMOUNT),
    **dict.fromkeys(("setup_seconds", "setup_core_seconds"), AMOUNT),
    **dict.fromkeys(("rendering_core_seconds", "network_core_seconds"), AMOUNT),
    "peak_memory": _optional(AMOUNT),
    "gap_closed": _optional(NUMBER),
    "interrupted": FLAG,
    "test_scores": NUMBERS,
    "target": TEXTS,
    "verdict": TEXTS,
    "seen": SHARES,
    "class_scores": BY_CLASS,
    "versions": MAPPING,
    **dict.fromkeys(MOVES, MAPPING),
}
METRICS = {"iteration": COUNT}
IN_METRICS = {"images": COUNT, "seconds": AMOUNT, "core_seconds": AMOUNT, "render_cost": AMOUNT}
MOVE = {"recovered": _optional(NUMBER)}
SPREAD = {"mean": NUMBER, "std": AMOUNT}
CHANCES = {"probabilities": NUMBERS}


def checkpoint_fault(state: Any, iterations: int | None = None) -> str | None:
    """What is wrong with a checkpoint of a run of so many iterations; None where nothing is."""
    fault = _fault(state, CHECKPOINT, IN_CHECKPOINT)
    if fault is None and iterations is not None and state["iteration"] > iterations:
        return f"iteration is {state['iteration']}, and the run has {iterations}"
    return fault


def summary_fault(summary: Any) -> str | None:
    """What is wrong with a summary; None where nothing is."""
    if (fault := _fault(summary, SUMMARY, IN_SUMMARY)) is not None:
        return fault
    for name in MOVES:
        for key, move in summary.get(name, {}).items():
            if (fault := _move_fault(move)) is not None:
                return f"{name}.{key}{fault}"
    return None


def _move_fault(move: Any) -> str | None:
    if (fault := _fault(move, MOVE, {})) is not None:
        return f": {fault}"
    for part in ("start", "learned", "target"):
        spread = move.get(part)
        wanted = CHANCES if isinstance(spread, dict) and "probabilities" in spread else SPREAD
        if spread is not None and (fault := _fault(spread, wanted, {})) is not None:
            return f".{part}: {fault}"
    return None


def metrics_fault(line: Any) -> str | None:
    """What is wrong with a line of ``metrics.jsonl``; None where nothing is."""
    if (fault := _fault(line, METRICS, IN_METRICS)) is not None:
        return fault
    known = line.get("val_score")
    return None if known is None or is_number(known) else f"val_score is {shown(known)} instead of a number or null"


def _fault(found: Any, needed: Mapping[str, Test], others: Mapping[str, Test]) -> str | None:
    if not isinstance(found, dict):
        return f"it is {shown(found)} instead of a mapping"
    for name, (fits, wanted) in {**needed, **others}.items():
        if name not in found:
            if name in needed:
                return f"{name} is missing"
        elif not fits(found[name]):
            return f"{name} is {shown(found[name])} instead of {wanted}"
    return None
