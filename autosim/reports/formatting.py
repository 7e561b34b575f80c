"""Figures as text, the same on the terminal and in reports; a dash where there is none."""

from __future__ import annotations

from typing import Any

DASH = "–"


def is_number(value: Any) -> bool:
    """Whether a figure is a number, and not a truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def score_text(value: float | None) -> str:
    """Three decimals."""
    return DASH if value is None else f"{value:.3f}"


def percent_text(value: float | None) -> str:
    """A share as whole percent."""
    return DASH if value is None else f"{100 * value:.0f} %"


def count_text(value: float | None) -> str:
    """A whole number, its thousands apart."""
    return DASH if value is None else f"{value:,.0f}"


def seconds_text(value: float | None) -> str:
    """Whole seconds; a decimal below ten."""
    return DASH if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def memory_text(value: float | None) -> str:
    """Whole MiB; a dash where it is not known."""
    return DASH if value is None else f"{value:,.0f}"


def clock_text(seconds: float) -> str:
    """Minutes and seconds, ``3:07``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
