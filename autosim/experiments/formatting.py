"""Figures as text, the same on the terminal and in reports; a dash where there is none."""

from __future__ import annotations

DASH = "–"


def score_text(value: float | None) -> str:
    """Three decimals."""
    return DASH if value is None else f"{value:.3f}"


def percent_text(value: float | None) -> str:
    """A share as whole percent."""
    return DASH if value is None else f"{100 * value:.0f} %"


def clock_text(seconds: float) -> str:
    """Minutes and seconds, ``3:07``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
