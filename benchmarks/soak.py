"""Long trials of what must not break: ``python benchmarks/soak.py [--out DIR]``; it takes about half an hour.

One run of Meta-Sim on CLEVR is made undisturbed; the same with its render actors killed at random moments; and the same
with its own process killed (``kill -9``) at random moments and resumed each time. All three have to end with the same
``summary.json`` and ``metrics.jsonl``, times apart. Then a pool renders on and on while the memory of its processes is
watched. Writes ``soak.json`` and ``soak.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RUN = ["--algo=metasim", "--env=clevr", "--workers=2", "--checkpoint_every=2", "--checkpoint_seconds=5"]
# What depends on when and how often a run was begun.
OF_THE_MOMENT = ("date", "command", "peak_memory")
# Frames between two measurements of memory, and how many measurements are left out at the start.
LOOK, SETTLED = 500, 4

Figures = dict[str, Any]


def command(*options: str) -> list[str]:
    """A run, from the command line."""
    return [sys.executable, str(ROOT / "benchmarks" / "run.py"), *options]


def begin(log: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a run whose output goes to ``log``."""
    with log.open("ab") as file:
        return subprocess.Popen(command(*options), stdout=file, stderr=file, start_new_session=True)


def results(folder: Path) -> tuple[Figures, list[Figures]]:
    """Summary and metrics of a finished run, without times."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return timeless(summary), [timeless(json.loads(line)) for line in lines]


def timeless(figures: Figures) -> Figures:
    """All but times."""
    return {k: v for k, v in figures.items() if not k.endswith("seconds") and k not in OF_THE_MOMENT}


def actors_of(process: int) -> list[int]:
    """Processes of the render actors below a process."""
    import psutil

    try:
        below = psutil.Process(process).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    found = []
    for child in below:
        try:
            if child.cmdline()[:1] and "_RenderActor" in child.cmdline()[0]:
                found.append(child.pid)
        except psutil.Error:
            continue
    return sorted(found)


def kill_actors(folder: Path, options: Sequence[str], rng: random.Random, pause: float) -> Figures:
    """Make the run, and kill one of its render actors every ``pause`` seconds or so until it ends."""
    import psutil

    kills = 0
    process = begin(folder.with_suffix(".log"), *options, f"--out={folder}")
    while process.poll() is None:
        time.sleep(rng.uniform(0.5, 1.5) * pause)
        if actors := actors_of(process.pid):
            try:
                psutil.Process(rng.choice(actors)).kill()
                kills += 1
            except psutil.NoSuchProcess:
                continue
    return {"kills": kills, "exit": process.returncode}


def kill_drivers(folder: Path, options: Sequence[str], rng: random.Random, kills: int, alive: float) -> Figures:
    """Make the run, and kill and resume it so many times; each life lasts up to ``alive`` seconds."""
    log = folder.with_suffix(".log")
    process = begin(log, *options, f"--out={folder}")
    made, steps = 0, []
    while made < kills and process.poll() is None:
        try:
            process.wait(rng.uniform(0, alive))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            made += 1
            known = folder / "metrics.jsonl"
            steps.append(len(known.read_text(encoding="utf-8").splitlines()) if known.exists() else 0)
            resumable = (folder / "config.yaml").exists()
            process = begin(log, f"--resume={folder}") if resumable else begin(log, *options, f"--out={folder}")
    return {"kills": made, "iterations_at_kills": steps, "exit": process.wait()}


def measure_memory(count: int) -> Figures:
    """Bytes that the processes hold for themselves after every so many frames of CLEVR, two actors."""
    import psutil

    from autosim.rendering.actors.pool import RayPool
    from autosim.rendering.actors.supervisor import SupervisorSettings
    from benchmarks.scaling import clevr

    renderer, scenes = clevr(samples=2)
    looks: dict[str, list[float]] = {"this process": [], "an actor": []}
    with RayPool(renderer, 2, settings=SupervisorSettings(most_growth=1 << 40)) as pool:
        pool.warm_up()
        for start in range(0, count, LOOK):
            chosen = [scenes[i % len(scenes)] for i in range(start, start + LOOK)]
            pool.render(chosen, range(start, start + LOOK))
            actors = [psutil.Process(pid).memory_full_info().uss for pid in actors_of(os.getpid())]
            looks["an actor"].append(statistics.mean(actors) / 2**20)
            looks["this process"].append(psutil.Process().memory_full_info().uss / 2**20)
            if start % 5000 == 0:
                print(f"{start + LOOK:,} frames: {looks['an actor'][-1]:.1f} MiB an actor", flush=True)
        replaced = pool.replaced
    settled = {name: values[SETTLED:] for name, values in looks.items()}
    return {
        "frames": count,
        "replaced": replaced,
        "mebibytes": {name: [round(value, 1) for value in values] for name, values in looks.items()},
        "growth_mebibytes": {name: round(values[-1] - values[0], 2) for name, values in settled.items()},
    }


def judged(found: Figures) -> Figures:
    """What was found, as a table."""
    run = f"Meta-Sim on CLEVR, {found['iterations']} iterations, two actors"
    lines = [[f"{run}, undisturbed", "", f"{found['seconds']:.0f}", ""]]
    for name, part in (("render actors", found["actors"]), ("the run itself, resumed each time", found["drivers"])):
        same = "the same numbers" if part["same"] else "**not the same numbers**"
        lines.append([f"the same, killed: {name}", f"{part['kills']} times", f"{part['seconds']:.0f}", same])
    memory = found["memory"]
    for name, growth in memory["growth_mebibytes"].items():
        what = f"memory of {name}, CLEVR, from frame {LOOK * (SETTLED + 1):,} to {memory['frames']:,}"
        lines.append([what, "", "", f"{growth:+.1f} MiB"])
    return {"heads": ["what", "killed", "s", "outcome"], "lines": lines, "alignment": "lrrl"}


def main() -> int:
    """Make all of it and write it."""
    sys.path.insert(0, str(ROOT))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    from autosim.reports.table import Table
    from autosim.runs.summary import without_out
    from benchmarks.record import made_now

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder to write to")
    parser.add_argument("--iterations", type=int, default=60, help="of the run (default: 60)")
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between two kills of actors (default: 2)")
    parser.add_argument("--kills", type=int, default=20, help="of the run itself (default: 20)")
    parser.add_argument("--alive", type=float, default=30.0, help="most seconds of a life between two (default: 30)")
    parser.add_argument("--frames", type=int, default=20_000, help="rendered while memory is watched")
    arguments = parser.parse_args()
    rng = random.Random(0)
    options = [*RUN, f"--algo.iterations={arguments.iterations}"]
    found: Figures = {"iterations": arguments.iterations}
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        started = time.monotonic()
        begin(folder / "whole.log", *options, f"--out={folder / 'whole'}").wait()
        found["seconds"] = time.monotonic() - started
        print(f"undisturbed: {found['seconds']:.0f} s", flush=True)
        whole = results(folder / "whole")
        for part in ("actors", "drivers"):
            started, path = time.monotonic(), folder / part
            if part == "actors":
                figures = kill_actors(path, options, rng, arguments.pause)
            else:
                figures = kill_drivers(path, options, rng, arguments.kills, arguments.alive)
            same = figures["exit"] == 0 and results(path) == whole
            if not same:
                print(path.with_suffix(".log").read_text(encoding="utf-8")[-3000:])
            found[part] = {**figures, "same": same, "seconds": time.monotonic() - started}
            print(f"{part}: {figures['kills']} kills, same numbers: {same}", flush=True)
    found["memory"] = measure_memory(arguments.frames)
    command_line = shlex.join(["python", "benchmarks/soak.py", *sys.argv[1:]])
    rows = [{"killed": part, **found[part]} for part in ("actors", "drivers")]
    details = {name: found[name] for name in ("iterations", "seconds", "memory")}
    record = made_now(without_out(command_line), Table.from_json(judged(found)), rows, details=details)
    record.write(arguments.out / "soak.json")
    text = f"# Soak\n\n{record.markdown()}\n"
    (arguments.out / "soak.md").write_text(text, encoding="utf-8")
    print(text)
    return 0 if found["actors"]["same"] and found["drivers"]["same"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
