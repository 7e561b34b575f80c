"""What commands of autosim import, imported once for all that are forked from a process, see ``processes.py``."""

from __future__ import annotations

import importlib
import os

from autosim.parallel.start import LOOPBACK

LIBRARIES = (
    "torch", "ray", "ray.tune", "matplotlib.figure", "matplotlib.backends.backend_agg", "scipy.stats", "torchvision",
    "torch.utils.tensorboard",
    "autosim.cli.main", "autosim.runs.loop", "autosim.reports.run_page", "autosim.tuning.tune",
)  # fmt: skip

# As autosim imports Ray: only then it listens on loopback alone.
os.environ[LOOPBACK] = "0"
for name in LIBRARIES:
    importlib.import_module(name)
del os.environ[LOOPBACK]
