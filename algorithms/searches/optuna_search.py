"""Tree-structured Parzen estimators as Optuna has them: what most would reach for today."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from algorithms.searches.search import Search, SearchConfig, penalised
from autosim.errors import UserError
from autosim.ranges import Range
from autosim.search_space import IntegerRange, tunable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from optuna.distributions import BaseDistribution

    from autosim.session import Session


@dataclass(frozen=True)
class OptunaSearchConfig(SearchConfig):
    """Options of the search on Optuna.

    Args:
        initial: points that are tried before the estimators are fitted: the starting one, then random ones.
    """

    initial: Annotated[int, Range(least=1)] = tunable(4, IntegerRange(2, 16))


class OptunaSearch(Search):
    """The multivariate TPE with a constant liar, asked for batches. Needs the extra ``optuna``."""

    name: ClassVar[str] = "optuna"
    Config: ClassVar[type] = OptunaSearchConfig

    def __init__(self, session: Session, config: OptunaSearchConfig) -> None:
        try:
            import optuna  # noqa: F401
        except ImportError as error:
            raise UserError("optuna is not installed: pip install 'autosim-engine[optuna]' does that") from error
        super().__init__(session, config)

    def propose(self, iteration: int) -> list[NDArray[np.float64]]:
        """What the sampler asks for, given all that was tried; the starting point comes first."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        distributions = self.distributions()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=self.config.initial,
                multivariate=True,
                constant_liar=True,
                seed=self.session.integer_seed("sampler", iteration),
            )
        # A study made anew of what is known needs no state of its own in a checkpoint.
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for point, score in zip(self.points, penalised(self.scores), strict=True):
            params = to_params(point, distributions)
            study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=score))
        if not self.points:
            study.enqueue_trial(to_params(self.start.to_unit(), distributions))
        asked = [study.ask(distributions).params for _ in range(self.config.datasets)]
        return [to_point(params, distributions) for params in asked]

    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's view of each dimension: categories where an attribute has more than two, else [0, 1]."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        sizes = {k.key: len(getattr(k.attribute, "choices", ())) for k in self.start.grammar.attributes()}
        return {
            key: CategoricalDistribution(range(sizes[key])) if sizes[key] > 2 else FloatDistribution(0.0, 1.0)
            for key in self.start.unit_dimensions()
        }


def to_params(point: NDArray[np.float64], distributions: dict[str, BaseDistribution]) -> dict[str, Any]:
    """A point of the unit view as Optuna has it: a category by its number."""
    return {
        key: min(int(x * len(spec.choices)), len(spec.choices) - 1) if hasattr(spec, "choices") else x
        for x, (key, spec) in zip(point.tolist(), distributions.items(), strict=True)
    }


def to_point(params: dict[str, Any], distributions: dict[str, BaseDistribution]) -> NDArray[np.float64]:
    """The way back: a category as the middle of its bin."""
    import numpy as np

    return np.array(
        [
            (params[key] + 0.5) / len(spec.choices) if hasattr(spec, "choices") else params[key]
            for key, spec in distributions.items()
        ]
    )
