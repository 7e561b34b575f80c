"""From the run folders of a comparison to its figures: a row for each method, each target apart and all together."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from autosim.comparison.checkpoints import read_checkpoint
from autosim.comparison.known import KnownRows, settings_of, target_config, target_settings_of
from autosim.comparison.measuring import MEASURED, read_scores
from autosim.comparison.plan import Comparison, ComparisonRun
from autosim.comparison.preparation import references_of
from autosim.comparison.statistics import area, mean_interval, median
from autosim.reports.formatting import is_number
from autosim.runs.config import Budget, plain
from autosim.runs.folder import RunFolder
from autosim.runs.summary import without_out

PARTS = ("rendering_core_seconds", "network_core_seconds")
FROM_SUMMARY = ("iterations", "images", "render_cost", "seconds", "core_seconds", "setup_core_seconds", *PARTS)
NOT_FIGURES = ("iteration", "seconds", "core_seconds", "images", "render_cost", "val_score")
# What methods are compared with, by the names that tables give them.
REFERENCES = {"start": "start", "broad": "broad randomisation", "oracle": "oracle", "real": "trained on real"}
DIGITS = 5


def gather_comparison(
    comparison: Comparison,
    finished: Sequence[ComparisonRun],
    known: KnownRows,
    failures: Mapping[str, str],
    command: str,
) -> dict[str, Any]:
    """Everything that ``comparison.json`` holds, from the folders of finished runs and the ``known`` rows, and from
    nothing else: it comes out the same whenever it is made. ``failures``: causes by name.
    """
    targets = [target_row(comparison, target, known) for target in comparison.targets]
    by_target = {row["target"]: row for row in targets}
    runs = [with_gaps(known.run(job) or run_row(comparison, job), by_target[job.target]) for job in finished]
    return {
        "comparison": comparison.ablation or "algorithms",
        "env": comparison.env,
        "command": without_out(command),
        "date": max((run["date"] for run in runs), default=None),
        "budget": plain(comparison.settings.budget),
        "measure": plain(comparison.measure),
        "seeds": list(comparison.seeds),
        "over": over(comparison),
        "score_name": targets[0]["score_name"],
        "methods": {
            method.label: {"algo": method.algo, "shown": method.shown, "config": plain(method.config)}
            for method in comparison.methods
        },
        "rows": [
            *(reference_row(name, targets) for name in REFERENCES if any(name in row["scores"] for row in targets)),
            *(method_row(comparison, method.label, runs) for method in comparison.methods),
        ],
        "targets": targets,
        "failures": [{"run": name, "cause": cause} for name, cause in failures.items()],
        "runs": runs,
    }


def over(comparison: Comparison) -> str:
    """What means are taken over: targets, or the seeds of the one target."""
    return "targets" if len(comparison.targets) > 1 else "seeds"


def run_row(comparison: Comparison, job: ComparisonRun) -> dict[str, Any]:
    """One run's figures: ``checkpoints``, and ``figures``, the means over iterations of the method's own."""
    folder = RunFolder(comparison.runs / job.name)
    summary, lines = folder.read_summary(), folder.read_metrics()
    measured = read_scores(folder.path / MEASURED)
    names = dict.fromkeys(name for line in lines for name in line if name not in NOT_FIGURES)
    own = {name: [line[name] for line in lines if is_number(line.get(name))] for name in names}
    checkpoints = []
    for share in comparison.measure.shares:
        found, scores = read_checkpoint(folder.path, share), measured["scores"][f"{share:g}"]
        checkpoints.append(
            {
                "share": share,
                "iterations": found.iterations,
                "core_seconds": found.core_seconds,
                "images": found.images,
                "render_cost": found.render_cost,
                "score": rounded(statistics.fmean(scores)),
                "scores": [rounded(score) for score in scores],
            }
        )
    return {
        "method": job.label,
        "target": job.target,
        "seed": job.seed,
        "run": job.name,
        "settings": settings_of(job.config),
        **{name: rounded(summary.get(name)) for name in FROM_SUMMARY},
        "ended_early": ended_early(job, summary),
        "checkpoints": checkpoints,
        "figures": {name: rounded(statistics.fmean(values)) for name, values in own.items() if values},
        "machine": measured["machine"],
        "date": summary["date"],
        "versions": summary["versions"],
    }


def target_row(comparison: Comparison, target: int | None, known: KnownRows) -> dict[str, Any]:
    """The scores of what methods are compared with on a target."""
    if (row := known.target(comparison, target)) is not None:
        return row
    found = read_scores(references_of(comparison, target).path)
    scores = {name: [rounded(score) for score in values] for name, values in found["scores"].items()}
    settings = target_settings_of(target_config(comparison, target))
    return {"target": target, "settings": settings, "score_name": found["score_name"], "scores": scores}


def with_gaps(run: dict[str, Any], target: Mapping[str, Any]) -> dict[str, Any]:
    """A run with the share of the gap from start to oracle that each checkpoint closes, and the area under them; None
    where there is no gap.
    """
    checkpoints = [{**point, "gap": gap_of(point["score"], target)} for point in run["checkpoints"]]
    gaps = [point["gap"] for point in checkpoints]
    shares = [point["share"] for point in checkpoints]
    return {**run, "checkpoints": checkpoints, "area": None if None in gaps else rounded(area(shares, gaps))}


def gap_of(score: float, target: Mapping[str, Any]) -> float | None:
    """``(score - start) / (oracle - start)``; None where the oracle is not known or no better than the start."""
    means = {name: statistics.fmean(scores) for name, scores in target["scores"].items()}
    if "oracle" not in means or means["oracle"] <= means["start"]:
        return None
    return rounded((score - means["start"]) / (means["oracle"] - means["start"]))


def ended_early(job: ComparisonRun, summary: Mapping[str, Any]) -> bool:
    """Whether the algorithm's own number of iterations ended the run before the budget did."""
    budget: Budget = job.config.settings.budget
    charged = summary["setup_core_seconds"] + summary["core_seconds"]
    limits = (
        (budget.core_seconds, charged),
        (budget.images, summary["images"]),
        (budget.seconds, summary["seconds"]),
    )
    used_up = any(limit is not None and used >= limit for limit, used in limits)
    return budget.iterations is None and not used_up


def reference_row(name: str, targets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What methods are compared with, as a row of its own: over targets, as for methods, or over the networks of the
    one target.
    """
    known = [row for row in targets if name in row["scores"]]
    scores = [statistics.fmean(row["scores"][name]) for row in known]
    if len(targets) == 1:
        scores = [score for row in known for score in row["scores"][name]]
        known = known * len(scores)
    gaps = [gap_of(score, row) for score, row in zip(scores, known, strict=True)]
    return {
        "method": REFERENCES[name],
        "reference": True,
        "targets": len({row["target"] for row in known}),
        "score": mean_interval(scores),
        "gap": mean_interval(gaps),
    }


def method_row(comparison: Comparison, label: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A method over all targets, on each the mean over its seeds, or over the seeds of the one target: ``score`` and
    ``gap`` are those at the end.
    """
    own = [run for run in runs if run["method"] == label]
    on_target = [[run for run in own if run["target"] == target] for target in comparison.targets]
    on_target = [group for group in on_target if group]
    targets = len(on_target)
    if over(comparison) == "seeds":
        on_target = [[run] for run in own]
    points = []
    for place, share in enumerate(comparison.measure.shares):
        at = [[run["checkpoints"][place] for run in group] for group in on_target]
        used = [point for group in at for point in group]
        points.append(
            {
                "share": share,
                **{name: median([point[name] for point in used]) for name in ("core_seconds", "images", "render_cost")},
                **{name: mean_interval([_mean([p[name] for p in group]) for group in at]) for name in ("score", "gap")},
            }
        )
    names = dict.fromkeys(name for run in own for name in run["figures"])
    return {
        "method": label,
        "reference": False,
        "targets": targets,
        "runs": len(own),
        "score": points[-1]["score"],
        "gap": points[-1]["gap"],
        "area": mean_interval([_mean([run["area"] for run in group]) for group in on_target]),
        "checkpoints": points,
        "setup_core_seconds": median([run["setup_core_seconds"] for run in own]),
        "spent": {name: median([share_of(run, name) for run in own]) for name in PARTS},
        "ended_early": sum(run["ended_early"] for run in own),
        "figures": {name: median([run["figures"].get(name) for run in own]) for name in names},
    }


def share_of(run: Mapping[str, Any], part: str) -> float | None:
    """The share of a run's iterations that a part of their CPU seconds has; None where it was not recorded."""
    spent = run.get(part)
    return None if spent is None or not run["core_seconds"] else rounded(spent / run["core_seconds"])


def rounded(value: Any) -> Any:
    """A number with the digits that results keep; anything else as it is."""
    return round(value, DIGITS) if isinstance(value, float) else value


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
