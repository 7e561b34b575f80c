"""Two hundred inputs that are wrong in some way: each ends in one line and exit code 2, none in a traceback."""

from __future__ import annotations

import io
import random
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from autosim.cli.main import main
from autosim.cli.run_options import parse_run
from autosim.runs import iterations, loop

pytestmark = pytest.mark.usefixtures("blank_pictures")

OPTIONS = ["--algo=walk", "--env=spot", "--workers=0", "--algo.iterations=6", "--checkpoint_every=2"]
SHARED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)

texts = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda parts: st.lists(parts, max_size=2) | st.dictionaries(texts, parts, max_size=2),
    max_leaves=4,
)


class WellFormed(BaseException):
    """What was meant to be wrong is a run after all."""


@pytest.fixture
def no_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that would begin says so instead."""

    def execute(*arguments: Any) -> Any:
        raise WellFormed

    monkeypatch.setattr(loop, "execute", execute)


@pytest.fixture
def configuration(toy: Path) -> dict[str, Any]:
    """A run's configuration with nothing wrong."""
    return parse_run(OPTIONS).config.to_dict()


def refused(*arguments: str) -> None:
    """One line on stderr, and exit code 2; what is well formed after all is passed over."""
    errors = io.StringIO()
    try:
        with redirect_stderr(errors), redirect_stdout(io.StringIO()):
            code = main(list(arguments))
    except WellFormed:
        assume(False)
    said = errors.getvalue()
    assert code == 2 and said.startswith("autosim: ") and said.count("\n") == 1 and said.endswith("\n"), said


@given(
    content=st.binary(max_size=60) | texts.map(str.encode) | values.map(lambda value: yaml.safe_dump(value).encode())
)
@settings(SHARED, max_examples=40)
def test_files_that_are_no_configuration(toy: Path, no_runs: None, content: bytes) -> None:
    Path("wrong.yaml").write_bytes(content)
    refused("run", "--config", "wrong.yaml", "--algo=walk", "--env=spot", "--out=nowhere/\0")


@given(key=st.sampled_from(["seed", "workers", "budget", "algo", "env", "render", "device", "features"]), value=values)
@settings(SHARED, max_examples=60)
def test_configurations_with_a_wrong_value(configuration: dict[str, Any], no_runs: None, key: str, value: Any) -> None:
    content = {**configuration, key: value}
    Path("wrong.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    refused("run", "--config", "wrong.yaml")


@given(name=st.from_regex(r"[a-z_.]{1,12}", fullmatch=True), value=texts)
@settings(SHARED, max_examples=60)
def test_command_lines_with_a_wrong_option(toy: Path, no_runs: None, name: str, value: str) -> None:
    assume(name not in ("h", "help", "out", "resume", "config"))
    refused("run", *OPTIONS, f"--{name}={value}")


def cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in ``stopped`` that ended after two checkpoints."""
    advance = iterations.advance

    def last_words(session: Any, algorithm: Any, tally: Any) -> Any:
        if tally.iterations == 5:
            raise KeyboardInterrupt
        return advance(session, algorithm, tally)

    with monkeypatch.context() as patch:
        patch.setattr(iterations, "advance", last_words)
        with redirect_stdout(io.StringIO()):
            assert main(["run", *OPTIONS, "--out=stopped"]) == 130
    Path("stopped/summary.json").unlink()


def test_checkpoints_that_are_damaged(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both, in forty ways: cut, changed somewhere, filled with something else."""
    cut_short(monkeypatch)
    paths = [Path("stopped/checkpoint.pt"), Path("stopped/checkpoint.previous.pt")]
    originals = [path.read_bytes() for path in paths]
    draw = random.Random(0)
    for number in range(40):
        for path, original in zip(paths, originals, strict=True):
            content = bytearray(original)
            if number % 4 == 0:
                content = content[: draw.randrange(len(content))]
            elif number % 4 == 1:
                content[-200:] = draw.randbytes(200)
            elif number % 4 == 2:
                start = draw.randrange(len(content) // 2)
                content[start : start + 3000] = draw.randbytes(3000)
            else:
                content = bytearray(draw.randbytes(draw.randrange(300)))
            path.write_bytes(bytes(content))
        refused("run", "--resume", "stopped")


def test_folders_of_images_that_are_none(toy: Path) -> None:
    folder = Path("images")
    folder.mkdir()
    refused("run", "--algo=metasim", "--env=clevr", "--target=images", "--workers=0", "--out=a")
    for name, content in (
        ("a.png", b""),
        ("a.png", b"\x89PNG\r\n\x1a\nno"),
        ("a.jpg", b"\xff\xd8\xff"),
        ("a.bmp", b"BM"),
    ):
        for path in folder.iterdir():
            path.unlink()
        (folder / name).write_bytes(content)
        refused("run", "--algo=metasim", "--env=clevr", "--target=images", "--workers=0", "--out=a")
