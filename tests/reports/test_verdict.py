"""The verdict of a run: what its figures allow to be said, and no more."""

from __future__ import annotations

from typing import Any

import pytest

from autosim.reports.verdict import gain, noise, verdict


def summary(**changes: Any) -> dict[str, Any]:
    """That of a run which closed 95 % of the gap."""
    scores = {"prior_score": 0.4, "test_score": 0.78, "oracle_score": 0.8, "gap_closed": 0.95, "test_scores": [0.78]}
    known = {"env": "yard", "score_name": "mIoU", "iterations": 80, "interrupted": False}
    return {**known, **scores, "attributes": {}, "seen": {}, **changes}


def test_a_gain_is_told_with_what_there_was_to_gain() -> None:
    told = verdict(summary())
    assert told[0] == "The task gained: mIoU 0.400 from the start's images, 0.780 from the learned ones."
    assert told[1] == "The target's own distribution gives 0.800: 95 % of the gap is closed."
    assert told[-1].startswith("Next: autosim export")


def test_less_than_another_network_would_change_is_no_gain() -> None:
    told = verdict(summary(test_score=0.42, gap_closed=0.05))
    assert told[0].startswith("No gain that can be told from chance") and "0.04" in told[0]
    assert told[-1].startswith("Next: another method (autosim list --env yard)")


@pytest.mark.parametrize(
    ("each", "expected"), [([0.5], 2 * 0.015 * 2**0.5), ([0.4, 0.5, 0.6], 2 * 0.1 * (2 / 3) ** 0.5), ([], 0.0424264)]
)
def test_noise_is_twice_the_standard_error_of_a_difference(each: list[float], expected: float) -> None:
    assert noise({"test_scores": each}) == pytest.approx(expected)


def test_more_networks_tell_a_smaller_gain() -> None:
    small = {"prior_score": 0.40, "test_score": 0.42}
    assert gain(summary(**small)) == 0.0
    assert gain(summary(**small, test_scores=[0.419, 0.42, 0.421])) == pytest.approx(0.02)


def test_a_loss_is_told_as_such() -> None:
    told = verdict(summary(test_score=0.3, gap_closed=-0.25))
    assert told[0].startswith("The task lost: mIoU 0.400") and told[0].endswith("Do not use what was learned.")
    assert told[-1].startswith("Next: another method")


def test_a_start_that_cannot_be_bettered_is_told() -> None:
    told = verdict(summary(oracle_score=0.41, test_score=0.41, gap_closed=1.0))
    assert "There was nothing to gain: the target's own distribution gives 0.410." in told
    assert told[-1].startswith("Next: a harder target")


def test_structure_that_was_learned_is_told_with_the_attributes() -> None:
    structure = {"number of car": {"recovered": 0.9}, "car.kind": {"recovered": 0.1}}
    told = verdict(summary(structure=structure, attributes={"car.x": {"recovered": 0.5}}))
    assert "Found: number of car; on the way: car.x; not found: car.kind." in told


def test_a_gap_half_closed_asks_for_more() -> None:
    told = verdict(summary(test_score=0.6, gap_closed=0.5))
    assert told[-1].startswith("Next: more iterations than 80 (--algo.iterations)")


@pytest.mark.parametrize(("broad", "words"), [(0.77, "it does as well without any learning"), (0.5, "was worth it")])
def test_broad_randomisation_is_the_control(broad: float, words: str) -> None:
    told = verdict(summary(oracle_score=None, gap_closed=None, broad_score=broad, real_score=0.9))
    assert any(words in sentence for sentence in told)
    assert "Training on the real images gives 0.900." in told


def test_without_scores_nothing_is_claimed() -> None:
    told = verdict(summary(prior_score=None, test_score=None, oracle_score=None, gap_closed=None, test_scores=[]))
    assert told[0].startswith("The task's gain is not known") and "--target.test DIR" in told[-1]


def test_an_interrupted_run_says_so_alone() -> None:
    assert verdict(summary(interrupted=True)) == [
        "Interrupted after 80 iterations: what was learned was not scored."
    ]  # fmt: skip


def test_attributes_are_found_on_the_way_or_not_and_a_location_stands_for_its_coordinates() -> None:
    shares = {"sun.power": 0.9, "sun.angle": 0.5, "sun.kind": -0.2, "ball.x": 0.1, "ball.y": 0.8, "ball.location": 0.8}
    moved = {key: {"recovered": share} for key, share in shares.items()}
    told = verdict(summary(attributes={**moved, "ball.size": {"recovered": None}}))
    assert "Found: sun.power, ball.location; on the way: sun.angle; not found: sun.kind." in told


def test_many_names_are_counted() -> None:
    moved = {f"a.{i}": {"recovered": 1.0} for i in range(9)}
    assert "Found: a.0, a.1, a.2, a.3, a.4, a.5 and 3 more." in verdict(summary(attributes=moved))


def test_what_the_features_do_not_see_is_named() -> None:
    told = verdict(summary(seen={"ball.material": 0.03, "ball.size": 0.6}))
    assert "Not seen: ball.material; nothing was learned of these." in told
    assert not any("ball.size" in each for each in told)
