"""Tables of ``scaling.py`` and ``soak.py``: what is held to a figure is told as it is."""

from __future__ import annotations

from typing import Any

from benchmarks import scaling, soak


def scaled(pool: float, cost: float, share: float) -> dict[str, Any]:
    rates = {
        "a loop in one process": 24.0,
        "the scene built anew for each image, one process": 12.0,
        "multiprocessing.Pool, 2 processes": 50.0,
        "the render pool, 2 actors": pool,
        f"a fresh process for each data set of {scaling.DATASET}, 2 at once": 10.0,
    }
    return {
        "cores": 2,
        "clevr": [{"name": name, "images_per_second": rate} for name, rate in rates.items()],
        "overhead": {"images": 100, "microseconds": cost},
        "sleepers": [
            {"actors": actors, "milliseconds": 50, "share_of_linear": share * (1 if actors == 64 else 2)}
            for actors in (1, 64)
        ],
    }


def test_each_figure_is_held_to_its_bound() -> None:
    good = scaling.judged(scaled(49.0, 40.0, 0.95))["lines"]
    assert [line[3] for line in good] == ["yes", "yes", "–", "–", "yes", "yes"]
    assert [line[1] for line in good] == ["49.0", "0.98", "× 4.9", "× 2.0", "40", "0.95"]
    bad = scaling.judged(scaled(44.0, 51.0, 0.8))["lines"]
    assert [line[3] for line in bad] == ["**no**", "**no**", "–", "–", "**no**", "**no**"]


def test_a_soak_tells_what_was_killed_and_whether_numbers_are_the_same() -> None:
    part = {"kills": 7, "same": True, "seconds": 9.0}
    found = {
        "iterations": 3,
        "seconds": 5.0,
        "actors": part,
        "drivers": {**part, "kills": 2, "same": False},
        "memory": {"frames": 10_000, "growth_mebibytes": {"an actor": -0.25}},
    }
    lines = soak.judged(found)["lines"]
    assert lines[1][1:] == ["7 times", "9", "the same numbers"]
    assert lines[2][1:] == ["2 times", "9", "**not the same numbers**"]
    assert lines[3][3] == "-0.2 MiB"


def test_times_are_what_two_runs_may_differ_in() -> None:
    figures = {"images": 3, "seconds": 1.5, "setup_seconds": 2.0, "date": "today", "command": "autosim run"}
    assert soak.timeless(figures) == {"images": 3}
