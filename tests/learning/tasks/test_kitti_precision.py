"""KITTI's average precision: its rules one by one, and its figures on drawn detections."""

from __future__ import annotations

import numpy as np
import pytest

from autosim.learning.tasks.average_precision import Found
from autosim.learning.tasks.kitti_precision import KittiPrecision, rated_by_height

EASY, MODERATE, HARD, NEVER = range(4)
CLASSES = ("Pedestrian", "Car")
CAR = (100.0, 100.0, 200.0, 150.0)
# By seed, class, interpolation (40, 11): easy, moderate, hard. From mmdet3d 1.4.0's port of the development kit.
PUBLISHED = {
    0: [
        [[0.0, 0.00843596, 0.13351982], [0.0, 0.09090909, 0.18282626]],
        [[0.00069444, 0.0263535, 0.15604677], [0.00534759, 0.06679426, 0.17018717]],
    ],
    1: [
        [[0.01793785, 0.11150654, 0.26224809], [0.06060606, 0.13701549, 0.27861999]],
        [[0.0025, 0.01640036, 0.08163303], [0.00909091, 0.02527203, 0.10012715]],
    ],
    2: [
        [[0.00102041, 0.03479167, 0.120974], [0.00478469, 0.04848485, 0.12563386]],
        [[0.0, 0.03021825, 0.13121435], [0.00109529, 0.06515152, 0.15960282]],
    ],
}


def found(*boxes: tuple[float, ...], kind: int = 1, scores: tuple[float, ...] | None = None) -> Found:
    rows = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    sure = np.array(scores if scores is not None else [0.9 - 0.1 * i for i in range(len(rows))])
    return Found(rows, np.full(len(rows), kind), sure)


def average(
    detections: Found, *truth: tuple[float, ...], level: int = MODERATE, overlap: float | None = None
) -> float | None:
    """Average precision of cars on many images like this one: of fewer than forty objects KITTI's never reaches 1."""
    return many(detections, *truth, overlap=overlap).average(1, level)


def many(
    detections: Found, *truth: tuple[float, ...], overlap: float | None = None, scale: float = 1.0
) -> KittiPrecision:
    measured = KittiPrecision(CLASSES, overlap)
    for _ in range(80):
        measured.add(detections, np.array(truth, dtype=np.float64).reshape(-1, 6), scale)
    return measured


def beside(box: tuple[float, ...], right: float = 200.0) -> tuple[float, ...]:
    """The same box further to the right."""
    return box[0] + right, box[1], box[2] + right, box[3]


def test_a_car_is_found_at_seven_tenths_and_others_at_half() -> None:
    shifted = (100.0, 100.0, 200.0, 150.0 * 0.8 + 20)  # .8 of the height
    assert average(found(CAR), (*CAR, 1, EASY)) == 1.0
    assert average(found(shifted), (*CAR, 1, EASY)) == 1.0
    low = (100.0, 100.0, 200.0, 130.0)  # .6
    assert average(found(low), (*CAR, 1, EASY)) == 0.0
    assert average(found(low), (*CAR, 1, EASY), overlap=0.5) == 1.0
    measured = many(found(low, kind=0), (*CAR, 0, EASY))
    assert measured.average(0, MODERATE) == 1.0 and measured.average(1, MODERATE) is None


def test_a_wrong_box_that_is_surer_halves_precision() -> None:
    detections = found(beside(CAR), CAR)
    assert average(detections, (*CAR, 1, EASY)) == 0.5
    # Less sure, it is behind the last threshold.
    assert average(found(CAR, beside(CAR)), (*CAR, 1, EASY)) == 1.0


@pytest.mark.parametrize(
    ("level", "expected"), [(EASY, (1.0, 1.0, 1.0)), (HARD, (None, None, 1.0)), (NEVER, (None, None, None))]
)
def test_objects_count_from_their_level_on(level: int, expected: tuple[float | None, ...]) -> None:
    assert tuple(average(found(CAR), (*CAR, 1, level), level=at) for at in (EASY, MODERATE, HARD)) == expected


def test_neither_found_nor_missed_harm_what_does_not_count() -> None:
    """A van, or a car too much occluded: found it is not wrong, missed it does not lack."""
    counted, van = (*CAR, 1, EASY), (*beside(CAR), 1, NEVER)
    assert average(found(beside(CAR), CAR), counted, van) == 1.0
    assert average(found(CAR), counted, van) == 1.0
    assert average(found(beside(CAR), beside(CAR), CAR), counted, van) == 0.5  # it is found once


def test_detections_in_regions_of_any_class_are_not_wrong() -> None:
    region = (290.0, 90.0, 420.0, 170.0, -1, NEVER)
    assert average(found(beside(CAR), beside(CAR), CAR), (*CAR, 1, EASY), region) == 1.0
    # Less than seven tenths of the box are inside.
    assert average(found(beside(CAR, 160.0), CAR), (*CAR, 1, EASY), region) == 0.5


def test_low_detections_are_not_wrong() -> None:
    low = (400.0, 100.0, 440.0, 130.0)
    assert average(found(low, CAR), (*CAR, 1, EASY), level=EASY) == 1.0
    assert average(found(low, CAR), (*CAR, 1, EASY), level=MODERATE) == 0.5
    half = [tuple(0.5 * x for x in box) for box in (low, CAR)]
    measured = many(found(*half), (*half[1], 1, EASY), scale=0.5)
    assert measured.average(1, EASY) == 1.0 and measured.average(1, MODERATE) == 0.5


def test_heights_make_levels_where_no_more_is_known() -> None:
    rows = np.array([[0, 0, 10, height, 1] for height in (41, 40, 26, 25)])
    assert rated_by_height(rows)[:, 5].tolist() == [EASY, MODERATE, MODERATE, NEVER]
    assert rated_by_height(rows * 0.5, 0.5)[:, 5].tolist() == [EASY, MODERATE, MODERATE, NEVER]


def test_names_of_classes_and_levels() -> None:
    measured = many(found(CAR), (*CAR, 1, MODERATE))
    assert measured.named() == {"Car moderate": 1.0, "Car hard": 1.0}
    assert measured.mean() == 1.0 and measured.mean(EASY) == 0.0


def drawn(seed: int) -> list[tuple[np.ndarray, Found]]:
    """Forty images: rated objects, and detections of which most are near one."""
    rng = np.random.default_rng(seed)
    kinds = ("Car", "Car", "Car", "Pedestrian", "Pedestrian", "Van", "Person_sitting", "DontCare")
    classes = {"Pedestrian": 0, "Person_sitting": 0, "Car": 1, "Van": 1, "DontCare": -1}
    images = []
    for _ in range(40):
        objects: list[tuple[str, list[float], int, float]] = []
        for _ in range(int(rng.integers(0, 8))):
            x, y = rng.uniform(0, 900), rng.uniform(50, 200)
            w, h = rng.uniform(20, 160), rng.uniform(15, 110)
            kind = kinds[int(rng.integers(8))]
            box = [round(float(v), 2) for v in (x, y, x + w, y + h)]
            objects.append((kind, box, int(rng.integers(0, 4)), round(float(rng.uniform(0, 0.6)), 2)))
        near = [each for each in objects if rng.random() < 0.85]
        base = np.array([box for _, box, _, _ in near] * 2, dtype=np.float64).reshape(-1, 4)
        noise, others = rng.normal(0, 2, base.shape), rng.uniform(0, 300, (3, 2, 2))
        boxes = np.concatenate([base + noise, np.sort(others, axis=1).reshape(-1, 4)])
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 2)
        said = np.array([int(kind in ("Car", "Van")) for kind, _, _, _ in near] * 2 + [1, 0, 1])
        said = np.where(rng.random(len(said)) < 0.1, 1 - said, said)
        rows = []
        for kind, box, occluded, truncated in objects:
            height, limits = box[3] - box[1], zip((40, 25, 25), (0, 1, 2), (0.15, 0.3, 0.5), strict=True)
            fits = [height > least and occluded <= o and truncated <= t for least, o, t in limits]
            counts = kind in CLASSES and any(fits)
            rows.append((*box, classes[kind], fits.index(True) if counts else NEVER))
        truth = np.array(rows, dtype=np.float64).reshape(-1, 6)
        images.append((truth, Found(boxes, said, rng.uniform(0, 1, len(boxes)).round(3))))
    return images


@pytest.mark.parametrize("seed", list(PUBLISHED))
def test_figures_are_those_of_another_evaluation(seed: int) -> None:
    for column, points in enumerate((40, 11)):
        measured = KittiPrecision(CLASSES, points=points)  # type: ignore[arg-type]
        for truth, detections in drawn(seed):
            measured.add(detections, truth)
        for kind in (0, 1):
            figures = [measured.average(kind, level) or 0.0 for level in (EASY, MODERATE, HARD)]
            assert figures == pytest.approx(PUBLISHED[seed][kind][column], abs=1e-6)
