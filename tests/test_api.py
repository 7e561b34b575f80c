"""``import autosim``: the same runs as the command's, as objects."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autosim
from autosim.cli.main import main
from tests.support.processes import ForkedCommand
from tests.support.toy import install_toy

pytestmark = pytest.mark.usefixtures("blank_pictures")
SMALL: dict[str, Any] = {"algo.iterations": 2, "workers": 0}


@pytest.fixture
def small(toy: Path) -> autosim.Run:
    """A finished run of the toy package."""
    return autosim.run("walk", "spot", seed=3, quiet=True, **SMALL)


def test_a_run_has_its_figures_its_generator_and_frames(small: autosim.Run, toy: Path) -> None:
    assert small.folder.parent == toy / "runs" and small.report.is_file()
    assert (small.summary["algo"], small.summary["env"], small.summary["seed"]) == ("walk", "spot", 3)
    assert [line["iteration"] for line in small.metrics] == [0, 1]
    frames = small.frames(3, workers=0)
    assert frames.images.shape == (3, 16, 16, 3) and frames.images.dtype == np.uint8
    assert "walk on spot, seed 3: IoU" in repr(small)


def test_samples_need_no_seed_and_repeat(small: autosim.Run) -> None:
    generator = small.generator
    assert len(generator.sample(10)) == 10
    assert generator.sample(4).scenes == generator.sample(4, seed=0).scenes != generator.sample(4, seed=1).scenes


def test_wrong_numbers_are_told_in_one_line(small: autosim.Run) -> None:
    generator: Any = small.generator
    for arguments, complaint in (((0,), "count: 0"), ((2.5,), "count: expected"), ((2, -1), "seed: -1")):
        with pytest.raises(autosim.UserError, match=complaint):
            generator.sample(*arguments)
    with pytest.raises(autosim.UserError, match="workers: -1"):
        small.frames(2, workers=-1)


def test_a_run_is_loaded_as_it_ended(small: autosim.Run) -> None:
    loaded = autosim.load(str(small.folder))
    assert loaded.summary == small.summary and loaded.config == small.config
    assert loaded.generator.sample(5).scenes == small.generator.sample(5).scenes
    assert np.array_equal(loaded.frames(2, workers=0).images, small.frames(2, workers=0).images)


def test_the_command_exports_the_same_data_set(small: autosim.Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(autosim.UserError, match="unknown option 'quality'"):
        small.export("a", quality=3)
    folder = small.export("a", count=3, format="coco", workers=0, quiet=True)
    command = ["export", str(small.folder), "--out", "b", "--count=3", "--format=coco", "--workers=0"]
    assert main(command) == 0 and "3 images in b" in capsys.readouterr().out
    assert all((Path("b") / path.relative_to(folder)).read_bytes() == path.read_bytes() for path in files_of(folder))
    assert len(files_of(folder)) == len(files_of(Path("b"))) > 3
    assert main([*command, "--seed=1"]) == 2
    assert "--seed: 1 is not what the export was begun with, 0" in capsys.readouterr().err
    for arguments, said in ((["--count=3"], "needs the folder"), (["nowhere"], "--out DIR is needed")):
        assert main(["export", *arguments]) == 2 and said in capsys.readouterr().err


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_noted_command_makes_the_same_run(small: autosim.Run) -> None:
    words = shlex.split(small.summary["command"])
    assert words[:2] == ["autosim", "run"]
    assert main([*words[1:], "--out", "again"]) == 0
    again = autosim.load("again")
    assert again.summary["test_score"] == small.summary["test_score"]
    assert again.config == small.config


def test_groups_may_be_mappings_and_numbers_numpy_s(toy: Path) -> None:
    options: dict[str, Any] = {
        "budget": {"iterations": np.int64(1)},
        "env.contrast": np.float64(0.5),
        "out": Path("here"),
    }
    run = autosim.run("walk", "spot", quiet=True, workers=0, **options)
    assert run.folder == toy / "here" and run.summary["iterations"] == 1
    assert run.config.env_config.contrast == 0.5


@pytest.mark.parametrize(
    ("algo", "options", "complaint"),
    [
        ("wlak", {}, "unknown algorithm 'wlak'"),
        ("walk", {"algo.step_sise": 1}, "unknown option --algo.step_sise; did you mean --algo.step_size"),
        ("walk", {"algo.scenes": "many"}, "--algo.scenes: expected int, found many"),
        ("walk", {"algo.iterations": 0}, "--algo.iterations: 0 is below 1"),
        ("walk", {"seed": -1}, "--seed: -1 is not in"),
    ],
)
def test_mistakes_are_those_of_the_command(toy: Path, algo: str, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(autosim.UserError) as caught:
        autosim.run(algo, "spot", **options)
    assert complaint in str(caught.value) and "\n" not in str(caught.value)
    assert list(toy.iterdir()) == []


def test_a_folder_without_a_finished_run_is_not_loaded(toy: Path) -> None:
    with pytest.raises(autosim.UserError, match="nowhere"):
        autosim.load("nowhere")


def test_an_environment_is_made_by_name_and_options(toy: Path) -> None:
    env = autosim.make_env("spot", contrast=0.25)
    assert env.name == "spot" and env.config.contrast == 0.25
    with pytest.raises(autosim.UserError, match=r"--env.contrast: 2.0 is not in \(0, 1\]"):
        autosim.make_env("spot", contrast=2)
    with pytest.raises(autosim.UserError, match=r"unknown option --env\.contrats"):
        autosim.make_env("spot", contrats=2)


def test_what_is_installed_comes_with_a_sentence(toy: Path) -> None:
    assert autosim.environments()["spot"] == "Discs start at the upper left; the target's are at the lower right"
    found = autosim.algorithms()
    assert found["walk"].startswith("A random walk") and "broken" not in found


def test_progress_is_shown_unless_it_is_to_be_quiet(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    autosim.run("walk", "spot", out="quiet", quiet=True, **SMALL)
    assert capsys.readouterr().out == ""
    autosim.run("walk", "spot", out="told", **SMALL)
    assert "iteration 2/2" in capsys.readouterr().out


def test_ctrl_c_ends_a_run_after_its_iteration(toy: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    metrics = toy / "stopped" / "metrics.jsonl"

    def interrupt() -> None:
        while not (metrics.exists() and metrics.read_text()):
            time.sleep(0.02)
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    options: dict[str, Any] = {"algo.iterations": 10_000, "algo.pause_seconds": 0.05, "algo.task_loss": False}
    try:
        run = autosim.run("walk", "spot", out="stopped", quiet=True, workers=0, **options)
    finally:
        signal.signal(signal.SIGINT, before)
    assert run.summary["interrupted"] and "interrupted" in repr(run)
    assert len(run.generator.sample(2)) == 2


SCRIPT = """
import autosim, psutil
run = autosim.run("walk", "spot", quiet=True, workers=0, **{"algo.iterations": 1})
frames = run.frames(3, workers=1)
print(len(frames), (frames.images == run.frames(3, workers=0).images).all())
import ray
own = psutil.Process()
sockets = []
for process in [own, *own.children(recursive=True)]:
    try:
        sockets += process.net_connections("inet")
    except psutil.NoSuchProcess:
        continue
print(*sorted({s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN}))
print(ray._private.worker._global_node.get_session_dir_path())
print(*(kind for kind, _ in ray._private.worker._global_node.live_processes()))
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines that a script prints, which renders in a process of Ray's."""
    folder = tmp_path_factory.mktemp("script")
    (folder / "script.py").write_text(SCRIPT)
    environment = {key: value for key, value in install_toy(folder / "site").items() if not key.startswith("RAY_")}
    process = ForkedCommand([], environment, folder, folder / "script.py")
    output, errors = process.communicate(timeout=150)
    assert process.returncode == 0, errors
    return output.splitlines()


def test_a_script_needs_no_main_guard_and_frames_do_not_depend_on_workers(printed: list[str]) -> None:
    assert printed[0].split() == ["3", "True"]


def test_ray_here_listens_on_loopback_alone_and_leaves_no_folder(printed: list[str]) -> None:
    assert set(printed[1].split()) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    assert "session_" in printed[2] and not Path(printed[2]).exists()


def test_ray_here_starts_nothing_that_only_a_cluster_needs(printed: list[str]) -> None:
    assert set(printed[3].split()) == {"gcs_server", "raylet"}


def test_importing_it_loads_nothing_else() -> None:
    code = "import sys, autosim; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"numpy", "torch", "ray", "rich", "yaml", "jsonargparse"}.isdisjoint(done.stdout.split())


def test_what_it_offers_is_there() -> None:
    for name in autosim.__all__:
        assert getattr(autosim, name).__doc__
    assert set(autosim.__all__) <= set(dir(autosim))
    with pytest.raises(AttributeError, match="'autosim' has no attribute 'runn'"):
        autosim.runn  # noqa: B018
