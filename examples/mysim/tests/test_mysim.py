import numpy as np
from mysim.climb import Climb, ClimbConfig
from mysim.disc import Disc, DiscConfig, DiscRenderer, one_disc

from autosim.testing import AlgorithmSuite, EnvSuite, RendererSuite


class TestDisc(EnvSuite):
    def env(self):
        return Disc(DiscConfig())


class TestDiscRenderer(RendererSuite):
    def renderer(self):
        return DiscRenderer()

    def scenes(self):
        return one_disc(16.0, 0.5).sample_many(3, np.random.SeedSequence(0))


class TestClimb(AlgorithmSuite):
    def env(self):
        return Disc(DiscConfig())

    def algorithm(self, session):
        return Climb(session, ClimbConfig(frames=8))
