"""The folder of a run: configuration, figures, checkpoint, summary, pictures and report.

Every file but ``metrics.jsonl`` and the TensorBoard events is written whole or not at all.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from autosim.errors import UserError
from autosim.experiments.config import RunConfig, plain

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

RUNS = Path("runs")


class RunFolder:
    """Where a run writes. Made by :meth:`create`; an instance on an existing folder reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._metrics: IO[str] | None = None
        self._events: SummaryWriter | None = None

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

    def write_config(self, config: RunConfig) -> None:
        """``config.yaml``, from which ``--config`` repeats the run."""
        import yaml

        write_whole(self.path / "config.yaml", yaml.safe_dump(config.to_dict(), sort_keys=False).encode())

    def add_metrics(self, iteration: int, figures: Mapping[str, Any]) -> None:
        """One line of ``metrics.jsonl``, on disk when this returns, and the same figures as TensorBoard events."""
        if self._metrics is None:
            self._metrics = (self.path / "metrics.jsonl").open("a", encoding="utf-8")
        line = {"iteration": iteration, **{name: finite(value) for name, value in figures.items()}}
        self._metrics.write(json.dumps(line, allow_nan=False) + "\n")
        self._metrics.flush()
        if self._events is None:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(self.path / "tensorboard"))
        for name, value in line.items():
            if name != "iteration" and isinstance(value, (int, float)):
                self._events.add_scalar(name, value, iteration)

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of ``metrics.jsonl``; none where there is no such file."""
        path = self.path / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def write_checkpoint(self, state: Mapping[str, Any]) -> None:
        """``checkpoint.pt``; the one before stays until the new one is complete."""
        import torch

        temporary = self.path / "checkpoint.pt.part"
        torch.save(dict(state), temporary)
        os.replace(temporary, self.path / "checkpoint.pt")

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


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def finite(value: Any) -> Any:
    """The same with numbers that JSON does not know (NaN, infinities) as None, numpy's and tensors' as Python's own."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
