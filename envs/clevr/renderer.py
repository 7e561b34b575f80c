"""CLEVR's scene in Mitsuba: a ground plane, a fixed key and fill light, a back light, ambient light, three objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosim.rendering.annotations import Annotation, Boxes, ClassMask
from autosim.rendering.instances import boxes_of
from autosim.rendering.mitsuba.mesh import Mesh
from autosim.rendering.mitsuba.pixels import linear_rgb
from autosim.rendering.mitsuba.renderer import MitsubaRenderer, Quality
from autosim.rendering.mitsuba.silhouettes import box_corners, ground_shadow
from autosim.rendering.mitsuba.variant import Variant
from autosim.rendering.windows import Window
from autosim.scenes.graph import Categorical, SceneGraph, Schema
from envs.clevr.scene import CLASSES, COLOURS

CAMERA = (7.4811, -6.5076, 5.3437)
RADIUS = 0.7
GROUND_REFLECTANCE = 0.5
# Half a side; far enough for the horizon to leave no bright line.
GROUND_EXTENT = 400
METAL_ROUGHNESS = 0.2
# Area lights face the origin: position, length of a side, colour.
KEY = ((6.4467, -2.9052, 4.2584), 0.5, (1.0, 0.932, 0.817))
FILL = ((-4.6711, -4.0136, 3.0112), 0.5, (0.762, 0.818, 1.0))
BACK = ((-1.1685, 2.646, 5.8157), 1.0, (1.0, 1.0, 1.0))
# Radiances; those of the back and the ambient light at intensity 100.
KEY_RADIANCE = 30.0
FILL_RADIANCE = 9.0
BACK_RADIANCE = 40.0
AMBIENT_RADIANCE = 1.0
# By node class: the emitter's parameter, and its radiance at intensity 100.
RADIANCES = {
    "ambient": ("ambient.radiance.value", AMBIENT_RADIANCE),
    "back": ("back.emitter.radiance.value", BACK_RADIANCE),
}
# How far from an object the light that it keeps off or throws back is taken to matter, as a share of its radius.
REACH = 0.35
# Mutable attributes that Mitsuba's parameters are smooth functions of.
DIFFERENTIABLE = {("ambient", "intensity"), ("back", "intensity"), ("object", "x"), ("object", "y")}
# Shapes not in use wait here, far below the ground.
PARKED = (0.0, 0.0, -100.0)


class ClevrRenderer(MitsubaRenderer):
    """Draws scenes of the CLEVR schema; the mask holds :data:`~envs.clevr.scene.CLASSES`.

    With LLVM's variant scenes of spheres alone have an adjoint. With ``windows`` differences of an object's place are
    drawn in a window; what other objects mirror of it is left out. With ``boxes`` frames have those of the objects,
    whose classes are the shapes.
    """

    field_of_view = 49.13
    annotations: Mapping[str, Annotation] = {"mask": ClassMask(CLASSES)}

    def __init__(
        self,
        schema: Schema,
        sizes: tuple[int, ...],
        bounces: tuple[int, ...],
        edge: int,
        variant: Variant = "scalar_rgb",
        windows: bool = False,
        boxes: bool = False,
    ) -> None:
        super().__init__(schema, sizes, bounces, edge, edge, variant)
        self.windows = windows
        if boxes:
            most = schema.node_class("object").slots
            self.annotations = {**self.annotations, "boxes": Boxes(CLASSES[1:], most)}
        self.slots = schema.node_class("object").slots
        # By shape; a sphere needs no mesh. Each rests on the ground at its height. What no object can be is left out.
        shapes = schema.node_class("object").attribute("shape")
        assert isinstance(shapes, Categorical)
        meshes = {"cube": Mesh.cube(RADIUS / np.sqrt(2.0)), "cylinder": Mesh.cylinder(RADIUS, RADIUS)}
        self._meshes = {shape: mesh for shape, mesh in meshes.items() if shape in shapes.choices}
        self._heights = {"sphere": RADIUS, "cube": RADIUS / np.sqrt(2.0), "cylinder": RADIUS}

    def camera(self, mi: Any) -> Any:
        """CLEVR's camera without its jitter."""
        return mi.ScalarTransform4f().look_at(origin=list(CAMERA), target=[0, 0, 0], up=[0, 0, 1])

    def scene_dict(self, mi: Any) -> dict[str, Any]:
        """Every slot holds one of each shape that the schema allows, with one material between them."""
        scene: dict[str, Any] = {
            "ground": {
                "type": "rectangle",
                "to_world": mi.ScalarTransform4f().scale([GROUND_EXTENT, GROUND_EXTENT, 1]),
                "bsdf": {"type": "diffuse", "reflectance": {"type": "rgb", "value": [GROUND_REFLECTANCE] * 3}},
            },
            "ambient": {"type": "constant", "radiance": {"type": "rgb", "value": [AMBIENT_RADIANCE] * 3}},
            "key": _area_light(mi, *KEY, radiance=KEY_RADIANCE),
            "fill": _area_light(mi, *FILL, radiance=FILL_RADIANCE),
            "back": _area_light(mi, *BACK, radiance=BACK_RADIANCE),
        }
        for slot in range(self.slots):
            material = mi.load_dict(_material())
            scene[f"sphere_{slot}"] = {"type": "sphere", "to_world": mi.ScalarTransform4f(), "bsdf": material}
            for name, mesh in self._meshes.items():
                scene[f"{name}_{slot}"] = mesh.to_mitsuba(mi, f"{name}_{slot}", material)
        return scene

    def pose(self, mi: Any, scene: SceneGraph) -> dict[str, Any]:
        """Lights, materials and the place of every shape."""
        values: dict[str, Any] = {}
        for node_class, (emitter, full) in RADIANCES.items():
            (light,) = scene.find(node_class)
            values[emitter] = mi.ScalarColor3f(full * float(light["intensity"]) / 100)
        places = {(shape, slot): PARKED for slot in range(self.slots) for shape in ("sphere", *self._meshes)}
        for node in scene.find("object"):
            shape = str(node["shape"])
            places[shape, node.slot] = (float(node["x"]), float(node["y"]), self._heights[shape])
            colour = mi.ScalarColor3f(*linear_rgb(COLOURS[str(node["colour"])]))
            material = f"sphere_{node.slot}.bsdf"
            values[f"{material}.weight.value"] = float(node["material"] == "metal")
            values[f"{material}.bsdf_0.reflectance.value"] = colour
            values[f"{material}.bsdf_1.specular_reflectance.value"] = colour
        for (shape, slot), place in places.items():
            if shape == "sphere":
                transform = mi.ScalarTransform4f().translate(list(place)).scale(RADIUS)
                values[f"sphere_{slot}.to_world"] = transform
            else:
                vertices = self._meshes[shape].vertices + np.array(place, dtype=np.float32)
                values[f"{shape}_{slot}.vertex_positions"] = vertices.ravel()
        return values

    def differentiable_pose(self, mi: Any, scene: SceneGraph, values: Mapping[tuple[int, str], Any]) -> dict[str, Any]:
        """Intensities of the lights and places of spheres; what is not mutable stays a number."""
        pose: dict[str, Any] = {}
        for index, node in enumerate(scene.nodes):
            if (index, "intensity") in values:
                emitter, full = RADIANCES[node.node_class]
                pose[emitter] = mi.Color3f(values[index, "intensity"] * (full / 100))
            elif (index, "x") in values or (index, "y") in values:
                x, y = (values.get((index, axis), float(node[axis])) for axis in ("x", "y"))
                transform = mi.Transform4f().translate(mi.Point3f(x, y, RADIUS)).scale(RADIUS)
                pose[f"sphere_{node.slot}.to_world"] = transform
        return pose

    def undifferentiable(self, scene: SceneGraph) -> str | None:
        """Objects that are no spheres, and mutable attributes beside lights' intensities and objects' places."""
        for node in scene.find("object"):
            if node["shape"] != "sphere":
                return f"object {node.slot} is a {node['shape']}, and only spheres have an adjoint"
        for index, attribute in self.schema.mutable_continuous(scene):
            name = scene.nodes[index].node_class
            if (name, attribute.name) not in DIFFERENTIABLE:
                known = ", ".join(sorted(".".join(key) for key in DIFFERENTIABLE))
                return f"{name}.{attribute.name} has no adjoint, only {known} have"
        return None

    def annotate(self, scene: SceneGraph) -> dict[str, NDArray[np.generic]]:
        """The mask, and the boxes of what is seen of each object where they are declared."""
        truth = super().annotate(scene)
        kind = self.annotations.get("boxes")
        if isinstance(kind, Boxes):
            kinds = [CLASSES.index(str(node["shape"])) - 1 for node in scene.find("object")]
            truth["boxes"] = boxes_of(self.instances(scene), kinds, kind.most)
        return truth

    def window(self, scene: SceneGraph, node: int, attribute: str) -> Window | None:
        """An object, its shadows by the three lights that have a place, and the ground near it."""
        thing = scene.nodes[node]
        if not self.windows or thing.node_class != "object":
            return None
        x, y = float(thing["x"]), float(thing["y"])
        corners = box_corners((x, y, RADIUS), (RADIUS, RADIUS, RADIUS))
        near = box_corners((x, y, 0.0), (RADIUS * (1 + REACH), RADIUS * (1 + REACH), 0.0))
        shadows = [ground_shadow(corners, light) for light, _, _ in (KEY, FILL, BACK)]
        cast = [shadow for shadow in shadows if shadow is not None]
        return self.view.window(np.concatenate([corners, near, *cast])) if len(cast) == len(shadows) else None

    def quality(self, scene: SceneGraph) -> Quality:
        """As the scene's root asks."""
        (root,) = scene.find("scene")
        return Quality(int(root["samples"]), int(root["bounces"]), int(root["size"]))

    def mask_classes(self, scene: SceneGraph) -> dict[str, int]:
        """Each slot's visible shape."""
        return {f"{node['shape']}_{node.slot}": CLASSES.index(str(node["shape"])) for node in scene.find("object")}


def _area_light(
    mi: Any, position: tuple[float, ...], side: float, colour: tuple[float, ...], radiance: float
) -> dict[str, Any]:
    transform = mi.ScalarTransform4f().look_at(origin=list(position), target=[0, 0, 0], up=[0, 0, 1]).scale(side / 2)
    return {
        "type": "rectangle",
        "to_world": transform,
        "emitter": {"type": "area", "radiance": {"type": "rgb", "value": [radiance * c for c in colour]}},
    }


def _material() -> dict[str, Any]:
    """Rubber at weight 0, metal at weight 1."""
    colour = {"type": "rgb", "value": [0.5, 0.5, 0.5]}
    return {
        "type": "blendbsdf",
        "weight": 0.5,
        "rubber": {"type": "diffuse", "reflectance": colour},
        "metal": {"type": "roughconductor", "alpha": METAL_ROUGHNESS, "specular_reflectance": colour},
    }
