"""Every algorithm on every environment by the plain command: ``python benchmarks/matrix.py``; see ``--help``.

Each run is a process of its own with no option but its seed and its folder. Runs that have ended are not made again
(--again does), and one that was cut short is resumed. Rows of other pairs and seeds that the file of results holds
already are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "matrix.json"
# Methods that have to close a share of the gap wherever they can learn.
CLOSING = ("metasim", "metasim2")
# What is not tried again.
FINAL = ("ended", "refused")
COPIED = (
    "iterations", "images", "seconds", "setup_seconds", "score_name", "prior_score", "test_score", "oracle_score",
    "gap_closed", "note", "date", "versions",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A run of the matrix, in ``folder``: its own folder is ``run``, ``row.json`` what came of it, ``log.txt`` what it
    printed, ``used.json`` what processes that were cut short have used.
    """

    algo: str
    env: str
    seed: int
    out: Path

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.out / f"{self.env}-{self.algo}-s{self.seed}"

    @property
    def options(self) -> list[str]:
        """The plain command's options."""
        return ["--algo", self.algo, "--env", self.env, "--seed", str(self.seed)]


def make(cell: Cell, limit: float) -> dict[str, Any]:
    """Make a run, or go on with it, or read what came of it; returns its row."""
    from autosim.files import write_whole
    from benchmarks.parts.watched import watch
    from benchmarks.record import commit

    path, run = cell.folder / "row.json", cell.folder / "run"
    if path.exists():
        found = dict(json.loads(path.read_text(encoding="utf-8")))
        if found["outcome"] in FINAL:
            return found
    cell.folder.mkdir(parents=True, exist_ok=True)
    # Where nobody has written what a process used, it was killed together with this one: what the run cost is lost.
    known = cell.folder / "used.json"
    begun = (run / "checkpoint.pt").exists() and known.exists()
    used = {"seconds": 0.0, "core_seconds": 0.0}
    if begun:
        used = dict(json.loads(known.read_text(encoding="utf-8")))
    else:
        shutil.rmtree(run, ignore_errors=True)
    known.unlink(missing_ok=True)
    options = ["--resume", str(run)] if begun else [*cell.options, "--out", str(run)]
    with (cell.folder / "log.txt").open("a", encoding="utf-8") as log:
        ended = watch([sys.executable, str(ROOT / "benchmarks" / "run.py"), *options], limit, log)
    used = {name: round(used[name] + getattr(ended, name), 1) for name in used}
    write_whole(known, json.dumps(used).encode())
    if ended.interrupted:
        raise KeyboardInterrupt
    row = {"algo": cell.algo, "env": cell.env, "seed": cell.seed, **outcome(cell, ended.code)}
    row |= figures(run) if row["outcome"] == "ended" else {}
    # The seconds of the whole command stand for those of its iterations.
    row = {**row, "iteration_seconds": row.get("seconds"), **used, "memory": ended.memory or None}
    row |= {"commit": commit(), "command": f"autosim run {' '.join(cell.options)}"}
    write_whole(path, json.dumps(row, indent=1).encode())
    return row


def outcome(cell: Cell, code: int | None) -> dict[str, Any]:
    """``outcome`` of a run (ended, refused, failed, killed or timed out), and the ``reason`` where there is one."""
    if code == 0:
        return {"outcome": "ended"}
    lines = (cell.folder / "log.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    last = next((line for line in reversed(lines) if line.strip()), "")
    if code is None:
        return {"outcome": "timed out", "reason": last}
    # A pair that cannot work is refused before there is a folder.
    refused = code == 2 and not (cell.folder / "run").exists()
    name = "refused" if refused else "killed" if code < 0 or code > 128 else "failed"
    return {"outcome": name, "reason": last.removeprefix("autosim: ")}


def figures(run: Path) -> dict[str, Any]:
    """What the summary of a run says, and which settings were its environment's."""
    from autosim.runs.folder import FROM_ENVIRONMENT, RunFolder

    summary = RunFolder(run).read_summary()
    lines = (run / "config.yaml").read_text(encoding="utf-8").splitlines()
    suited = [line.removesuffix(FROM_ENVIRONMENT).strip() for line in lines if line.endswith(FROM_ENVIRONMENT)]
    return {**{name: summary[name] for name in COPIED}, "set_by_environment": suited}


def measure(cell: Cell, networks: int) -> dict[str, list[float]]:
    """Scores of single closing networks on frames of the start (prior), of what was learned, and of the target's own
    distribution (oracle).
    """
    from autosim.cache import cached_json
    from autosim.cli.run_options import parse_run
    from autosim.runs.closing.known import describe_target, known_distributions
    from autosim.runs.closing.trainings import closing_test_scores
    from autosim.runs.folder import RunFolder
    from autosim.runs.learned import learned_generator
    from autosim.runs.opening import choose_device, open_environment, open_session

    run = cell.folder / "run"
    config = parse_run(["--config", str(run / "config.yaml")]).config
    learned, env = learned_generator(config, RunFolder(run)), open_environment(config)
    with open_session(config, env, choose_device("cpu")) as session:

        def of_known() -> dict[str, list[float]]:
            known = known_distributions(session)
            return dict(zip(known, closing_test_scores(session, list(known.values()), networks), strict=True))

        known = dict(cached_json("networks", describe_target(session, networks), of_known))
        return {**known, "learned": closing_test_scores(session, [learned], networks)[0]}


def measured(cell: Cell, row: dict[str, Any], networks: int) -> dict[str, Any]:
    """A row with the scores of single closing networks, which another process computes, unless it has as many."""
    from autosim.files import write_whole

    if row["outcome"] != "ended" or networks < 2 or len((row.get("networks") or {}).get("learned", ())) >= networks:
        return row
    words = ["--algos", cell.algo, "--envs", cell.env, "--seeds", str(cell.seed), "--out", str(cell.out)]
    command = [sys.executable, __file__, *words, "--networks", str(networks), "--measure"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return row
    row = {**row, "networks": json.loads(done.stdout.splitlines()[-1])}
    write_whole(cell.folder / "row.json", json.dumps(row, indent=1).encode())
    return row


def write(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the rows into the file of results, in the place of those of the same pair and seed."""
    from autosim import registry
    from benchmarks.parts.matrix_table import matrix_table, merged, notes, pairs
    from benchmarks.record import made_now, read_record

    known = merged(read_record(path).rows if path.exists() else [], rows)
    closing = {(row["env"], row["algo"]): row["algo"] in CLOSING for row in known}
    seeds = sorted({row["seed"] for row in known})
    all_pairs = [(env, algo) for env in registry.environment_names() for algo in registry.algorithm_names()]
    texts = notes(known, closing, [pair for pair in all_pairs if pair not in pairs(known)])
    record = made_now("python benchmarks/matrix.py", matrix_table(known), known, seeds, texts)
    record.write(path)


def main() -> int:
    """Make the runs that are asked for, one after another, and write the results after each."""
    sys.path.insert(0, str(ROOT))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    from autosim import registry
    from autosim.errors import UserError

    algorithms, environments = registry.algorithm_names(), registry.environment_names()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1,2,3", help="of the runs of each pair (default: 1,2,3)")
    parser.add_argument("--algos", default=",".join(algorithms), help="methods (default: all that are installed)")
    parser.add_argument("--envs", default=",".join(environments), help="environments (default: all)")
    parser.add_argument("--networks", type=int, default=3, help="closing networks for each interval (default: 3)")
    parser.add_argument("--limit", type=float, default=1800.0, help="most seconds of a run (default: 1800)")
    parser.add_argument("--out", type=Path, default=Path("runs") / "matrix", help="folder of the runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file of the results")
    parser.add_argument("--again", action="store_true", help="remove what there is of these runs, and make them anew")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        cells = [
            Cell(algo, env, int(seed), arguments.out)
            for seed in arguments.seeds.split(",")
            for env in arguments.envs.split(",")
            for algo in arguments.algos.split(",")
            if registry.find_algorithm(algo) and registry.find_environment(env)
        ]
    except (UserError, ValueError) as error:
        print(f"matrix: {error}", file=sys.stderr)
        return 2
    if arguments.measure:
        print(json.dumps(measure(cells[0], arguments.networks)))
        return 0
    rows: list[dict[str, Any]] = []
    try:
        for cell in cells:
            if arguments.again:
                shutil.rmtree(cell.folder, ignore_errors=True)
            row = measured(cell, make(cell, arguments.limit), arguments.networks)
            shown = ("reason", "gap_closed", "core_seconds", "memory")
            told = [f"{name} {row[name]}" for name in shown if row.get(name)]
            print(f"{cell.folder.name}: {row['outcome']} {', '.join(told)}", flush=True)
            rows.append(row)
            write(rows, arguments.results)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0 if all(row["outcome"] in FINAL for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
