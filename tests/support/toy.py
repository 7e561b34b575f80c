"""The toy package as if it were installed, for commands run in a process of their own."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENTRY_POINTS = """
[autosim.algorithms]
walk = toy_sim.walk:Walk
broken = toy_sim.no_such_module:Algorithm

[autosim.envs]
spot = toy_sim.spot:Spot
"""


def install_toy(folder: Path) -> dict[str, str]:
    """Lay out the package's metadata in ``folder`` as pip would; returns the environment that finds both."""
    metadata = folder / "toy_sim-0.1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-sim\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    paths = [str(folder), str(ROOT / "tests" / "toy_package"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "AUTOSIM_CACHE": str(folder / "cache"),
    }


def image_folder(path: Path, count: int = 4, edge: int = 16) -> Path:
    """A folder of grey images, as a user's own target."""
    from PIL import Image

    path.mkdir()
    for i in range(count):
        Image.new("RGB", (edge, edge), (90 + i, 90, 90)).save(path / f"{i}.png")
    return path
