"""The three rooms in Mitsuba: table, floor, walls, furniture, a lamp and what lights the room from outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosim.errors import UserError
from autosim.files import fault, read_bytes
from autosim.seeding import seed_sequence
from envs.lmo.cells import ROOMS, TABLE_HEIGHT
from envs.lmo.textures import Picture, collage, plain, tiles, wood

# Half sides of the table and of the room, thickness of the table, height of the walls above the floor; metres.
TABLE, ROOM, SLAB, WALL = (1.3, 1.0), 3.2, 0.04, 2.6
LAMP_PLACE, LAMP_SIDE = (0.7, -0.5, 1.7), 0.7
COOL, WARM = (0.86, 0.94, 1.0), (1.0, 0.86, 0.68)
# Radiances of an environment map beyond this make single pixels of a picture too bright.
BRIGHTEST = 20.0
Box = tuple[tuple[float, float, float], tuple[float, float, float]]
# Half sides and middles of what stands at the walls.
FURNITURE: tuple[Box, ...] = (
    ((0.9, 0.25, 1.0), (-1.6, 2.9, 0.25)),
    ((0.6, 0.3, 0.5), (1.2, 2.85, -0.25)),
    ((0.25, 0.7, 0.9), (-2.9, -0.6, 0.15)),
    ((0.3, 0.5, 0.4), (2.85, 0.9, -0.35)),
    ((0.8, 0.25, 0.7), (0.8, -2.9, -0.05)),
)
LEG = 0.045


def light_colour(warmth: float) -> NDArray[np.float64]:
    """Of light, from bluish at 0 to yellowish at 1."""
    return np.array(COOL) + warmth * (np.array(WARM) - np.array(COOL))


def environment_maps(folder: Path) -> dict[str, Path]:
    """For each room one of a folder's environment maps (.hdr), in the order of their names; ``UserError``."""
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".hdr")
    except OSError as error:
        raise fault(folder, f"cannot be read ({error.strerror})") from error
    if len(found) < len(ROOMS):
        raise fault(folder, f"holds {len(found)} environment maps (.hdr); {len(ROOMS)} are needed, one a room")
    for path in found[: len(ROOMS)]:
        if not read_bytes(path).startswith(b"#?"):
            raise fault(path, "is no environment map in Radiance's format: it does not begin with '#?'")
    return dict(zip(ROOMS, found, strict=False))


def room_dict(mi: Any, name: str, surroundings: Path | None) -> dict[str, Any]:
    """The room called ``name`` as ``mi.load_dict`` takes it; with an environment map in place of walls and sky."""
    to_world, shown = mi.ScalarTransform4f, patterns(name)
    look = to_world().look_at(origin=list(LAMP_PLACE), target=[0, 0, 0], up=[0, 1, 0]).scale(LAMP_SIDE / 2)
    top: dict[str, Any] = {
        "type": "blendbsdf",
        "weight": 1.0,
        "plain": {"type": "diffuse", "reflectance": {"type": "rgb", "value": [0.35, 0.33, 0.3]}},
        "pattern": _diffuse(mi, shown.table),
    }
    scene: dict[str, Any] = {
        "table": {
            "type": "rectangle",
            "to_world": to_world().scale([*TABLE, 1.0]),
            "bsdf": top,
        },
        "slab": _box(mi, (*TABLE, SLAB / 2), (0.0, 0.0, -SLAB / 2 - 1e-3), _grey(0.25)),
        "floor": {
            "type": "rectangle",
            "to_world": to_world().translate([0, 0, -TABLE_HEIGHT]).scale([ROOM, ROOM, 1.0]),
            "bsdf": _diffuse(mi, shown.floor, repeat=3.0),
        },
        "lamp": {
            "type": "rectangle",
            "to_world": look,
            "emitter": {"type": "area", "radiance": {"type": "rgb", "value": [1.0] * 3}},
        },
    }
    for i, (x, y) in enumerate([(-1, -1), (-1, 1), (1, -1), (1, 1)]):
        at = (x * (TABLE[0] - LEG), y * (TABLE[1] - LEG), -TABLE_HEIGHT / 2)
        scene[f"leg_{i}"] = _box(mi, (LEG, LEG, TABLE_HEIGHT / 2 - SLAB), at, _grey(0.2))
    if surroundings is not None:
        return scene | {"sky": _map(mi, surroundings)}
    scene["sky"] = {"type": "constant", "radiance": {"type": "rgb", "value": [1.0] * 3}}
    for i, ((halves, middle), picture) in enumerate(zip(FURNITURE, shown.furniture, strict=True)):
        scene[f"furniture_{i}"] = _box(mi, halves, middle, _diffuse(mi, picture))
    for i, picture in enumerate(shown.walls):
        turn = to_world().rotate([0, 0, 1], 90.0 * i).translate([0, ROOM, WALL / 2 - TABLE_HEIGHT])
        # Upright, and facing the middle.
        shape = turn.rotate([1, 0, 0], 90).scale([ROOM, WALL / 2, 1.0])
        scene[f"wall_{i}"] = {"type": "rectangle", "to_world": shape, "bsdf": _diffuse(mi, picture)}
    return scene


@dataclass(frozen=True)
class Patterns:
    """What a room's surfaces show: table, floor, each wall, each piece of furniture."""

    table: Picture
    floor: Picture
    walls: tuple[Picture, ...]
    furniture: tuple[Picture, ...]


@cache
def patterns(name: str) -> Patterns:
    """Those of the room called ``name``, the same in every process."""
    rng = np.random.default_rng(seed_sequence(0, f"lmo room {name}"))
    table, floor, wall, piece = MAKERS[name]
    walls, furniture = (tuple(make(rng) for _ in range(count)) for make, count in ((wall, 4), (piece, len(FURNITURE))))
    return Patterns(table(rng), floor(rng), walls, furniture)


Maker = Callable[[np.random.Generator], Picture]
# Of each room: table, floor, wall, furniture.
MAKERS: dict[str, tuple[Maker, Maker, Maker, Maker]] = {
    "kitchen": (
        partial(wood, colour=(176, 132, 88)),
        partial(tiles, colours=((196, 190, 178), (92, 84, 80)), count=4),
        partial(collage, base=(214, 204, 182), sheets=7, largest=0.3),
        partial(wood, colour=(150, 150, 146)),
    ),
    "office": (
        partial(collage, base=(168, 162, 152), sheets=60, largest=0.3),
        partial(plain, colour=(70, 74, 84), grain=0.2),
        partial(collage, base=(206, 208, 212), sheets=14, largest=0.3),
        partial(collage, base=(90, 92, 98), sheets=10, largest=0.5),
    ),
    "cellar": (
        partial(plain, colour=(112, 106, 100), grain=0.3),
        partial(plain, colour=(90, 88, 84), grain=0.25),
        partial(tiles, colours=((120, 80, 66), (104, 72, 60)), count=24),
        partial(collage, base=(84, 66, 50), sheets=6, largest=0.6),
    ),
}


def _diffuse(mi: Any, picture: Picture, repeat: float = 1.0) -> dict[str, Any]:
    texture: dict[str, Any] = {
        "type": "bitmap",
        "bitmap": mi.Bitmap(np.ascontiguousarray(picture)),
        "raw": True,
        "to_uv": mi.ScalarTransform3f().scale([repeat, repeat]),
    }
    return {"type": "diffuse", "reflectance": texture}


def _grey(value: float) -> dict[str, Any]:
    return {"type": "diffuse", "reflectance": {"type": "rgb", "value": [value] * 3}}


def _box(mi: Any, halves: tuple[float, ...], middle: tuple[float, ...], bsdf: dict[str, Any]) -> dict[str, Any]:
    place = mi.ScalarTransform4f().translate(list(middle)).scale(list(halves))
    return {"type": "cube", "to_world": place, "bsdf": bsdf}


def _map(mi: Any, path: Path) -> dict[str, Any]:
    """An environment map, its mean brought to 1; z is up."""
    try:
        pixels = np.array(mi.Bitmap(str(path)).convert(mi.Bitmap.PixelFormat.RGB, mi.Struct.Type.Float32, False))
    except RuntimeError as error:
        raise UserError(f"{path}: is no environment map that Mitsuba reads") from error
    pixels = np.clip(np.nan_to_num(pixels), 0.0, BRIGHTEST)
    rows = np.sin((np.arange(len(pixels)) + 0.5) / len(pixels) * np.pi)[:, None, None]
    mean = float((pixels * rows).sum() / (3 * rows.sum() * pixels.shape[1]))
    turn = mi.ScalarTransform4f().rotate([1, 0, 0], 90)
    return {"type": "envmap", "bitmap": mi.Bitmap(pixels / max(mean, 1e-6)), "to_world": turn, "scale": 1.0}
