"""2-D compositing: textured rectangles under affine maps, back to front, with exact masks and boxes.

All sprites of a chunk are sampled together and then composited. A pixel does not depend on the other scenes of the
chunk: a frame stays a function of its scene.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from autosim.errors import RendererError
from autosim.rendering.annotations import UNUSED, Boxes
from autosim.rendering.frames import Frame
from autosim.rendering.renderer import Renderer, eight_bits
from autosim.scenes.graph import SceneGraph, Schema

_Number = TypeVar("_Number", bound=np.generic)
# Pixels that are sampled at once: the arrays of a block stay in the processor's cache.
BLOCK = 16384
# Frames that are composed at once, for the same reason.
AT_ONCE = 16


@dataclass(frozen=True)
class Sprite:
    """A texture on a rectangle.

    ``x``, ``y`` (right, down) are the centre in pixels, (0, 0) the upper left corner of the picture; ``width`` and
    ``height`` are in pixels, above 0; ``angle`` in radians, counter-clockwise. ``texture`` is an index into the set of
    textures called ``kind``. ``colour`` (RGB in [0, 1]) is multiplied with the texture's. ``mask_class`` is written to
    the mask where the sprite is opaque, ``None`` leaves the mask as it is; ``box`` is the class of its box, ``None``
    where it has none.
    """

    kind: str
    texture: int
    x: float
    y: float
    width: float
    height: float
    angle: float = 0.0
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    mask_class: int | None = None
    box: int | None = None


@dataclass(frozen=True)
class _Placed:
    """A sampled sprite: where its window in the picture begins, premultiplied colour (3, h, w), alpha and opaque
    pixels (h, w).
    """

    left: int
    top: int
    colour: NDArray[np.float32]
    alpha: NDArray[np.float32]
    opaque: NDArray[np.bool_]


class SpriteRenderer(Renderer):
    """Lays sprites over a backdrop. A subclass declares the annotation ``mask``, a :class:`ClassMask`, which is 0 where
    no sprite has set a class; where it declares ``boxes``, :class:`Boxes`, these are the upright bounding boxes of
    sprites with a ``box`` class, clipped to the picture, in the order of the sprites; sprites outside the picture have
    none.

    Edges are anti-aliased by the share of a pixel that they cover; textures are sampled bilinearly at the power of two
    of their resolution that is nearest to that of the picture.
    """

    def __init__(self, schema: Schema, height: int, width: int) -> None:
        self.schema, self.height, self.width = schema, height, width
        self._levels: dict[str, list[NDArray[np.uint8]]] = {}
        self._backdrops: NDArray[np.float32] = np.zeros((0, 3, height, width), dtype=np.float32)

    @abstractmethod
    def textures(self) -> Mapping[str, NDArray[np.uint8]]:
        """Sets of textures by kind, uint8, at least 2 × 2: (n, h, w) opacity of a white sprite, or (n, h, w, 4) RGBA
        with colour not multiplied by opacity. Called once, by ``build``.
        """

    def backdrops(self) -> NDArray[np.float32]:
        """(n, H, W, 3) backdrops in [0, 1]; one, black, by default. Called once, by ``build``."""
        return np.zeros((1, self.height, self.width, 3), dtype=np.float32)

    def backdrop(self, scene: SceneGraph) -> int:
        """Index of a scene's backdrop."""
        return 0

    @abstractmethod
    def sprites(self, scene: SceneGraph) -> Sequence[Sprite]:
        """A scene's sprites, from back to front."""

    def labels(self, scene: SceneGraph) -> Mapping[str, NDArray[np.generic]]:
        """Further annotations of a scene; none by default."""
        return {}

    def resized(self, height: int, width: int, samples: int | None = None) -> Renderer:
        """See :meth:`Renderer.resized`: sprites grow with the picture, whose aspect stays. They have no samples."""
        if samples is not None:
            raise RendererError(f"{type(self).__name__}: sprites are drawn without samples")
        if height * self.width != width * self.height:
            here = f"{self.width}×{self.height}"
            raise RendererError(f"{type(self).__name__}: {width}×{height} has not the aspect of its pictures of {here}")
        return _Resized(self, height, width)

    def build(self) -> None:
        """Make the textures and their smaller levels; ``ValueError`` for wrong shapes."""
        self._levels = {kind: _levels(kind, texels) for kind, texels in self.textures().items()}
        backdrops = np.asarray(self.backdrops(), dtype=np.float32)
        if backdrops.ndim != 4 or backdrops.shape[1:] != (self.height, self.width, 3):
            raise ValueError(f"backdrops of shape {backdrops.shape} are not (n, {self.height}, {self.width}, 3)")
        # A plane for each colour: numpy is several times slower where the last axis is as short as three.
        self._backdrops = np.ascontiguousarray(np.moveaxis(backdrops, 3, 1))

    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        """The image; there is no randomness in it, and ``effort`` changes nothing."""
        return self.draw_many([scene], [seed], effort)[0]

    def draw_many(
        self, scenes: Sequence[SceneGraph], seeds: Sequence[int], effort: float = 1.0
    ) -> list[NDArray[np.float32]]:
        """Images of several scenes."""
        planes, _ = self._compose(scenes, [self.sprites(scene) for scene in scenes])
        return list(_interleaved(planes))

    def annotate(self, scene: SceneGraph) -> Mapping[str, NDArray[np.generic]]:
        """Mask, boxes and labels of a scene."""
        return self.render_many([scene], [0])[0].annotations

    def instances(self, scene: SceneGraph) -> NDArray[np.uint16]:
        """See :meth:`Renderer.instances`: sprites that have a class in the mask, from back to front."""
        found = np.zeros((self.height, self.width), dtype=np.uint16)
        own = [sprite for sprite in self.sprites(scene) if sprite.mask_class is not None]
        for number, layer in enumerate(self._sample(own), start=1):
            if layer is not None:
                height, width = layer.alpha.shape
                part = found[layer.top : layer.top + height, layer.left : layer.left + width]
                part[layer.opaque] = number
        return found

    def render(self, scene: SceneGraph, seed: int) -> Frame:
        """Image and annotations from one pass."""
        return self.render_many([scene], [seed])[0]

    def render_many(self, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> list[Frame]:
        """Images and annotations of several scenes, from one pass."""
        frames: list[Frame] = []
        for start in range(0, len(scenes), AT_ONCE):
            frames += self._render_some(scenes[start : start + AT_ONCE])
        return frames

    def _render_some(self, scenes: Sequence[SceneGraph]) -> list[Frame]:
        sprites = [self.sprites(scene) for scene in scenes]
        planes, masks = self._compose(scenes, sprites)
        rounded = _interleaved(eight_bits(np.clip(planes, 0.0, 1.0, out=planes)))
        frames, boxes = [], self.annotations.get("boxes")
        for scene, image, mask, own in zip(scenes, rounded, masks, sprites, strict=True):
            annotations: dict[str, NDArray[np.generic]] = {"mask": mask, **self.labels(scene)}
            if isinstance(boxes, Boxes):
                annotations["boxes"] = self._boxes(own, boxes.most)
            frames.append(Frame(image, annotations))
        return frames

    def _compose(
        self, scenes: Sequence[SceneGraph], sprites: Sequence[Sequence[Sprite]]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Images as planes (n, 3, H, W), and masks (n, H, W)."""
        planes = self._backdrops[[self.backdrop(scene) for scene in scenes]]
        masks = np.zeros((len(planes), self.height, self.width), dtype=np.uint8)
        flat = [sprite for own in sprites for sprite in own]
        placed = iter(self._sample(flat))
        for image, mask, own in zip(planes, masks, sprites, strict=True):
            for sprite in own:
                layer = next(placed)
                if layer is None:
                    continue
                height, width = layer.alpha.shape
                rows, columns = slice(layer.top, layer.top + height), slice(layer.left, layer.left + width)
                part = image[:, rows, columns]
                part *= 1.0 - layer.alpha
                part += layer.colour
                if sprite.mask_class is not None:
                    mask[rows, columns][layer.opaque] = sprite.mask_class
        return planes, masks

    def _sample(self, sprites: Sequence[Sprite]) -> list[_Placed | None]:
        """Each sprite in its window; None where the sprite is outside the picture."""
        result: list[_Placed | None] = [None] * len(sprites)
        groups: dict[tuple[str, int, int, int], list[int]] = {}
        for i, sprite in enumerate(sprites):
            half_width, half_height = _half_extent(sprite)
            inside_x = -half_width < sprite.x < self.width + half_width
            inside_y = -half_height < sprite.y < self.height + half_height
            if not (inside_x and inside_y):
                continue
            # Windows of a few sizes only, so that many sprites share one; none is larger than the picture.
            height = min(self.height, _rounded_up(2 * half_height + 2))
            width = min(self.width, _rounded_up(2 * half_width + 2))
            groups.setdefault((sprite.kind, self._level(sprite), height, width), []).append(i)
        for (kind, level, height, width), members in groups.items():
            step = max(1, BLOCK // (height * width))
            for start in range(0, len(members), step):
                block = members[start : start + step]
                chosen = [sprites[i] for i in block]
                layers = self._windows(self._levels[kind][level], chosen, height, width)
                for i, layer in zip(block, layers, strict=True):
                    result[i] = layer
        return result

    def _windows(self, texels: NDArray[np.uint8], sprites: Sequence[Sprite], height: int, width: int) -> list[_Placed]:
        """Sprites of one set of textures (at one level), each sampled in a window of ``height`` × ``width`` pixels that
        lies in the picture.
        """
        x, y, wide, high, angle = np.array([(s.x, s.y, s.width, s.height, s.angle) for s in sprites]).T
        left = np.clip(np.floor(x - width / 2).astype(np.int64), 0, self.width - width)
        top = np.clip(np.floor(y - height / 2).astype(np.int64), 0, self.height - height)
        # Offsets of pixel centres from the sprite's centre; for a pixel they are the same in every window.
        along = (left[:, None] + np.arange(width) + 0.5 - x[:, None]).astype(np.float32)[:, None, :]
        down = (top[:, None] + np.arange(height) + 0.5 - y[:, None]).astype(np.float32)[:, :, None]
        cosine, sine = (f(angle).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
        u, v = along * cosine - down * sine, along * sine + down * cosine
        wide, high = (value.astype(np.float32)[:, None, None] for value in (wide, high))
        inside_u, inside_v = 0.5 * wide - np.abs(u), 0.5 * high - np.abs(v)
        covered = np.clip(inside_u + np.float32(0.5), 0, 1) * np.clip(inside_v + np.float32(0.5), 0, 1)
        rows, columns = texels.shape[1:3]
        sampled = _bilinear(
            texels,
            np.array([s.texture for s in sprites], dtype=np.int64),
            (u / wide + np.float32(0.5)) * np.float32(columns) - np.float32(0.5),
            (v / high + np.float32(0.5)) * np.float32(rows) - np.float32(0.5),
        )
        opacity = sampled[-1]
        opaque = (inside_u >= 0) & (inside_v >= 0) & (opacity >= 0.5)
        alpha = opacity * covered
        tint = np.array([s.colour for s in sprites], dtype=np.float32)[:, :, None, None]
        white = len(sampled) == 1
        colour = alpha[:, None] * tint if white else np.moveaxis(sampled[:3], 0, 1) * (covered[:, None] * tint)
        return [
            _Placed(int(left[i]), int(top[i]), colour[i], alpha[i], opaque[i])  # views of the block
            for i in range(len(sprites))
        ]

    def _level(self, sprite: Sprite) -> int:
        """The level of a sprite's texture whose texels are nearest to a pixel in size."""
        levels = self._levels[sprite.kind]
        height, width = levels[0].shape[1:3]
        texels_in_a_pixel = max(width / sprite.width, height / sprite.height)
        return min(max(0, round(math.log2(texels_in_a_pixel))), len(levels) - 1)

    def _boxes(self, sprites: Sequence[Sprite], most: int) -> NDArray[np.float32]:
        rows = []
        for sprite in sprites:
            half_width, half_height = _half_extent(sprite)
            left, right = max(0.0, sprite.x - half_width), min(float(self.width), sprite.x + half_width)
            top, bottom = max(0.0, sprite.y - half_height), min(float(self.height), sprite.y + half_height)
            if sprite.box is not None and left < right and top < bottom:
                rows.append((left, top, right, bottom, sprite.box))
        if len(rows) > most:
            raise ValueError(f"{len(rows)} sprites have boxes, but there is room for {most}")
        boxes = np.full((most, 5), UNUSED, dtype=np.float32)
        boxes[: len(rows)] = np.array(rows, dtype=np.float32).reshape(-1, 5)
        return boxes


def _interleaved(planes: NDArray[_Number]) -> NDArray[_Number]:
    """Planes (n, 3, H, W) as images (n, H, W, 3), contiguous."""
    images = np.empty((len(planes), *planes.shape[2:], planes.shape[1]), dtype=planes.dtype)
    for channel in range(planes.shape[1]):
        images[..., channel] = planes[:, channel]
    return images


class _Resized(SpriteRenderer):
    """The scenes of another renderer in pictures of another size and the same aspect."""

    def __init__(self, base: SpriteRenderer, height: int, width: int) -> None:
        super().__init__(base.schema, height, width)
        self.base, self.scale, self.annotations = base, width / base.width, base.annotations

    def textures(self) -> Mapping[str, NDArray[np.uint8]]:
        """Those of the other renderer, of which a finer level is used where there is one."""
        return self.base.textures()

    def backdrops(self) -> NDArray[np.float32]:
        """Those of the other renderer, resampled."""
        from PIL import Image

        size = (self.width, self.height)
        planes = np.moveaxis(np.asarray(self.base.backdrops(), dtype=np.float32), 3, 1)
        resampled = [
            [np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC)) for plane in each]
            for each in planes
        ]
        return np.moveaxis(np.clip(np.array(resampled), 0.0, 1.0), 1, 3)

    def backdrop(self, scene: SceneGraph) -> int:
        """That of the other renderer."""
        return self.base.backdrop(scene)

    def sprites(self, scene: SceneGraph) -> Sequence[Sprite]:
        """Those of the other renderer, with places and sizes in new pixels."""
        times = self.scale
        return [
            replace(s, x=s.x * times, y=s.y * times, width=s.width * times, height=s.height * times)
            for s in self.base.sprites(scene)
        ]

    def labels(self, scene: SceneGraph) -> Mapping[str, NDArray[np.generic]]:
        """Those of the other renderer."""
        return self.base.labels(scene)


def _levels(kind: str, texels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Textures with colour multiplied by opacity, then halved again and again; each level is C-contiguous."""
    fits = texels.dtype == np.uint8 and texels.ndim in (3, 4) and min(texels.shape[1:3]) >= 2
    if not fits or (texels.ndim == 4 and texels.shape[3] != 4):
        raise ValueError(
            f"textures {kind!r}: {texels.dtype} {texels.shape} is neither uint8 (n, h, w) nor (n, h, w, 4), "
            "with h and w at least 2"
        )
    level = texels
    if texels.ndim == 4:
        level = texels.copy()
        level[..., :3] = np.rint(texels[..., :3] * (texels[..., 3:] / np.float32(255)))
    levels = [np.ascontiguousarray(level)]
    while min(levels[-1].shape[1:3]) >= 4:
        fine = levels[-1]
        height, width = (2 * (size // 2) for size in fine.shape[1:3])
        even = fine[:, :height, :width].astype(np.uint16)
        quads = even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]
        levels.append(np.ascontiguousarray(((quads + 2) // 4).astype(np.uint8)))
    return levels


def _half_extent(sprite: Sprite) -> tuple[float, float]:
    """Half the width and half the height of a sprite's upright bounding box."""
    cosine, sine = abs(math.cos(sprite.angle)), abs(math.sin(sprite.angle))
    return (
        0.5 * (sprite.width * cosine + sprite.height * sine),
        0.5 * (sprite.width * sine + sprite.height * cosine),
    )


def _rounded_up(size: float) -> int:
    """The next multiple of 4, of 16 from 64 on."""
    unit = 4 if size <= 64 else 16
    return unit * math.ceil(size / unit)


def _bilinear(
    texels: NDArray[np.uint8], index: NDArray[np.int64], s: NDArray[np.float32], t: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Texture ``index[i]`` at columns ``s`` and rows ``t`` (n, h, w): planes (1 or 4, n, h, w) in [0, 1]; edges are
    extended.
    """
    rows, columns = texels.shape[1:3]
    s, t = np.clip(s, 0, columns - 1), np.clip(t, 0, rows - 1)
    column, row = np.minimum(s.astype(np.int64), columns - 2), np.minimum(t.astype(np.int64), rows - 2)
    base = index[:, None, None] * (rows * columns) + row * columns + column
    # The four bytes of a colour are fetched as one number.
    packed = texels.reshape(-1) if texels.ndim == 3 else texels.reshape(-1, 4).view(np.uint32)[:, 0]

    def at(offset: int) -> NDArray[np.float32]:
        found = packed.take(base + offset)[..., None].view(np.uint8)
        return np.moveaxis(found, -1, 0).astype(np.float32, order="C")

    ds, dt = s - column.astype(np.float32), t - row.astype(np.float32)
    upper, lower = at(0), at(columns)
    upper += (at(1) - upper) * ds
    lower += (at(columns + 1) - lower) * ds
    upper += (lower - upper) * dt
    upper *= np.float32(1 / 255)
    return upper
