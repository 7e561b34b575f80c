"""Environment ``disc``: a disc on a dark ground, whose place and brightness are to be found."""

from dataclasses import dataclass

import numpy as np

from autosim.env import Env, TargetSizes
from autosim.learning.schedule import TrainingSchedule
from autosim.rendering.annotations import ClassMask
from autosim.rendering.renderer import Renderer
from autosim.scenes.grammar import Emission, Grammar, Normal, Rule
from autosim.scenes.graph import Continuous, NodeClass, Schema

PLACE = Continuous("x", 0.0, 32.0, unit="px", step=0.5)  # step: half-width of a finite difference
BRIGHTNESS = Continuous("brightness", 0.0, 1.0, step=0.02)
SCHEMA = Schema((NodeClass("disc", (PLACE, BRIGHTNESS)),))


def one_disc(x, brightness):
    """Scenes of one disc about a place and a brightness."""
    priors = {"disc.x": Normal(x, 1.0), "disc.brightness": Normal(brightness, 0.05)}
    return Grammar(SCHEMA, "Scene", (Rule("Scene", ("Disc",)),), {"Disc": Emission("disc")}, priors)


class DiscRenderer(Renderer):
    """A soft-edged disc, with noise that depends on the seed."""

    schema, height, width = SCHEMA, 32, 32
    annotations = {"mask": ClassMask(("ground", "disc"))}  # what ground truth there is, checked with every frame

    def build(self):
        """Called once in each worker: load an engine and build its scene here."""
        self.rows, self.columns = np.mgrid[:32, :32] + 0.5

    def draw(self, scene, seed, effort=1.0):
        """float32 (height, width, 3) in [0, 1]; a function of its arguments alone."""
        (disc,) = scene.find("disc")
        soft = 1 / (1 + np.exp(self.distance(disc) - 6))
        noise = np.random.default_rng(seed).normal(0, 0.02, (32, 32, 3))
        return np.clip(0.1 + disc["brightness"] * soft[..., None] + noise, 0, 1).astype(np.float32)

    def annotate(self, scene):
        """Ground truth, exact and without noise."""
        (disc,) = scene.find("disc")
        return {"mask": (self.distance(disc) < 6).astype(np.uint8)}

    def distance(self, disc):
        return np.hypot(self.columns - disc["x"], self.rows - 16)


@dataclass(frozen=True)
class DiscConfig:
    """Options of the environment."""

    x: float = 22.0
    """Where the target's discs are, in pixels."""


class Disc(Env):
    """The start's discs are dark and to the left; the target's are bright and to the right."""

    name = "disc"
    Config = DiscConfig  # its fields are the options --env.x, …
    schema = SCHEMA
    sizes = TargetSizes(validation=20, test=60)  # labelled images of the target
    train_frames = 60  # that a network is trained on for the scores at the end
    schedule = TrainingSchedule(epochs=10, batch_size=8, learning_rate=5e-3)

    def __init__(self, config):
        self.config = config

    def prior(self):
        return one_disc(8.0, 0.3)

    def target(self):
        return one_disc(self.config.x, 0.8)

    def renderer(self):
        return DiscRenderer()

    def task(self):
        from autosim.learning.tasks.segmentation import Segmentation

        return Segmentation(("ground", "disc"))
