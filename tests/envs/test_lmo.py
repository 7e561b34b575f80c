"""LM-O: 54 cells that mean what they say, objects at rest on tables, boxes of what is seen, models and photographs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from autosim import registry
from autosim.cli.run_options import parse_run
from autosim.env import Env
from autosim.errors import UserError
from autosim.formats.parts import TargetSettings
from autosim.rendering.renderer import Renderer
from autosim.scenes.graph import SceneGraph
from autosim.scenes.parametric import ParametricGenerator
from autosim.seeding import seed_sequence
from autosim.target import folder_target
from autosim.testing import EnvSuite, RendererSuite
from envs.lmo.cells import CELLS, FLOOR, LOCATIONS, QUALITIES, ROOMS, camera_frame, setting_of
from envs.lmo.env import Lmo, LmoConfig
from envs.lmo.models import CLASSES, NUMBERS, Model, clustered, read_models
from envs.lmo.renderer import FIELD_OF_VIEW, MIN_VISIBLE, LmoRenderer, RoomRenderer
from envs.lmo.scene import Profile, lmo_grammar, poses_in
from envs.lmo.standins import stand_ins

pytestmark = pytest.mark.usefixtures("one_thread")


def env(profile: Profile = "cells", width: int = 64, **options: object) -> Lmo:
    return Lmo(LmoConfig(profile=profile, width=width, arrangements=3, train_frames=4, **options))  # type: ignore[arg-type]


def scenes_in(cell: str, count: int = 2, purpose: str = "test") -> list[SceneGraph]:
    drawn = env().target().sample_many(count, seed_sequence(0, purpose))
    return [with_root(scene, cell=cell) for scene in drawn]


def with_root(scene: SceneGraph, **values: str) -> SceneGraph:
    first, *others = scene.nodes
    return replace(scene, nodes=(replace(first, attributes={**first.attributes, **values}), *others))


def boxes_of(renderer: Renderer, scene: SceneGraph) -> NDArray[np.float32]:
    rows = np.asarray(renderer.annotate(scene)["boxes"], dtype=np.float32)
    return rows[rows[:, 4] >= 0]


@pytest.fixture(scope="module")
def drawn() -> LmoRenderer:
    renderer = env().renderer()
    renderer.build()
    assert isinstance(renderer, LmoRenderer)
    return renderer


class TestCells(EnvSuite):
    def env(self) -> Env:
        return env()


@pytest.mark.slow
class TestContinuous(EnvSuite):
    def env(self) -> Env:
        return env("continuous", start="uniform")


class TestRenderer(RendererSuite):
    def renderer(self) -> Renderer:
        return env("continuous").renderer()

    def scenes(self) -> Sequence[SceneGraph]:
        drawn = env("continuous").target().sample_many(3, seed_sequence(0, "renderer"))
        return [with_root(scene, room=room) for scene, room in zip(drawn, ROOMS, strict=True)]


def test_there_are_54_cells_of_three_scenes_nine_locations_and_two_qualities() -> None:
    assert len(set(CELLS)) == 54 == len(ROOMS) * len(LOCATIONS) * len(QUALITIES)
    assert len(ROOMS) == 3 and len(LOCATIONS) == 9
    assert "kitchen/middle/fine" in CELLS


@pytest.mark.parametrize("where", LOCATIONS)
def test_the_camera_is_where_its_location_says(where: str) -> None:
    location = LOCATIONS[where]
    for scene in scenes_in(f"office/{where}/fine", 6, where):
        setting = setting_of(scene)
        eye, target, up = (np.array(each) for each in camera_frame(setting))
        back = eye - target
        distance = np.linalg.norm(back)
        elevation = np.degrees(np.arcsin(back[2] / distance))
        assert location.distance[0] - 1e-9 <= distance <= location.distance[1] + 1e-9
        assert location.elevation[0] - 1e-6 <= elevation <= location.elevation[1] + 1e-6
        assert abs(up @ back) < 1e-9
        beside = np.linalg.norm(target[:2] - np.array(location.place[:2]))
        assert location.aside[0] - 0.18 <= beside <= location.aside[1] + 0.18
        assert (location.place == FLOOR) == (where == "under")


def test_the_poor_start_is_mostly_on_bad_cells_and_the_uniform_one_on_all() -> None:
    def share(start: str) -> float:
        generator = ParametricGenerator(env(start=start).prior())
        (found,) = generator.choices()
        chances = found.probabilities.tolist()
        assert start == "poor" or max(chances) == pytest.approx(1 / 54)
        return sum(
            p for p, cell in zip(chances, CELLS, strict=True) if LOCATIONS[cell.split("/")[1]].good or "fine" in cell
        )

    assert share("poor") == pytest.approx(0.4)
    assert share("uniform") == pytest.approx(39 / 54)


def test_hidden_targets_are_on_good_cells_and_differ() -> None:
    found = []
    for seed in range(3):
        scenes = env(target_seed=seed).target().sample_many(40, seed_sequence(0, "target"))
        cells = [str(next(scene.find("scene"))["cell"]).split("/") for scene in scenes]
        assert all(LOCATIONS[where].good and quality == "fine" for _, where, quality in cells)
        found.append(max(ROOMS, key=[room for room, _, _ in cells].count))
    assert len(set(found)) > 1


def test_poses_are_those_of_an_arrangement_turned_and_are_not_learned() -> None:
    own = env()
    assert [keyed.key for keyed in own.prior().attributes()] == ["scene.cell"]
    middles = []
    for scene in own.prior().sample_many(8, seed_sequence(0, "poses")):
        poses = poses_in(scene, "object")
        between = [np.subtract(pose.place, poses[0].place) for pose in poses]
        lengths = np.linalg.norm(between, axis=1)
        known = [
            np.linalg.norm([np.subtract(p.place, each.objects[0].place) for p in each.objects], axis=1)
            for each in own.library.arrangements
        ]
        assert min(np.abs(lengths - other).max() for other in known) < 1e-9
        middles.append(np.arctan2(between[1][1], between[1][0]))
    assert len(set(np.round(middles, 3))) > 4


def test_equal_seeds_give_equal_scenes_with_a_library_made_anew() -> None:
    own = env()
    first = own.library.arrangements
    assert tuple(own.library.compute()) == first
    other = Lmo(LmoConfig(width=64, arrangements=2)).library
    assert other.compute()[:2] == list(first[:2])


@pytest.mark.parametrize("profile", ["cells", "continuous"])
def test_everything_rests_above_the_table(profile: Profile) -> None:
    own = env(profile)
    for arrangement in own.library.arrangements:
        for model, pose in zip(
            (*own.objects, *own.library.clutter), (*arrangement.objects, *arrangement.clutter), strict=True
        ):
            assert -0.003 < float(pose.apply(model.vertices)[:, 2].min()) < 0.25


def test_stand_ins_are_eight_things_of_different_shapes_and_colours() -> None:
    models = stand_ins()
    assert tuple(model.name for model in models) == CLASSES
    looks = [(*np.ptp(model.vertices, axis=0), *model.colours.mean(axis=0)) for model in models]
    apart = np.abs(np.array(looks)[:, None] - np.array(looks)[None]).max(axis=2)[np.triu_indices(8, 1)]
    assert apart.min() > 0.02
    for model in models:
        np.testing.assert_allclose(np.linalg.norm(model.normals, axis=1), 1.0, atol=1e-5)
        assert int(model.faces.max()) < len(model.vertices)


def whole(renderer: LmoRenderer, scene: SceneGraph, number: int, room: str) -> NDArray[np.bool_]:
    """The pixels in which an object would be seen if it were alone: all other things lie far away."""
    alone = []
    for node in scene.nodes:
        if node.node_class == "object" and node.slot != number:
            node = replace(node, attributes={**node.attributes, "z": -2.0})
        if node.node_class == "clutter":
            node = replace(node, attributes={**node.attributes, "z": -2.0})
        alone.append(node)
    own = renderer.rooms[room]
    assert isinstance(own, RoomRenderer)
    return np.asarray(own.instances(replace(scene, nodes=tuple(alone))) == number + 1)


def test_boxes_hold_what_is_seen_and_leave_out_what_is_hidden(drawn: LmoRenderer) -> None:
    shares = []
    for scene in scenes_in("kitchen/low/fine", 3):
        room = drawn.rooms["kitchen"]
        assert isinstance(room, RoomRenderer)
        instances = room.instances(scene)
        visible = room.visible(scene, instances.copy())
        boxes = {int(row[4]): row[:4] for row in boxes_of(drawn, scene)}
        for number, share in enumerate(visible):
            seen, alone = instances == number + 1, whole(drawn, scene, number, "kitchen")
            assert not (seen & ~alone).any()
            inside = not (alone[0].any() or alone[-1].any() or alone[:, 0].any() or alone[:, -1].any())
            if inside and alone.any():
                assert share == pytest.approx(seen.sum() / alone.sum(), abs=0.02)
            assert (number in boxes) == (share >= MIN_VISIBLE)
            if number in boxes:
                rows, columns = np.nonzero(seen)
                expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                np.testing.assert_array_equal(boxes[number], expected)
            shares.append(share)
    assert min(shares) < 0.9 and max(shares) > 0.95


def test_good_locations_show_all_objects_and_bad_ones_little(drawn: LmoRenderer) -> None:
    def figures(where: str) -> tuple[float, float]:
        boxes = [boxes_of(drawn, scene) for scene in scenes_in(f"office/{where}/coarse", 4)]
        sizes = np.concatenate([np.sqrt((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])) for b in boxes])
        return float(np.mean([len(each) for each in boxes])), float(np.median(sizes)) / drawn.width

    for where, location in LOCATIONS.items():
        count, size = figures(where)
        if location.good:
            assert count > 6 and 0.07 < size < 0.2
        elif where in ("far", "skimming"):
            assert size < 0.065
        elif where in ("close", "aside"):
            assert count < 7


def test_rooms_differ_in_light_and_under_the_table_it_is_dark(drawn: LmoRenderer) -> None:
    def light(room: str, where: str) -> float:
        return float(np.mean([drawn.draw(scene, 0).mean() for scene in scenes_in(f"{room}/{where}/fine")]))

    assert light("kitchen", "middle") > light("cellar", "middle") + 0.05
    assert light("kitchen", "under") < light("kitchen", "middle") / 2


def test_fine_pictures_cost_more_and_have_less_noise(drawn: LmoRenderer) -> None:
    def noise(quality: str) -> float:
        (scene,) = scenes_in(f"kitchen/high/{quality}", 1)
        return float(np.std([drawn.draw(scene, seed) for seed in range(4)], axis=0).mean())

    assert noise("coarse") > 1.3 * noise("fine")
    costs = [drawn.cost(scenes_in(f"kitchen/high/{quality}", 1)[0]) for quality in QUALITIES]
    assert costs[1] == costs[0] * QUALITIES["fine"] / QUALITIES["coarse"]


def test_clutter_and_pattern_are_attributes_of_the_continuous_profile() -> None:
    own = env("continuous")
    scene = own.target().sample(seed_sequence(0, "clutter"))

    def counted(share: float) -> int:
        nodes = [
            replace(node, attributes={**node.attributes, "clutter": share}) if node.node_class == "table" else node
            for node in scene.nodes
        ]
        return setting_of(replace(scene, nodes=tuple(nodes))).clutter

    assert (counted(0.0), counted(1.0)) == (0, len(own.library.clutter))


def ply_of(model: Model) -> bytes:
    """A model as BOP has them: millimetres, colours of vertices."""
    kinds = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")]
    rows = np.zeros(len(model.vertices), dtype=[(name, f"<{kind}") for name, kind in kinds])
    for i, axis in enumerate("xyz"):
        rows[axis] = model.vertices[:, i] * 1000
    for i, name in enumerate(("red", "green", "blue")):
        rows[name] = (model.colours[:, i] ** (1 / 2.2) * 255).round()
    faces = np.zeros(len(model.faces), dtype=[("count", "u1"), ("corners", "<i4", (3,))])
    faces["count"], faces["corners"] = 3, model.faces
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}"]
    head += [f"property {'float' if kind == 'f4' else 'uchar'} {name}" for name, kind in kinds]
    head += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header\n"]
    return "\n".join(head).encode() + rows.tobytes() + faces.tobytes()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for number, model in zip(NUMBERS, stand_ins(), strict=True):
        (folder / f"obj_{number:06d}.ply").write_bytes(ply_of(model))
    return folder


def test_models_of_a_folder_are_drawn_in_their_size_and_colours(models: Path, drawn: LmoRenderer) -> None:
    for read, made in zip(read_models(models), stand_ins(), strict=True):
        assert read.name == made.name
        np.testing.assert_allclose(np.ptp(read.vertices, axis=0), np.ptp(made.vertices, axis=0), atol=0.006)
        np.testing.assert_allclose(read.colours.mean(axis=0), made.colours.mean(axis=0), atol=0.2)
    other = env(meshes=models).renderer()
    other.build()
    (scene,) = scenes_in("kitchen/high/fine", 1)
    assert np.abs(other.draw(scene, 0) - drawn.draw(scene, 0)).mean() < 0.04


def test_merging_vertices_keeps_the_two_sides_of_a_thin_wall_apart() -> None:
    side = np.stack(np.meshgrid(np.linspace(0, 0.1, 21), np.linspace(0, 0.1, 21)), axis=2).reshape(-1, 2)
    below, above = (np.column_stack([side, np.full(len(side), z)]) for z in (0.0, 0.001))
    corner = np.arange(20)[:, None] * 21 + np.arange(20)
    up = np.stack([corner, corner + 1, corner + 22, corner, corner + 22, corner + 21], axis=2).reshape(-1, 3)
    faces = np.concatenate([up + len(side), up[:, ::-1]])
    shades = np.concatenate([np.full((len(side), 3), 0.2), np.full((len(side), 3), 0.8)])
    wall = clustered("wall", np.concatenate([below, above]), shades, faces, 0.02)
    assert len(wall.vertices) < 100
    for model_side, shade in ((-1.0, 0.2), (1.0, 0.8)):
        own = wall.normals[:, 2] * model_side > 0.99
        assert own.sum() * 2 == len(wall.vertices)
        np.testing.assert_allclose(wall.colours[own], shade, atol=1e-6)


def test_a_missing_or_uncoloured_model_is_named(models: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"obj_000001\.ply: is missing"):
        env(meshes=tmp_path)
    for path in models.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "obj_000009.ply").write_bytes((models / "obj_000009.ply").read_bytes().replace(b" red\n", b" rot\n"))
    with pytest.raises(UserError, match=r"obj_000009\.ply: has no colours"):
        read_models(tmp_path)
    with pytest.raises(ValueError, match="width: 100 is not a multiple of 32"):
        LmoConfig(width=100)


def radiance(colour: tuple[int, int, int]) -> bytes:
    """An environment map of one colour in Radiance's format, not compressed."""
    return b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 8 +X 16\n" + bytes((*colour, 129)) * (8 * 16)


def test_environment_maps_light_the_rooms(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds 0 environment maps \(\.hdr\); 3 are needed"):
        env(hdri=tmp_path)
    for i, colour in enumerate([(250, 20, 20), (20, 250, 20), (20, 20, 250)]):
        (tmp_path / f"{i}.hdr").write_bytes(radiance(colour))
    renderer = env(hdri=tmp_path).renderer()
    renderer.build()
    for i, room in enumerate(ROOMS):
        # Towards the horizon, where there is nothing but the map.
        upper = renderer.draw(scenes_in(f"{room}/skimming/fine", 1)[0], 0)[:8]
        assert int(upper.reshape(-1, 3).mean(axis=0).argmax()) == i
    (tmp_path / "1.hdr").write_bytes(b"no map")
    with pytest.raises(UserError, match=r"1\.hdr: is no environment map"):
        env(hdri=tmp_path)


def test_photographs_in_bop_s_layout_are_a_target_as_they_are(tmp_path: Path) -> None:
    """Objects by their numbers; those of which less than a tenth is seen do not count."""
    scene = tmp_path / "val" / "000002"
    (scene / "rgb").mkdir(parents=True)
    Image.new("RGB", (640, 480), (90, 90, 90)).save(scene / "rgb" / "000003.png")
    truth = [
        {"obj_id": number, "cam_R_m2c": [1, 0, 0, 0, 1, 0, 0, 0, 1], "cam_t_m2c": [0, 0, 1000]} for number in NUMBERS
    ]
    info = [
        {"bbox_obj": [80 * i, 40, 40, 40], "bbox_visib": [80 * i, 40, 40, 40], "visib_fract": 0.05 if i == 2 else 1.0}
        for i in range(8)
    ]
    (scene / "scene_gt.json").write_text(json.dumps({"3": truth}))
    (scene / "scene_gt_info.json").write_text(json.dumps({"3": info}))
    own = env(width=160)
    declared = dict(own.renderer().annotations)
    settings = TargetSettings(validation=tmp_path / "val", format="bop")
    target = folder_target(settings, declared, 120, 160, FIELD_OF_VIEW, own.class_aliases)
    assert target.validation is not None
    rows = target.validation.annotations["boxes"][0]
    rows = rows[rows[:, 4] >= 0]
    assert [CLASSES[int(row[4])] for row in rows] == [name for name in CLASSES if name != "cat"]
    np.testing.assert_allclose(rows[1], [20, 10, 30, 20, 1])


def test_the_field_of_view_is_that_of_the_photographs() -> None:
    assert pytest.approx(2 * np.degrees(np.arctan(320 / 572.4114)), abs=0.05) == FIELD_OF_VIEW


def test_the_plain_command_names_the_environment_and_its_options() -> None:
    assert registry.find_environment("lmo") is Lmo
    request = parse_run(["--algo=autosimulate", "--env=lmo", "--env.profile=continuous", "--env.width=96"])
    assert request.config.env_config.profile == "continuous"


def test_a_library_grammar_has_one_structure_and_can_be_widened() -> None:
    own = env()
    grammar = lmo_grammar(own.schema, own.library, {})
    assert grammar.learnable == {"attributes"}
    assert not grammar.interchangeable or grammar.interchangeable == ("clutter",)
    cells = [next(s.find("scene"))["cell"] for s in grammar.sample_many(120, seed_sequence(0, "wide"))]
    assert len(set(cells)) > 40
