"""Cycles' renders as arrays, within Blender: the picture, and which object each of its pixels shows."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Vector
from numpy.typing import NDArray

from autosim.rendering.mitsuba.pixels import enlarge, srgb
from autosim.rendering.mitsuba.sensors import film_shape

# Some versions' sums differ in their last bits from render to render; so much is left of a value.
LEVELS = np.float32(65535)
COLOUR, NUMBER = "Combined", ("Object Index", "IndexOB")


@dataclass(frozen=True)
class Quality:
    """Samples a pixel, light bounces (1: what lights and shines itself, 2: what it lights, …), and the pixels of the
    picture's longer edge; a picture of fewer pixels than it is to have is enlarged.
    """

    samples: int
    bounces: int
    size: int


class Film:
    """Pictures (height, width) of Blender's scene through its camera, by Cycles on one thread.

    Equal scenes, seeds and qualities give equal pixels. ``field_of_view`` is the horizontal one in degrees. Renders are
    read from memory, or where this Blender does not let them be read (or with ``by_file``) through a file.
    """

    def __init__(self, height: int, width: int, field_of_view: float, by_file: bool = False) -> None:
        self.height, self.width, self.field_of_view = height, width, field_of_view
        self._by_file = by_file
        self._passes: dict[str, NDArray[np.float32]] = {}
        self._scene = bpy.context.scene
        _set_cycles_up(self._scene)
        self._listen()

    def draw(self, seed: int, quality: Quality) -> tuple[NDArray[np.float32], Callable[[], NDArray[np.uint16]]]:
        """The picture, float32 (height, width, 3), sRGB in [0, 1]; and a function that gives each pixel's object.

        That is the object's pass index (0 to 32767) as seen through the pixel's centre, uint16 (height, width),
        whatever the picture's quality. It has to be called before the scene changes.
        """
        shape = film_shape(quality.size, self.height, self.width)
        passes = self._render(shape, seed, quality.samples, quality.bounces)
        numbers = passes.get("numbers") if shape == (self.height, self.width) else None
        image = srgb(enlarge(np.ascontiguousarray(passes["colour"]), self.height, self.width))
        image = np.rint(image * LEVELS) / LEVELS
        return image, lambda: self.numbers() if numbers is None else numbers

    def numbers(self) -> NDArray[np.uint16]:
        """The pass index of what each pixel's centre shows, uint16 (height, width)."""
        if self._by_file:
            return self._cast()
        return self._render((self.height, self.width), 0, 1, 1)["numbers"]

    def _render(self, shape: tuple[int, int], seed: int, samples: int, bounces: int) -> dict[str, Any]:
        scene, (rows, columns) = self._scene, shape
        scene.cycles.seed, scene.cycles.samples = seed, samples
        # Blender does not count the way from the camera to the first surface, nor that from the last one to a light.
        scene.cycles.max_bounces = max(0, bounces - 2)
        scene.render.resolution_x, scene.render.resolution_y = columns, rows
        # An edge that was rounded to whole pixels must not change the scale of the picture.
        longest, film = max(self.height, self.width), max(shape)
        half = math.tan(math.radians(self.field_of_view) / 2) * columns * longest / (self.width * film)
        scene.camera.data.sensor_fit = "HORIZONTAL"
        scene.camera.data.angle_x = 2 * math.atan(half)
        if not self._by_file:
            self._passes = {}
            with _silent():
                bpy.ops.render.render()
            if COLOUR in self._passes and any(name in self._passes for name in NUMBER):
                found = {name: values[::-1] for name, values in self._passes.items()}
                index = next(found[name] for name in NUMBER if name in found)
                return {"colour": found[COLOUR][..., :3], "numbers": np.rint(index[..., 0]).astype(np.uint16)}
            print("this Blender's renders cannot be read from memory: they go through files", file=sys.stderr)
            self._by_file = True
        return {"colour": self._through_a_file(shape)[::-1, :, :3]}

    def _listen(self) -> None:
        """Keep what each render has drawn: Cycles' own Python code is asked for it while its result still exists."""
        try:
            from cycles import engine
        except ImportError:
            self._by_file = True
            return
        render = engine.render

        def keeping(this: Any, depsgraph: Any) -> None:
            render(this, depsgraph)
            try:
                result = this.get_result()
                shape = result.resolution_y, result.resolution_x
                for each in result.layers[0].passes:
                    self._passes[each.name] = _values(each).reshape(*shape, each.channels)
            except (AttributeError, TypeError, ValueError, RuntimeError, IndexError) as error:
                print(f"the render's result: {error}", file=sys.stderr)
                self._passes = {}

        engine.render = keeping

    def _through_a_file(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        settings = self._scene.render.image_settings
        settings.file_format, settings.color_depth, settings.color_mode = "OPEN_EXR", "32", "RGBA"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "render.exr")
            self._scene.render.filepath = str(path)
            with _silent():
                bpy.ops.render.render(write_still=True)
            image = bpy.data.images.load(str(path))
            values = np.empty((*shape, 4), dtype=np.float32)
            image.pixels.foreach_get(values.ravel())
            bpy.data.images.remove(image)
        return values

    def _cast(self) -> NDArray[np.uint16]:
        """Rays through the pixels' centres."""
        camera = self._scene.camera
        bpy.context.view_layer.update()
        depsgraph = bpy.context.evaluated_depsgraph_get()
        half = math.tan(math.radians(self.field_of_view) / 2)
        across = ((np.arange(self.width) + 0.5) / self.width * 2 - 1) * half
        down = ((np.arange(self.height) + 0.5) * 2 - self.height) / self.width * half
        found = np.zeros((self.height, self.width), dtype=np.uint16)
        origin, turn = camera.matrix_world.translation, camera.matrix_world.to_3x3()
        for row, y in enumerate(down):
            for column, x in enumerate(across):
                direction = turn @ Vector((float(x), -float(y), -1.0))
                hit, _, _, _, thing, _ = self._scene.ray_cast(depsgraph, origin, direction)
                found[row, column] = thing.pass_index if hit else 0
        return found


def _set_cycles_up(scene: Any) -> None:
    """One thread, plain path tracing with a fixed number of samples, and nothing that remembers earlier renders."""
    scene.render.engine = "CYCLES"
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    # What is kept between renders would include the noise of the first seed.
    scene.render.use_persistent_data = False
    scene.render.resolution_percentage = 100
    scene.render.use_compositing = scene.render.use_sequencer = False
    scene.view_layers[0].use_pass_object_index = True
    cycles = scene.cycles
    wanted = {
        "device": "CPU",
        "use_adaptive_sampling": False,
        "use_denoising": False,
        "use_animated_seed": False,
        "use_auto_tile": False,
        "use_guiding": False,
        "use_fast_gi": False,
        "sampling_pattern": "TABULATED_SOBOL",
        "pixel_filter_type": "BOX",
        "light_sampling_threshold": 0.0,
        "sample_clamp_direct": 0.0,
        "sample_clamp_indirect": 0.0,
        "blur_glossy": 0.0,
        "time_limit": 0.0,
        "diffuse_bounces": 1024,
        "glossy_bounces": 1024,
        "transmission_bounces": 1024,
        "transparent_max_bounces": 1024,
    }
    for name, value in wanted.items():
        with contextlib.suppress(AttributeError, TypeError):  # versions differ in what there is
            setattr(cycles, name, value)


def _values(each: Any) -> NDArray[np.float32]:
    """The pixels of a pass, (pixels, channels), in rows from below."""
    count = len(each.rect)
    values = np.empty(count * each.channels, dtype=np.float32)
    try:
        each.rect.foreach_get(values)
    except TypeError:  # Blender 3 knows no quick way
        values = np.array(each.rect, dtype=np.float32).ravel()
    return values


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Blender tells of every step of every render on its standard output."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
