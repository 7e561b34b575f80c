"""What a search has tried: the record of every trial, and the files that hold them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from autosim.errors import UserError
from autosim.files import finite, read_json, write_whole

State = Literal["waiting", "running", "done", "stopped", "failed"]
ENDED = ("done", "stopped", "failed")


@dataclass
class TrialRecord:
    """One trial. ``value`` is the best figure so far; ``curve`` holds (progress in percent, value) an iteration.

    ``stopped`` trials were ended early for being worse than others. A ``running`` one whose search was cut off goes on
    from its checkpoint when the search is resumed.
    """

    number: int
    setting: dict[str, Any]
    state: State = "waiting"
    value: float | None = None
    iterations: int = 0
    images: int = 0
    seconds: float = 0.0
    error: str | None = None
    curve: list[tuple[float, float | None]] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be done."""
        return self.state in ENDED

    @property
    def progress(self) -> float:
        """Share of the budget used, in percent."""
        return self.curve[-1][0] if self.curve else 0.0

    def take_in(self, reported: Mapping[str, Any]) -> None:
        """Note what a trial reports; what it reports again, after it was taken up, is known already."""
        if reported["iterations"] <= self.iterations:
            return
        self.iterations, self.images = int(reported["iterations"]), int(reported["images"])
        self.seconds, self.value = float(reported["seconds"]), reported.get("value")
        self.curve.append((float(reported["progress"]), self.value))


@dataclass
class Records:
    """All trials of a search, by number, in ``trials.json`` of its folder."""

    path: Path
    mode: Literal["max", "min"]
    header: Mapping[str, Any]
    trials: list[TrialRecord] = field(default_factory=list)

    @property
    def best(self) -> TrialRecord | None:
        """The trial with the best value, the earliest of equals; None where none has a value."""
        ranked = self.ranked()
        return ranked[0] if ranked and _valued(ranked[0]) else None

    def ranked(self) -> list[TrialRecord]:
        """Best first; those without a value and those that failed last."""
        sign = -1 if self.mode == "max" else 1
        valued = sorted(filter(_valued, self.trials), key=lambda trial: (sign * (trial.value or 0.0), trial.number))
        return valued + [trial for trial in self.trials if not _valued(trial)]

    def save(self) -> None:
        """Write ``trials.json``, whole."""
        best = self.best
        content = {
            **self.header,
            "best": None if best is None else best.number,
            "trials": [asdict(trial) for trial in self.trials],
        }
        write_whole(self.path / "trials.json", (json.dumps(finite(content), indent=1) + "\n").encode())


def _valued(trial: TrialRecord) -> bool:
    return trial.value is not None and trial.state != "failed"


def read_trials(path: Path) -> list[TrialRecord]:
    """The trials in a folder's ``trials.json``, none where it is not there yet; ``UserError`` where it is damaged."""
    file = path / "trials.json"
    if not file.exists():
        return []
    try:
        entries = read_json(file)["trials"]
        trials = [TrialRecord(**entry) for entry in entries]
    except (UserError, ValueError, KeyError, TypeError) as error:
        reason = str(error).removeprefix(f"{file}: ")
        raise UserError(f"{file}: not the trials of a search: {reason}") from error
    return trials


def write_best(path: Path, config: Mapping[str, Any], comment: str) -> None:
    """``best.yaml``: a run's configuration that ``autosim run --config`` takes.

    It leaves ``workers`` open, on which results do not depend: a run takes the whole machine where a trial had a part.
    """
    import yaml

    content = {key: value for key, value in config.items() if key != "workers"}
    write_whole(path / "best.yaml", f"# {comment}\n{yaml.safe_dump(content, sort_keys=False)}".encode())


def trial_folder(path: Path, number: int) -> Path:
    """Where a trial keeps its files."""
    return path / "trials" / f"{number:03d}"


def scratch_folder(path: Path) -> Path:
    """An empty place for Ray Tune's own files, of which nothing is needed later."""
    scratch = path / ".ray"
    shutil.rmtree(scratch, ignore_errors=True)
    return scratch
