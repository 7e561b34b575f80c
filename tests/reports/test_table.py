"""One table in three forms."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from autosim.reports.table import Table

TABLE = Table(("what", "<is>"), (("a|b\nc", "**1** [0, 2]"), ("[red]d", "–")), "lr")


def test_markdown_keeps_a_cell_in_its_cell() -> None:
    assert TABLE.markdown().splitlines() == [
        "| what | <is> |",
        "| --- | ---: |",
        "| a\\|b c | **1** [0, 2] |",
        "| [red]d | – |",
    ]


def test_html_is_escaped_and_bold_where_it_is_marked() -> None:
    html = str(TABLE.html("wide"))
    assert '<th class="n">&lt;is&gt;</th>' in html and "<is>" not in html and '<table class="wide">' in html
    assert '<td class="n"><strong>1</strong> [0, 2]</td>' in html


def test_the_terminal_shows_texts_as_they_are() -> None:
    screen = io.StringIO()
    Console(file=screen, width=60).print(TABLE.rich("title"))
    shown = screen.getvalue()
    assert "[red]d" in shown and "1 [0, 2]" in shown and "**" not in shown and shown.lstrip().startswith("title")


def test_json_is_read_back() -> None:
    assert Table.from_json(TABLE.to_json()) == TABLE


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        {},
        {**TABLE.to_json(), "alignment": "l"},
        {**TABLE.to_json(), "alignment": "xy"},
        {**TABLE.to_json(), "alignment": None},
        {**TABLE.to_json(), "lines": [["1"]]},
        {**TABLE.to_json(), "lines": [["1", 2]]},
        {**TABLE.to_json(), "lines": None},
        {**TABLE.to_json(), "heads": "ab"},
    ],
)
def test_what_is_no_table_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError):
        Table.from_json(wrong)
