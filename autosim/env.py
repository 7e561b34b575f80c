"""Environments: a grammar, a renderer, a task and a target under one name."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from autosim.learning.schedule import TrainingSchedule
from autosim.rendering.differences import GradientSettings
from autosim.rendering.renderer import Renderer
from autosim.scenes.grammar import Grammar
from autosim.scenes.graph import Schema

if TYPE_CHECKING:
    from autosim.learning.tasks.task import Task


AnyEnv = TypeVar("AnyEnv", bound="Env")


@dataclass(frozen=True)
class TargetSizes:
    """Number of validation and of test frames."""

    validation: int = 30
    test: int = 200


class Env(ABC):
    """One problem: move the scenes of ``prior`` until a network trained on them does best on the target.

    ``Config`` is a dataclass whose fields the command line offers as ``--env.FIELD``; ``gradient`` are the settings
    that suit its renderer, the defaults of ``--render.FIELD``.

    Image features for distribution matching are trained on ``feature_frames`` frames, seen with a longest edge of
    ``feature_edge`` pixels at most. ``appearance`` says whether how bright, coloured and sharp things look is the
    method's to learn; where it is not, image statistics are no features, for they would tell how sprites are resampled,
    say. ``frame_size`` is (height, width) of the frames where it is not the environment's own choice
    (:meth:`with_frame_size`). ``class_aliases`` are the names here of classes that labels of a well-known data set call
    otherwise; ``--target.classes`` goes before them.
    """

    name: ClassVar[str]
    Config: ClassVar[type]

    gradient: ClassVar[GradientSettings] = GradientSettings()

    config: Any
    schema: Schema
    sizes: TargetSizes = TargetSizes()
    train_frames: int = 200
    feature_frames: int = 1500
    feature_edge: int = 64
    appearance: bool = True
    schedule: TrainingSchedule = TrainingSchedule()
    frame_size: tuple[int, int] | None = None
    class_aliases: Mapping[str, str] = MappingProxyType({})

    @abstractmethod
    def __init__(self, config: Any) -> None:
        """Set up from an instance of ``Config``; ``ValueError`` or ``UserError`` where it cannot be."""

    @abstractmethod
    def prior(self) -> Grammar:
        """The starting distribution that the methods are given."""

    @abstractmethod
    def target(self) -> Grammar | None:
        """The hidden distribution behind the target frames; None where there is none, and a user has to give images."""

    def validation_target(self) -> Grammar | None:
        """The distribution of the validation frames where it is not that of the test frames, ``target``: where both
        differ in what is not learned, say (other textures). It is ``target`` by default.
        """
        return self.target()

    def oracle(self) -> Grammar | None:
        """The best distribution that a method could learn, which the oracle's score is of: ``target``, unless that
        has what is not the method's to learn, such as textures that are kept for it.
        """
        return self.target()

    @classmethod
    def defaults(cls, algorithm: str, config: Any) -> Mapping[str, Any]:
        """Settings of a run that suit an algorithm on this environment with these options (an instance of ``Config``),
        where they are not the algorithm's own: by the name of the option, ``algo.iterations`` say.

        They are used where neither the command line nor a file gives the option. Options of the environment itself,
        ``env.X``, the seed and the folder are not among them.
        """
        return {}

    def describe(self) -> dict[str, Any]:
        """Name and options as JSON knows them: what is computed for an environment is cached by this."""
        sized = {} if self.frame_size is None else {"frame_size": list(self.frame_size)}
        options = {f.name: _plain(getattr(self.config, f.name)) for f in fields(self.config)}
        return {"name": self.name, **options, **sized}

    def with_frame_size(self: AnyEnv, height: int, width: int) -> AnyEnv:
        """The same environment with frames of (height, width). ``RendererError`` where its renderer cannot draw them
        so; ``ValueError`` where its task is for pictures of one size.
        """
        if not self.task().any_size:
            raise ValueError(f"{self.name}: its task is for pictures of one size")
        _resized(self, height, width)
        other = copy.copy(self)
        # Over the method of the class, which every environment implements for its own size.
        vars(other).update(frame_size=(height, width), renderer=partial(_resized, self, height, width))
        return other

    @abstractmethod
    def renderer(self) -> Renderer:
        """An unbuilt renderer for the scenes of this environment."""

    @abstractmethod
    def task(self) -> Task:
        """The network that the data is for."""


def _resized(env: Env, height: int, width: int) -> Renderer:
    return env.renderer().resized(height, width)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
