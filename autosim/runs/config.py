"""The configuration of a run: dataclasses, filled by the command line and by YAML files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from autosim.formats.parts import TargetSettings
from autosim.parallel import RaySettings
from autosim.ranges import Checked, Range
from autosim.rendering.differences import GradientSettings


def available_cpus() -> int:
    """CPUs that this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Budget(Checked):
    """When to stop. The first limit that is reached ends the run; at least one iteration is made."""

    iterations: Annotated[int | None, Range(least=1)] = None
    """Most iterations; by default the algorithm's own number."""
    images: Annotated[int | None, Range(least=1)] = None
    """Stop once this many images have been rendered for the method, perturbed ones included."""
    seconds: Annotated[float | None, Range(above=0)] = None
    """Stop once this many seconds have been spent in iterations; set-up is not counted."""

    core_seconds: Annotated[float | None, Range(above=0)] = None
    """Stop once this many CPU seconds have been spent by all processes together, in set-up and iterations; what making
    features took counts even where they were read from the cache."""

    @property
    def unlimited(self) -> bool:
        """Whether nothing but the algorithm's own number of iterations ends a run."""
        return self.iterations is self.images is self.seconds is self.core_seconds is None


@dataclass(frozen=True)
class RunSettings(Checked):
    """What every run has, whatever the algorithm and the environment."""

    seed: Annotated[int, Range(least=0, below=2**32)] = 0
    """Every random draw of the run follows from this number."""
    workers: Annotated[int, Range(least=0)] = field(default_factory=available_cpus)
    """Processes that render and train; 0 works in this process. Results do not depend on it."""
    threads: Annotated[int, Range(least=0)] = 1
    """Threads that this process learns with while nothing is rendered; 0 for as many as CPUs, which is written down.
    Results depend on it in their last digits, for sums come in another order."""
    device: str = "auto"
    """Where networks are trained: cpu, cuda, cuda:1, …; auto takes a GPU where there is one."""
    closing_networks: Annotated[int, Range(least=1)] = 1
    """Fresh networks that each test score is the mean of."""
    features: Literal["content", "lite0", "squeezenet", "inception"] = "content"
    """Image features for distribution matching; content is trained on the spot, and lite0 has its weights from packages
    that the extra detection installs."""
    feature_weights: str | None = None
    """File with the weights of squeezenet or inception."""
    checkpoint_every: Annotated[int, Range(least=1)] = 10
    """Most iterations between two checkpoints, which --resume goes on from."""
    checkpoint_seconds: Annotated[float, Range(least=0)] = 20.0
    """Most seconds between two checkpoints, as far as iterations allow."""
    target: TargetSettings = field(default_factory=TargetSettings)
    """Your own images as the target."""
    budget: Budget = field(default_factory=Budget)
    """When to stop."""
    render: GradientSettings = field(default_factory=GradientSettings)
    """How gradients through the renderer are estimated."""
    ray: RaySettings = field(default_factory=RaySettings)
    """Where Ray runs, what it reserves for a render actor, and when an actor is replaced."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threads == 0:
            object.__setattr__(self, "threads", available_cpus())
        if self.workers == 0 and self.ray != RaySettings():
            raise ValueError("ray: with workers 0 nothing runs on Ray")
        if self.features == "lite0":
            from autosim.learning.lite0 import missing_packages

            if (fault := missing_packages()) is not None:
                raise ValueError(f"features: lite0 {fault}")
        if self.features in ("squeezenet", "inception") and self.feature_weights is None:
            raise ValueError(f"feature_weights: features {self.features} needs a file of weights")
        if self.feature_weights is not None and not Path(self.feature_weights).is_file():
            raise ValueError(f"feature_weights: {self.feature_weights} is not a file")


@dataclass(frozen=True)
class RunConfig:
    """One run: an algorithm and an environment by name, the configuration of each, and the settings of all runs.
    ``from_environment`` names the options that have the values of ``Env.defaults``.
    """

    algo: str
    env: str
    algo_config: Any
    env_config: Any
    settings: RunSettings = field(default_factory=RunSettings)
    from_environment: tuple[str, ...] = field(default=(), compare=False)

    @property
    def iterations(self) -> int:
        """Most iterations: the budget's, or else the algorithm's own number."""
        return int(self.settings.budget.iterations or self.algo_config.iterations)

    def set_by_environment(self) -> dict[str, Any]:
        """The options of ``from_environment`` with their values."""
        return {key: _look_up(self.to_dict(), key) for key in self.from_environment}

    def with_defaults(self) -> RunConfig:
        """The same algorithm on the same environment, with no option set."""
        return RunConfig(self.algo, self.env, type(self.algo_config)(), type(self.env_config)())

    def to_dict(self) -> dict[str, Any]:
        """The layout of ``config.yaml``; the command's ``--config`` reads it back."""
        return {
            "algo": {"name": self.algo, **plain(asdict(self.algo_config))},
            "env": {"name": self.env, **plain(asdict(self.env_config))},
            **plain(asdict(self.settings)),
        }


def _look_up(values: Any, key: str) -> Any:
    for name in key.split("."):
        values = values[name]
    return values


def plain(value: Any) -> Any:
    """Nested values as YAML and JSON know them: paths and enumerations as text, tuples as lists, numpy's numbers as
    Python's.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    return value
