"""Renderers for tests: analytic ones with derivatives in closed form, and ones that misbehave.

Ray workers import this module, so torch is imported where it is used.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from autosim.env import Env, TargetSizes
from autosim.learning.schedule import TrainingSchedule
from autosim.rendering.annotations import ClassMask, Values
from autosim.rendering.frames import Frames
from autosim.rendering.renderer import Renderer
from autosim.scenes.grammar import Choice, Emission, Grammar, Normal, Prior, Rule
from autosim.scenes.graph import Categorical, Continuous, Node, NodeClass, SceneGraph, Schema

if TYPE_CHECKING:
    from torch import Tensor

    from autosim.learning.tasks.task import Task
    from autosim.rendering.pool import RenderPool
    from autosim.session import Session

BLOB = NodeClass(
    "blob",
    (
        Continuous("x", -1.0, 1.0, step=0.02),
        Continuous("y", -1.0, 1.0, step=0.02),
        Continuous("width", 0.2, 0.6, step=0.004, mutable=False),
        Continuous("hue", 0.0, 360.0, unit="degrees", periodic=True, step=4.0),
        Categorical("sign", ("bright", "dim")),
    ),
    slots=3,
)
LIGHT = NodeClass("light", (Continuous("power", 0.0, 10.0, unit="W", step=0.1),))
BLOB_SCHEMA = Schema((LIGHT, BLOB))
BLOB_CLASSES = ("background", "first", "second", "third")


class BlobRenderer(Renderer):
    """A light and Gaussian blobs ``b`` on a canvas [-1, 1]², smooth in every attribute:

    ``R[v, u, c] = t(seed)[v, u] * (1 - exp(-power/10 * sum_b s_b * (1.2 + cos(hue_b + 2 pi c/3)) * g_b(u, v)))`` with
    ``g_b`` an isotropic Gaussian of standard deviation ``width`` around (x, y), ``s_b`` .5 for bright and .2 for dim
    ones, and ``t(seed)`` a random texture in (1 - texture, 1). ``mask`` is 1 + the slot of the strongest blob, or 0;
    there are ``slots`` of them at most, and ``blobs`` in the scene.
    """

    schema = BLOB_SCHEMA

    def __init__(self, size: int = 16, texture: float = 0.3, slots: int = 3) -> None:
        self.height = self.width = size
        self.annotations = {"mask": ClassMask(BLOB_CLASSES[: 1 + slots]), "blobs": Values(whole=True)}
        self.texture = texture

    def build(self) -> None:
        axis = (np.arange(self.width) + 0.5) / self.width * 2 - 1
        self._u, self._v = np.meshgrid(axis, axis)

    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        total = np.zeros((self.height, self.width, 3))
        for node in scene.find("blob"):
            angle = np.deg2rad(float(node["hue"])) + 2 * np.pi * np.arange(3) / 3
            strength = 0.5 if node["sign"] == "bright" else 0.2
            total += strength * self._gaussian(node)[:, :, None] * (1.2 + np.cos(angle))
        power = sum(float(node["power"]) for node in scene.find("light")) / 10
        return (self.pattern(seed)[:, :, None] * (1 - np.exp(-power * total))).astype(np.float32)

    def annotate(self, scene: SceneGraph) -> Mapping[str, NDArray[np.generic]]:
        layers = [np.full((self.height, self.width), 0.3)] + [self._gaussian(node) for node in scene.find("blob")]
        slots = np.array([0] + [1 + node.slot for node in scene.find("blob")], dtype=np.uint8)
        return {"mask": slots[np.argmax(layers, axis=0)], "blobs": np.array(len(slots) - 1)}

    def pattern(self, seed: int) -> NDArray[np.float64]:
        """The texture (H, W) of a seed."""
        return 1 - self.texture * np.random.default_rng(seed).random((self.height, self.width))

    def torch_images(self, scenes: Sequence[SceneGraph], values: Tensor, seeds: Sequence[int]) -> Tensor:
        """The same images, float64 (n, 3, H, W), with torch's gradient to the normalised ``values`` (m,)."""
        import torch

        axis = (torch.arange(self.width, dtype=torch.float64) + 0.5) / self.width * 2 - 1
        images, taken = [], 0
        for scene, seed in zip(scenes, seeds, strict=True):
            total = torch.zeros(3, self.height, self.width, dtype=torch.float64)
            power = torch.zeros((), dtype=torch.float64)
            for node in scene.nodes:
                if node.node_class == "light":
                    power = power + values[taken]
                    taken += 1
                    continue
                x, y, hue = values[taken] * 2 - 1, values[taken + 1] * 2 - 1, values[taken + 2]
                taken += 3
                square = (axis[None, :] - x) ** 2 + (axis[:, None] - y) ** 2
                gaussian = torch.exp(-square / (2 * float(node["width"]) ** 2))
                tint = 1.2 + torch.cos(2 * torch.pi * (hue + torch.arange(3, dtype=torch.float64) / 3))
                total = total + (0.5 if node["sign"] == "bright" else 0.2) * tint[:, None, None] * gaussian
            images.append(torch.from_numpy(self.pattern(seed)) * (1 - torch.exp(-power * total)))
        return torch.stack(images)

    def _gaussian(self, node: Node) -> NDArray[np.float64]:
        square = (self._u - float(node["x"])) ** 2 + (self._v - float(node["y"])) ** 2
        gaussian: NDArray[np.float64] = np.exp(-square / (2 * float(node["width"]) ** 2))
        return gaussian


def blob_scene(seed: int, blobs: int | None = None) -> SceneGraph:
    """A light with one to three blobs (``blobs`` of them if given), away from the attributes' bounds."""
    draw = np.random.default_rng(seed)
    count = int(draw.integers(1, 4)) if blobs is None else blobs
    nodes = [Node("light", {"power": float(draw.uniform(3, 9))})]
    for slot in range(count):
        attributes: dict[str, float | str | int] = {
            "x": float(draw.uniform(-0.8, 0.8)),
            "y": float(draw.uniform(-0.8, 0.8)),
            "width": float(draw.uniform(0.25, 0.55)),
            "hue": float(draw.uniform(0, 360)),
            "sign": "bright" if draw.random() < 0.5 else "dim",
        }
        nodes.append(Node("blob", attributes, slot))
    return SceneGraph(tuple(nodes), (-1,) + (0,) * count)


def blob_scenes(count: int, first: int = 0, blobs: int | None = None) -> list[SceneGraph]:
    """Scenes of different structure, or with ``blobs`` of them each."""
    return [blob_scene(first + i, blobs) for i in range(count)]


def blob_grammar(power: float, x: float, hue: float, bright: float) -> Grammar:
    """A light over two blobs of nearly fixed places and colours; ``bright`` is the probability of a bright one."""
    priors: dict[str, Prior] = {
        "light.power": Normal(power, 0.5),
        "blob.x": Normal(x, 0.1),
        "blob.0.y": Normal(-0.4, 0.1),
        "blob.1.y": Normal(0.4, 0.1),
        "blob.hue": Normal(hue, 15.0),
        "blob.sign": Choice((bright, 1 - bright)),
    }
    emissions = {"Scene": Emission("light"), "First": Emission("blob", 0), "Second": Emission("blob", 1)}
    return Grammar(BLOB_SCHEMA, "Scene", (Rule("Scene", ("First", "Second")),), emissions, priors)


@dataclass(frozen=True)
class BlobConfig:
    """Options of the environment of blobs."""

    size: int = 24


class BlobEnv(Env):
    """Two blobs to be moved to the right, made brighter, and turned in hue across the seam of the circle."""

    name: ClassVar[str] = "blobs"
    Config: ClassVar[type] = BlobConfig
    schema = BLOB_SCHEMA
    sizes = TargetSizes(validation=12, test=16)
    train_frames = 24
    schedule = TrainingSchedule(epochs=4, batch_size=8, learning_rate=5e-3)

    def __init__(self, config: BlobConfig) -> None:
        self.config = config

    def prior(self) -> Grammar:
        return blob_grammar(power=4.0, x=-0.4, hue=340.0, bright=0.3)

    def target(self) -> Grammar | None:
        return blob_grammar(power=8.0, x=0.4, hue=40.0, bright=0.8)

    def renderer(self) -> Renderer:
        return BlobRenderer(self.config.size, slots=2)

    def task(self) -> Task:
        from autosim.learning.tasks.segmentation import Segmentation

        return Segmentation(BLOB_CLASSES[:3], width=8)


def blob_session(seed: int = 0, unlabelled: bool = False, pool: RenderPool | None = None, workers: int = 0) -> Session:
    """A session on blobs whose features learn from few frames; in this process unless told otherwise.

    With ``unlabelled`` the target is six images of a ramp.
    """
    from autosim.learning.features.sources import FeatureSource
    from autosim.rendering.pool import LocalPool
    from autosim.session import Session
    from autosim.target import Target

    env = BlobEnv(BlobConfig())
    pool = pool or LocalPool(env.renderer())
    session = Session(env, pool, seed=seed, workers=workers, feature_source=FeatureSource(frames=64))
    if unlabelled:
        ramp = np.linspace(0, 255, env.config.size).astype(np.uint8)
        images = Frames(np.broadcast_to(ramp[:, None], (6, env.config.size, env.config.size, 3)).copy())
        # Takes the place of what the session would have drawn, once and for all.
        session.__dict__["target"] = Target(images, None, None)
    return session


class LinearRenderer(Renderer):
    """Linear in its attributes: ``R = sum_i value_i * pattern_i``, so that every difference quotient is exact.

    One node ``knobs`` with ``a`` and ``b`` in [0, 1], ``c`` in [-2, 2]; patterns are random and add up to less than 1.
    """

    schema = Schema(
        (
            NodeClass(
                "knobs", (Continuous("a", 0, 1), Continuous("b", 0, 1, step=0.2), Continuous("c", -2, 2, step=0.1))
            ),
        )
    )

    def __init__(self, size: int = 4) -> None:
        self.height = self.width = size
        patterns = np.random.default_rng(5).uniform(0.1, 0.3, (3, size, size, 3))
        self.patterns: NDArray[np.float64] = patterns

    def build(self) -> None:
        pass

    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        return np.tensordot(self.schema.values(scene), self.patterns, axes=1).astype(np.float32)

    def scene(self, a: float, b: float, c: float) -> SceneGraph:
        """The scene with these values."""
        return SceneGraph((Node("knobs", {"a": a, "b": b, "c": c}),), (-1,))


class ProbeRenderer(BlobRenderer):
    """Reports its process as annotations: whether torch is imported, the process's id, threads allowed by OpenMP."""

    def __init__(self) -> None:
        super().__init__()
        self.annotations = {name: Values(whole=True) for name in ("torch", "process", "threads")}

    def annotate(self, scene: SceneGraph) -> Mapping[str, NDArray[np.generic]]:
        return {
            "torch": np.array(int("torch" in sys.modules)),
            "process": np.array(os.getpid()),
            "threads": np.array(int(os.environ.get("OMP_NUM_THREADS", "0"))),
        }


class TroubledRenderer(BlobRenderer):
    """At seeds of which there is a file in ``folder``, does what that says, in the first processes that are asked for
    them: ``die 1``, ``hang 2``, ``raise 3``. Each leaves a file of its own there.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        note, own = self.folder / str(seed), self.folder / f"{seed}-{os.getpid()}"
        if note.exists():
            trouble, times = note.read_text().split()
            if own.exists() or len(list(self.folder.glob(f"{seed}-*"))) < int(times):
                own.touch()
                if trouble == "die":
                    os.kill(os.getpid(), signal.SIGKILL)
                if trouble == "hang":
                    time.sleep(3600)
                raise OSError("the licence server is gone")
        return super().draw(scene, seed, effort)


class GrowingRenderer(BlobRenderer):
    """Keeps ``size`` bytes more with each image."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        self.__dict__.setdefault("kept", []).append(np.ones(self.size, dtype=np.uint8))
        return super().draw(scene, seed, effort)


class FaultyRenderer(BlobRenderer):
    """Breaks the contract from seed ``first`` on, in the way that ``fault`` names."""

    def __init__(self, fault: str, first: int = 0) -> None:
        super().__init__()
        self.fault, self.first = fault, first

    def build(self) -> None:
        if self.fault == "build":
            raise OSError("no engine\nfound here")
        super().build()

    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        image = super().draw(scene, seed, effort)
        if seed < self.first:
            return image
        if self.fault == "raises":
            raise ZeroDivisionError("a lamp of\nno size")
        if self.fault == "shape":
            return image[:-1]
        if self.fault == "type":
            return image.astype(np.float64)
        if self.fault == "finite":
            image[0, 0, 0] = np.nan
        if self.fault == "range":
            image = image * 3 - 1
        return image

    def annotate(self, scene: SceneGraph) -> Mapping[str, NDArray[np.generic]]:
        given = dict(super().annotate(scene))
        if self.fault == "annotations" and len(scene.nodes) > 3:
            given["mask"] = given["mask"][:-1]
        return given


class SlowRenderer(BlobRenderer):
    """Takes ``seconds`` for an image, asleep; leaves a file named after its process in ``folder``."""

    def __init__(self, seconds: float, folder: Path | None = None) -> None:
        super().__init__()
        self.seconds, self.folder = seconds, folder

    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        if self.folder is not None:
            (self.folder / str(os.getpid())).touch()
        time.sleep(self.seconds)
        return super().draw(scene, seed, effort)


class RestlessRenderer(BlobRenderer):
    """Does not keep to scene and seed: every image has its process's own number of draws in its first pixel."""

    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        drawn = self.__dict__["drawn"] = self.__dict__.get("drawn", 0) + 1
        image = super().draw(scene, seed, effort)
        image[0, 0, 0] = (drawn % 2) / 2
        return image
