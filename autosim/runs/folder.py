"""The folder of a run: configuration, figures, checkpoint, summary, pictures and report.

Every file but ``metrics.jsonl`` and the TensorBoard events is written whole or not at all.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from autosim.errors import UserError
from autosim.files import check_file, fault, finite, read_bytes, read_json, read_tensors, read_text, write_whole
from autosim.runs.checks import checkpoint_fault, metrics_fault, summary_fault
from autosim.runs.config import RunConfig, plain

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

RUNS = Path("runs")
# Ends a line of config.yaml.
FROM_ENVIRONMENT = "  # set by the environment"
CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"


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
        except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
            raise UserError(f"output folder {path}: {getattr(error, 'strerror', None) or error}") from error
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
        first, *_ = read_text(self.path / "config.yaml").splitlines() or [""]
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
        """The lines of ``metrics.jsonl``; none where there is no such file. ``UserError`` where one is not the figures
        of an iteration, a last one that was cut short included.
        """
        path = self.path / "metrics.jsonl"
        lines = read_bytes(path).splitlines(keepends=True) if path.exists() else []
        return [_figures(path, number, line) for number, line in enumerate(lines, 1)]

    def check_metrics(self, iterations: int) -> list[dict[str, Any]]:
        """The lines of ``metrics.jsonl`` before iteration number ``iterations``; ``UserError`` where one is missing or
        is not the figures of an iteration.
        """
        path = self.path / "metrics.jsonl"
        found = [_figures(path, number, line) for number, line in enumerate(self._first_lines(iterations), 1)]
        if [figures["iteration"] for figures in found] != list(range(iterations)):
            raise fault(path, f"does not hold iterations 0 to {iterations - 1}, which the checkpoint goes on from")
        return found

    def keep_metrics(self, iterations: int) -> list[dict[str, Any]]:
        """Drop the lines of ``metrics.jsonl`` from iteration number ``iterations`` on, and what is left of a last one
        that was cut short: they will be written again. Returns those before; ``UserError`` as above.
        """
        kept = self.check_metrics(iterations)
        if (self.path / "metrics.jsonl").exists():
            write_whole(self.path / "metrics.jsonl", b"".join(self._first_lines(iterations)))
        self._first_event = iterations
        return kept

    def _first_lines(self, count: int) -> list[bytes]:
        path = self.path / "metrics.jsonl"
        return read_bytes(path).splitlines(keepends=True)[:count] if path.exists() else []

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

    def read_checkpoint(self, iterations: int | None = None) -> tuple[dict[str, Any] | None, str]:
        """The latest checkpoint that can be read (None where none was written), and in one line why an earlier one was
        taken ("" where it was not). ``UserError`` where all are damaged, or not of a run of so many iterations.
        """
        damaged: list[str] = []
        for path in (self.path / CHECKPOINT, self.path / PREVIOUS):
            try:
                if not path.exists():
                    continue
                check_file(path)
                with zipfile.ZipFile(path) as parts:
                    if (broken := parts.testzip()) is not None:
                        raise ValueError(f"{broken} is not what was written")
                state = read_tensors(path)
                if (wrong := checkpoint_fault(state, iterations)) is not None:
                    raise UserError(wrong)
                return state, f"{'; '.join(damaged)}; going on from the one before" if damaged else ""
            except Exception as error:
                reason = str(error) if isinstance(error, UserError) else type(error).__name__
                damaged.append(f"{path} is damaged ({reason.removeprefix(f'{path}: ')})")
                self._damaged.add(path)
        if damaged:
            raise UserError(f"{' and '.join(damaged)}: there is nothing to go on from")
        return None, ""

    def write_failed_scene(self, scene: Mapping[str, Any]) -> Path:
        """``failed-scene.json``: what a renderer could not draw, as a scene graph's JSON; returns its path."""
        path = self.path / "failed-scene.json"
        write_whole(path, (json.dumps(scene, indent=1) + "\n").encode())
        return path

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """``summary.json``; figures that are not finite become null."""
        write_whole(self.path / "summary.json", (json.dumps(finite(plain(summary)), indent=2) + "\n").encode())

    def read_summary(self) -> dict[str, Any]:
        """What :meth:`write_summary` wrote; ``UserError`` where there is none, or one that cannot be of a run."""
        path = self.path / "summary.json"
        try:
            summary: dict[str, Any] = read_json(path)
        except UserError as error:
            raise UserError(f"run folder {error}") from error
        if (wrong := summary_fault(summary)) is not None:
            raise fault(path, f"is not the summary of a run: {wrong}")
        return summary

    @property
    def begun(self) -> bool:
        """Whether an iteration has been made, or the run has ended."""
        return any((self.path / name).exists() for name in ("metrics.jsonl", CHECKPOINT, "summary.json"))

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


def _figures(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """The figures in a line of ``metrics.jsonl``."""
    try:
        figures: dict[str, Any] = json.loads(line)
        wrong = metrics_fault(figures)
    except (ValueError, RecursionError):
        wrong = "it is not JSON"
    if wrong is not None:
        raise fault(path, f"line {number} is not the figures of an iteration: {wrong}")
    return figures


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


@contextmanager
def locked(path: Path, option: str = "--resume") -> Iterator[None]:
    """Holds a folder for this process, until it ends at the latest; ``UserError``, led by the ``option`` that named the
    folder, where another one works in it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise UserError(f"{option} {path}: another process is at work in this folder") from None
    try:
        yield
    finally:
        lock.release()
