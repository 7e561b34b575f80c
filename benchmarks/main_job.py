"""The main job before and now: ``python benchmarks/main_job.py --before COMMIT [--seeds 2] [--out DIR]``.

Meta-Sim on CLEVR as a newcomer makes it, with nothing cached, from the code of an earlier commit and from this one's:
without LLVM, and with it where it is found (``DRJIT_LIBLLVM_PATH``). They take turns on the same seeds, each under
Python's profiler, and their scores are set beside their seconds. Writes ``main_job.json`` and ``main_job.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import pstats
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
JOB = ["--algo=metasim", "--env=clevr", "--workers=2"]
BEFORE, SCALAR, LLVM, THREADS = "before", "now, without LLVM", "now, with LLVM", "and --threads 2"
# Where the main thread spends its time, by file and function; they overlap where one calls another.
PARTS = {
    "features, trained": ("/content.py", "train_content_features"),
    "frames": ("/pool.py", "render"),
    "gradients": ("/pool.py", "vjp"),
    "task network": ("/task.py", "train"),
    "waiting for what runs beside": ("concurrent/futures/_base.py", "result"),
    "closing networks": ("/closing/scores.py", "closing_scores"),
    "pre-training": ("/pretraining.py", "pretrain"),
    "Ray's start": ("/start.py", "start_ray"),
    "pictures and report": ("/live.py", "write_evidence"),
}
SCORES = ("prior_score", "test_score", "oracle_score")
SECONDS = ("setup_seconds", "seconds", "whole")

Figures = dict[str, Any]


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """The files of a commit, in a folder that is removed."""
    with tempfile.TemporaryDirectory(prefix="before-") as name:
        tree = Path(name) / "tree"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(tree), commit], cwd=ROOT, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


def make(tree: Path, seed: int, *options: str) -> Figures:
    """The main job from the code in ``tree``: its summary's figures, the seconds it took and the profile's parts."""
    with tempfile.TemporaryDirectory(prefix="main-job-") as name:
        folder, profile = Path(name) / "run", Path(name) / "profile"
        environment = {**os.environ, "PYTHONPATH": str(tree), "AUTOSIM_CACHE": str(Path(name) / "cache")}
        command = [sys.executable, "-m", "cProfile", "-o", str(profile), str(tree / "benchmarks" / "run.py"), *JOB]
        started = time.monotonic()
        subprocess.run(
            [*command, f"--seed={seed}", f"--out={folder}", *options],
            cwd=tree,
            env=environment,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        whole = time.monotonic() - started
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        kept = {key: summary[key] for key in (*SCORES, *SECONDS[:-1], "images")}
        return {**kept, "whole": whole, "parts": parts_of(profile)}


def parts_of(profile: Path) -> dict[str, float]:
    """Cumulative seconds of :data:`PARTS` in a file of Python's profiler; what was not called is left out."""
    found: dict[str, float] = {}
    for (path, _, function), (_, _, _, seconds, _) in pstats.Stats(str(profile)).stats.items():  # type: ignore[attr-defined]
        for name, (file, wanted) in PARTS.items():
            if function == wanted and path.endswith(file):
                found[name] = found.get(name, 0.0) + seconds
    return found


def summarised(runs: dict[str, list[Figures]]) -> dict[str, Figures]:
    """Medians of each kind of run, and ``faster``: how many times less the whole took than before, seed by seed."""
    rows = {}
    for name, own in runs.items():
        ratios = [before["whole"] / run["whole"] for before, run in zip(runs[BEFORE], own, strict=True)]
        parts = {part: [run["parts"][part] for run in own if part in run["parts"]] for part in PARTS}
        rows[name] = {
            **{key: statistics.median(run[key] for run in own) for key in (*SCORES, *SECONDS)},
            "parts": {part: statistics.median(seconds) for part, seconds in parts.items() if seconds},
            "faster": {"median": statistics.median(ratios), "least": min(ratios), "largest": max(ratios)},
        }
    return rows


def table(rows: dict[str, Figures]) -> Figures:
    """A column for each kind of run."""
    lines = [["seconds, all", *(f"{row['whole']:.0f}" for row in rows.values())]]
    faster = [row["faster"] for row in rows.values()]
    lines.append(["× faster", *(f"{x['median']:.2f} ({x['least']:.2f} to {x['largest']:.2f})" for x in faster)])
    lines.append(["seconds, set-up", *(f"{row['setup_seconds']:.0f}" for row in rows.values())])
    lines.append(["seconds, iterations", *(f"{row['seconds']:.0f}" for row in rows.values())])
    for part in PARTS:
        known = [row["parts"].get(part) for row in rows.values()]
        lines.append([f"of them: {part}", *("–" if seconds is None else f"{seconds:.1f}" for seconds in known)])
    for score in SCORES:
        lines.append([score.replace("_", " ").replace("test", "learned"), *(f"{r[score]:.3f}" for r in rows.values())])
    return {"heads": ["", *rows], "lines": lines, "alignment": "l" + "r" * len(rows)}


def make_all(commit: str, seeds: Sequence[int]) -> dict[str, list[Figures]]:
    """Every kind of run on every seed, in turns."""
    runs: dict[str, list[Figures]] = {BEFORE: [], SCALAR: []}
    if os.environ.get("DRJIT_LIBLLVM_PATH"):
        runs |= {LLVM: [], THREADS: []}
    llvm = "--env.variant=llvm_ad_rgb"
    options = {SCALAR: ["--env.variant=scalar_rgb"], LLVM: [llvm], THREADS: [llvm, "--threads=2"]}
    with checked_out(commit) as tree:
        for seed in seeds:
            for name, own in runs.items():
                own.append(make(tree if name == BEFORE else ROOT, seed, *options.get(name, [])))
                print(f"{name}, seed {seed}: {own[-1]['whole']:.0f} s", flush=True)
    return runs


def main() -> int:
    """Make the runs and write what they took."""
    sys.path.insert(0, str(ROOT))
    from autosim.reports.table import Table
    from autosim.runs.summary import without_out
    from benchmarks.record import made_now

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, help="commit to compare with")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each kind (default: 2)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder to write to")
    arguments = parser.parse_args()
    if arguments.seeds < 1:
        parser.error("--seeds has to be at least 1")
    runs = make_all(arguments.before, range(arguments.seeds))
    rows = summarised(runs)
    command = without_out(shlex.join(["python", "benchmarks/main_job.py", *sys.argv[1:]]))
    named = [{"kind": name, **row} for name, row in rows.items()]
    shown = Table.from_json(table(rows))
    record = made_now(command, shown, named, list(range(arguments.seeds)), details={"runs": runs})
    record.write(arguments.out / "main_job.json")
    text = f"# The main job\n\n{record.markdown()}\n"
    (arguments.out / "main_job.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
