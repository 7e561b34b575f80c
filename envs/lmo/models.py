"""The eight objects: read from a folder of BOP models, or made by code; and the simple things that lie among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosim.files import fault
from autosim.rendering.mitsuba.mesh import Mesh
from autosim.rendering.mitsuba.pixels import linear_rgb
from autosim.rendering.mitsuba.ply import read_ply
from autosim.scenes.settle import hull

# BOP's numbers of the objects of Linemod-Occluded.
NUMBERS = {1: "ape", 5: "can", 6: "cat", 8: "driller", 9: "duck", 10: "eggbox", 11: "glue", 12: "holepuncher"}
CLASSES = tuple(NUMBERS.values())
# Edge of the cells in which vertices are merged, as a share of the object's size: finer is not seen in small pictures.
CELL = 1 / 36
METRES = 1e-3
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Model:
    """A thing about its own origin, z up, in metres: vertices, unit normals, linear colours (v, 3), faces (f, 3)."""

    name: str
    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    colours: NDArray[np.float32]
    faces: NDArray[np.uint32]

    @cached_property
    def hull(self) -> NDArray[np.float64]:
        """Vertices of its convex hull."""
        return hull(self.vertices)

    @property
    def radius(self) -> float:
        """Of the upright cylinder around the origin that holds it."""
        return float(np.linalg.norm(self.vertices[:, :2], axis=1).max())


def read_models(folder: Path) -> tuple[Model, ...]:
    """The eight objects of BOP's models ``obj_000001.ply`` …, in millimetres; ``UserError`` names what is missing."""
    return tuple(_read(folder / f"obj_{number:06d}.ply", name) for number, name in NUMBERS.items())


def _read(path: Path, name: str) -> Model:
    found = read_ply(path)
    if found.colours is None:
        raise fault(path, "has no colours of its vertices (red, green, blue)")
    vertices = found.vertices.astype(np.float64) * METRES
    size = float(np.ptp(vertices, axis=0).max())
    if not 0.01 <= size <= 1.0:
        raise fault(path, f"is {size:.3g} m large; allowed are objects of 1 cm to 1 m in millimetres")
    colours = np.array([linear_rgb((value, value, value))[0] for value in range(256)])[found.colours]
    return clustered(name, vertices, colours, found.faces, size * CELL)


def clustered(name: str, vertices: NDArray[Any], colours: NDArray[Any], faces: NDArray[Any], cell: float) -> Model:
    """A mesh with the vertices of each cell of edge ``cell`` merged, and faces that vanish left out (Rossignac and
    Borrel, "Multi-resolution 3D approximations", 1993). Vertices whose normals are in different octants stay apart: the
    two sides of a thin wall would become one of neither. Normals are the means of those merged.
    """
    across = _normals(np.asarray(vertices, dtype=np.float64), faces.astype(np.int64))
    places = np.floor((vertices - vertices.min(axis=0)) / cell).astype(np.int64)
    _, where, counts = np.unique(np.hstack([places, across > 0]), axis=0, return_inverse=True, return_counts=True)
    where = where.reshape(-1)
    sums = np.zeros((len(counts), 9))
    np.add.at(sums, where, np.hstack([vertices, colours, across]))
    merged, shades, normals = np.split(sums / counts[:, None], 3, axis=1)
    triangles = where[faces.astype(np.int64)]
    triangles = triangles[(triangles != np.roll(triangles, 1, axis=1)).all(axis=1)]
    return Model(name, merged.astype(np.float32), _unit(normals), shades.astype(np.float32), _faces(triangles))


def _normals(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.float32]:
    """Of vertices: the means of their faces' normals, weighted by area."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    across = np.cross(b - a, c - a)
    sums = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(sums, faces[:, i], across)
    return _unit(sums)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    """Vectors (n, 3) at unit length; upwards where they have none."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(lengths > 1e-12, vectors / np.maximum(lengths, 1e-12), [0.0, 0.0, 1.0]).astype(np.float32)


def _faces(faces: NDArray[Any]) -> NDArray[np.uint32]:
    return np.ascontiguousarray(faces, dtype=np.uint32)


@dataclass(frozen=True)
class Part:
    """A solid of a stand-in: a mesh around its centre, stretched to ``size`` (whole lengths, metres), turned about the
    x axis by ``tilt`` degrees, moved to ``at``, in one sRGB colour.
    """

    shape: str
    size: tuple[float, float, float]
    at: tuple[float, float, float]
    colour: Colour
    tilt: float = 0.0


def assembled(name: str, parts: Sequence[Part]) -> Model:
    """One model of several parts."""
    vertices, normals, colours, faces = [], [], [], []
    first = 0
    for part in parts:
        solid, size = SOLIDS[part.shape], np.array(part.size)
        turn = _about_x(part.tilt)
        across = solid.normals / size
        vertices.append((solid.vertices * size) @ turn.T + part.at)
        normals.append((across / np.linalg.norm(across, axis=1, keepdims=True)) @ turn.T)
        colours.append(np.broadcast_to(linear_rgb(part.colour), solid.vertices.shape))
        faces.append(solid.faces + first)
        first += len(solid.vertices)
    places, across, shades = (np.concatenate(each).astype(np.float32) for each in (vertices, normals, colours))
    return Model(name, places, across, shades, _faces(np.concatenate(faces)))


def _about_x(degrees: float) -> NDArray[np.float64]:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def _ball(rings: int = 10, around: int = 16) -> Mesh:
    down, turn = np.linspace(0, np.pi, rings + 1), 2 * np.pi * np.arange(around) / around
    z, r = np.cos(down), np.sin(down)
    points = np.stack([np.outer(r, np.cos(turn)), np.outer(r, np.sin(turn)), np.outer(z, np.ones(around))], axis=2)
    faces = []
    for i in range(rings):
        for j in range(around):
            a, b = i * around + j, i * around + (j + 1) % around
            faces += [[a, a + around, b], [b, a + around, b + around]]
    flat = points.reshape(-1, 3).astype(np.float32)
    return Mesh((flat / 2).astype(np.float32), flat, _faces(np.array(faces)))


def _cone(around: int = 24) -> Mesh:
    """A cone of height 1 and width 1 with its base."""
    turn = 2 * np.pi * np.arange(around) / around
    ring = np.stack([np.cos(turn) / 2, np.sin(turn) / 2, np.full(around, -0.5)], axis=1)
    slope = np.stack([np.cos(turn), np.sin(turn), np.full(around, 0.5)], axis=1) / np.sqrt(1.25)
    tips = np.tile([[0.0, 0.0, 0.5]], (around, 1))
    vertices = np.concatenate([ring, tips, ring])
    normals = np.concatenate([slope, slope, np.tile([[0.0, 0.0, -1.0]], (around, 1))])
    side = [[i, (i + 1) % around, around + i] for i in range(around)]
    base = [[2 * around, 2 * around + i + 1, 2 * around + i] for i in range(1, around - 1)]
    return Mesh(vertices.astype(np.float32), normals.astype(np.float32), _faces(np.array(side + base)))


SOLIDS = {"block": Mesh.cube(0.5), "tube": Mesh.cylinder(0.5, 0.5, 24), "ball": _ball(), "cone": _cone()}
