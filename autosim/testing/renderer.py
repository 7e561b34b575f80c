"""What every renderer has to fulfil: right shapes, determinism, no memory of earlier scenes, picklable when unbuilt."""

from __future__ import annotations

import pickle
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from autosim.rendering.annotations import check_frame
from autosim.rendering.frames import Frame
from autosim.rendering.renderer import Renderer, eight_bits
from autosim.scenes.graph import Categorical, Continuous, Node, SceneGraph, Schema, Value


class RendererSuite:
    """Subclass with :meth:`renderer` and :meth:`scenes`, under a name that pytest collects (``Test…``)."""

    @abstractmethod
    def renderer(self) -> Renderer:
        """A new, unbuilt renderer."""

    @abstractmethod
    def scenes(self) -> Sequence[SceneGraph]:
        """At least three different scenes; every mutable attribute should show in at least one of the pictures."""

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
            assert image.min() >= -1e-6 and image.max() <= 1 + 1e-6

    def test_scenes_fit_the_schema_and_differ_in_the_picture(self) -> None:
        renderer = self.built()
        scenes = self.scenes()
        assert len(scenes) >= 3
        for scene in scenes:
            renderer.schema.validate(scene)
        images = [renderer.draw(scene, 0).copy() for scene in scenes]
        assert any(not np.array_equal(images[0], image) for image in images[1:])

    def test_equal_arguments_give_equal_pixels_in_any_order(self) -> None:
        scenes = list(self.scenes())
        first, second = self.built(), self.built()
        forwards = [_kept(first.render(scene, seed)) for seed, scene in enumerate(scenes)]
        backwards = [_kept(second.render(scenes[i], i)) for i in reversed(range(len(scenes)))][::-1]
        for a, b in zip(forwards, backwards, strict=True):
            assert np.array_equal(a.image, b.image)
            _assert_equal(a.annotations, b.annotations)

    def test_a_perturbed_image_leaves_no_trace(self) -> None:
        renderer, schema = self.built(), self.renderer().schema
        scene = self.scenes()[0]
        before = renderer.draw(scene, 3).copy()
        values = schema.values(scene)
        if len(values):
            renderer.draw(schema.with_values(scene, np.clip(values + 0.05, 0, 1)), 3, effort=0.5)
        assert np.array_equal(renderer.draw(scene, 3), before)

    def test_an_image_is_not_written_over_by_the_next(self) -> None:
        renderer, scenes = self.built(), self.scenes()
        image = renderer.draw(scenes[0], 0)
        kept = image.copy()
        for scene in scenes[1:]:
            renderer.draw(scene, 1)
        assert np.array_equal(image, kept)

    def test_an_adjoint_repeats_and_leaves_no_trace(self) -> None:
        renderer = self.built()
        cotangent = np.linspace(-1, 1, renderer.height * renderer.width * 3, dtype=np.float32)
        cotangent = cotangent.reshape(renderer.height, renderer.width, 3)
        for scene in self.scenes():
            refusal = renderer.adjoint_refusal(scene)
            if refusal is not None:
                assert refusal and "\n" not in refusal
                continue
            before = renderer.draw(scene, 3).copy()
            gradient = renderer.checked_adjoint(scene, 3, cotangent)
            assert np.array_equal(renderer.draw(scene, 3), before)
            assert np.array_equal(renderer.checked_adjoint(scene, 3, cotangent), gradient)

    def test_drawing_leaves_the_scene_as_it_was(self) -> None:
        renderer = self.built()
        for scene in self.scenes():
            before = scene.to_json()
            renderer.render(scene, 0)
            assert scene.to_json() == before

    def test_effort_gives_an_image_of_the_same_kind(self) -> None:
        renderer = self.built()
        image = renderer.draw(self.scenes()[0], 0, effort=0.25)
        assert image.shape == (renderer.height, renderer.width, 3)
        assert image.dtype == np.float32
        assert np.isfinite(image).all()

    def test_values_at_the_ends_of_their_ranges_can_be_drawn(self) -> None:
        renderer, schema = self.built(), self.renderer().schema
        scene = self.scenes()[0]
        for end in (0.0, 1.0):
            extreme = schema.with_values(scene, np.full(len(schema.values(scene)), end))
            assert np.isfinite(renderer.draw(extreme, 0)).all()

    def test_every_mutable_attribute_shows_in_a_picture(self) -> None:
        renderer, scenes = self.built(), self.scenes()
        pictures = [renderer.draw(scene, 0).copy() for scene in scenes]
        hidden: dict[str, None] = {}
        shown: dict[str, None] = {}
        for scene, picture in zip(scenes, pictures, strict=True):
            for key, changed in _changes(renderer.schema, scene):
                if key not in shown:
                    equal = np.array_equal(renderer.draw(changed, 0), picture)
                    (hidden if equal else shown)[key] = None
        assert not [key for key in hidden if key not in shown]

    def test_annotations_are_those_of_the_scene_whatever_was_drawn_before(self) -> None:
        scenes = self.scenes()
        expected = []
        for scene in scenes:
            renderer = self.built()
            expected.append(_copied(renderer.annotate(scene)))
        renderer = self.built()
        for scene, found in zip(scenes, expected, strict=True):
            renderer.draw(scenes[0], 0)
            renderer.draw(scenes[-1], 0)
            _assert_equal(renderer.annotate(scene), found)

    def test_frames_have_the_declared_annotations(self) -> None:
        renderer = self.built()
        declared = dict(self.renderer().annotations)
        for seed, scene in enumerate(self.scenes()):
            check_frame(declared, renderer.render(scene, seed), renderer.height, renderer.width)

    def test_frames_are_what_draw_and_annotate_give(self) -> None:
        renderer = self.built()
        for seed, scene in enumerate(self.scenes()):
            frame = _kept(renderer.render(scene, seed))
            assert np.array_equal(frame.image, eight_bits(renderer.checked_draw(scene, seed)))
            _assert_equal(renderer.annotate(scene), frame.annotations)

    def test_frames_of_many_scenes_are_those_of_each(self) -> None:
        renderer, scenes = self.built(), self.scenes()
        seeds = list(range(len(scenes)))
        together = [_kept(frame) for frame in renderer.render_many(scenes, seeds)]
        drawn = [image.copy() for image in renderer.draw_many(scenes, seeds)]
        assert len(together) == len(drawn) == len(scenes)
        for scene, seed, frame, image in zip(scenes, seeds, together, drawn, strict=True):
            alone = renderer.render(scene, seed)
            assert np.array_equal(alone.image, frame.image)
            _assert_equal(alone.annotations, frame.annotations)
            assert np.array_equal(renderer.draw(scene, seed), image)

    def test_an_unbuilt_renderer_can_be_sent_to_a_worker(self) -> None:
        copy = pickle.loads(pickle.dumps(self.renderer()))
        copy.build()
        scene = self.scenes()[0]
        sent, here = copy.render(scene, 1), self.built().render(scene, 1)
        assert np.array_equal(sent.image, here.image)
        _assert_equal(sent.annotations, here.annotations)

    def test_it_can_be_closed_and_built_again(self) -> None:
        renderer, scene = self.built(), self.scenes()[0]
        before = renderer.draw(scene, 2).copy()
        renderer.close()
        renderer.build()
        assert np.array_equal(renderer.draw(scene, 2), before)
        renderer.close()

    def test_the_schema_declares_a_finite_difference_step_within_the_range(self) -> None:
        for column in self.renderer().schema.continuous_columns:
            assert isinstance(column.attribute, Continuous)
            assert 0 < column.attribute.normalised_step <= 0.5


def _kept(frame: Frame) -> Frame:
    return Frame(frame.image.copy(), _copied(frame.annotations))


def _copied(annotations: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    return {name: np.array(values) for name, values in annotations.items()}


def _assert_equal(a: Mapping[str, NDArray[np.generic]], b: Mapping[str, NDArray[np.generic]]) -> None:
    assert set(a) == set(b)
    for name, values in a.items():
        assert np.array_equal(values, b[name])


def _changes(schema: Schema, scene: SceneGraph) -> Iterator[tuple[str, SceneGraph]]:
    """The scene with one mutable attribute changed, in every way for choices and by a part of its range otherwise."""
    for i, node in enumerate(scene.nodes):
        for attribute in schema.node_class(node.node_class).attributes:
            if not attribute.mutable:
                continue
            value = node[attribute.name]
            others: list[Value]
            if isinstance(attribute, Categorical):
                others = [choice for choice in attribute.choices if choice != value]
            else:
                unit = attribute.normalise(float(value))
                others = [attribute.denormalise(unit + 0.1 if unit < 0.5 else unit - 0.1)]
            for other in others:
                changed = Node(node.node_class, {**node.attributes, attribute.name: other}, node.slot)
                nodes = (*scene.nodes[:i], changed, *scene.nodes[i + 1 :])
                yield schema.key(node, attribute.name), SceneGraph(nodes, scene.parents, scene.derivation)
