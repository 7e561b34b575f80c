"""Renderers in processes of their own: the contract, faults that end in one line, and no process that stays behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from autosim.errors import RendererError
from autosim.rendering.annotations import ClassMask
from autosim.rendering.external.engine import EngineSettings
from autosim.rendering.external.folder import FolderRenderer
from autosim.rendering.external.renderer import ExternalRenderer, declaration
from autosim.rendering.pool import LocalPool
from autosim.rendering.renderer import Renderer
from autosim.rendering.windows import Window
from autosim.scenes.graph import Continuous, Node, NodeClass, SceneGraph, Schema
from autosim.testing import RendererSuite
from tests.rendering.outside.disc_scenes import ANNOTATIONS, ROOT, SCHEMA, disc, engine


@pytest.fixture
def start() -> Iterator[Callable[..., ExternalRenderer]]:
    """Engines that are ended after the test."""
    started: list[ExternalRenderer] = []

    def one(*arguments: str, **options: Any) -> ExternalRenderer:
        started.append(engine(*arguments, **options))
        return started[-1]

    yield one
    for renderer in started:
        renderer.close()


class _Suite(RendererSuite):
    """One engine is used by all checks that do not end it, for its start takes longer than they do."""

    transport: Any
    _shared: dict[str, ExternalRenderer] = {}  # noqa: RUF012

    def renderer(self) -> Renderer:
        return engine(transport=self.transport)

    def built(self) -> Renderer:
        shared = self._shared.setdefault(self.transport, engine(transport=self.transport))
        if shared.core_seconds() == 0 or shared._engine is None:
            shared.build()
        return shared

    def scenes(self) -> Sequence[SceneGraph]:
        return [disc(8.0), disc(16.0, 0.8), disc(25.0, 0.3)]


class TestOverAPipe(_Suite):
    transport = "pipe"


class TestOverASocket(_Suite):
    transport = "socket"


@pytest.fixture(scope="module", autouse=True)
def end_shared_engines() -> Iterator[None]:
    yield
    for renderer in _Suite._shared.values():
        renderer.close()


def test_what_an_engine_prints_is_in_its_log_and_no_answer(
    start: Callable[..., ExternalRenderer], tmp_path: Path
) -> None:
    renderer = start("print", logs=str(tmp_path))
    frames = renderer.render_many([disc(8.0), disc(9.0)], [13, 1])
    assert [frame.image.shape for frame in frames] == [(32, 32, 3)] * 2
    (log,) = tmp_path.glob("engine-*.log")
    text = log.read_text()
    assert "an engine's greeting" in text and "printed by a process of the engine" in text and '"id": 1' in text


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("hang", r"scene 1: the engine gave no answer within 1 s \(1 scenes\).*\(log: .*\)"),
        ("die", r"scene 1: the engine has ended: out of licences \(log: .*\)"),
        ("raise", r"scene 1: ValueError: no such material"),
    ],
)
def test_a_fault_names_the_scene_and_the_next_request_is_answered(
    start: Callable[..., ExternalRenderer], tmp_path: Path, fault: str, said: str
) -> None:
    renderer = start(fault, logs=str(tmp_path), frame_seconds=1.0)
    with LocalPool(renderer) as pool:
        with pytest.raises(RendererError, match=f"^ExternalRenderer: {said}$"):
            pool.render([disc(8.0), disc(9.0)], [1, 13])
        assert len(pool.render([disc(8.0)], [1])) == 1


def test_what_cannot_start_or_is_another_engine_is_told(start: Callable[..., ExternalRenderer]) -> None:
    silent = start("silent", start_seconds=0.5)
    with pytest.raises(RendererError, match=r"^the engine did not say what it draws within 0.5 s"):
        silent.build()
    missing = ExternalRenderer(SCHEMA, 32, 32, ANNOTATIONS, ["no-such-engine"])
    with pytest.raises(RendererError, match=r"^the engine has ended: no-such-engine: No such file or directory"):
        missing.build()
    other = start(environment={"DISC_EDGE": "16"})
    with pytest.raises(RendererError, match=r"^the engine's height is 16 instead of 32$"):
        other.build()


ANSWERS = {
    "rubbish": ('print("x" * 3000000)', "the engine sent a line of more than 1048576 bytes"),
    "version": ("print('{\"autosim\": 2}')", "the engine speaks version 2 of the protocol instead of 1"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_nonsense_is_refused(kind: str) -> None:
    code, said = ANSWERS[kind]
    renderer = ExternalRenderer(SCHEMA, 32, 32, ANNOTATIONS, [sys.executable, "-c", f"{code}; input()"])
    with pytest.raises(RendererError, match=f"^{said}"):
        renderer.build()


HELLO = {
    "autosim": 1,
    "engine": "rubbish",
    "height": 32,
    "width": 32,
    "annotations": {name: declaration(kind) for name, kind in ANNOTATIONS.items()},
}
RUBBISH_ENGINE = """
import json, sys
print({hello!r}, flush=True)
for line in sys.stdin:
    number = json.loads(line)["id"]
    sys.stdout.buffer.write({answer!r}.replace(b'"id": 1', b'"id": %d' % number))
    sys.stdout.flush()
    {then}
"""
MASK, BOXES = b'["mask", "u1", [1, 32, 32]]', b'["boxes", "f4", [1, 2, 5]]'
IMAGE = b'["image", "u1", [1, 32, 32, 3]]'
RUBBISH = {
    "no arrays": (b'{"autosim": 1, "id": 1}\n', "the engine's answer makes no sense: its answer has no arrays"),
    "a type that is none": (
        b'{"autosim": 1, "id": 1, "arrays": [["image", "c16", [1, 32, 32, 3]]]}\n',
        "the engine's answer makes no sense: an array of its answer is",
    ),
    "arrays of another count": (
        b'{"autosim": 1, "id": 1, "arrays": [["image", "u1", [2, 32, 32, 3]]]}\n',
        "the engine's answer makes no sense: an array of its answer is",
    ),
    "an array for which there is no room": (
        b'{"autosim": 1, "id": 1, "arrays": [["image", "u1", [1, 9999999, 9999999, 3]]]}\n',
        "the engine's answer makes no sense: an array of its answer is",
    ),
    "more bytes than said": (
        b'{"autosim": 1, "id": 1, "arrays": [' + IMAGE + b"]}\n" + bytes(3072) + b"more\n",
        "the engine's answer makes no sense: its answer has more bytes than it said",
    ),
    "fewer bytes than said": (
        b'{"autosim": 1, "id": 1, "arrays": [' + IMAGE + b"]}\n" + bytes(1000),
        "the engine has ended",
    ),
    "nothing but noise": (bytes(range(256)) * 20, "the engine has ended"),
    "an image of another size": (
        b'{"autosim": 1, "id": 1, "arrays": [["image", "u1", [1, 8, 8, 3]]]}\n' + bytes(192) + b"\n",
        r"the engine's image is uint8 \(8, 8, 3\) instead of uint8 \(32, 32, 3\)",
    ),
    "a mask of a class that is none": (
        b'{"autosim": 1, "id": 1, "arrays": ['
        + b", ".join((IMAGE, MASK, BOXES))
        + b"]}\n"
        + bytes(3072)
        + b"\7" * 1024
        + bytes(40)
        + b"\n",
        "annotation 'mask'",
    ),
}


@pytest.mark.parametrize("kind", RUBBISH)
def test_an_answer_of_rubbish_is_told_in_a_line(kind: str) -> None:
    answer, said = RUBBISH[kind]
    code = RUBBISH_ENGINE.format(
        hello=json.dumps(HELLO), answer=answer, then="break" if "has ended" in said else "pass"
    )
    renderer = ExternalRenderer(SCHEMA, 32, 32, ANNOTATIONS, [sys.executable, "-c", code])
    with LocalPool(renderer) as pool, pytest.raises(RendererError, match=said) as caught:
        pool.render([disc(8.0)], [1])
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 300


def test_memory_of_the_engine_is_counted(start: Callable[..., ExternalRenderer]) -> None:
    renderer = start("leak")
    renderer.render(disc(8.0), 1)
    before = renderer.memory_held()
    renderer.render_many([disc(8.0)] * 5, range(5))
    assert 45 << 20 < renderer.memory_held() - before < 90 << 20


def alive(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if mark in " ".join([*process.cmdline(), *process.environ().values()]):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return [process for process in found if process.pid != os.getpid()]


def wait_until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_no_process_outlives_the_one_that_is_killed(tmp_path: Path) -> None:
    """The guard, the engine, which hangs, and what the engine has started."""
    mark = f"mark-{tmp_path.name}"
    code = (
        "from tests.rendering.outside.disc_scenes import disc, engine\n"
        f"renderer = engine('child', logs={str(tmp_path)!r}, environment={{'DISC_MARK': {mark!r}}})\n"
        "renderer.render(disc(8.0), 1)\n"
        "print('drawn', flush=True)\n"
        "renderer.render(disc(8.0), 13)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    holder = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None and holder.stdout.readline() == b"drawn\n"
    assert len(alive(mark)) >= 3
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert wait_until(lambda: not alive(mark)), alive(mark)


def test_cpu_time_of_the_engine_is_counted(start: Callable[..., ExternalRenderer]) -> None:
    renderer = start()
    before = renderer.core_seconds()
    renderer.render_many([disc(8.0)] * 400, list(range(20, 420)))
    own = time.process_time()
    assert renderer.core_seconds() > before
    renderer.close()
    assert renderer.core_seconds() > before + 0.05
    assert renderer.core_seconds() > own


def test_a_window_is_cut_out_of_the_picture(start: Callable[..., ExternalRenderer]) -> None:
    renderer, window = start(), Window(4, 2, 10, 20)
    whole = renderer.draw(disc(8.0), 3)
    np.testing.assert_array_equal(renderer.draw_window(disc(8.0), 3, 1.0, window), whole[window.slices])


def test_images_of_differences_may_be_floats(start: Callable[..., ExternalRenderer]) -> None:
    renderer = start()
    image = renderer.draw(disc(8.0), 3, effort=0.5)
    assert image.dtype == np.float32 and np.abs(image * 255 - np.rint(image * 255)).max() > 0.1


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_an_engine_in_another_language() -> None:
    schema = Schema((NodeClass("square", (Continuous("x", 0.0, 32.0, step=0.5), Continuous("brightness", 0.0, 1.0))),))
    command = ["node", str(ROOT / "examples" / "node_engine" / "engine.js")]
    renderer = ExternalRenderer(schema, 32, 32, {"mask": ClassMask(("ground", "square"))}, command)
    scenes = [SceneGraph((Node("square", {"x": x, "brightness": 1.0}, 0),), (-1,)) for x in (8.0, 20.0)]
    with LocalPool(renderer) as pool:
        frames = pool.render(scenes, [1, 2])
    assert [int(mask.nonzero()[1].mean().round()) for mask in frames.annotations["mask"]] == [8, 20]
    assert (frames.images[frames.annotations["mask"] == 1] == 255).all()


DRAW = """
import json, sys
from pathlib import Path
import numpy as np
from PIL import Image
for file in sorted(Path(sys.argv[1]).glob("*.json")):
    request = json.loads(file.read_text())
    if request["seed"] == 13:
        sys.exit("no such material")
    x = int(request["scene"]["nodes"][0]["attributes"]["x"])
    mask = np.zeros((32, 32), dtype=np.uint8)
    mask[:, x:] = 1
    Image.fromarray(np.stack([mask * 200 + request["seed"]] * 3, axis=-1)).save(Path(sys.argv[2], file.stem + ".png"))
    Image.fromarray(mask).save(Path(sys.argv[2], file.stem + ".mask.png"))
"""


def test_a_folder_of_scenes_becomes_a_folder_of_frames() -> None:
    command = [sys.executable, "-c", DRAW, "{scenes}", "{frames}"]
    renderer = FolderRenderer(SCHEMA, 32, 32, {"mask": ClassMask(("ground", "disc"))}, command)
    with LocalPool(renderer) as pool:
        frames = pool.render([disc(8.0), disc(20.0)], [1, 2])
        assert frames.annotations["mask"].sum(axis=(1, 2)).tolist() == [24 * 32, 12 * 32]
        assert frames.images[:, 0, 0, 0].tolist() == [1, 2]
        with pytest.raises(RendererError, match=r"scene 0: the engine ended with exit code 1: no such material$"):
            pool.render([disc(8.0)], [13])
    with pytest.raises(ValueError, match=r"^command: \{scenes\} and \{frames\} have to stand in it$"):
        FolderRenderer(SCHEMA, 32, 32, {}, ["draw"])


def test_the_page_s_engine_runs(tmp_path: Path) -> None:
    """``docs/protocol.md`` shows a whole engine; it answers in at most forty lines."""
    text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(# square_engine\.py\n.*?)```", text, re.DOTALL)
    assert code.count("\n") <= 40
    script = tmp_path / "square_engine.py"
    script.write_text(code)
    schema = Schema((NodeClass("square", (Continuous("x", 0.0, 32.0, step=0.5), Continuous("brightness", 0.0, 1.0))),))
    settings = EngineSettings(environment={"PYTHONPATH": str(ROOT)})
    renderer = ExternalRenderer(
        schema, 32, 32, {"mask": ClassMask(("ground", "square"))}, [sys.executable, str(script)], settings
    )
    with LocalPool(renderer) as pool:
        frames = pool.render([SceneGraph((Node("square", {"x": 8.0, "brightness": 1.0}, 0),), (-1,))], [0])
    assert frames.annotations["mask"].sum() == 100
