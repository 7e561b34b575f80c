"""Attribute descent: one attribute after another takes the value whose images lie nearest to the target's.

Yao et al., "Simulating Content Consistent Vehicle Datasets with Attribute Descent", ECCV 2020: coordinate
descent over the parameters of attributes, several times over all of them. There the distance is the Fréchet distance of
Inception's features (FID); here it is the MMD², or a Sinkhorn divergence, of the run's own features.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from autosim.algorithm import Algorithm, Metrics
from autosim.ranges import Checked, Range
from autosim.search_space import IntegerRange, OneOf, UniformRange, tunable

if TYPE_CHECKING:
    from autosim.scenes.generator import AttributeSummary, SceneGenerator
    from autosim.session import Session


@dataclass(frozen=True)
class AttributeDescentConfig(Checked):
    """Options of attribute descent.

    Args:
        iterations: attributes visited, one after another and from the first again.
        frames: frames rendered for each value that is tried.
        candidates: values of a number that are tried in a visit, beside the present one.
        narrowing: the values span the whole range at first, and this share of the last span in each pass over the
            attributes (the paper tries the same values in every pass).
        narrowest: smallest span, as a share of the range.
        divergence: of image features: MMD², or a debiased Sinkhorn divergence (optimal transport).
    """

    iterations: Annotated[int, Range(least=1)] = 60
    frames: Annotated[int, Range(least=4)] = tunable(30, OneOf((15, 30, 60)))
    candidates: Annotated[int, Range(least=2)] = tunable(7, IntegerRange(4, 12))
    narrowing: Annotated[float, Range(above=0, most=1)] = tunable(0.5, UniformRange(0.3, 1.0))
    narrowest: Annotated[float, Range(above=0, most=1)] = 0.02
    divergence: Literal["mmd", "sinkhorn"] = "mmd"


class AttributeDescent(Algorithm):
    """Coordinate descent on the divergence between features of generated and of target images."""

    name: ClassVar[str] = "attribute_descent"
    Config: ClassVar[type] = AttributeDescentConfig
    needs = ("attributes",)

    def __init__(self, session: Session, config: AttributeDescentConfig) -> None:
        from autosim.learning.matching import FIGURES, matcher_of
        from autosim.scenes.parametric import ParametricGenerator

        super().__init__(session, config)
        self.answer = ParametricGenerator(session.env.prior())
        self.keys = self.answer.unit_dimensions()
        self.matcher = matcher_of(config.divergence, session.features, session.target.images.images, session.device)
        self.figure = FIGURES[config.divergence]
        self.history: list[float] = []

    @classmethod
    def shown(cls, config: AttributeDescentConfig) -> str:
        """The images alone."""
        return "images"

    @property
    def generator(self) -> SceneGenerator:
        """Independent distributions with the values found, and the spreads of the start."""
        return self.answer

    def step(self, iteration: int) -> Metrics:
        """Visit one attribute: try values of it, keep the one of the smallest divergence."""
        key = self.keys[iteration % len(self.keys)]
        span = max(self.config.narrowing ** (iteration // len(self.keys)), self.config.narrowest)
        tried = [self.answer, *(self._with(key, summary) for summary in self.candidates(key, span))]
        losses = self.divergences(tried, iteration)
        # The first of equals is the present value.
        best = min(range(len(losses)), key=losses.__getitem__)
        self.answer = tried[best]
        self.history.append(losses[best])
        score = self.session.score_at_end(self.answer, iteration, self.config.iterations)
        return {"val_score": score, self.figure: losses[best], "moved": float(best > 0)}

    def candidates(self, key: str, span: float) -> list[AttributeSummary]:
        """What to try for an attribute: means spaced evenly over a ``span`` of the range around the present one (inside
        the range, or round the circle); or probabilities that are a share ``span`` nearer to one of the choices.
        """
        from autosim.scenes.generator import CategoricalSummary, ContinuousSummary
        from autosim.scenes.graph import Continuous

        present = self.answer.parameters_by_key()[key]
        if isinstance(present, CategoricalSummary):
            chances = present.probabilities
            return [
                CategoricalSummary(tuple((1 - span) * p + span * (i == j) for j, p in enumerate(chances)))
                for i in range(len(chances))
            ]
        assert isinstance(present, ContinuousSummary)
        spec = next(k.attribute for k in self.answer.keyed.continuous if k.key == key)
        assert isinstance(spec, Continuous)
        count, middle = self.config.candidates, spec.normalise(present.mean)
        if not spec.periodic:
            middle = min(max(middle, span / 2), 1 - span / 2)
        places = [middle + span * ((i + 0.5) / count - 0.5) for i in range(count)]
        return [replace(present, mean=spec.denormalise(place % 1.0 if spec.periodic else place)) for place in places]

    def divergences(self, generators: list[Any], iteration: int) -> list[float]:
        """Divergence of frames of each generator from the target's images. All are drawn with the same seeds, so that
        they differ in nothing but what is compared.
        """
        session, count = self.session, self.config.frames
        seeds = session.frame_seeds("frames", iteration, count)
        scenes = [g.sample(count, session.seed_sequence("scenes", iteration)).scenes for g in generators]
        frames = session.pool.render([scene for part in scenes for scene in part], seeds * len(generators))
        features = session.features.features.of_images(frames.images, session.device)
        return [float(self.matcher(part)) for part in features.split(count)]

    def _with(self, key: str, summary: AttributeSummary) -> Any:
        """The present answer with another value of one attribute."""
        other = copy.deepcopy(self.answer)
        other.set_parameters({key: summary})
        return other

    def seen(self) -> dict[str, float]:
        """What the features tell of each attribute."""
        return dict(self.session.features.features.seen)

    def state_dict(self) -> dict[str, Any]:
        """The answer, and the divergences on the way."""
        return {"answer": self.answer.state_dict(), "history": list(self.history)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        self.answer.load_state_dict(state["answer"])
        self.history = list(state["history"])

    def summary(self) -> dict[str, float]:
        """The divergence after the first and after the last visit."""
        return {f"{self.figure}_start": self.history[0], f"{self.figure}_end": self.history[-1]} if self.history else {}
