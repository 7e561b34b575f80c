"""Random search: parameters of the generator drawn uniformly, each data set scored by a network trained on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from algorithms.searches.search import Search, SearchConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class RandomSearchConfig(SearchConfig):
    """Options of random search.

    Args:
        start: try the starting point first, so that what is learned is no worse by the validation score.
    """

    start: bool = False


class RandomSearch(Search):
    """Keeps the parameters whose data set gave the best validation score."""

    name: ClassVar[str] = "random"
    Config: ClassVar[type] = RandomSearchConfig

    def propose(self, iteration: int) -> list[NDArray[np.float64]]:
        """Independent uniform points."""
        import numpy as np
        from scipy.stats import uniform
        from sklearn.model_selection import ParameterSampler

        dimensions = self.start.unit_dimensions()
        draws = ParameterSampler(
            {name: uniform(0.0, 1.0) for name in dimensions},
            n_iter=self.config.datasets,
            random_state=self.session.integer_seed("parameters", iteration),
        )
        points = [np.array([draw[name] for name in dimensions]) for draw in draws]
        if self.config.start and not self.points:
            points[0] = self.start.to_unit()
        return points
