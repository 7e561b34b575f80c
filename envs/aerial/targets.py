"""Hidden targets of the aerial environment: the papers' own, and others drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autosim.scenes.grammar import Normal, Prior
from autosim.seeding import seed_sequence

# Where cars of either lane are across the road, in its widths.
LANE = 0.24
# A tree or a house is at least so far from the middle of the road, and two things so far apart, in pictures' edges.
BESIDE, APART = 0.25, 0.3


@dataclass(frozen=True)
class Traffic:
    """Probabilities of 1 to 4 roads, and mean numbers of cars on the first road and on the others."""

    roads: tuple[float, ...] = (0.05, 0.15, 0.4, 0.4)
    first: float = 9.0
    others: float = 3.0


def crossing(seed: int) -> dict[str, Prior]:
    """Where things are: a road with a car on each lane, a tree and a house beside it. Seed 0 is the first target: the
    road from lower left to upper right, the tree above and the house below.
    """
    if seed == 0:
        places = (30.0, 0.0, -0.2, 0.18, (0.22, 0.22), (0.78, 0.8), 30.0)
    else:
        places = _drawn(np.random.default_rng(seed_sequence(seed, "aerial target")))
    road, offset, first, second, tree, house, turned = places
    return {
        "road.offset": Normal(offset, 0.02),
        "road.yaw": Normal(road, 3.0),
        "car.0.along": Normal(first, 0.05),
        "car.0.across": Normal(LANE, 0.02),
        "car.0.yaw": Normal(0.0, 2.0),
        "car.1.along": Normal(second, 0.05),
        "car.1.across": Normal(-LANE, 0.02),
        "car.1.yaw": Normal(180.0, 2.0),
        **{f"tree.{axis}": Normal(value, 0.04) for axis, value in zip("xy", tree, strict=True)},
        **{f"house.{axis}": Normal(value, 0.04) for axis, value in zip("xy", house, strict=True)},
        "house.yaw": Normal(turned, 3.0),
    }


def traffic(seed: int) -> Traffic:
    """How many roads and cars there are; seed 0 is the first target."""
    if seed == 0:
        return Traffic()
    rng = np.random.default_rng(seed_sequence(seed, "aerial target"))
    shares = rng.dirichlet(np.ones(4))
    return Traffic(tuple(float(share) for share in shares), float(rng.uniform(4.0, 9.0)), float(rng.uniform(1.0, 5.0)))


def _drawn(
    rng: np.random.Generator,
) -> tuple[float, float, float, float, tuple[float, float], tuple[float, float], float]:
    """Angle and offset of the road, places of the cars along it, of tree and house, and the house's angle."""
    road, offset = float(rng.uniform(0.0, 180.0)), float(rng.uniform(-0.08, 0.08))
    first, second = float(rng.uniform(-0.3, 0.0)), float(rng.uniform(0.0, 0.3))
    # Rows of a picture go down.
    across = np.array([np.sin(np.deg2rad(road)), np.cos(np.deg2rad(road))])
    while True:
        tree, house = rng.uniform(0.15, 0.85, (2, 2))
        beside = min(abs(float((place - 0.5) @ across)) for place in (tree, house))
        if beside >= BESIDE and float(np.linalg.norm(tree - house)) >= APART:
            break
    x, y = map(float, tree)
    u, v = map(float, house)
    return road, offset, first, second, (x, y), (u, v), float(rng.uniform(0.0, 360.0))
