"""Where the features of a run come from: trained here and cached, or read from a file of weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from autosim import seeding
from autosim.cache import cached_tensors
from autosim.errors import UserError
from autosim.learning.broad import PROBES, SEED, broad_frames, broad_scenes
from autosim.rendering.usage import Usage

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from autosim.env import Env
    from autosim.learning.features.content import ContentFeatures
    from autosim.learning.features.features import Features
    from autosim.learning.features.structure import StructureFeatures
    from autosim.rendering.frames import Frames
    from autosim.rendering.pool import RenderPool
    from autosim.scenes.graph import SceneGraph

    TrainedFeatures = ContentFeatures | StructureFeatures

# Frames whose features set the scale of a divergence.
REFERENCES = 400


@dataclass(frozen=True)
class ReferencedFeatures:
    """Features, and the features (r, d) of a broad set of frames, which give a divergence its scale. ``usage``: the
    images that they needed, and their render cost.
    """

    features: Features
    reference: Tensor
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True)
class FeatureSource:
    """``content`` is trained on ``frames`` broad frames (:func:`broad_frames`), by default the environment's
    ``feature_frames``; lite0 has its weights from a package, and the others need ``weights``.
    """

    kind: Literal["content", "lite0", "squeezenet", "inception"] = "content"
    weights: str | None = None
    frames: int | None = None

    def load(self, env: Env, pool: RenderPool, device: torch.device) -> ReferencedFeatures:
        """Features for an environment; ``UserError`` where the file of weights is missing or does not fit."""
        return self._content(env, pool, device) if self.kind == "content" else self._pretrained(env, pool, device)

    def _content(self, env: Env, pool: RenderPool, device: torch.device) -> ReferencedFeatures:
        from autosim.learning.features.content import VERSION, ContentFeatures, ContentSettings, train_content_features

        settings = ContentSettings(edge=env.feature_edge, appearance=env.appearance)
        count = self.frames or env.feature_frames
        scenes = broad_scenes(env, count)

        def draw() -> Frames:
            return broad_frames(env, pool, count).frames

        def train(frames: Frames) -> TrainedFeatures:
            return train_content_features(env.schema, scenes, frames, pool.annotations, SEED, settings, device)

        known_by = {"version": VERSION, "settings": asdict(settings)}
        return _trained("content", known_by, env, pool, device, scenes, draw, train, ContentFeatures.from_state)

    def _pretrained(self, env: Env, pool: RenderPool, device: torch.device) -> ReferencedFeatures:
        from autosim.learning.features.pretrained import InceptionFeatures, Lite0Features, SqueezeNetFeatures

        shape = pool.height, pool.width
        features: Features
        if self.kind == "lite0":
            features = Lite0Features(shape=shape).to(device)
        elif not self.weights:
            raise UserError(f"features {self.kind!r} need a file of weights, and none is named")
        else:
            kinds = {"squeezenet": SqueezeNetFeatures, "inception": InceptionFeatures}
            features = kinds[self.kind](Path(self.weights), shape=shape).to(device)
        frames = broad_frames(env, pool, REFERENCES).frames
        usage = pool.usage_of(broad_scenes(env, REFERENCES))
        return ReferencedFeatures(features, features.of_images(frames.images, device), usage)


def structure_features(
    env: Env, pool: RenderPool, device: torch.device, count: int, batch_size: int = 32
) -> ReferencedFeatures:
    """Features that count what is in the picture, trained on ``count`` frames of the environment's prior, in batches of
    ``batch_size``, and cached; the first of these frames are the reference.
    """
    from autosim.learning.features.structure import (
        VERSION,
        StructureFeatures,
        StructureSettings,
        train_structure_features,
    )

    grammar, settings = env.prior(), StructureSettings(batch_size=batch_size)
    scenes = grammar.sample_many(count, seeding.seed_sequence(SEED, "structure scenes"))

    def draw() -> Frames:
        return pool.render(scenes, seeding.frame_seeds(SEED, "structure frames", 0, count))

    def train(frames: Frames) -> TrainedFeatures:
        return train_structure_features(grammar, scenes, frames, pool.annotations, SEED, settings, device)

    known_by = {"version": VERSION, "settings": asdict(settings)}
    return _trained("structure", known_by, env, pool, device, scenes, draw, train, StructureFeatures.from_state)


def _trained(
    kind: str,
    known_by: Mapping[str, Any],
    env: Env,
    pool: RenderPool,
    device: torch.device,
    scenes: list[SceneGraph],
    draw: Callable[[], Frames],
    train: Callable[[Frames], TrainedFeatures],
    read: Callable[[dict[str, Any]], Features],
) -> ReferencedFeatures:
    """Features trained on the frames of ``scenes`` that ``draw`` gives, or read from the cache. The cache finds them by
    ``known_by`` and by what they are trained on, so that other scenes or another renderer never get the wrong ones.
    """
    import torch

    def compute() -> dict[str, Any]:
        frames = draw()
        features = train(frames)
        reference = features.of_images(frames.images[:REFERENCES], device).cpu()
        return {"features": features.to_state(), "reference": reference}

    def fits(stored: dict[str, Any]) -> bool:
        features, reference = read(stored["features"]), stored["reference"]
        expected = (min(REFERENCES, len(scenes)), features.dimension)
        numbers = [reference, torch.tensor(features.weights), *features.state_dict().values()]
        return tuple(reference.shape) == expected and all(bool(part.isfinite().all()) for part in numbers)

    threads = {} if torch.get_num_threads() == 1 else {"threads": torch.get_num_threads()}
    probe = pool.render(scenes[:PROBES], seeding.frame_seeds(SEED, f"{kind} frames", 0, PROBES))
    description = {
        **known_by,
        **threads,
        "env": env.name,
        "frames": len(scenes),
        "device": device.type,
        "torch": torch.__version__,
        "scenes": [scene.to_json() for scene in scenes[:PROBES]],
        "annotations": {name: repr(kind) for name, kind in pool.annotations.items()},
        "pixels": hashlib.sha256(probe.images.tobytes()).hexdigest(),
    }
    stored = cached_tensors(kind, description, compute, fits, pool.charged_core_seconds)
    features, reference = read(stored["features"]).to(device), stored["reference"].to(device)
    return ReferencedFeatures(features, reference, pool.usage_of(scenes))
