"""Another look of pictures: in range, repeatable, each its own, and everything stays where it is."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autosim.learning.appearance import varied_look
from autosim.seeding import torch_seeded


def pictures(count: int) -> Tensor:
    """A red rectangle on grey, at another place in each."""
    images = torch.full((count, 3, 24, 32), 0.5)
    for i in range(count):
        images[i, 0, 4 : 4 + 8, 2 + i : 14 + i] = 0.9
        images[i, 1:, 4 : 4 + 8, 2 + i : 14 + i] = 0.2
    return images


def varied(images: Tensor, seed: int) -> Tensor:
    with torch_seeded(seed):
        return varied_look(images)


@given(st.integers(0, 5), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**31 - 1))
@settings(max_examples=40)
def test_shape_and_range_stay(count: int, height: int, width: int, seed: int) -> None:
    images = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))
    before = images.clone()
    changed = varied(images, seed)
    assert changed.shape == images.shape and changed.dtype == images.dtype
    assert bool(changed.isfinite().all()) and not (changed < 0).any() and not (changed > 1).any()
    assert torch.equal(images, before)


def test_equal_seeds_give_equal_looks_and_images_differ_in_theirs() -> None:
    images = pictures(1).expand(6, -1, -1, -1)
    changed = varied(images, 0)
    assert torch.equal(changed, varied(images, 0)) and not torch.equal(changed, varied(images, 1))
    levels = changed.mean(dim=(1, 2, 3))
    assert float(levels.std()) > 0.02


def test_things_stay_where_they_are_and_red_stays_redder_than_grey() -> None:
    images = pictures(12)
    redness = varied(images, 3)[:, 0] - varied(images, 3)[:, 2]
    for i, red in enumerate(redness):
        inside = torch.zeros(24, 32, dtype=torch.bool)
        inside[4:12, 2 + i : 14 + i] = True
        assert float(red[inside].mean()) > float(red[~inside].mean()) + 0.05
        # Where a column changes most is where the rectangle begins or ends, within what a blur moves it.
        steps = red[5:11].mean(dim=0).diff().abs()
        assert min(abs(int(steps.argmax()) + 1 - edge) for edge in (2 + i, 14 + i)) <= 1


def test_over_many_images_looks_are_as_different_as_declared() -> None:
    changed = varied(torch.full((400, 3, 4, 4), 0.5), 0).mean(dim=(2, 3))
    assert float(changed.mean()) == pytest.approx(0.5, abs=0.05)
    assert 0.08 < float(changed.mean(dim=1).std()) < 0.25
    assert 0.03 < float((changed[:, 0] - changed[:, 1]).std()) < 0.12
