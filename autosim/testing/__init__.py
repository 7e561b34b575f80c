"""Conformance suites: subclass one in your tests, return your part, and pytest checks it against the contract."""

from autosim.testing.algorithm import AlgorithmSuite
from autosim.testing.env import EnvSuite
from autosim.testing.generator import GeneratorSuite
from autosim.testing.renderer import RendererSuite
from autosim.testing.task import TaskSuite

__all__ = ["AlgorithmSuite", "EnvSuite", "GeneratorSuite", "RendererSuite", "TaskSuite"]
