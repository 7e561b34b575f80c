"""Conformance suites: subclass one in your tests, say how to make your part, and pytest runs the contract on it."""

from autosim.testing.algorithm import AlgorithmSuite
from autosim.testing.env import EnvSuite
from autosim.testing.renderer import RendererSuite

__all__ = ["AlgorithmSuite", "EnvSuite", "RendererSuite"]
