"""The command line: what it accepts, how YAML and arguments combine, how mistakes end."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from autosim.cli.main import main
from autosim.cli.run_options import parse_run, run_help
from autosim.runs.config import RunConfig

TOY = ["--algo", "walk", "--env", "spot"]


def parsed(*arguments: str) -> RunConfig:
    return parse_run([*TOY, *arguments]).config


def test_options_reach_every_part(toy: Path) -> None:
    config = parsed(
        "--seed=3", "--workers", "1", "--algo.step-size=0.2", "--algo.task_loss", "false", "--env.contrast=0.5",
        "--budget.images=50", "--budget.seconds", "2.5", "--render.method=spsa",
    )  # fmt: skip
    assert (config.algo, config.env) == ("walk", "spot")
    assert (config.algo_config.step_size, config.algo_config.task_loss) == (0.2, False)
    assert config.env_config.contrast == 0.5
    assert (config.settings.seed, config.settings.workers) == (3, 1)
    assert (config.settings.budget.images, config.settings.budget.seconds) == (50, 2.5)
    assert config.settings.render.method == "spsa"


def test_the_last_of_repeated_options_counts(toy: Path) -> None:
    assert parse_run([*TOY, "--seed=1", "--seed=2", "--out=a", "--out", "b"]).out == Path("b")
    assert parsed("--seed=1", "--seed=2").settings.seed == 2


def test_the_algorithms_iterations_hold_unless_the_budget_has_its_own(toy: Path) -> None:
    assert parsed().iterations == 8
    assert parsed("--budget.iterations=3").iterations == 3


def test_a_written_configuration_reads_back_equal(toy: Path) -> None:
    config = parsed(
        "--seed=4", "--workers=1", "--algo.pause_seconds=1e-3", "--budget.iterations=2", "--render.step=0.5"
    )
    Path("config.yaml").write_text(yaml.safe_dump(config.to_dict()))
    assert parse_run(["--config", "config.yaml"]).config == config
    changed = parse_run(["--config=config.yaml", "--seed=5", "--algo.scenes=9"]).config
    assert (changed.settings.seed, changed.algo_config.scenes) == (5, 9)
    assert changed.algo_config.pause_seconds == 1e-3


def test_a_file_may_name_the_algorithm_alone(toy: Path) -> None:
    Path("c.yaml").write_text("algo: walk\nenv: {name: spot, contrast: 0.3}\nseed: 6\n")
    config = parse_run(["--config", "c.yaml"]).config
    assert (config.algo, config.env_config.contrast, config.settings.seed) == ("walk", 0.3, 6)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--algo", "nope", "--env", "spot"], ["unknown algorithm 'nope'", "walk"]),
        (["--algo", "walk", "--env", "nope"], ["unknown environment 'nope'", "spot"]),
        (["--algo", "broken", "--env", "spot"], ["broken", "cannot be imported", "no_such_module"]),
        (["--algo", "walk"], ["--env NAME is needed", "spot"]),
        (["--algo"], ["--algo needs a value"]),
        ([*TOY, "--algo.iterations=many"], ["--algo.iterations", "int", "many"]),
        ([*TOY, "--algo.iterations=0"], ["--algo.iterations: 0 is below 1"]),
        ([*TOY, "--env.contrast=3"], ["--env.contrast: 3.0", "(0, 1]"]),
        ([*TOY, "--budget.images=0"], ["--budget.images: 0"]),
        ([*TOY, "--workers=-1"], ["--workers: -1"]),
        ([*TOY, "--features=squeezenet"], ["--feature_weights"]),
        ([*TOY, "--algo.nothing=1"], ["unknown option --algo.nothing"]),
        ([*TOY, "--device=abacus"], ["--device", "abacus"]),
        ([*TOY, "--out=full"], ["output folder full is in use"]),
        ([*TOY, "--out=full/file"], ["output folder full/file is a file"]),
        ([*TOY, "--config=none.yaml"], ["config file none.yaml", "is missing"]),
        ([*TOY, "--config=bad.yaml"], ["config file bad.yaml", "not valid YAML"]),
        ([*TOY, "--config=list.yaml"], ["config file list.yaml", "found list"]),
        ([*TOY, "--config=binary.yaml"], ["config file binary.yaml", "not text in UTF-8"]),
        (["--config=unknown.yaml"], ["config file unknown.yaml", "unknown option --algo.stepsize", "algo.step_size"]),
        (["--config=wrong.yaml"], ["config file wrong.yaml", "--budget.images", "lots"]),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    toy: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], parts: list[str]
) -> None:
    Path("full").mkdir()
    Path("full/file").write_text("kept")
    Path("bad.yaml").write_text("algo: [")
    Path("list.yaml").write_text("- 1")
    Path("binary.yaml").write_bytes(b"\xff\xfe\x00")
    Path("unknown.yaml").write_text("{algo: {name: walk, stepsize: 1}, env: spot}")
    Path("wrong.yaml").write_text("{algo: walk, env: spot, budget: {images: lots}}")
    before = sorted(toy.rglob("*"))
    assert main(["run", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.err.startswith("autosim: ")
    for part in parts:
        assert part in captured.err
    assert sorted(toy.rglob("*")) == before
    assert Path("full/file").read_text() == "kept"


def test_help_lists_what_there_is_and_the_options_of_what_is_named(toy: Path) -> None:
    short = run_help([])
    assert "walk" in short and "spot" in short and "--budget.images" in short
    assert "--algo.step_size" not in short
    full = " ".join(run_help(TOY).split())
    assert "--algo.step_size" in full and "Standard deviation of a step" in full
    assert "--env.contrast" in full and "How much brighter" in full


def test_the_command_without_arguments_shows_its_subcommands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "run" in capsys.readouterr().out
    assert main(["--help"]) == 0
    assert main(["frobnicate"]) == 2
    assert "there are: list, check, run" in capsys.readouterr().err
