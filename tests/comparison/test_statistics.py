"""Medians and ratios where some runs never reached the target score."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosim.comparison.statistics import Groups, Reached, censored_quartiles, quantile, quartiles, ratio

FIGURES = st.lists(st.floats(1.0, 1e4), min_size=1, max_size=9)


@given(FIGURES, st.sampled_from((0.25, 0.5, 0.75)))
def test_without_censored_runs_quantiles_are_the_usual_ones(values: list[float], share: float) -> None:
    assert quantile(values, share) == pytest.approx(float(np.quantile(values, share)), rel=1e-9)


@given(FIGURES, st.lists(st.floats(1.0, 1e4), min_size=0, max_size=9), st.sampled_from((0.25, 0.5, 0.75)))
def test_a_censored_quartile_is_what_it_would_be_with_any_later_success(
    done: list[float], vain: list[float], share: float
) -> None:
    """Runs that did not get there count as later than all: what is known holds whenever they would have arrived."""
    found = quantile([*done, *(math.inf for _ in vain)], share)
    if math.isfinite(found):
        later = max([*done, *vain]) + 1.0
        assert found == pytest.approx(quantile([*done, *(later + i for i in range(len(vain)))], share), rel=1e-9)


def runs(*spent: float, vain: tuple[float, ...] = ()) -> list[Reached]:
    return [*(Reached(x) for x in spent), *(Reached(x, censored=True) for x in vain)]


def test_figures_that_are_unknown_are_left_out() -> None:
    assert quartiles([None, 1.0, 3.0]) == {"median": 2.0, "lower_quartile": 1.5, "upper_quartile": 2.5}
    assert quartiles([None]) is None


def test_a_median_on_runs_that_did_not_get_there_is_null_with_a_bound() -> None:
    figure = censored_quartiles(runs(100.0, 200.0, vain=(2000.0, 2000.0, 2000.0)))
    assert figure == {
        "median": None,
        "lower_quartile": 200.0,
        "upper_quartile": None,
        "at_least": {"median": 2000.0, "lower_quartile": 200.0, "upper_quartile": 2000.0},
    }
    # Four runs, two of them in vain: the median lies between the second and a third that is nowhere.
    half = censored_quartiles(runs(100.0, 200.0, vain=(2000.0, 2000.0)))
    assert half is not None and half["median"] is None and half["at_least"]["median"] == 1100.0
    assert censored_quartiles([]) is None


def test_the_ratio_is_that_of_the_medians_and_its_band_that_of_all_pairs() -> None:
    found = ratio({0: runs(400.0, 900.0, 1000.0)}, {0: runs(100.0, 300.0, 200.0)})
    assert found is not None
    assert (found["value"], found["sense"]) == (4.5, "exact")
    pairs = [a / b for a in (400.0, 900.0, 1000.0) for b in (100.0, 300.0, 200.0)]
    assert found["lower_quartile"] == pytest.approx(np.quantile(pairs, 0.25), abs=1e-6)
    assert found["upper_quartile"] == pytest.approx(np.quantile(pairs, 0.75), abs=1e-6)
    assert (found["pairs"], found["bounds"]) == (9, 0)


def test_others_that_did_not_get_there_make_the_ratio_a_lower_bound() -> None:
    found = ratio({0: runs(500.0, vain=(2000.0, 2000.0))}, {0: runs(100.0)})
    assert found is not None
    assert (found["value"], found["sense"], found["bounds"]) == (20.0, "at least", 2)
    assert (found["lower_quartile"], found["upper_quartile"]) == (12.5, 20.0)


def test_a_reference_that_did_not_get_there_makes_the_ratio_an_upper_bound() -> None:
    found = ratio({0: runs(500.0)}, {0: runs(100.0, vain=(2000.0, 2000.0))})
    assert found is not None
    assert (found["value"], found["sense"], found["bounds"]) == (0.25, "at most", 2)
    # Two of the three pairs may have any ratio from 0 upwards.
    assert found["lower_quartile"] == 0.0 and found["upper_quartile"] == 2.5
    neither = ratio({0: runs(vain=(2000.0,))}, {0: runs(vain=(2000.0,))})
    assert neither is not None and neither["value"] is None and neither["sense"] is None


def test_pairs_are_on_the_same_target_and_medians_over_all() -> None:
    found = ratio({0: runs(400.0), 1: runs(80.0)}, {0: runs(100.0), 1: runs(10.0), 2: runs(10.0)})
    assert found is not None and found["pairs"] == 2 and found["value"] == 24.0
    assert (found["lower_quartile"], found["upper_quartile"]) == (5.0, 7.0)
    assert ratio({0: runs(400.0)}, {}) is None


@given(FIGURES, FIGURES, st.integers(0, 9), st.integers(0, 9))
def test_what_a_ratio_says_holds_however_long_the_runs_in_vain_would_have_gone_on(
    others: list[float], reference: list[float], vain: int, vainly: int
) -> None:
    """Censored or not, the same runs seen to their end have a ratio that agrees with what was said before."""
    seen: Groups = {0: [Reached(x, censored=i < vain) for i, x in enumerate(others)]}
    against: Groups = {0: [Reached(x, censored=i < vainly) for i, x in enumerate(reference)]}
    late = max([*others, *reference])
    ended: Groups = {0: runs(*(late + i if i < vain else x for i, x in enumerate(others)))}
    in_end: Groups = {0: runs(*(late + i if i < vainly else x for i, x in enumerate(reference)))}
    said, true = ratio(seen, against), ratio(ended, in_end)
    assert said is not None and true is not None
    slack = 1e-6 * max(1.0, true["value"])
    if said["sense"] == "exact":
        assert said["value"] == pytest.approx(true["value"], abs=slack)
    if said["sense"] == "at least":
        assert true["value"] >= said["value"] - slack
    if said["sense"] == "at most":
        assert true["value"] <= said["value"] + slack
    assert true["lower_quartile"] >= said["lower_quartile"] - slack
    assert true["upper_quartile"] >= said["upper_quartile"] - 1e-6 * max(1.0, said["upper_quartile"])
