"""What a run spent its CPU seconds on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autosim.learning.stopwatch import CoreSeconds
from autosim.reports.formatting import percent_text
from autosim.reports.page import Section
from autosim.reports.table import Table

NOTE = (
    "Networks: training and scoring those that the method trains. Set-up is that of the method, not of the target "
    "and the closing scores."
)


def iterations_core_seconds(summary: Mapping[str, Any]) -> CoreSeconds | None:
    """Those of a run's iterations by part; None where they were not recorded, as by earlier versions."""
    rendering, networks = summary.get("rendering_core_seconds"), summary.get("network_core_seconds")
    if rendering is None or networks is None:
        return None
    return CoreSeconds(summary["core_seconds"], rendering, networks)


def cost_section(summary: Mapping[str, Any]) -> list[Section]:
    """CPU seconds of set-up, rendering, networks and the rest of a run; nothing where they were not recorded."""
    spent = iterations_core_seconds(summary)
    if spent is None:
        return []
    parts = {
        "set-up": summary.get("setup_core_seconds", 0.0),
        "rendering": spent.rendering,
        "networks": spent.networks,
        "the method's own": spent.own,
    }
    total = sum(parts.values())
    lines = tuple((name, f"{took:.0f}", percent_text(took / total if total else None)) for name, took in parts.items())
    table = Table(("part", "core-seconds", "share"), lines, "lrr")
    return [Section("What it cost", table=table, after=[NOTE])]
