"""The folder of a run: configuration, figures, checkpoint, summary, pictures and report.

Every file but ``metrics.jsonl`` and the TensorBoard events is written whole or not at all.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from autosim.errors import UserError
from autosim.files import finite, write_whole
from autosim.runs.config import RunConfig, plain

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

RUNS = Path("runs")
# Ends a line of config.yaml.
FROM_ENVIRONMENT = "  # set by the environment"
CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
CHECKPOINT_KEYS = (
    "iteration",
    "images",
    "render_cost",
    "seconds",
    "core_seconds",
    "setup_seconds",
    "config",
    "algorithm",
    "middle",
    "val_score",
)


class RunFolder:
    """Where a run writes. Made by :meth:`create`; an instance on an existing folder reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._metrics: IO[str] | None = None
        self._events: SummaryWriter | None = None
        self._first_event: int | None = None
        self._damaged: set[Path] = set()

    @staticmethod
    def create(path: Path) -> RunFolder:
        """Make the folder; ``UserError`` where it holds something already or cannot be made."""
        check_free(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            (path / "pictures").mkdir()
        except OSError as error:
            raise UserError(f"output folder {path}: {error.strerror or error}") from error
        return RunFolder(path)

    @property
    def pictures(self) -> Path:
        """Folder of the PNG files."""
        return self.path / "pictures"

    def write_config(self, config: RunConfig, command: str = "") -> None:
        """``config.yaml``, from which ``--config`` repeats the run, headed by the command as a comment. A comment tells
        which options the environment has set.
        """
        import yaml

        head = f"# {' '.join(command.split())}\n" if command else ""
        values = yaml.safe_dump(config.to_dict(), sort_keys=False)
        write_whole(self.path / "config.yaml", (head + _annotated(values, config.from_environment)).encode())

    def read_command(self) -> str:
        """The command that :meth:`write_config` noted; "" where it is not there."""
        first, *_ = (self.path / "config.yaml").read_text(encoding="utf-8").splitlines() or [""]
        return first.removeprefix("# ") if first.startswith("# ") else ""

    def add_metrics(self, iteration: int, figures: Mapping[str, Any]) -> None:
        """One line of ``metrics.jsonl``, on disk when this returns, and the same figures as TensorBoard events."""
        if self._metrics is None:
            self._metrics = (self.path / "metrics.jsonl").open("a", encoding="utf-8")
        line = {"iteration": iteration, **{name: finite(value) for name, value in figures.items()}}
        self._metrics.write(json.dumps(line, allow_nan=False) + "\n")
        self._metrics.flush()
        if self._events is None:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(self.path / "tensorboard"), purge_step=self._first_event)
        for name, value in line.items():
            if name != "iteration" and isinstance(value, (int, float)):
                self._events.add_scalar(name, value, iteration)

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of ``metrics.jsonl``; none where there is no such file."""
        path = self.path / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def keep_metrics(self, iterations: int) -> list[dict[str, Any]]:
        """Drop the lines of ``metrics.jsonl`` from iteration number ``iterations`` on, and what is left of a last one
        that was cut short: they will be written again. Returns those before; ``UserError`` where one cannot be read.
        """
        path = self.path / "metrics.jsonl"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        try:
            kept = [json.loads(line) for line in lines[:iterations]]
            complete = [line["iteration"] for line in kept] == list(range(iterations))
        except (ValueError, KeyError, TypeError):
            complete = False
        if not complete:
            raise UserError(
                f"{path}: it does not hold iterations 0 to {iterations - 1}, which the checkpoint goes on from"
            )
        write_whole(path, b"".join(lines[:iterations]))
        self._first_event = iterations
        return kept

    def write_checkpoint(self, state: Mapping[str, Any]) -> None:
        """``checkpoint.pt``, whole; the one before becomes ``checkpoint.previous.pt``."""
        import torch

        content = io.BytesIO()
        torch.save(dict(state), content)
        current = self.path / CHECKPOINT
        if current.exists() and current not in self._damaged:
            write_whole(current, content.getvalue(), self.path / PREVIOUS)
        else:
            write_whole(current, content.getvalue())
        self._damaged.discard(current)

    def read_checkpoint(self) -> tuple[dict[str, Any] | None, str]:
        """The latest checkpoint that can be read (None where none was written), and in one line why an earlier one was
        taken ("" where it was not). ``UserError`` where all are damaged.
        """
        import torch

        damaged: list[str] = []
        for path in (self.path / CHECKPOINT, self.path / PREVIOUS):
            try:
                with zipfile.ZipFile(path) as parts:
                    if (broken := parts.testzip()) is not None:
                        raise ValueError(f"{broken} is not what was written")
                state = torch.load(path, map_location="cpu", weights_only=True)
                if not isinstance(state, dict) or not set(CHECKPOINT_KEYS) <= set(state):
                    raise ValueError("it lacks parts of a checkpoint")
                return state, f"{'; '.join(damaged)}; going on from the one before" if damaged else ""
            except FileNotFoundError:
                continue
            except Exception as error:
                damaged.append(f"{path} is damaged ({type(error).__name__})")
                self._damaged.add(path)
        if damaged:
            raise UserError(f"{' and '.join(damaged)}: there is nothing to go on from")
        return None, ""

    def write_failed_scene(self, scene: Mapping[str, Any]) -> None:
        """``failed-scene.json``: what a renderer could not draw, as a scene graph's JSON."""
        write_whole(self.path / "failed-scene.json", (json.dumps(scene, indent=1) + "\n").encode())

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """``summary.json``; figures that are not finite become null."""
        write_whole(self.path / "summary.json", (json.dumps(finite(plain(summary)), indent=2) + "\n").encode())

    def read_summary(self) -> dict[str, Any]:
        """What :meth:`write_summary` wrote; ``UserError`` where there is none."""
        path = self.path / "summary.json"
        try:
            summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"run folder {self.path}: summary.json: {error.strerror or error}") from error
        except ValueError as error:
            raise UserError(f"run folder {self.path}: summary.json is not JSON: {error}") from error
        return summary

    def ended(self) -> bool:
        """Whether the run came to its end; ``UserError`` where there is no such folder."""
        if not (self.path / "config.yaml").is_file():
            raise UserError(f"run folder {self.path}: there is no config.yaml in it")
        return (self.path / "summary.json").exists() and not self.read_summary().get("interrupted")

    def discard(self) -> None:
        """Remove the folder, which was empty before :meth:`create` or not there."""
        self.close()
        shutil.rmtree(self.path)

    def close(self) -> None:
        """Close the files that grow."""
        if self._metrics is not None:
            self._metrics.close()
        if self._events is not None:
            self._events.close()
        self._metrics = self._events = None


def _annotated(text: str, keys: Sequence[str]) -> str:
    """YAML of nested mappings, with a comment at the options ``keys``, by dotted name."""
    path: list[str] = []
    lines = []
    for line in text.splitlines():
        if entry := re.match(r"( *)(\w+):", line):
            path = [*path[: len(entry[1]) // 2], entry[2]]
            if ".".join(path) in keys:
                line += FROM_ENVIRONMENT
        lines.append(line)
    return "\n".join(lines) + "\n"


def check_free(path: Path) -> None:
    """``UserError`` where ``path`` is a file or a folder that holds something."""
    if path.is_dir():
        if any(path.iterdir()):
            raise UserError(f"output folder {path} is in use; nothing is overwritten, choose another with --out")
    elif path.exists():
        raise UserError(f"output folder {path} is a file; choose another with --out")


def default_folder(config: RunConfig, root: Path = RUNS) -> Path:
    """A free path under ``root`` that names the algorithm, the environment, the seed and the time."""
    name = f"{config.algo}-{config.env}-seed{config.settings.seed}-{datetime.now():%Y%m%d-%H%M%S}"
    path, count = root / name, 1
    while path.exists():
        count += 1
        path = root / f"{name}-{count}"
    return path
