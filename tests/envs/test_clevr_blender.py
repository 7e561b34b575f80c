"""CLEVR by Blender: the renderer's contract, and the pictures and masks of Mitsuba's renderer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autosim.cli.main import main
from autosim.rendering.annotations import check_frame
from autosim.rendering.renderer import Renderer
from autosim.scenes.graph import SceneGraph
from autosim.seeding import seed_sequence
from autosim.testing import RendererSuite
from envs.clevr.blender import ClevrBlender
from envs.clevr.env import Clevr, ClevrConfig
from envs.clevr.renderer import ClevrRenderer
from envs.clevr.scene import clevr_grammar, target_priors
from tests.envs.test_clevr import SCHEMA, SMALL, Thing, scene
from tests.support.blenders import installed_blender, stand_in

SHAPES: list[Thing] = [{"x": 2.0}, {"shape": "cube", "x": -2.0}, {"shape": "cylinder", "y": 3.0, "material": "metal"}]


@pytest.fixture(scope="module")
def blender() -> Iterator[str]:
    found = installed_blender(Path(os.environ["AUTOSIM_CACHE"]))
    if found is None:
        pytest.skip("needs Blender: autosim blender setup, or an executable on PATH")
    yield found
    for renderer in Shared.renderers.values():
        renderer.close()


class Shared:
    """Engines that are started once for this file: their start takes longer than most checks."""

    renderers: dict[tuple[str, Any], ClevrBlender] = {}  # noqa: RUF012

    @classmethod
    def renderer(cls, blender: str, boxes: bool = False) -> ClevrBlender:
        if (blender, boxes) not in cls.renderers:
            cls.renderers[blender, boxes] = ClevrBlender(SCHEMA, SMALL.edge, blender, boxes)
        found = cls.renderers[blender, boxes]
        if found._engine is None:
            found.build()
        return found


class TestRenderer(RendererSuite):
    @pytest.fixture(autouse=True)
    def with_blender(self, blender: str) -> None:
        self.blender = blender

    def renderer(self) -> Renderer:
        return ClevrBlender(SCHEMA, SMALL.edge, self.blender)

    def built(self) -> Renderer:
        return Shared.renderer(self.blender)

    def scenes(self) -> Sequence[SceneGraph]:
        mixed = clevr_grammar(SCHEMA, target_priors(SMALL, 0)).sample_many(3, seed_sequence(0, "test"))
        return [*mixed, scene({"shape": "cube"}, size=16, bounces=6), scene()]


def test_both_engines_draw_the_same_scene(blender: str) -> None:
    """Their noise differs, their light, materials, shapes and masks do not. Blender 3.4 is a level or two darker than
    later ones.
    """
    mitsuba = ClevrRenderer(SCHEMA, SMALL.sizes, SMALL.bounces, SMALL.edge).resized(48, 48, 64)
    mitsuba.build()
    cycles = ClevrBlender(SCHEMA, SMALL.edge, blender).resized(48, 48, 64)
    cycles.build()
    for graph in (scene(*SHAPES, bounces=6), scene(*SHAPES, bounces=2, ambient=90.0, back=10.0)):
        ours, theirs = mitsuba.render(graph, 1), cycles.render(graph, 1)
        assert (ours.annotations["mask"] != theirs.annotations["mask"]).sum() <= 2
        difference = theirs.image.astype(float) - ours.image
        assert abs(difference.mean()) < 2.0
        for number in range(4):
            assert abs(difference[ours.annotations["mask"] == number].mean()) < 4.0, number
    cycles.close()


def test_frames_and_masks_do_not_depend_on_the_process(blender: str) -> None:
    shared, fresh = Shared.renderer(blender), ClevrBlender(SCHEMA, SMALL.edge, blender)
    graphs = [scene(*SHAPES, samples=samples, size=size) for samples in (1, 4, 16) for size in (16, 24)]
    first, second = shared.render_many(graphs, range(6)), fresh.render_many(graphs[::-1], range(6)[::-1])[::-1]
    fresh.close()
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        # Neither the seed nor the quality moves an edge.
        np.testing.assert_array_equal(one.annotations["mask"], first[0].annotations["mask"])
        np.testing.assert_array_equal(other.annotations["mask"], first[0].annotations["mask"])


def test_boxes_hold_what_is_seen_of_each_object(blender: str) -> None:
    renderer = Shared.renderer(blender, boxes=True)
    graph = scene(*SHAPES)
    frame = renderer.render(graph, 0)
    check_frame(renderer.annotations, frame, SMALL.edge, SMALL.edge)
    instances = renderer.instances(graph)
    assert frame.annotations["boxes"][:, 4].tolist() == [0, 1, 2]
    for number, (x0, y0, x1, y1, _) in enumerate(frame.annotations["boxes"].astype(int), start=1):
        rows, columns = np.nonzero(instances == number)
        assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == [x0, y0, x1, y1]


def test_the_cost_is_that_of_mitsuba_s_renderer(tmp_path: Path) -> None:
    mitsuba = ClevrRenderer(SCHEMA, SMALL.sizes, SMALL.bounces, SMALL.edge)
    cycles = ClevrBlender(SCHEMA, SMALL.edge, stand_in(tmp_path))
    graphs = [scene(samples=samples, size=size) for samples in (1, 16) for size in (16, 24)]
    for effort in (1.0, 0.3):
        assert [cycles.cost(graph, effort) for graph in graphs] == [mitsuba.cost(graph, effort) for graph in graphs]
    larger = [renderer.resized(48, 30, 5).cost(graphs[0]) for renderer in (mitsuba, cycles)]
    assert larger[0] == larger[1] == 48 * 30 * 5


def test_the_engine_is_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stand_in(tmp_path)
    assert isinstance(Clevr(ClevrConfig(engine="blender", blender=path)).renderer(), ClevrBlender)
    assert isinstance(Clevr(ClevrConfig()).renderer(), ClevrRenderer)
    with pytest.raises(ValueError, match=r"^blender: .* is given, but engine is mitsuba; needed is blender$"):
        ClevrConfig(blender=path)
    with pytest.raises(ValueError, match=r"^windows: engine blender draws whole pictures only"):
        ClevrConfig(engine="blender", blender=path, windows=True)
    monkeypatch.setenv("AUTOSIM_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"^blender: no Blender is set up here; `autosim blender setup`"):
        ClevrConfig(engine="blender")


def test_a_run_without_blender_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTOSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    arguments = ["run", "--algo=metasim", "--env=clevr", "--env.engine=blender"]
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("autosim: --env.blender: no Blender is set up here; `autosim blender setup` installs it")
    assert main([*arguments, "--engine.blender", "/no/blender"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("autosim: --env.blender: '/no/blender' is no executable; allowed are")
