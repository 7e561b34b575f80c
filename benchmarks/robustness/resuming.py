"""What a run is after a fault: ``python benchmarks/robustness/resuming.py [--algo NAME --env NAME] [-- OPTIONS]``.

One run goes undisturbed. Each other one meets a fault once it has a checkpoint, is gone on with by ``--resume`` where
the fault ended it, and must have the undisturbed run's figures in every line of ``metrics.jsonl``, times apart. How it
ended is kept: exit code, and the last line on stderr. Writes ``robustness-resume.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# Seconds that a command may take.
PATIENCE = 1200.0
# Bytes that a file may have once the disk is "full": no checkpoint fits.
FULL = 2048
TIMES = ("seconds", "core_seconds")


@dataclass(frozen=True)
class Fault:
    """What is done to a run's process: ``strike`` gets its number."""

    name: str
    strike: Callable[[int], object]
    # Whether the run is to go on by itself.
    survived: bool = False


def signalled(number: int) -> Callable[[int], object]:
    """A signal to the run's own process."""
    return lambda process: os.kill(process, number)


def kill(word: str) -> Callable[[int], object]:
    """``kill -9`` of the run's first process whose command line has ``word`` in it."""

    def strike(process: int) -> None:
        import psutil

        for child in psutil.Process(process).children(recursive=True):
            if word in " ".join([child.name(), *child.cmdline()[:1]]):
                child.kill()
                return
        raise RuntimeError(f"the run has no process {word}")

    return strike


def fill_the_disk(process: int) -> None:
    """No file of the run's own process may grow any more."""
    resource.prlimit(process, resource.RLIMIT_FSIZE, (FULL, FULL))


FAULTS = (
    Fault("kill -9 of the run", signalled(signal.SIGKILL)),
    Fault("SIGTERM", signalled(signal.SIGTERM)),
    Fault("Ctrl-C", signalled(signal.SIGINT)),
    Fault("Ray's head killed", kill("gcs_server")),
    Fault("Ray's node manager killed", kill("raylet")),
    Fault("a render worker killed", kill("RenderActor"), survived=True),
    Fault("the disk full", fill_the_disk),
)


def run(options: list[str], fault: Fault | None, folder: Path) -> tuple[int, str]:
    """The command ``autosim run OPTIONS``, struck by a fault once ``folder`` has a checkpoint: exit code and the last
    line on stderr.
    """
    command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), *options]
    with tempfile.TemporaryFile("w+") as errors:
        # Ctrl-C as a shell's foreground has it.
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=errors,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        try:
            deadline = time.monotonic() + PATIENCE
            while fault is not None and process.poll() is None and not (folder / "checkpoint.pt").exists():
                if time.monotonic() > deadline:
                    raise RuntimeError(f"no checkpoint in {PATIENCE:.0f} s")
                time.sleep(0.02)
            if fault is not None:
                if process.poll() is not None:
                    raise RuntimeError(f"the run ended before {fault.name}")
                fault.strike(process.pid)
            code = process.wait(PATIENCE)
        finally:
            process.kill()
        errors.seek(0)
        lines = errors.read().strip().splitlines()
    return code, lines[-1] if lines else ""


def figures(folder: Path) -> list[dict[str, Any]]:
    """Lines of ``metrics.jsonl`` without times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.endswith(TIMES)} for line in lines]


def struck(fault: Fault, options: list[str], folder: Path, expected: list[dict[str, Any]]) -> dict[str, Any]:
    """What came of one run."""
    code, said = run([*options, "--out", str(folder)], fault, folder)
    done = len(figures(folder))
    resumed = None
    if code != 0:
        resumed, _ = run(["--resume", str(folder)], None, folder)
    return {
        "fault": fault.name,
        "exit_code": code,
        "said": re.sub(r"/\S+", "PATH", said.replace(str(folder), "DIR"))[:300],
        "iterations_before": done,
        "resumed_exit_code": resumed,
        "same": figures(folder) == expected,
    }


def main() -> int:
    """Make the runs and write what came of them; exit code 1 where one differs."""
    sys.path.insert(0, str(ROOT))
    from autosim.reports.table import Table
    from autosim.runs.summary import without_out
    from benchmarks.record import made_now

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algo", default="metasim", help="method (default: metasim)")
    parser.add_argument("--env", default="mnist", help="environment (default: mnist)")
    parser.add_argument("--iterations", type=int, default=25, help="of each run (default: 25)")
    parser.add_argument("options", nargs="*", help="more options of every run, after --: -- --env.train_frames 200")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder to write to")
    arguments = parser.parse_args()
    options = ["--algo", arguments.algo, "--env", arguments.env, "--workers", "2", "--checkpoint_every", "5"]
    options += arguments.options
    options += [f"--budget.iterations={arguments.iterations}", "--seed", "0"]
    rows: list[dict[str, Any]] = []
    scratch = Path(tempfile.mkdtemp(prefix="resuming-"))
    try:
        undisturbed = scratch / "undisturbed"
        code, said = run([*options, "--out", str(undisturbed)], None, undisturbed)
        if code:
            raise RuntimeError(f"the undisturbed run ended with {code}: {said}")
        expected = figures(undisturbed)
        for number, fault in enumerate(FAULTS):
            rows.append(struck(fault, options, scratch / str(number), expected))
            print(json.dumps(rows[-1]), flush=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    lines = [
        (
            row["fault"],
            "goes on" if row["exit_code"] == 0 else str(row["exit_code"]),
            "–" if row["exit_code"] == 0 else str(row["iterations_before"]),
            f"{'the same' if row['same'] else 'others'}",
        )
        for row in rows
    ]
    table = Table(("fault", "exit code", "iterations done", "figures after --resume"), tuple(lines), "lrrl")
    line = shlex.join(["python", "benchmarks/robustness/resuming.py", *sys.argv[1:]])
    survived = {fault.name for fault in FAULTS if fault.survived}
    wrong = [row for row in rows if not row["same"] or (row["exit_code"] != 0) == (row["fault"] in survived)]
    notes = [
        f"{arguments.algo} on {arguments.env}, {arguments.iterations} iterations, two workers; each fault strikes "
        "after the first checkpoint. Figures: every line of metrics.jsonl, times apart, beside an undisturbed run's."
    ]
    record = made_now(without_out(line), table, rows, seeds=[0], notes=notes)
    record.write(arguments.out / "robustness-resume.json")
    print(record.markdown())
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
