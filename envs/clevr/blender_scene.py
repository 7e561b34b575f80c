"""CLEVR's scene within Blender: built once, then changed in place for every frame. Run as an engine's script.

All of its sizes, places and colours come with the options; ``envs/clevr/blender.py`` gives them.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from autosim.rendering.blender.inside import things
from autosim.rendering.blender.inside.film import Film, Quality
from autosim.rendering.mitsuba.mesh import Mesh
from autosim.serve import InstanceMask, serve


class Scene:
    """One object a slot, whose mesh is exchanged; those not in use are hidden."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        things.empty_scene()
        things.camera(options["camera"], (0.0, 0.0, 0.0))
        self._ambient = things.Surroundings()
        self._lights = {
            name: things.SquareLight(name, light["place"], (0.0, 0.0, 0.0), light["side"], light["colour"])
            for name, light in options["lights"].items()
        }
        for name, light in self._lights.items():
            light.set(options["lights"][name]["radiance"])
        plain = things.Material("ground", options["roughness"])
        plain.set([options["ground"]["reflectance"]] * 3, metal=False)
        things.ground("ground", plain.material, options["ground"]["half_side"])
        radius, half = options["radius"], options["cube"]
        meshes = {"cube": Mesh.cube(half), "cylinder": Mesh.cylinder(radius, radius)}
        self._meshes = {name: things.solid(name, mesh.vertices, mesh.faces) for name, mesh in meshes.items()}
        self._meshes["sphere"] = things.sphere("sphere", radius)
        self._materials = [
            things.Material(f"material {slot}", options["roughness"]) for slot in range(options["slots"])
        ]
        self._things = [
            things.thing(f"object {slot}", self._meshes["sphere"], material.material, slot + 1)
            for slot, material in enumerate(self._materials)
        ]

    def pose(self, scene: dict[str, Any]) -> None:
        """Change everything that differs between scenes."""
        options = self._options
        for thing in self._things:
            thing.hide_render = True
        number = 0
        for node in scene["nodes"]:
            values = node["attributes"]
            if node["class"] == "ambient":
                self._ambient.set(options["ambient"] * values["intensity"] / 100)
            elif node["class"] == "back":
                self._lights["back"].set(options["lights"]["back"]["radiance"] * values["intensity"] / 100)
            elif node["class"] == "object":
                number += 1
                thing, shape = self._things[node["slot"]], values["shape"]
                thing.hide_render, thing.pass_index = False, number
                if thing.data != self._meshes[shape]:
                    thing.data = self._meshes[shape]
                thing.location = (values["x"], values["y"], options["cube"] if shape == "cube" else options["radius"])
                self._materials[node["slot"]].set(options["colours"][values["colour"]], values["material"] == "metal")


def main() -> None:
    """Answer autosim's requests."""
    asked = json.loads(sys.argv[1])
    scene = Scene(asked["options"])
    film = Film(asked["height"], asked["width"], asked["options"]["field_of_view"])

    def render(graph: dict[str, Any], seed: int, effort: float) -> Any:
        (root,) = [node["attributes"] for node in graph["nodes"] if node["class"] == "scene"]
        scene.pose(graph)
        size, samples = max(1, round(root["size"] * asked["scale"])), root["samples"]
        if asked["samples"]:
            size, samples = max(asked["height"], asked["width"]), asked["samples"]
        image, numbers = film.draw(seed, Quality(max(1, round(samples * effort)), root["bounces"], size))
        return image, {"instances": numbers}

    serve(render, asked["height"], asked["width"], {"instances": InstanceMask(asked["most"])}, "clevr")


if __name__ == "__main__":
    main()
