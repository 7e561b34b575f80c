"""What scenes are made of, within Blender: solids, materials, lights, the camera."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector
from numpy.typing import NDArray

Point = Sequence[float]
Colour = Sequence[float]


def empty_scene() -> None:
    """Blender's scene without anything in it."""
    bpy.ops.wm.read_factory_settings(use_empty=True)


def solid(name: str, vertices: NDArray[Any], faces: NDArray[Any]) -> Any:
    """A mesh of triangles with smooth normals; several objects may have the same one. Edges between vertices that are
    split stay sharp.
    """
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices.astype(float).tolist(), [], faces.astype(int).tolist())
    mesh.polygons.foreach_set("use_smooth", np.ones(len(faces), dtype=bool))
    mesh.update()
    mesh.materials.append(None)
    return mesh


def sphere(name: str, radius: float, subdivisions: int = 5) -> Any:
    """A mesh of a sphere around its origin: an icosahedron whose triangles are divided."""
    import bmesh

    drawn = bmesh.new()
    bmesh.ops.create_icosphere(drawn, subdivisions=subdivisions, radius=radius)
    drawn.verts.ensure_lookup_table()
    vertices = np.array([vertex.co for vertex in drawn.verts])
    faces = np.array([[vertex.index for vertex in face.verts] for face in drawn.faces])
    drawn.free()
    return solid(name, vertices, faces)


def thing(name: str, mesh: Any, material: Any, number: int = 0) -> Any:
    """An object of a mesh; ``number`` is what the pixels that show it have."""
    found = bpy.data.objects.new(name, mesh)
    found.pass_index = number
    found.material_slots[0].link = "OBJECT"
    found.material_slots[0].material = material
    bpy.context.scene.collection.objects.link(found)
    return found


def ground(name: str, material: Any, half_side: float) -> Any:
    """A square in the plane z = 0."""
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * half_side
    return thing(name, solid(name, corners, np.array([[0, 1, 2], [0, 2, 3]])), material)


class Material:
    """Rubber or metal of one colour, linear RGB in [0, 1]."""

    def __init__(self, name: str, roughness: float) -> None:
        self.material = bpy.data.materials.new(name)
        self.material.use_nodes = True
        nodes, links = self.material.node_tree.nodes, self.material.node_tree.links
        nodes.clear()
        self._rubber = nodes.new("ShaderNodeBsdfDiffuse")
        self._rubber.inputs["Roughness"].default_value = 0.0
        self._metal = nodes.new("ShaderNodeBsdfGlossy" if bpy.app.version < (4, 0) else "ShaderNodeBsdfAnisotropic")
        self._metal.distribution = "BECKMANN"
        # Blender squares a roughness to get the width of a microfacet distribution.
        self._metal.inputs["Roughness"].default_value = math.sqrt(roughness)
        self._mix = nodes.new("ShaderNodeMixShader")
        output = nodes.new("ShaderNodeOutputMaterial")
        links.new(self._rubber.outputs[0], self._mix.inputs[1])
        links.new(self._metal.outputs[0], self._mix.inputs[2])
        links.new(self._mix.outputs[0], output.inputs["Surface"])

    def set(self, colour: Colour, metal: bool) -> None:
        """Make it this colour, metal or rubber."""
        self._mix.inputs[0].default_value = float(metal)
        self._rubber.inputs["Color"].default_value = (*colour, 1.0)
        self._metal.inputs["Color"].default_value = (*colour, 1.0)


class SquareLight:
    """A square that shines from a place towards another one."""

    def __init__(self, name: str, place: Point, towards: Point, side: float, colour: Colour) -> None:
        self.light = bpy.data.lights.new(name, "AREA")
        self.light.shape, self.light.size, self.light.color = "SQUARE", side, colour
        self.light.cycles.max_bounces = 1024
        holder = bpy.data.objects.new(name, self.light)
        holder.matrix_world = looking(place, towards)
        bpy.context.scene.collection.objects.link(holder)
        self._side = side

    def set(self, radiance: float) -> None:
        """Make its surface shine with this radiance in every direction, times its colour."""
        self.light.energy = radiance * math.pi * self._side**2


class Surroundings:
    """Light of one colour from everywhere."""

    def __init__(self) -> None:
        world = bpy.data.worlds.new("surroundings")
        bpy.context.scene.world = world
        world.use_nodes = True
        (self._background,) = [node for node in world.node_tree.nodes if node.type == "BACKGROUND"]
        self._background.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)

    def set(self, radiance: float) -> None:
        """Make it this bright."""
        self._background.inputs["Strength"].default_value = radiance


def camera(place: Point, towards: Point) -> Any:
    """The scene's camera."""
    found = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    found.data.clip_start, found.data.clip_end = 0.01, 10000.0
    found.matrix_world = looking(place, towards)
    bpy.context.scene.collection.objects.link(found)
    bpy.context.scene.camera = found
    return found


def looking(place: Point, towards: Point) -> Matrix:
    """The pose of a camera or a light at a place that looks towards another one, z being up."""
    back = (Vector(place) - Vector(towards)).normalized()
    right = Vector((0.0, 0.0, 1.0)).cross(back).normalized()
    turn = Matrix((right, back.cross(right), back)).transposed()
    return Matrix.Translation(Vector(place)) @ turn.to_4x4()
