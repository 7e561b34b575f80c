"""How good each of the 54 cells of ``lmo`` is alone: ``python benchmarks/papers/lmo_grid.py --learned NAME=RUN``.

A detector with fresh weights learns from frames of one cell, and is scored on the validation and the test images, for
each cell in turn: what there is to find for methods that choose among cells. Of each finished run that is named, it is
told where the cell that it holds likeliest stands among the 54, and how good the cells are that it draws. With
``--data-dir`` a folder of LM-O's models and photographs, images and detector are those of AutoSimulate's table 3;
otherwise the hidden target's and the environment's own. Cells that were measured before are not measured again.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
# A script's own folder is what Python looks in, not the one above it.
sys.path.insert(0, str(ROOT))

from autosim.errors import UserError  # noqa: E402
from autosim.reports.formatting import score_text  # noqa: E402
from autosim.reports.table import Table  # noqa: E402
from autosim.runs.folder import RunFolder  # noqa: E402
from envs.lmo.cells import CELLS, LOCATIONS, QUALITIES, ROOMS  # noqa: E402
from envs.lmo.env import Lmo  # noqa: E402

if TYPE_CHECKING:
    import torch

    from autosim.learning.schedule import TrainingSchedule
    from autosim.learning.tasks.task import Task
    from autosim.rendering.frames import Frames
    from autosim.session import Session

# The attribute that is learned.
KEY = "scene.cell"


@dataclass(frozen=True)
class CellScore:
    """Validation and test score of a detector that learned from one cell."""

    validation: float
    test: float


@dataclass(frozen=True)
class Standing:
    """What a distribution over cells is worth by the scores of the cells alone: the place of its likeliest cell among
    all (1 is the best), that cell's score, and the mean score of the cells that it draws.
    """

    rank: int
    best: float
    mean: float


def standing(probabilities: Sequence[float], scores: Sequence[float]) -> Standing:
    """Of one probability and one score for each cell; of cells equally likely the best counts."""
    chances, values = np.asarray(probabilities), np.asarray(scores)
    likeliest = max(np.flatnonzero(chances == chances.max()), key=lambda i: values[i])
    return Standing(
        rank=int((values > values[likeliest]).sum()) + 1,
        best=float(values[likeliest]),
        mean=float(chances @ values / chances.sum()),
    )


def learned_probabilities(folder: Path) -> list[float]:
    """How likely a finished run draws each cell, by its summary; ``UserError`` where that says nothing of cells."""
    found = RunFolder(folder).read_summary().get("attributes", {}).get(KEY, {}).get("learned", {})
    if len(found.get("probabilities", ())) != len(CELLS):
        raise UserError(f"--learned: {folder} is no run that has learned {KEY}")
    return [float(chance) for chance in found["probabilities"]]


def scores_of(
    task: Task,
    schedule: TrainingSchedule,
    against: Sequence[Frames],
    device: torch.device,
    work: tuple[Frames, int],
) -> list[float]:
    """Scores on each of the sets of frames ``against`` of a fresh network that was trained on others; 0 where the
    training diverged, which finds nothing.
    """
    from autosim.session import trained

    frames, seed = work
    network = trained(task, schedule, seed, frames, device)
    return [0.0 if network is None else task.evaluate(network, others, device) for others in against]


def measure(session: Session, cells: Sequence[str], done: Path) -> None:
    """Score cells, as many at once as there are workers, and note each in a file of the folder ``done``."""
    from autosim.files import write_whole
    from autosim.parallel import parallel_map
    from autosim.runs.closing.frames import closing_frames
    from autosim.scenes.generator import GrammarSource
    from autosim.scenes.grammar import Choice
    from autosim.target import TARGET_SEED
    from envs.lmo.scene import lmo_grammar

    env, test = session.env, session.target.test
    assert isinstance(env, Lmo) and test is not None
    train = partial(scores_of, session.task, env.schedule, (session.validation, test), session.device)
    at_once = max(1, session.workers)
    for start in range(0, len(cells), at_once):
        together = cells[start : start + at_once]
        alone = [Choice([float(cell == other) for other in CELLS]) for cell in together]
        grammars = [lmo_grammar(env.schema, env.library, {KEY: prior}) for prior in alone]
        work = [(closing_frames(session, GrammarSource(grammar)), TARGET_SEED) for grammar in grammars]
        for cell, (validation, tested) in zip(together, parallel_map(train, work, session.workers), strict=True):
            write_whole(file_of(done, cell), json.dumps({"validation": validation, "test": tested}).encode())
            print(f"{cell}: validation {score_text(validation)}, test {score_text(tested)}", flush=True)


def file_of(done: Path, cell: str) -> Path:
    """Where a cell's scores lie."""
    return done / f"{cell.replace('/', '-')}.json"


def grid_table(scores: Mapping[str, CellScore]) -> Table:
    """A line for each location, a column for each room and quality: the test score of the cell alone."""
    columns = [(room, quality) for quality in QUALITIES for room in ROOMS]
    lines = [
        (where, *(score_text(scores[f"{room}/{where}/{quality}"].test) for room, quality in columns))
        for where in LOCATIONS
    ]
    heads = ("location", *(f"{room}, {quality}" for room, quality in columns))
    return Table(heads, tuple(lines), "l" + "r" * len(columns))


def told(name: str, found: Standing) -> str:
    """A standing in a sentence."""
    return (
        f"{name}: its likeliest cell is number {found.rank} of {len(CELLS)} (alone {score_text(found.best)}), and the "
        f"cells that it draws have a mean of {score_text(found.mean)} alone."
    )


def main() -> int:
    """Measure the grid and write it."""
    from autosim.cli.run_options import configure
    from autosim.runs.config import available_cpus
    from autosim.runs.opening import choose_device, open_environment, open_session
    from benchmarks.papers.lmo import DETECTOR, asked
    from benchmarks.record import made_now

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="folder of LM-O's models and photographs")
    parser.add_argument("--frames", type=int, default=60, help="of each cell, to learn from (default: 60)")
    parser.add_argument("--cores", type=int, default=available_cpus(), help="processes (default: all cores)")
    parser.add_argument("--learned", action="append", default=[], metavar="NAME=RUN", help="folder of a finished run")
    parser.add_argument("--out", type=Path, default=Path("runs") / "lmo-grid", help="folder to write to")
    arguments = parser.parse_args()
    done = arguments.out / "cells"
    try:
        named = [entry.partition("=") for entry in arguments.learned]
        runs = {name: learned_probabilities(Path(folder)) for name, _, folder in named}
        environment, target = asked({"data_dir": arguments.data_dir}, DETECTOR) if arguments.data_dir else ({}, {})
        environment = {**environment, "train_frames": arguments.frames}
        config = configure("random", "lmo", {"env": environment, "workers": arguments.cores, **target})
        if waiting := [cell for cell in CELLS if not file_of(done, cell).exists()]:
            done.mkdir(parents=True, exist_ok=True)
            with open_session(config, open_environment(config), choose_device("cpu")) as session:
                measure(session, waiting, done)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted; the same with --out {arguments.out} goes on from here", file=sys.stderr)
        return 130
    scores = {cell: CellScore(**json.loads(file_of(done, cell).read_text(encoding="utf-8"))) for cell in CELLS}
    tested = [scores[cell].test for cell in CELLS]
    known: dict[str, Sequence[float]] = {"uniform": [1 / len(CELLS)] * len(CELLS), **runs}
    found = {name: standing(chances, tested) for name, chances in known.items()}
    rows: list[dict[str, Any]] = [{"cell": cell, **vars(scores[cell])} for cell in CELLS]
    words = [f"--frames={arguments.frames}", *(["--data-dir=LMO"] if arguments.data_dir else [])]
    command = shlex.join(["python", "benchmarks/papers/lmo_grid.py", *words, *(f"--learned={n}=RUN" for n in runs)])
    notes = [told(name, place) for name, place in found.items() if name in runs]
    notes.append(f"All cells alike have a mean of {score_text(found['uniform'].mean)} alone.")
    details = {"standings": {name: vars(place) for name, place in found.items()}}
    record = made_now(command, grid_table(scores), rows, [0], notes, details)
    record.write(arguments.out / "grid.json")
    print(record.markdown())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
