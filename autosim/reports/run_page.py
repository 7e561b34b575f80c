"""``report.html``: a run on one page, made from nothing but the files in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autosim.files import read_text, write_whole
from autosim.reports.cost import cost_section
from autosim.reports.formatting import DASH, memory_text, percent_text, score_text
from autosim.reports.page import Card, Picture, Section, page
from autosim.reports.table import Table
from autosim.reports.verdict import verdict

PICTURES = (
    (
        "scenes.png",
        "Scenes",
        "The same scenes at the start, in the middle and at the end of the run; then the target's.",
    ),
    (
        "found.png",
        "Found in the test images",
        "A few of the target's test images with their truth, and what a network trained on the learned images finds. "
        "Of boxes the surest are shown, as many as there are objects, right ones green and wrong ones red.",
    ),
    ("attributes.png", "Attributes", "How often each value occurs; slots of a class are lined up with the target's."),
    ("curves.png", "Curves", "Figures of each iteration."),
)
RECOVERY_NOTE = (
    "Mean ± standard deviation, or the share of each choice, of many the largest alone. Moved: 100 % is at the target, "
    "0 % at the start; a dash where the start was there already. Slots of a class are compared as a set."
)
# What closing scores are of, and what it is called.
COMPARED = {
    "prior": "start",
    "learned": "learned",
    "broad": "broad randomisation",
    "real": "trained on real",
    "oracle": "target's own",
}
# Choices whose shares a table has; of more it tells the largest.
MOST_SHARES = 10
NOT_IN_TABLE = {"attributes", "structure", "versions", "command", "note", "date"}


def write_report(folder: Path, summary: Mapping[str, Any]) -> Path:
    """Write ``report.html`` from a run's summary, configuration and pictures; returns its path. Parts that are missing
    in the folder are left out.
    """
    interrupted = " · interrupted" if summary.get("interrupted") else ""
    config = folder / "config.yaml"
    told = summary["verdict"] if "verdict" in summary else verdict(summary)
    sections = [
        *([Section("Verdict", told)] if told else []),
        *(
            Section(heading, [caption], pictures=[Picture((folder / "pictures" / name).read_bytes(), heading)])
            for name, heading, caption in PICTURES
            if (folder / "pictures" / name).exists()
        ),
        *class_section(summary),
        *attribute_section(summary.get("attributes", {})),
        *structure_section(summary.get("structure", {})),
        *cost_section(summary),
        figures_section(summary),
        Section("Command", code=str(summary.get("command", ""))),
        Section("config.yaml", code=read_text(config) if config.exists() else "", folded=True),
    ]
    content = page(
        f"{summary['algo']} on {summary['env']}",
        f"seed {summary['seed']} · {summary['iterations']} iterations · {summary['date']}{interrupted}",
        sections,
        cards(summary),
        [note for note in (summary.get("note"), *summary.get("target", ())) if note],
    )
    path = folder / "report.html"
    write_whole(path, content)
    return path


def cards(summary: Mapping[str, Any]) -> list[Card]:
    """The main figures."""
    name = summary.get("score_name", "score")
    shown = [
        Card(f"{name}, start", score_text(summary.get("prior_score")), "start"),
        Card(f"{name}, learned", score_text(summary.get("test_score")), "learned"),
        *(
            (
                Card(f"{name}, broad randomisation", score_text(summary["broad_score"])),
                Card(f"{name}, trained on real", score_text(summary.get("real_score")), "target"),
            )
            if "broad_score" in summary
            else (
                Card(f"{name}, target's own", score_text(summary.get("oracle_score")), "target"),
                Card("gap closed", percent_text(summary.get("gap_closed"))),
            )
        ),
        Card("images rendered", f"{summary['images']:,}"),
        Card("seconds", f"{summary['seconds']:.0f}"),
        Card("MiB at most", memory_text(summary.get("peak_memory"))),
    ]
    for key, label, form in (
        ("feature_images", "images for features", ",.0f"),
        ("render_cost", "render cost: samples × pixels", ".3g"),
        ("feature_cost", "render cost of features", ".3g"),
        ("core_seconds", "core-seconds", ".0f"),
    ):
        if summary.get(key):
            shown.append(Card(label, format(summary[key], form)))
    return shown


def class_section(summary: Mapping[str, Any]) -> list[Section]:
    """The closing score of each class, on frames of the start, of what was learned and of what these are compared with;
    nothing for tasks without classes.
    """
    found: Mapping[str, Mapping[str, float]] = summary.get("class_scores", {})
    shown = {head: found[name] for name, head in COMPARED.items() if name in found}
    classes = dict.fromkeys(name for scores in shown.values() for name in scores)
    if not classes:
        return []
    lines = tuple((name, *(score_text(scores.get(name)) for scores in shown.values())) for name in classes)
    table = Table(("class", *shown), lines, "l" + "r" * len(shown))
    return [Section(f"{summary.get('score_name', 'score')} by class", table=table)]


def attribute_section(attributes: Mapping[str, Mapping[str, Any]]) -> list[Section]:
    """Mean and spread of each attribute at the start, as learned and of the target, and the share of the way that it
    moved; nothing without attributes.
    """
    if not attributes:
        return []
    table = _moves("attribute", attributes)
    return [Section("How far each attribute moved", table=table, kind="attributes", after=[RECOVERY_NOTE])]


def structure_section(structure: Mapping[str, Mapping[str, Any]]) -> list[Section]:
    """The same of numbers of nodes and of what rules set; nothing where the structure is the same in all scenes."""
    if not structure:
        return []
    return [Section("How far the structure moved", table=_moves("part", structure), kind="attributes")]


def _moves(name: str, moves: Mapping[str, Mapping[str, Any]]) -> Table:
    lines = [
        (
            key,
            *(_spread(entry.get(part)) for part in ("start", "learned", "target")),
            percent_text(entry.get("recovered")),
        )
        for key, entry in moves.items()
    ]
    return Table((name, "start", "learned", "target", "moved"), tuple(lines), "lrrrr")


def figures_section(summary: Mapping[str, Any]) -> Section:
    """Every other figure of the summary."""
    lines = tuple(
        (name.replace("_", " "), _plain(value))
        for name, value in summary.items()
        if name not in NOT_IN_TABLE and not isinstance(value, (dict, list))
    )
    versions = ", ".join(f"{name} {number}" for name, number in summary.get("versions", {}).items())
    return Section("Summary", table=Table(("figure", "value"), lines, "lr"), after=[versions])


def _spread(summary: Mapping[str, Any] | None) -> str:
    if summary is None:
        return DASH
    if chances := summary.get("probabilities"):
        if len(chances) > MOST_SHARES:
            return f"{100 * max(chances):.0f} % for one of {len(chances)}"
        return " / ".join(f"{100 * p:.0f}" for p in chances) + " %"
    return f"{summary['mean']:.3g} ± {summary['std']:.2g}"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return DASH if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
