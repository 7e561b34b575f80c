"""What a run, a comparison or a search shows while it works: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from importlib.util import find_spec
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

Display = TypeVar("Display", bound="ProgressDisplay")


class ProgressDisplay:
    """Shows how many of ``total`` are done. A context manager.

    Args:
        console: Where it is shown. In a notebook the bar needs ipywidgets; without it plain lines are shown there.
        noun: What is counted, in the singular.
        total: How many there are.
        done: How many are done at the start.
        interval: Seconds between two plain lines; None shows no such lines.
        at_once: Whether the first plain line may come at once, or an interval later.
    """

    def __init__(
        self,
        console: Console,
        noun: str,
        total: int,
        done: int = 0,
        interval: float | None = None,
        at_once: bool = True,
    ) -> None:
        self._console, self._noun, self.total, self._interval = console, noun, total, interval
        self.has_bar = console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)
        self._next_line = time.monotonic() + (0.0 if at_once else interval or 0.0)
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            transient=True,
            disable=not self.has_bar,
        )
        self._task = self._bar.add_task(noun, total=total, completed=done, figures="")

    def __enter__(self: Display) -> Display:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    @property
    def due(self) -> bool:
        """Whether :meth:`show` would show anything now."""
        return self.has_bar or (self._interval is not None and time.monotonic() >= self._next_line)

    def show(self, done: int, figures: str, begun: float = 0.0, total: int | None = None, last: bool = False) -> None:
        """``done`` are done, and ``begun`` is the share of others that are under way. ``total`` replaces the total of
        the bar; ``last`` shows a plain line whenever the last one was.
        """
        if self.has_bar:
            self._bar.update(self._task, completed=done + begun, total=total or self.total, figures=figures)
        elif self.due or (last and self._interval is not None):
            self._next_line = time.monotonic() + (self._interval or 0.0)
            self.note(f"{self._noun} {done}/{self.total} · {figures}")

    def note(self, text: str) -> None:
        """A line of its own, above the bar."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
