"""Bayesian optimisation: a Gaussian process over the unit view of the parameters says which data sets to try next."""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from algorithms.searches.search import Search, SearchConfig, best_of, penalised
from autosim.ranges import Range
from autosim.search_space import IntegerRange, OneOf, tunable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sklearn.gaussian_process import GaussianProcessRegressor

    from autosim.scenes.generator import SceneGenerator


@dataclass(frozen=True)
class BayesianOptimisationConfig(SearchConfig):
    """Options of Bayesian optimisation.

    Args:
        repeats: data sets of the starting point, drawn anew each time: their scores show how noisy a score is.
        initial: quasi-random points that are tried with them in the first round.
        acquisition: ei tries where the expected improvement on the best score is largest, ucb where mean and kappa
            standard deviations together are.
        kappa: weight of the standard deviation in ucb.
        length_scales: shared gives all dimensions one length scale of the process, own gives each its own.
    """

    repeats: Annotated[int, Range(least=2)] = 4
    initial: Annotated[int, Range(least=1)] = tunable(4, IntegerRange(2, 16))
    acquisition: Literal["ei", "ucb"] = tunable("ei", OneOf(("ei", "ucb")))
    kappa: Annotated[float, Range(least=0)] = 1.0
    length_scales: Literal["shared", "own"] = "shared"


class BayesianOptimisation(Search):
    """``bayesian-optimization`` on [0, 1]^d, with batches by the constant liar.

    The result is the point whose posterior mean is best, of those that were tried: the best of noisy scores is luck.
    """

    name: ClassVar[str] = "bo"
    Config: ClassVar[type] = BayesianOptimisationConfig
    # The number of scores that a result was found from, and the result.
    _result: tuple[int, NDArray[np.float64]] | None = None

    def propose(self, iteration: int) -> list[NDArray[np.float64]]:
        """The starting point, repeated, and Sobol points at first; then maxima of the acquisition function."""
        if not self.points:
            return self._first()
        import numpy as np
        from bayes_opt import TargetSpace, acquisition
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        config = self.config
        points, scores, noise = self.observations()
        spread = scores.std() or 1.0
        process = self.process(points.shape[1], noise / spread**2, self.session.integer_seed("process", iteration))
        space = TargetSpace(None, {str(i): (0.0, 1.0) for i in range(points.shape[1])}, allow_duplicate_points=True)
        improvement, bound = acquisition.ExpectedImprovement(xi=0.0), acquisition.UpperConfidenceBound(config.kappa)
        liar = acquisition.ConstantLiar(improvement if config.acquisition == "ei" else bound, strategy="min")
        random = np.random.RandomState(self.session.integer_seed("acquisition", iteration))
        # More threads only slow such small matrices down, and sums would depend on how many there are; and the library
        # prints a line for every point that it has seen before.
        with threadpool_limits(1), contextlib.redirect_stdout(io.StringIO()):
            for point, score in zip(points, (scores - scores.mean()) / spread, strict=True):
                space.register(point, score)
            found = [
                liar.suggest(process, space, n_random=2000, n_smart=2, random_state=random)
                for _ in range(config.datasets)
            ]
        return [np.asarray(point, dtype=np.float64) for point in found]

    def process(self, dimensions: int, noise: float, seed: int) -> GaussianProcessRegressor:
        """A process for scores of mean 0 and variance 1 with a variance ``noise`` of each."""
        import numpy as np
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import Matern

        scales = np.full(dimensions, 0.5) if self.config.length_scales == "own" else 0.5
        kernel = Matern(scales, (0.05, 20.0), nu=2.5)
        return GaussianProcessRegressor(kernel, alpha=max(noise, 1e-6), n_restarts_optimizer=1, random_state=seed)

    @property
    def generator(self) -> SceneGenerator:
        """The point of best posterior mean; the starting distribution before any was scored."""
        if best_of(self.scores) is None:
            return self.start
        if self._result is None or self._result[0] != len(self.scores):
            self._result = len(self.scores), self.best_point()
        return self.start.from_unit(self._result[1])

    def best_point(self) -> NDArray[np.float64]:
        """Of the points scored in full, the one whose posterior mean is best."""
        import numpy as np
        from threadpoolctl import threadpool_limits

        points, scores, noise = self.observations()
        spread = scores.std() or 1.0
        process = self.process(points.shape[1], noise / spread**2, self.session.integer_seed("result"))
        with threadpool_limits(1), warnings.catch_warnings():
            # A length scale at its bound.
            warnings.simplefilter("ignore")
            means = process.fit(points, (scores - scores.mean()) / spread).predict(points)
        given_up = set(self.given_up)
        done = {tuple(point.tolist()) for i, point in enumerate(self.points) if i not in given_up}
        return points[int(np.where([tuple(point.tolist()) in done for point in points], means, -np.inf).argmax())]

    def observations(self) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Distinct points (n, d), the mean score (n,) of each, and the variance of a single score.

        The variance is that of the scores of repeated points around their means. A failed score counts as the worst.
        """
        import numpy as np

        groups: dict[tuple[float, ...], list[float]] = {}
        for point, score in zip(self.points, penalised(self.scores), strict=True):
            groups.setdefault(tuple(point.tolist()), []).append(score)
        squares = sum(float(np.var(group)) * len(group) for group in groups.values())
        freedom = sum(len(group) - 1 for group in groups.values())
        return np.array(list(groups)), np.array([np.mean(group) for group in groups.values()]), squares / freedom

    def summary(self) -> dict[str, float]:
        """The standard deviation of a score, as measured."""
        return {"score_noise": self.observations()[2] ** 0.5} if self.points else {}

    def _first(self) -> list[NDArray[np.float64]]:
        """The starting point as often as it is repeated, and quasi-random points."""
        from scipy.stats import qmc

        start = self.start.to_unit()
        sobol = qmc.Sobol(len(start), rng=self.session.integer_seed("initial points"))
        # Whole powers of two keep the points balanced; the first of them are used.
        drawn = sobol.random_base2(max(self.config.initial - 1, 1).bit_length())
        return [start.copy() for _ in range(self.config.repeats)] + list(drawn[: self.config.initial])
