"""Runs that are planned together: which are finished already, and one run in a process that makes several."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autosim.errors import UserError
from autosim.files import read_yaml
from autosim.runs.config import RunConfig, plain
from autosim.runs.folder import CHECKPOINT, RunFolder

if TYPE_CHECKING:
    from rich.console import Console

    from autosim.runs.iterations import Observer
    from autosim.target import Target

# What takes long to import and is imported where it is used.
LIBRARIES = (
    "bayes_opt", "cmaes", "matplotlib.figure", "optuna", "scipy.optimize", "scipy.sparse.linalg", "scipy.stats",
    "sklearn.gaussian_process", "sklearn.model_selection", "torch._dynamo", "torch.func", "torch.utils.tensorboard",
    "torch_geometric.nn",
)  # fmt: skip

# Targets that this process has rendered for one of its runs.
TARGETS: dict[str, Target] = {}


@dataclass(frozen=True)
class PlannedRun:
    """A run to make, in ``folder``."""

    config: RunConfig
    folder: Path
    command: str


def make_run(work: PlannedRun, observe: Observer | None = None, console: Console | None = None) -> None:
    """Make a run, or go on with one that has a checkpoint, with ``observe`` as in :func:`execute` (of a run that goes
    on, nothing is observed), silently where there is no ``console`` to show its progress on; ``KeyboardInterrupt``
    where it was interrupted.
    """
    import rich.console

    from autosim.runs.loop import execute, resume

    shown = console or rich.console.Console(quiet=True)
    if has_checkpoint(work):
        summary = resume(work.config, work.folder, shown, work.command)
    else:
        summary = execute(work.config, work.folder, shown, work.command, TARGETS, observe)
    if summary["interrupted"]:
        raise KeyboardInterrupt


def has_checkpoint(work: PlannedRun) -> bool:
    """Whether the run can be gone on with."""
    return (work.folder / CHECKPOINT).exists()


def is_finished(work: PlannedRun) -> bool:
    """Whether the run was made already; ``UserError`` where its folder is of a run with another configuration."""
    config_file = work.folder / "config.yaml"
    if not config_file.exists():
        return False
    import yaml

    found = read_yaml(config_file)
    wanted = yaml.safe_load(yaml.safe_dump(work.config.to_dict()))
    if isinstance(found, dict):
        config = work.config
        for part, options in (("algo", config.algo_config), ("env", config.env_config)):
            if isinstance(found.get(part), dict):
                found[part] = with_defaults(found[part], options)
        found = with_defaults(found, config.settings)
    if found != wanted:
        raise UserError(
            f"{work.folder} is of a run with another configuration ({difference(found, wanted)}); choose another --out"
        )
    if not (work.folder / "summary.json").exists():
        return False
    return not RunFolder(work.folder).read_summary().get("interrupted")


def with_defaults(found: dict[str, Any], options: Any) -> dict[str, Any]:
    """``found`` with the defaults of those fields of ``options``, a dataclass, that it lacks: options that came with a
    later version.
    """
    filled = dict(found)
    for field in fields(options):
        value = getattr(options, field.name)
        if field.name in found:
            if is_dataclass(value) and isinstance(found[field.name], dict):
                filled[field.name] = with_defaults(found[field.name], value)
        elif field.default is not MISSING:
            filled[field.name] = plain(field.default)
    return filled


def difference(found: Any, wanted: Any, key: str = "") -> str:
    """The first place where two configurations differ, and both values."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for name in dict.fromkeys([*wanted, *found]):
            if found.get(name) != wanted.get(name):
                return difference(found.get(name), wanted.get(name), f"{key}.{name}" if key else str(name))
    return f"{key}: {found} there, {wanted} here"


def discard(works: Sequence[PlannedRun]) -> None:
    """Remove what is left of runs that did not finish."""
    for work in works:
        if work.folder.exists():
            shutil.rmtree(work.folder)


def import_libraries() -> None:
    """Import what methods import in their first step, so that the seconds of no run hold it."""
    for name in LIBRARIES:
        try:
            importlib.import_module(name)
        except ImportError:  # an optional one
            continue
