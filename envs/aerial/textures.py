"""Textures of the aerial scenes, made from seeds: grass, roads, cars, trees and houses seen from above."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autosim.seeding import seed_sequence

CARS, TREES, HOUSES, ROADS, GRASSES = 400, 40, 40, 48, 48
# Texels of one of each: height and width.
CAR, TREE, HOUSE = (16, 32), (32, 32), (40, 40)
ROAD = (24, 384)


def cars() -> NDArray[np.uint8]:
    """(400, 16, 32, 4) car bodies, heading right: paint, bonnet, windows, roof."""
    result = np.zeros((CARS, *CAR, 4), dtype=np.float32)
    for i, car in enumerate(result):
        rng = _rng("cars", i)
        paint = _paint(rng)
        ends, side = rng.integers(0, 4), rng.integers(1, 4)
        body = car[side : CAR[0] - side, ends : CAR[1] - ends]
        body[..., :3], body[..., 3] = paint, 255
        for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
            body[corner][3] = 0
        length, width = body.shape[1], body.shape[0]
        glass = np.array([30, 38, 48], dtype=np.float32) + rng.uniform(0, 35)
        front, back = round(length * rng.uniform(0.58, 0.7)), round(length * rng.uniform(0.16, 0.3))
        body[2 : width - 2, front : front + 4, :3] = glass
        body[2 : width - 2, back : back + 3, :3] = glass
        body[2 : width - 2, back + 3 : front, :3] = paint * rng.uniform(0.85, 1.12)
    return _bytes(result)


def trees() -> NDArray[np.uint8]:
    """(40, 32, 32, 4) round crowns with an uneven rim, lighter on one side."""
    result = np.zeros((TREES, *TREE, 4), dtype=np.float32)
    y, x = _grid(TREE)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    for i, tree in enumerate(result):
        rng = _rng("trees", i)
        rim = 0.85 + sum(rng.uniform(0, 0.08) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in (3, 5, 8))
        leaf = np.array([rng.uniform(15, 55), rng.uniform(60, 110), rng.uniform(10, 45)])
        light = 1 + 0.3 * (-x - y) * (1 - radius) + 0.25 * _smooth_noise(rng, TREE, 3)
        tree[..., :3] = leaf * light[..., None]
        tree[..., 3] = 255 * (radius < rim)
    return _bytes(result)


def houses() -> NDArray[np.uint8]:
    """(40, 40, 40, 4) roofs of two or four faces, with a chimney here and there."""
    result = np.zeros((HOUSES, *HOUSE, 4), dtype=np.float32)
    y, x = _grid(HOUSE)
    for i, house in enumerate(result):
        rng = _rng("houses", i)
        tiles = [(150, 62, 45), (120, 80, 60), (95, 90, 92), (170, 110, 80), (135, 45, 40)]
        roof = np.array(tiles[int(rng.integers(len(tiles)))]) * rng.uniform(0.8, 1.15)
        hipped = rng.random() < 0.5
        faces = np.where(np.abs(x) > np.abs(y) + 0.25, np.where(x > 0, 0.82, 1.05), np.where(y > 0, 0.75, 1.15))
        light = faces if hipped else np.where(y > 0, 0.75, 1.15)
        rows = 1 + 0.07 * np.sin((y + 1) * HOUSE[0] * 0.5 * np.pi / rng.uniform(1.6, 3))
        house[..., :3] = roof * (light * rows)[..., None]
        narrow = rng.uniform(0.75, 0.98)
        house[..., 3] = 255 * ((np.abs(x) < 0.98) & (np.abs(y) < narrow))
        if rng.random() < 0.6:
            row, column = rng.integers(10, 26, 2)
            house[row : row + 5, column : column + 5, :3] = rng.uniform(60, 100)
    return _bytes(result)


def roads() -> NDArray[np.uint8]:
    """(12, 24, 384, 4) stretches of asphalt with light edges and a dashed line in the middle."""
    result = np.zeros((ROADS, *ROAD, 4), dtype=np.float32)
    for i, road in enumerate(result):
        rng = _rng("roads", i)
        grey = rng.uniform(70, 120) + np.array([0, rng.uniform(-3, 3), rng.uniform(-4, 6)])
        road[..., :3] = grey * (1 + 0.06 * rng.standard_normal(ROAD))[..., None]
        line = rng.uniform(190, 235)
        road[[1, ROAD[0] - 2], :, :3] = line
        period, start = int(rng.integers(14, 24)), int(rng.integers(0, 20))
        dashes = (np.arange(ROAD[1]) + start) % period < period // 2
        road[ROAD[0] // 2 - 1 : ROAD[0] // 2 + 1, dashes, :3] = line
        road[..., 3] = 255
    return _bytes(result)


def grasses(height: int, width: int) -> NDArray[np.float32]:
    """(24, height, width, 3) meadows, in [0, 1]."""
    result = np.zeros((GRASSES, height, width, 3), dtype=np.float32)
    for i, grass in enumerate(result):
        rng = _rng("grass", i)
        colour = np.array([rng.uniform(70, 120), rng.uniform(125, 165), rng.uniform(50, 80)]) / 255
        patches = 0.16 * _smooth_noise(rng, (height, width), 12) + 0.06 * rng.standard_normal((height, width))
        grass[:] = colour * (1 + patches)[..., None]
    return np.clip(result, 0, 1)


def _rng(kind: str, index: int) -> np.random.Generator:
    return np.random.default_rng(seed_sequence(0, f"aerial {kind}", index))


def _paint(rng: np.random.Generator) -> NDArray[np.float32]:
    """Most cars are white, grey or black; the rest have a colour."""
    if rng.random() < 0.55:
        return np.full(3, rng.choice([35, 90, 160, 235]) + rng.uniform(-20, 20), dtype=np.float32)
    strong, weak = rng.uniform(130, 230), rng.uniform(15, 90, 3)
    weak[rng.integers(3)] = strong
    return weak.astype(np.float32)


def _grid(size: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """y (h, 1) and x (1, w) of texel centres, in [-1, 1]."""
    height, width = size
    y, x = (2 * (np.arange(edge) + 0.5) / edge - 1 for edge in (height, width))
    return y[:, None], x[None, :]


def _smooth_noise(rng: np.random.Generator, size: tuple[int, int], cell: int) -> NDArray[np.float64]:
    """Noise of unit variance at its knots, ``cell`` texels apart, bilinear in between."""
    height, width = size
    knots = rng.standard_normal((height // cell + 2, width // cell + 2))
    rows, columns = np.arange(height) / cell, np.arange(width) / cell
    r, c = rows.astype(int), columns.astype(int)
    down, along = (rows - r)[:, None], (columns - c)[None, :]
    upper = knots[r][:, c] * (1 - along) + knots[r][:, c + 1] * along
    lower = knots[r + 1][:, c] * (1 - along) + knots[r + 1][:, c + 1] * along
    return upper * (1 - down) + lower * down


def _bytes(texels: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(np.clip(texels, 0, 255)).astype(np.uint8)
