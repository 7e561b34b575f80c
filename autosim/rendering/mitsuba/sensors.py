"""Films and sensors of Mitsuba's renderers: pictures of any shape at any size, whole or in a window."""

from __future__ import annotations

import math
from typing import Any

from autosim.rendering.windows import Window


def film_shape(edge: int, height: int, width: int) -> tuple[int, int]:
    """Height and width of a film whose longer edge has ``edge`` pixels, in the aspect of a picture (height, width)."""
    longest = max(height, width)
    return max(1, round(edge * height / longest)), max(1, round(edge * width / longest))


class Sensors:
    """Perspective sensors on one camera, one for each longest edge of a film; those for windows are loaded when needed.

    ``field_of_view`` is the picture's horizontal one in degrees. ``camera`` is the sensor's ``to_world``.
    """

    def __init__(
        self, mi: Any, types: Any, camera: Any, field_of_view: float, height: int, width: int, edges: tuple[int, ...]
    ) -> None:
        self._mi, self._types = mi, types
        self._camera, self._field_of_view = camera, field_of_view
        self._height, self._width = height, width
        self._whole = {edge: self._load(edge) for edge in edges}
        self._windows: dict[int, tuple[Any, Any]] = {}
        self._aimed: dict[int, Any] = {edge: mi.traverse(sensor) for edge, sensor in self._whole.items()}

    def aim(self, camera: Any) -> None:
        """Move the camera: ``camera`` is the new ``to_world`` of all sensors."""
        self._camera = camera
        for parameters in (*self._aimed.values(), *(parameters for _, parameters in self._windows.values())):
            parameters.set_dirty("to_world")
            parameters["to_world"] = camera
            parameters.update()

    def whole(self, edge: int) -> Any:
        """The sensor of the whole picture."""
        return self._whole[edge]

    def window(self, edge: int, window: Window) -> Any:
        """The sensor of a window of the film; the same one as before with another window."""
        if edge not in self._windows:
            sensor = self._load(edge)
            self._windows[edge] = sensor, self._mi.traverse(sensor)
        sensor, parameters = self._windows[edge]
        # Mitsuba skips setting an equal value.
        for name in ("film.crop_offset", "film.crop_size"):
            parameters.set_dirty(name)
        parameters["film.crop_offset"] = self._types.ScalarPoint2u(window.left, window.top)
        parameters["film.crop_size"] = self._types.ScalarVector2u(window.width, window.height)
        parameters.update()
        return sensor

    def picture(self) -> Any:
        """A sensor with a film of the picture's own height and width."""
        return self._sensor(self._height, self._width, self._field_of_view)

    def _load(self, edge: int) -> Any:
        height, width = film_shape(edge, self._height, self._width)
        return self._sensor(height, width, self._seen(edge, width))

    def _seen(self, edge: int, width: int) -> float:
        """The film's horizontal field of view, chosen so that the film's pixels are square in the picture even where
        its width was rounded.
        """
        longest = max(self._height, self._width)
        if width * longest == self._width * edge:
            return self._field_of_view
        half = math.tan(math.radians(self._field_of_view) / 2) * (width * longest) / (self._width * edge)
        return math.degrees(2 * math.atan(half))

    def _sensor(self, height: int, width: int, field_of_view: float) -> Any:
        return self._mi.load_dict(
            {
                "type": "perspective",
                "fov": field_of_view,
                "fov_axis": "x",
                "to_world": self._camera,
                "film": {
                    "type": "hdrfilm",
                    "width": width,
                    "height": height,
                    "rfilter": {"type": "box"},
                    "pixel_format": "rgb",
                    "component_format": "float32",
                },
                "sampler": {"type": "multijitter"},
            }
        )
