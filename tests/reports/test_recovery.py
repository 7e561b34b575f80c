"""How far attributes moved: closed forms, and slots compared as a set."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosim.reports.recovery import Summary, match_slots, recoveries
from autosim.scenes.generator import CategoricalSummary, ContinuousSummary
from autosim.scenes.graph import Categorical, Continuous, NodeClass, Schema

LIGHT = NodeClass(
    "light",
    (
        Continuous("power", 0.0, 100.0),
        Continuous("angle", 0.0, 360.0, periodic=True),
        Categorical("kind", ("sun", "lamp", "sky")),
    ),
)
OBJECTS = NodeClass("object", (Continuous("x", -10.0, 10.0), Continuous("y", -10.0, 10.0)), slots=3)
SCHEMA = Schema((LIGHT, OBJECTS))
Points = list[tuple[float, float]]


def mean(value: float) -> ContinuousSummary:
    return ContinuousSummary(value, 1.0)


def objects(*points: tuple[float, float]) -> dict[str, Summary]:
    return {
        f"object.{i}.{axis}": mean(v) for i, point in enumerate(points) for axis, v in zip("xy", point, strict=True)
    }


def one(key: str, start: Summary, learned: Summary, target: Summary) -> float | None:
    return recoveries(SCHEMA, {key: start}, {key: learned}, {key: target})[key].recovered


@pytest.mark.parametrize(("learned", "expected"), [(10.0, 0.0), (50.0, 1.0), (40.0, 0.75), (60.0, 0.75), (0.0, -0.25)])
def test_a_continuous_attribute_moves_by_the_share_of_its_way(learned: float, expected: float) -> None:
    assert one("light.power", mean(10.0), mean(learned), mean(50.0)) == pytest.approx(expected)


def test_an_angle_goes_the_short_way_round() -> None:
    assert one("light.angle", mean(340.0), mean(10.0), mean(20.0)) == pytest.approx(0.75)


def test_categories_move_by_total_variation() -> None:
    start, learned, target = ((0.8, 0.1, 0.1), (0.2, 0.7, 0.1), (0.1, 0.8, 0.1))
    moved = one("light.kind", CategoricalSummary(start), CategoricalSummary(learned), CategoricalSummary(target))
    assert moved == pytest.approx(1 - 0.1 / 0.7)


def test_a_start_that_is_there_already_has_no_way_to_move() -> None:
    assert one("light.power", mean(50.5), mean(70.0), mean(50.0)) is None
    assert one("light.power", mean(51.5), mean(50.0), mean(50.0)) == pytest.approx(1.0)


def test_slots_that_change_places_have_arrived_all_the_same() -> None:
    start = objects((-5, -5), (-5, 0), (-5, 5))
    target = objects((5, 5), (5, -5), (0, 3))
    learned = objects((0, 3), (5, 5), (5, -5))
    result = recoveries(SCHEMA, start, learned, target)
    assert result["object.0.x"].learned_key == "object.1.x"
    assert result["object.2.location"].learned_key == "object.0.location"
    shares = [move.recovered for move in result.values()]
    assert all(share is None or share == pytest.approx(1.0) for share in shares)


def test_a_location_counts_as_one_vector() -> None:
    start, target = objects((0, 0)), objects((3, 4))
    result = recoveries(SCHEMA, start, objects((3, 1)), target)
    assert result["object.0.location"].recovered == pytest.approx(1 - 3 / 5)
    assert result["object.0.x"].recovered == pytest.approx(1.0)
    assert result["object.0.y"].recovered == pytest.approx(1 - 3 / 4)


points = st.lists(st.tuples(*[st.integers(-10, 10).map(float)] * 2), min_size=3, max_size=3)


@given(points, points)
def test_slots_are_matched_at_the_least_total_distance(sources: Points, targets: Points) -> None:
    match = match_slots(OBJECTS, objects(*sources), objects(*targets))
    assert sorted(match) == sorted(match.values()) == [0, 1, 2]

    def total(order: tuple[int, ...]) -> float:
        return sum(float(np.hypot(*np.subtract(sources[s], targets[t]))) for t, s in enumerate(order))

    best = min(total(order) for order in itertools.permutations(range(3)))
    assert total(tuple(match[t] for t in range(3))) == pytest.approx(best)


@given(points, points, points, st.permutations(range(3)))
def test_the_order_of_learned_slots_does_not_matter(
    start: Points, learned: Points, target: Points, order: list[int]
) -> None:
    def total_distance(points: Points) -> float:
        match = match_slots(OBJECTS, objects(*points), objects(*target))
        return sum(float(np.hypot(*np.subtract(points[s], target[t]))) for t, s in match.items())

    shuffled = [learned[i] for i in order]
    assert total_distance(shuffled) == pytest.approx(total_distance(learned))
    moved = recoveries(SCHEMA, objects(*start), objects(*shuffled), objects(*target))
    assert set(moved) == {f"object.{i}.{part}" for i in range(3) for part in ("x", "y", "location")}


def test_json_holds_summaries_and_matched_slots() -> None:
    result = recoveries(SCHEMA, objects((0, 0), (9, 9)), objects((9, 9), (2, 0)), objects((4, 0), (9, 9)))
    entry = result["object.0.x"].to_json()
    assert entry["start"] == {"mean": 0.0, "std": 1.0}
    assert entry["learned_key"] == "object.1.x" and "start_key" not in entry
    assert entry["recovered"] == 0.5
    assert result["object.1.x"].to_json()["recovered"] is None
