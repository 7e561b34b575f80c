"""The BlenderProc script: their loader, materials, lights and camera; autosim's scenes. It runs within Blender."""

import importlib.util
import json
import sys
import types

from autosim.rendering.blender.inside.film import Film, Quality
from autosim.serve import InstanceMask, serve

# BlenderProc's own start downloads a Blender and packages for it; its parts do without.
bproc = types.ModuleType("blenderproc")
bproc.__path__ = list(importlib.util.find_spec("blenderproc").submodule_search_locations)
sys.modules["blenderproc"] = bproc
from blenderproc.api import camera, loader, material, math, renderer  # noqa: E402
from blenderproc.api import types as kinds  # noqa: E402
from blenderproc.python.utility.Initializer import clean_up  # noqa: E402

asked = json.loads(sys.argv[1])
clean_up(clean_up_camera=True)
renderer.set_world_background([0.2, 0.2, 0.25])
(pyramid,) = loader.load_obj(asked["options"]["mesh"])
pyramid.replace_materials(paint := material.create("paint"))
paint.set_principled_shader_value("Base Color", [0.8, 0.1, 0.1, 1.0])
pyramid.blender_obj.pass_index = 1
(light := kinds.Light("POINT", "lamp")).set_location([3, -4, 5])
camera.add_camera_pose(math.build_transformation_mat([0, -8, 3], [1.27, 0, 0]))
film = Film(asked["height"], asked["width"], field_of_view=40.0)


def render(scene, seed, effort):
    (values,) = [node["attributes"] for node in scene["nodes"]]
    pyramid.set_location([values["x"], 0, 0])
    pyramid.set_rotation_euler([1.5708, 0, values["yaw"] / 57.2958])
    light.set_energy(10 * values["light"])
    image, numbers = film.draw(seed, Quality(max(1, round(8 * effort)), 3, film.width))
    return image, {"instances": numbers}


serve(render, asked["height"], asked["width"], {"instances": InstanceMask(asked["most"])}, "blenderproc")
