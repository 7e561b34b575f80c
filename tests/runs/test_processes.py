"""Jobs in processes of their own: order, failures, threads, Ctrl-C."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from autosim.errors import UserError
from autosim.runs.processes import Event, WorkerProcesses


def note(item: tuple[Path, str]) -> None:
    """A job as the word says; it leaves a file with its process and the threads that libraries may use."""
    folder, word = item
    print(f"at {word}")
    if word == "raise":
        raise ValueError("a value\nof two lines")
    if word == "mistake":
        raise UserError("no such thing")
    if word == "die":
        os._exit(5)
    if word == "wait":
        time.sleep(60)
    (folder / word).write_text(f"{os.getpid()} {os.environ.get('OMP_NUM_THREADS')}")


def ready() -> None:
    print("ready")


def kinds(events: list[Event]) -> dict[int, tuple[str, str]]:
    return {event.index: (event.kind, event.cause) for event in events if event.kind != "started"}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_job_that_fails_does_not_stop_the_others(tmp_path: Path, workers: int, many_threads: None) -> None:
    words = ["a", "raise", "mistake", "b", *(["die"] if workers else []), "c", "d"]
    events: list[Event] = []
    with WorkerProcesses(workers, tmp_path / "log", ready) as processes:
        processes.run(note, [(tmp_path, word) for word in words], events.append)
        processes.run(note, [(tmp_path, "e")], events.append)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c", "d", "e", "log"]
    ended = kinds(events[:-2])
    assert ended[1] == ("failed", "ValueError: a value of two lines")
    assert ended[2] == ("failed", "no such thing")
    assert [event.mendable for event in events if event.kind == "failed"][:2].count(True) == 1
    done = [words[i] for i, (kind, _) in ended.items() if kind == "done"]
    assert sorted(done) == ["a", "b", "c", "d"]
    assert [event.index for event in events[:-2] if event.kind == "started"] == list(range(len(words)))
    log = (tmp_path / "log").read_text()
    assert "Traceback" in log and "at a" in log
    used = {(tmp_path / name).read_text().split()[0] for name in "abcde"}
    if workers:
        assert ended[4] == ("failed", "its process ended with exit code 5")
        assert 1 <= len(used) <= 3 and str(os.getpid()) not in used
        assert {(tmp_path / name).read_text().split()[1] for name in "abcde"} == {"1"}
        assert 2 <= log.count("ready") <= 3
    else:
        assert used == {str(os.getpid())}


def test_ctrl_c_ends_the_processes_at_once(tmp_path: Path) -> None:
    import multiprocessing

    def interrupt() -> None:
        if (tmp_path / "a").exists():
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), WorkerProcesses(2, tmp_path / "log") as processes:
        processes.run(note, [(tmp_path, "wait"), (tmp_path, "a"), (tmp_path, "wait")], lambda event: None, interrupt)
    assert time.monotonic() - started < 30
    assert multiprocessing.active_children() == []
