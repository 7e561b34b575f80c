"""``--target.fit own``: the environment draws its frames in the aspect of the user's photographs, where it can."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from autosim.api import make_env
from autosim.cli.run_options import configure
from autosim.export.export import export
from autosim.export.settings import ExportSettings
from autosim.formats.dataset import DataSet, LabelledImage
from autosim.formats.guess import WRITERS
from autosim.formats.shapes import Pixels
from autosim.rendering.pool import LocalPool
from autosim.runs.config import RunConfig
from autosim.runs.folder import RunFolder
from autosim.runs.opening import fitted_environment, open_session
from autosim.scenes.parametric import ParametricGenerator
from autosim.session import train_and_score
from tests.support.toy import image_folder

pytestmark = pytest.mark.usefixtures("blank_pictures")


def photographs(folder: Path, height: int = 60, width: int = 80, count: int = 2) -> Path:
    """A cube that fills the lower left quarter, as COCO."""
    mask = np.zeros((height, width), dtype=bool)
    mask[height // 2 :, : width // 2] = True
    pixels = np.full((height, width, 3), 90, dtype=np.uint8)
    pixels[mask] = 200
    box = np.array([[0, height // 2, width // 2, height]], dtype=np.float32)
    images = [LabelledImage(str(i), pixels, box, np.array([0]), shapes=(Pixels(mask),)) for i in range(count)]
    WRITERS["coco"](DataSet(("cube",), images), folder, None)
    return folder


def clevr(folder: Path, **options: Any) -> RunConfig:
    env = {"edge": 48, "variant": "scalar_rgb", "train_frames": 2}
    target = {"fit": "own", "folder": str(folder), **options}
    return configure("autosimulate", "clevr", {"env": env, "target": target, "workers": 0, "seed": 0})


def fitted(config: RunConfig) -> Any:
    return fitted_environment(make_env(config.env, edge=48, variant="scalar_rgb"), config.settings.target)


@pytest.mark.usefixtures("one_thread")
def test_frames_are_drawn_in_the_aspect_of_photographs_which_fill_them(tmp_path: Path) -> None:
    import torch

    config = clevr(photographs(tmp_path / "photos"))
    env = fitted(config)
    with open_session(config, env, torch.device("cpu")) as session:
        validation, test = session.validation, session.target.test
        assert validation.images.shape[1:] == (42, 56, 3) and test is not None
        mask = validation.annotations["mask"][0]
        assert mask[21:, :28].all() and mask.astype(bool).sum() == 21 * 28
        assert (validation.images[0, 0] == 90).all() and (validation.images[0, 30:, :20] == 200).all()
        assert any("images of 80×60 fill 56×42, their own aspect; their field" in note for note in session.target.notes)
        drawn = session.render(env.prior().sample_many(2, np.random.SeedSequence(0)), "frames")
        assert drawn.images.shape[1:] == (42, 56, 3)
        assert 0 <= train_and_score(session.task, env.schedule, 0, drawn, test) <= 1
    described = env.describe()
    assert described.pop("frame_size") == [42, 56]
    assert described == make_env("clevr", edge=48, variant="scalar_rgb").describe()


def test_a_camera_s_horizontal_field_of_view_stays(tmp_path: Path) -> None:
    renderer = fitted(clevr(photographs(tmp_path / "photos"))).renderer()
    assert renderer.field_of_view == make_env("clevr").renderer().field_of_view
    renderer.build()
    square = make_env("clevr", edge=56, variant="scalar_rgb").renderer()
    square.build()
    (scene,) = make_env("clevr").target().sample_many(1, np.random.SeedSequence(0))  # type: ignore[union-attr]
    # The rows in the middle of a square picture of the same width.
    np.testing.assert_array_equal(renderer.annotate(scene)["mask"], square.annotate(scene)["mask"][7:-7])


def test_what_the_run_learned_is_exported_in_that_aspect(tmp_path: Path) -> None:
    config = clevr(photographs(tmp_path / "photos"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"learned")
    generator = ParametricGenerator(make_env("clevr").prior())
    console, settings = Console(file=io.StringIO()), ExportSettings(count=2, split=0.0)
    out = export(config, RunFolder(tmp_path / "run"), settings, tmp_path / "out", console, 0, generator)
    assert Image.open(next((out / "images").glob("*.png"))).size == (56, 42)


def test_square_photographs_change_nothing(tmp_path: Path) -> None:
    env = make_env("clevr", edge=48, variant="scalar_rgb")
    assert fitted_environment(env, clevr(photographs(tmp_path / "photos", 60, 60)).settings.target) is env


@pytest.mark.parametrize("name", ["aerial", "mnist"])
def test_an_environment_that_cannot_says_so(tmp_path: Path, name: str) -> None:
    """The sprites of one keep their aspect; the network of the other is for pictures of one size."""
    import torch

    folder = image_folder(tmp_path / "photos")
    for path in folder.iterdir():
        Image.new("RGB", (80, 60), (90, 90, 90)).save(path)
    config = configure("metasim", name, {"target": {"fit": "own", "folder": str(folder)}, "workers": 0})
    env = make_env(name)
    with open_session(config, fitted_environment(env, config.settings.target), torch.device("cpu")) as session:
        edge = env.renderer().width
        assert session.target.images.images.shape[1:3] == (edge, edge)
        told = f"fill {edge}×{round(0.75 * edge)} of {edge}×{edge}, edges are repeated (this environment cannot draw in"
        assert any(told in note for note in session.target.notes)


def test_a_task_for_pictures_of_one_size_is_not_given_others() -> None:
    with pytest.raises(ValueError, match="mnist: its task is for pictures of one size"):
        make_env("mnist").with_frame_size(30, 40)


def test_an_environment_of_another_size_leaves_the_first_as_it_is() -> None:
    env = make_env("clevr", edge=48, variant="scalar_rgb")
    other = env.with_frame_size(24, 64)
    assert (other.renderer().height, other.renderer().width) == (24, 64) == other.frame_size
    assert (env.renderer().height, env.renderer().width) == (48, 48) and env.frame_size is None
    with LocalPool(other.renderer()) as pool:
        assert pool.render(env.prior().sample_many(1, np.random.SeedSequence(0)), [0]).images.shape == (1, 24, 64, 3)
