"""What an environment sets for an algorithm, and which algorithms can learn on it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from autosim import registry
from autosim.cli.compare_options import parse_comparison
from autosim.cli.main import main
from autosim.cli.run_options import configure, parse_run, run_help
from autosim.errors import UserError
from autosim.runs.config import RunConfig
from autosim.runs.folder import RunFolder

pytestmark = pytest.mark.usefixtures("blank_pictures")

TOY = ["--algo", "walk", "--env", "spot"]


def suited(patch: pytest.MonkeyPatch, **settings: Any) -> None:
    """Make the toy environment set these for ``walk`` at its own contrast of 0.8 only."""
    values = {name.replace("__", "."): value for name, value in settings.items()}

    def defaults(cls: type, algorithm: str, config: Any) -> Mapping[str, Any]:
        return values if (algorithm, config.contrast) == ("walk", 0.8) else {}

    patch.setattr(registry.find_environment("spot"), "defaults", classmethod(defaults))


def run_of(*arguments: str) -> RunConfig:
    return parse_run([*TOY, *arguments]).config


def test_an_environment_s_settings_are_below_any_option(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suited(monkeypatch, algo__step_size=0.4, algo__scenes=7, budget__images=90, closing_networks=2)
    config = run_of("--algo.scenes", "5")
    assert (config.algo_config.step_size, config.algo_config.scenes) == (0.4, 5)
    assert (config.settings.budget.images, config.settings.closing_networks) == (90, 2)
    assert config.from_environment == ("algo.step_size", "budget.images", "closing_networks")
    Path("c.yaml").write_text("algo: {name: walk, step_size: 0.3}\nenv: spot\nbudget: {images: 40}\n")
    config = parse_run(["--config", "c.yaml", "--closing-networks=3"]).config
    assert (config.algo_config.step_size, config.settings.budget.images) == (0.3, 40)
    assert config.set_by_environment() == {"algo.scenes": 7}


def test_they_depend_on_the_environment_s_options_and_on_the_algorithm(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suited(monkeypatch, algo__scenes=7)
    assert run_of().algo_config.scenes == 7
    assert run_of("--env.contrast=0.5").algo_config.scenes == 4
    assert run_of("--env.contrast=0.5").from_environment == ()


def test_they_hold_from_python_and_in_comparisons(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suited(monkeypatch, algo__scenes=7, algo__step_size=0.4, closing_networks=2)
    config = configure("walk", "spot", {"algo": {"step_size": 0.2}})
    assert (config.algo_config.scenes, config.algo_config.step_size) == (7, 0.2)
    comparison = parse_comparison(["--env=spot", "--algos=walk", "--walk.step_size=0.1"])
    assert (comparison.methods[0].config.scenes, comparison.methods[0].config.step_size) == (7, 0.1)
    assert comparison.settings.closing_networks == 1  # the same for all methods


def test_paths_from_python_are_taken_as_they_are(toy: Path) -> None:
    config = configure("walk", "spot", {"target": {"validation": toy / "my photos", "test": str(toy / "others")}})
    assert (config.settings.target.validation, config.settings.target.test) == (toy / "my photos", toy / "others")


def test_the_configuration_help_and_list_tell_them(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suited(monkeypatch, algo__scenes=7, budget__images=90)
    config = run_of()
    RunFolder.create(Path("run")).write_config(config, shlex.join(["autosim", "run", *TOY]))
    text = (Path("run") / "config.yaml").read_text()
    assert "  scenes: 7  # set by the environment\n" in text and "  images: 90  # set by the environment\n" in text
    assert text.count("# set by the environment") == 2
    assert yaml.safe_load(text) == config.to_dict()
    assert " ".join(run_help(TOY).split()).count("[set by the environment]") == 2
    assert main(["list", "--env", "spot"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "walk can; the environment sets algo.scenes 7, budget.images 90" in lines


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"algo__scene": 3}, "unknown option --algo.scene; did you mean --algo.scenes?"),
        ({"algo__scenes": "many"}, "--algo.scenes: expected int, found many"),
        ({"seed": 1}, "seed is not the environment's to set"),
        ({"env__contrast": 0.1}, "env.contrast is not the environment's to set"),
    ],
)
def test_wrong_ones_name_the_environment(
    toy: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], told: str
) -> None:
    suited(monkeypatch, **settings)
    with pytest.raises(UserError, match="environment 'spot': defaults for 'walk': ") as caught:
        run_of()
    assert told in str(caught.value)


def test_options_that_do_not_go_with_them_tell_what_the_environment_has_set(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suited(monkeypatch, algo__iterations=0, algo__scenes=3)
    with pytest.raises(UserError, match=r"the environment has set --algo\.iterations=0 --algo\.scenes=3, which"):
        run_of()


def test_an_algorithm_that_cannot_learn_there_is_refused_at_once(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry.find_algorithm("walk"), "needs", ("attributes", "structure"))
    assert main(["run", *TOY, "--out", "run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "autosim: walk cannot work on spot: it learns the structure of scenes, which is the same in all; "
        "algorithms that can: "
    )
    assert "random" in line and len(line) <= 300
    assert not Path("run").exists()
    assert main(["compare", "--env=spot", "--algos=random,walk", "--out=both"]) == 2
    assert "walk cannot work on spot" in capsys.readouterr().err
    assert main(["list", "--env", "spot"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert any(line.startswith("walk cannot work: it learns the structure") for line in lines)
