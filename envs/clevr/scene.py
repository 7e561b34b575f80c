"""What a CLEVR scene is made of, and the distributions it is drawn from (AutoSimulate supplement, Table 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autosim.scenes.grammar import Choice, Emission, Grammar, Normal, Prior, Rule
from autosim.scenes.graph import Categorical, Continuous, NodeClass, Schema
from autosim.seeding import seed_sequence

SLOTS = 3
SHAPES = ("sphere", "cube", "cylinder")
# Of pixels.
CLASSES = ("background", *SHAPES)
MATERIALS = ("rubber", "metal")
# CLEVR's eight colours, sRGB.
COLOURS: dict[str, tuple[int, int, int]] = {
    "gray": (87, 87, 87),
    "red": (173, 35, 35),
    "blue": (42, 75, 215),
    "green": (29, 105, 20),
    "brown": (129, 74, 25),
    "purple": (129, 38, 192),
    "cyan": (41, 208, 208),
    "yellow": (255, 238, 51),
}


# The camera's axes on the ground: to the right of the picture, and away from the viewer.
RIGHT = np.array([0.656, 0.755])
AWAY = np.array([-0.755, 0.656])
# The start's objects stand in a row far behind the centre: (right, away) of each.
START_LOCATIONS = ((-3.5, 6.0), (0.0, 6.0), (3.5, 6.0))


@dataclass(frozen=True)
class Profile:
    """Choices of render quality, worst first, and the edge length of the images that networks see, in pixels."""

    samples: tuple[int, ...]
    bounces: tuple[int, ...]
    sizes: tuple[int, ...]
    edge: int


PROFILES = {
    "default": Profile(samples=(1, 4, 16), bounces=(2, 8), sizes=(16, 32, 64), edge=64),
    "paper": Profile(samples=(2, 128, 512), bounces=(8, 128), sizes=(32, 128, 256), edge=256),
}


def clevr_schema(profile: Profile) -> Schema:
    """Classes ``scene`` (render quality), ``ambient``, ``back`` (lights, 0–100) and ``object`` in three slots."""
    return Schema(
        (
            NodeClass(
                "scene",
                (
                    Categorical("samples", profile.samples),
                    Categorical("bounces", profile.bounces),
                    Categorical("size", profile.sizes),
                ),
            ),
            NodeClass("ambient", (Continuous("intensity", 0.0, 100.0, unit="%", step=4.0),)),
            NodeClass("back", (Continuous("intensity", 0.0, 100.0, unit="%", step=8.0),)),
            NodeClass(
                "object",
                (
                    Continuous("x", -10.0, 10.0, unit="units", step=0.2),
                    Continuous("y", -10.0, 10.0, unit="units", step=0.2),
                    Categorical("material", MATERIALS),
                    Categorical("shape", SHAPES, mutable=False),
                    Categorical("colour", tuple(COLOURS), mutable=False),
                ),
                slots=SLOTS,
            ),
        )
    )


def clevr_grammar(schema: Schema, priors: dict[str, Prior]) -> Grammar:
    """``Scene → Ambient Back Object0 Object1 Object2``, each slot's shape and colour uniform."""
    objects = tuple(f"Object{slot}" for slot in range(SLOTS))
    emissions = {"Scene": Emission("scene"), "Ambient": Emission("ambient"), "Back": Emission("back")}
    emissions |= {symbol: Emission("object", slot) for slot, symbol in enumerate(objects)}
    return Grammar(schema, "Scene", (Rule("Scene", ("Ambient", "Back", *objects)),), emissions, priors)


def start_priors(profile: Profile) -> dict[str, Prior]:
    """The badly tuned start: dark, mostly the worst quality, objects small and far behind the centre."""
    priors: dict[str, Prior] = {
        "scene.samples": _mostly(0, profile.samples),
        "scene.bounces": _mostly(0, profile.bounces),
        "scene.size": _mostly(0, profile.sizes),
        "ambient.intensity": Normal(12.0, 5.0),
        "back.intensity": Normal(12.0, 5.0),
        "object.material": Choice((0.5, 0.5)),
    }
    for slot, place in enumerate(START_LOCATIONS):
        priors |= _location(slot, np.array(place), std=0.6)
    return priors


def target_priors(profile: Profile, target_seed: int) -> dict[str, Prior]:
    """A plausible configuration: well lit, mostly the best quality, objects apart and in the middle of the picture."""
    rng = np.random.default_rng(seed_sequence(target_seed, "clevr target"))
    places = _apart(rng, low=(-3.0, -2.5), high=(3.0, 2.5), count=SLOTS, distance=2.2)
    priors: dict[str, Prior] = {
        "scene.samples": _mostly(-1, profile.samples),
        "scene.bounces": _mostly(-1, profile.bounces),
        "scene.size": _mostly(-1, profile.sizes),
        "ambient.intensity": Normal(float(rng.uniform(35.0, 65.0)), 5.0),
        "back.intensity": Normal(float(rng.uniform(40.0, 80.0)), 5.0),
    }
    for slot, place in enumerate(places):
        priors |= _location(slot, place, std=0.4)
        # Mostly one material or the other: the start has as much of both.
        metal = float(abs(rng.integers(2) - rng.uniform(0.1, 0.25)))
        priors[f"object.{slot}.material"] = Choice((1 - metal, metal))
    return priors


def _mostly(best: int, choices: tuple[int, ...], share: float = 0.8) -> Choice:
    probabilities = np.full(len(choices), (1 - share) / (len(choices) - 1))
    probabilities[best] = share
    return Choice(tuple(float(p) for p in probabilities))


def _location(slot: int, place: NDArray[np.float64], std: float) -> dict[str, Prior]:
    """Priors of a slot around a place given as (right, away)."""
    x, y = place[0] * RIGHT + place[1] * AWAY
    return {f"object.{slot}.x": Normal(float(x), std), f"object.{slot}.y": Normal(float(y), std)}


def _apart(
    rng: np.random.Generator, low: tuple[float, float], high: tuple[float, float], count: int, distance: float
) -> NDArray[np.float64]:
    """Uniform points in a rectangle, drawn again until no two are closer than ``distance``."""
    while True:
        points = rng.uniform(low, high, (count, 2))
        gaps = np.linalg.norm(points[:, None] - points[None], axis=2)[np.triu_indices(count, 1)]
        if gaps.min() >= distance:
            return points
