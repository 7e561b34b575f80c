"""Medians, quartiles and ratios where some runs never got there: censored figures, known only to be above a bound."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reached:
    """What a run spent until it reached the target score; where it never did, ``spent`` is what it spent in vain."""

    spent: float
    censored: bool = False

    @property
    def value(self) -> float:
        """``spent``, or infinity where the score was not reached."""
        return math.inf if self.censored else self.spent


Groups = Mapping[int | None, Sequence[Reached]]


def quantile(values: Sequence[float], share: float) -> float:
    """Quantile with linear interpolation; infinity where it lies beside or between infinite values."""
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below, weight = ordered[math.floor(position)], position - math.floor(position)
    above = ordered[math.ceil(position)]
    return below if weight == 0 or below == above else below + weight * (above - below)


def quartiles(values: Sequence[float | None]) -> dict[str, float | None] | None:
    """``median``, ``lower_quartile`` and ``upper_quartile`` of the values that are known; None where none is."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    shares = {"median": 0.5, "lower_quartile": 0.25, "upper_quartile": 0.75}
    return {name: _finite(quantile(known, share)) for name, share in shares.items()}


def censored_quartiles(runs: Sequence[Reached]) -> dict[str, Any] | None:
    """Quartiles of what runs spent to reach the score, those that did not counting as above all others.

    A quartile that falls on such runs is None, and ``at_least`` has for each of the three what it is known to be no
    smaller than. None where there are no runs.
    """
    if not runs:
        return None
    result: dict[str, Any] = dict(quartiles([run.value for run in runs]) or {})
    result["at_least"] = quartiles([run.spent for run in runs])
    return result


def ratio(others: Groups, reference: Groups) -> dict[str, Any] | None:
    """How many times as much as the reference's runs others spent; both by group (target).

    ``value`` is the ratio of the medians over all groups and ``sense`` says how it is meant: ``exact``; ``at least``
    where half of the others did not get there; ``at most`` where half of the reference's did not; the value is None
    where neither did. The quartiles are those of the ratios of all pairs within a group, of each pair the least that it
    can be; of ``pairs``, ``bounds`` are such lower bounds and not exact. None where there is no run on one side.
    """
    theirs = censored_quartiles([run for runs in reference.values() for run in runs])
    ours = censored_quartiles([run for runs in others.values() for run in runs])
    if ours is None or theirs is None:
        return None
    top = ours["median"] if ours["median"] is not None else ours["at_least"]["median"]
    bottom = theirs["median"] if theirs["median"] is not None else theirs["at_least"]["median"]
    senses = {(False, False): "exact", (True, False): "at least", (False, True): "at most"}
    sense = senses.get((ours["median"] is None, theirs["median"] is None))
    pairs = [(a, b) for group, runs in others.items() for a in runs for b in reference.get(group, ()) if b.spent > 0]
    # A reference that did not get there may have any way to go still: the ratio is no less than 0.
    band = quartiles([0.0 if b.censored else a.spent / b.spent for a, b in pairs]) or {}
    return {
        "value": _finite(top / bottom) if sense is not None and bottom else None,
        "sense": sense,
        "lower_quartile": band.get("lower_quartile"),
        "upper_quartile": band.get("upper_quartile"),
        "pairs": len(pairs),
        "bounds": sum(a.censored or b.censored for a, b in pairs),
    }


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
