"""Which of Mitsuba's variants renders here: LLVM's, about twice as fast at images of many samples, or the scalar one,
which works everywhere.

Older LLVMs crash the process, so each is tried in a process of its own: ``python -m autosim.rendering.mitsuba.variant``
exits with 0 where a small scene is rendered correctly.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

Variant = Literal["auto", "scalar_rgb", "llvm_ad_rgb"]
VARIANTS: tuple[Variant, ...] = ("auto", "scalar_rgb", "llvm_ad_rgb")
# The environment variable that tells Mitsuba's compiler where LLVM is.
LIBRARY = "DRJIT_LIBLLVM_PATH"
# Older versions crash.
OLDEST = 16
PLACES = (
    "/usr/lib/llvm-*/lib",
    "/usr/lib/*-linux-gnu",
    "/usr/lib64",
    "/usr/lib64/llvm*/lib",
    "/usr/local/lib",
    "/opt/homebrew/opt/llvm*/lib",
    "/usr/local/opt/llvm*/lib",
)
# Libraries that are tried, newest first, and seconds that a trial may take.
TRIALS, PATIENCE = 3, 60.0


def choose_variant(wanted: Variant) -> Literal["scalar_rgb", "llvm_ad_rgb"]:
    """``wanted``, or for ``auto`` LLVM's where it renders correctly and the scalar one otherwise.

    ``ValueError`` where LLVM's is wanted and does not render here.
    """
    if wanted == "scalar_rgb":
        return wanted
    if llvm_library() is not None:
        return "llvm_ad_rgb"
    if wanted == "llvm_ad_rgb":
        raise ValueError(f"llvm_ad_rgb does not render here: it needs LLVM {OLDEST} or newer, which {LIBRARY} may name")
    return "scalar_rgb"


@cache
def llvm_library() -> str | None:
    """Path of the newest LLVM with which Mitsuba renders correctly; None where there is none."""
    for path in candidates():
        environment = {**os.environ, LIBRARY: path}
        command = [sys.executable, "-m", __name__]
        try:
            trial = subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if trial.returncode == 0:
            return path
    return None


def candidates() -> list[str]:
    """Libraries to try: the one that the environment names, or else the newest in the systems' usual folders."""
    if named := os.environ.get(LIBRARY):
        return [named]
    found = {path.resolve(): _version(path.resolve()) for path in _libraries()}
    new = [path for path, version in found.items() if version >= OLDEST]
    return [str(path) for path in sorted(new, key=lambda path: (-found[path], str(path)))][:TRIALS]


def _libraries() -> Iterator[Path]:
    for place in PLACES:
        for suffix in (".so*", ".dylib"):
            yield from Path("/").glob(f"{place[1:]}/libLLVM*{suffix}")


def _version(path: Path) -> int:
    """Major version by the name of the file or of its folders; 0 where these do not contain it."""
    for part in (path.name, *(parent.name for parent in path.parents)):
        if number := re.search(r"(?:LLVM-|\.so\.|llvm[@-])(\d+)", part):
            return int(number[1])
    return 0


def renders_correctly(mi: Any) -> bool:
    """Whether a white ball before a background of one half is rendered correctly: background and centre."""
    import numpy as np

    look = mi.ScalarTransform4f().look_at(origin=[0, 0, 5], target=[0, 0, 0], up=[0, 1, 0])
    film = {"type": "hdrfilm", "width": 16, "height": 16, "rfilter": {"type": "box"}, "pixel_format": "rgb"}
    scene = mi.load_dict(
        {
            "type": "scene",
            "integrator": {"type": "path", "max_depth": 2},
            "sensor": {"type": "perspective", "fov": 40, "to_world": look, "film": film},
            "light": {"type": "constant", "radiance": {"type": "rgb", "value": [0.5] * 3}},
            "ball": {"type": "sphere", "bsdf": {"type": "diffuse", "reflectance": {"type": "rgb", "value": [1.0] * 3}}},
        }
    )
    image = np.array(mi.render(scene, spp=64, seed=0))
    hit = scene.ray_intersect_preliminary(mi.Ray3f([0, 0, 5], [0, 0, -1]))
    valid = bool(np.array(hit.is_valid()).all())
    # Under even light a white ball with one bounce is as bright as the background, up to the samples' noise.
    return valid and np.allclose(image[0], 0.5, atol=1e-3) and abs(float(image[6:10, 6:10].mean()) - 0.5) < 0.05


def main() -> int:
    """Try the LLVM that the environment names."""
    import mitsuba as mi

    mi.set_variant("llvm_ad_rgb")
    return 0 if renders_correctly(mi) else 1


if __name__ == "__main__":
    raise SystemExit(main())
