"""Where the features of a run come from: trained on the spot and cached, or read from a file of weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

    from autosim.env import Env
    from autosim.learning.features import Features
    from autosim.rendering.pool import RenderPool


@dataclass(frozen=True)
class FeatureSource:
    """``content`` is trained on ``frames`` frames drawn over the attributes' full ranges; the others need ``weights``."""

    kind: Literal["content", "squeezenet", "inception"] = "content"
    weights: str | None = None
    frames: int = 1500

    def load(self, env: Env, pool: RenderPool, device: torch.device) -> Features:
        raise NotImplementedError
