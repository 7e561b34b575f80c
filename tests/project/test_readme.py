"""What the README and the guides show is true: their code runs, their options exist, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from autosim.cli import compare_options, export_options, tune_options
from autosim.cli.run_options import SELECTION_NAMES, parse_run, run_options
from autosim.registry import find_algorithm, find_environment
from autosim.rendering.blender import installed
from autosim.rendering.blender.installed import Wheel

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
GUIDES = [path for path in DOCUMENTS if path.name not in ("CHANGELOG.md", "architecture.md")]
TEXT = "\n".join(path.read_text(encoding="utf-8") for path in GUIDES)
OF_OTHER_COMMANDS = {
    "again", "envs", "networks", "help", "name", "documents", "editable", "logdir", "digits", "data-dir", "before",
    "rounds", "scenes", "only", "seeds", "bpy", "python", "engine.blender",
}  # fmt: skip
OF_THE_EXAMPLE = {"env.x", "algo.shift"}
ALGORITHMS = (
    "metasim", "metasim2", "autosimulate", "influence_replay", "leap", "attribute_descent", "avo", "npe", "lts",
    "bo",     "cmaes", "optuna", "random",
)  # fmt: skip
ENVIRONMENTS = ("aerial", "clevr", "lmo", "mnist", "multimnist")


def blocks(language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").stat().st_size <= 12 * 1024


def test_scenes_are_rendered_as_shown(ray_session: None, capsys: pytest.CaptureFixture[str]) -> None:
    code = next(block for block in blocks("python") if "make_pool" in block)
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    promised = re.findall(r"print\(.*?\)  # (.*)", code)
    assert printed[0] == promised[0]
    assert set(re.findall(r"\d", printed[1])) <= set(re.findall(r"\d", promised[1]))


def test_a_run_is_configured_as_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    def execute(*arguments: Any, command: str) -> dict[str, Any]:
        calls.append(arguments)
        return {"gap_closed": 0.5, "attributes": {"ambient.intensity": {}}}

    monkeypatch.setattr("autosim.runs.loop.execute", execute)
    code = next(block for block in blocks("python") if "RunConfig(" in block)
    exec(compile(code, "README.md", "exec"), {})
    ((config, out, _),) = calls
    assert config.iterations == 60 and out == Path("runs/mine")
    request = parse_run(
        ["--algo=metasim", "--env=clevr", "--env.target_seed=1", "--workers=2", "--budget.iterations=60"]
    )
    assert config == request.config


def test_options_exist() -> None:
    known = {*SELECTION_NAMES, *compare_options.SELECTION_NAMES, *tune_options.OWN}
    known |= {*OF_OTHER_COMMANDS, *OF_THE_EXAMPLE, "target", *(option.key for option in export_options.OPTIONS)}
    for environment in map(find_environment, ENVIRONMENTS):
        known |= {option.key for option in run_options(None, environment)}
    for name in ALGORITHMS:
        found = {option.key for option in run_options(find_algorithm(name), None)}
        known |= found | {key.replace("algo.", f"{name}.", 1) for key in found}
    shown = re.findall(r"(?<![\w-])--([a-z][\w.-]*\w)", re.sub(r"<!--.*?-->", "", TEXT))
    assert len(shown) > 20
    assert [option for option in shown if option not in known] == []


def test_options_take_the_values_shown() -> None:
    rows = re.findall(r"^\| (`--.*?`) \|", TEXT, re.MULTILINE)
    tried = 0
    for words in (shlex.split(cell) for row in rows for cell in re.findall(r"`(.*?)`", row)):
        if not any(word.isupper() for word in words):
            assert parse_run(["--algo=metasim", "--env=clevr", *words])
            tried += 1
    for name, cell in re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*--algo[^|]*)\|", TEXT, re.MULTILINE):
        for words in re.findall(r"`(--algo\.\w+ \w+)`", cell):
            assert parse_run([f"--algo={name}", "--env=clevr", *words.split()])
            tried += 1
    for name, cell in re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*--env[^|]*)\|", TEXT, re.MULTILINE):
        for words in re.findall(r"`(--env\.\w+ [a-z\d-]+)`", cell):
            assert parse_run(["--algo=metasim", f"--env={name}", *words.split()])
            tried += 1
    assert tried >= 5


def test_commands_shown_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_up = Wheel("0.0.1", (3, 0))
    monkeypatch.setattr(installed, "WHEELS", (set_up,))
    monkeypatch.setenv("AUTOSIM_CACHE", str(tmp_path))
    set_up.interpreter.parent.mkdir(parents=True)
    for path in (set_up.interpreter, set_up.folder / installed.COMPLETE):
        path.touch()
    commands = [line.split("#")[0] for block in blocks("sh") for line in block.splitlines()]
    runs = [re.split(r"benchmarks/run\.py|autosim run", command)[-1] for command in commands if " --algo " in command]
    assert len(runs) >= 3
    for command in runs:
        if "benchmarks/tune.py" in command:
            assert tune_options.parse_tune(shlex.split(command.split("benchmarks/tune.py")[1]))
        elif "climb" not in command and "disc" not in command:
            assert parse_run(shlex.split(command))


def test_the_comparison_shown_is_understood() -> None:
    commands = [line.split("#")[0] for block in blocks("sh") for line in block.splitlines()]
    shown = [command.split("benchmarks/compare.py")[1] for command in commands if "benchmarks/compare.py" in command]
    assert shown
    for command in shown:
        assert compare_options.parse_comparison(shlex.split(command))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
    local = [link for link in links if not link.startswith(("http://", "https://"))]
    assert [link for link in local if not (path.parent / link).exists()] == []
