"""Content features: the labels, that they distinguish what differs, determinism, smoothness, and their state."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from autosim.cache import cached_tensors
from autosim.learning.divergence import DistributionMatcher
from autosim.learning.features.content import (
    ContentFeatures,
    ContentSettings,
    moments,
    train_content_features,
)
from autosim.learning.features.labels import BoxTarget, ContentTargets, CountTarget, content_labels, content_targets
from autosim.learning.features.statistics import gaussian_blur, image_statistics
from autosim.learning.training import to_tensor
from autosim.rendering.annotations import ClassMask, Depth
from autosim.rendering.frames import Frames
from autosim.rendering.pool import LocalPool
from autosim.scenes.graph import SceneGraph
from autosim.seeding import seed_sequence
from autosim.testing.problems import SCHEMA as RECTANGLES
from autosim.testing.problems import RectangleRenderer, rectangle_grammar
from envs.aerial.env import Aerial, AerialConfig
from tests.learning.shapes import KINDS, SHAPES_ANNOTATIONS, SHAPES_SCHEMA, draw_shapes, random_scene, shape_frames

SETTINGS = ContentSettings(width=8, epochs=8, batch_size=16)


@pytest.fixture(scope="module")
def features() -> ContentFeatures:
    """Trained for about two seconds."""
    scenes, frames = shape_frames(300, seed=0)
    return train_content_features(SHAPES_SCHEMA, scenes, frames, SHAPES_ANNOTATIONS, seed=0, settings=SETTINGS)


def test_targets_are_what_a_picture_can_tell() -> None:
    scenes, frames = shape_frames(20, seed=0)
    targets = content_targets(SHAPES_SCHEMA, scenes, frames, SHAPES_ANNOTATIONS)
    assert targets.mask_classes == 3
    assert [(t.attribute, t.part) for t in targets.continuous] == [
        ("power", "value"),
        ("hue", "sine"),
        ("hue", "cosine"),
        ("hue", "double sine"),
        ("hue", "double cosine"),
    ]
    assert [(t.key, t.choices) for t in targets.categorical] == [("camera.noise", 2)]
    counts = [t for t in targets.counts if isinstance(t, CountTarget)]
    assert len(counts) == len(targets.counts)
    assert [(t.attribute, t.choice, t.most) for t in counts] == [(None, 0, 3), ("kind", 0, 3), ("kind", 1, 3)]
    assert ContentTargets.from_json(json.loads(json.dumps(targets.to_json()))) == targets


def test_labels_by_hand() -> None:
    scenes, frames = shape_frames(20, seed=0)
    targets = content_targets(SHAPES_SCHEMA, scenes, frames, SHAPES_ANNOTATIONS)
    labels = content_labels(SHAPES_SCHEMA, scenes, frames, SHAPES_ANNOTATIONS, targets, (4, 4))
    for i, scene in enumerate(scenes):
        (light,), kinds = scene.find("light"), [node["kind"] for node in scene.find("shape")]
        hue = np.deg2rad(float(light["hue"]))
        expected = [float(light["power"]) / 10, np.sin(hue), np.cos(hue), np.sin(2 * hue), np.cos(2 * hue)]
        assert labels.continuous[i].tolist() == pytest.approx(expected, abs=1e-6)
        counts = [len(kinds) / 3, kinds.count("disc") / 3, kinds.count("square") / 3]
        assert labels.counts[i].tolist() == pytest.approx(counts)
        assert labels.categorical[i].tolist() == [("low", "high").index(scene.nodes[0]["noise"])]
    assert labels.grid is not None
    torch.testing.assert_close(labels.grid.sum(dim=1), torch.ones(20, 4, 4))
    cell = frames.annotations["mask"][3, 8:16, 16:24]
    assert labels.grid[3, :, 1, 2].tolist() == pytest.approx([float((cell == c).mean()) for c in range(3)])


def test_the_grid_has_the_declared_classes_of_the_mask_by_whatever_name() -> None:
    scenes, frames = shape_frames(20, seed=0)
    renamed = Frames(
        frames.images, {"depth": np.ones((20, 32, 32), np.float32), "semantic": frames.annotations["mask"]}
    )
    declared = {"depth": Depth(), "semantic": ClassMask(("background", *KINDS, "star"))}
    targets = content_targets(SHAPES_SCHEMA, scenes, renamed, declared)
    assert targets.mask_classes == 4
    labels = content_labels(SHAPES_SCHEMA, scenes, renamed, declared, targets, (4, 4))
    plain = content_targets(SHAPES_SCHEMA, scenes, frames, SHAPES_ANNOTATIONS)
    expected = content_labels(SHAPES_SCHEMA, scenes, frames, SHAPES_ANNOTATIONS, plain, (4, 4))
    assert labels.grid is not None and expected.grid is not None
    assert torch.equal(labels.grid[:, :3], expected.grid) and not labels.grid[:, 3].any()
    assert content_targets(SHAPES_SCHEMA, scenes, renamed, {"depth": Depth()}).mask_classes == 0


def test_angles_of_several_nodes_are_labelled_by_their_means() -> None:
    env = Aerial(AerialConfig())
    scenes = env.prior().sample_many(8, seed_sequence(0, "angles"))
    with LocalPool(env.renderer()) as pool:
        frames = pool.render(scenes, list(range(len(scenes))))
    targets = content_targets(env.schema, scenes, frames, env.renderer().annotations)
    places = [i for i, target in enumerate(targets.continuous) if target.node_class == "car"]
    labels = content_labels(env.schema, scenes, frames, env.renderer().annotations, targets, (4, 4))
    turned = np.deg2rad([[float(node["yaw"]) for node in scene.find("car")] for scene in scenes])
    expected = [f(times * turned).mean(axis=1) for times in (1, 2) for f in (np.sin, np.cos)]
    np.testing.assert_allclose(labels.continuous[:, places].numpy(), np.stack(expected, axis=1), atol=1e-6)


def test_nothing_to_predict_and_unequal_numbers_are_refused() -> None:
    scenes, frames = shape_frames(4, seed=0)
    with pytest.raises(ValueError, match="3 scenes for 4 frames"):
        content_targets(SHAPES_SCHEMA, scenes[:3], frames, SHAPES_ANNOTATIONS)


def test_groups_cover_the_features_and_are_few(features: ContentFeatures) -> None:
    assert features.group_names == [
        "layout",
        "moments",
        "classes",
        "attributes",
        "shape.kind",
        "camera.noise",
        "colour",
        "texture",
    ]
    assert features.groups[0].start == 0
    assert all(a.stop == b.start for a, b in zip(features.groups, features.groups[1:], strict=False))
    assert features.dimension == features.groups[-1].stop <= 300
    assert len(features.weights) == len(features.groups)
    assert all(0 <= weight <= 1 for weight in features.weights)


def test_image_statistics_are_features_only_where_appearance_matters() -> None:
    scenes, frames = shape_frames(40, seed=0)
    trained, without = (
        train_content_features(
            SHAPES_SCHEMA,
            scenes,
            frames,
            SHAPES_ANNOTATIONS,
            seed=0,
            settings=ContentSettings(width=8, epochs=1, appearance=appearance),
        )
        for appearance in (True, False)
    )
    assert trained.group_names == [*without.group_names, "colour", "texture"]
    assert without.dimension == trained.groups[-2].start


def test_angles_that_pictures_do_not_show_are_no_features(features: ContentFeatures) -> None:
    scenes, frames = shape_frames(300, seed=0)
    rng = np.random.default_rng(1)
    for scene in scenes:
        # The light's hue is in the label no longer what it is in the picture.
        (light,) = scene.find("light")
        light.attributes["hue"] = float(rng.uniform(0, 360))  # type: ignore[index]
    blind = train_content_features(SHAPES_SCHEMA, scenes, frames, SHAPES_ANNOTATIONS, seed=0, settings=SETTINGS)
    names = [(target.attribute, target.part) for target in blind.targets.continuous]
    assert [names[place][0] for place in blind.shown] == ["power"]
    assert {names[place][0] for place in features.shown} == {"power", "hue"}
    assert features.dimension - blind.dimension == len(features.shown) - 1


@pytest.mark.parametrize(
    ("change", "group", "still"),
    [("x", "layout", "attributes"), ("power", "attributes", "layout"), ("noise", "camera.noise", "layout")],
)
def test_each_kind_of_difference_shows_in_its_group(
    features: ContentFeatures, change: str, group: str, still: str
) -> None:
    def images(seed: int, changed: bool) -> torch.Tensor:
        rng = np.random.default_rng(seed)
        scenes = []
        for _ in range(32):
            scene = random_scene(
                rng,
                power=(3.0 if changed and change == "power" else 7.0) + rng.normal(0, 0.3),
                x=(0.3 if changed and change == "x" else 0.6) + rng.normal(0, 0.05),
            )
            noise = "high" if changed and change == "noise" else "low"
            scene.nodes[0].attributes["noise"] = noise  # type: ignore[index]
            scenes.append(scene)
        return to_tensor(draw_shapes(scenes, seed).images)

    reference = features.of_images(shape_frames(200, seed=7)[1].images)
    matcher = DistributionMatcher(features(images(100, False)), reference, features.groups)
    same = torch.stack([matcher.group_losses(features(images(seed, False))) for seed in range(5)])
    other = torch.stack([matcher.group_losses(features(images(seed + 10, True))) for seed in range(5)])
    sharpness = (other.mean(dim=0) - same.mean(dim=0)) / same.std(dim=0)
    result = dict(zip(features.group_names, sharpness.tolist(), strict=True))
    assert result[group] > 5
    assert result[group] > 2 * result[still]


def test_features_vary_smoothly_as_an_object_moves(features: ContentFeatures) -> None:
    rng = np.random.default_rng(0)
    scene = random_scene(rng, power=8.0)
    layout = features.groups[0]
    steps = []
    for x in np.linspace(0.3, 0.7, 21):
        for node in scene.find("shape"):
            node.attributes["x"] = float(x)  # type: ignore[index]
        scene.nodes[0].attributes["noise"] = "low"  # type: ignore[index]
        steps.append(features(to_tensor(draw_shapes([scene], seed=0).images))[0, layout])
    path = torch.stack(steps)
    small = (path[1:] - path[:-1]).norm(dim=1)
    # Twenty small steps lead far, and none of them is a jump: a feature that switched would go its whole way in one.
    assert float((path[-1] - path[0]).norm()) > 3 * float(small.mean())
    assert float(small.max()) < 0.3 * float(small.sum())


def test_equal_seeds_give_equal_features() -> None:
    scenes, frames = shape_frames(48, seed=0)
    settings = ContentSettings(width=8, epochs=1)
    images = to_tensor(frames.images[:8])
    first, second, other = (
        train_content_features(SHAPES_SCHEMA, scenes, frames, SHAPES_ANNOTATIONS, seed, settings)(images)
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert first.shape != other.shape or not torch.allclose(first, other)


def test_state_round_trip(features: ContentFeatures) -> None:
    again = ContentFeatures.from_state(features.to_state())
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again(images), features(images)) and again.seen == features.seen

    assert again.weights == features.weights


def test_it_is_known_which_attributes_the_features_tell(features: ContentFeatures) -> None:
    assert features.seen and all(0 <= share <= 1 for share in features.seen.values())
    assert {key.split(".")[0] for key in features.seen} <= {node_class.name for node_class in SHAPES_SCHEMA.classes}


def test_filters_come_in_eights() -> None:
    with pytest.raises(ValueError, match="width: 12 is not a multiple of 8"):
        ContentSettings(width=12)


def test_features_are_frozen_and_of_each_image_alone(features: ContentFeatures) -> None:
    assert not any(parameter.requires_grad for parameter in features.parameters())
    features.train()
    assert not any(module.training for module in features.modules())
    images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    together = features(images)
    torch.testing.assert_close(together[2:3], features(images[2:3]), rtol=1e-4, atol=1e-5)
    drawn = shape_frames(5, seed=6)[1].images
    torch.testing.assert_close(
        features.of_images(drawn, batch_size=2), features(to_tensor(drawn)), rtol=1e-4, atol=1e-5
    )


def test_gradient_reaches_the_images(features: ContentFeatures) -> None:
    images = to_tensor(shape_frames(2, seed=5)[1].images)
    direction = torch.rand(images.shape, generator=torch.Generator().manual_seed(0)) - 0.5
    weights = torch.rand(features.dimension, generator=torch.Generator().manual_seed(1)) - 0.5

    def value(images: torch.Tensor) -> torch.Tensor:
        return (features(images) @ weights).sum()

    images.requires_grad_()
    (gradient,) = torch.autograd.grad(value(images), images)
    step = 2e-3
    with torch.no_grad():
        difference = float(value(images + step * direction) - value(images - step * direction)) / (2 * step)
    assert float((gradient * direction).sum()) == pytest.approx(difference, rel=0.05, abs=0.02)


def test_other_image_sizes_and_no_masks() -> None:
    scenes, frames = shape_frames(48, seed=0, size=40)
    plain = Frames(frames.images)
    features = train_content_features(SHAPES_SCHEMA, scenes, plain, {}, 0, ContentSettings(width=8, epochs=1))
    assert features.group_names == ["attributes", "shape.kind", "camera.noise", "colour", "texture"]
    assert features(torch.rand(2, 3, 100, 90)).shape == (2, features.dimension)
    assert torch.isfinite(features(torch.zeros(1, 3, 40, 40))).all()


def test_moments_by_hand() -> None:
    maps = torch.zeros(1, 1, 3, 3)
    maps[0, 0, 0, 2] = 2.0
    maps[0, 0, 2, 2] = 1.0
    # Mass, x, y, xx, yy, xy about the centre; the rightmost column is x = 1 and the top row y = -1.
    assert moments(maps)[0].tolist() == pytest.approx([3.0, 3.0, -1.0, 3.0, 3.0, -1.0])


def test_blur_keeps_mass_and_is_symmetric() -> None:
    maps = torch.zeros(1, 2, 15, 15)
    maps[0, :, 7, 7] = 1.0
    blurred = gaussian_blur(maps, 1.5)
    assert float(blurred[0, 0].sum()) == pytest.approx(1.0, abs=1e-5)
    torch.testing.assert_close(blurred, blurred.transpose(2, 3))
    ratio = float(blurred[0, 0, 7, 8] / blurred[0, 0, 7, 7])
    assert ratio == pytest.approx(np.exp(-0.5 / 1.5**2), rel=1e-5)


def test_statistics_tell_noise_and_brightness_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    flat = torch.full((1, 3, 32, 32), 0.5)
    noisy = flat + 0.1 * torch.randn(1, 3, 32, 32, generator=generator)
    a, b = image_statistics(flat)[0], image_statistics(noisy)[0]
    assert a[:3].tolist() == pytest.approx([0.5] * 3)
    assert float((b[6:8] - a[6:8]).min()) > 2
    assert torch.isfinite(a).all()


def test_a_cached_state_is_the_same_features(
    features: ContentFeatures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOSIM_CACHE", str(tmp_path))
    cached_tensors("features", {"seed": 0}, features.to_state)
    again = ContentFeatures.from_state(cached_tensors("features", {"seed": 0}, lambda: pytest.fail("computed again")))
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again(images), features(images))


@pytest.mark.parametrize(("height", "width"), [(47, 155), (37, 21)])
def test_features_follow_the_aspect_of_pictures_of_any_shape(height: int, width: int) -> None:
    scenes, square = shape_frames(24, seed=0, size=max(height, width))
    rows = slice((len(square.images[0]) - height) // 2, (len(square.images[0]) - height) // 2 + height)
    images = np.ascontiguousarray(square.images[:, rows, :width])
    frames = Frames(images, {"mask": np.ascontiguousarray(square.annotations["mask"][:, rows, :width])})
    settings = ContentSettings(width=8, epochs=1)
    features = train_content_features(SHAPES_SCHEMA, scenes, frames, SHAPES_ANNOTATIONS, 0, settings)
    assert features.input_size == ((16, 64) if width == 155 else (40, 24))
    found = features.of_images(images[:3], batch_size=2)
    assert found.shape == (3, features.dimension) and bool(found.isfinite().all())


def rectangles(count: int, seed: int = 0) -> tuple[list[SceneGraph], Frames]:
    """Scenes of rectangles with frames whose boxes alone are known."""
    scenes = rectangle_grammar(0.5, 0.5).sample_many(count, seed_sequence(seed, "rectangles"))
    with LocalPool(RectangleRenderer(32, 48)) as pool:
        frames = pool.render(scenes, list(range(count)))
    return scenes, Frames(frames.images, {"boxes": frames.annotations["boxes"]})


def test_boxes_alone_tell_counts_places_and_sizes_by_class() -> None:
    scenes, frames = rectangles(12)
    declared = {"boxes": RectangleRenderer.annotations["boxes"]}
    targets = content_targets(RECTANGLES, scenes, frames, declared)
    assert targets.mask_classes == 3
    assert ContentTargets.from_json(json.loads(json.dumps(targets.to_json()))) == targets
    labels = content_labels(RECTANGLES, scenes, frames, declared, targets, (4, 6))
    places = {(t.box_class, t.part): i for i, t in enumerate(targets.counts) if isinstance(t, BoxTarget)}
    assert len(places) == 10
    for i in range(12):
        rows = np.asarray(frames.annotations["boxes"][i], dtype=np.float64)
        for kind in (0, 1):
            own = rows[rows[:, 4] == kind]
            expected = {
                "count": len(own),
                "x": own[:, [0, 2]].sum() / 2 / 48,
                "y": own[:, [1, 3]].sum() / 2 / 32,
                "width": (own[:, 2] - own[:, 0]).sum() / 48,
                "height": (own[:, 3] - own[:, 1]).sum() / 32,
            }
            for part, value in expected.items():
                assert float(labels.counts[i, places[kind, part]]) == pytest.approx(value / 3, abs=1e-5)
    assert labels.grid is not None
    with LocalPool(RectangleRenderer(32, 48)) as pool:
        masks = np.asarray(pool.render(scenes, list(range(12))).annotations["mask"])
    covered = [float((mask > 0).mean()) for mask in masks]
    assert [1 - float(grid[0].mean()) for grid in labels.grid] == pytest.approx(covered, abs=0.03)


def test_features_of_boxes_alone_follow_what_is_there() -> None:
    scenes, frames = rectangles(240)
    declared = {"boxes": RectangleRenderer.annotations["boxes"]}
    settings = ContentSettings(edge=48, width=8, epochs=10, batch_size=16)
    features = train_content_features(RECTANGLES, scenes, frames, declared, seed=0, settings=settings)
    groups = dict(zip(features.group_names, features.weights, strict=True))
    assert {"layout", "moments", "classes", "boxes"} <= set(groups) and groups["boxes"] > 0.5
    others, pictures = rectangles(60, seed=1)
    place = [t for t in features.targets.counts if isinstance(t, BoxTarget)].index(BoxTarget(0, "width", 3))
    found = features(to_tensor(pictures.images))[:, features.groups[features.group_names.index("boxes")]][:, place]
    rows = np.asarray(pictures.annotations["boxes"], dtype=np.float64)
    truth = [float((each[:, 2] - each[:, 0])[each[:, 4] == 0].sum()) for each in rows]
    assert len(others) == 60 and float(np.corrcoef(found.detach().numpy(), truth)[0, 1]) > 0.7
