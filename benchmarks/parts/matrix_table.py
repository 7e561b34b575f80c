"""From the runs of ``matrix.py`` to its table: a line for each pair, and the bars that it misses."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autosim.learning.tasks.score_noise import NETWORK_NOISE, score_noise
from autosim.reports.formatting import DASH, memory_text, percent_text, score_text, seconds_text
from autosim.reports.table import Table

Row = Mapping[str, Any]
HEADS = ("environment", "method", "ended", "MiB", "s (CPU s)", "start → learned (oracle)", "gap closed")
# Most MiB of a run's own process, and most CPU seconds: five minutes of both cores of a small machine.
MOST_MEMORY, MOST_CORE_SECONDS = 3072, 600
# Least share of the gap that a method closes, where there is such a bar.
LEAST_CLOSED = 0.8


def merged(before: Sequence[Row], now: Sequence[Row]) -> list[Row]:
    """Rows of earlier runs, those of the same method, environment and seed replaced by rows of now; sorted."""
    found = {place(row): row for row in (*before, *now)}
    return [found[key] for key in sorted(found)]


def place(row: Row) -> tuple[str, str, int]:
    """What a row is known by."""
    return row["env"], row["algo"], row["seed"]


def pairs(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """The rows of each pair, (environment, method)."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["env"], row["algo"]), []).append(row)
    return found


def gaps(rows: Sequence[Row]) -> list[float]:
    """Shares of the gap closed, one for each run and closing network; empty where scores are not known, or where there
    is no gap: no more than chance between start and target.

    A network is compared with those of the same seed on frames of the start and of the target's own distribution. Where
    single networks were not measured, it is the run's own figure.
    """
    found: list[float] = []
    for row in rows:
        networks = row.get("networks")
        if networks is None:
            if row.get("gap_closed") is not None and row["oracle_score"] - row["prior_score"] > score_noise(()):
                found.append(row["gap_closed"])
            continue
        start, oracle = statistics.fmean(networks["prior"]), statistics.fmean(networks["oracle"])
        if oracle - start > score_noise(networks["learned"]):
            found += [(score - start) / (oracle - start) for score in networks["learned"]]
    return found


def noise(rows: Sequence[Row]) -> float:
    """Standard deviation of the scores of single closing networks on frames of one distribution; where there is one
    network each, what networks differ by elsewhere.
    """
    known = [row["networks"][name] for row in rows if row.get("networks") for name in ("prior", "learned")]
    spread = [statistics.variance(scores) for scores in known if len(scores) > 1]
    return statistics.fmean(spread) ** 0.5 if spread else NETWORK_NOISE


def missed(rows: Sequence[Row], closing: bool) -> list[str]:
    """The bars that the runs of a pair miss; ``closing`` where it has to close a share of the gap."""
    return list(dict.fromkeys(_missed(rows, closing)))


def _missed(rows: Sequence[Row], closing: bool) -> Iterator[str]:
    for row in rows:
        if row["outcome"] not in ("ended", "refused"):
            yield row["outcome"]
        if (row.get("memory") or 0) > MOST_MEMORY:
            yield "memory"
        if (row.get("core_seconds") or 0) > MOST_CORE_SECONDS:
            yield "time"
        start, learned = row.get("prior_score"), row.get("test_score")
        if start is not None and learned is not None and learned < start - 2 * noise(rows):
            yield "below its start"
    closed = gaps(rows)
    if closing and closed and statistics.median(closed) < LEAST_CLOSED:
        yield "gap closed"


def matrix_table(rows: Sequence[Row]) -> Table:
    """A line for each pair; figures are medians over its runs that have ended."""
    lines = []
    for (env, algo), own in pairs(rows).items():
        ended = [row for row in own if row["outcome"] == "ended"]
        outcomes = list(dict.fromkeys(row["outcome"] for row in own))
        told = f"{len(ended)} of {len(own)}" if ended else ", ".join(outcomes)
        if not ended:
            lines.append((env, algo, told, *[DASH] * 4))
            continue
        seconds, cores = median(ended, "seconds"), median(ended, "core_seconds")
        scores = [score_text(median(ended, name)) for name in ("prior_score", "test_score", "oracle_score")]
        lines.append(
            (
                env,
                algo,
                told,
                memory_text(max((row["memory"] for row in ended if row["memory"]), default=None)),
                f"{seconds_text(seconds)} ({seconds_text(cores)})",
                f"{scores[0]} → {scores[1]} ({scores[2]})",
                closed_text(gaps(ended)),
            )
        )
    return Table(HEADS, tuple(lines), "lllrrrr")


def median(rows: Sequence[Row], name: str) -> float | None:
    """The median of a figure over the rows that have it."""
    known = [float(row[name]) for row in rows if row.get(name) is not None]
    return statistics.median(known) if known else None


def closed_text(shares: Sequence[float]) -> str:
    """The median share, and the least and the largest where there are several."""
    if not shares:
        return DASH
    middle = percent_text(statistics.median(shares))
    return f"{middle} [{100 * min(shares):.0f}, {100 * max(shares):.0f}]" if len(shares) > 1 else middle


def notes(
    rows: Sequence[Row], closing: Mapping[tuple[str, str], bool], lacking: Sequence[tuple[str, str]] = ()
) -> list[str]:
    """What the table does not say: what its columns are, which pairs are ``lacking``, what was refused and why, where
    there is no gap, and which bars are missed.
    """
    count = sorted({row["seed"] for row in rows})
    networks = sorted({len(row["networks"]["learned"]) for row in rows if row.get("networks")})
    over = f"seeds and, where a range is shown, {networks[-1]} closing networks" if networks else "seeds"
    texts = [
        f"Plain commands with no option but --seed ({', '.join(map(str, count))}). MiB: the most that the run's own "
        "process held. Seconds by the clock depend on what else the machine was doing; CPU seconds are those of all "
        "processes of a run, set-up and closing scores included. Gap closed: the median, the least and the largest "
        f"over {over}."
    ]
    refused = {(row["env"], row["algo"]): row["reason"] for row in rows if row["outcome"] == "refused"}
    if refused:
        clauses = dict.fromkeys(reason.partition("; algorithms")[0] for reason in refused.values())
        texts.append(f"Refused: {'; '.join(clauses)}.")
    gapless = sorted({row["env"] for row in rows if row["outcome"] == "ended" and not gaps([row])})
    if gapless:
        texts.append(
            f"No gap on {', '.join(gapless)}: networks that learn from the target's own distribution score no better "
            "than those that learn from the start, by more than chance."
        )
    if lacking:
        by_env: dict[str, list[str]] = {}
        for env, algo in lacking:
            by_env.setdefault(env, []).append(algo)
        told = "; ".join(f"{', '.join(algos)} on {env}" for env, algos in by_env.items())
        texts.append(f"Not run yet: {told}.")
    faults = {key: missed(own, closing.get(key, False)) for key, own in pairs(rows).items()}
    told = "; ".join(f"{algo} on {env} ({', '.join(found)})" for (env, algo), found in faults.items() if found)
    texts.append(
        f"Bars: every run ends or is refused, ≤ {MOST_MEMORY:,} MiB, ≤ {MOST_CORE_SECONDS} CPU s, not below its start "
        f"by more than twice the standard deviation of closing networks ({NETWORK_NOISE} where a pair has one each); "
        "metasim closes at least "
        f"{100 * LEAST_CLOSED:.0f} % of the gap wherever it can learn, metasim2 likewise. Missed by: {told or 'none'}."
    )
    return texts
