"""The simulator's 54 cells, 3 scenes × 9 locations × 2 render qualities (AutoSimulate §5.2), and what each means.

A location is a place in the room together with ranges of the camera's position; where in the ranges a scene's camera
stands is drawn with the scene and not learned.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

from autosim.scenes.graph import SceneGraph
from envs.lmo.arrangements import CLUTTER

TABLE_HEIGHT = 0.75
Range = tuple[float, float]


@dataclass(frozen=True)
class Room:
    """One of the three scenes: light of its lamp and of its surroundings (radiances), warmth in [0, 1], how many things
    of clutter lie among the objects, and how strong the pattern of its table is, in [0, 1].
    """

    lamp: float
    sky: float
    warmth: float
    clutter: int
    pattern: float


@dataclass(frozen=True)
class Location:
    """Where the objects lie, as an offset from the middle of the table (metres), and where the camera may be: elevation
    above the table's plane and roll in degrees (either way), distance in metres, and how far to the side of the objects
    it looks (metres).
    """

    elevation: Range
    distance: Range
    roll: float = 15.0
    place: tuple[float, float, float] = (0.0, 0.0, 0.0)
    aside: Range = (0.0, 0.0)
    good: bool = False


ROOMS: Mapping[str, Room] = {
    "kitchen": Room(lamp=7.0, sky=0.75, warmth=0.65, clutter=8, pattern=1.0),
    "office": Room(lamp=9.0, sky=0.6, warmth=0.3, clutter=12, pattern=1.0),
    "cellar": Room(lamp=13.0, sky=0.14, warmth=0.9, clutter=4, pattern=1.0),
}
FLOOR = (0.0, 0.0, -TABLE_HEIGHT)
LOCATIONS: Mapping[str, Location] = {
    "low": Location((10.0, 26.0), (0.8, 1.15), good=True),
    "middle": Location((26.0, 50.0), (0.75, 1.15), good=True),
    "high": Location((50.0, 78.0), (0.75, 1.15), good=True),
    "tilted": Location((18.0, 60.0), (0.75, 1.1), roll=45.0, place=(0.45, 0.15, 0.0), good=True),
    "close": Location((45.0, 70.0), (0.4, 0.5)),
    "far": Location((15.0, 45.0), (2.0, 2.6)),
    "skimming": Location((1.5, 5.0), (1.5, 2.4)),
    "aside": Location((20.0, 50.0), (0.8, 1.15), aside=(0.5, 0.7)),
    "under": Location((10.0, 30.0), (0.8, 1.15), place=FLOOR),
}
# Samples a pixel.
QUALITIES: Mapping[str, int] = {"coarse": 2, "fine": 8}
CELLS = tuple("/".join(names) for names in itertools.product(ROOMS, LOCATIONS, QUALITIES))


@dataclass(frozen=True)
class Setting:
    """Everything of a scene beside its objects: what a cell, or the continuous attributes, and the draws come to."""

    room: str
    samples: int
    place: tuple[float, float, float]
    elevation: float
    azimuth: float
    roll: float
    distance: float
    aside: float
    aim: tuple[float, float]
    lamp: float
    sky: float
    warmth: float
    clutter: int
    pattern: float
    shift: tuple[float, float]


def setting_of(scene: SceneGraph) -> Setting:
    """The setting of a scene of either profile."""
    (root,) = scene.find("scene")
    (camera,) = scene.find("camera")
    draws = {name: float(value) for name, value in camera.attributes.items() if name.startswith("draw_")}

    def within(bounds: Range, draw: str) -> float:
        return bounds[0] + (bounds[1] - bounds[0]) * draws[draw]

    if "cell" in root.attributes:
        name, where, quality = str(root["cell"]).split("/")
        location, room = LOCATIONS[where], ROOMS[name]
        elevation, distance = within(location.elevation, "draw_elevation"), within(location.distance, "draw_distance")
        level, warmth, clutter, pattern = 1.0, room.warmth, room.clutter, room.pattern
    else:
        name, quality = str(root["room"]), str(root["quality"])
        location, room = LOCATIONS["tilted"], ROOMS[name]
        elevation = float(camera["elevation"]) + within((-SPREADS[0], SPREADS[0]), "draw_elevation")
        distance = float(camera["distance"]) * within((1 - SPREADS[1], 1 + SPREADS[1]), "draw_distance")
        (light,), (table,) = scene.find("light"), scene.find("table")
        level, warmth = float(light["level"]), float(light["warmth"])
        clutter, pattern = round(CLUTTER * float(table["clutter"])), float(table["pattern"])
    flicker = within((0.8, 1.25), "draw_light") * level
    side = 1.0 if draws["draw_side"] < 0.5 else -1.0
    return Setting(
        room=name,
        samples=QUALITIES[quality],
        place=location.place,
        elevation=min(max(elevation, 1.0), 89.0),
        azimuth=within((0.0, 360.0), "draw_azimuth"),
        roll=within((-location.roll, location.roll), "draw_roll"),
        distance=distance,
        aside=side * within(location.aside, "draw_aside"),
        aim=(within((-AIM, AIM), "draw_aim_x"), within((-AIM, AIM), "draw_aim_y")),
        lamp=room.lamp * flicker,
        sky=room.sky * flicker,
        warmth=warmth,
        clutter=clutter,
        pattern=pattern,
        shift=(draws["draw_shift_x"], draws["draw_shift_y"]),
    )


# How far the camera looks past the middle of the objects, in metres.
AIM = 0.12
# With continuous attributes, how far elevation (degrees) and distance (share) are spread about them.
SPREADS = (8.0, 0.12)
# What is drawn with every scene, uniformly in [0, 1], and learned by nobody.
DRAWS = tuple(
    f"draw_{name}"
    for name in (
        *("elevation", "distance", "azimuth", "roll", "side", "aside", "aim_x", "aim_y", "light", "shift_x", "shift_y"),
    )
)


def camera_frame(setting: Setting) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Where a setting's camera stands, a point that it looks at, and which direction is up in its picture."""
    turn, rise, roll = (math.radians(angle) for angle in (setting.azimuth, setting.elevation, setting.roll))
    back = (math.cos(rise) * math.cos(turn), math.cos(rise) * math.sin(turn), math.sin(rise))
    right = (-math.sin(turn), math.cos(turn), 0.0)
    up = (-math.sin(rise) * math.cos(turn), -math.sin(rise) * math.sin(turn), math.cos(rise))
    x, y, z = setting.place
    target = (
        x + setting.aim[0] + setting.aside * right[0],
        y + setting.aim[1] + setting.aside * right[1],
        z + AIM_HEIGHT,
    )
    eye = tuple(t + setting.distance * b for t, b in zip(target, back, strict=True))
    rolled = tuple(math.cos(roll) * u + math.sin(roll) * r for u, r in zip(up, right, strict=True))
    return eye, target, rolled


AIM_HEIGHT = 0.04
