"""What ``summary.json`` holds."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from autosim.experiments.config import RunConfig
from autosim.experiments.gallery import Gallery
from autosim.experiments.moved import Move, moves
from autosim.experiments.scores import Scores
from autosim.scenes.generator import summarise
from autosim.scenes.graph import Schema

if TYPE_CHECKING:
    from autosim.env import Env

PACKAGES = ("autosim", "torch", "torch-geometric", "ray", "mitsuba", "numpy", "scipy", "scikit-learn")


def attribute_moves(schema: Schema, gallery: Gallery) -> dict[str, Move]:
    """Start, learned and target summary of every attribute; empty where the run ended before it had both ends.

    Without a known target every attribute is kept with its start and learned summary.
    """
    if "start" not in gallery.scenes or "end" not in gallery.scenes:
        return {}
    start, learned = summarise(schema, gallery.scenes["start"]), summarise(schema, gallery.scenes["end"])
    if "target" not in gallery.scenes:
        return {key: Move(key, key, key, None, start[key], learned[key]) for key in start if key in learned}
    return moves(schema, start, learned, summarise(schema, gallery.scenes["target"]))


def summarise_run(
    config: RunConfig, env: Env, tally: Mapping[str, Any], scores: Scores, moves: Mapping[str, Move], command: str
) -> dict[str, Any]:
    """The summary of a run; the method's own closing figures come under their own names."""
    figures = dict(tally["figures"])
    summary: dict[str, Any] = {
        "algo": config.algo,
        "env": config.env,
        "seed": config.settings.seed,
        "workers": config.settings.workers,
        "iterations": tally["iterations"],
        "images": tally["images"],
        "seconds": round(tally["seconds"], 3),
        "setup_seconds": round(tally["setup_seconds"], 3),
        "score_name": env.task().score_name,
        "val_score": tally["val_score"],
        "test_score": scores.learned,
        "prior_score": scores.prior,
        "oracle_score": scores.oracle,
        "gap_closed": scores.gap_closed,
        "interrupted": tally["interrupted"],
        "note": scores.note,
    }
    summary |= {name: value for name, value in figures.items() if name not in summary}
    summary["attributes"] = {key: move.to_json() for key, move in moves.items()}
    summary["command"] = command
    summary["date"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
    summary["versions"] = versions()
    return summary


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that figures may depend on, as far as they are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
