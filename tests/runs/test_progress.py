"""What a run shows of itself at the end."""

from __future__ import annotations

from autosim.runs.progress import figures_text


def test_closing_figures_stand_in_one_line_with_start_and_end_side_by_side() -> None:
    figures = {"steps": 700, "mmd2_start": 11.25, "mmd2_end": 0.5, "task_loss_start": -6.0, "task_loss_end": -14.0}
    assert figures_text(figures) == "steps 700 · mmd2 11.25 → 0.5 · task loss -6 → -14"


def test_an_end_without_a_start_keeps_its_name() -> None:
    assert figures_text({"best_end": 1.0}) == "best end 1"
