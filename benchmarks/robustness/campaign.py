"""Hostile inputs by class: ``python benchmarks/robustness/campaign.py [--out DIR]``; it takes some minutes.

Some 600 inputs are generated from a seed: numbers, configurations, files of runs, weights, entries of the cache, paths
and messages. Each is *held* where the command ends with exit code 1 or 2 and one line of at most 300 characters on
stderr, within seconds, and with no error that nobody foresaw; a damaged entry of the cache where it is made again.
Writes ``robustness.json``.
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.robustness.attempts import Input

ROOT = Path(__file__).resolve().parents[2]
# Seconds after which an input counts as one that hangs.
PATIENCE = 30


class Hung(BaseException):
    """An input took too long."""


def attempted(given: Input) -> str | None:
    """What is wrong with how an input ends; None where it held."""

    def hang(number: int, frame: FrameType | None) -> None:
        raise Hung

    signal.signal(signal.SIGALRM, hang)
    signal.alarm(PATIENCE)
    try:
        return given.attempt()
    except Hung:
        return f"hangs for {PATIENCE} s"
    except Exception as error:
        return f"traceback: {type(error).__name__}: {error}"
    finally:
        signal.alarm(0)


def main() -> int:
    """Attempt all of them and write what held."""
    sys.path.insert(0, str(ROOT))
    from autosim.reports.table import Table
    from autosim.runs.summary import without_out
    from benchmarks.record import made_now
    from benchmarks.robustness import files, inputs

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs (default: 0)")
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    counts: dict[str, list[int]] = {}
    missed: list[dict[str, Any]] = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="campaign-") as name:
        folder = Path(name)
        os.environ["AUTOSIM_CACHE"] = str(folder / "cache")
        os.chdir(folder)
        sources = [
            inputs.numbers(draw), inputs.configurations(folder, draw), files.run_files(folder, draw),
            files.weights(folder, draw), files.cache_entries(draw), inputs.paths(folder), inputs.messages(draw),
        ]  # fmt: skip
        for source in sources:
            for given in source:
                fault = attempted(given)
                held = counts.setdefault(given.kind, [0, 0])
                held[0] += 1
                held[1] += fault is None
                if fault is not None:
                    missed.append({"class": given.kind, "input": given.what[:200], "fault": fault[:300]})
                    print(f"not held: {given.kind}: {given.what[:100]}: {fault[:300]}", flush=True)
    lines = [(kind, str(tried), str(held), str(tried - held)) for kind, (tried, held) in counts.items()]
    total = [sum(column) for column in zip(*counts.values(), strict=True)]
    lines.append(("all", str(total[0]), str(total[1]), str(total[0] - total[1])))
    table = Table(("inputs", "tried", "held", "not held"), tuple(lines), "lrrr")
    line = shlex.join(["python", "benchmarks/robustness/campaign.py", *sys.argv[1:]])
    rows = [{"class": kind, "tried": tried, "held": held} for kind, (tried, held) in counts.items()]
    details = {"seconds": round(time.monotonic() - started), "not_held": missed}
    record = made_now(without_out(line), table, rows, seeds=[arguments.seed], details=details)
    record.write(arguments.out / "robustness.json")
    print(record.markdown())
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
