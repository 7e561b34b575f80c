"""What a comparison comes to: never more than its intervals allow."""

from __future__ import annotations

from typing import Any

from autosim.comparison.verdict import verdict


def row(method: str, mean: float, half: float | None = 0.02, targets: int = 8, reference: bool = False) -> Any:
    interval = {"mean": mean, "low": None if half is None else mean - half, "high": None}
    return {"method": method, "reference": reference, "targets": targets, "score": interval, "gap": interval}


def told(*rows: Any) -> str:
    references = [row("start", 0.3, reference=True), row("broad randomisation", 0.4, reference=True)]
    return " ".join(verdict({"rows": [*references, *rows], "score_name": "IoU"}))


def test_a_clear_winner_is_named_and_so_is_what_does_no_better_than_broad_randomisation() -> None:
    text = told(row("a", 0.5), row("b", 0.7), row("c", 0.41))
    assert text.startswith("b ends highest: IoU 0.700, 70 % of the gap. It is above the mean of every other method")
    assert "(next: a, 0.500)" in text and text.endswith("broad randomisation (0.400) by their intervals: c.")


def test_a_lead_within_the_interval_is_none() -> None:
    text = told(row("a", 0.69), row("b", 0.7))
    assert "b ends highest" in text and "It is not above the mean of every other method" in text
    assert "All are above broad randomisation (0.400)" in text


def test_where_broad_randomisation_is_worse_than_the_start_that_is_what_counts() -> None:
    references = [row("start", 0.5, reference=True), row("broad randomisation", 0.4, reference=True)]
    (*_, last) = verdict({"rows": [*references, row("a", 0.45), row("b", 0.7)], "score_name": "IoU"})
    assert last == "Not above the start (0.500) by their intervals: a."


def test_few_targets_are_an_example() -> None:
    text = told(row("a", 0.5, None, 2), row("b", 0.7, None, 2))
    assert text.endswith("With fewer than 3 targets there are no intervals: this is an example, not a result.")


def test_one_method_alone_and_none_at_all() -> None:
    assert "every other" not in told(row("a", 0.5))
    assert told() == "No method came to a score."
