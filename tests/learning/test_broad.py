"""Broad frames: drawn once for an environment, the first of many for who asks for few."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autosim.cache import saved_core_seconds
from autosim.learning import broad
from autosim.learning.broad import PROBES, broad_frames, broad_scenes
from autosim.rendering.drawn import DrawnFrames
from autosim.rendering.pool import LocalPool
from tests.support.helpers import BlobConfig, BlobEnv, blob_session


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("AUTOSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def made(count: int, size: int = 24, images: bool = True) -> tuple[DrawnFrames, int]:
    """Broad frames of the blobs, and how many images were rendered for them."""
    env = BlobEnv(BlobConfig(size=size))
    with LocalPool(env.renderer()) as pool:
        return broad_frames(env, pool, count, images), pool.images


def same(one: DrawnFrames, other: DrawnFrames) -> None:
    assert one.scenes == other.scenes and one.seeds == other.seeds
    np.testing.assert_array_equal(one.frames.images, other.frames.images)
    assert list(one.frames.annotations) == list(other.frames.annotations)
    for name, values in one.frames.annotations.items():
        np.testing.assert_array_equal(values, other.frames.annotations[name])
        assert values.dtype == other.frames.annotations[name].dtype


def test_they_are_drawn_once_and_fewer_are_the_first_of_more() -> None:
    many, rendered = made(30)
    again, second = made(30)
    few, third = made(9)
    assert (rendered, second, third) == (30, PROBES, PROBES)
    same(again, many)
    same(few, DrawnFrames(many.scenes[:9], many.seeds[:9], many.frames.select(slice(9))))


def test_more_than_are_kept_have_only_the_rest_drawn() -> None:
    few, first = made(9)
    many, second = made(30)
    assert (first, second) == (9, PROBES + 21)
    assert made(30)[1] == PROBES
    assert many.scenes[:9] == few.scenes and len(set(many.seeds)) == 30
    np.testing.assert_array_equal(many.frames.images[:9], few.frames.images)
    assert [len(made(count)[0]) for count in (1, 3)] == [1, 3]


def test_labels_alone_are_those_of_the_frames_and_are_kept_too(folder: Path) -> None:
    labels, rendered = made(30, images=False)
    again, second = made(30, images=False)
    (path,) = folder.rglob("*.npz")
    frames, third = made(30)
    assert (rendered, second, third) == (0, 0, 30)
    same(again, labels)
    same(labels, replace(frames, frames=replace(frames.frames, images=np.zeros_like(frames.frames.images))))
    assert path.stat().st_size < frames.frames.images.nbytes / 2
    path.write_bytes(path.read_bytes()[:200])
    same(made(30, images=False)[0], labels)


def test_what_drawing_took_is_charged_by_the_share_that_is_read() -> None:
    made(30)
    charged = []
    for count in (30, 15, 15):
        before = saved_core_seconds()
        made(count)
        charged.append(saved_core_seconds() - before)
    assert charged[0] > 0 and charged[1] == pytest.approx(charged[0] / 2) == pytest.approx(charged[2])


def test_they_are_the_frames_of_their_scenes_and_seeds() -> None:
    drawn, _ = made(12)
    env = BlobEnv(BlobConfig())
    with LocalPool(env.renderer()) as pool:
        frames = pool.render(drawn.scenes, drawn.seeds)
    same(drawn, DrawnFrames(drawn.scenes, drawn.seeds, frames))


def test_another_renderer_has_frames_of_its_own() -> None:
    made(12)
    assert made(12, size=16)[1] == 12

    class Otherwise(BlobEnv):
        def renderer(self):  # type: ignore[no-untyped-def]
            renderer = super().renderer()
            renderer.texture = 0.1  # type: ignore[attr-defined]
            return renderer

    env = Otherwise(BlobConfig())
    with LocalPool(env.renderer()) as pool:
        broad_frames(env, pool, 12)
        assert pool.images == 12


@pytest.mark.parametrize("size", [0, 100, -50])
def test_what_is_damaged_is_drawn_again(folder: Path, size: int) -> None:
    before, _ = made(12)
    (path,) = folder.rglob("*.npz")
    path.write_bytes(path.read_bytes()[:size])
    after, rendered = made(12)
    assert rendered == 12
    same(after, before)


def test_frames_beyond_the_bound_are_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broad, "LARGEST", 12 * 24 * 24 * 4)
    assert made(13)[1] == 13 and not list(folder.rglob("*.npz"))
    assert made(10)[1] == 10 and len(list(folder.rglob("*.npz"))) == 1
    assert made(13)[1] == PROBES + 3


def test_a_session_gives_them_uncounted_and_whatever_the_run_s_seed() -> None:
    first, other = blob_session(seed=0), replace(blob_session(seed=4))
    same(first.broad_frames(8), other.broad_frames(8))
    assert first.images == other.images == 0


def test_every_other_scene_is_spread_over_the_ranges_and_the_rest_about_the_middle() -> None:
    scenes = broad_scenes(BlobEnv(BlobConfig()), 600)
    powers = np.array([float(next(scene.find("light"))["power"]) for scene in scenes])
    uniform, central = powers[::2], powers[1::2]
    assert uniform.std() == pytest.approx(10 / np.sqrt(12), rel=0.1) and uniform.min() < 0.5 and uniform.max() > 9.5
    assert central.mean() == pytest.approx(5, abs=0.3) and central.std() == pytest.approx(10 / 6, rel=0.15)
