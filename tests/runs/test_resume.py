"""Runs that were stopped, at whatever moment, go on and end as if they never had been."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from autosim.cli.main import main
from autosim.cli.run_options import parse_run
from autosim.errors import UserError
from autosim.runs import iterations, loop
from autosim.runs.folder import locked
from autosim.runs.loop import execute, resume
from tests.support.processes import ForkedCommand, autosim
from tests.support.toy import install_toy

pytestmark = pytest.mark.usefixtures("blank_pictures")

OPTIONS = ["--algo=walk", "--env=spot", "--workers=0", "--algo.iterations=9", "--checkpoint_every=3"]


def start(name: str, *options: str) -> dict[str, Any]:
    request = parse_run([*OPTIONS, f"--out={name}", *options])
    return execute(request.config, request.out, Console(file=io.StringIO()), "autosim run …")


def go_on(name: str) -> tuple[dict[str, Any], str]:
    """The summary, and what was printed."""
    printed = io.StringIO()
    config = parse_run(["--config", f"{name}/config.yaml"]).config
    return resume(config, Path(name), Console(file=printed, width=400), "autosim run --resume"), printed.getvalue()


class Gone(Exception):
    """The process was ended."""


def crash_after(monkeypatch: pytest.MonkeyPatch, name: str, steps: int) -> None:
    """A run whose process is gone after some steps."""
    advance = iterations.advance
    made: list[None] = []

    def last_words(*arguments: Any) -> Any:
        if len(made) == steps:
            raise Gone
        made.append(None)
        return advance(*arguments)

    with monkeypatch.context() as patch, pytest.raises(Gone):
        patch.setattr(iterations, "advance", last_words)
        start(name)


def results(name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Summary and metrics without times and memory."""
    summary = json.loads(Path(name, "summary.json").read_text())
    lines = [json.loads(line) for line in Path(name, "metrics.jsonl").read_text().splitlines()]
    return timeless(summary), [timeless(line) for line in lines]


def timeless(figures: dict[str, Any]) -> dict[str, Any]:
    of_the_moment = ("date", "command", "peak_memory")
    return {k: v for k, v in figures.items() if not k.endswith("seconds") and k not in of_the_moment}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that needs an undisturbed run keeps it for the others."""
    return tmp_path_factory.mktemp("finished") / "whole"


@pytest.fixture
def whole(toy: Path, finished: Path) -> None:
    """An undisturbed run in ``whole``, made once and copied."""
    if finished.exists():
        shutil.copytree(finished, "whole")
    else:
        start("whole")
        shutil.copytree("whole", finished)


@pytest.mark.parametrize(
    "steps",
    [
        0,
        pytest.param(1, marks=pytest.mark.slow),
        pytest.param(3, marks=pytest.mark.slow),
        5,
        pytest.param(8, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_crashed_ends_as_one_that_did_not(whole: None, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    crash_after(monkeypatch, "parts", steps)
    assert not Path("parts/summary.json").exists()
    with Path("parts/metrics.jsonl").open("a") as file:
        file.write('{"iteration": 7, "dist')
    summary, _ = go_on("parts")
    assert results("parts") == results("whole")
    assert summary["iterations"] == 9 and Path("parts/report.html").exists()
    assert summary["command"] == "autosim run …"


def test_pictures_of_the_middle_are_kept(whole: None, monkeypatch: pytest.MonkeyPatch) -> None:
    crash_after(monkeypatch, "parts", 7)
    go_on("parts")
    for stage in ("start", "middle", "end", "target"):
        own, expected = (Path(name, "pictures", f"{stage}.png").read_bytes() for name in ("parts", "whole"))
        assert own == expected, stage


def test_one_that_was_interrupted_goes_on_too(whole: None, monkeypatch: pytest.MonkeyPatch) -> None:
    advance = iterations.advance
    made: list[None] = []

    def interrupting(*arguments: Any) -> Any:
        made.append(None)
        if len(made) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return advance(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(iterations, "advance", interrupting)
        assert start("parts")["interrupted"]
    go_on("parts")
    assert results("parts") == results("whole")


def test_what_ends_a_resumed_run_in_its_set_up_changes_nothing(whole: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C; and a checkpoint whose state is not the algorithm's."""
    import torch

    crash_after(monkeypatch, "parts", 7)
    before = {path.name: path.read_bytes() for path in Path("parts").iterdir() if path.is_file()}

    def interrupted(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "take_up", interrupted)
        go_on("parts")
    assert {path.name: path.read_bytes() for path in Path("parts").iterdir() if path.is_file()} == before
    state = torch.load("parts/checkpoint.pt")
    for wrong in ({}, {**state["algorithm"], "generator": 3}, {key: float("nan") for key in state["algorithm"]}):
        torch.save({**state, "algorithm": wrong}, "parts/checkpoint.pt")
        with pytest.raises(UserError, match="does not fit"):
            go_on("parts")
        assert Path("parts/metrics.jsonl").read_bytes() == before["metrics.jsonl"]
    Path("parts/checkpoint.pt").write_bytes(before["checkpoint.pt"])
    go_on("parts")
    assert results("parts") == results("whole")


def test_a_disk_that_fills_up_under_the_report_is_told_with_how_to_go_on(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device", "parts/report.html")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "write_evidence", full)
        assert main(["run", *OPTIONS, "--out=parts"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "No space left on device" in error
    assert error.endswith("the run has ended; autosim report parts writes its report\n")
    assert main(["report", "parts"]) == 0 and Path("parts/report.html").exists()


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(whole: None, monkeypatch: pytest.MonkeyPatch) -> None:
    crash_after(monkeypatch, "parts", 8)
    Path("parts/checkpoint.pt").write_bytes(Path("parts/checkpoint.pt").read_bytes()[:200])
    _, printed = go_on("parts")
    assert "parts/checkpoint.pt is damaged" in printed and "going on from the one before" in printed
    assert results("parts") == results("whole")


def test_a_run_that_is_at_work_is_not_taken_up(whole: None, monkeypatch: pytest.MonkeyPatch) -> None:
    crash_after(monkeypatch, "parts", 5)
    with locked(Path("parts")), pytest.raises(UserError, match=r"^--resume parts: another process is at work"):
        go_on("parts")
    go_on("parts")
    assert results("parts") == results("whole")


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04"])
def test_with_all_checkpoints_damaged_there_is_one_line(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    crash_after(monkeypatch, "parts", 8)
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        Path("parts", name).write_bytes(content)
    assert main(["run", "--resume", "parts"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "nothing to go on from" in error


def test_a_checkpoint_that_runs_code_is_not_opened(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    class Harm:
        def __reduce__(self) -> Any:
            return (Path.touch, (Path("harm"),))

    crash_after(monkeypatch, "parts", 4)
    torch.save({"iteration": Harm()}, "parts/checkpoint.pt")
    with pytest.raises(UserError, match="damaged"):
        go_on("parts")
    assert not Path("harm").exists()


def test_what_cannot_be_resumed_is_told_in_one_line(whole: None, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("whole", "other")
    config = Path("other/config.yaml")
    config.write_text(config.read_text().replace("seed: 0", "seed: 1"))
    Path("other/summary.json").unlink()
    Path("empty").mkdir()
    for arguments, said in (
        (["--resume", "whole"], "the run has ended"),
        (["--resume", "other"], "another configuration"),
        (["--resume", "empty"], "config.yaml"),
        (["--resume", "nowhere"], "config.yaml"),
        (["--resume", "whole", "--seed", "3"], "takes no --seed"),
        (["--resume"], "--resume needs a value"),
    ):
        assert main(["run", *arguments]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1, error


def test_figures_that_are_gone_are_told(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crash_after(monkeypatch, "parts", 8)
    for content, said in (
        ('{"iteration": 0}\nnothing\n', "line 2 is not the figures"),
        ('{"iteration": 0}\n', "does not hold"),
    ):
        Path("parts/metrics.jsonl").write_text(content)
        with pytest.raises(UserError, match=rf"metrics\.jsonl: {said}"):
            go_on("parts")
        assert Path("parts/metrics.jsonl").read_text() == content


KILLED = [*OPTIONS, "--algo.iterations=12", "--algo.pause_seconds=0.15", "--checkpoint_every=2"]


class Command:
    """``autosim run`` as a process of its own, in a folder where the toy package is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = install_toy(folder / "site")

    def make(self, *arguments: str) -> None:
        done = autosim(["run", *arguments], self.environment, self.folder)
        assert done.returncode == 0, done.stderr

    def start(self, *arguments: str) -> ForkedCommand:
        return ForkedCommand(["run", *arguments], self.environment, self.folder)


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """With an undisturbed run in ``whole``."""
    command = Command(tmp_path_factory.mktemp("killed"))
    command.make(*KILLED, "--out=whole")
    return command


@pytest.mark.parametrize("delay", [0.5])
def test_a_process_that_was_killed_is_taken_up(command: Command, delay: float) -> None:
    """SIGKILL, some time after the first checkpoint."""
    parts = command.folder / f"parts-{delay}"
    process = command.start(*KILLED, f"--out={parts.name}")
    deadline = time.monotonic() + 60
    while not (parts / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(delay)
    process.kill()
    process.wait()
    assert (parts / "checkpoint.pt").exists() and not (parts / "summary.json").exists()
    command.make(f"--resume={parts.name}")
    assert results(str(parts)) == results(str(command.folder / "whole"))


def test_a_scene_that_cannot_be_drawn_ends_the_run_with_one_line_and_is_kept(
    whole: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What came before it is kept as well, and once the renderer is mended the run goes on."""
    from toy_sim.spot import SpotRenderer  # type: ignore[import-not-found,unused-ignore]

    from autosim.scenes.graph import SceneGraph

    drawn, draw = [], SpotRenderer.draw

    def failing(self: Any, scene: Any, seed: int, effort: float = 1.0) -> Any:
        drawn.append(scene)
        if Path("parts/metrics.jsonl").exists() and len(Path("parts/metrics.jsonl").read_text().splitlines()) == 5:
            raise ZeroDivisionError("no lamp")
        return draw(self, scene, seed, effort)

    with monkeypatch.context() as patch:
        patch.setattr(SpotRenderer, "draw", failing)
        assert main(["run", *OPTIONS, "--out=parts"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "SpotRenderer: scene 0: ZeroDivisionError: no lamp" in error
    assert "parts/failed-scene.json" in error and "autosim run --resume parts goes on" in error
    assert SceneGraph.from_json(json.loads(Path("parts/failed-scene.json").read_text())) == drawn[-1]
    go_on("parts")
    assert results("parts") == results("whole")
