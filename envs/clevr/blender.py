"""CLEVR's scene by Blender's Cycles: the scene of :class:`~envs.clevr.renderer.ClevrRenderer`, drawn elsewhere."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosim.rendering.annotations import Boxes, ClassMask
from autosim.rendering.blender.renderer import BlenderRenderer
from autosim.rendering.instances import boxes_of
from autosim.rendering.mitsuba.pixels import linear_rgb
from autosim.rendering.mitsuba.sensors import film_shape
from autosim.rendering.windows import Window
from autosim.scenes.graph import SceneGraph, Schema
from envs.clevr import renderer as mitsuba
from envs.clevr.scene import CLASSES, COLOURS

SCRIPT = Path(str(resources.files("envs.clevr"))) / "blender_scene.py"


class ClevrBlender(BlenderRenderer):
    """Draws scenes of the CLEVR schema; masks and boxes as those of Mitsuba's renderer, but for the triangles of a
    sphere.
    """

    field_of_view = mitsuba.ClevrRenderer.field_of_view

    def __init__(self, schema: Schema, edge: int, blender: str = "", boxes: bool = False) -> None:
        slots = schema.node_class("object").slots
        more = {"boxes": Boxes(CLASSES[1:], slots)} if boxes else {}
        annotations = {"mask": ClassMask(CLASSES), **more}
        super().__init__(schema, edge, edge, annotations, SCRIPT, _options(slots), blender)

    def truth(self, scene: SceneGraph, instances: NDArray[np.uint16]) -> dict[str, NDArray[np.generic]]:
        """The mask, and the boxes where they are declared."""
        classes = [CLASSES.index(str(node["shape"])) for node in scene.find("object")]
        found: dict[str, NDArray[np.generic]] = {"mask": np.array([0, *classes], dtype=np.uint8)[instances]}
        kind = self.annotations.get("boxes")
        if isinstance(kind, Boxes):
            found["boxes"] = boxes_of(instances, [number - 1 for number in classes], kind.most)
        return found

    def cost(self, scene: SceneGraph, effort: float = 1.0, window: Window | None = None) -> float:
        """Samples a pixel times pixels of the scene's film."""
        (root,) = scene.find("scene")
        samples, size = int(root["samples"]), max(1, round(int(root["size"]) * self._scale))
        if self._fixed_samples:
            samples, size = self._fixed_samples, max(self.height, self.width)
        rows, columns = film_shape(size, self.height, self.width)
        return float(max(1, round(samples * effort)) * rows * columns)


def _options(slots: int) -> dict[str, Any]:
    """What the script has to know of the scene."""
    radiances = {"key": mitsuba.KEY_RADIANCE, "fill": mitsuba.FILL_RADIANCE, "back": mitsuba.BACK_RADIANCE}
    lights = {"key": mitsuba.KEY, "fill": mitsuba.FILL, "back": mitsuba.BACK}
    return {
        "camera": mitsuba.CAMERA,
        "field_of_view": mitsuba.ClevrRenderer.field_of_view,
        "lights": {
            name: {"place": place, "side": side, "colour": colour, "radiance": radiances[name]}
            for name, (place, side, colour) in lights.items()
        },
        "ambient": mitsuba.AMBIENT_RADIANCE,
        "ground": {"reflectance": mitsuba.GROUND_REFLECTANCE, "half_side": mitsuba.GROUND_EXTENT},
        "radius": mitsuba.RADIUS,
        "cube": mitsuba.RADIUS / np.sqrt(2.0),
        "roughness": mitsuba.METAL_ROUGHNESS,
        "colours": {name: linear_rgb(colour) for name, colour in COLOURS.items()},
        "slots": slots,
    }
