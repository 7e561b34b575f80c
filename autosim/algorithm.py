"""The contract of algorithms: frames to a signal, the signal to a step of the generator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from autosim.search_space import declared_space

if TYPE_CHECKING:
    from autosim.env import Env
    from autosim.scenes.generator import SceneGenerator
    from autosim.scenes.grammar import Learnable
    from autosim.search_space import Dimension
    from autosim.session import Session

Metrics = dict[str, float | None]
# What is said of an environment that lacks what an algorithm needs.
LACKING: dict[Learnable, str] = {
    "attributes": "attributes of scenes, and none can be learned",
    "continuous attributes": "continuous attributes of scenes, and none can be learned",
    "structure": "the structure of scenes, which is the same in all",
}


class Algorithm(ABC):
    """One method. ``Config`` is a dataclass with at least ``iterations``; its fields are options, ``--algo.FIELD``.

    ``needs`` says what an environment's scenes must have for the algorithm to learn; a run on another environment is
    refused before anything is set up.
    """

    name: ClassVar[str]
    Config: ClassVar[type]
    needs: ClassVar[tuple[Learnable, ...]] = ()

    def __init__(self, session: Session, config: Any) -> None:
        self.session = session
        self.config = config

    @classmethod
    def search_space(cls) -> dict[str, Dimension]:
        """What to tune: fields of ``Config`` and the values to try of each; by default those made by ``tunable``."""
        return declared_space(cls.Config)

    @classmethod
    def refusal(cls, env: Env) -> str | None:
        """Why the algorithm cannot learn on an environment, in a clause that begins with "it"; None where it can. By
        default that scenes lack one of ``needs``.
        """
        learnable = env.prior().learnable
        return next((f"it learns {LACKING[need]}" for need in cls.needs if need not in learnable), None)

    @classmethod
    def shown(cls, config: Any) -> str:
        """What of the target a method with this ``Config`` is shown: ``images``, validation ``labels``, or both."""
        return "labels"

    @property
    @abstractmethod
    def generator(self) -> SceneGenerator:
        """The learned distribution as of now."""

    @abstractmethod
    def step(self, iteration: int) -> Metrics:
        """One iteration (counted from 0); figures by name, ``val_score`` among them (None where it cannot be known).

        All randomness comes from the session's seeds for ``iteration``, so a resumed run repeats an undisturbed one.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything that later steps depend on, as tensors, numbers, strings and containers of them."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that :meth:`state_dict` gave."""

    def summary(self) -> dict[str, float]:
        """The method's own closing figures."""
        return {}

    def seen(self) -> dict[str, float]:
        """How much of each attribute the method's features tell: a share of its variance in [0, 1], by the attribute's
        key; empty where it matches no features.
        """
        return {}
