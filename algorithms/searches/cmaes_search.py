"""CatCMA with margin (Hamano et al., GECCO 2025): evolution of a Gaussian and of categories, together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from algorithms.searches.search import Search, SearchConfig, penalised
from autosim.errors import UserError
from autosim.ranges import Range
from autosim.search_space import OneOf, UniformRange, tunable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from autosim.session import Session


@dataclass(frozen=True)
class CmaesSearchConfig(SearchConfig):
    """Options of the evolution strategy.

    Args:
        datasets: population: data sets of a generation.
        sigma: standard deviation of the first generation, as a share of the ranges.
    """

    datasets: Annotated[int, Range(least=4)] = tunable(8, OneOf((6, 8, 12)))
    sigma: Annotated[float, Range(above=0, most=1)] = tunable(0.2, UniformRange(0.1, 0.4))


class CmaesSearch(Search):
    """An evolution strategy over the generator's unit view that starts at the start. Needs the extra ``cmaes``."""

    name: ClassVar[str] = "cmaes"
    Config: ClassVar[type] = CmaesSearchConfig

    def __init__(self, session: Session, config: CmaesSearchConfig) -> None:
        try:
            import cmaes  # type: ignore[import-untyped]  # noqa: F401
        except ImportError as error:
            raise UserError("cmaes is not installed: pip install 'autosim-engine[cmaes]' does that") from error
        super().__init__(session, config)

    @property
    def sizes(self) -> list[int]:
        """The number of choices of each dimension of the unit view, 0 for numbers. Of two choices the view has the
        probability of one: a number like any other.
        """
        sizes = {k.key: len(getattr(k.attribute, "choices", ())) for k in self.start.grammar.attributes()}
        return [sizes[key] if sizes[key] > 2 else 0 for key in self.start.unit_dimensions()]

    def propose(self, iteration: int) -> list[NDArray[np.float64]]:
        """The next generation. The evolution is gone through again from the beginning: it follows from its seed and the
        scores so far, and so needs no state of its own in a checkpoint.
        """
        count, scores = self.config.datasets, penalised(self.scores)
        evolution = self.evolution()
        for first in range(0, len(scores), count):
            asked = [evolution.ask() for _ in range(count)]
            # It minimises.
            evolution.tell([(one, -score) for one, score in zip(asked, scores[first : first + count], strict=True)])
        return [self.to_point(evolution.ask()) for _ in range(count)]

    def evolution(self) -> Any:
        """The strategy before its first generation, around the starting point."""
        import numpy as np
        from cmaes import CatCMAwM

        start = self.start.to_unit()
        numbers = [x for x, size in zip(start.tolist(), self.sizes, strict=True) if not size]
        categories = [size for size in self.sizes if size]
        return CatCMAwM(
            x_space=[[0.0, 1.0]] * len(numbers) if numbers else None,
            c_space=categories or None,
            population_size=self.config.datasets,
            mean=np.array(numbers) if numbers else None,
            sigma=self.config.sigma if numbers else None,
            # Its own would be narrow where the start is near the end of a range.
            cov=np.eye(len(numbers)) if numbers else None,
            seed=self.session.integer_seed("evolution"),
        )

    def to_point(self, found: Any) -> NDArray[np.float64]:
        """A solution in the unit view: a category as the middle of its bin."""
        import numpy as np

        numbers = iter([] if found.x is None else found.x.tolist())
        categories = iter([] if found.c is None else found.c)
        point = [
            (int(np.argmax(next(categories)[:size])) + 0.5) / size if size else next(numbers) for size in self.sizes
        ]
        return np.clip(np.array(point, dtype=np.float64), 0.0, 1.0)
