"""Distributions from readings: known parameters found again, and attributes that are not seen left alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from autosim.learning.inference.angles import GRID, normals
from autosim.learning.inference.attributes import ReadClass
from autosim.learning.inference.calibration import Calibration, Frequencies, Readings, corrected, tempered
from autosim.learning.inference.distribution import aligned, inferred, likely, shared_out
from autosim.scenes.generator import AttributeSummary, CategoricalSummary, ContinuousSummary
from autosim.scenes.graph import Categorical, Continuous

LAMP = ReadClass(
    "lamp", True, 1,
    (Continuous("power", 0.0, 100.0),), (Categorical("kind", ("sun", "sky", "bulb")),),
    (Continuous("angle", 0.0, 360.0, periodic=True),),
)  # fmt: skip
BALLS = ReadClass(
    "ball", False, 3, (Continuous("x", -10.0, 10.0), Continuous("y", -10.0, 10.0)), (Categorical("skin", ("a", "b")),)
)
BALL_KEYS = ("ball.0", "ball.1", "ball.2")
PLACES = np.array([[0.2, 0.3], [0.5, 0.7], [0.8, 0.4]])
SPREADS = np.array([0.03, 0.06, 0.02])
SEED = np.random.SeedSequence(0)


def certain(read: ReadClass, noise: float = 0.01, explained: float = 1.0) -> Calibration:
    """A reader that is right but for noise."""
    count = len(read.continuous)
    shares = dict.fromkeys(read.attribute_keys(), explained)
    even = [np.full(size, 1.0 / size) for size in read.sizes]
    frequencies = Frequencies([np.ones(GRID)] * len(read.angles), even)
    ones = ([1.0] * len(read.angles), [1.0] * len(even))
    return Calibration(np.zeros(count), np.ones(count), np.full(count, noise), shares, frequencies, *ones)


def guesses(truth: NDArray[np.int64], choices: int, right: float) -> NDArray[np.float64]:
    """Calibrated probabilities (…, K) of a reader that is right so often."""
    rng = np.random.default_rng(1)
    wrong = (truth + rng.integers(1, choices, size=truth.shape)) % choices
    told = np.where(rng.random(truth.shape) < right, truth, wrong)
    return np.where(np.eye(choices, dtype=bool)[told], right, (1 - right) / (choices - 1))


def lamp_readings(n: int, noise: float) -> tuple[Readings, NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    power = rng.normal(0.6, 0.08, n) + rng.normal(0, noise, n)
    angle = (rng.normal(0.98, 0.05, n) + rng.normal(0, noise, n)) % 1.0
    kind = rng.choice(3, size=n, p=(0.7, 0.2, 0.1))
    means, angles = power[:, None, None], normals(angle[:, None], np.full((n, 1), noise))
    present = np.ones((n, 1), dtype=bool)
    return Readings(present, means, np.full_like(means, noise), [angles], [guesses(kind[:, None], 3, 0.7)]), kind


def two_ways(angles: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
    """(n, 1, GRID) readings of things that look the same turned by half a circle."""
    spread = np.full((len(angles), 1), noise)
    return (normals(angles[:, None], spread) + normals(angles[:, None] + 0.5, spread)) / 2


def test_of_two_angles_that_look_the_same_one_is_found_for_all_pictures() -> None:
    rng = np.random.default_rng(0)
    true = (0.1 + rng.normal(0, 0.02, 60)) % 1.0
    found, _ = lamp_readings(60, 0.02)
    found = Readings(found.present, found.means, found.sigmas, [two_ways(true, 0.01)], found.choices)
    result = inferred(LAMP, found, certain(LAMP, 0.02), {}, ("lamp",), SEED)
    angle = result["lamp.angle"]
    assert isinstance(angle, ContinuousSummary)
    turn = angle.mean / 360
    assert min(abs(turn - 0.1), abs(turn - 0.6)) < 0.01 and angle.std / 360 == pytest.approx(0.02, abs=0.007)
    # In every picture it is read as that one of the two which the distribution says.
    _, angles = likely(LAMP, found, certain(LAMP, 0.02), result, "lamp")
    gap = (angles[:, 0] - true - (0.5 if turn > 0.35 else 0.0) + 0.5) % 1.0 - 0.5
    assert np.abs(gap).max() < 0.02


def test_a_single_node_s_distribution_is_found_without_the_reader_s_noise() -> None:
    found, _ = lamp_readings(400, noise=0.06)
    result = inferred(LAMP, found, certain(LAMP, 0.06), {}, ("lamp",), SEED)
    power, angle, kind = (result[f"lamp.{name}"] for name in ("power", "angle", "kind"))
    assert isinstance(power, ContinuousSummary) and isinstance(angle, ContinuousSummary)
    assert power.mean == pytest.approx(60.0, abs=1.5) and power.std == pytest.approx(8.0, abs=1.5)
    # Across the seam of the circle, where the plain mean would be far off.
    assert (angle.mean - 0.98 * 360 + 180) % 360 - 180 == pytest.approx(0.0, abs=4.0)
    assert angle.std == pytest.approx(18.0, abs=4.0)
    # Plain frequencies of the guesses would be .55, .25, .20.
    assert isinstance(kind, CategoricalSummary)
    assert kind.probabilities == pytest.approx((0.7, 0.2, 0.1), abs=0.07)


def ball_readings(n: int, missed: float = 0.0, false: float = 0.0) -> Readings:
    """Three balls in any order, some missed, some made up."""
    rng = np.random.default_rng(0)
    places = PLACES + rng.normal(size=(n, 3, 2)) * SPREADS[:, None]
    skins = (rng.random((n, 3)) < np.array([0.9, 0.1, 0.5])).astype(np.int64)
    present = rng.random((n, 3)) >= missed
    made_up = rng.random((n, 3)) < false
    places = np.where(made_up[..., None], rng.random((n, 3, 2)), places)
    for row in range(n):
        order = rng.permutation(3)
        places[row], skins[row], present[row] = places[row][order], skins[row][order], present[row][order]
    noisy = places + rng.normal(0, 0.01, size=places.shape)
    return Readings(present, noisy, np.full_like(noisy, 0.01), [], [guesses(skins, 2, 0.85)])


@pytest.mark.parametrize(("missed", "false"), [(0.0, 0.0), pytest.param(0.3, 0.0, marks=pytest.mark.slow), (0.1, 0.05)])
def test_slots_are_found_in_any_order_with_some_missed_and_some_false(missed: float, false: float) -> None:
    result = inferred(BALLS, ball_readings(150, missed, false), certain(BALLS), {}, BALL_KEYS, SEED)
    found = np.array([[result[f"{key}.{axis}"].mean for axis in "xy"] for key in BALL_KEYS])  # type: ignore[union-attr]
    spreads = np.array([result[f"{key}.x"].std for key in BALL_KEYS]) / 20  # type: ignore[union-attr]
    skins = np.array([result[f"{key}.skin"].probabilities[1] for key in BALL_KEYS])  # type: ignore[union-attr]
    units = (found + 10) / 20
    order = list(min(itertools.permutations(range(3)), key=lambda way: float(np.abs(units[list(way)] - PLACES).sum())))
    assert units[order] == pytest.approx(PLACES, abs=0.02)
    assert spreads[order] == pytest.approx(SPREADS, abs=0.015 if not false else 0.04)
    assert skins[order] == pytest.approx([0.9, 0.1, 0.5], abs=0.15)


def test_what_is_not_seen_keeps_its_start() -> None:
    found, _ = lamp_readings(50, 0.02)
    calibration = certain(LAMP)
    calibration.explained["lamp.kind"] = 0.05
    assert set(inferred(LAMP, found, calibration, {}, ("lamp",), SEED)) == {"lamp.power", "lamp.angle"}
    assert inferred(LAMP, found, certain(LAMP, explained=0.0), {}, ("lamp",), SEED) == {}


def test_nothing_found_keeps_the_start() -> None:
    start: dict[str, AttributeSummary] = {
        f"{key}.{axis}": ContinuousSummary(place, 1.0) for place, key in zip((-5.0, 0.0, 5.0), BALL_KEYS, strict=True)
        for axis in "xy"
    }  # fmt: skip
    found = ball_readings(10, missed=1.0)
    result = inferred(BALLS, found, certain(BALLS), start, BALL_KEYS, SEED)
    assert [result[f"{key}.x"].mean for key in BALL_KEYS] == pytest.approx([-5.0, 0.0, 5.0])  # type: ignore[union-attr]


def test_the_pull_to_the_middle_is_taken_out() -> None:
    calibration = certain(LAMP, 0.02)
    calibration.offset, calibration.slope = np.array([0.2]), np.array([0.6])
    means, present = np.array([[[0.2 + 0.6 * 0.9]]]), np.ones((1, 1), dtype=bool)
    values, noise = corrected(Readings(present, means, np.full_like(means, 0.02), [], []), calibration)
    assert values[0, 0] == pytest.approx([0.9])
    assert noise[0, 0] == pytest.approx([0.02 / 0.6])


def test_slots_of_an_estimate_are_put_in_the_known_order() -> None:
    known: dict[str, AttributeSummary] = {}
    turned: dict[str, AttributeSummary] = {}
    for slot, place in enumerate((-5.0, 0.0, 5.0)):
        for keys, at in ((known, slot), (turned, (slot + 1) % 3)):
            keys |= {f"ball.{at}.x": ContinuousSummary(place, 1.0), f"ball.{at}.y": ContinuousSummary(-place, 2.0)}
    assert turned != known and aligned(turned, known, BALLS, BALL_KEYS) == known


def test_probabilities_that_are_too_sure_are_tempered() -> None:
    sure = np.array([[0.99, 0.01], [0.2, 0.8]])
    assert tempered(sure, 1.0) == pytest.approx(sure)
    assert tempered(sure, 2.0)[0] == pytest.approx(np.sqrt([0.99, 0.01]) / np.sqrt([0.99, 0.01]).sum())
    assert (tempered(sure, 3.0).argmax(axis=1) == sure.argmax(axis=1)).all()


def test_choices_that_are_taken_for_one_another_share_their_probability() -> None:
    """Of four choices the first two look alike; the third is told from all, and nothing is known of the fourth."""
    alike, told = [0.5, 0.5, 1e-9, 1e-9], [1e-9, 1e-9, 1.0, 1e-9]
    likelihoods = np.array([alike, alike, told, alike])
    shared = shared_out(CategoricalSummary((0.6, 0.0, 0.3, 0.1)), likelihoods, np.array([0, 1, 2, 0]))
    assert shared.probabilities == pytest.approx((0.3, 0.3, 0.3, 0.1), abs=1e-6)


def test_few_pictures_rule_out_most_of_many_choices() -> None:
    """What is added to how often each choice is made does not grow with their number."""
    many = ReadClass("lamp", True, 1, (), (Categorical("cell", tuple(map(str, range(54)))),), ())
    truth = np.full(40, 7)
    probability = np.full((40, 1, 54), 0.01 / 53)
    probability[:, 0, truth] = 0.99
    nothing = np.zeros((40, 1, 0))
    found = Readings(np.ones((40, 1), dtype=bool), nothing, nothing, [], [probability])
    summary = inferred(many, found, certain(many), {}, ("lamp",), SEED)["lamp.cell"]
    assert isinstance(summary, CategoricalSummary)
    assert summary.probabilities[7] > 0.95
