"""The tables of a comparison, and its page as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autosim.comparison.figures import PARTS, REFERENCES
from autosim.comparison.plan import CHANGE
from autosim.comparison.verdict import verdict
from autosim.reports.formatting import DASH, count_text, percent_text, score_text, seconds_text
from autosim.reports.table import Table, markdown_cell

# Means over iterations that an ablation shows where the runs record them.
ABLATION_FIGURES = {
    "cg_residual": "CG residual",
    "gradient_dot_v": "gᵀv",
    "products": "products for v",
    "curvature_seconds": "seconds a step for v",
}


def is_comparison(results: Any) -> bool:
    """Whether results are those of a comparison."""
    return isinstance(results, dict) and "comparison" in results and "measure" in results


def comparison_document(results: Mapping[str, Any]) -> str:
    """The page ``comparison.md``: the tables and how they were made."""
    titles = {"algorithms": "Methods", CHANGE: "One change at a time"}
    title = titles.get(results["comparison"], f"Values of {results['comparison']}")
    told = " ".join(verdict(results))
    parts = [f"# {title} on {results['env']}", "", told, "", main_table(results).markdown(), ""]
    parts += [*paragraphs(notes(results)), ""]
    for heading, table in (
        ("What it cost", cost_table(results)),
        ("Gap closed on each target" if has_gaps(results) else "What they are compared with", targets_table(results)),
        ("Every run", runs_table(results)),
    ):
        parts += [f"## {heading}", "", table.markdown(), ""]
    if results["failures"]:
        parts += ["## Runs that failed", ""]
        parts += [f"- {entry['run']}: {markdown_cell(entry['cause'])}" for entry in results["failures"]]
        parts += [""]
    return "\n".join([*parts, "## How it was made", "", made_text(results, "`"), ""])


def made_text(results: Mapping[str, Any], mark: str = "") -> str:
    """The command, the date, the machines and the versions."""
    used = list(dict.fromkeys(", ".join(f"{k} {v}" for k, v in run["versions"].items()) for run in results["runs"]))
    machines = list(dict.fromkeys(f"{run['machine']['cpu'] or 'unknown'}" for run in results["runs"]))
    return (
        f"{mark}{results['command']}{mark} ({results['date']}), each run on one core of {' or '.join(machines)}, with "
        f"{'; or '.join(used)}."
    )


def main_table(results: Mapping[str, Any]) -> Table:
    """A line for each method, and for what they are compared with: mean over targets, or over the seeds of one
    [95 % interval]. Where no oracle is known there are scores in place of gaps.
    """
    ablation, budget = results["comparison"] != "algorithms", results["budget"]["core_seconds"]
    shares = results["measure"]["shares"]
    above = {row["method"]: row for row in results["rows"]}.get(REFERENCES["broad"]) is not None
    figures = [row["figures"] for row in results["rows"] if not row["reference"]]
    shown = [name for name in ABLATION_FIGURES if ablation and any(name in each for each in figures)]
    score, gaps = f"{results['measure']['part']} {results['score_name']}", has_gaps(results)
    units = "runs" if results.get("over") == "seeds" else "targets"
    heads = [
        results["comparison"] if ablation else "method",
        "is shown",
        units,
        *(f"gap closed after {seconds_text(share * budget)} core-s" for share in shares if gaps),
        *(f"{score} after {seconds_text(share * budget)} core-s" for share in shares[:-1] if not gaps),
        *(["area"] if gaps else []),
        score,
        *(["above broad"] if above else []),
        *(ABLATION_FIGURES[name] for name in shown),
    ]
    lines = []
    for row in results["rows"]:
        if row["reference"]:
            cells = [row["method"], DASH, DASH if units == "runs" else str(row["targets"]), *[DASH] * (len(shares) - 1)]
        else:
            told = results["methods"][row["method"]]["shown"] or DASH
            kind, text = ("gap", percent_text) if gaps else ("score", score_text)
            cells = [row["method"], told, str(row[units])]
            cells += [mean(point[kind], text) for point in row["checkpoints"][:-1]]
        if gaps:
            cells += [interval(row["gap"], percent_text), interval(row.get("area"), percent_text)]
        cells.append(interval(row["score"], score_text))
        if above:
            cells.append(DASH if row["reference"] else above_broad(results, row["method"]))
        for name in shown:
            value = row.get("figures", {}).get(name)
            cells.append(DASH if value is None else f"{value:.3g}")
        lines.append(tuple(cells))
    return Table(tuple(heads), tuple(lines), "ll" + "r" * (len(heads) - 2))


def has_gaps(results: Mapping[str, Any]) -> bool:
    """Whether an oracle is known, so that gaps can be told."""
    return any(row["method"] == REFERENCES["oracle"] for row in results["rows"])


def above_broad(results: Mapping[str, Any], method: str) -> str:
    """On how many of its targets a method ends above broad randomisation."""
    own = [run for run in results["runs"] if run["method"] == method]
    wins = total = 0
    for row in results["targets"]:
        scores = [run["checkpoints"][-1]["score"] for run in own if run["target"] == row["target"]]
        if scores:
            total += 1
            wins += _mean(scores) > _mean(row["scores"]["broad"])
    return f"{wins} of {total}"


def cost_table(results: Mapping[str, Any]) -> Table:
    """What runs used in the median: all in, and set-up alone; and what shares of their iterations rendering, networks
    and what is left had, where that was recorded.
    """
    rows = [row for row in results["rows"] if not row["reference"]]
    parts = ("rendering", "networks", "method's own") if any(_spent(row) is not None for row in rows) else ()
    heads = ("method", "core-seconds", "of them set-up", *parts, "images", "render cost", "ended early")
    lines = []
    for row in rows:
        end, spent = row["checkpoints"][-1], _spent(row)
        shares = (None,) * len(parts) if spent is None else (*spent, max(0.0, 1 - sum(spent)))
        cells = [seconds_text(end["core_seconds"]), seconds_text(row["setup_core_seconds"])]
        cells += map(percent_text, shares)
        cells += [count_text(end["images"]), DASH if end["render_cost"] is None else f"{end['render_cost']:.2g}"]
        lines.append((row["method"], *cells, f"{row['ended_early']} of {row['runs']}"))
    return Table(heads, tuple(lines), "l" + "r" * (len(heads) - 1))


def _spent(row: Mapping[str, Any]) -> list[float] | None:
    """The shares of :data:`PARTS`; None where they were not recorded."""
    shares = [row.get("spent", {}).get(name) for name in PARTS]
    return None if None in shares else shares


def targets_table(results: Mapping[str, Any]) -> Table:
    """A line for each target: the scores of what methods are compared with, and the gap that each closed at the end,
    where there is one.
    """
    known = [name for name in REFERENCES if any(name in row["scores"] for row in results["targets"])]
    methods = list(results["methods"]) if has_gaps(results) else []
    heads = ("target", *(REFERENCES[name] for name in known), *methods)
    lines = []
    for row in results["targets"]:
        cells = [target_text(row["target"]), *(score_text(_mean(row["scores"][name])) for name in known)]
        for method in methods:
            ends = [
                run["checkpoints"][-1]
                for run in results["runs"]
                if run["method"] == method and run["target"] == row["target"]
            ]
            gaps = [end["gap"] for end in ends if end["gap"] is not None]
            cells.append(percent_text(_mean(gaps)) if gaps else DASH)
        lines.append(tuple(cells))
    return Table(heads, tuple(lines), "r" * len(heads))


def runs_table(results: Mapping[str, Any]) -> Table:
    """A line for each run."""
    shares = results["measure"]["shares"]
    heads = ("method", "target", "seed", *(f"at {percent_text(share)}" for share in shares), "images", "iterations")
    lines = [
        (
            run["method"],
            target_text(run["target"]),
            str(run["seed"]),
            *(score_text(point["score"]) for point in run["checkpoints"]),
            count_text(run["checkpoints"][-1]["images"]),
            str(run["checkpoints"][-1]["iterations"]),
        )
        for run in results["runs"]
    ]
    return Table(heads, tuple(lines), "l" + "r" * (len(heads) - 1))


def notes(results: Mapping[str, Any]) -> list[str]:
    """What one has to know to read the main table, a sentence or a few each."""
    measure, budget = results["measure"], results["budget"]["core_seconds"]
    limits = [
        f"{limit:,g} {name}"
        for name, limit in results["budget"].items()
        if limit is not None and name != "core_seconds"
    ]
    over, gaps = results.get("over", "targets"), has_gaps(results)
    told = "Means over targets" if over == "targets" else "Means over the seeds of one target"
    texts = [
        f"{told}, with 95 % intervals (bootstrap over {over}; none below three). Each run has {budget:g} "
        f"core-seconds{' or ' if limits else ''}{' or '.join(limits)}, set-up and features included. What a method "
        "recommends after a share of them is the generator of the last iteration that ended by then; "
        f"{measure['networks']} fresh networks are trained on frames of it that cost the method nothing, and scored on "
        f"the target's {measure['part']} images." + (" Area: the mean gap closed over the budget." if gaps else ""),
        ("Gap closed: 0 % is the start, 100 % the target's own distribution (the oracle). " if gaps else "")
        + "Broad randomisation draws everything that can be learned uniformly over its range. A method that does no "
        "better learns nothing of use.",
    ]
    if measure["part"] == "validation":
        texts.append("Scored on validation images, which methods may see: for choosing settings, not for reporting.")
    early = [f"{row['method']} ({row['ended_early']})" for row in results["rows"] if row.get("ended_early")]
    if early:
        texts.append(f"Ended by their own number of iterations before the budget: {', '.join(early)}.")
    unbegun = [run["method"] for run in results["runs"] if not run["checkpoints"][-1]["iterations"]]
    if unbegun:
        told = ", ".join(f"{name} ({unbegun.count(name)})" for name in dict.fromkeys(unbegun))
        texts.append(
            f"Runs whose set-up and first iteration took more than the budget, so that they end at the start: {told}."
        )
    machines = {run["machine"]["cpu"] for run in results["runs"]}
    if len(machines) > 1:
        texts.append("The runs were made on several machines, whose core-seconds differ.")
    if results["failures"]:
        texts.append(f"Runs that failed and are not in the table: {len(results['failures'])}.")
    return texts


def paragraphs(texts: Sequence[str]) -> list[str]:
    """Texts with an empty line between."""
    return "\n\n".join(texts).split("\n")


def mean(figure: Mapping[str, Any] | None, text: Callable[[float | None], str]) -> str:
    """A mean over targets."""
    return DASH if figure is None else text(figure["mean"])


def interval(figure: Mapping[str, Any] | None, text: Callable[[float | None], str]) -> str:
    """A mean over targets with its interval, where there is one."""
    if figure is None or figure["low"] is None or figure["low"] == figure["high"]:
        return mean(figure, text)
    low, high = (text(figure[end]).removesuffix(" %") for end in ("low", "high"))
    return f"{text(figure['mean'])} [{low}, {high}]"


def target_text(target: int | None) -> str:
    """A target's number, or a dash where the environment has but one."""
    return DASH if target is None else str(target)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
