"""One trial of a search: the steps of a run under its budget, reported as they pass, and taken up where they stopped.

A trial's folder holds ``config.yaml``, ``metrics.jsonl`` and ``checkpoint.pt`` as that of a run does.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from autosim import registry
from autosim.errors import UserError
from autosim.runs.config import RunConfig
from autosim.runs.folder import RunFolder
from autosim.runs.gallery import Gallery
from autosim.runs.iterations import Tally, advance, take_up, write_checkpoint
from autosim.runs.opening import choose_device, open_environment, open_session

Report = Callable[[dict[str, Any]], None]


def configured(config: RunConfig, setting: Mapping[str, Any]) -> RunConfig:
    """The run with a setting in place of the algorithm's own values; ``ValueError`` where they do not go together."""
    return replace(config, algo_config=replace(config.algo_config, **setting))


def run_trial(config: RunConfig, folder: Path, metric: str, mode: str, report: Report) -> None:
    """Iterate until the budget is used up and ``report`` each time: iterations, images and seconds so far, the share of
    the budget in percent as ``progress``, and the best figure called ``metric`` so far as ``value``, once there is one.

    A trial whose folder holds a checkpoint goes on from there, and first reports again what it had reported up to it.
    ``UserError`` where the algorithm gives no such figure.
    """
    if config.settings.budget.seconds is not None:
        # Loaded by the first optimiser that a process makes, it would cost the trial that comes first seconds.
        importlib.import_module("torch._dynamo")
    env, device = open_environment(config), choose_device(config.settings.device)
    files = _open_folder(folder, config)
    tally, best = Tally(), Best(mode)
    try:
        with open_session(config, env, device) as session:
            planned = replace(config.algo_config, iterations=config.iterations)
            algorithm = registry.find_algorithm(config.algo)(session, planned)
            state, _ = files.read_checkpoint()
            if state is None:
                files.keep_metrics(0)
            else:
                take_up(session, algorithm, tally, Gallery(), state)
                for figures in files.keep_metrics(tally.iterations):
                    counted = Tally(
                        iterations=figures["iteration"] + 1, images=figures["images"], seconds=figures["seconds"]
                    )
                    report(_reported(counted, config, best.after(figures.get(metric))))
            while tally.iterations == 0 or tally.fraction(config) < 1:
                figures = advance(session, algorithm, tally)
                if metric not in figures:
                    raise UserError(
                        f"--metric: {metric!r} is no figure of {config.algo}; its own are {_names(figures)}"
                    )
                files.add_metrics(tally.iterations - 1, figures)
                if tally.iterations % config.settings.checkpoint_every == 0 or tally.fraction(config) >= 1:
                    write_checkpoint(config, algorithm, files, tally, Gallery())
                report(_reported(tally, config, best.after(figures.get(metric))))
    finally:
        files.close()
    if best.value is None:
        raise UserError(f"--metric: {metric!r} was never a finite number")


class Best:
    """The best of some figures; None and what is not finite do not count."""

    def __init__(self, mode: str) -> None:
        self._choose = max if mode == "max" else min
        self.value: float | None = None

    def after(self, figure: float | None) -> float | None:
        """The best so far, this figure included."""
        if figure is not None and math.isfinite(figure):
            self.value = float(figure) if self.value is None else self._choose(self.value, float(figure))
        return self.value


def _names(figures: Mapping[str, Any]) -> str:
    return ", ".join(name for name in figures if name not in ("seconds", "core_seconds", "images", "render_cost"))


def _reported(tally: Tally, config: RunConfig, value: float | None) -> dict[str, Any]:
    progress = min(100.0, 100.0 * tally.fraction(config))
    counts = {"iterations": tally.iterations, "images": tally.images, "seconds": tally.seconds, "progress": progress}
    return counts if value is None else {**counts, "value": value}


def _open_folder(path: Path, config: RunConfig) -> RunFolder:
    path.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(path)
    folder.write_config(config)
    return folder
