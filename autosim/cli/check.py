"""``autosim check``: the conformance suites on an installed part, a line for each check.

The checks run in a process of their own, which is replaced where a check takes too long or takes the process with it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from autosim import registry
from autosim.cli.options import Option, options_of
from autosim.cli.run_options import (
    add_selection_help,
    configure,
    configure_algorithm,
    configure_environment,
    run_parser,
    select,
)
from autosim.errors import UserError
from autosim.parallel import one_thread_each
from autosim.testing.checks import Check, Outcome, Part, checks, making

DESCRIPTION = (
    "Check that an installed environment with its renderer, or an algorithm, keeps its contract: what autosim.testing "
    "says of each, a line for each check. Exit code 0 where all hold, 1 where one does not. "
    "--traceback shows where a check failed."
)
SELECTION = (
    (
        "--env NAME",
        "environment to check, or that the algorithm is checked on; there are: {environments}",
    ),
    ("--algo NAME", "algorithm to check, on a toy problem unless --env names another; there are: {algorithms}"),
    ("--limit SECONDS", "longest time for one check (default: 300)"),
)
LIMIT = 300.0
# How the process is started: not forked from this one, as threads of libraries loaded here would not survive it.
START = "spawn"
# The shortest limit for starting the process, which imports libraries, in seconds.
STARTED_WITHIN = 120.0


@dataclass(frozen=True)
class CheckRequest:
    """What a command line asks for; ``limit`` in seconds for each check."""

    part: Part
    limit: float
    traceback: bool


def check_help(arguments: Sequence[str]) -> str:
    """Help, with the options of the environment that the arguments name."""
    chosen, _ = select([word for word in arguments if word != "--traceback"], ("env", "algo", "limit"))
    options: list[Option] = []
    if "env" in chosen:
        options += options_of(registry.find_environment(chosen["env"]).Config, "env.", title="environment")
    if "algo" in chosen:
        options += options_of(registry.find_algorithm(chosen["algo"]).Config, "algo.", title="algorithm")
    parser = run_parser(options)
    parser.prog, parser.description = "autosim check", DESCRIPTION
    parser.usage = "%(prog)s --env NAME | --algo NAME [--limit SECONDS] [--traceback] [--env.X …] [--algo.X …]"
    add_selection_help(parser, "what to check", SELECTION)
    text: str = parser.format_help()
    return text


def parse_check(arguments: Sequence[str]) -> CheckRequest:
    """The checks that arguments ask for; ``UserError`` in one line where they are wrong."""
    words = [word for word in arguments if word != "--traceback"]
    chosen, rest = select(words, ("env", "algo", "limit"))
    part = _part(chosen, rest)
    try:
        limit = float(chosen.get("limit", LIMIT))
    except ValueError:
        raise UserError(f"--limit: expected seconds, found {chosen['limit']!r}") from None
    if not limit > 0:
        raise UserError(f"--limit: {limit} is not above 0")
    return CheckRequest(part, limit, len(words) < len(arguments))


def _part(chosen: Mapping[str, str], rest: Sequence[str]) -> Part:
    if "algo" in chosen and "env" in chosen:
        config = configure(chosen["algo"], chosen["env"], {}, "", rest)
        return Part(config.env, config.env_config, config.algo, config.algo_config)
    if "algo" in chosen:
        return Part(algo=chosen["algo"], algo_config=configure_algorithm(chosen["algo"], rest))
    if "env" in chosen:
        return Part(chosen["env"], configure_environment(chosen["env"], {}, rest))
    raise UserError("--env NAME or --algo NAME is needed; autosim list tells what is installed")


def run_checks(request: CheckRequest) -> bool:
    """Carry out the checks and tell of each in a line; whether all hold."""
    about, held, count = "", 0, 0
    for check, outcome in _outcomes(request):
        if check.about != about:
            about = check.about
            print(about)
        count += 1
        held += not outcome.reason
        print(f"  FAILS  {check.sentence}: {outcome.reason}" if outcome.reason else f"  holds  {check.sentence}")
        if outcome.trace and request.traceback:
            print(outcome.trace, end="")
        sys.stdout.flush()
    print(f"{'all' if held == count else f'{held} of'} {count} checks hold")
    return held == count


def _outcomes(request: CheckRequest) -> Iterator[tuple[Check, Outcome]]:
    following, count = 0, 1
    while following < count:
        with _CheckProcess(request.part) as process:
            made = process.answer(max(request.limit, STARTED_WITHIN))
            if following == 0 or made.reason:
                named = f"environment {request.part.env}" if request.part.env else "a toy problem"
                yield Check(named, "it can be made as it is configured"), made
            if made.reason:
                return
            listed = process.checks()
            count = len(listed)
            while following < count and not process.lost:
                yield listed[following], process.outcome(following, request.limit)
                following += 1


class _CheckProcess:
    """A process that makes the part, and then carries out one check after another. ``lost``: it does so no longer."""

    def __init__(self, part: Part) -> None:
        self.lost = False
        context: Any = multiprocessing.get_context(START)
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, part), daemon=True)
        with one_thread_each():
            self._process.start()
        theirs.close()

    def __enter__(self) -> _CheckProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()
        self._connection.close()

    def answer(self, limit: float) -> Outcome:
        """What became of what the process is at, within ``limit`` seconds."""
        try:
            if not self._connection.poll(limit):
                self.lost = True
                return Outcome(f"it takes more than {limit:g} s")
            outcome: Outcome = self._connection.recv()
        except (EOFError, ConnectionError):
            self.lost = True
            self._process.join()
            return Outcome(f"the process ended with exit code {self._process.exitcode}")
        return outcome

    def checks(self) -> list[Check]:
        """The checks of a part that could be made."""
        listed: list[Check] = self._connection.recv()
        return listed

    def outcome(self, index: int, limit: float) -> Outcome:
        """Carry out a check."""
        self._connection.send(index)
        return self.answer(limit)


def _serve(connection: Connection, part: Part) -> None:
    """What the process does. What parts print would stand between the lines, so that it is not shown."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    made = making(part)
    connection.send(made)
    if made.reason:
        return
    known = checks(part)
    connection.send([check for check, _ in known])
    while True:
        try:
            index = connection.recv()
        except EOFError:
            return
        connection.send(known[index][1]())
