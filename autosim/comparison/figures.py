"""From the run folders of a comparison to its figures: a row for each method, each target apart and all together."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from autosim.comparison.plan import Comparison, ComparisonRun, TargetRule
from autosim.comparison.statistics import Reached, censored_quartiles, quartiles, ratio
from autosim.reports.formatting import is_number
from autosim.runs.config import Budget, available_cpus, plain
from autosim.runs.folder import RunFolder
from autosim.runs.summary import versions, without_out

FROM_SUMMARY = (
    "iterations", "images", "seconds", "setup_seconds", "test_score", "prior_score", "oracle_score", "gap_closed",
)  # fmt: skip
SUMMARISED = ("val_score", "test_score", "gap_closed", "images", "seconds", "setup_seconds")
NOT_FIGURES = ("iteration", "seconds", "core_seconds", "images", "render_cost", "val_score")


def gather_comparison(
    comparison: Comparison, finished: Sequence[ComparisonRun], failures: Mapping[str, str], command: str
) -> dict[str, Any]:
    """Everything that ``comparison.json`` holds, from the folders of finished runs. ``failures``: causes by name."""
    runs = [run_row(comparison, job) for job in finished]
    budget = comparison.settings.budget
    scores = {target: target_score(comparison.rule, runs, target) for target in comparison.targets}
    for run in runs:
        reach(run, scores[run["target"]], budget)
    several = len(comparison.targets) > 1
    return {
        "comparison": comparison.ablation or "algorithms",
        "env": comparison.env,
        "command": without_out(command),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpus": available_cpus(),
        "workers": comparison.workers,
        "versions": versions(),
        "budget": plain(budget),
        "seeds": list(comparison.seeds),
        "targets": list(comparison.targets),
        "score_name": runs[0]["score_name"] if runs else "score",
        "target_rule": str(comparison.rule),
        "target_score": [{"target": target, "value": score} for target, score in scores.items()],
        "reference": comparison.reference,
        "methods": {
            method.label: {"algo": method.algo, "config": plain(method.config)} for method in comparison.methods
        },
        "rows": method_rows(comparison, runs, budget),
        "by_target": [
            {"target": target, "rows": method_rows(comparison, [r for r in runs if r["target"] == target], budget)}
            for target in comparison.targets
            if several
        ],
        "failures": [{"run": name, "cause": cause} for name, cause in failures.items()],
        "runs": runs,
    }


def run_row(comparison: Comparison, job: ComparisonRun) -> dict[str, Any]:
    """One run's figures. ``val_score`` is the best validation score, ``trace`` has [images, seconds, best so far]
    wherever the best rose and at the end, ``figures`` the means over iterations of the method's own.
    """
    folder = RunFolder(comparison.runs / job.name)
    summary, lines = folder.read_summary(), folder.read_metrics()
    trace: list[list[float]] = []
    best: float | None = None
    for line in lines:
        score = line.get("val_score")
        if score is not None and (best is None or score > best):
            best = score
            trace.append([line["images"], round(line["seconds"], 3), round(score, 5)])
    if best is not None and trace[-1][0] < lines[-1]["images"]:
        trace.append([lines[-1]["images"], round(lines[-1]["seconds"], 3), round(best, 5)])
    names = dict.fromkeys(name for line in lines for name in line if name not in NOT_FIGURES)
    known = {name: [line[name] for line in lines if is_number(line.get(name))] for name in names}
    return {
        "method": job.label,
        "target": job.target,
        "seed": job.seed,
        "run": job.name,
        **{name: _rounded(summary.get(name)) for name in FROM_SUMMARY},
        "val_score": _rounded(best),
        "score_name": summary["score_name"],
        "ended_early": ended_early(job, summary),
        "figures": {name: _rounded(statistics.fmean(values)) for name, values in known.items() if values},
        "trace": trace,
    }


def ended_early(job: ComparisonRun, summary: Mapping[str, Any]) -> bool:
    """Whether the algorithm's own number of iterations ended the run before the budget did."""
    budget = job.config.settings.budget
    limits = ((budget.images, summary["images"]), (budget.seconds, summary["seconds"]))
    used_up = any(limit is not None and used >= limit for limit, used in limits)
    return budget.iterations is None and not used_up


def target_score(rule: TargetRule, runs: Sequence[Mapping[str, Any]], target: int | None) -> float | None:
    """The score to be reached on a target; None where the runs that define it are missing.

    The lower of the two middle values where the number of runs is even, so that half of them have reached it.
    """
    if rule.score is not None:
        return rule.score
    known = [r["val_score"] for r in runs if r["method"] == rule.setter and r["target"] == target]
    known = [score for score in known if score is not None]
    return statistics.median_low(known) if known else None


def reach(run: dict[str, Any], score: float | None, budget: Budget) -> None:
    """Add ``images_to_target`` and ``seconds_to_target``, null where the run did not reach ``score``."""
    found = next(
        (point for point in run["trace"] if score is not None and _rounded(point[2], 5) >= round(score, 5)), None
    )
    run["images_to_target"], run["seconds_to_target"] = (found[0], found[1]) if found else (None, None)


def method_rows(comparison: Comparison, runs: Sequence[Mapping[str, Any]], budget: Budget) -> list[dict[str, Any]]:
    """A row for each method: quartiles over its runs, and ratios to the reference's."""
    limits = {"images": budget.images, "seconds": budget.seconds}
    reached: dict[tuple[str, str], dict[int | None, list[Reached]]] = {}
    for run in runs:
        for unit, limit in limits.items():
            groups = reached.setdefault((unit, run["method"]), {})
            groups.setdefault(run["target"], []).append(reached_by(run, unit, limit))
    rows = []
    for method in comparison.methods:
        own = [run for run in runs if run["method"] == method.label]
        row: dict[str, Any] = {"method": method.label, "algo": method.algo, "seeds": len(own)}
        row |= {name: quartiles([run[name] for run in own]) for name in SUMMARISED}
        row["reached"] = sum(run["images_to_target"] is not None for run in own)
        row["ended_early"] = sum(run["ended_early"] for run in own)
        for unit in limits:
            ours, reference = (reached.get((unit, label), {}) for label in (method.label, comparison.reference))
            row[f"{unit}_to_target"] = censored_quartiles([run for group in ours.values() for run in group])
            row[f"{unit}_ratio"] = ratio(ours, reference)
        names = dict.fromkeys(name for run in own for name in run["figures"])
        row["figures"] = {name: quartiles([run["figures"].get(name) for run in own]) for name in names}
        rows.append(row)
    return rows


def reached_by(run: Mapping[str, Any], unit: str, limit: float | None) -> Reached:
    """What a run spent (``unit``: images or seconds) until it reached the target score.

    Where it did not, what it spent in all, but no more than the budget: its last iteration may have gone beyond.
    """
    value = run[f"{unit}_to_target"]
    if value is not None:
        return Reached(float(value))
    spent = float(run[unit])
    return Reached(spent if limit is None else min(spent, limit), censored=True)


def _rounded(value: Any, digits: int = 6) -> Any:
    return round(value, digits) if isinstance(value, float) else value
