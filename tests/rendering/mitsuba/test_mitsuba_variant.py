"""LLVM's variant is taken where it renders, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autosim.rendering.mitsuba import variant as mitsuba_variant
from autosim.rendering.mitsuba.variant import LIBRARY, candidates, choose_variant, llvm_library
from autosim.scenes.graph import Node
from envs.clevr.env import Clevr, ClevrConfig


@pytest.fixture
def anew() -> Iterator[None]:
    """What was found is forgotten, before and after."""
    llvm_library.cache_clear()
    yield
    llvm_library.cache_clear()


def test_the_newest_come_first_and_old_ones_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LIBRARY, raising=False)
    names = [
        "linux-gnu/libLLVM-14.so.1",
        "linux-gnu/libLLVM-19.so",
        "llvm-20/lib/libLLVM.so.20.1",
        "llvm-17/lib/libLLVM.dylib",
        "linux-gnu/libLLVM.so",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    places = (f"{tmp_path}/linux-gnu", f"{tmp_path}/llvm-*/lib")
    monkeypatch.setattr(mitsuba_variant, "PLACES", places)
    found = [Path(path).relative_to(tmp_path.resolve()).as_posix() for path in candidates()]
    assert found == ["llvm-20/lib/libLLVM.so.20.1", "linux-gnu/libLLVM-19.so", "llvm-17/lib/libLLVM.dylib"]


def test_a_library_that_cannot_be_used_is_not(anew: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libLLVM-19.so").write_bytes(b"not a library")
    monkeypatch.setenv(LIBRARY, str(tmp_path / "libLLVM-19.so"))
    assert candidates() == [str(tmp_path / "libLLVM-19.so")]
    assert choose_variant("auto") == "scalar_rgb" == ClevrConfig().variant
    with pytest.raises(ValueError, match=r"^variant: llvm_ad_rgb does not render here: .*DRJIT_LIBLLVM_PATH"):
        ClevrConfig(variant="llvm_ad_rgb")


def test_a_configuration_holds_the_variant_that_was_chosen() -> None:
    assert ClevrConfig().variant == choose_variant("auto")
    assert choose_variant("auto") in ("scalar_rgb", "llvm_ad_rgb")
    assert ClevrConfig(variant="scalar_rgb").variant == "scalar_rgb"
    with pytest.raises(ValueError, match="variant: 'metal' is not one of"):
        ClevrConfig(variant="metal")  # type: ignore[arg-type]


def test_both_variants_show_the_same_scene() -> None:
    if llvm_library() is None:
        pytest.skip("there is no LLVM here that Mitsuba renders with")
    frames = []
    for config in (ClevrConfig(variant="scalar_rgb"), ClevrConfig(variant="llvm_ad_rgb")):
        env = Clevr(config)
        target, renderer = env.target(), env.renderer()
        assert target is not None
        renderer.build()
        scene = target.sample(np.random.SeedSequence(0))
        frames.append([renderer.render(scene, seed) for seed in range(4)])
        np.testing.assert_array_equal(renderer.render(scene, 2).image, frames[-1][2].image)
    scalar, llvm = (np.mean([frame.image for frame in part], axis=0) for part in frames)
    np.testing.assert_array_equal(frames[0][0].annotations["mask"], frames[1][0].annotations["mask"])
    assert abs(float((scalar - llvm).mean())) < 1.0 and float(np.abs(scalar - llvm).mean()) < 4.0


def test_llvm_leaves_small_images_to_the_scalar_variant_in_any_order() -> None:
    if llvm_library() is None:
        pytest.skip("there is no LLVM here that Mitsuba renders with")
    compiled, scalar = (Clevr(ClevrConfig(variant=variant)).renderer() for variant in ("llvm_ad_rgb", "scalar_rgb"))
    target = Clevr(ClevrConfig()).target()
    assert target is not None
    scene = target.sample(np.random.SeedSequence(0))
    large, small = (
        replace(scene, nodes=(Node("scene", {"samples": 16, "bounces": 8, "size": size}), *scene.nodes[1:]))
        for size in (64, 16)
    )
    compiled.build()
    expected = compiled.render(large, 1).image
    scalar.build()
    for _ in range(2):
        np.testing.assert_array_equal(compiled.render(small, 1).image, scalar.render(small, 1).image)
        np.testing.assert_array_equal(compiled.draw(large, 1, 0.1), scalar.draw(large, 1, 0.1))
        np.testing.assert_array_equal(compiled.render(large, 1).image, expected)
        np.testing.assert_array_equal(compiled.annotate(small)["mask"], scalar.annotate(small)["mask"])
    assert (scalar.render(large, 1).image != expected).any()
