"""Pages in HTML that load nothing: a heading and sections of text, tables and pictures, put into ``page.html``."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from autosim.reports.table import Table

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True)
class Picture:
    """A PNG and what it is called."""

    png: bytes
    label: str

    def html(self) -> Markup:
        """The picture inside the page."""
        from markupsafe import Markup

        data = base64.b64encode(self.png).decode()
        return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(self.label, data)


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Args:
        heading: Its title.
        before: Paragraphs above the table and the pictures.
        table: One table, or none.
        kind: The table's class in ``page.html``.
        pictures: Below the table.
        strips: Pictures below each other, each beside its label.
        code: Text as it is, such as a command.
        after: Paragraphs below.
        warnings: Paragraphs at the end that stand out.
        folded: Whether only the heading shows until it is clicked.
    """

    heading: str
    before: Sequence[str] = ()
    table: Table | None = None
    kind: str = ""
    pictures: Sequence[Picture] = ()
    strips: Sequence[Picture] = ()
    code: str | None = None
    after: Sequence[str] = ()
    warnings: Sequence[str] = ()
    folded: bool = False


@dataclass(frozen=True)
class Card:
    """A figure shown large; ``colour`` is the class start, learned or target, or empty."""

    label: str
    figure: str
    colour: str = ""


def page(
    title: str,
    subtitle: str,
    sections: Sequence[Section],
    cards: Sequence[Card] = (),
    warnings: Sequence[str] = (),
    width: str = "66rem",
) -> bytes:
    """The page, in UTF-8; every text is escaped. ``width`` is the most that it takes, in units of CSS."""
    from jinja2 import Environment

    text = resources.files("autosim.reports").joinpath("page.html").read_text(encoding="utf-8")
    template = Environment(autoescape=True, keep_trailing_newline=True).from_string(text)
    return template.render(
        title=title, subtitle=subtitle, sections=sections, cards=cards, warnings=warnings, width=width
    ).encode()
