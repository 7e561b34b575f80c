"""Renderers that implement ``render`` alone: frames, differences and errors are those of any other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from autosim.errors import RendererError
from autosim.rendering.differences import GradientSettings
from autosim.rendering.frames import Frame
from autosim.rendering.pool import LocalPool
from autosim.rendering.renderer import Renderer
from autosim.scenes.graph import SceneGraph
from autosim.testing import RendererSuite
from tests.rendering.discs import DISC_FAULTS, DISC_SCENES, DiscRenderer
from tests.support.helpers import BLOB_SCHEMA, BlobRenderer, blob_scenes


class TestDiscs(RendererSuite):
    def renderer(self) -> Renderer:
        return DiscRenderer()

    def scenes(self) -> Sequence[SceneGraph]:
        return DISC_SCENES


class WholeBlobs(Renderer):
    """Frames of :class:`BlobRenderer`, as another process would give them."""

    schema = BLOB_SCHEMA

    def __init__(self) -> None:
        self.inner = BlobRenderer()
        self.height, self.width, self.annotations = self.inner.height, self.inner.width, self.inner.annotations
        self.calls: list[int] = []

    def build(self) -> None:
        self.inner.build()

    def render(self, scene: SceneGraph, seed: int) -> Frame:
        return self.inner.render(scene, seed)

    def render_many(self, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> Sequence[Frame]:
        self.calls.append(len(scenes))
        return super().render_many(scenes, seeds)


def test_frames_and_gradients_are_those_of_the_renderer_behind() -> None:
    scenes = blob_scenes(3)
    seeds = [0, 1, 2]
    cotangents = np.random.default_rng(0).normal(size=(3, 16, 16, 3)).astype(np.float32)
    # Steps four times as wide: what 8 bits leave out of an image is little beside what they change in it.
    how = GradientSettings(step=4.0)
    with LocalPool(WholeBlobs()) as whole, LocalPool(BlobRenderer()) as parts:
        found, expected = whole.render(scenes, seeds), parts.render(scenes, seeds)
        np.testing.assert_array_equal(found.images, expected.images)
        assert set(found.annotations) == set(expected.annotations)
        for name, values in expected.annotations.items():
            np.testing.assert_array_equal(found.annotations[name], values)
        ours, theirs = (np.concatenate(pool.vjp(scenes, seeds, cotangents, how)) for pool in (whole, parts))
    assert ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.99
    assert np.linalg.norm(ours) == pytest.approx(np.linalg.norm(theirs), rel=0.05)


def test_images_of_several_scenes_are_rendered_together() -> None:
    renderer, scenes = WholeBlobs(), blob_scenes(3)
    renderer.build()
    images = renderer.draw_many(scenes, [0, 1, 2])
    assert renderer.calls == [3]
    for image, scene, seed in zip(images, scenes, [0, 1, 2], strict=True):
        np.testing.assert_array_equal(image, renderer.draw(scene, seed))


@pytest.mark.parametrize("fault", DISC_FAULTS)
def test_a_frame_that_breaks_the_declaration_is_named_with_the_scene(fault: str) -> None:
    with LocalPool(DiscRenderer(fault)) as pool, pytest.raises(RendererError) as caught:
        pool.render(DISC_SCENES, [0, 1, 2])
    assert str(caught.value) == f"DiscRenderer: scene 0: {DISC_FAULTS[fault]}"
    assert caught.value.scene == DISC_SCENES[0].to_json()


def test_a_declaration_that_changes_when_it_is_built_does_not_count() -> None:
    class Late(DiscRenderer):
        def build(self) -> None:
            self.annotations = {}

    with LocalPool(Late()) as pool:
        assert set(pool.render(DISC_SCENES, [0, 1, 2]).annotations) == set(DiscRenderer.annotations)


def test_an_image_of_another_kind_is_named_in_gradients_too() -> None:
    class Floats(WholeBlobs):
        def render(self, scene: SceneGraph, seed: int) -> Frame:
            frame = super().render(scene, seed)
            return Frame(frame.image / 255, frame.annotations)  # type: ignore[arg-type]

    message = r"image is float64 \(16, 16, 3\) instead of uint8 \(16, 16, 3\)$"
    with LocalPool(Floats()) as pool:
        with pytest.raises(RendererError, match=rf"^Floats: scene 0: {message}"):
            pool.render(blob_scenes(1), [0])
        with pytest.raises(RendererError, match=rf"^Floats: gradient of scene 0: {message}"):
            pool.vjp(blob_scenes(1), [0], np.ones((1, 16, 16, 3), np.float32), GradientSettings())


def test_one_that_neither_draws_nor_renders_cannot_be_made() -> None:
    class Idle(Renderer):
        schema, height, width = BLOB_SCHEMA, 16, 16

        def build(self) -> None:
            pass

    with pytest.raises(TypeError, match=r"^Idle implements neither draw nor render"):
        Idle()


def test_one_that_renders_by_what_it_does_not_draw_is_told_so() -> None:
    class Circular(WholeBlobs):
        def render(self, scene: SceneGraph, seed: int) -> Frame:
            return Renderer.render(self, scene, seed)

    with LocalPool(Circular()) as pool, pytest.raises(RendererError, match=r"^Circular: scene 0: .* needs draw"):
        pool.render(blob_scenes(1), [0])
