"""Rendered frames on disk, batch by batch, until the data set is written: what a killed export has drawn is kept."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from autosim.export.settings import refuse_other
from autosim.files import fault, read_json, write_whole
from autosim.formats.dataset import LabelledImage
from autosim.formats.frame_reader import from_frame
from autosim.formats.pictures import encode_png
from autosim.rendering.annotations import Annotation
from autosim.rendering.frames import Frame, Frames
from autosim.scenes.graph import SceneGraph

FOLDER = ".unfinished"
REQUEST, SCENES, RUN = "request.json", "scenes.jsonl", "run.yaml"
# Images that are drawn and kept together. Seeds follow the batches, so that other sizes would give other images.
BATCH = 20
LENGTHS = "lengths of the pictures"


class Staging:
    """The folder ``.unfinished`` within an export. It holds the request, the scenes, and finished batches of frames."""

    def __init__(self, out: Path) -> None:
        self.path = out / FOLDER
        self._recent: tuple[int, dict[str, NDArray[Any]]] | None = None

    def begin(self, request: Mapping[str, Any], run: Mapping[str, Any]) -> None:
        """Note what is exported, and of which run (``run.yaml``), or check that it is the same as before; ``UserError``
        names what differs.
        """
        import yaml

        known = self.path / REQUEST
        if known.exists():
            before = read_json(known)
            for name, value in request.items():
                refuse_other(name, before.get(name) if isinstance(before, dict) else None, value)
            return
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self.path / RUN, yaml.safe_dump(dict(run), sort_keys=False).encode())
        write_whole(known, json.dumps(dict(request)).encode())

    def has_scenes(self) -> bool:
        """Whether the scenes have been drawn."""
        return (self.path / SCENES).exists()

    def write_scenes(self, scenes: Sequence[SceneGraph]) -> None:
        """The scene graph of every image, a line of JSON each."""
        lines = (json.dumps(scene.to_json(), allow_nan=False) for scene in scenes)
        write_whole(self.path / SCENES, "".join(f"{line}\n" for line in lines).encode())

    def read_scenes(self) -> list[SceneGraph]:
        """What :meth:`write_scenes` wrote."""
        text = (self.path / SCENES).read_text(encoding="utf-8")
        return [SceneGraph.from_json(json.loads(line)) for line in text.splitlines()]

    def has_batch(self, batch: int) -> bool:
        """Whether a batch is there with all of its pictures."""
        if not self._file(batch).exists():
            return False
        try:
            lengths = self._arrays(batch)[LENGTHS]
            return all(self.picture(batch * BATCH + row).stat().st_size == length for row, length in enumerate(lengths))
        except (OSError, ValueError, KeyError):
            return False

    def write_batch(self, batch: int, frames: Frames) -> None:
        """Pictures as PNG, then their annotations, which say that the batch is complete."""
        self.picture(batch * BATCH).parent.mkdir(exist_ok=True)
        lengths = []
        for row, image in enumerate(frames.images):
            content = encode_png(image)
            self.picture(batch * BATCH + row).write_bytes(content)
            lengths.append(len(content))
        arrays: dict[str, Any] = {f"annotation {name}": values for name, values in frames.annotations.items()}
        buffer = io.BytesIO()
        arrays[LENGTHS] = np.array(lengths)
        np.savez_compressed(buffer, **arrays)
        write_whole(self._file(batch), buffer.getvalue())

    def picture(self, index: int) -> Path:
        """The picture of one image."""
        return self.path / "frames" / f"{index:06d}.png"

    def annotations(self, index: int) -> dict[str, NDArray[Any]]:
        """The annotations of one image by name."""
        batch, row = divmod(index, BATCH)
        arrays = self._arrays(batch)
        return {name[11:]: values[row] for name, values in arrays.items() if name.startswith("annotation ")}

    def remove(self) -> None:
        """Everything that was kept."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _file(self, batch: int) -> Path:
        return self.path / "frames" / f"batch-{batch:06d}.npz"

    def _arrays(self, batch: int) -> dict[str, NDArray[Any]]:
        """The arrays of a batch; those of the last one that was asked for are kept."""
        if self._recent is None or self._recent[0] != batch:
            try:
                with np.load(self._file(batch)) as stored:
                    self._recent = batch, {name: stored[name] for name in stored.files}
            except Exception as error:  # damaged archives raise errors of many kinds
                self._recent = None
                raise fault(self._file(batch), f"is damaged ({error})") from error
        return self._recent[1]


class StagedImages(Sequence[LabelledImage]):
    """Some of the staged images as labelled images, each read when it is asked for. ``camera`` is that of all."""

    def __init__(
        self,
        staging: Staging,
        declared: Mapping[str, Annotation],
        shape: tuple[int, int],
        indices: range,
        camera: NDArray[np.float64] | None = None,
    ) -> None:
        self.staging, self.declared, self.shape, self.indices = staging, declared, shape, indices
        self.camera = camera
        # As large as the pictures, which are not decoded.
        self._blank = np.broadcast_to(np.uint8(0), (*shape, 3))

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, index: int) -> LabelledImage: ...

    @overload
    def __getitem__(self, index: slice) -> StagedImages: ...

    def __getitem__(self, index: int | slice) -> LabelledImage | StagedImages:
        if isinstance(index, slice):
            return StagedImages(self.staging, self.declared, self.shape, self.indices[index], self.camera)
        number = self.indices[index]
        frame = Frame(self._blank, self.staging.annotations(number))
        labels = from_frame(f"{number:06d}", frame, self.declared)
        picture = self.staging.picture(number)
        return replace(labels, picture=picture, stored=True, size=self.shape, camera=self.camera)
