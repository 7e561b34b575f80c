"""What every renderer has to hold: right shapes, determinism, no memory of earlier scenes, picklable before building."""

from __future__ import annotations

import pickle
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from autosim.rendering.renderer import Renderer
from autosim.scenes.graph import Continuous, SceneGraph


class RendererSuite:
    """Subclass with :meth:`renderer` and :meth:`scenes`, under a name that pytest collects (``Test…``)."""

    @abstractmethod
    def renderer(self) -> Renderer:
        """A new, unbuilt renderer."""

    @abstractmethod
    def scenes(self) -> Sequence[SceneGraph]:
        """At least three different scenes."""

    def built(self) -> Renderer:
        """A new, built renderer."""
        renderer = self.renderer()
        renderer.build()
        return renderer

    def test_image_has_the_promised_shape_type_and_range(self) -> None:
        renderer = self.built()
        for seed, scene in enumerate(self.scenes()):
            image = renderer.draw(scene, seed)
            assert image.shape == (renderer.height, renderer.width, 3)
            assert image.dtype == np.float32
            assert np.isfinite(image).all()
            assert image.min() >= 0 and image.max() <= 1

    def test_scenes_fit_the_schema_and_differ_in_the_picture(self) -> None:
        renderer = self.built()
        scenes = self.scenes()
        assert len(scenes) >= 3
        for scene in scenes:
            renderer.schema.validate(scene)
        images = [renderer.draw(scene, 0) for scene in scenes]
        assert any(not np.array_equal(images[0], image) for image in images[1:])

    def test_equal_arguments_give_equal_pixels_in_any_order(self) -> None:
        scenes = list(self.scenes())
        first, second = self.built(), self.built()
        forwards = [first.render(scene, seed) for seed, scene in enumerate(scenes)]
        backwards = [second.render(scenes[i], i) for i in reversed(range(len(scenes)))][::-1]
        for a, b in zip(forwards, backwards, strict=True):
            assert np.array_equal(a.image, b.image)
            assert list(a.annotations) == list(b.annotations)
            for name in a.annotations:
                assert np.array_equal(a.annotations[name], b.annotations[name])

    def test_a_perturbed_image_leaves_no_trace(self) -> None:
        renderer, schema = self.built(), self.renderer().schema
        scene = self.scenes()[0]
        before = renderer.draw(scene, 3)
        values = schema.values(scene)
        if len(values):
            renderer.draw(schema.with_values(scene, np.clip(values + 0.05, 0, 1)), 3, effort=0.5)
        assert np.array_equal(renderer.draw(scene, 3), before)

    def test_effort_gives_an_image_of_the_same_kind(self) -> None:
        renderer = self.built()
        image = renderer.draw(self.scenes()[0], 0, effort=0.25)
        assert image.shape == (renderer.height, renderer.width, 3)
        assert np.isfinite(image).all()

    def test_values_at_the_ends_of_their_ranges_can_be_drawn(self) -> None:
        renderer, schema = self.built(), self.renderer().schema
        scene = self.scenes()[0]
        for end in (0.0, 1.0):
            extreme = schema.with_values(scene, np.full(len(schema.values(scene)), end))
            assert np.isfinite(renderer.draw(extreme, 0)).all()

    def test_annotations_are_equal_for_equal_scenes_and_match_the_image_where_they_are_maps(self) -> None:
        renderer = self.built()
        scene = self.scenes()[0]
        first, second = renderer.annotate(scene), renderer.annotate(scene)
        assert list(first) == list(second)
        for name, values in first.items():
            assert np.array_equal(values, second[name])
        if "mask" in first:
            assert first["mask"].shape == (renderer.height, renderer.width)
            assert first["mask"].dtype == np.uint8

    def test_an_unbuilt_renderer_can_be_sent_to_a_worker(self) -> None:
        copy = pickle.loads(pickle.dumps(self.renderer()))
        copy.build()
        scene = self.scenes()[0]
        assert np.array_equal(copy.render(scene, 1).image, self.built().render(scene, 1).image)

    def test_the_schema_declares_a_finite_difference_step_within_the_range(self) -> None:
        for column in self.renderer().schema.continuous_columns:
            assert isinstance(column.attribute, Continuous)
            assert 0 < column.attribute.normalised_step <= 0.5
