"""Ctrl-C, ``kill -INT`` and SIGTERM, in processes that were started in the foreground and in the background."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from autosim.cli import main
from autosim.runs.interrupt import StopRequest, exit_code, heeding_interrupts


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_it_is_heeded_however_the_process_was_started(interrupts: None) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), heeding_interrupts():
        interrupt()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_handler_that_is_there_stays(interrupts: None) -> None:
    heard: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    with heeding_interrupts():
        interrupt()
    assert heard == [signal.SIGINT]


def test_other_threads_leave_the_signal_as_it_is(interrupts: None) -> None:
    def seen() -> object:
        with heeding_interrupts():
            return signal.getsignal(signal.SIGINT)

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(seen).result() is signal.getsignal(signal.SIGINT)


def test_the_first_is_a_request_and_the_second_ends_it(interrupts: None, capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), StopRequest() as stop:
        assert not stop.made
        interrupt()
        assert stop.made and "stopping after this iteration" in capfd.readouterr().err
        interrupt()
    assert signal.getsignal(signal.SIGINT) is before


def test_commands_end_with_the_code_of_an_interruption(interrupts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT)

    def set_up(arguments: object) -> int:
        interrupt()
        return 0

    monkeypatch.setitem(main.COMMANDS, "run", set_up)
    assert main.main(["run"]) == 130
    assert signal.getsignal(signal.SIGINT) is before


def test_sigterm_stops_as_ctrl_c_does_with_a_code_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def set_up(arguments: object) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    monkeypatch.setitem(main.COMMANDS, "run", set_up)
    assert main.main(["run"]) == 143
    with heeding_interrupts(), StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.made and exit_code() == 143
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        assert exit_code() == 130
    assert signal.getsignal(signal.SIGTERM) is before
