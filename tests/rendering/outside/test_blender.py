"""Renderers on Blender, as far as they need none: which one is started, how, and what becomes of what it draws."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from autosim.errors import RendererError, UserError
from autosim.rendering.annotations import ClassMask
from autosim.rendering.blender.installed import COMPLETE, WHEELS, blender_command, choose_blender
from autosim.rendering.blender.renderer import BlenderRenderer
from autosim.rendering.pool import LocalPool
from autosim.scenes.graph import Continuous, Node, NodeClass, SceneGraph, Schema
from tests.support.blenders import stand_in
from tests.support.toy import ROOT

SCRIPT = Path(__file__).with_name("square_in_blender.py")
SCHEMA = Schema((NodeClass("square", (Continuous("x", 0.0, 28.0, step=1.0),), slots=3),))


class Squares(BlenderRenderer):
    def truth(self, scene: SceneGraph, instances: NDArray[np.uint16]) -> dict[str, NDArray[np.generic]]:
        return {"mask": (instances > 0).astype(np.uint8)}


def squares(blender: str, edge: int = 32) -> Squares:
    return Squares(SCHEMA, edge, edge, {"mask": ClassMask(("ground", "square"))}, SCRIPT, {"ground": 0.5}, blender)


def scene(*places: float) -> SceneGraph:
    return SceneGraph(tuple(Node("square", {"x": x}, slot) for slot, x in enumerate(places)), (-1,) * len(places))


def test_instances_become_the_annotations(tmp_path: Path) -> None:
    renderer = squares(stand_in(tmp_path))
    with LocalPool(renderer) as pool:
        frames = pool.render([scene(3.0), scene(0.0, 20.0)], [1, 2])
        assert frames.annotations["mask"].sum(axis=(1, 2)).tolist() == [16, 32]
        assert frames.images[0, 0, :8, 0].tolist() == [128, 128, 128, 1, 1, 1, 1, 128]
    instances = renderer.instances(scene(0.0, 20.0))
    renderer.close()
    assert instances.dtype == np.uint16 and np.bincount(instances.ravel()).tolist() == [32 * 32 - 32, 16, 16]


def test_a_larger_picture_has_larger_things_and_other_samples(tmp_path: Path) -> None:
    renderer = squares(stand_in(tmp_path)).resized(64, 64, samples=200)
    with LocalPool(renderer) as pool:
        frames = pool.render([scene(3.0)], [1])
    assert frames.images.shape == (1, 64, 64, 3)
    assert frames.annotations["mask"].sum() == 64 and frames.images[0, 0, 6, 0] == 200


def test_the_engine_has_a_core_of_its_own_and_none_of_our_packages(tmp_path: Path) -> None:
    renderer = squares(stand_in(tmp_path))
    with pytest.raises(RendererError, match=r"ValueError: on 1 core, with \[") as caught:
        renderer.render(scene(3.0), 13)
    renderer.close()
    assert str(ROOT) not in str(caught.value)


def test_engines_share_the_cores_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    code = (
        "import os; from autosim.rendering.blender.inside import start; start.pin(); "
        "print(*os.sched_getaffinity(0), flush=True); input()"
    )
    cores = sorted(os.sched_getaffinity(0))[:2]
    held, found = [], []
    for _ in range(2 * len(cores)):
        # Each begins with all of the cores, however many this machine has.
        begin = f"import os; os.sched_setaffinity(0, {set(cores)}); {code}"
        held.append(
            subprocess.Popen([sys.executable, "-c", begin], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        )
        output = held[-1].stdout
        assert output is not None
        found.append(int(output.readline()))
    for process in held:
        process.communicate(b"\n")
    assert sorted(found) == sorted(cores * 2)


def test_truth_is_made_only_where_it_is_asked_for(tmp_path: Path) -> None:
    renderer = squares(stand_in(tmp_path))
    assert renderer.draw(scene(3.0), 14).shape == (32, 32, 3)
    with pytest.raises(RendererError, match="nobody asked for the instances"):
        renderer.render(scene(3.0), 14)
    renderer.close()


def test_without_a_blender_a_line_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSIM_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"^no Blender is set up here; `autosim blender setup` installs it, or"):
        choose_blender("")
    with pytest.raises(UserError, match=r"^bpy-5\.0\.1 is not set up here; `autosim blender setup --bpy 5\.0\.1`"):
        choose_blender("bpy-5.0.1")
    with pytest.raises(
        UserError, match=r"^'/no/blender' is no executable; allowed are Blender's, a Python with bpy, bpy-"
    ):
        choose_blender("/no/blender")
    with pytest.raises(RendererError, match=r"^no Blender is set up here; `autosim blender setup`"):
        squares("").build()


def test_the_newest_that_is_whole_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSIM_CACHE", str(tmp_path))
    newest, older = WHEELS[0], WHEELS[-1]
    for wheel in (newest, older):
        wheel.interpreter.parent.mkdir(parents=True)
        wheel.interpreter.touch()
    (older.folder / COMPLETE).touch()
    assert choose_blender("") == older.name
    (newest.folder / COMPLETE).touch()
    assert choose_blender("") == newest.name
    assert choose_blender(older.name) == older.name
    assert blender_command("", ["start.py", "script.py"]) == [str(newest.interpreter), "-I", "start.py", "script.py"]


def test_an_executable_runs_the_script_in_the_background(tmp_path: Path) -> None:
    path = stand_in(tmp_path)
    command = blender_command(path, ["start.py", "script.py", "{}"])
    assert command[0] == path and "--background" in command and os.access(command[0], os.X_OK)
    assert command[-5:] == ["--python", "start.py", "--", "script.py", "{}"]
    assert blender_command(sys.executable, ["start.py", "script.py"]) == [sys.executable, "-I", "start.py", "script.py"]
