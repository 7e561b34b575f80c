"""Scenes of ``lmo`` in Mitsuba: one renderer for each room, and one that chooses among them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autosim.rendering.annotations import Boxes
from autosim.rendering.instances import boxes_of
from autosim.rendering.mitsuba.pixels import linear_rgb
from autosim.rendering.mitsuba.renderer import MitsubaRenderer, Quality
from autosim.rendering.renderer import Renderer
from autosim.rendering.windows import Window
from autosim.scenes.graph import SceneGraph, Schema
from autosim.scenes.settle import Pose, rotation_matrix
from envs.lmo.cells import ROOMS, Setting, camera_frame, setting_of
from envs.lmo.models import CLASSES, Model
from envs.lmo.rooms import light_colour, room_dict
from envs.lmo.scene import poses_in
from envs.lmo.standins import CLUTTER_COLOURS
from envs.lmo.visibility import Rays, Silhouettes, seen_instances

# Horizontal, of the photographs of Linemod-Occluded: 640 pixels at a focal length of 572.4.
FIELD_OF_VIEW = 58.4
BOUNCES = 3
# Objects of which less is seen have no box, as in BOP's evaluation.
MIN_VISIBLE = 0.1
# Clutter that is not in use lies here as a point, below the floor.
PARKED = (0.0, 0.0, -1.0)


class RoomRenderer(MitsubaRenderer):
    """One room. Objects are instances, so that the trees in which rays find their meshes' faces are built once, and not
    for each image. Their faces have one colour each: Mitsuba interpolates colours at vertices between points of the
    world, where an instance's mesh is not. Clutter, of few faces and of other colours in each image, is one mesh.
    """

    field_of_view = FIELD_OF_VIEW

    def __init__(
        self,
        schema: Schema,
        room: str,
        objects: Sequence[Model],
        clutter: Sequence[Model],
        height: int,
        width: int,
        surroundings: Path | None = None,
    ) -> None:
        super().__init__(schema, (max(height, width),), (BOUNCES,), height, width)
        self.annotations = {"boxes": Boxes(CLASSES, len(CLASSES))}
        self.room, self.surroundings = room, surroundings
        self.objects, self.clutter = tuple(objects), tuple(clutter)

    def camera(self, mi: Any) -> Any:
        """Anywhere; each scene has its own."""
        return mi.ScalarTransform4f().look_at(origin=[1, 0, 1], target=[0, 0, 0], up=[0, 0, 1])

    def camera_of(self, mi: Any, scene: SceneGraph) -> Any:
        """Where the scene's cell and draws put it."""
        eye, target, up = camera_frame(setting_of(scene))
        return mi.ScalarTransform4f().look_at(origin=list(eye), target=list(target), up=list(up))

    def scene_dict(self, mi: Any) -> dict[str, Any]:
        """The room, the objects as instances, and the mesh of clutter."""
        self._silhouettes = Silhouettes(mi, self.objects)
        found = room_dict(mi, self.room, self.surroundings)
        found["clutter"] = coloured_mesh(mi, "clutter", self.clutter, "vertex")
        for i, model in enumerate(self.objects):
            found[f"group-{i}"] = {"type": "shapegroup", "mesh": coloured_mesh(mi, model.name, [model], "face")}
            found[f"object-{i}"] = {"type": "instance", "shapegroup": {"type": "ref", "id": f"group-{i}"}}
        return found

    def pose(self, mi: Any, scene: SceneGraph) -> dict[str, Any]:
        """Things where they lie, light, and the table's pattern."""
        setting = setting_of(scene)
        vertices, normals, colours = [], [], []
        nodes = sorted(scene.find("clutter"), key=lambda node: node.slot)
        for i, (model, pose, node) in enumerate(
            zip(self.clutter, _moved(scene, "clutter", setting), nodes, strict=True)
        ):
            used = i < setting.clutter
            vertices.append(pose.apply(model.vertices) if used else np.broadcast_to(PARKED, model.vertices.shape))
            normals.append(model.normals @ rotation_matrix(pose.rotation).T)
            tint = np.array(linear_rgb(CLUTTER_COLOURS[str(node["colour"])]))
            colours.append(np.broadcast_to(tint, model.colours.shape))
        placed = enumerate(self._placed(scene, setting))
        light = light_colour(setting.warmth)
        values = {
            **{f"object-{i}.to_world": mi.ScalarTransform4f(pose.matrix) for i, pose in placed},
            "clutter.vertex_positions": np.concatenate(vertices).astype(np.float32).ravel(),
            "clutter.vertex_normals": np.concatenate(normals).astype(np.float32).ravel(),
            "clutter.vertex_color": np.concatenate(colours).astype(np.float32).ravel(),
            "lamp.emitter.radiance.value": mi.ScalarColor3f(*(light * setting.lamp)),
            "table.bsdf.weight.value": setting.pattern,
            "table.bsdf.bsdf_1.reflectance.to_uv": mi.ScalarTransform3f().translate(list(setting.shift)),
        }
        if self.surroundings is not None:
            return {**values, "sky.scale": setting.sky}
        return {**values, "sky.radiance.value": mi.ScalarColor3f(*(light_colour(setting.warmth / 2) * setting.sky))}

    def quality(self, scene: SceneGraph) -> Quality:
        """Few samples or many."""
        return Quality(setting_of(scene).samples, BOUNCES, max(self.height, self.width))

    def mask_classes(self, scene: SceneGraph) -> dict[str, int]:
        """No annotation is a mask."""
        return {}

    def instances(self, scene: SceneGraph) -> NDArray[np.uint16]:
        """The objects in the order of their classes, by the faces that pixels' centres show."""
        if scene is not self._posed:
            self._apply(scene)
        setting = setting_of(scene)
        groups = [
            pose.apply(model.vertices) for model, pose in zip(self.objects, self._placed(scene, setting), strict=True)
        ]
        numbers = {self._shapes[f"object-{i}"]: i + 1 for i in range(len(self.objects))}
        return seen_instances(self._types, self._scene, numbers, self._rays_of(setting), groups)

    def annotate(self, scene: SceneGraph) -> dict[str, NDArray[np.generic]]:
        """Boxes of the visible part of each object of which a tenth or more is seen, as BOP measures it."""
        instances = self.instances(scene)
        for number, share in enumerate(self.visible(scene, instances), start=1):
            if share < MIN_VISIBLE:
                instances[instances == number] = 0
        return {"boxes": boxes_of(instances, range(len(CLASSES)), len(CLASSES))}

    def visible(self, scene: SceneGraph, instances: NDArray[np.uint16]) -> list[float]:
        """Of each object's silhouette the share that ``instances`` shows; what lies beyond the picture is not seen."""
        setting, shares = setting_of(scene), []
        rays = self._rays_of(setting)
        for i, pose in enumerate(self._placed(scene, setting)):
            seen = np.count_nonzero(instances == i + 1)
            whole = self._silhouettes.pixels(i, pose, rays.eye, rays) if seen else 0.0
            shares.append(min(1.0, seen / whole) if whole else 0.0)
        return shares

    def _placed(self, scene: SceneGraph, setting: Setting) -> list[Pose]:
        return _moved(scene, "object", setting)

    def _rays_of(self, setting: Setting) -> Rays:
        eye, target, up = camera_frame(setting)
        look = self._types.ScalarTransform4f().look_at(origin=list(eye), target=list(target), up=list(up))
        return Rays(np.array(look.matrix, dtype=np.float64), FIELD_OF_VIEW, self.height, self.width)


class LmoRenderer(Renderer):
    """Draws scenes of the schema by the renderer of their room; ground truth are ``boxes`` of the eight classes."""

    field_of_view = FIELD_OF_VIEW

    def __init__(
        self,
        schema: Schema,
        objects: Sequence[Model],
        clutter: Sequence[Model],
        height: int,
        width: int,
        maps: dict[str, Path] | None = None,
    ) -> None:
        self.rooms: dict[str, MitsubaRenderer] = {
            name: RoomRenderer(schema, name, objects, clutter, height, width, (maps or {}).get(name)) for name in ROOMS
        }
        self._adopt()

    def build(self) -> None:
        """All rooms."""
        for room in self.rooms.values():
            room.build()

    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        """The picture; ``effort`` scales the samples a pixel, at least one."""
        return self._room(scene).draw(scene, seed, effort)

    def annotate(self, scene: SceneGraph) -> dict[str, NDArray[np.generic]]:
        """``boxes``."""
        return self._room(scene).annotate(scene)

    def instances(self, scene: SceneGraph) -> NDArray[np.uint16]:
        """The objects in the order of their classes."""
        return self._room(scene).instances(scene)

    def draw_window(self, scene: SceneGraph, seed: int, effort: float, window: Window) -> NDArray[np.float32]:
        """A window of the picture."""
        return self._room(scene).draw_window(scene, seed, effort, window)

    def cost(self, scene: SceneGraph, effort: float = 1.0, window: Window | None = None) -> float:
        """Samples a pixel times pixels."""
        return self._room(scene).cost(scene, effort, window)

    def resized(self, height: int, width: int, samples: int | None = None) -> LmoRenderer:
        """The same scenes at another size."""
        other = LmoRenderer.__new__(LmoRenderer)
        other.rooms = {name: room.resized(height, width, samples) for name, room in self.rooms.items()}
        other._adopt()
        return other

    def _adopt(self) -> None:
        any_room = next(iter(self.rooms.values()))
        self.schema, self.height, self.width = any_room.schema, any_room.height, any_room.width
        self.annotations = any_room.annotations

    def _room(self, scene: SceneGraph) -> MitsubaRenderer:
        return self.rooms[setting_of(scene).room]


def coloured_mesh(mi: Any, name: str, models: Sequence[Model], colours_of: Literal["vertex", "face"]) -> Any:
    """Models as one mesh of Mitsuba's whose material is the colours at its vertices, or for each face their mean."""
    properties = mi.Properties()
    colours = {"type": "diffuse", "reflectance": {"type": "mesh_attribute", "name": f"{colours_of}_color"}}
    properties["bsdf"] = mi.load_dict({"type": "twosided", "bsdf": colours})
    starts = np.cumsum([0, *(len(model.vertices) for model in models)])
    faces = np.concatenate([model.faces + start for model, start in zip(models, starts, strict=False)])
    shades = np.concatenate([model.colours for model in models])
    mesh = mi.Mesh(name, int(starts[-1]), len(faces), props=properties, has_vertex_normals=True)
    values = shades if colours_of == "vertex" else shades[faces].mean(axis=1)
    mesh.add_attribute(f"{colours_of}_color", 3, values.astype(np.float32).ravel())
    parameters = mi.traverse(mesh)
    parameters["vertex_positions"] = np.concatenate([model.vertices for model in models]).ravel()
    parameters["vertex_normals"] = np.concatenate([model.normals for model in models]).ravel()
    parameters["faces"] = faces.astype(np.uint32).ravel()
    parameters.update()
    return mesh


def _moved(scene: SceneGraph, node_class: str, setting: Setting) -> list[Pose]:
    """Poses in the room: the scene's, moved to the place where its objects lie."""
    x, y, z = setting.place
    return [
        Pose((pose.place[0] + x, pose.place[1] + y, pose.place[2] + z), pose.rotation)
        for pose in poses_in(scene, node_class)
    ]
