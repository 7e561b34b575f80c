"""What came of a run, in sentences: what was learned, what the pictures cannot show, what to try next.

Everything is read off the summary, so that a report that is written again says the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from autosim.learning.tasks.score_noise import score_noise
from autosim.reports.formatting import percent_text, score_text

# Shares of the way from the start to the target.
FOUND, APPROACHED = 0.75, 0.25
# Below this share of its variance on held-out frames, an attribute is not in what the features tell.
SEEN = 0.1
# A gap is closed as far as this run's method will close it.
CLOSED = 0.8
# Names that a sentence holds.
NAMED = 6


def verdict(summary: Mapping[str, Any]) -> list[str]:
    """Sentences for the end of a run: the score, structure and attributes found or not, attributes not seen, what to do
    next.
    """
    if summary.get("interrupted"):
        return [f"Interrupted after {summary['iterations']} iterations: what was learned was not scored."]
    return [*_scored(summary), *_found(summary), *_unseen(summary), _next(summary)]


def noise(summary: Mapping[str, Any]) -> float:
    """By how much two scores have to differ."""
    return score_noise(summary.get("test_scores") or ())


def gain(summary: Mapping[str, Any]) -> float | None:
    """Learned score less the start's, and 0 where the noise may have made it; None where it is not known."""
    start, learned = summary.get("prior_score"), summary.get("test_score")
    if start is None or learned is None:
        return None
    return learned - start if abs(learned - start) > noise(summary) else 0.0


def _scored(summary: Mapping[str, Any]) -> list[str]:
    name, start, learned = summary.get("score_name"), summary.get("prior_score"), summary.get("test_score")
    gained = gain(summary)
    if gained is None:
        return ["The task's gain is not known: there are no labelled test images to score it on."]
    scores = f"{name} {score_text(start)} from the start's images, {score_text(learned)} from the learned ones"
    told = [
        f"The task gained: {scores}."
        if gained > 0
        else f"The task lost: {scores}. Do not use what was learned."
        if gained < 0
        else f"No gain that can be told from chance: {scores}, and another network changes them by "
        f"{noise(summary):.2f}."
    ]
    oracle, broad, real = (summary.get(key) for key in ("oracle_score", "broad_score", "real_score"))
    if oracle is not None and start is not None:
        told.append(
            f"The target's own distribution gives {score_text(oracle)}: {percent_text(summary.get('gap_closed'))} of "
            "the gap is closed."
            if oracle - start > noise(summary)
            else f"There was nothing to gain: the target's own distribution gives {score_text(oracle)}."
        )
    if broad is not None and learned is not None:
        better = learned - broad
        told.append(
            f"Broad randomisation gives {score_text(broad)}: "
            + ("learning was worth it." if better > noise(summary) else "it does as well without any learning.")
        )
    if real is not None:
        told.append(f"Training on the real images gives {score_text(real)}.")
    return told


def _found(summary: Mapping[str, Any]) -> list[str]:
    entries: Mapping[str, Mapping[str, Any]] = {**summary.get("structure", {}), **summary.get("attributes", {})}
    known = {key: entry["recovered"] for key, entry in entries.items() if entry.get("recovered") is not None}
    # A location stands for its coordinates.
    whole = {key.removesuffix("location") for key in known if key.endswith("location")}
    parts = {f"{stem}{axis}" for stem in whole for axis in "xyz"}
    known = {key: share for key, share in known.items() if key not in parts}
    if not known:
        return []
    found = [key for key, share in known.items() if share >= FOUND]
    part = [key for key, share in known.items() if APPROACHED <= share < FOUND]
    rest = [key for key, share in known.items() if share < APPROACHED]
    told = [f"Found: {_names(found)}" if found else "Nothing was found"]
    told += [f"on the way: {_names(part)}"] if part else []
    told += [f"not found: {_names(rest)}"] if rest else []
    return ["; ".join(told) + "."]


def _unseen(summary: Mapping[str, Any]) -> list[str]:
    seen: Mapping[str, float] = summary.get("seen", {})
    unseen = [key for key, share in seen.items() if share < SEEN]
    if not unseen:
        return []
    return [f"Not seen: {_names(unseen)}; nothing was learned of these."]


def _next(summary: Mapping[str, Any]) -> str:
    gained = gain(summary)
    if gained is None:
        return "Next: look at the pictures; --target.test DIR with labelled images tells whether the task gains."
    others = f"another method (autosim list --env {summary['env']})"
    oracle, start, closed = summary.get("oracle_score"), summary.get("prior_score"), summary.get("gap_closed")
    if oracle is not None and start is not None and oracle - start <= noise(summary):
        return "Next: a harder target, more closing frames, or --closing_networks 3 for a finer measure."
    if gained <= 0:
        return f"Next: {others}, or a start whose ranges hold what the target shows."
    if closed is not None and closed < CLOSED:
        return f"Next: more iterations than {summary['iterations']} (--algo.iterations), or {others}."
    return "Next: autosim export writes a data set of what was learned."


def _names(keys: Iterable[str]) -> str:
    names = list(keys)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
