"""The tables of a comparison, and its page as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

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
    return isinstance(results, dict) and "comparison" in results and "target_rule" in results


def comparison_table(results: Mapping[str, Any]) -> str:
    """The table over all targets, as Markdown, with what one has to know to read it."""
    return "\n".join([main_table(results).markdown(), "", *paragraphs(notes(results))])


def comparison_document(results: Mapping[str, Any], overview: str | None = None) -> str:
    """The page ``comparison.md``: the tables, each target apart, and how they were made. ``overview`` takes the place
    of :func:`comparison_table`.
    """
    title = "Methods" if results["comparison"] == "algorithms" else f"Values of {results['comparison']}"
    parts = [f"# {title} on {results['env']}", "", overview or comparison_table(results), ""]
    for entry in results["by_target"]:
        parts += [f"## Target {entry['target']}", "", rows_table(results, entry["rows"]).markdown(), ""]
    parts += [
        "## Targets",
        "",
        targets_table(results).markdown(),
        "",
        "## Every run",
        "",
        runs_table(results).markdown(),
    ]
    if results["failures"]:
        parts += ["", "## Runs that failed", ""]
        parts += [f"- {entry['run']}: {markdown_cell(entry['cause'])}" for entry in results["failures"]]
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    parts += [
        "",
        "## How it was made",
        "",
        f"`{results['command']}` ({results['date']}, {results['workers']} runs at once on {results['cpus']} CPUs), "
        f"with {versions}.",
        "",
    ]
    return "\n".join(parts)


def main_table(results: Mapping[str, Any]) -> Table:
    """A line for each method over all targets."""
    return rows_table(results, results["rows"])


def rows_table(results: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Table:
    """A line for each method: median [lower quartile, upper quartile] over its runs."""
    score, ablation, reference = results["score_name"], results["comparison"] != "algorithms", results["reference"]
    heads = [
        results["comparison"] if ablation else "method", "runs", f"validation {score}", f"test {score}", "gap closed",
        "images to target score", f"× {reference}", "seconds to target score", f"× {reference}", "reached",
    ]  # fmt: skip
    shown = [name for name in ABLATION_FIGURES if ablation and any(name in row["figures"] for row in rows)]
    heads += [ABLATION_FIGURES[name] for name in shown]
    lines = []
    for row in rows:
        line = [
            row["method"],
            str(row["seeds"]),
            spread(row["val_score"], score_text),
            spread(row["test_score"], score_text),
            spread(row["gap_closed"], percent_text),
            spread(row["images_to_target"], count_text),
            times(row, "images_ratio", reference),
            spread(row["seconds_to_target"], seconds_text),
            times(row, "seconds_ratio", reference),
            f"{row['reached']}/{row['seeds']}",
            *(spread(row["figures"].get(name), "{:.3g}".format) for name in shown),
        ]
        lines.append(tuple(line))
    return Table(tuple(heads), tuple(lines), "l" + "r" * (len(heads) - 1))


def targets_table(results: Mapping[str, Any]) -> Table:
    """The score to be reached on each target, beside what the start's and the target's own frames give on the test."""
    score = results["score_name"]
    lines = []
    for entry in results["target_score"]:
        run: Mapping[str, Any] = next((run for run in results["runs"] if run["target"] == entry["target"]), {})
        own = [score_text(run.get(name)) for name in ("prior_score", "oracle_score")]
        lines.append((target_text(entry["target"]), score_text(entry["value"]), *own))
    heads = ("target", f"validation {score} to reach", f"test {score} of the start", f"test {score} of the oracle")
    return Table(heads, tuple(lines), "rrrr")


def runs_table(results: Mapping[str, Any]) -> Table:
    """A line for each run."""
    score = results["score_name"]
    lines = [
        (
            run["method"],
            target_text(run["target"]),
            str(run["seed"]),
            score_text(run["val_score"]),
            score_text(run["test_score"]),
            percent_text(run["gap_closed"]),
            count_text(run["images_to_target"]),
            seconds_text(run["seconds_to_target"]),
            count_text(run["images"]),
            seconds_text(run["seconds"]),
            seconds_text(run["setup_seconds"]),
            str(run["iterations"]),
        )
        for run in results["runs"]
    ]
    heads = (
        "method", "target", "seed", f"validation {score}", f"test {score}", "gap closed", "images to target score",
        "seconds to target score", "images", "seconds", "set-up seconds", "iterations",
    )  # fmt: skip
    return Table(heads, tuple(lines), "l" + "r" * (len(heads) - 1))


def notes(results: Mapping[str, Any]) -> list[str]:
    """What one has to know to read the main table, a sentence or a few each."""
    score = results["score_name"]
    scores = ", ".join(
        f"{score_text(entry['value'])}" + ("" if entry["target"] is None else f" on target {entry['target']}")
        for entry in results["target_score"]
    )
    limits = [f"{limit:,g} {name}" for name, limit in results["budget"].items() if limit is not None]
    texts = [
        f"Median [lower quartile, upper quartile]. Budget of each run: {' or '.join(limits)}, and the iteration that "
        f"reaches it is completed. Target score: {results['target_rule']} ({scores}).",
        "A run that never reached the target score counts as longer than all that did: > is what such runs spent in "
        f"vain. × {results['reference']}: how many times its median; in brackets the quartiles over all pairs of "
        "runs on the same target, and ≥ where some did not get there.",
        f"Validation {score}: the best so far, of the network that a method trains as it goes (some methods train "
        "one network on through all iterations, others one from scratch for each data set). Test "
        f"{score}: of a fresh network trained on equally many frames of what was learned, with equal initial weights "
        "and schedule for all.",
    ]
    early = [f"{row['method']} ({row['ended_early']})" for row in results["rows"] if row["ended_early"]]
    if early:
        texts.append(f"Ended by their own number of iterations before the budget: {', '.join(early)}.")
    if results["failures"]:
        texts.append(f"Runs that failed and are not in the table: {len(results['failures'])}.")
    return texts


def paragraphs(texts: Sequence[str]) -> list[str]:
    """Texts with an empty line between."""
    return "\n\n".join(texts).split("\n")


def spread(figure: Mapping[str, Any] | None, text: Callable[[float], str]) -> str:
    """Median and quartiles; where one falls on runs that did not get there, ``>`` and what they spent at least."""
    if figure is None:
        return DASH
    least = figure.get("at_least") or {}

    def shown(name: str) -> str:
        value = figure[name]
        return text(value) if value is not None else f"> {text(least[name])}"

    median, lower, upper = (shown(name) for name in ("median", "lower_quartile", "upper_quartile"))
    return f"**{median}**" if lower == upper else f"**{median}** [{lower}, {upper}]"


def times(row: Mapping[str, Any], name: str, reference: str) -> str:
    """A ratio to the reference, with the sign that says how it is meant."""
    figure = row[name]
    if row["method"] == reference:
        return "1"
    if figure is None or figure["value"] is None:
        return DASH
    sign = {"exact": "", "at least": "≥ ", "at most": "≤ "}[figure["sense"]]
    text = f"**{sign}{figure['value']:.1f}**"
    if figure["lower_quartile"] is None:
        return text
    least = "≥ " if figure["bounds"] else ""
    return f"{text} [{least}{figure['lower_quartile']:.1f}, {least}{figure['upper_quartile']:.1f}]"


def target_text(target: int | None) -> str:
    """A target's number, or a dash where the environment has but one."""
    return DASH if target is None else str(target)
