"""Mitsuba scenes: solids that are closed, masks against closed forms, quality, enlargement, colours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from autosim.rendering.annotations import Annotation, ClassMask
from autosim.rendering.mitsuba.mesh import Mesh
from autosim.rendering.mitsuba.pixels import linear_rgb, srgb
from autosim.rendering.mitsuba.renderer import MitsubaRenderer, Quality
from autosim.rendering.renderer import Renderer
from autosim.scenes.graph import Categorical, Continuous, Node, NodeClass, SceneGraph, Schema
from autosim.testing import RendererSuite

ORIGIN = np.array([3.0, -6.0, 4.0])
FIELD_OF_VIEW = 40.0
SOLIDS = ("sphere", "cube", "cylinder")
SIZE = 1.1


class SilhouetteRenderer(MitsubaRenderer):
    """One black solid before a white sky: a pixel's radiance is the share of it that the solid leaves free."""

    field_of_view = FIELD_OF_VIEW
    annotations: Mapping[str, Annotation] = {"mask": ClassMask(("sky", *SOLIDS))}

    def __init__(self, edge: int, sizes: tuple[int, ...] = (32, 16), samples: int = 64) -> None:
        schema = Schema(
            (
                NodeClass(
                    "solid",
                    (
                        Continuous("x", -2.0, 2.0),
                        Continuous("y", -2.0, 2.0),
                        Categorical("shape", SOLIDS, mutable=False),
                        Categorical("size", sizes),
                    ),
                ),
            )
        )
        super().__init__(schema, sizes, (2,), edge, edge)
        self.samples = samples
        self.meshes = {"cube": Mesh.cube(SIZE), "cylinder": Mesh.cylinder(SIZE, SIZE)}

    def camera(self, mi: Any) -> Any:
        return mi.ScalarTransform4f().look_at(origin=ORIGIN.tolist(), target=[0, 0, 0], up=[0, 0, 1])

    def scene_dict(self, mi: Any) -> dict[str, Any]:
        black = mi.load_dict({"type": "diffuse", "reflectance": {"type": "rgb", "value": [0.0, 0.0, 0.0]}})
        scene: dict[str, Any] = {
            "sky": {"type": "constant", "radiance": {"type": "rgb", "value": [1.0, 1.0, 1.0]}},
            "sphere": {"type": "sphere", "to_world": mi.ScalarTransform4f(), "bsdf": black},
        }
        return scene | {name: mesh.to_mitsuba(mi, name, black) for name, mesh in self.meshes.items()}

    def pose(self, mi: Any, scene: SceneGraph) -> dict[str, Any]:
        (node,) = scene.find("solid")
        here, away = [float(node["x"]), float(node["y"]), 0.0], [0.0, 0.0, -500.0]
        places = {name: here if name == node["shape"] else away for name in SOLIDS}
        values = {
            f"{name}.vertex_positions": (mesh.vertices + np.array(places[name], dtype=np.float32)).ravel()
            for name, mesh in self.meshes.items()
        }
        return values | {"sphere.to_world": mi.ScalarTransform4f().translate(places["sphere"]).scale(SIZE)}

    def quality(self, scene: SceneGraph) -> Quality:
        (node,) = scene.find("solid")
        return Quality(self.samples, 2, int(node["size"]))

    def mask_classes(self, scene: SceneGraph) -> dict[str, int]:
        (node,) = scene.find("solid")
        return {str(node["shape"]): 1 + SOLIDS.index(str(node["shape"]))}


def solid(shape: str, x: float = 0.0, y: float = 0.0, size: int = 32) -> SceneGraph:
    return SceneGraph((Node("solid", {"x": x, "y": y, "shape": shape, "size": size}),), (-1,))


def linear(*values: float) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def mask_of(renderer: Renderer, scene: SceneGraph) -> NDArray[np.uint8]:
    return np.asarray(renderer.annotate(scene)["mask"], dtype=np.uint8)


def built(renderer: Renderer) -> Renderer:
    renderer.build()
    return renderer


@pytest.fixture(scope="module")
def silhouettes() -> Renderer:
    return built(SilhouetteRenderer(32))


class TestSilhouettes(RendererSuite):
    def renderer(self) -> Renderer:
        return SilhouetteRenderer(32, samples=2)

    def scenes(self) -> Sequence[SceneGraph]:
        return [solid("sphere", 0.3), solid("cube", -0.5, 1.0), solid("cylinder", 0.0, 0.4, size=16)]


def centre_rays(edge: int) -> NDArray[np.float64]:
    """Unit directions (edge, edge, 3) through the pixels' centres, from the camera's own geometry."""
    forward = -ORIGIN / np.linalg.norm(ORIGIN)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    at = ((np.arange(edge) + 0.5) / edge * 2 - 1) * np.tan(np.deg2rad(FIELD_OF_VIEW) / 2)
    rays = forward + at[None, :, None] * right - at[:, None, None] * up
    return np.asarray(rays / np.linalg.norm(rays, axis=2, keepdims=True))


def slab_hit(rays: NDArray[np.float64], place: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far inside a cube about ``place`` each ray gets, in its parameter: above 0 where it hits."""
    near = ((place - SIZE - ORIGIN) / rays, (place + SIZE - ORIGIN) / rays)
    return np.asarray(np.maximum(*near).min(axis=2) - np.minimum(*near).max(axis=2))


def sphere_hit(rays: NDArray[np.float64], place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Radius less the distance between each ray and ``place``: above 0 where it hits."""
    to = place - ORIGIN
    along = rays @ to
    return np.asarray(SIZE - np.sqrt(to @ to - along**2))


def test_pictures_of_another_size_have_the_same_view_and_finer_films(silhouettes: Renderer) -> None:
    tall, plain = solid("cube", -0.5, 1.0, size=16), mask_of(silhouettes, solid("cube", -0.5, 1.0))
    larger = built(silhouettes.resized(64, 64))
    assert larger.cost(tall) == 4 * silhouettes.cost(tall) and larger.draw(tall, 0).shape == (64, 64, 3)
    assert abs(mask_of(larger, tall)[::2, ::2].astype(int) - plain).sum() < 0.1 * plain.sum()
    wide = built(silhouettes.resized(24, 48, samples=3))
    assert wide.cost(tall) == 24 * 48 * 3 and wide.draw(tall, 0).shape == (24, 48, 3)
    found = wide.instances(tall)
    assert found is not None and found.dtype == np.uint16 and ((found == 1) == (mask_of(wide, tall) > 0)).all()
    assert silhouettes.cost(tall) == 16 * 16 * 64


@pytest.mark.parametrize(("shape", "hit"), [("sphere", sphere_hit), ("cube", slab_hit)])
@pytest.mark.parametrize("place", [(0.0, 0.0), (1.3, -0.7), (-2.0, 2.0)])
def test_masks_are_those_of_rays_through_the_pixels_centres(shape: str, hit: Any, place: tuple[float, float]) -> None:
    edge = 48
    renderer = built(SilhouetteRenderer(edge))
    mask = mask_of(renderer, solid(shape, *place))
    margin = hit(centre_rays(edge), np.array([*place, 0.0]))
    clear = np.abs(margin) > 1e-4
    assert clear.mean() > 0.99
    np.testing.assert_array_equal((mask > 0)[clear], (margin > 0)[clear])
    assert set(np.unique(mask).tolist()) == {0, 1 + SOLIDS.index(shape)}


@pytest.mark.parametrize("shape", SOLIDS)
def test_masks_and_pictures_agree_in_every_pixel(silhouettes: Renderer, shape: str) -> None:
    scene = solid(shape, 0.37, -0.21)
    free = silhouettes.draw(scene, 5)[..., 0]
    inside = mask_of(silhouettes, scene) > 0
    # A line parts a convex solid from any centre outside it, so the solid covers at most half of such a pixel (give or
    # take the noise of 64 samples), and something of every pixel whose centre is inside.
    assert (free[~inside] > srgb(linear(0.5 - 0.3))[0]).all()
    assert (free[inside] < 0.999).all()
    assert (free[inside] == 0.0).mean() > 0.7 and (free[~inside] > 0.999).mean() > 0.7


def test_masks_do_not_depend_on_the_quality_of_the_picture(silhouettes: Renderer) -> None:
    small, large = (mask_of(silhouettes, solid("cube", 0.4, 0.2, size)) for size in (16, 32))
    np.testing.assert_array_equal(small, large)


@pytest.mark.parametrize(
    ("mesh", "volume"),
    [
        (Mesh.cube(0.5), 1.0),
        (Mesh.cylinder(0.7, 0.3, segments=8), 8 / 2 * 0.7**2 * np.sin(2 * np.pi / 8) * 0.6),
        (Mesh.cylinder(1.0, 1.0, segments=48), 48 / 2 * np.sin(2 * np.pi / 48) * 2.0),
    ],
)
def test_meshes_are_closed_and_look_outwards(mesh: Mesh, volume: float) -> None:
    corners, place = np.unique(mesh.vertices.round(5), axis=0, return_inverse=True)
    faces = place.reshape(-1)[mesh.faces.astype(int)]
    edges = [(int(f[i]), int(f[(i + 1) % 3])) for f in faces for i in range(3)]
    assert len(set(edges)) == len(edges)
    assert {(b, a) for a, b in edges} == set(edges)
    assert len(corners) - len(edges) // 2 + len(faces) == 2
    a, b, c = (mesh.vertices[mesh.faces[:, i].astype(int)].astype(np.float64) for i in range(3))
    assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 == pytest.approx(volume, rel=1e-5)
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1.0, atol=1e-6)
    across = np.cross(b - a, c - a)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    shading = mesh.normals[mesh.faces.astype(int)]
    # The side of a cylinder is shaded as round: a corner's normal is half a segment off that of the flat face.
    assert np.einsum("ij,ikj->ik", across, shading).min() > 0.9


def test_a_cubes_normals_are_those_of_its_sides() -> None:
    cube = Mesh.cube(2.0)
    assert np.einsum("ij,ij->i", cube.vertices, cube.normals).tolist() == [2.0] * 24


@given(st.floats(0.0, 1.0, width=32))
def test_srgb_and_its_inverse(value: float) -> None:
    encoded = float(srgb(linear(value))[0])
    assert 0 <= encoded <= 1
    back = encoded / 12.92 if encoded <= 0.04045 else ((encoded + 0.055) / 1.055) ** 2.4
    assert back == pytest.approx(value, abs=2e-5)


def test_srgb_of_known_colours() -> None:
    # IEC 61966-2-1: 0.2140 in linear light is the middle grey of 8 bits, 127.5.
    assert srgb(linear(0.21404))[0] == pytest.approx(0.5, abs=1e-4)
    assert srgb(linear(-1.0, 0.0, 1.0, 9.0)).tolist() == pytest.approx([0, 0, 1, 1], abs=1e-6)
    assert linear_rgb((0, 255, 188)) == pytest.approx((0.0, 1.0, 0.50289), abs=1e-4)


def test_small_images_are_enlarged_between_pixel_centres() -> None:
    large = built(SilhouetteRenderer(32, sizes=(32, 16)))
    small = built(SilhouetteRenderer(16, sizes=(32, 16)))
    scene = solid("sphere", 0.2, size=16)
    enlarged, plain = large.draw(scene, 1), small.draw(scene, 1)

    def radiance(image: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4).astype(np.float32)

    pixels = radiance(plain)
    # Twice as many pixels: new centres lie a quarter of the way between old ones.
    np.testing.assert_allclose(radiance(enlarged)[0, 0], pixels[0, 0], atol=1e-5)
    between = 0.5625 * pixels[7, 7] + 0.1875 * pixels[7, 8] + 0.1875 * pixels[8, 7] + 0.0625 * pixels[8, 8]
    np.testing.assert_allclose(radiance(enlarged)[15, 15], between, atol=1e-5)


def test_seeds_of_31_bits_give_different_noise(silhouettes: Renderer) -> None:
    images = [silhouettes.draw(solid("sphere"), seed) for seed in (0, 1, 2**31 - 1)]
    assert not np.array_equal(images[0], images[1]) and not np.array_equal(images[0], images[2])


def test_a_process_that_holds_the_renderer_imports_no_torch() -> None:
    code = """
import pickle, sys
import numpy
from envs.clevr.env import Clevr, ClevrConfig
env = Clevr(ClevrConfig())
data = pickle.dumps(env.renderer())
scene = env.prior().sample(numpy.random.SeedSequence(0))
renderer = pickle.loads(data)
renderer.build()
frame = renderer.render(scene, 1)
assert frame.image.shape == (64, 64, 3) and frame.annotations["mask"].shape == (64, 64)
print([name for name in ("torch", "torch_geometric", "torchvision", "ray", "sklearn") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
