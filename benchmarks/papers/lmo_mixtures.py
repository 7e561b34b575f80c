"""What choosing among the cells of ``lmo`` can gain: ``python benchmarks/papers/lmo_mixtures.py --data-dir LMO``.

Detectors with fresh weights learn from frames of all cells alike and of the good locations' cells alike, as many as a
run's closing network learns from, and are scored on the validation and the test images. A method that learns which
cells to draw can hardly end above the good ones alike. With ``--data-dir`` a folder of LM-O's models and photographs,
images and detector are those of AutoSimulate's table 3; otherwise the hidden target's and the environment's own.
Networks that were trained before are not trained again.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
# A script's own folder is what Python looks in, not the one above it.
sys.path.insert(0, str(ROOT))

from autosim.errors import UserError  # noqa: E402
from autosim.reports.formatting import score_text  # noqa: E402
from autosim.reports.table import Table  # noqa: E402
from benchmarks.papers.lmo_grid import KEY, CellScore, scores_of  # noqa: E402
from envs.lmo.cells import CELLS, LOCATIONS  # noqa: E402
from envs.lmo.env import Lmo  # noqa: E402

if TYPE_CHECKING:
    from autosim.scenes.generator import SceneGenerator
    from autosim.session import Session

MIXTURES = ("all cells alike", "good locations alike")


def chances(mixture: str) -> list[float]:
    """How likely each cell is in a mixture."""
    counts = [mixture == MIXTURES[0] or LOCATIONS[cell.split("/")[1]].good for cell in CELLS]
    return [float(each) / sum(counts) for each in counts]


def generator_of(env: Lmo, mixture: str) -> SceneGenerator:
    """What draws the scenes of a mixture."""
    from autosim.scenes.generator import GrammarSource
    from autosim.scenes.grammar import Choice
    from envs.lmo.scene import lmo_grammar

    return GrammarSource(lmo_grammar(env.schema, env.library, {KEY: Choice(chances(mixture))}))


def file_of(done: Path, mixture: str, network: int) -> Path:
    """Where a network's scores lie."""
    return done / f"{mixture.replace(' ', '-')}-{network}.json"


def measure(session: Session, mixture: str, networks: Sequence[int], seeds: Sequence[int], done: Path) -> None:
    """Train and score some of a mixture's networks, and note each in a file of the folder ``done``."""
    from autosim.files import write_whole
    from autosim.parallel import parallel_map
    from autosim.runs.closing.frames import closing_frames

    env, test = session.env, session.target.test
    assert isinstance(env, Lmo) and test is not None
    train = partial(scores_of, session.task, env.schedule, (session.validation, test), session.device)
    frames = closing_frames(session, generator_of(env, mixture))
    at_once = max(1, session.workers)
    for start in range(0, len(networks), at_once):
        together = networks[start : start + at_once]
        work = [(frames, seeds[network]) for network in together]
        for network, (validation, tested) in zip(together, parallel_map(train, work, session.workers), strict=True):
            path = file_of(done, mixture, network)
            write_whole(path, json.dumps({"validation": validation, "test": tested}).encode())
            print(f"{mixture}, network {network + 1}: {score_text(validation)}, test {score_text(tested)}", flush=True)


def mixtures_table(scores: Mapping[str, Sequence[CellScore]]) -> Table:
    """A line for each mixture: mean scores of its networks, and the least and largest test score."""
    lines = []
    for mixture, found in scores.items():
        tested = [each.test for each in found]
        between = f"{score_text(min(tested))} to {score_text(max(tested))}"
        means = score_text(fmean(each.validation for each in found)), score_text(fmean(tested))
        lines.append((mixture, str(len(found)), *means, between))
    return Table(("cells", "networks", "validation", "test", "test, least to largest"), tuple(lines), "lrrrr")


def main() -> int:
    """Measure the mixtures and write the record."""
    from autosim.cli.run_options import configure
    from autosim.runs.closing.trainings import network_seeds
    from autosim.runs.config import available_cpus
    from autosim.runs.opening import choose_device, open_environment, open_session
    from benchmarks.papers.lmo import DETECTOR, asked
    from benchmarks.record import made_now

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="folder of LM-O's models and photographs")
    parser.add_argument("--frames", type=int, help="of each mixture, to learn from (default: the environment's)")
    parser.add_argument("--networks", type=int, default=3, help="of each mixture (default: 3)")
    parser.add_argument("--cores", type=int, default=available_cpus(), help="processes (default: all cores)")
    parser.add_argument("--out", type=Path, default=Path("runs") / "lmo-mixtures", help="folder to write to")
    arguments = parser.parse_args()
    done, seeds = arguments.out / "networks", network_seeds(arguments.networks)
    try:
        environment, target = asked({"data_dir": arguments.data_dir}, DETECTOR) if arguments.data_dir else ({}, {})
        if arguments.frames is not None:
            environment = {**environment, "train_frames": arguments.frames}
        config = configure("random", "lmo", {"env": environment, "workers": arguments.cores, **target})
        waiting = {
            mixture: [i for i in range(arguments.networks) if not file_of(done, mixture, i).exists()]
            for mixture in MIXTURES
        }
        if any(waiting.values()):
            done.mkdir(parents=True, exist_ok=True)
            with open_session(config, open_environment(config), choose_device("cpu")) as session:
                for mixture, networks in waiting.items():
                    if networks:
                        measure(session, mixture, networks, seeds, done)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted; the same with --out {arguments.out} goes on from here", file=sys.stderr)
        return 130
    scores = {
        mixture: [
            CellScore(**json.loads(file_of(done, mixture, i).read_text(encoding="utf-8")))
            for i in range(arguments.networks)
        ]
        for mixture in MIXTURES
    }
    rows = [
        {"cells": name, "network": i, **vars(each)} for name, found in scores.items() for i, each in enumerate(found)
    ]
    frames = [] if arguments.frames is None else [f"--frames={arguments.frames}"]
    words = [*frames, f"--networks={arguments.networks}", *(["--data-dir=LMO"] if arguments.data_dir else [])]
    command = shlex.join(["python", "benchmarks/papers/lmo_mixtures.py", *words])
    record = made_now(command, mixtures_table(scores), rows, [0])
    record.write(arguments.out / "mixtures.json")
    print(record.markdown())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
