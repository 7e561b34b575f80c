"""Means over targets with their intervals, and the area under a curve of checkpoints."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

# Draws of a bootstrap, its seed, and the share of means that an interval holds.
DRAWS, SEED, HELD = 10_000, 0, 0.95
# With fewer targets there is no interval.
FEWEST = 3


def mean_interval(values: Sequence[float | None]) -> dict[str, float | None] | None:
    """``mean`` of the values that are known, and ``low`` and ``high``: between them lie 95 % of the means of as many
    values drawn from them with replacement (percentile bootstrap). These are None below three values, and all is None
    without any.
    """
    known = [value for value in values if value is not None]
    if not known:
        return None
    low = high = None
    if len(known) >= FEWEST:
        draws = np.random.default_rng(SEED).choice(known, (DRAWS, len(known))).mean(axis=1)
        low, high = (round(float(end), 5) for end in np.quantile(draws, ((1 - HELD) / 2, (1 + HELD) / 2)))
    return {"mean": round(statistics.fmean(known), 5), "low": low, "high": high}


def median(values: Sequence[float | None]) -> float | None:
    """The median of the values that are known."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def area(shares: Sequence[float], values: Sequence[float]) -> float:
    """The mean over a budget of a figure that is ``values`` at ``shares`` of it, 0 at its beginning, and straight in
    between; ``shares`` ascend to 1.
    """
    return float(np.trapezoid([0.0, *values], [0.0, *shares]))
