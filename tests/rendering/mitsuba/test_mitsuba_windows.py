"""Mitsuba's pictures of any shape, and windows of them: what they show, and that projections hold what is seen."""

from __future__ import annotations

import numpy as np
import pytest

from autosim.rendering.differences import GradientSettings, Stencil
from autosim.rendering.losses import Cotangent, difference_window, stencil_losses
from autosim.rendering.mitsuba.pixels import enlarge, enlarge_window, source_window
from autosim.rendering.mitsuba.sensors import film_shape
from autosim.rendering.mitsuba.silhouettes import box_corners, ground_shadow
from autosim.rendering.windows import Window
from benchmarks.windows import BoxesRenderer, boxes_scene, cosine, smooth_cotangent
from tests.rendering.mitsuba.test_mitsuba import FIELD_OF_VIEW, ORIGIN, SOLIDS, SilhouetteRenderer, solid


@pytest.fixture(scope="module")
def boxes() -> BoxesRenderer:
    renderer = BoxesRenderer(19, 62, boxes=2, samples=8)
    renderer.build()
    return renderer


def test_a_film_has_the_picture_s_aspect() -> None:
    assert film_shape(620, 188, 620) == (188, 620)
    assert film_shape(62, 188, 620) == (19, 62)
    assert film_shape(64, 128, 128) == (64, 64)
    assert film_shape(100, 200, 50) == (100, 25)
    assert film_shape(1, 10, 1000) == (1, 1)


@pytest.mark.parametrize(("height", "width"), [(188, 620), (19, 62), (62, 19)])
def test_a_picture_of_any_shape_is_not_stretched(height: int, width: int) -> None:
    """A sphere's mask is as high as it is wide, whatever the picture's shape, and agrees with the image."""

    class Wide(SilhouetteRenderer):
        field_of_view = 100.0 if width > height else FIELD_OF_VIEW

    renderer = Wide(32, sizes=(max(height, width), 32), samples=2)
    renderer.height, renderer.width = height, width
    renderer.build()
    scene = solid("sphere", size=max(height, width))
    mask = renderer.annotate(scene)["mask"] == 1
    image = renderer.draw(scene, 1)
    assert mask.shape == image.shape[:2] == (height, width)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert len(rows) == pytest.approx(len(columns), abs=2) and len(columns) > 4
    assert np.abs(image[..., 0] - ~mask).mean() < 0.02 < mask.mean()
    small = renderer.draw(solid("sphere", size=32), 1)
    centres = [np.argwhere(found < 0.6).mean(axis=0) for found in (image[..., 0], small[..., 0])]
    assert np.abs(centres[0] - centres[1]).max() < max(height, width) / 32
    assert renderer.cost(scene, 0.5) == height * width


@pytest.mark.parametrize(("film", "picture"), [((10, 32), (19, 62)), ((19, 62), (19, 62)), ((8, 8), (12, 12))])
def test_a_window_is_enlarged_as_the_whole_is(film: tuple[int, int], picture: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random((*film, 3), dtype=np.float32)
    whole = enlarge(image, *picture)
    for window in (Window(0, 0, 3, 4), Window(4, 5, 7, 2), Window(0, 0, *picture), Window(11, 11, 1, 1)):
        source = source_window(film, picture, window)
        part = enlarge_window(image[source.slices], film, picture, window)
        np.testing.assert_array_equal(part, whole[window.slices])


def test_a_window_shows_that_part_of_the_picture_and_leaves_the_whole_as_it_was(boxes: BoxesRenderer) -> None:
    scene = boxes_scene(2)
    whole = boxes.draw(scene, 1)
    for window in (Window(3, 10, 9, 20), Window(0, 50, 19, 12)):
        part = boxes.draw_window(scene, 1, 1.0, window)
        assert part.shape == (window.height, window.width, 3)
        assert np.abs(part - whole[window.slices]).mean() < 0.01
        assert np.abs(part - whole[window.slices]).mean() < np.abs(part - whole[:, ::-1][window.slices]).mean()
        np.testing.assert_array_equal(boxes.draw_window(scene, 1, 1.0, window), part)
        assert boxes.cost(scene, 0.5, window) == 4 * window.height * window.width
    np.testing.assert_array_equal(boxes.draw(scene, 1), whole)


def test_points_are_seen_where_the_camera_s_rays_meet_them(boxes: BoxesRenderer) -> None:
    silhouettes = SilhouetteRenderer(32)
    silhouettes.build()
    scene = solid("cube", 0.7, -0.4)
    corners = box_corners((0.7, -0.4, 0.0), (1.1, 1.1, 1.1))
    window = silhouettes.view.window(corners, margin=0)
    mask = np.asarray(silhouettes.annotate(scene)["mask"]) == 1 + SOLIDS.index("cube")
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert window is not None
    found = [window.top, window.bottom - 1, window.left, window.right - 1]
    assert np.abs(np.array(found) - [rows[0], rows[-1], columns[0], columns[-1]]).max() <= 1
    behind = box_corners((2 * ORIGIN).tolist(), (1, 1, 1))
    assert silhouettes.view.window(behind) is None


def test_shadows_fall_away_from_the_light() -> None:
    points = np.array([[0.0, 0.0, 2.0], [1.0, 1.0, 0.0]])
    near = ground_shadow(points, (-2.0, 0.0, 4.0))
    assert near is not None
    np.testing.assert_allclose(near, [[2.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    far = ground_shadow(points, (1.0, 0.0, -1.0), distant=True)
    assert far is not None
    np.testing.assert_allclose(far, [[2.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    assert ground_shadow(points, (0.0, 0.0, 1.0)) is None
    assert ground_shadow(points, (1.0, 0.0, 0.0), distant=True) is None


def test_outside_its_window_a_moved_box_alters_next_to_nothing(boxes: BoxesRenderer) -> None:
    scene = boxes_scene(2)
    stencil = Stencil(boxes.schema, scene, 5, GradientSettings(step=4.0))
    for number in (0, 4, 6):
        window = difference_window(boxes, stencil, number)
        assert window is not None and 0 < window.share(19, 62) < 0.5
        change = np.abs(boxes.draw(stencil.scene(number), 5) - boxes.draw(stencil.scene(number + 1), 5)).sum(axis=2)
        inside = change[window.slices].sum()
        assert inside > 0.95 * change.sum()


def test_gradients_in_windows_point_the_same_way_for_less(boxes: BoxesRenderer) -> None:
    scene, cotangent = boxes_scene(2), smooth_cotangent(19, 62)[0]
    found, cost = {}, {}
    for windows in (True, False):
        gradients, cost[windows] = [], 0.0
        for seed in range(3):
            stencil = Stencil(boxes.schema, scene, seed, GradientSettings(step=4.0, windows=windows))
            losses, used = stencil_losses(boxes, stencil, 0, len(stencil), Cotangent(cotangent))
            gradients.append(stencil.gradient(np.array(losses)))
            cost[windows] += used.cost
        found[windows] = np.mean(gradients, axis=0)
    assert cosine(found[True], found[False]) > 0.97
    assert cost[True] < cost[False] / 3
