"""A data set from a learned distribution: draw scenes, render them, write them; resumable at any moment.

Scenes and frames follow from the seed alone, so that the files are the same for any number of workers and however often
an export is stopped.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from autosim.errors import RendererError, UserError
from autosim.export.beside import write_generator, write_readme, write_sheet
from autosim.export.settings import ExportSettings, refuse_other
from autosim.export.staging import BATCH, RUN, SCENES, StagedImages, Staging
from autosim.export.writers import EXPORTERS
from autosim.files import read_json, write_whole
from autosim.formats.dataset import DataSet
from autosim.formats.frame_reader import frame_classes
from autosim.parallel import RaySettings, in_background, start_ray, tell_if_ray_dies
from autosim.rendering.annotations import Annotation, Boxes, ClassLabel, ClassMask, Depth, InstanceMask
from autosim.rendering.frames import Frames
from autosim.rendering.instances import InstanceRenderer
from autosim.rendering.pool import make_pool
from autosim.rendering.renderer import Renderer
from autosim.reports.formatting import clock_text
from autosim.reports.progress import ProgressDisplay
from autosim.runs.config import RunConfig
from autosim.runs.folder import CHECKPOINT, RunFolder, locked
from autosim.runs.learned import learned_generator
from autosim.runs.opening import fitted_environment, make_environment, packages_of
from autosim.seeding import frame_seeds, seed_sequence

if TYPE_CHECKING:
    from autosim.scenes.generator import SceneGenerator
    from autosim.scenes.graph import SceneGraph

RECORD = "export.json"
LINE_INTERVAL = 5.0
# Most work of one pass.
PASS_SECONDS, PASS_BYTES = 5.0, 2**27
# What formats hold, beside the pictures.
HELD = (Boxes, ClassLabel, ClassMask, InstanceMask)
WITH_DEPTH = ("bop", "imagefolder", "webdataset")


def export(
    config: RunConfig,
    folder: RunFolder,
    settings: ExportSettings,
    out: Path,
    console: Console,
    workers: int,
    generator: SceneGenerator | None = None,
) -> Path:
    """Write the data set that ``settings`` describe into ``out``, or go on with it; returns ``out``.

    ``generator`` is what the run learned, where it is at hand; otherwise it is read from ``folder``. ``workers``
    processes render, 0 for this one. ``UserError`` where ``out`` holds something else, the run has learned nothing or
    the format cannot hold what the environment has; ``RendererError`` where a scene cannot be drawn.
    """
    request = {"run": _fingerprint(folder), **settings.to_dict()}
    renderer = export_renderer(config, settings)
    if _is_complete(out, request):
        Staging(out).remove()
        console.print(f"{out} is complete already", highlight=False, soft_wrap=True)
        return out
    with locked(out, "--out"):
        staging = Staging(out)
        tell_if_ray_dies("the same command goes on with the export")
        whole = config.to_dict()
        staging.begin(request, {"algo": whole["algo"], "env": whole["env"]})
        if not staging.has_scenes():
            learned = generator or learned_generator(_with_workers(config, workers), folder)
            write_generator(out, learned, make_environment(config.env, config.env_config).prior())
            staging.write_scenes(draw_scenes(learned, settings))
        render(config, renderer, settings, staging, console, workers)
        console.print(f"writing {settings.format}", highlight=False)
        write(config, renderer, settings, staging, out, request)
    staging.remove()
    (out / ".lock").unlink(missing_ok=True)
    console.print(f"{settings.count} images in {out}, described in README.md", highlight=False, soft_wrap=True)
    return out


def export_renderer(config: RunConfig, settings: ExportSettings) -> Renderer:
    """The environment's renderer at the size and quality asked for, telling objects apart where it can and its
    annotations do not. ``UserError`` where it cannot have that size, or the format needs objects that cannot be told.
    """
    env = make_environment(config.env, config.env_config)
    if config.settings.target.fit == "own":
        env = fitted_environment(env, config.settings.target)
    renderer = env.renderer()
    shape = settings.shape(renderer.height, renderer.width)
    if settings.samples is not None or shape != (renderer.height, renderer.width):
        try:
            renderer = renderer.resized(*shape, settings.samples)
        except RendererError as error:
            named = "samples" if settings.samples is not None else "size"
            raise UserError(f"--{named}: environment {config.env!r}: {error}") from error
    kinds = tuple(renderer.annotations.values())
    told = any(isinstance(kind, (Boxes, InstanceMask, ClassLabel)) for kind in kinds)
    masked = any(isinstance(kind, ClassMask) for kind in kinds)
    if (
        settings.format == "yolo-seg"
        and any(isinstance(kind, Boxes) for kind in kinds)
        and InstanceMask not in map(type, kinds)
    ):
        raise UserError(
            f"--format: yolo-seg: the renderer of environment {config.env!r} declares boxes, but no instance mask to "
            "outline; allowed are those for boxes, such as yolo"
        )
    if masked and not told and type(renderer).instances is not Renderer.instances:
        return InstanceRenderer(renderer)
    if settings.format == "masks" and not masked:
        raise UserError(f"--format: masks: environment {config.env!r} has no class mask")
    if settings.format not in ("masks", "imagefolder", "webdataset") and not told:
        raise UserError(
            f"--format: {settings.format}: the renderer of environment {config.env!r} cannot tell objects apart; "
            "allowed are masks, imagefolder and webdataset"
        )
    return renderer


def draw_scenes(generator: SceneGenerator, settings: ExportSettings) -> list[SceneGraph]:
    """The scenes of all images, batch by batch: those of fewer images are the first of those of more."""
    import torch

    scenes: list[SceneGraph] = []
    with torch.no_grad():
        for batch in range(-(-settings.count // BATCH)):
            scenes += generator.sample(BATCH, seed_sequence(settings.seed, "export scenes", 0, batch)).scenes
    return scenes[: settings.count]


def render(
    config: RunConfig, renderer: Renderer, settings: ExportSettings, staging: Staging, console: Console, workers: int
) -> None:
    """Draw the batches that are missing; pictures of one are encoded while the next one is drawn."""
    scenes = staging.read_scenes()
    batches = [range(start, min(start + BATCH, len(scenes))) for start in range(0, len(scenes), BATCH)]
    missing = [number for number in range(len(batches)) if not staging.has_batch(number)]
    done = len(scenes) - sum(len(batches[number]) for number in missing)
    if done:
        console.print(f"going on after {done} images", highlight=False)
    if not missing:
        return
    settings_ray = config.settings.ray if workers else RaySettings()
    if workers:
        start_ray(workers, settings_ray.address, packages_of(config))
    begun, first = time.perf_counter(), done
    with (
        make_pool(renderer, min(workers, settings.count), settings_ray) as pool,
        ProgressDisplay(console, "image", len(scenes), done, interval=LINE_INTERVAL) as display,
    ):
        written: Callable[[], None] | None = None
        together = 1
        try:
            while missing:
                numbers, missing = missing[:together], missing[together:]
                drawn = [scenes[i] for number in numbers for i in batches[number]]
                seeds = [seed for number in numbers for seed in batch_seeds(settings, batches, number)]
                frames = pool.render(drawn, seeds)
                if written is not None:
                    written()
                written = in_background(partial(write_batches, staging, frames, batches, numbers))
                done += len(drawn)
                rate = (done - first) / (time.perf_counter() - begun)
                together = batches_together(rate, frames)
                left = clock_text((len(scenes) - done) / rate)
                display.show(done, f"{rate:.3g} images/s · {left} left", last=done == len(scenes))
        finally:
            if written is not None:
                written()


def batch_seeds(settings: ExportSettings, batches: Sequence[range], number: int) -> list[int]:
    """The seeds that the frames of a batch are drawn with."""
    return frame_seeds(settings.seed, "export frames", number, BATCH)[: len(batches[number])]


def write_batches(staging: Staging, frames: Frames, batches: Sequence[range], numbers: Sequence[int]) -> None:
    """Keep the frames of several batches, one after another."""
    start = 0
    for number in numbers:
        end = start + len(batches[number])
        staging.write_batch(number, frames.select(slice(start, end)))
        start = end


def batches_together(rate: float, frames: Frames) -> int:
    """How many batches to draw in one pass: some seconds of work, so that workers seldom wait for the last of a pass,
    and no more than fits in memory.
    """
    arrays = [frames.images, *frames.annotations.values()]
    each = sum(values.nbytes for values in arrays) / len(frames)
    return max(1, int(min(PASS_SECONDS * rate, PASS_BYTES / each) / BATCH))


def write(
    config: RunConfig,
    renderer: Renderer,
    settings: ExportSettings,
    staging: Staging,
    out: Path,
    request: dict[str, Any],
) -> None:
    """The data set in its format, and what lies beside it; ``export.json`` comes last."""
    shape = (renderer.height, renderer.width)
    declared: dict[str, Annotation] = dict(renderer.annotations)
    classes = frame_classes(declared)
    field_of_view = renderer.field_of_view
    camera = None if field_of_view is None else camera_matrix(field_of_view, *shape)
    data = {
        part: DataSet(classes, StagedImages(staging, declared, shape, indices, camera))
        for part, indices in settings.parts().items()
    }
    for part, images in data.items():
        EXPORTERS[settings.format](images, out, part)
    held = (*HELD, Depth) if settings.format in WITH_DEPTH else HELD
    left_out = [name for name, kind in declared.items() if not isinstance(kind, held)]
    write_sheet(out, StagedImages(staging, declared, shape, range(settings.count)))
    write_readme(out, config, settings, data, shape, left_out)
    for name in (SCENES, RUN):
        write_whole(out / name, (staging.path / name).read_bytes())
    write_whole(out / RECORD, (json.dumps(request, indent=1) + "\n").encode())


def camera_matrix(field_of_view: float, height: int, width: int) -> NDArray[np.float64]:
    """K (3, 3): a camera with square pixels, a horizontal field of view in degrees and its axis in the middle of the
    picture. The middle of the first pixel is at 0, as OpenCV and the tools of BOP have it.
    """
    focal = width / 2 / math.tan(math.radians(field_of_view) / 2)
    return np.array([[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]])


def _is_complete(out: Path, request: dict[str, Any]) -> bool:
    """Whether the same export is there already; ``UserError`` where ``out`` holds something else."""
    if out.exists() and not out.is_dir():
        raise UserError(f"output folder {out} is a file; choose another with --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output folder {out}: {error.strerror or error}") from error
    record = out / RECORD
    if not record.exists():
        if any(path.name != ".lock" for path in out.iterdir()) and not Staging(out).path.exists():
            raise UserError(f"output folder {out} is in use; nothing is overwritten, choose another with --out")
        return False
    before = read_json(record)
    for name, value in request.items():
        refuse_other(name, before.get(name) if isinstance(before, dict) else None, value)
    return True


def _fingerprint(folder: RunFolder) -> str:
    """What identifies what a run has learned: a digest of its checkpoint."""
    path = folder.path / CHECKPOINT
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"run folder {folder.path}: it holds no checkpoint: nothing had been learned") from error


def _with_workers(config: RunConfig, workers: int) -> RunConfig:
    """The same run with other workers, on which its results do not depend."""
    ray = config.settings.ray if workers else RaySettings()
    return replace(config, settings=replace(config.settings, workers=workers, ray=ray))
