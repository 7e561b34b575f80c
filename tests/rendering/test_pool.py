"""Render pools: the same answers from any number of workers, and failures named in one line."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from autosim.errors import RendererError
from autosim.parallel import RaySettings
from autosim.rendering.actors.pool import RayPool
from autosim.rendering.actors.supervisor import SupervisorSettings
from autosim.rendering.differences import GradientMethod, GradientSettings
from autosim.rendering.frames import Frames
from autosim.rendering.losses import scene_vjp
from autosim.rendering.pool import LocalPool, RenderPool, make_pool
from autosim.runs.interrupt import heeding_interrupts
from tests.rendering.discs import DISC_SCENES, DiscRenderer
from tests.rendering.outside.disc_scenes import disc, engine
from tests.support.helpers import (
    BLOB_SCHEMA,
    BlobRenderer,
    FaultyRenderer,
    GrowingRenderer,
    ProbeRenderer,
    RestlessRenderer,
    SlowRenderer,
    TroubledRenderer,
    blob_scene,
    blob_scenes,
)

COUNT = 13
SCENES = blob_scenes(COUNT)
SEEDS = list(range(100, 100 + COUNT))


def random_cotangents(count: int = COUNT) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(count, 16, 16, 3)).astype(np.float32)


def assert_same(a: Frames, b: Frames) -> None:
    np.testing.assert_array_equal(a.images, b.images)
    assert list(a.annotations) == list(b.annotations)
    for name in a.annotations:
        np.testing.assert_array_equal(a.annotations[name], b.annotations[name])
        assert a.annotations[name].dtype == b.annotations[name].dtype


def test_local_frames_are_the_renderer_s_in_order() -> None:
    renderer = BlobRenderer()
    renderer.build()
    with LocalPool(BlobRenderer()) as pool:
        frames = pool.render(SCENES, SEEDS)
    assert_same(frames, Frames.stack([renderer.render(s, seed) for s, seed in zip(SCENES, SEEDS, strict=True)]))
    assert frames.images.dtype == np.uint8 and frames.annotations["mask"].shape == (COUNT, 16, 16)


def test_local_gradients_are_those_of_each_scene() -> None:
    renderer, cotangents, how = BlobRenderer(), random_cotangents(), GradientSettings()
    renderer.build()
    with LocalPool(BlobRenderer()) as pool:
        gradients = pool.vjp(SCENES, SEEDS, cotangents, how)
    for i, gradient in enumerate(gradients):
        np.testing.assert_array_equal(gradient, scene_vjp(renderer, SCENES[i], SEEDS[i], cotangents[i], how))


def test_a_local_pool_leaves_the_renderer_as_it_was() -> None:
    renderer = BlobRenderer()
    with LocalPool(renderer) as pool:
        pool.render(SCENES[:1], SEEDS[:1])
    assert not hasattr(renderer, "_u")


@pytest.mark.parametrize(("workers", "chunk"), [pytest.param(1, None, marks=pytest.mark.slow), (2, 5)])
def test_answers_do_not_depend_on_workers_or_chunks(ray_session: None, workers: int, chunk: int | None) -> None:
    cotangents = random_cotangents()
    cotangents[4] = 0
    with LocalPool(BlobRenderer()) as local, RayPool(BlobRenderer(), workers, chunk) as pool:
        for _ in range(2):
            frames = pool.render(SCENES, SEEDS)
            assert_same(frames, local.render(SCENES, SEEDS))
        assert frames.images.flags.writeable
        methods: list[GradientMethod] = ["central", "forward", "spsa"]
        for method in methods:
            how = GradientSettings(method)
            mine, theirs = pool.vjp(SCENES, SEEDS, cotangents, how), local.vjp(SCENES, SEEDS, cotangents, how)
            assert len(mine) == COUNT and not mine[4].any()
            for a, b in zip(mine, theirs, strict=True):
                np.testing.assert_array_equal(a, b)
        sizes = [len(BLOB_SCHEMA.values(scene)) for i, scene in enumerate(SCENES) if i != 4]
        assert pool.images == local.images == 2 * COUNT + sum(2 * n + (n + 1) + 8 for n in sizes)


def test_actors_import_no_torch_and_use_one_thread_each(ray_session: None) -> None:
    with RayPool(ProbeRenderer(), 2, chunk=1) as pool:
        pool.warm_up()
        annotations = pool.render(SCENES, SEEDS).annotations
        pool.vjp(SCENES[:2], SEEDS[:2], random_cotangents(2), GradientSettings())
        assert not pool.render(SCENES[:2], SEEDS[:2]).annotations["torch"].any()
    assert not annotations["torch"].any()
    assert set(annotations["threads"].tolist()) == {1}
    processes = set(annotations["process"].tolist())
    assert len(processes) == 2 and os.getpid() not in processes


class Troubled:
    """A pool of actors that are in trouble where they are told so; lost ones are replaced and the others stay."""

    def __init__(self, folder: Path, **settings: float) -> None:
        self.folder = folder
        limits = SupervisorSettings(**{"patience": 3.0, "slack": 1.0, **settings})  # type: ignore[arg-type]
        self.pool = RayPool(TroubledRenderer(folder), 2, chunk=4, settings=limits)
        self.pool.warm_up()
        self.before = (0, 0)

    def tell(self, seed: int, trouble: str) -> None:
        """What happens at this seed, and at no other."""
        for note in self.folder.iterdir():
            note.unlink()
        (self.folder / str(seed)).write_text(trouble)
        self.before = (self.pool.replaced, self.pool.images)

    def lost_and_drawn(self) -> tuple[int, int]:
        """Actors that were replaced since, and images."""
        return self.pool.replaced - self.before[0], self.pool.images - self.before[1]


@pytest.fixture(scope="module")
def troubled(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Troubled]:
    made = Troubled(tmp_path_factory.mktemp("troubles"))
    yield made
    made.pool.close()


@pytest.mark.parametrize(
    ("trouble", "times"), [("die", 1), pytest.param("raise", 2, marks=pytest.mark.slow), ("hang", 1)]
)
def test_an_actor_that_dies_fails_or_hangs_half_way_loses_nothing(troubled: Troubled, trouble: str, times: int) -> None:
    with LocalPool(BlobRenderer()) as local:
        expected = local.render(SCENES, SEEDS)
    troubled.pool.render(SCENES[:4], SEEDS[:4])
    troubled.tell(SEEDS[7], f"{trouble} {times}")
    started = time.perf_counter()
    assert_same(troubled.pool.render(SCENES, SEEDS), expected)
    assert time.perf_counter() - started < 30
    assert len(list(troubled.folder.glob("*-*"))) == times
    assert troubled.lost_and_drawn() == (times, COUNT)


def test_an_actor_that_dies_in_a_gradient_loses_nothing(troubled: Troubled) -> None:
    with LocalPool(BlobRenderer()) as local:
        gradients = local.vjp(SCENES, SEEDS, random_cotangents(), GradientSettings())
    troubled.tell(SEEDS[6], "die 1")
    for a, b in zip(troubled.pool.vjp(SCENES, SEEDS, random_cotangents(), GradientSettings()), gradients, strict=True):
        np.testing.assert_array_equal(a, b)
    assert troubled.lost_and_drawn()[0] == len(list(troubled.folder.glob("*-*"))) == 1


@pytest.mark.parametrize(
    ("trouble", "reason"), [("die 9", r"its process failed \(.*\)"), ("raise 3", "OSError: the licence server is gone")]
)
def test_a_scene_that_loses_three_actors_is_given_up_and_named(troubled: Troubled, trouble: str, reason: str) -> None:
    """Although it is sent with others."""
    troubled.tell(SEEDS[6], trouble)
    with pytest.raises(RendererError, match=f"^TroubledRenderer: scene 6: {reason}$"):
        troubled.pool.render(SCENES, SEEDS)
    # One more where a process that died took the answer before it along.
    assert troubled.lost_and_drawn()[0] in ((3, 4) if trouble == "die 9" else (3,))


@pytest.mark.slow
def test_an_actor_that_always_hangs_is_named_with_its_scene(ray_session: None, tmp_path: Path) -> None:
    troubled = Troubled(tmp_path, attempts=2, patience=1.0, first_patience=60.0)
    with troubled.pool as pool:
        troubled.tell(SEEDS[2], "hang 9")
        with pytest.raises(RendererError, match=r"^TroubledRenderer: scene 2: .*no answer for"):
            pool.render(SCENES[:3], SEEDS[:3])
        assert len(pool.render(SCENES[:2], SEEDS[:2])) == 2


@pytest.mark.slow
def test_actors_are_renewed_after_so_many_images_and_nothing_changes(ray_session: None) -> None:
    with LocalPool(BlobRenderer()) as local:
        expected = local.render(SCENES, SEEDS)
    with RayPool(BlobRenderer(), 2, chunk=2, ray_settings=RaySettings(recycle_after=4)) as pool:
        assert_same(pool.render(SCENES, SEEDS), expected)
        assert pool.replaced >= 2 and pool.images == COUNT


def test_actors_that_grow_are_renewed(ray_session: None) -> None:
    with RayPool(GrowingRenderer(20 << 20), 1, chunk=1, settings=SupervisorSettings(most_growth=50 << 20)) as pool:
        pool.render(SCENES[:8], SEEDS[:8])
        assert 1 <= pool.replaced <= 2


@pytest.mark.slow
def test_an_engine_that_leaks_is_replaced_with_its_actor(ray_session: None) -> None:
    """The engine's process grows, by 10 MiB a frame, and not the actor's."""
    scenes, seeds = [disc(8.0 + i) for i in range(12)], list(range(20, 32))
    with LocalPool(engine()) as local:
        expected = local.render(scenes, seeds)
    with RayPool(engine("leak"), 1, chunk=1, settings=SupervisorSettings(most_growth=50 << 20)) as pool:
        assert_same(pool.render(scenes, seeds), expected)
        assert pool.replaced == 1


@pytest.mark.parametrize("name", ["in_flight", "attempts", "patience", "slack", "first_patience", "most_growth"])
def test_settings_of_a_team_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        SupervisorSettings(**{name: 0})
    with pytest.raises(ValueError, match="recycled_after"):
        SupervisorSettings(recycled_after=-1)


FAULTS = [
    ("raises", "ZeroDivisionError: a lamp of no size"),
    ("shape", "draw gave float32 (15, 16, 3) instead of float32 (16, 16, 3)"),
    ("type", "draw gave float64 (16, 16, 3) instead of float32 (16, 16, 3)"),
    ("finite", "draw gave 1 values that are not finite"),
]


@pytest.mark.parametrize(("fault", "reason"), FAULTS)
def test_a_failing_renderer_is_named_with_the_scene_and_the_cause(fault: str, reason: str) -> None:
    with LocalPool(FaultyRenderer(fault, first=102)) as pool:
        with pytest.raises(RendererError, match=f"^{re.escape(f'FaultyRenderer: scene 2: {reason}')}$"):
            pool.render(SCENES, SEEDS)
        with pytest.raises(RendererError, match=f"^{re.escape(f'FaultyRenderer: gradient of scene 2: {reason}')}$"):
            pool.vjp(SCENES, SEEDS, random_cotangents(), GradientSettings())


def test_actors_report_failures_as_a_local_pool_does(ray_session: None) -> None:
    fault, reason = FAULTS[0]
    once = SupervisorSettings(attempts=1)
    with RayPool(FaultyRenderer(fault, first=102), 2, chunk=1, settings=once) as pool:
        with pytest.raises(RendererError, match=f"^FaultyRenderer: scene 2: {reason}$"):
            pool.render(SCENES, SEEDS)
        assert len(pool.render(SCENES[:2], SEEDS[:2])) == 2
    with RayPool(FaultyRenderer("build"), 1) as pool:
        for use in (pool.warm_up, lambda: pool.render(SCENES[:1], SEEDS[:1])):
            with pytest.raises(
                RendererError, match=r"^FaultyRenderer: could not be built: OSError: no engine found here$"
            ):
                use()


def test_every_kind_of_annotation_comes_back_from_actors(ray_session: None) -> None:
    scenes, seeds = DISC_SCENES * 3, list(range(9))
    with LocalPool(DiscRenderer()) as here, RayPool(DiscRenderer(), 2, chunk=2) as there:
        expected, found = here.render(scenes, seeds), there.render(scenes, seeds)
    assert_same(found, expected)
    assert {name: values.dtype for name, values in found.annotations.items()} == {
        name: kind.dtype for name, kind in DiscRenderer.annotations.items()
    }
    assert [int((boxes[:, 4] >= 0).sum()) for boxes in found.annotations["boxes"]] == [1, 2, 3] * 3


def test_annotations_without_images_are_those_of_the_frames_and_cost_none(ray_session: None) -> None:
    with LocalPool(BlobRenderer()) as here, RayPool(BlobRenderer(), 2, chunk=2) as there:
        found, others = here.annotate(SCENES, SEEDS), there.annotate(SCENES, SEEDS)
        assert here.images == there.images == here.cost == there.cost == 0 < here.core_seconds
        expected = here.render(SCENES, SEEDS)
    assert_same(found, Frames(np.zeros_like(expected.images), expected.annotations))
    assert_same(others, found)


def test_annotations_of_a_renderer_that_renders_for_them_come_with_images_and_count() -> None:
    with LocalPool(DiscRenderer()) as pool:
        assert pool.annotates_by_rendering
        found = pool.annotate(DISC_SCENES, [1, 2, 3])
        assert pool.images == 3
        assert_same(found, pool.render(DISC_SCENES, [1, 2, 3]))


def test_annotations_that_are_not_as_declared_are_named_with_the_scene(ray_session: None) -> None:
    scenes = [blob_scene(0, 2), blob_scene(1, 2), blob_scene(2, 3)]
    once = SupervisorSettings(attempts=1)
    there = RayPool(FaultyRenderer("annotations"), 1, 1, once)
    pools: list[RenderPool] = [LocalPool(FaultyRenderer("annotations")), there]
    reason = "annotation 'mask' is uint8 (15, 16) instead of uint8 (16, 16)"
    for pool in pools:
        with pool, pytest.raises(RendererError, match=f"^{re.escape(f'FaultyRenderer: scene 2: {reason}')}$") as caught:
            pool.render(scenes, [0, 1, 2])
        assert caught.value.scene == scenes[2].to_json()


def test_bad_calls_are_refused() -> None:
    with LocalPool(BlobRenderer()) as pool:
        with pytest.raises(ValueError, match="no scenes"):
            pool.render([], [])
        with pytest.raises(ValueError, match="1 seeds for 2 scenes"):
            pool.render(SCENES[:2], [0])
        for seed in (-1, 2**31):
            with pytest.raises(ValueError, match=f"seed {seed} of scene 1"):
                pool.render(SCENES[:2], [0, seed])
        with pytest.raises(ValueError, match=r"shape \(1, 16, 16, 3\) instead of \(2, 16, 16, 3\)"):
            pool.vjp(SCENES[:2], [0, 1], random_cotangents(1), GradientSettings())
        cotangents = random_cotangents(2)
        cotangents[1, 0, 0, 0] = np.inf
        with pytest.raises(ValueError, match="cotangent of scene 1 is not finite"):
            pool.vjp(SCENES[:2], [0, 1], cotangents, GradientSettings())
        assert pool.images == 0
    for workers in (-1, -5):
        with pytest.raises(ValueError, match="workers"):
            make_pool(BlobRenderer(), workers)
    with pytest.raises(ValueError, match="chunk"):
        RayPool(BlobRenderer(), 1, chunk=0)


def test_make_pool_renders_here_or_in_actors(ray_session: None) -> None:
    here = make_pool(ProbeRenderer(), 0)
    there = make_pool(ProbeRenderer(), 1)
    assert here.workers == 0 and there.workers == 1
    assert here.render(SCENES[:1], [0]).annotations["process"].tolist() == [os.getpid()]
    assert there.render(SCENES[:1], [0]).annotations["process"].tolist() != [os.getpid()]
    for pool in (here, there):
        pool.close()
        pool.close()


def test_one_scene_s_gradient_is_shared_between_actors(ray_session: None, tmp_path: Path) -> None:
    with RayPool(SlowRenderer(0.01, tmp_path), 2) as pool:
        # An actor that is up much earlier could do it all alone.
        pool.warm_up()
        pool.vjp([blob_scene(0, blobs=3)], [0], random_cotangents(1), GradientSettings())
    assert len(list(tmp_path.iterdir())) == 2


def test_interrupting_a_render_ends_it_at_once(ray_session: None, ignored_interrupts: None) -> None:
    with heeding_interrupts(), RayPool(SlowRenderer(60.0), 2) as pool:
        pool.warm_up()
        timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        started = time.perf_counter()
        with pytest.raises(KeyboardInterrupt):
            pool.render(SCENES, SEEDS)
    assert time.perf_counter() - started < 20


def test_a_renderer_that_does_not_keep_to_scene_and_seed_is_noticed_after_a_hundred_images() -> None:
    scenes, seeds = [SCENES[i % COUNT] for i in range(40)], range(40)
    with LocalPool(RestlessRenderer()) as pool, LocalPool(BlobRenderer()) as good:
        for images in (40, 80):
            pool.render(scenes, seeds)
            assert pool.notice == "" and pool.images == images
        for _ in range(3):
            pool.render(scenes, seeds)
            good.render(scenes, seeds)
        assert re.match("RestlessRenderer: scene 39 with seed 39 .* drawn again: 1 pixels differ, by 12", pool.notice)
        assert good.notice == "" and pool.images == 200 and good.images == 120


def test_images_are_drawn_again_by_another_actor_and_not_counted(troubled: Troubled) -> None:
    scenes, seeds = [SCENES[i % COUNT] for i in range(120)], range(120)
    with RayPool(ProbeRenderer(), 2) as pool:
        pool.render(scenes, seeds)
        assert pool.images == 120 and "in another process: annotation 'process' differs" in pool.notice
    troubled.tell(-1, "none 0")
    troubled.pool.render(scenes, seeds)
    assert troubled.lost_and_drawn() == (0, 120) and troubled.pool.notice == ""
