"""A stranger's four tasks: an environment, a renderer, a task and an algorithm, one file and one entry point each."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import autosim
from autosim.cli import check
from autosim.cli.main import main
from autosim.testing.checks import Part, checks, sentence
from tests.support.strangers import PARTS, install

pytestmark = pytest.mark.usefixtures("one_thread", "blank_pictures")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where strangers' packages are installed; the working directory is empty."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("AUTOSIM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    yield folder
    for module in [name for name in sys.modules if name.startswith("stranger_")]:
        del sys.modules[module]


def failures(part: Part) -> list[str]:
    """The checks that do not hold, with the reasons."""
    found = [(check.sentence, run().reason) for check, run in checks(part)]
    assert len(found) > 5
    return [f"{said}: {reason}" for said, reason in found if reason]


@pytest.mark.parametrize(
    ("name", "needed"), [("environment", []), ("renderer", ["environment"]), ("task", ["environment"])]
)
def test_an_environment_a_renderer_and_a_task_are_one_file_each(site: Path, name: str, needed: list[str]) -> None:
    install(site, *needed, name)
    env = PARTS[name][3].split(" = ")[0]
    assert env in autosim.environments()
    assert failures(Part(env, autosim.make_env(env).config)) == []


def test_an_algorithm_is_one_file(site: Path) -> None:
    install(site, "environment", "algorithm")
    run = autosim.run("shift", "bars", workers=0, quiet=True)
    assert failures(Part("bars", run.config.env_config, "shift", run.config.algo_config)) == []
    assert len(autosim.load(run.folder).generator.sample(2)) == 2


@pytest.mark.parametrize("start", ["forkserver", pytest.param("spawn", marks=pytest.mark.slow)])
def test_check_says_in_sentences_what_holds_and_what_does_not(
    site: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], start: str
) -> None:
    """Processes forked from one that has imported libraries start within a second, as others do not."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["tests.support.preloaded"])
    monkeypatch.setattr(check, "START", start)
    install(site, "environment", "task", "broken")
    assert main(["check", "--env", "broken-bars", "--limit", "3"]) == 1
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert lines[:3] == [
        "environment broken-bars",
        "  holds  it can be made as it is configured",
        "  holds  it is named and configured by a dataclass",
    ]
    assert "  FAILS  its description is json and names it: it takes more than 3 s" in lines
    assert "  FAILS  networks start equal for equal seeds only: the process ended with exit code 7" in lines
    (shape,) = [line for line in lines if "image has the promised shape" in line]
    assert shape.startswith("  FAILS ") and "float64" in shape
    assert "  holds  drawing leaves the scene as it was" in lines
    assert lines[-1].endswith("checks hold") and lines[-1].split()[0] != "all"
    assert "Traceback" not in out + err and "must not be seen" not in out


def test_check_says_why_a_part_cannot_be_made(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(site, "environment")
    assert main(["check", "--env", "bars", "--env.x", "left"]) == 2
    assert "--env.x: expected float, found left" in capsys.readouterr().err
    assert main(["check", "--algo", "shift"]) == 2
    assert main(["check", "--env", "bars", "--limit", "0"]) == 2
    assert main(["check", "--help", "--env", "bars"]) == 0
    assert "--env.x" in capsys.readouterr().out


def test_names_of_tests_are_sentences() -> None:
    assert sentence("test_a_sample_s_loss_does_not_depend_on_its_batch") == (
        "a sample's loss does not depend on its batch"
    )
