"""Hostile files: those of runs, weights, and entries of the cache."""

from __future__ import annotations

import json
import math
import random
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.robustness.attempts import RUN, WRONG, Input, command, refused


def run_files(folder: Path, draw: random.Random) -> Iterator[Input]:
    """Checkpoints, summaries and figures of a run that are well-formed and wrong."""
    import torch

    from autosim.cli.run_options import parse_run
    from autosim.runs.folder import RunFolder
    from autosim.runs.summary import versions

    config = parse_run([*RUN[1:], "--budget.iterations=5"]).config
    good: dict[str, Any] = {
        "iteration": 3, "images": 10, "render_cost": 1.0, "seconds": 1.0, "core_seconds": 1.0, "setup_seconds": 1.0,
        "val_score": 0.5, "config": config.to_dict(), "algorithm": {}, "middle": None,
    }  # fmt: skip
    summary: dict[str, Any] = {
        "algo": "random", "env": "mnist", "seed": 0, "iterations": 3, "images": 10, "seconds": 1.0, "date": "",
        "note": "", "command": "", "interrupted": True, "prior_score": 0.1, "test_score": 0.2, "oracle_score": 0.3,
        "gap_closed": 0.5, "peak_memory": 100, "versions": versions(),
        "attributes": {"x": {"recovered": 0.5, "start": {"mean": 0.0, "std": 1.0}, "learned": {"probabilities": [1]}}},
    }  # fmt: skip
    lines = [{"iteration": i, "images": i, "seconds": float(i), "val_score": 0.5} for i in range(3)]

    def laid_out(name: str, state: Any, lines: list[Any], summary: Any = None) -> RunFolder:
        path = folder / name
        path.mkdir()
        made = RunFolder(path)
        made.write_config(config)
        (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        if state is not None:
            torch.save(state, path / "checkpoint.pt")
        if summary is not None:
            (path / "summary.json").write_text(json.dumps(summary))
        return made

    def unharmed(made: RunFolder) -> str | None:
        before = (made.path / "metrics.jsonl").read_bytes()
        fault = command("run", f"--resume={made.path}")
        return fault or (None if (made.path / "metrics.jsonl").read_bytes() == before else "metrics.jsonl was changed")

    wrong_states: list[tuple[str, Any]] = [
        ("a list", [1]),
        ("a number", 3),
        ("nothing", {}),
        ("past the end", {**good, "iteration": 6}),
    ]
    kinds = {"config": (dict,), "algorithm": (dict,), "middle": (dict, type(None)), "val_score": (type(None),)}
    while len(wrong_states) < 70:
        key, value = draw.choice(list(good)), draw.choice(WRONG)
        amount = (
            type(value) in (int, float) and 0 <= value < float("inf") and key not in ("iteration", "val_score", *kinds)
        )
        if not isinstance(value, kinds.get(key, ())) and not (amount and (key != "images" or type(value) is int)):
            wrong_states.append((f"{key} is {value!r:.30}", {**good, key: value}))
    for number, (what, state) in enumerate(wrong_states):
        made = laid_out(f"state-{number}", state, lines)
        yield Input("checkpoints", what, partial(unharmed, made))
    no_amounts: list[Any] = [None, -1, "x", [], float("nan")]
    wrong_lines: list[Any] = [
        [*lines[:2], {**lines[2], key: value}] for key in ("iteration", "images", "seconds") for value in no_amounts
    ]
    wrong_lines += [[], lines[:2], [lines[0]] * 3, [lines[2], lines[1], lines[0]], [None] * 3, [[]] * 3, [1, 2, 3]]
    for number, those in enumerate(wrong_lines):
        made = laid_out(f"lines-{number}", good, those)
        yield Input("figures", f"{those!r:.60}", partial(unharmed, made))
    no_summaries: list[Any] = [None, 1, [], [summary], "x", True, {}, float("nan")]
    wrong_summaries: list[tuple[str, Any]] = [(repr(value)[:20], value) for value in no_summaries]
    while len(wrong_summaries) < 70:
        key = draw.choice(list(summary))
        value = draw.choice([wrong for wrong in WRONG if type(wrong) is not type(summary[key]) and wrong is not None])
        if not (
            type(value) in (int, float)
            and type(summary[key]) in (int, float)
            and value == value
            and 0 <= value < float("inf")
        ):
            wrong_summaries.append((f"{key} is {value!r:.30}", {**summary, key: value}))
    for part in ("recovered", "start", "learned"):
        for value in ("x", [1], float("nan"), {"mean": "x", "std": 1}, {"probabilities": "x"}):
            entry = {**summary["attributes"]["x"], part: value}
            wrong_summaries.append((f"attributes.x.{part} is {value!r:.30}", {**summary, "attributes": {"x": entry}}))
    for number, (what, content) in enumerate(wrong_summaries):
        made = laid_out(f"summary-{number}", None, [], content)
        action = draw.choice([["report", str(made.path)], ["run", f"--resume={made.path}"]])
        if content is None:
            (made.path / "summary.json").write_text("null")
        yield Input("summaries", f"{action[0]}: {what}", partial(command, *action))


def weights(folder: Path, draw: random.Random) -> Iterator[Input]:
    """Files of weights with tensors that are no weights."""
    import torch
    from torchvision.models import squeezenet1_1

    from autosim.learning.features.pretrained import SqueezeNetFeatures

    good = squeezenet1_1(weights=None).state_dict()
    names = [name for name in good if name.startswith("features.") and int(name.split(".")[1]) < 8]
    changes: dict[str, Callable[[Any], Any]] = {
        "NaN": lambda t: t.clone().fill_(float("nan")), "inf": lambda t: t.clone().fill_(float("inf")),
        "complex": lambda t: t.to(torch.complex64), "sparse": lambda t: t.to_sparse(), "meta": lambda t: t.to("meta"),
        "another shape": lambda t: t.flatten()[:1], "a number": lambda t: 3, "a text": lambda t: "x",
        "None": lambda t: None,
        "quantised": lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8),
    }  # fmt: skip
    for number in range(36):
        name, (what, change) = draw.choice(names), list(changes.items())[number % len(changes)]
        path = folder / f"weights-{number}.pt"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.save({**good, name: change(good[name])}, path)
        yield Input("weights", f"{name}: {what}", partial(refused, partial(SqueezeNetFeatures, path)))
    for what, content in (("a list", [1]), ("a module's text", "x"), ("nothing", {})):
        path = folder / f"weights {what}.pt"
        torch.save(content, path)
        yield Input("weights", what, partial(refused, partial(SqueezeNetFeatures, path)))


def cache_entries(draw: random.Random) -> Iterator[Input]:
    """Entries of the cache that are well-formed and wrong: each is to be made again."""
    import numpy as np

    from autosim.cache import cached_json, write_arrays
    from autosim.cli.run_options import configure_environment
    from autosim.learning import broad
    from autosim.rendering.pool import LocalPool
    from autosim.runs.closing.scores import are_scores
    from autosim.runs.opening import make_environment

    right = {"prior": 0.25, "oracle": 0.75}
    wrong: list[Any] = [None, 1, [], {}, {"prior": 0.25}, {**right, "more": 0.5}, {**right, "prior": None}]
    wrong += [{**right, "oracle": value} for value in (-1.0, 2.0, "0.5", [0.5], True, 1e308)]

    def scores(number: int, value: Any) -> str | None:
        cached_json("campaign", {"number": number}, lambda: value)
        found = cached_json("campaign", {"number": number}, lambda: right, lambda entry: are_scores(entry, right))
        return None if found == right else f"gave {found!r:.60}"

    for number, value in enumerate(wrong):
        yield Input("cache", f"scores {value!r:.40}", partial(scores, number, value))

    pool = LocalPool(make_environment("mnist", configure_environment("mnist", {})).renderer())
    env = make_environment("mnist", configure_environment("mnist", {}))
    written: list[Any] = []
    with mock.patch.object(broad, "write_arrays", lambda *given: written.append(given)):
        whole = broad.broad_frames(env, pool, 12).frames
    kind, description, arrays = written[0]
    took = {broad.CORE_SECONDS: arrays[broad.CORE_SECONDS]}
    labels = {name: values for name, values in arrays.items() if name.startswith(broad.ANNOTATION)}
    damage: dict[str, Callable[[], dict[str, Any]]] = {
        "no images": lambda: {name: values for name, values in arrays.items() if name != "images"},
        "images alone": lambda: {"images": arrays["images"], **took},
        "no time": lambda: {name: values for name, values in arrays.items() if name not in took},
        "a time that is none": lambda: {**arrays, broad.CORE_SECONDS: np.array(math.nan)},
        "many times": lambda: {**arrays, broad.CORE_SECONDS: np.zeros(12)},
        "floats": lambda: {**arrays, "images": arrays["images"].astype(np.float32)},
        "another size": lambda: {**arrays, "images": arrays["images"][:, :-1]},
        "another number": lambda: {**arrays, "images": arrays["images"][:-1]},
        "none": lambda: {name: np.atleast_1d(values)[:0] for name, values in arrays.items()} | took,
        "other pictures": lambda: {**arrays, "images": 255 - arrays["images"]},
        "classes out of range": lambda: arrays | {name: np.full_like(v, 99) for name, v in labels.items()},
        "other annotations": lambda: {"images": arrays["images"], "annotation x": np.zeros(12), **took},
    }  # fmt: skip

    def frames(change: Callable[[], dict[str, Any]]) -> str | None:
        write_arrays(kind, description, change())
        found = broad.broad_frames(env, pool, 12).frames
        return None if broad.digest(found) == broad.digest(whole) else "gave other frames"

    for what, change in damage.items():
        yield Input("cache", f"broad frames: {what}", partial(frames, change))
