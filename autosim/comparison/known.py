"""Rows of earlier results, which need not be made again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autosim.comparison.plan import Comparison, ComparisonRun
from autosim.errors import UserError
from autosim.runs.config import RunConfig, plain

# What the scores of the start, of broad randomisation and of the oracle depend on.
OF_TARGETS = ("env", "target")


@dataclass(frozen=True)
class KnownRows:
    """Rows of earlier comparisons, measured as this one is. Each holds the ``settings`` that it was made with."""

    runs: tuple[Mapping[str, Any], ...] = ()
    targets: tuple[Mapping[str, Any], ...] = ()

    def run(self, job: ComparisonRun) -> dict[str, Any] | None:
        """The row of a run; None where there is none."""
        return _found(self.runs, settings_of(job.config), settings_of(job.config.with_defaults()))

    def target(self, comparison: Comparison, target: int | None) -> dict[str, Any] | None:
        """The row of a target's references; None where there is none."""
        config = target_config(comparison, target)
        return _found(self.targets, target_settings_of(config), target_settings_of(config.with_defaults()))


def settings_of(config: RunConfig) -> dict[str, Any]:
    """What a run's figures depend on, as JSON knows it. Of paths there are digests: results are shown to others."""
    return dict(_without_paths(config.to_dict()))


def target_settings_of(config: RunConfig) -> dict[str, Any]:
    """What the scores of a target's references depend on."""
    settings = settings_of(config)
    return {name: settings[name] for name in OF_TARGETS}


def target_config(comparison: Comparison, target: int | None) -> RunConfig:
    """A configuration with that target; what else it holds does not matter to the references."""
    return comparison.job(comparison.methods[0], target, comparison.seeds[0]).config


def read_known(paths: Iterable[Path], comparison: Comparison) -> KnownRows:
    """The rows of files of results that were measured as ``comparison`` is; of two alike that of the later file.
    ``UserError`` where one holds no comparison.
    """
    runs: list[Mapping[str, Any]] = []
    targets: list[Mapping[str, Any]] = []
    for path in paths:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            results = found.get("details", found)
            measure, own_runs, own_targets = results["measure"], list(results["runs"]), list(results["targets"])
            settings = [row["settings"] for row in (*own_runs, *own_targets)]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"--known: {path} holds no comparison: {' '.join(str(error).split())}") from error
        if measure == plain(comparison.measure) and all(isinstance(each, dict) for each in settings):
            runs, targets = own_runs + runs, own_targets + targets
    return KnownRows(tuple(runs), tuple(targets))


def as_asked(recorded: Mapping[str, Any], asked: Mapping[str, Any], default: Mapping[str, Any]) -> bool:
    """Whether what was recorded is what is asked for. An option that came later counts as having been at its default:
    where it is there still, nothing has changed.
    """
    if not set(recorded) <= set(asked):
        return False
    return all(_alike(recorded.get(name, default.get(name)), asked[name], default.get(name)) for name in asked)


def _alike(recorded: Any, asked: Any, default: Any) -> bool:
    if isinstance(recorded, Mapping) and isinstance(asked, Mapping):
        return as_asked(recorded, asked, default if isinstance(default, Mapping) else {})
    return bool(recorded == asked)


def _without_paths(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_paths(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_paths(item) for item in value]
    if isinstance(value, str) and os.sep in value:
        return hashlib.sha256(value.encode()).hexdigest()[:16]
    return value


def _found(
    rows: Iterable[Mapping[str, Any]], asked: Mapping[str, Any], default: Mapping[str, Any]
) -> dict[str, Any] | None:
    return next((dict(row) for row in rows if as_asked(row["settings"], asked, default)), None)
