"""Broad frames: labelled frames of scenes from the whole space, shared by everything that learns from labels.

They belong to an environment and not to a run: they are drawn once and cached. A request for fewer returns the first of
the cached ones; a request for more draws the rest.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from autosim import seeding
from autosim.cache import charge, read_arrays, write_arrays
from autosim.errors import RendererError
from autosim.rendering.actors.frame_collector import FrameCollector
from autosim.rendering.annotations import check_frame
from autosim.rendering.drawn import DrawnFrames
from autosim.rendering.frames import Frames
from autosim.scenes.grammar import child_seed
from autosim.scenes.graph import Continuous, SceneGraph
from autosim.scenes.priors import Normal, Prior

if TYPE_CHECKING:
    from autosim.env import Env
    from autosim.rendering.pool import RenderPool

# Broad frames belong to an environment: all seeds share them.
SEED = 0
# Frames that are drawn to check whether this renderer drew the cached ones.
PROBES = 4
# Frames that are drawn before they are put with the others: all at once, they would be in memory twice.
PART = 512
# Bytes of pixels and annotations beyond which frames are drawn every time.
LARGEST = 2**30
# Prefix of the names of annotations in the file, and the name of what drawing took.
ANNOTATION, CORE_SECONDS = "annotation ", "core seconds"


def broad_frames(env: Env, pool: RenderPool, count: int, images: bool = True) -> DrawnFrames:
    """The first ``count`` broad frames of an environment, cached on disk up to :data:`LARGEST` bytes. Their
    share of the CPU seconds that drawing the cached ones took is charged. Without ``images`` they have annotations and
    black images, as :meth:`RenderPool.annotate` gives them.
    """
    scenes = broad_scenes(env, max(count, PROBES))
    seeds = broad_seeds(len(scenes))
    images = images or pool.annotates_by_rendering
    draw = pool.render if images else pool.annotate
    probe = draw(scenes[:PROBES], seeds[:PROBES])
    description = {
        "env": env.name,
        "scenes": [scene.to_json() for scene in scenes[:PROBES]],
        "annotations": {name: repr(kind) for name, kind in pool.annotations.items()},
        "frames": digest(probe),
    }
    frames, seconds = _kept(description, pool, probe) or (probe, 0.0)
    charge(seconds * min(1.0, count / len(frames)))
    if len(frames) < count:
        start_seconds = pool.charged_core_seconds()
        collector = FrameCollector(len(scenes), pool.height, pool.width, pool.annotations)
        collector.put(0, frames)
        for start in range(len(frames), len(scenes), PART):
            places = slice(start, start + PART)
            collector.put(start, draw(scenes[places], seeds[places]))
        frames = collector.frames
        seconds += pool.charged_core_seconds() - start_seconds
        arrays = {
            # Black ones are not kept.
            "images": frames.images if images else frames.images[:, :0],
            CORE_SECONDS: np.array(seconds),
            **{f"{ANNOTATION}{k}": v for k, v in frames.annotations.items()},
        }
        if sum(values.nbytes for values in arrays.values()) <= LARGEST:
            write_arrays("broad", description, arrays)
    return DrawnFrames(tuple(scenes[:count]), tuple(seeds[:count]), frames.select(slice(count)))


def broad_seeds(count: int) -> list[int]:
    """The seeds of the first ``count`` broad frames."""
    return seeding.frame_seeds(SEED, "content frames", 0, count)


def broad_scenes(env: Env, count: int) -> list[SceneGraph]:
    """Scenes over the whole space: in every other one attributes are uniform over their ranges, in the rest normal
    around the middles; immutable attributes that have a prior follow it.

    At the ends of the ranges there is often little to see (objects outside the picture, say), so that features trained
    on uniform draws alone learn little about plausible pictures.
    """
    uniform = env.prior().widened()
    middles: dict[str, Prior] = {}
    for keyed in uniform.attributes(mutable_only=False):
        attribute = keyed.attribute
        if any(key in uniform.priors for key in keyed.prior_keys):
            continue
        if isinstance(attribute, Continuous) and not attribute.periodic:
            middles[keyed.key] = Normal((attribute.low + attribute.high) / 2, (attribute.high - attribute.low) / 6)
    central = uniform.with_priors(middles)
    seeds = seeding.seed_sequence(SEED, "content scenes")
    return [(central if i % 2 else uniform).sample(child_seed(seeds, i)) for i in range(count)]


def digest(frames: Frames) -> str:
    """SHA-256 (hexadecimal) of pixels and annotations."""
    found = hashlib.sha256(frames.images.tobytes())
    for name in sorted(frames.annotations):
        found.update(frames.annotations[name].tobytes())
    return found.hexdigest()


def _kept(description: dict[str, Any], pool: RenderPool, probe: Frames) -> tuple[Frames, float] | None:
    """The cached broad frames of an environment and the CPU seconds that they took; None where there are none, or
    one is not what the renderer gives.
    """
    arrays = read_arrays("broad", description)
    if arrays is None:
        return None
    try:
        images, seconds = arrays.pop("images"), float(arrays.pop(CORE_SECONDS))
        if images.shape[1:] == (0, pool.width, 3):
            images = np.zeros((len(images), pool.height, pool.width, 3), dtype=np.uint8)
        if not 0 <= seconds < math.inf:
            return None
        frames = Frames(images, {key.removeprefix(ANNOTATION): values for key, values in arrays.items()})  # type: ignore[arg-type]
        for i in range(len(frames)):
            check_frame(pool.annotations, frames.frame(i), pool.height, pool.width)
        return (frames, seconds) if digest(frames.select(slice(PROBES))) == digest(probe) else None
    except (KeyError, TypeError, ValueError, RendererError):
        return None
