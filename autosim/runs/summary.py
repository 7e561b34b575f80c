"""What ``summary.json`` holds."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from autosim.registry import DISTRIBUTION
from autosim.reports.recovery import Recovery, recoveries
from autosim.reports.structure import structure_recoveries
from autosim.reports.verdict import verdict
from autosim.runs.closing.scores import Scores
from autosim.runs.config import RunConfig
from autosim.runs.gallery import Gallery
from autosim.scenes.generator import summarise
from autosim.scenes.graph import Schema

if TYPE_CHECKING:
    from autosim.env import Env

PACKAGES = (DISTRIBUTION, "torch", "torch-geometric", "ray", "mitsuba", "numpy", "scipy", "scikit-learn")


def attribute_recoveries(schema: Schema, gallery: Gallery) -> dict[str, Recovery]:
    """Start, learned and target summary of every attribute; empty where the run ended before it had both ends.

    Without a known target every attribute is kept with its start and learned summary.
    """
    if "start" not in gallery.scenes or "end" not in gallery.scenes:
        return {}
    start, learned = summarise(schema, gallery.scenes["start"]), summarise(schema, gallery.scenes["end"])
    if "target" not in gallery.scenes:
        return {key: Recovery(key, key, key, None, start[key], learned[key]) for key in start if key in learned}
    return recoveries(schema, start, learned, summarise(schema, gallery.scenes["target"]))


def moved_structure(env: Env, gallery: Gallery) -> dict[str, Recovery]:
    """How far the structure moved; empty where it is the same in all scenes, and where the run ended before it had both
    ends.
    """
    grammar = env.prior()
    if "start" not in gallery.scenes or "end" not in gallery.scenes or "structure" not in grammar.learnable:
        return {}
    names = {"start": "start", "end": "learned", "target": "target"}
    scenes = {names[stage]: kept for stage, kept in gallery.scenes.items() if stage in names}
    return structure_recoveries(grammar, scenes)


def summarise_run(
    config: RunConfig,
    env: Env,
    tally: Mapping[str, Any],
    scores: Scores,
    recoveries: Mapping[str, Recovery],
    structure: Mapping[str, Recovery],
    command: str,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The summary of a run; the method's own closing figures come under their own names. ``notes`` say how a user's own
    images were read, and come with scores of their own.
    """
    figures = dict(tally["figures"])
    summary: dict[str, Any] = {
        "algo": config.algo,
        "env": config.env,
        "seed": config.settings.seed,
        "workers": config.settings.workers,
        "iterations": tally["iterations"],
        "images": tally["images"],
        "render_cost": round(tally["render_cost"]),
        "feature_images": tally["feature_images"],
        "feature_cost": round(tally["feature_cost"]),
        "seconds": round(tally["seconds"], 3),
        "core_seconds": round(tally["core_seconds"], 3),
        "rendering_core_seconds": round(tally["rendering_core_seconds"], 3),
        "network_core_seconds": round(tally["network_core_seconds"], 3),
        "setup_seconds": round(tally["setup_seconds"], 3),
        "setup_core_seconds": round(tally["setup_core_seconds"], 3),
        "peak_memory": peak_memory(),
        "score_name": env.task().score_name,
        "val_score": tally["val_score"],
        "test_score": scores.learned,
        "test_scores": list(scores.each),
        "prior_score": scores.prior,
        "oracle_score": scores.oracle,
        **({"broad_score": scores.broad, "real_score": scores.real} if notes else {}),
        **({"class_scores": {name: dict(each) for name, each in scores.by_class.items()}} if scores.by_class else {}),
        "gap_closed": scores.gap_closed,
        "interrupted": tally["interrupted"],
        "note": "; ".join(filter(None, (scores.note, tally["notice"]))),
        **({"target": list(notes)} if notes else {}),
    }
    summary |= {name: value for name, value in figures.items() if name not in summary}
    summary["attributes"] = {key: move.to_json() for key, move in recoveries.items()}
    if structure:
        summary["structure"] = {key: move.to_json() for key, move in structure.items()}
    # What cannot be learned is not reported as missing.
    learned = {f"{each.name}.{spec.name}" for each in env.schema.classes for spec in each.attributes if spec.mutable}
    summary["seen"] = {
        key: round(share, 4) for key, share in tally["seen"].items() if key in learned or key in structure
    }
    summary["verdict"] = verdict(summary)
    summary["command"] = command
    summary["date"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
    summary["versions"] = versions()
    return summary


def peak_memory() -> int | None:
    """The most memory that this process has held so far, in MiB; None where the platform does not say (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that figures may depend on, as far as they are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def without_out(command: str) -> str:
    """A command without ``--out``: where a run was written on somebody's machine says nothing about it."""
    kept: list[str] = []
    words = iter(shlex.split(command))
    for word in words:
        if word == "--out":
            next(words, None)
        elif not word.startswith("--out="):
            kept.append(word)
    return shlex.join(kept)
