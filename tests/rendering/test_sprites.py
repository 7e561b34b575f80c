"""Sprites: exact where the answer is known, smooth where a renderer has to be, the same for any chunk."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from autosim.errors import RendererError
from autosim.rendering.annotations import Boxes, ClassMask, check_frame
from autosim.rendering.instances import InstanceRenderer
from autosim.rendering.renderer import Renderer
from autosim.rendering.sprites import Sprite, SpriteRenderer
from autosim.scenes.graph import Continuous, Node, NodeClass, SceneGraph, Schema
from autosim.testing import RendererSuite

EDGE = 32
PATCHES = ("first", "second", "third", "fourth")
PLACE = (Continuous("x", 0, EDGE, step=0.5), Continuous("y", 0, EDGE, step=0.5))
SIZE = (Continuous("width", 1, 20, step=0.5), Continuous("height", 1, 20, step=0.5))
SCHEMA = Schema((NodeClass("patch", (*PLACE, *SIZE, Continuous("yaw", 0, 360, periodic=True, step=4.0))),))


def textures() -> dict[str, NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    painted = np.rint(255 * rng.random((3, 12, 20, 4))).astype(np.uint8)
    painted[..., 3] = 255
    return {"full": np.full((1, 4, 4), 255, np.uint8), "painted": painted}


@dataclass
class Patches(SpriteRenderer):
    """A full patch for each node, class 1, 2, … from the hindmost; every third is painted."""

    colours: Sequence[tuple[float, float, float]] = ((1.0, 1.0, 1.0), (1.0, 0.0, 0.0))
    kinds: Sequence[str] = ("full", "full", "painted")
    room: int = 4
    extra: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(SCHEMA, EDGE, EDGE)
        self.annotations = {"mask": ClassMask(("ground", *PATCHES)), "boxes": Boxes(PATCHES, self.room)}

    def textures(self) -> Mapping[str, NDArray[np.uint8]]:
        return textures()

    def sprites(self, scene: SceneGraph) -> Sequence[Sprite]:
        return [
            Sprite(
                self.kinds[i % len(self.kinds)],
                0,
                float(node["x"]),
                float(node["y"]),
                float(node["width"]),
                float(node["height"]),
                math.radians(float(node["yaw"])),
                self.colours[i % len(self.colours)],
                mask_class=i + 1,
                box=i,
            )
            for i, node in enumerate(scene.find("patch"))
        ]


def scene(*patches: tuple[float, float, float, float, float]) -> SceneGraph:
    names = ("x", "y", "width", "height", "yaw")
    nodes = tuple(Node("patch", dict(zip(names, patch, strict=True))) for patch in patches)
    return SceneGraph(nodes, (-1,) * len(nodes))


def built(renderer: Patches | None = None) -> Patches:
    renderer = renderer or Patches()
    renderer.build()
    return renderer


class TestSprites(RendererSuite):
    def renderer(self) -> Renderer:
        return Patches()

    def scenes(self) -> Sequence[SceneGraph]:
        return [
            scene((16, 16, 10, 6, 20)),
            scene((8, 8, 8, 8, 0), (12, 10, 10, 4, 75)),
            scene((5, 20, 12, 7, 10), (20, 20, 9, 3, 300), (16, 16, 14, 8, 45)),
        ]


def test_an_upright_patch_on_whole_pixels_is_exact() -> None:
    frame = built().render(scene((16, 12, 8, 4, 0)), 0)
    expected = np.zeros((EDGE, EDGE), np.uint8)
    expected[10:14, 12:20] = 1
    assert np.array_equal(frame.annotations["mask"], expected)
    assert np.array_equal(frame.image, np.repeat(255 * expected[..., None], 3, axis=2))
    assert np.array_equal(frame.annotations["boxes"][0], np.array([12, 10, 20, 14, 0], np.float32))
    assert (frame.annotations["boxes"][1:] == -1).all()


def test_objects_are_told_apart_by_the_sprite_on_top() -> None:
    two = scene((10, 10, 8, 8, 0), (14, 10, 8, 8, 0))
    renderer = InstanceRenderer(Patches())
    renderer.build()
    frame = check_frame(renderer.annotations, renderer.render(two, 0), EDGE, EDGE)
    assert np.array_equal(frame.annotations["instances"], frame.annotations["mask"])
    assert np.array_equal(frame.image, built().render(two, 0).image)
    assert np.unique(frame.annotations["instances"]).tolist() == [0, 1, 2]


@given(x=st.floats(10, 22), y=st.floats(10, 22), width=st.floats(2, 10), height=st.floats(2, 10), yaw=st.floats(0, 359))
@settings(max_examples=60)
def test_the_light_of_a_patch_is_its_area(x: float, y: float, width: float, height: float, yaw: float) -> None:
    patch = built()
    shifts = [(x + i / 4, y + j / 4) for i in range(4) for j in range(4)]
    light = np.array([patch.draw(scene((*place, width, height, yaw)), 0)[..., 0].sum() for place in shifts])
    # One raster sums a turned edge at too few points; over the shifts within a pixel that evens out.
    assert abs(light - width * height).max() < 0.8 + 0.03 * width * height
    assert float(light.mean()) == pytest.approx(width * height, rel=0.01, abs=0.1)


@given(
    x=st.floats(0, EDGE), y=st.floats(0, EDGE), width=st.floats(3, 14), height=st.floats(3, 14), yaw=st.floats(0, 359)
)
@settings(max_examples=60)
def test_the_mask_holds_the_pixels_whose_centres_are_within(
    x: float, y: float, width: float, height: float, yaw: float
) -> None:
    frame = built().render(scene((x, y, width, height, yaw)), 0)
    rows, columns = np.mgrid[:EDGE, :EDGE] + 0.5
    angle = math.radians(yaw)
    u = (columns - x) * math.cos(angle) - (rows - y) * math.sin(angle)
    v = (columns - x) * math.sin(angle) + (rows - y) * math.cos(angle)
    inside = np.minimum(width / 2 - np.abs(u), height / 2 - np.abs(v))
    mask = frame.annotations["mask"]
    assert (mask[inside > 1e-3] == 1).all() and (mask[inside < -1e-3] == 0).all()
    left, top, right, bottom = frame.annotations["boxes"][0][:4]
    found_rows, found_columns = np.nonzero(mask)
    if len(found_rows):
        assert left - 1e-3 <= found_columns.min() + 0.5 and found_columns.max() + 0.5 <= right + 1e-3
        assert top - 1e-3 <= found_rows.min() + 0.5 and found_rows.max() + 0.5 <= bottom + 1e-3


def test_a_turn_is_counter_clockwise() -> None:
    """A wide patch at 45° rises to the right."""
    image = built().draw(scene((16, 16, 20, 2, 45)), 0)[..., 0]
    assert image[10, 21] > 0.5 and image[21, 21] == 0


def test_later_sprites_lie_over_earlier_ones() -> None:
    frame = built().render(scene((16, 16, 12, 12, 0), (16, 16, 4, 4, 0)), 0)
    assert np.array_equal(frame.image[16, 16], [255, 0, 0])
    assert np.array_equal(frame.image[11, 11], [255, 255, 255])
    assert frame.annotations["mask"][16, 16] == 2 and frame.annotations["mask"][11, 11] == 1


def test_half_a_pixel_is_half_as_bright() -> None:
    image = built().draw(scene((16.5, 16, 8, 4, 0)), 0)
    assert image[16, 12, 0] == pytest.approx(0.5, abs=1e-5)
    assert image[16, 20, 0] == pytest.approx(0.5, abs=1e-5)


def test_what_is_out_of_the_picture_leaves_it_black() -> None:
    far = SceneGraph((Node("patch", {"x": 0.0, "y": 0.0, "width": 4.0, "height": 4.0, "yaw": 0.0}),), (-1,))
    moved = SceneGraph((Node("patch", {**far.nodes[0].attributes, "x": -20.0}),), (-1,))
    frame = built().render(moved, 0)
    assert not frame.image.any() and not frame.annotations["mask"].any()
    assert (frame.annotations["boxes"] == -1).all()


@given(
    patches=st.lists(
        st.tuples(st.floats(0, 32), st.floats(0, 32), st.floats(1, 20), st.floats(1, 20), st.floats(0, 359)),
        max_size=4,
    ),
    others=st.integers(0, 5),
)
@settings(max_examples=40)
def test_a_frame_does_not_depend_on_its_chunk(
    patches: list[tuple[float, float, float, float, float]], others: int
) -> None:
    renderer, here = built(), scene(*patches)
    company = [scene((4.0 * i, 9, 3 + 2 * i, 5, 33 * i)) for i in range(others)]
    alone = renderer.render(here, 0)
    together = renderer.render_many([*company, here, *company], [0] * (2 * others + 1))[others]
    assert np.array_equal(alone.image, together.image)
    assert all(np.array_equal(alone.annotations[name], together.annotations[name]) for name in alone.annotations)
    drawn = renderer.draw_many([*company, here], [0] * (others + 1))[others]
    assert np.array_equal(renderer.draw(here, 0), drawn)


def test_a_small_sprite_has_the_mean_colour_of_its_texture() -> None:
    """Twelve texels to a pixel: sampling a few of them would give any colour."""
    renderer = built(Patches(kinds=("painted",), colours=((1.0, 1.0, 1.0),)))
    image = renderer.draw(scene((16, 16, 10, 6, 0)), 0)
    mean = textures()["painted"][0, ..., :3].mean(axis=(0, 1)) / 255
    assert np.allclose(image[13:19, 11:21].mean(axis=(0, 1)), mean, atol=0.04)


def test_the_image_moves_smoothly_with_the_sprite() -> None:
    """A step ten times as short changes the image a tenth as much: no snapping to pixels or to fractions of them."""
    renderer, where = built(Patches(kinds=("painted",))), (16.2, 15.7, 12.3, 9.1, 33.0)

    def change(step: float) -> float:
        moved = (where[0] + step, *where[1:])
        return float(np.abs(renderer.draw(scene(moved), 0) - renderer.draw(scene(where), 0)).sum())

    assert change(0.01) / change(0.001) == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize(
    "texels", [np.zeros((2, 4, 4), np.float32), np.zeros((4, 4), np.uint8), np.zeros((2, 1, 4), np.uint8)]
)
def test_textures_of_another_kind_are_refused(texels: NDArray[np.generic]) -> None:
    class Wrong(Patches):
        def textures(self) -> Mapping[str, NDArray[np.uint8]]:
            return {"full": texels.astype(texels.dtype)}

    with pytest.raises(ValueError, match="textures 'full'"):
        Wrong().build()


def test_more_boxes_than_there_is_room_for_are_refused() -> None:
    with pytest.raises(ValueError, match="2 sprites have boxes, but there is room for 1"):
        built(Patches(room=1)).render(scene((8, 8, 4, 4, 0), (20, 20, 4, 4, 0)), 0)


def test_larger_pictures_show_the_same_scene() -> None:
    values = {"x": 12.0, "y": 10.0, "width": 9.0, "height": 6.0, "yaw": 20.0}
    scene = SceneGraph((Node("patch", values, 0), Node("patch", {**values, "x": 20.0, "y": 22.0}, 1)), (-1, -1))
    small = Patches()
    large = small.resized(3 * EDGE, 3 * EDGE)
    small.build()
    large.build()
    first, second = small.render(scene, 0), large.render(scene, 0)
    check_frame(large.annotations, second, 3 * EDGE, 3 * EDGE)
    boxes = [np.asarray(frame.annotations["boxes"], dtype=np.float64) for frame in (first, second)]
    np.testing.assert_allclose(boxes[1][:2, :4], 3 * boxes[0][:2, :4], atol=1e-3)
    assert (boxes[1][:, 4] == boxes[0][:, 4]).all()
    averaged = second.image.reshape(EDGE, 3, EDGE, 3, 3).mean(axis=(1, 3))
    assert np.abs(averaged - first.image).mean() < 3
    middles = np.asarray(second.annotations["mask"])[1::3, 1::3]
    assert (middles == np.asarray(first.annotations["mask"])).mean() > 0.99
    told = large.instances(scene)
    assert told is not None and int(told.max()) == 2


@pytest.mark.parametrize(("size", "samples", "named"), [((64, 48), None, "48×64"), ((64, 64), 4, "samples")])
def test_pictures_keep_their_aspect_and_have_no_samples(size: tuple[int, int], samples: int | None, named: str) -> None:
    with pytest.raises(RendererError, match=named):
        Patches().resized(*size, samples)


def test_backdrops_grow_with_the_picture() -> None:
    class Grounded(Patches):
        def backdrops(self) -> NDArray[np.float32]:
            shade = np.linspace(0, 1, EDGE, dtype=np.float32)
            return np.broadcast_to(shade[None, None, :, None], (1, EDGE, EDGE, 3)).copy()

    large = Grounded().resized(2 * EDGE, 2 * EDGE)
    large.build()
    image = large.draw(SceneGraph((), ()), 0)
    np.testing.assert_allclose(image[0, :, 0], np.linspace(0, 1, 2 * EDGE), atol=0.03)
