"""What every algorithm has to fulfil: it steps and counts, equal seeds give equal runs, and it can be resumed."""

from __future__ import annotations

import io
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, ClassVar

import torch

from autosim.algorithm import Algorithm
from autosim.env import Env
from autosim.errors import UserError
from autosim.rendering.pool import LocalPool
from autosim.scenes.graph import SceneGraph
from autosim.seeding import seed_sequence
from autosim.session import Session
from autosim.target import Target


@dataclass
class _Started:
    """An algorithm after two steps, with the images counted before and after them."""

    algorithm: Algorithm
    images: tuple[int, int]
    metrics: list[dict[str, float | None]]


@dataclass
class _Resumed:
    """An algorithm that has taken up a state, with the images counted before and after that."""

    algorithm: Algorithm
    images: tuple[int, int]


@dataclass
class _Undisturbed:
    """Five steps of an algorithm that was never saved, and the scenes that it draws after two and after all."""

    metrics: list[dict[str, float | None]]
    drawn: tuple[tuple[SceneGraph, ...], tuple[SceneGraph, ...]]
    summary: dict[str, float | None]


class AlgorithmSuite:
    """Subclass with :meth:`env` and :meth:`algorithm`, under a name that pytest collects (``Test…``).

    What several checks look at is made once for a subclass.
    """

    _made: ClassVar[dict[str, Any]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._made = {}

    @abstractmethod
    def env(self) -> Env:
        """A small environment with a labelled target."""

    @abstractmethod
    def algorithm(self, session: Session) -> Algorithm:
        """The algorithm, configured so that its steps are fast."""

    def session(self, seed: int = 0) -> Session:
        """A session in this process."""
        env = self.env()
        return Session(env, LocalPool(env.renderer()), seed=seed, workers=0)

    def test_it_is_named_and_configured_by_a_dataclass_with_iterations(self) -> None:
        algorithm = self._started().algorithm
        assert algorithm.name and is_dataclass(algorithm.Config)
        assert type(algorithm.config) is algorithm.Config
        config: Any = algorithm.config
        assert config.iterations >= 1

    def test_steps_render_count_and_report_a_validation_score(self) -> None:
        started = self._started()
        before, after = started.images
        assert after > before
        for metrics in started.metrics:
            score = metrics["val_score"]
            assert score is None or 0.0 <= score <= 1.0
            assert all(value is None or math.isfinite(value) for value in metrics.values())
        assert all(math.isfinite(value) for value in started.algorithm.summary().values())

    def test_its_generator_draws_scenes_of_the_schema(self) -> None:
        algorithm = self._started().algorithm
        samples = algorithm.generator.sample(5, seed_sequence(0, "suite"))
        assert len(samples) == 5
        for scene in samples.scenes:
            algorithm.session.env.schema.validate(scene)
        log_prob = algorithm.generator.log_prob(samples)
        assert log_prob.shape == (5,)
        assert torch.isfinite(log_prob).all()

    def test_equal_seeds_give_equal_runs(self) -> None:
        first, second = self._undisturbed(), self._started()
        assert first.metrics[:2] == [_untimed(metrics) for metrics in second.metrics]
        assert first.drawn[0] == _drawn(second.algorithm)

    def test_different_seeds_give_different_runs(self) -> None:
        other = self.algorithm(self.session(seed=6))
        assert self._undisturbed().metrics[:2] != [_untimed(other.step(i)) for i in range(2)]

    def test_a_saved_state_is_taken_up_as_if_never_stopped(self) -> None:
        undisturbed, resumed = self._undisturbed(), self._resumed().algorithm
        del self._made["resumed"]  # its steps are not those of a state just taken up
        assert _drawn(resumed) == undisturbed.drawn[0]
        # A lost state of an optimiser or a moving average shows in the second step at the earliest.
        for iteration in range(2, 5):
            assert undisturbed.metrics[iteration] == _untimed(resumed.step(iteration))
        assert _drawn(resumed) == undisturbed.drawn[1]
        assert undisturbed.summary == _untimed(resumed.summary())

    def test_a_saved_state_holds_scenes_and_seeds_but_no_frames(self) -> None:
        algorithm = self._started().algorithm
        shape = (algorithm.session.pool.height, algorithm.session.pool.width)
        pictures = [tensor.shape for tensor in _tensors(algorithm.state_dict()) if _is_picture(tensor, shape)]
        assert not pictures, f"the state holds frames, which can be drawn again with Session.redraw: {pictures}"

    def test_taking_up_a_state_costs_no_images(self) -> None:
        before, after = self._resumed().images
        assert after == before

    def test_without_labels_it_refuses_or_reports_no_score(self) -> None:
        session = self.session()
        # Replaces the session's cached target.
        session.__dict__["target"] = Target(session.target.images, None, None)
        try:
            algorithm = self.algorithm(session)
        except UserError as error:
            assert "\n" not in str(error)
            return
        assert algorithm.step(0)["val_score"] is None

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, made once for this class."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def _started(self) -> _Started:
        def make() -> _Started:
            session = self.session(seed=5)
            algorithm = self.algorithm(session)
            before = session.images
            metrics = [algorithm.step(i) for i in range(2)]
            return _Started(algorithm, (before, session.images), metrics)

        started: _Started = self._once("started", make)
        return started

    def _resumed(self) -> _Resumed:
        def make() -> _Resumed:
            session = self.session(seed=5)
            algorithm = self.algorithm(session)
            before = session.images
            algorithm.load_state_dict(_saved(self._started().algorithm.state_dict()))
            return _Resumed(algorithm, (before, session.images))

        resumed: _Resumed = self._once("resumed", make)
        return resumed

    def _undisturbed(self) -> _Undisturbed:
        def make() -> _Undisturbed:
            algorithm = self.algorithm(self.session(seed=5))
            metrics = [_untimed(algorithm.step(i)) for i in range(2)]
            drawn = _drawn(algorithm)
            metrics += [_untimed(algorithm.step(i)) for i in range(2, 5)]
            return _Undisturbed(metrics, (drawn, _drawn(algorithm)), _untimed(algorithm.summary()))

        undisturbed: _Undisturbed = self._once("undisturbed", make)
        return undisturbed


def _untimed(figures: Mapping[str, float | None]) -> dict[str, float | None]:
    """Figures without seconds, which differ from run to run."""
    return {name: value for name, value in figures.items() if not name.endswith("seconds")}


def _drawn(algorithm: Algorithm) -> tuple[SceneGraph, ...]:
    """Scenes that the generator draws now."""
    return algorithm.generator.sample(4, seed_sequence(1, "suite")).scenes


def _tensors(state: Any) -> Iterator[torch.Tensor]:
    """All tensors within a state."""
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, Mapping):
        for part in state.values():
            yield from _tensors(part)
    elif isinstance(state, (list, tuple)):
        for part in state:
            yield from _tensors(part)


def _is_picture(tensor: torch.Tensor, shape: tuple[int, int]) -> bool:
    """Whether a tensor has the type and shape of images or masks of (height, width)."""
    return tensor.dtype == torch.uint8 and tensor.ndim >= 2 and shape in (tensor.shape[-3:-1], tensor.shape[-2:])


def _saved(state: dict[str, Any]) -> dict[str, Any]:
    """The state written to a file and read back, as from a checkpoint, without running code from it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    loaded: dict[str, Any] = torch.load(buffer, weights_only=True)
    return loaded
