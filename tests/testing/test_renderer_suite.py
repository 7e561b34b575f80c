"""The renderer suite finds what it is there to find."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from autosim.rendering.frames import Frame
from autosim.rendering.renderer import Renderer
from autosim.scenes.graph import Node, SceneGraph
from autosim.testing import RendererSuite
from tests.rendering.adjoint_blobs import AdjointBlobRenderer
from tests.rendering.discs import DISC_FAULTS, DISC_SCENES, DiscRenderer
from tests.support.helpers import BlobRenderer, blob_scene, blob_scenes
from tests.testing.failing import failures

pytestmark = pytest.mark.usefixtures("one_thread")


class TestBlobRenderer(RendererSuite):
    def renderer(self) -> Renderer:
        return BlobRenderer()

    def scenes(self) -> Sequence[SceneGraph]:
        return blob_scenes(4)


class TestAdjointBlobRenderer(RendererSuite):
    def renderer(self) -> Renderer:
        return AdjointBlobRenderer()

    def scenes(self) -> Sequence[SceneGraph]:
        return blob_scenes(4)


class HiddenState(BlobRenderer):
    """The light of the scene before still glows."""

    glow = 0.0

    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        image = np.clip(super().draw(scene, seed, effort) + self.glow, 0, 1).astype(np.float32)
        self.glow = 0.1 * float(image.mean())
        return image


class StaleAnnotations(BlobRenderer):
    """Annotates what was drawn last."""

    last: SceneGraph | None = None

    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        self.last = scene
        return super().draw(scene, seed, effort)

    def annotate(self, scene: SceneGraph) -> Mapping[str, NDArray[np.generic]]:
        return super().annotate(self.last or scene)


class GlobalNoise(BlobRenderer):
    """Draws noise that the seed does not fix."""

    def pattern(self, seed: int) -> NDArray[np.float64]:
        return 1 - self.texture * np.random.random((self.height, self.width))


class OneBuffer(BlobRenderer):
    """Gives the same array every time."""

    def build(self) -> None:
        super().build()
        self.buffer = np.zeros((self.height, self.width, 3), dtype=np.float32)

    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        self.buffer[:] = super().draw(scene, seed, effort)
        return self.buffer


class Tidy(BlobRenderer):
    """Puts the scene it was given in order."""

    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        image = super().draw(scene, seed, effort)
        for node in scene.nodes:
            if "x" in node.attributes:
                node.attributes["x"] = 0.0  # type: ignore[index]
        return image


class Colourless(BlobRenderer):
    """Pays no heed to the hue."""

    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        nodes = [
            Node(node.node_class, {**node.attributes, "hue": 0.0}, node.slot) if node.node_class == "blob" else node
            for node in scene.nodes
        ]
        return super().draw(SceneGraph(tuple(nodes), scene.parents), seed, effort)


class Undeclared(BlobRenderer):
    """Gives more than it declares."""

    def annotate(self, scene: SceneGraph) -> Mapping[str, NDArray[np.generic]]:
        return {**super().annotate(scene), "boxes": np.zeros((len(scene.nodes) - 1, 4))}


class OtherTruth(BlobRenderer):
    """Its frames have another mask than it gives when it is asked for that alone."""

    def render(self, scene: SceneGraph, seed: int) -> Frame:
        frame = super().render(scene, seed)
        return Frame(frame.image, {**frame.annotations, "mask": np.zeros((self.height, self.width), dtype=np.uint8)})


class Mixed(BlobRenderer):
    """Frames of several scenes are all of the first seed."""

    def render_many(self, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> Sequence[Frame]:
        return super().render_many(scenes, [seeds[0]] * len(seeds))


class Unpicklable(BlobRenderer):
    def __init__(self) -> None:
        super().__init__()
        self.secret = lambda: None


class Bright(BlobRenderer):
    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        return 2 * super().draw(scene, seed, effort)


class OnceOnly(BlobRenderer):
    def close(self) -> None:
        self.build = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (HiddenState, "test_equal_arguments_give_equal_pixels_in_any_order"),
        (HiddenState, "test_a_perturbed_image_leaves_no_trace"),
        (StaleAnnotations, "test_annotations_are_those_of_the_scene_whatever_was_drawn_before"),
        (GlobalNoise, "test_equal_arguments_give_equal_pixels_in_any_order"),
        (OneBuffer, "test_an_image_is_not_written_over_by_the_next"),
        (Tidy, "test_drawing_leaves_the_scene_as_it_was"),
        (Colourless, "test_every_mutable_attribute_shows_in_a_picture"),
        (Undeclared, "test_frames_have_the_declared_annotations"),
        (OtherTruth, "test_frames_are_what_draw_and_annotate_give"),
        (Mixed, "test_frames_of_many_scenes_are_those_of_each"),
        (Unpicklable, "test_an_unbuilt_renderer_can_be_sent_to_a_worker"),
        (Bright, "test_image_has_the_promised_shape_type_and_range"),
        (partial(AdjointBlobRenderer, "trace"), "test_an_adjoint_repeats_and_leaves_no_trace"),
        (partial(AdjointBlobRenderer, "finite"), "test_an_adjoint_repeats_and_leaves_no_trace"),
        (OnceOnly, "test_it_can_be_closed_and_built_again"),
    ],
)
def test_a_broken_renderer_is_found(broken: Callable[[], BlobRenderer], found: str) -> None:
    class Suite(RendererSuite):
        def renderer(self) -> Renderer:
            return broken()

        def scenes(self) -> Sequence[SceneGraph]:
            return [blob_scene(0, 1), blob_scene(1, 2), blob_scene(2, 3)]

    assert found in failures(Suite())


@pytest.mark.parametrize("fault", DISC_FAULTS)
def test_broken_annotations_of_every_kind_are_found(fault: str) -> None:
    class Suite(RendererSuite):
        def renderer(self) -> Renderer:
            return DiscRenderer(fault)

        def scenes(self) -> Sequence[SceneGraph]:
            return DISC_SCENES

    assert failures(Suite()) == ["test_frames_have_the_declared_annotations"]
