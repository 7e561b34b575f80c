"""Zoomed pictures: what is in a box stays in it, boxes stay in the picture, what is cut off is left out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autosim.learning.tasks.kitti_precision import LEVELS
from autosim.learning.tasks.zoom import LEFT, zoomed
from autosim.seeding import torch_seeded

HEIGHT, WIDTH = 48, 64


def picture(box: tuple[int, int, int, int], columns: int = 5) -> tuple[Tensor, Tensor]:
    """A bright rectangle on black, and its row."""
    x0, y0, x1, y1 = box
    image = torch.zeros(3, HEIGHT, WIDTH)
    image[:, y0:y1, x0:x1] = 1.0
    return image, torch.tensor([[x0, y0, x1, y1, 0.0, 0.0][:columns]])


def area(rows: Tensor) -> Tensor:
    return (rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1])


@given(st.integers(0, 40), st.integers(0, 30), st.integers(0, 2**31 - 1), st.floats(1.0, 4.0))
@settings(max_examples=40)
def test_boxes_stay_around_what_they_are_of(x: int, y: int, seed: int, most: float) -> None:
    image, row = picture((x, y, x + 20, y + 16))
    before = image.clone()
    with torch_seeded(seed):
        (moved,), (rows,) = zoomed(image[None], [row], most)
    assert moved.shape == image.shape and torch.equal(image, before)
    assert bool(((moved >= -1e-6) & (moved <= 1 + 1e-6)).all())
    for x0, y0, x1, y1, kind in rows.tolist():
        assert 0 <= x0 < x1 <= WIDTH and 0 <= y0 < y1 <= HEIGHT and kind == 0
        # Pixels that are wholly within; an edge between two of them is blurred.
        inside = moved[:, int(y0) + 2 : int(y1) - 1, int(x0) + 2 : int(x1) - 1]
        assert inside.numel() == 0 or float(inside.mean()) > 0.99


def test_factors_are_spread_evenly_up_to_the_largest() -> None:
    image, row = picture((31, 23, 33, 25))
    with torch_seeded(0):
        _, found = zoomed(image.expand(400, -1, -1, -1), [row] * 400, 2.0)
    factors = torch.cat([(area(rows) / 4).sqrt() for rows in found])
    assert len(factors) > 350 and 0.5 <= float(factors.min()) < 0.52 and 1.9 < float(factors.max()) <= 2.0001
    assert float(factors.log().mean()) == pytest.approx(0.0, abs=0.06)


def test_what_is_mostly_cut_off_is_left_out_or_counts_no_more() -> None:
    image, row = picture((0, 0, 8, 8), columns=6)
    with torch_seeded(1):
        _, kept = zoomed(image.expand(100, -1, -1, -1), [row] * 100, 2.0)
    with torch_seeded(1):
        _, plain = zoomed(image.expand(100, -1, -1, -1), [row[:, :5]] * 100, 2.0)
    counts = [float(rows[0, 5]) < len(LEVELS) for rows in kept]
    assert all(len(rows) == 1 for rows in kept) and 0 < sum(counts) < 100
    assert counts == [len(rows) == 1 for rows in plain]
    # What counts shows enough of a square that was scaled by at least a half.
    assert all(float(area(rows)[0]) >= LEFT * 0.25 * 64 - 1e-3 for rows, well in zip(kept, counts, strict=True) if well)


def test_equal_seeds_give_equal_pictures_and_a_factor_of_one_changes_nothing() -> None:
    image, row = picture((10, 10, 30, 30))
    made = []
    for seed in (3, 3, 4):
        with torch_seeded(seed):
            made.append(zoomed(image[None], [row], 1.6)[0])
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])
    (same,), (rows,) = zoomed(image[None], [row], 1.0)
    torch.testing.assert_close(same, image, atol=1e-5, rtol=0)
    assert torch.equal(rows, row)
