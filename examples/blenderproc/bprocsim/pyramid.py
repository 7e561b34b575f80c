"""Environment ``pyramid``: where a pyramid stands, how it is turned and how bright the lamp is."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autosim.env import Env
from autosim.rendering.annotations import ClassMask
from autosim.rendering.blender.renderer import BlenderRenderer
from autosim.scenes.grammar import Emission, Grammar, Normal, Rule
from autosim.scenes.graph import Continuous, NodeClass, Schema

CLASSES = ("ground", "pyramid")
X, YAW = Continuous("x", -3, 3, step=0.1), Continuous("yaw", 0, 90, unit="°", step=3)
SCHEMA = Schema((NodeClass("pyramid", (X, YAW, Continuous("light", 0, 100, step=4))),))


def pyramids(x, yaw, light):
    """Scenes of one pyramid about these values."""
    priors = {"pyramid.x": Normal(x, 0.3), "pyramid.yaw": Normal(yaw, 5), "pyramid.light": Normal(light, 5)}
    return Grammar(SCHEMA, "Scene", (Rule("Scene", ("Pyramid",)),), {"Pyramid": Emission("pyramid")}, priors)


class PyramidRenderer(BlenderRenderer):
    def truth(self, scene, instances):
        return {"mask": instances.astype(np.uint8)}


@dataclass(frozen=True)
class PyramidConfig:
    blender: str = ""
    """The Python of an environment that has bpy and blenderproc."""


class Pyramid(Env):
    name, Config, schema = "pyramid", PyramidConfig, SCHEMA

    def __init__(self, config):
        self.config = config

    def prior(self):
        return pyramids(-1.5, 20, 20)

    def target(self):
        return pyramids(1.0, 60, 70)

    def renderer(self):
        here = Path(__file__).resolve().parent
        options, truth = {"mesh": str(here / "pyramid.obj")}, {"mask": ClassMask(CLASSES)}
        return PyramidRenderer(SCHEMA, 48, 48, truth, here / "script.py", options, self.config.blender)

    def task(self):
        from autosim.learning.tasks.segmentation import Segmentation

        return Segmentation(CLASSES)
