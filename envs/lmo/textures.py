"""Patterns of tables, floors, walls and furniture, made from numbers alone: arrays (n, n, 3) of linear colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autosim.rendering.mitsuba.pixels import linear_rgb
from envs.lmo.models import Colour

Picture = NDArray[np.float32]
EDGE = 256
# Mostly those of paper and print.
INKS: tuple[Colour, ...] = (
    *((228, 225, 218), (214, 212, 208), (186, 182, 172), (150, 150, 150), (92, 92, 96), (48, 48, 52)),
    *((172, 72, 46), (52, 78, 136), (70, 108, 70), (196, 160, 78), (112, 70, 100), (122, 158, 172)),
)


def noise(rng: np.random.Generator, edge: int = EDGE, stretch: tuple[int, int] = (1, 1)) -> NDArray[np.float64]:
    """Smooth noise (edge, edge) that repeats at its edges, of mean 0 and standard deviation 1; longer along an axis
    where its ``stretch`` is smaller.
    """
    waves = np.fft.rfft2(rng.standard_normal((edge, edge)))
    y, x = np.fft.fftfreq(edge)[:, None] * edge, np.fft.rfftfreq(edge)[None] * edge
    waves /= np.maximum(1.0, np.hypot(y / stretch[0], x / stretch[1])) ** 1.3
    waves[0, 0] = 0
    field = np.fft.irfft2(waves, (edge, edge))
    return np.asarray(field / field.std())


def plain(rng: np.random.Generator, colour: Colour, grain: float = 0.05) -> Picture:
    """One colour with a little noise."""
    return _shaded(np.broadcast_to(linear_rgb(colour), (EDGE, EDGE, 3)), 1 + grain * noise(rng))


def wood(rng: np.random.Generator, colour: Colour) -> Picture:
    """Boards with grain along them."""
    boards = 4
    number = np.arange(EDGE) * boards // EDGE
    shades = rng.uniform(0.75, 1.15, boards)[number][:, None]
    gaps = np.where(np.arange(EDGE) % (EDGE // boards) < 2, 0.5, 1.0)[:, None]
    grain = 1 + 0.16 * noise(rng, stretch=(24, 2))
    return _shaded(np.broadcast_to(linear_rgb(colour), (EDGE, EDGE, 3)), grain * shades * gaps)


def tiles(rng: np.random.Generator, colours: tuple[Colour, Colour], count: int = 8) -> Picture:
    """A chequered floor."""
    at = np.arange(EDGE) * count // EDGE
    odd = ((at[:, None] + at[None]) % 2)[..., None]
    both = [np.array(linear_rgb(colour)) for colour in colours]
    return _shaded(np.where(odd, both[0], both[1]), 1 + 0.07 * noise(rng))


def collage(rng: np.random.Generator, base: Colour, sheets: int, largest: float = 0.35) -> Picture:
    """Sheets, prints and labels lying one over another on a ground, some with lines of writing, chequers or blots."""
    picture = np.array(plain(rng, base), dtype=np.float64)
    for _ in range(sheets):
        high, wide = (int(value) for value in rng.uniform(0.08, largest, 2) * EDGE)
        top, left = (int(value) for value in rng.integers(0, EDGE, 2))
        rows, columns = np.arange(top, top + high) % EDGE, np.arange(left, left + wide) % EDGE
        picture[np.ix_(rows, columns)] = _sheet(rng, high, wide)
    return _shaded(picture, 1 + 0.04 * noise(rng))


def _sheet(rng: np.random.Generator, high: int, wide: int) -> NDArray[np.float64]:
    ground, ink = (np.array(linear_rgb(INKS[i])) for i in rng.choice(len(INKS), 2, replace=False))
    kind = rng.integers(4)
    if kind == 0:
        ground, ink = np.array(linear_rgb((230, 228, 222))), np.array(linear_rgb((70, 70, 75)))
        lines = (np.arange(high) % 5 < 2)[:, None] & (rng.random((high, wide)) < 0.6)
        share = lines.astype(np.float64)
    elif kind == 1:
        size = max(3, min(high, wide) // 6)
        share = ((np.arange(high)[:, None] // size + np.arange(wide)[None] // size) % 2).astype(np.float64)
    elif kind == 2:
        field = noise(rng, max(high, wide))[:high, :wide]
        share = 1 / (1 + np.exp(-3 * field))
    else:
        share = np.zeros((high, wide))
        share[high // 4 : high // 2, wide // 8 : -wide // 8 or None] = 1.0
    return ground + share[..., None] * (ink - ground)


def _shaded(colours: NDArray[np.floating], shade: NDArray[np.floating]) -> Picture:
    return np.clip(colours * np.maximum(shade, 0.05)[..., None], 0.0, 0.95).astype(np.float32)
