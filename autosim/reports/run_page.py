"""``report.html``: a run on one page, made from nothing but the files in its folder, with nothing to load."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from autosim.files import write_whole
from autosim.reports.formatting import DASH, percent_text, score_text

PICTURES = (
    (
        "scenes.png",
        "Scenes",
        "The same scenes at the start, in the middle and at the end of the run; then the target's.",
    ),
    ("attributes.png", "Attributes", "How often each value occurs; slots of a class are lined up with the target's."),
    ("curves.png", "Curves", "Figures of each iteration."),
)
STYLE = """
:root { --ink: #24292f; --soft: #57606a; --line: #d8dee4; --start: #b3651d; --learned: #1f5fa8; --target: #2e8b6f; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: var(--ink); background: #f6f8fa;
  margin: 0; }
main { max-width: 66rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
header { margin-bottom: 1.5rem; }
h1 { font-size: 1.7rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 0 0 .6rem; }
p { margin: .25rem 0; color: var(--soft); }
section { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 1rem 1.25rem; margin: 1rem 0;
  overflow-x: auto; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: .75rem; margin: 1rem 0; }
.card { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: .6rem .9rem; }
.card b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: .85rem; }
.note { border-left: 4px solid var(--start); padding-left: .75rem; color: var(--ink); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .7rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; }
td.n, th.n { text-align: right; }
.start { color: var(--start); } .learned { color: var(--learned); } .target { color: var(--target); }
img { max-width: 100%; height: auto; display: block; margin: .5rem auto 0; }
pre { background: #f6f8fa; border-radius: 6px; padding: .75rem; overflow-x: auto; margin: 0; font-size: .85rem; }
details summary { cursor: pointer; font-weight: 600; }
"""
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<header><h1>{title}</h1><p>{subtitle}</p></header>
{body}
</main>
</body>
</html>
"""


def write_report(folder: Path, summary: Mapping[str, Any]) -> Path:
    """Write ``report.html`` from a run's summary, configuration and pictures; returns its path. Parts that are missing
    in the folder are left out.
    """
    title = f"{summary['algo']} on {summary['env']}"
    interrupted = " · interrupted" if summary.get("interrupted") else ""
    subtitle = f"seed {summary['seed']} · {summary['iterations']} iterations · {summary['date']}{interrupted}"
    parts = [
        cards(summary),
        f'<p class="note">{escape(summary["note"])}</p>' if summary.get("note") else "",
        *(picture(folder / "pictures" / name, heading, caption) for name, heading, caption in PICTURES),
        attribute_table(summary.get("attributes", {})),
        figures_table(summary),
        configuration(folder / "config.yaml", str(summary.get("command", ""))),
    ]
    page = PAGE.format(title=escape(title), style=STYLE, subtitle=escape(subtitle), body="\n".join(filter(None, parts)))
    path = folder / "report.html"
    write_whole(path, page.encode())
    return path


def cards(summary: Mapping[str, Any]) -> str:
    """The main figures, large."""
    name = summary.get("score_name", "score")
    shown = (
        (f"{name}, start", score_text(summary.get("prior_score")), "start"),
        (f"{name}, learned", score_text(summary.get("test_score")), "learned"),
        (f"{name}, target's own", score_text(summary.get("oracle_score")), "target"),
        ("gap closed", percent_text(summary.get("gap_closed")), ""),
        ("images rendered", f"{summary['images']:,}", ""),
        ("seconds", f"{summary['seconds']:.0f}", ""),
    )
    return '<div class="cards">' + "".join(
        f'<div class="card"><b class="{kind}">{escape(value)}</b><span>{escape(label)}</span></div>'
        for label, value, kind in shown
    ) + "</div>"  # fmt: skip


def attribute_table(attributes: Mapping[str, Mapping[str, Any]]) -> str:
    """Mean and spread of each attribute at the start, as learned and of the target, and the share of the way moved."""
    if not attributes:
        return ""
    rows = []
    for key, entry in attributes.items():
        cells = "".join(
            f'<td class="n {part}">{escape(_spread(entry.get(part)))}</td>' for part in ("start", "learned", "target")
        )
        rows.append(f'<tr><td>{escape(key)}</td>{cells}<td class="n">{percent_text(entry.get("recovered"))}</td></tr>')
    heads = '<th>attribute</th><th class="n">start</th><th class="n">learned</th><th class="n">target</th>'
    return (
        "<section><h2>How far each attribute moved</h2>"
        f'<table><tr>{heads}<th class="n">moved</th></tr>{"".join(rows)}</table>'
        "<p>Mean ± standard deviation, or the share of each choice. Moved: 100 % is at the target, 0 % at the start; "
        "a dash where the start was there already. Slots of a class are compared as a set.</p></section>"
    )


def figures_table(summary: Mapping[str, Any]) -> str:
    """Every other figure of the summary."""
    left_out = {"attributes", "versions", "command", "note", "date"}
    rows = "".join(
        f'<tr><td>{escape(name.replace("_", " "))}</td><td class="n">{escape(_plain(value))}</td></tr>'
        for name, value in summary.items()
        if name not in left_out and not isinstance(value, (dict, list))
    )
    versions = ", ".join(f"{name} {number}" for name, number in summary.get("versions", {}).items())
    return f"<section><h2>Summary</h2><table>{rows}</table><p>{escape(versions)}</p></section>"


def configuration(path: Path, command: str) -> str:
    """The command and the configuration file."""
    config = path.read_text(encoding="utf-8") if path.exists() else ""
    return (
        f"<section><h2>Command</h2><pre>{escape(command)}</pre></section>"
        f"<section><details><summary>config.yaml</summary><pre>{escape(config)}</pre></details></section>"
    )


def picture(path: Path, heading: str, caption: str) -> str:
    """A picture inside the page; empty where there is no file."""
    if not path.exists():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    image = f'<img alt="{escape(heading)}" src="data:image/png;base64,{data}">'
    return f"<section><h2>{escape(heading)}</h2><p>{escape(caption)}</p>{image}</section>"


def _spread(summary: Mapping[str, Any] | None) -> str:
    if summary is None:
        return DASH
    if "probabilities" in summary:
        return " / ".join(f"{100 * p:.0f}" for p in summary["probabilities"]) + " %"
    return f"{summary['mean']:.3g} ± {summary['std']:.2g}"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return DASH if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
