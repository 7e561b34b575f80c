"""One line for every error: its length, what a terminal would take for commands, names that were nearly right."""

from __future__ import annotations

import pickle

from hypothesis import given, settings
from hypothesis import strategies as st

from autosim.errors import (
    LONGEST,
    MachineError,
    RendererError,
    UserError,
    did_you_mean,
    failure,
    machine_or_user,
    shortened,
)


@given(st.text(max_size=3000) | st.text(st.characters(max_codepoint=31), max_size=50).map(lambda text: text * 200))
@settings(deadline=None, max_examples=60)
def test_any_text_is_one_short_line_that_can_be_printed(text: str) -> None:
    line = shortened(text)
    assert len(line) <= LONGEST and "\n" not in line and line.isprintable()
    assert str(UserError(text)) == line


def test_what_is_long_keeps_its_beginning_and_its_end_and_takes_no_time() -> None:
    line = shortened("--seed: " + "9" * 10**7 + " is not below 7")
    assert line.startswith("--seed: 999") and line.endswith("is not below 7") and "…" in line


def test_the_hint_is_never_cut() -> None:
    error = RendererError("a lamp " * 500)
    error.hint = "autosim run --resume there goes on"
    assert str(error).endswith(f"; {error.hint}") and len(str(error)) <= LONGEST
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_name_that_is_nearly_right_is_told() -> None:
    assert did_you_mean("metasimm", ["bo", "metasim"]) == "; did you mean metasim?"
    assert did_you_mean("workersx", ["workers"], "--{}") == "; did you mean --workers?"
    assert did_you_mean("x" * 10**6, ["bo", "metasim"]) == ""


def test_what_fails_on_the_machine_is_told_with_the_file() -> None:
    assert failure(OSError(28, "No space left on device", "a/b")) == "a/b: No space left on device"
    assert failure(MemoryError()) == "out of memory"


def test_a_machine_that_runs_out_of_something_is_no_mistake_of_the_user() -> None:
    assert isinstance(machine_or_user(OSError(28, "No space left on device", "a/b")), MachineError)
    assert isinstance(machine_or_user(MemoryError()), MachineError)
    assert isinstance(machine_or_user(PermissionError(13, "Permission denied", "a/b")), UserError)
    assert isinstance(machine_or_user(OSError("no number")), UserError)
