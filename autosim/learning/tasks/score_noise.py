"""By how much scores of networks differ that were trained on the same frames."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

# Standard deviation of a score between networks of other seeds, as repeated runs of segmentation showed it; used where
# fewer than three were trained.
NETWORK_NOISE = 0.015


def score_noise(each: Sequence[float]) -> float:
    """By how much the mean scores of two sets of frames have to differ, to be told from chance: twice the standard
    error of the difference, from the scores ``each`` of single networks on one of them.
    """
    spread = statistics.stdev(each) if len(each) > 2 else NETWORK_NOISE
    return 2 * spread * (2 / max(len(each), 1)) ** 0.5
