"""Triangle meshes of simple solids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mesh:
    """Triangles of a solid around its own origin: vertices and unit normals (v, 3), faces (f, 3)."""

    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    faces: NDArray[np.uint32]

    @staticmethod
    def cube(half_side: float) -> Mesh:
        """An axis-aligned cube; vertices are split between its sides, so that edges are sharp."""
        vertices: list[NDArray[np.float64]] = []
        normals: list[NDArray[np.float64]] = []
        faces: list[list[int]] = []
        for axis in range(3):
            for sign in (-1.0, 1.0):
                normal = np.zeros(3)
                normal[axis] = sign
                u, v = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3]
                first = len(vertices)
                for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                    vertices.append((normal + a * u + b * v) * half_side)
                    normals.append(normal)
                order = (0, 1, 2, 0, 2, 3) if sign > 0 else (0, 2, 1, 0, 3, 2)
                faces += [[first + i for i in order[:3]], [first + i for i in order[3:]]]
        return Mesh._of(vertices, normals, faces)

    @staticmethod
    def cylinder(radius: float, half_height: float, segments: int = 48) -> Mesh:
        """A closed cylinder along z with flat caps and a smooth side."""
        vertices, normals, faces = [], [], []
        angles = 2 * np.pi * np.arange(segments) / segments
        ring = np.stack([np.cos(angles), np.sin(angles), np.zeros(segments)], axis=1)
        for height in (-half_height, half_height):
            for direction in ring:
                vertices.append(direction * radius + [0, 0, height])
                normals.append(direction)
        for i in range(segments):
            j = (i + 1) % segments
            faces += [[i, j, segments + j], [i, segments + j, segments + i]]
        for sign in (-1.0, 1.0):
            first = len(vertices)
            for direction in ring:
                vertices.append(direction * radius + [0, 0, sign * half_height])
                normals.append(np.array([0.0, 0.0, sign]))
            fan = [[first, first + i, first + i + 1] for i in range(1, segments - 1)]
            faces += fan if sign > 0 else [face[::-1] for face in fan]
        return Mesh._of(vertices, normals, faces)

    def to_mitsuba(self, mi: Any, name: str, material: Any) -> Any:
        """A Mitsuba mesh with the parameters ``NAME.vertex_positions`` and ``NAME.vertex_normals``."""
        properties = mi.Properties()
        properties["bsdf"] = material
        mesh = mi.Mesh(name, len(self.vertices), len(self.faces), props=properties, has_vertex_normals=True)
        parameters = mi.traverse(mesh)
        parameters["vertex_positions"] = self.vertices.ravel()
        parameters["vertex_normals"] = self.normals.ravel()
        parameters["faces"] = self.faces.ravel()
        parameters.update()
        return mesh

    @staticmethod
    def _of(vertices: list[Any], normals: list[Any], faces: list[list[int]]) -> Mesh:
        return Mesh(
            np.array(vertices, dtype=np.float32), np.array(normals, dtype=np.float32), np.array(faces, dtype=np.uint32)
        )
