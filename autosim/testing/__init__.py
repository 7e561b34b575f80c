"""Conformance suites: subclass one in your tests, say how to make your part, and pytest runs the contract on it."""

from autosim.testing.algorithm import AlgorithmSuite
from autosim.testing.env import EnvSuite
from autosim.testing.generator import GeneratorSuite
from autosim.testing.renderer import RendererSuite
from autosim.testing.task import TaskSuite

__all__ = ["AlgorithmSuite", "EnvSuite", "GeneratorSuite", "RendererSuite", "TaskSuite"]
