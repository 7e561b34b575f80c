"""Cameras of exported pictures: what the renderer's camera sees lies where the exported matrix projects it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from autosim.api import make_env
from autosim.cli.run_options import configure
from autosim.export.export import camera_matrix, export
from autosim.export.settings import ExportSettings
from autosim.formats.guess import read_data_set
from autosim.runs.folder import RunFolder
from autosim.scenes.graph import SceneGraph
from autosim.scenes.parametric import ParametricGenerator
from envs.clevr.renderer import CAMERA, RADIUS


def exported(folder: Path, name: str, **options: Any) -> Path:
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run" / "checkpoint.pt").write_bytes(b"learned")
    generator = ParametricGenerator(make_env(name).target())  # type: ignore[arg-type]
    settings = ExportSettings(**{"count": 4, "split": 0.0, **options})
    out = folder / settings.format
    console = Console(file=io.StringIO())
    return export(configure("metasim", name, {}), RunFolder(folder / "run"), settings, out, console, 0, generator)


def projected(camera: np.ndarray[Any, Any], point: tuple[float, float, float]) -> np.ndarray[Any, Any]:
    """Where a point of CLEVR's scene is in the picture, x and y in pixels."""
    forward = -np.array(CAMERA) / np.linalg.norm(CAMERA)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    seen = np.array([right, np.cross(forward, right), forward]) @ (np.array(point) - CAMERA)
    x, y, depth = camera[:, :3] @ seen
    return np.array([x, y]) / depth


@pytest.mark.parametrize("name", ["bop", "kitti"])
def test_objects_are_where_the_camera_s_matrix_projects_them(tmp_path: Path, name: str) -> None:
    out = exported(tmp_path, "clevr", format=name, size="96x64", samples=1)
    data = read_data_set(out / "train" if name == "kitti" and (out / "train").exists() else out, name)
    scenes = [SceneGraph.from_json(json.loads(line)) for line in (out / "scenes.jsonl").read_text().splitlines()]
    apart = []
    for image, scene in zip(data.images, scenes, strict=True):
        assert image.camera is not None and (image.camera[:, :3] == camera_matrix(49.13, 64, 96)).all()
        # The middle of the first pixel is at 0.
        middles = (image.boxes[:, :2] + image.boxes[:, 2:]) / 2 - 0.5
        for node in scene.find("object"):
            if node["shape"] == "sphere":
                place = projected(image.camera, (float(node["x"]), float(node["y"]), RADIUS))
                apart.append(np.abs(middles - place).max(axis=1).min())
    assert len(apart) >= 2 and np.median(apart) < 0.6


def test_half_the_width_is_seen_under_half_the_field_of_view() -> None:
    camera = camera_matrix(90.0, 240, 320)
    np.testing.assert_allclose(camera @ (1.0, 0.0, 1.0), (319.5, 119.5, 1.0))


def test_pictures_without_a_camera_have_no_matrix(tmp_path: Path) -> None:
    out = exported(tmp_path, "multimnist", format="bop")
    assert all(image.camera is None for image in read_data_set(out, "bop").images)
    assert not list(out.rglob("scene_camera.json"))
