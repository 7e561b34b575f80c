"""The posterior given a set: the known answer of a Gaussian, calibrated; what is told where the package is missing."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from autosim.errors import UserError
from autosim.learning.posterior.flow import Regression, SetPosterior, calibration, require_sbi

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.slow
def test_it_finds_what_a_set_was_drawn_with_and_is_calibrated() -> None:
    pytest.importorskip("sbi")
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(500, 2, generator=generator)
    places = truth.double().numpy()
    # The first coordinate is the mean of the first feature, known to .3 / sqrt(8) = .11; nothing tells of the second.
    sets = torch.randn(500, 8, 3, generator=generator)
    sets[:, :, 0] = 4 * (truth[:, :1] - 0.5 + 0.3 * sets[:, :, 0])
    moments = torch.cat([sets.mean(dim=1), sets.std(dim=1)], dim=1)
    straight = np.zeros(2, dtype=bool)
    posterior = SetPosterior.fit(places[:400], moments[:400], straight, epochs=40, rate=5e-3, width=16, seed=0)
    drawn = posterior.sample(moments[400:], 100, seed=1)
    assert drawn.shape == (100, 100, 2) and drawn.min() > 0 and drawn.max() < 1
    error = np.abs(drawn.mean(axis=0) - places[400:])
    assert error[:, 0].mean() < 0.12
    assert 0.06 < drawn[:, :, 0].std(axis=0).mean() < 0.17 and 0.2 < drawn[:, :, 1].std(axis=0).mean() < 0.35
    distance, chance = calibration(posterior.ranks(places[400:], moments[400:], seed=2))
    assert distance < 0.2 and chance > 0.001


def test_regressions_are_judged_by_what_they_have_not_seen() -> None:
    rng = np.random.default_rng(0)
    inputs, slopes = rng.normal(size=(80, 200)), rng.normal(size=(200, 1))
    # The first target follows from the inputs, of which there are more than sets; the second does not.
    targets = np.concatenate([inputs @ slopes / 14, rng.normal(size=(80, 1))], axis=1)
    regression = Regression(inputs, targets)
    errors = ((regression.unseen - targets) ** 2).mean(axis=0) / targets.var(axis=0)
    assert errors[0] < 0.9 < errors[1]
    assert ((regression(inputs) - targets) ** 2).mean() < ((regression.unseen - targets) ** 2).mean()


def test_calibration_tells_uniform_ranks_from_others() -> None:
    ranks = np.random.default_rng(0).random((200, 3))
    distance, chance = calibration(ranks)
    assert distance < 0.1 and chance > 0.05
    ranks[:, 1] **= 3
    worse, less = calibration(ranks)
    assert worse > distance + 0.05 and less < 1e-6


def test_without_the_package_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sbi", None)
    with pytest.raises(UserError, match=r"autosim-engine\[sbi\]") as caught:
        require_sbi()
    assert "\n" not in str(caught.value)
