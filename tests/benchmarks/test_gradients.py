"""The benchmark of gradients: its scenes, and that what it shares between cotangents is what each would give alone."""

from __future__ import annotations

import numpy as np
import pytest

from autosim.rendering.differences import GradientMethod, GradientSettings
from autosim.rendering.losses import scene_vjp
from benchmarks import gradients
from tests.support.helpers import LinearRenderer


@pytest.mark.parametrize("attributes", gradients.Plan().attributes)
def test_scenes_have_so_many_attributes_and_spheres_that_do_not_overlap(attributes: int) -> None:
    schema = gradients.sphere_schema(attributes // 2)
    scene = gradients.sphere_scene(attributes // 2, 16)
    schema.validate(scene)
    assert len(schema.values(scene)) == attributes
    places = np.array([[float(node["x"]), float(node["y"])] for node in scene.find("object")])
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)[np.triu_indices(len(places), 1)]
    assert (apart > 1.4).all()


@pytest.mark.parametrize("method", ["central", "forward", "spsa"])
def test_gradients_of_several_cotangents_are_those_of_each(method: GradientMethod) -> None:
    renderer = LinearRenderer()
    scene, settings = renderer.scene(0.4, 0.5, 0.3), GradientSettings(method)
    cotangents = gradients.smooth_cotangents(3, 4)
    found = gradients.gradients(renderer, scene, 7, cotangents, settings)
    each = [scene_vjp(renderer, scene, 7, cotangent, settings) for cotangent in cotangents]
    np.testing.assert_array_equal(found, np.stack(each))
    assert np.abs(found[0] - found[1]).min() > 0


def test_errors_are_relative_to_the_reference() -> None:
    reference = np.array([[3.0, 0.0], [0.0, 4.0]])
    assert gradients.relative_error(reference, reference) == 0
    assert gradients.relative_error(np.array([[3.5, 0.0], [0.0, 4.0]]), reference) == pytest.approx(0.1)
    seeds = np.stack([reference * 1.1, reference * 0.7])
    assert gradients.relative_error(seeds, reference) == pytest.approx(np.sqrt((0.1**2 + 0.3**2) / 2))


def test_the_table_has_a_line_for_each_row() -> None:
    row = {
        "attributes": 8, "method": "adjoint", "seconds": 0.254, "times_an_image": 17.8, "error": 0.706,
        "error_of_mean": 0.449, "reference_error": 0.054,
    }  # fmt: skip
    shown = gradients.table([row])
    assert shown["lines"] == [["8", "adjoint", "0.25", "18", "71 %", "45 %", "5 %"]]
    assert len(shown["heads"]) == len(shown["alignment"]) == len(shown["lines"][0])
