"""A table of texts that is written once and shown as Markdown, as HTML or on the terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import rich.table
    from markupsafe import Markup

BOLD = re.compile(r"\*\*(.*?)\*\*")
# Columns of text are not made narrower than this on a terminal, where their texts are longer.
TEXT_WIDTH = 16
HTML = """<table class="{{ kind }}">
<tr>{% for head, side in heads %}<th{% if side == "r" %} class="n"{% endif %}>{{ head }}</th>{% endfor %}</tr>
{% for line in lines -%}
<tr>{% for cell, side in line %}<td{% if side == "r" %} class="n"{% endif %}>
{%- for part in cell -%}
{%- if loop.index is even %}<strong>{{ part }}</strong>{% else %}{{ part }}{% endif -%}
{%- endfor -%}
</td>{% endfor %}</tr>
{% endfor %}</table>"""


@dataclass(frozen=True)
class Table:
    """``heads``, ``lines`` of as many texts (bold between ``**``), and ``alignment``, a letter l or r for each column.

    ``ValueError`` where their numbers differ.
    """

    heads: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    alignment: str

    def __post_init__(self) -> None:
        widths = {len(line) for line in (self.heads, *self.lines, self.alignment)}
        if len(widths) > 1 or not set(self.alignment) <= {"l", "r"}:
            raise ValueError("not heads, lines of as many texts and an alignment of l and r")

    def to_json(self) -> dict[str, Any]:
        """As JSON knows it; :meth:`from_json` reads it back."""
        return {"heads": list(self.heads), "lines": [list(line) for line in self.lines], "alignment": self.alignment}

    @staticmethod
    def from_json(value: Any) -> Table:
        """``ValueError`` where ``value`` is not a table."""
        wanted = {"heads", "lines", "alignment"}
        if not isinstance(value, Mapping) or set(value) != wanted or not isinstance(value["alignment"], str):
            raise ValueError("not heads, lines of as many texts and an alignment of l and r")
        texts = [value["heads"], *value["lines"]] if isinstance(value["lines"], list) else [None]
        if not all(isinstance(line, list) and all(isinstance(text, str) for text in line) for line in texts):
            raise ValueError("not heads, lines of as many texts and an alignment of l and r")
        return Table(tuple(value["heads"]), tuple(map(tuple, value["lines"])), value["alignment"])

    def markdown(self) -> str:
        """As Markdown. A cell is one line; what would end it is escaped."""
        rule = [{"l": "---", "r": "---:"}[letter] for letter in self.alignment]
        heads, *lines = ([markdown_cell(text) for text in line] for line in (self.heads, *self.lines))
        return "\n".join(f"| {' | '.join(line)} |" for line in (heads, rule, *lines))

    def html(self, kind: str = "") -> Markup:
        """As an HTML table of class ``kind``, everything escaped."""
        from jinja2 import Environment
        from markupsafe import Markup

        cells = [[(BOLD.split(text), side) for text, side in self._columns(line)] for line in self.lines]
        template = Environment(autoescape=True).from_string(HTML)
        return Markup(template.render(heads=self._columns(self.heads), lines=cells, kind=kind))

    def rich(self, title: str) -> rich.table.Table:
        """For the terminal; long texts continue on the next line."""
        from rich.table import Table as RichTable
        from rich.text import Text

        shown = RichTable(title=title, title_justify="left")
        for i, (head, side) in enumerate(self._columns(self.heads)):
            if side == "r":
                shown.add_column(Text(head), justify="right")
            else:
                longest = max((len(line[i]) for line in self.lines), default=0)
                shown.add_column(Text(head), overflow="fold", min_width=min(TEXT_WIDTH, longest))
        for line in self.lines:
            cells = [[(part, "bold" if i % 2 else "") for i, part in enumerate(BOLD.split(text))] for text in line]
            shown.add_row(*(Text.assemble(*parts) for parts in cells))
        return shown

    def _columns(self, line: tuple[str, ...]) -> list[tuple[str, str]]:
        return list(zip(line, self.alignment, strict=True))


def markdown_cell(text: str) -> str:
    """Text in one line that does not end a cell."""
    return " ".join(text.split()).replace("|", "\\|")
