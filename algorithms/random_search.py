"""Random search: parameters of the generator drawn uniformly, each data set scored by a network trained on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from autosim.algorithm import Algorithm, Metrics
from autosim.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from autosim.rendering.frames import Frames
    from autosim.scenes.generator import SceneGenerator
    from autosim.scenes.parametric import ParametricGenerator
    from autosim.session import Session


@dataclass(frozen=True)
class RandomSearchConfig:
    """Options of random search.

    Args:
        iterations: rounds; a budget of images or seconds may end the search earlier.
        datasets: data sets drawn, trained on and scored in a round, in parallel.
        frames: frames in each data set.
        epochs: passes of a network over its data set.
    """

    iterations: int = 25
    datasets: int = 4
    frames: int = 100
    epochs: int = 6

    def __post_init__(self) -> None:
        for name in ("iterations", "datasets", "frames", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is below 1")


class RandomSearch(Algorithm):
    """Keeps the parameters whose data set gave the best validation score."""

    name: ClassVar[str] = "random"
    Config: ClassVar[type] = RandomSearchConfig

    def __init__(self, session: Session, config: RandomSearchConfig) -> None:
        from autosim.scenes.parametric import ParametricGenerator

        super().__init__(session, config)
        if not session.target.labelled:
            raise UserError("random search needs a labelled target: it has nothing to go by but the validation score")
        self.start = ParametricGenerator(session.env.prior())
        self.best: ParametricGenerator = self.start
        self.best_score = float("-inf")
        self.best_point: NDArray[np.float64] = self.start.to_unit()

    @property
    def generator(self) -> SceneGenerator:
        """The best parameters so far."""
        return self.best

    def step(self, iteration: int) -> Metrics:
        """Draw, render, train and score one round of data sets."""
        import numpy as np
        from scipy.stats import uniform
        from sklearn.model_selection import ParameterSampler

        session, config = self.session, self.config
        dimensions = self.start.unit_dimensions()
        draws = ParameterSampler(
            {name: uniform(0.0, 1.0) for name in dimensions},
            n_iter=config.datasets,
            random_state=session.integer_seed("parameters", iteration),
        )
        points = [np.array([draw[name] for name in dimensions]) for draw in draws]
        generators = [self.start.from_unit(point) for point in points]
        schedule = replace(session.env.schedule, epochs=config.epochs)
        scores = session.score_datasets(self._render(generators, iteration), session.target.validation, schedule)
        for point, generator, score in zip(points, generators, scores, strict=True):
            if score > self.best_score:
                self.best_score, self.best_point, self.best = score, point, generator
        return {"val_score": self.best_score, "round_best": max(scores), "round_mean": float(np.mean(scores))}

    def _render(self, generators: list[ParametricGenerator], iteration: int) -> list[Frames]:
        """One data set for each generator, all in one pass through the pool."""
        count = self.config.frames
        scenes = [
            scene
            for i, generator in enumerate(generators)
            for scene in generator.sample(count, self.session.seed_sequence("scenes", iteration, i)).scenes
        ]
        frames = self.session.render(scenes, "frames", iteration)
        return [frames.select(slice(i * count, (i + 1) * count)) for i in range(len(generators))]

    def state_dict(self) -> dict[str, Any]:
        """The best point and its score."""
        return {"best_score": self.best_score, "best_point": [float(x) for x in self.best_point]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        import numpy as np

        self.best_score = state["best_score"]
        self.best_point = np.array(state["best_point"])
        self.best = self.start.from_unit(self.best_point) if self.best_score > float("-inf") else self.start
