"""Renderers that know files alone: a folder of scenes in, a folder of images and annotations out, a process a batch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosim.errors import RendererError
from autosim.rendering.annotations import Annotation
from autosim.rendering.external.engine import SHOWN, EngineSettings
from autosim.rendering.frames import Frame
from autosim.rendering.renderer import Renderer
from autosim.scenes.graph import SceneGraph, Schema


class FolderRenderer(Renderer):
    """Frames by ``command``, run for each batch; in it ``{scenes}`` and ``{frames}`` stand for two folders.

    The first holds ``000000.json``, …: ``{"scene": …, "seed": …}``. The second has to hold ``000000.png`` for each, 8
    bits RGB, and for each annotation NAME ``000000.NAME.npy``, or ``000000.NAME.png`` of grey values. For engines that
    cannot be kept running; starting one anew for each batch is what takes the time.
    """

    def __init__(
        self,
        schema: Schema,
        height: int,
        width: int,
        annotations: Mapping[str, Annotation],
        command: Sequence[str],
        settings: EngineSettings | None = None,
    ) -> None:
        if not all(any(place in word for word in command) for place in ("{scenes}", "{frames}")):
            raise ValueError("command: {scenes} and {frames} have to stand in it")
        self.schema, self.height, self.width = schema, height, width
        self.annotations = dict(annotations)
        self.command = tuple(command)
        self.settings = settings or EngineSettings()

    def build(self) -> None:
        """Look for the command."""
        if shutil.which(self.command[0]) is None:
            raise RendererError(f"{self.command[0]!r} is no command that can be run")

    def render(self, scene: SceneGraph, seed: int) -> Frame:
        """See :meth:`Renderer.render`."""
        return self.render_many([scene], [seed])[0]

    def render_many(self, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> list[Frame]:
        """See :meth:`Renderer.render_many`; one process draws them all."""
        with tempfile.TemporaryDirectory(prefix="autosim-") as name:
            given, drawn = Path(name, "scenes"), Path(name, "frames")
            given.mkdir()
            drawn.mkdir()
            for i, (scene, seed) in enumerate(zip(scenes, seeds, strict=True)):
                Path(given, f"{i:06d}.json").write_text(json.dumps({"scene": scene.to_json(), "seed": int(seed)}))
            self._run(given, drawn, len(scenes))
            return [self._frame(drawn, i) for i in range(len(scenes))]

    def _run(self, given: Path, drawn: Path, count: int) -> None:
        limit = self.settings.start_seconds + self.settings.frame_seconds * count
        command = [word.replace("{scenes}", str(given)).replace("{frames}", str(drawn)) for word in self.command]
        log = given.parent / "log"
        with log.open("wb") as output:
            try:
                code = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    timeout=limit,
                    check=False,
                    env={**os.environ, **self.settings.environment},
                ).returncode
            except subprocess.TimeoutExpired:
                raise RendererError(f"the engine did not draw {count} scenes within {limit:g} s") from None
        if code != 0:
            lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            said = f": {' '.join(lines[-1].split())[-SHOWN:]}" if lines else ""
            raise RendererError(f"the engine ended with exit code {code}{said}")

    def _frame(self, folder: Path, number: int) -> Frame:
        image = _picture(folder / f"{number:06d}.png", "RGB")
        truth: dict[str, NDArray[np.generic]] = {}
        for name, kind in self.annotations.items():
            array, picture = folder / f"{number:06d}.{name}.npy", folder / f"{number:06d}.{name}.png"
            if array.exists():
                try:
                    truth[name] = np.load(array, allow_pickle=False)
                except (OSError, ValueError) as error:
                    raise RendererError(f"{array.name} cannot be read: {' '.join(str(error).split())[:80]}") from error
            else:
                truth[name] = _picture(picture, "").astype(kind.dtype)
        return Frame(image, truth)


def _picture(path: Path, mode: str) -> NDArray[Any]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            return np.array(opened.convert(mode) if mode else opened)
    except FileNotFoundError:
        raise RendererError(f"the engine has left no {path.name}") from None
    except (OSError, UnidentifiedImageError) as error:
        raise RendererError(f"{path.name} cannot be read: {' '.join(str(error).split())[:80]}") from error
