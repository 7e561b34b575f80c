"""How far influences point towards the target."""

from __future__ import annotations

import math

import numpy as np
import pytest

from algorithms.autosimulate import AutoSimulateConfig
from benchmarks.papers.influence_ages import AGES, WAYS, measure, record_of, towards
from tests.support.helpers import blob_session


def test_it_is_the_correlation_towards_the_target_in_units_of_chance() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((400, 3))
    signal = 3.0 * values[:, 0] + 1.0
    assert towards(signal, values, np.array([0.5, 0.0, 0.04])) == pytest.approx(20.0)
    assert towards(signal, values, np.array([-0.5, 0.0, 0.0])) == pytest.approx(-20.0)
    # One attribute tells all, another nothing.
    assert towards(signal, values, np.array([0.5, 0.0, 0.5])) == pytest.approx(10.0, abs=1.0)
    chance = [towards(rng.standard_normal(400), values, np.ones(3)) for _ in range(200)]
    assert np.std(chance) == pytest.approx(1 / math.sqrt(3), rel=0.2) and abs(np.mean(chance)) < 0.15


@pytest.mark.usefixtures("one_thread")
def test_each_network_has_a_row_and_a_line() -> None:
    rows = [{"target": 5, **row} for row in measure(blob_session(), 12, AutoSimulateConfig(frames=4))]
    assert [(row["steps"], row["epochs"]) for row in rows] == [(age.steps, age.epochs) for age in AGES]
    assert all(math.isfinite(row[name]) for row in rows for name in WAYS)
    record = record_of([*rows, *({**row, "target": 6} for row in rows)], "python …", "blobs", 12)
    assert [line[0] for line in record.table.lines] == [age.name for age in AGES]
    assert record.table.lines[0][1].startswith(f"{rows[0]['linear']:.1f} (") and "targets 5, 6" in record.notes[0]
