"""What a comparison comes to, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autosim.comparison.statistics import FEWEST
from autosim.reports.formatting import percent_text, score_text

CONTROLS = ("broad randomisation", "start")


def verdict(results: Mapping[str, Any]) -> list[str]:
    """Which method ends highest, whether by more than chance, and which do no better than the better of the controls:
    broad randomisation, or the start.
    """
    rows = {row["method"]: row for row in results["rows"]}
    methods = [row for row in results["rows"] if not row["reference"] and row["score"] is not None]
    if not methods:
        return ["No method came to a score."]
    best = max(methods, key=lambda row: float(row["score"]["mean"]))
    gap = "" if best["gap"] is None else f", {percent_text(best['gap']['mean'])} of the gap"
    texts = [f"{best['method']} ends highest: {results['score_name']} {score_text(best['score']['mean'])}{gap}."]
    over = results.get("over", "targets")
    if any(row["runs" if over == "seeds" else "targets"] < FEWEST for row in methods):
        return [*texts, f"With fewer than {FEWEST} {over} there are no intervals: this is an example, not a result."]
    others = [row for row in methods if row is not best]
    if others:
        runner = max(others, key=lambda row: float(row["score"]["mean"]))
        clear = best["score"]["low"] > runner["score"]["mean"]
        texts.append(
            f"It is {'' if clear else 'not '}above the mean of every other method by more than its interval "
            f"(next: {runner['method']}, {score_text(runner['score']['mean'])})."
        )
    controls = [rows[name] for name in CONTROLS if name in rows]
    if controls:
        control = max(controls, key=lambda row: float(row["score"]["mean"]))
        level = float(control["score"]["mean"])
        name = f"{'the ' if control['method'] == 'start' else ''}{control['method']} ({score_text(level)})"
        poor = [row["method"] for row in methods if row["score"]["low"] <= level]
        texts.append(
            f"Not above {name} by their intervals: {', '.join(poor)}."
            if poor
            else f"All are above {name} by their intervals."
        )
    return texts
