"""Grammars that the tests of scenes share."""

from __future__ import annotations

import numpy as np

from autosim.scenes.grammar import Choice, Constant, Emission, Grammar, Normal, Prior, Rule
from autosim.scenes.graph import Categorical, Continuous, NodeClass, Schema


def seed(*key: int) -> np.random.SeedSequence:
    """A seed sequence for each key."""
    return np.random.SeedSequence(7, spawn_key=key)


def table() -> Grammar:
    """Fixed structure: render settings, two lights, three objects in slots; like CLEVR."""
    schema = Schema(
        (
            NodeClass(
                "scene",
                (
                    Categorical("samples", (1, 8, 32)),
                    Categorical("bounces", (2, 8)),
                    Categorical("size", (16, 32, 64)),
                ),
            ),
            NodeClass("ambient", (Continuous("intensity", 0, 100),)),
            NodeClass("back", (Continuous("intensity", 0, 100),)),
            NodeClass(
                "object",
                (
                    Continuous("x", -10, 10),
                    Continuous("y", -10, 10),
                    Categorical("material", ("rubber", "metal")),
                    Categorical("shape", ("sphere", "cube", "cylinder"), mutable=False),
                    Categorical("colour", tuple(range(8)), mutable=False),
                ),
                slots=3,
            ),
        )
    )
    emissions = {"Scene": Emission("scene"), "ambient": Emission("ambient"), "back": Emission("back")}
    emissions |= {f"object{i}": Emission("object", i) for i in range(3)}
    priors: dict[str, Prior] = {
        "scene.samples": Choice([0.8, 0.1, 0.1]),
        "scene.bounces": Choice([0.9, 0.1]),
        "ambient.intensity": Normal(10, 10),
        "back.intensity": Normal(20, 10),
        "object.x": Normal(4, 1.5),
        "object.0.x": Normal(-5, 1.5),
        "object.y": Normal(0, 2),
    }
    rules = (Rule("Scene", ("ambient", "back", "object0", "object1", "object2")),)
    return Grammar(schema, "Scene", rules, emissions, priors)


def digits() -> Grammar:
    """Any number of digits, whose class the rules choose, with a periodic attribute; like MultiMNIST."""
    schema = Schema(
        (
            NodeClass("canvas", (Continuous("hue", 0, 360, "deg", periodic=True),)),
            NodeClass(
                "digit",
                (
                    Categorical("label", tuple(range(3)), mutable=False),
                    Continuous("x", 0, 256),
                    Continuous("yaw", 0, 360, "deg", periodic=True),
                    Categorical("ink", ("thin", "normal", "bold", "double")),
                ),
            ),
        )
    )
    rules = (
        Rule("Scene", ("Digits",)),
        Rule("Digits", ("Digit", "Digits"), 3.0),
        Rule("Digits", ()),
        *(Rule("Digit", (f"digit{i}",)) for i in range(3)),
    )
    emissions = {"Scene": Emission("canvas"), **{f"digit{i}": Emission("digit", 0, {"label": i}) for i in range(3)}}
    priors: dict[str, Prior] = {"canvas.hue": Constant(350.0), "digit.x": Normal(100, 40), "digit.yaw": Normal(0, 10)}
    return Grammar(schema, "Scene", rules, emissions, priors)


def roads() -> Grammar:
    """Cars below roads below a scene: a tree three deep, where a non-terminal emits nothing."""
    schema = Schema(
        (NodeClass("scene"), NodeClass("road", (Continuous("y", 0, 1),)), NodeClass("car", (Continuous("x", 0, 1),)))
    )
    rules = (
        Rule("Scene", ("Roads",)),
        Rule("Roads", ("Road", "Roads")),
        Rule("Roads", ()),
        Rule("Road", ("Cars",)),
        Rule("Cars", ("car", "Cars")),
        Rule("Cars", ()),
    )
    emissions = {"Scene": Emission("scene"), "Road": Emission("road"), "car": Emission("car")}
    return Grammar(schema, "Scene", rules, emissions)
