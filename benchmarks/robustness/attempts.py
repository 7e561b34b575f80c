"""How one hostile input is attempted, and whether it held."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any
from unittest import mock

LONGEST = 300
RUN = ["run", "--algo=random", "--env=mnist", "--workers=0"]
WRONG: tuple[Any, ...] = (
    None, -1, 1.5, float("nan"), float("inf"), float("-inf"), 1e308, 10**30, "", "text", "\x1b[2J", [], [1], {},
    {"a": 1}, True, [[]], "x" * 100_000,
)  # fmt: skip


@dataclass(frozen=True)
class Input:
    """One input: its class, what it is in words, and what makes the attempt; None is returned where it held."""

    kind: str
    what: str
    attempt: Callable[[], str | None]


class Begun(BaseException):
    """A run that was to be refused has begun."""


def command(*arguments: str, fine: bool = False) -> str | None:
    """What is wrong with how the command ends; None where nothing is. With ``fine`` it may also do what it is told."""
    errors = io.StringIO()

    def begin(*given: Any, **named: Any) -> Any:
        raise Begun

    try:
        with mock.patch("autosim.runs.loop.make", begin), redirect_stderr(errors), redirect_stdout(io.StringIO()):
            from autosim.cli.main import main

            code = main(list(arguments))
    except Begun:
        return None if fine else "was taken"
    except SystemExit as error:
        return f"exit {error.code}"
    except Exception as error:
        return f"traceback: {type(error).__name__}"
    return None if fine and code == 0 else fault_of(code, errors.getvalue())


def fault_of(code: int, said: str) -> str | None:
    """What is wrong with an exit code and what was said on stderr."""
    if code not in (1, 2):
        return f"exit code {code}"
    if said.count("\n") != 1 or not said.startswith("autosim: "):
        return f"{said.count(chr(10))} lines"
    if len(said) - 1 > LONGEST:
        return f"{len(said) - 1} characters"
    if not said[:-1].isprintable():
        return "characters that a terminal takes for commands"
    return f"nobody foresaw it: {said.strip()}" if "AUTOSIM_TRACEBACK" in said else None


def refused(attempt: Callable[[], object]) -> str | None:
    """What is wrong with how a call ends that is to raise ``UserError``, without a warning."""
    from autosim.errors import UserError

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            attempt()
        except UserError as error:
            fault = fault_of(2, f"autosim: {error}\n")
            return fault or (f"warning: {warned[0].message}" if warned else None)
        except Exception as error:
            return f"traceback: {type(error).__name__}: {error}"
    return "was taken"
