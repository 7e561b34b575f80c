"""Independent distributions, one for each mutable attribute, whose parameters are learned."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import permutations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autosim.scenes import distributions
from autosim.scenes.generator import (
    AttributeSummary,
    CategoricalSummary,
    ContinuousSummary,
    Part,
    Samples,
    SceneGenerator,
    check_summary,
)
from autosim.scenes.grammar import Choice, Constant, Grammar, KeyedAttribute, Normal, child_seed
from autosim.scenes.graph import Categorical, Continuous, SceneArrays
from autosim.scenes.keyed import KeyedAttributes, SceneLayout

# Most slots of a class for which all permutations are summed, 24 of them.
MOST_INTERCHANGEABLE = 4


class ParametricGenerator(SceneGenerator):
    """Censored (wrapped where periodic) normals, Bernoullis and categoricals, one for each ``schema.key``.

    Structure and immutable attributes are drawn from the grammar. The parameters start at its priors: a Normal as it
    is, any other continuous prior by its mean and standard deviation, choices by their probabilities.

    ``means`` (C,) are normalised; ``log_spreads`` (C,) are logarithms of normalised standard deviations, learnable only
    with ``learn_spread``; ``logits`` holds, one attribute after another, the log-odds of choice 1 where there are two
    choices, and k logits where there are k > 2. An optimiser may step out of bounds: call :meth:`project` after each
    step.

    Raises ``ValueError`` where the bounds are out of order or ``floor`` is too large for an attribute's choices.
    """

    def __init__(
        self,
        grammar: Grammar,
        learn_spread: bool = False,
        min_spread: float = 0.005,
        max_spread: float = 0.5,
        floor: float = 1e-3,
    ) -> None:
        super().__init__()
        if not 0 < min_spread <= max_spread <= 0.5:
            raise ValueError(f"spreads: 0 < min_spread {min_spread} <= max_spread {max_spread} <= 0.5 does not hold")
        self.grammar, self.schema = grammar, grammar.schema
        self.min_spread, self.max_spread, self.floor = min_spread, max_spread, floor
        self.keyed = KeyedAttributes(grammar)
        self._sizes = [len(k.attribute.choices) for k in self.keyed.categorical if isinstance(k.attribute, Categorical)]
        largest = max([2, *self._sizes])
        if not 0 < floor < 1 / largest:
            raise ValueError(f"floor {floor} is not in (0, {1 / largest:.3g}), up to one over the number of choices")
        starts = [_moments(grammar, k) for k in self.keyed.continuous]
        self.means = nn.Parameter(torch.tensor([mean for mean, _ in starts], dtype=torch.float32))
        spreads = torch.tensor([std for _, std in starts], dtype=torch.float32).clamp(min_spread, max_spread)
        self.log_spreads = nn.Parameter(spreads.log(), requires_grad=learn_spread)
        self.register_buffer("_start_log_spreads", spreads.log(), persistent=False)
        self._least_floor = floor
        self._ends = np.cumsum([0, *({1: 0, 2: 1}.get(size, size) for size in self._sizes)])
        self.logits = nn.Parameter(torch.zeros(int(self._ends[-1])))
        periodic = [k.attribute.periodic for k in self.keyed.continuous if isinstance(k.attribute, Continuous)]
        self.register_buffer("_periodic", torch.tensor(periodic, dtype=torch.bool), persistent=False)
        for i, k in enumerate(self.keyed.categorical):
            self._set_probabilities(i, torch.tensor(_probabilities(grammar, k), dtype=torch.float64))

    def sample(self, count: int, seed: np.random.SeedSequence) -> Samples:
        """Draw ``count`` scenes; the first ones do not depend on the count."""
        sources = self.grammar.sample_many(count, child_seed(seed, 0))
        real, choice = self.keyed.locate(SceneLayout.of(self.schema, sources))
        noise = self._tensor(np.random.default_rng(child_seed(seed, 1)).standard_normal(len(real.key)))
        uniform = self._tensor(np.random.default_rng(child_seed(seed, 2)).random(len(choice.key)))
        plain, circle, periodic = self._normals(real.key)
        noise = noise.to(self.means.dtype)
        values = torch.where(periodic, circle.rsample(noise), plain.rsample(noise))
        indices = torch.zeros(len(choice.key), dtype=torch.int64, device=values.device)
        for i, rows in self._rows(choice.key):
            indices[rows] = self._choice(i).sample(uniform[rows])
        written = values.detach().double().cpu().numpy()
        return Samples(self.keyed.write(sources, written, indices.cpu().numpy()), values)

    def log_prob(self, samples: Samples, part: Part = "all") -> Tensor:
        """(count,) float64 log-probability of mutable attributes; ``ValueError`` for nodes the grammar cannot emit."""
        return self._log_prob(self.schema.encode(samples.scenes), len(samples), part)

    def picture_log_prob(self, samples: Samples) -> Tensor:
        """As the contract says, for classes of up to four slots that are interchangeable in the grammar."""
        arrays = self.schema.encode(samples.scenes)
        total = own = self._log_prob(arrays, len(samples), "all")
        for name in self.grammar.interchangeable:
            position = self.schema.class_index[name]
            mine = arrays.node_class == position
            slots = self.schema.classes[position].slots
            # In other scenes, permuting the slots would give scenes that cannot be drawn.
            complete = np.bincount(arrays.scene[mine], minlength=len(samples)) == slots
            if slots > MOST_INTERCHANGEABLE or not complete.all():
                continue
            terms = [torch.zeros_like(own)]
            for order in list(permutations(range(slots)))[1:]:
                slot = arrays.slot.copy()
                slot[mine] = np.array(order)[slot[mine]]
                terms.append(self._log_prob(replace(arrays, slot=slot), len(samples), "all") - own)
            total = total + torch.logsumexp(torch.stack(terms), dim=0)
        return total

    def _log_prob(self, arrays: SceneArrays, count: int, part: Part) -> Tensor:
        real, choice = self.keyed.locate(arrays)
        values = self._tensor(arrays.continuous[real.node, real.column])
        plain, circle, periodic = self._normals(real.key)
        terms = torch.where(periodic, circle.log_prob(values), plain.log_prob(values))
        total = torch.zeros(count, dtype=torch.float64, device=terms.device)
        if part != "categorical":
            total = total.index_add(0, self._tensor(real.scene), terms)
        if part == "continuous":
            return total
        indices, scene = self._tensor(arrays.categorical[choice.node, choice.column]), self._tensor(choice.scene)
        for i, rows in self._rows(choice.key):
            total = total.index_add(0, scene[rows], self._choice(i).log_prob(indices[rows]))
        return total

    def score_function_loss(
        self, samples: Samples, signal: Tensor, part: Part = "all", enumerate_choices: bool = False
    ) -> Tensor:
        """As the contract says. Enumeration of an attribute's choices i with probabilities p_i is AutoSimulate's
        estimate (Behl et al., ECCV 2020, supplement §3): ``∂/∂p_i = f(i)``, and ``f(1) − f(0)`` for a Bernoulli.

        f(i) is estimated by the mean signal of the samples with choice i, divided by the probability that n draws
        contain i at all. Without this division the estimate would be biased: samples without a choice say nothing about
        it, and using the score function where a choice is missing does not correct that. An attribute that a scene has
        more than once uses the score function: there the choices of a scene share one signal.
        """
        if not enumerate_choices or part == "continuous":
            return super().score_function_loss(samples, signal, part)
        signal = signal.detach().double()
        total = self.logits.new_zeros((), dtype=torch.float64)
        if part == "all":
            total = super().score_function_loss(samples, signal, "continuous")
        arrays = self.schema.encode(samples.scenes)
        _, entries = self.keyed.locate(arrays)
        chosen, scene = self._tensor(arrays.categorical[entries.node, entries.column]), self._tensor(entries.scene)
        for i, rows in self._rows(entries.key):
            choice, index, cost = self._choice(i), chosen[rows], signal[scene[rows]]
            if len(scene[rows].unique()) < len(rows):
                total = total + (cost * choice.log_prob(index)).sum() / len(samples)
                continue
            probabilities = choice.probabilities.double()
            counts = torch.bincount(index, minlength=self._sizes[i])
            means = torch.zeros_like(probabilities).index_add(0, index, cost) / counts.clamp(min=1)
            drawn = -torch.expm1(len(rows) * torch.log1p(-probabilities.detach()))
            total = total + (probabilities * means / drawn.clamp(min=1e-12)).sum() * len(rows) / len(samples)
        return total

    @torch.no_grad()
    def project(self) -> None:
        """Put the parameters back within bounds: means to [0, 1] (wrapped where periodic), standard deviations to
        ``[min_spread, max_spread]``, probabilities to ``floor`` or above.
        """
        self.means.copy_(torch.where(self._periodic_mask, self.means.remainder(1.0), self.means.clamp(0, 1)))
        self.log_spreads.clamp_(math.log(self.min_spread), math.log(self.max_spread))
        for i, size in enumerate(self._sizes):
            if size > 1:
                self._set_probabilities(i, self._choice(i).probabilities.double())

    @torch.no_grad()
    def explore(self, spread: float, share: float) -> None:
        """As the contract says; ``ValueError`` for a ``share`` outside [0, 0.5]."""
        if not 0 <= share <= 0.5:
            raise ValueError(f"share {share} is not in [0, 0.5]")
        if not self.log_spreads.requires_grad:
            start = self._start_log_spreads
            assert isinstance(start, Tensor)
            self.log_spreads.copy_(start.clamp(min=math.log(max(spread, self.min_spread))))
        self.floor = max(share, self._least_floor)
        self.project()

    @torch.no_grad()
    def move_towards(self, other: SceneGenerator, share: float) -> None:
        """As the contract says; periodic means move the shorter way round."""
        assert isinstance(other, ParametricGenerator)
        shorter_way = torch.remainder(other.means - self.means + 0.5, 1.0) - 0.5
        means = torch.where(self._periodic_mask, self.means + share * shorter_way, self.means.lerp(other.means, share))
        super().move_towards(other, share)
        self.means.copy_(means)
        self.floor = other.floor
        self.project()

    @torch.no_grad()
    def parameters_by_key(self) -> dict[str, AttributeSummary]:
        """As the contract says, in the schema's order; means and standard deviations before censoring or wrapping."""
        found: dict[str, AttributeSummary] = {}
        for i, k in enumerate(self.keyed.continuous):
            assert isinstance(k.attribute, Continuous)
            span = k.attribute.high - k.attribute.low
            mean, std = float(self.means[i]), float(self.log_spreads[i].exp()) * span
            found[k.key] = ContinuousSummary(k.attribute.denormalise(mean), std)
        for i, k in enumerate(self.keyed.categorical):
            known = self._choice(i).probabilities.tolist() if self._sizes[i] > 1 else [1.0]
            found[k.key] = CategoricalSummary(tuple(known))
        return {k.key: found[k.key] for k in self.grammar.attributes()}

    @torch.no_grad()
    def set_parameters(self, parameters: Mapping[str, AttributeSummary]) -> None:
        """As the contract says. Standard deviations are set even where they are not learned; :meth:`explore` still
        begins from those of the grammar.
        """
        known = {k.key: k.attribute for k in self.grammar.attributes()}
        for key, summary in parameters.items():
            if key not in known:
                raise ValueError(f"{key}: no such attribute; there are: {', '.join(known)}")
            check_summary(key, known[key], summary)
        for i, k in enumerate(self.keyed.continuous):
            wanted = parameters.get(k.key)
            if isinstance(wanted, ContinuousSummary) and isinstance(k.attribute, Continuous):
                self.means[i] = k.attribute.normalise(wanted.mean)
                self.log_spreads[i] = math.log(max(wanted.std / (k.attribute.high - k.attribute.low), self.min_spread))
        for i, k in enumerate(self.keyed.categorical):
            wanted = parameters.get(k.key)
            if isinstance(wanted, CategoricalSummary):
                self._set_probabilities(i, torch.tensor(wanted.probabilities, dtype=torch.float64))
        self.project()

    def unit_dimensions(self) -> list[str]:
        """Keys of the dimensions of the ``[0, 1]^d`` view, in the schema's order; spreads are no part of it."""
        single = [k.key for k, size in zip(self.keyed.categorical, self._sizes, strict=True) if size == 1]
        return [k.key for k in self.grammar.attributes() if k.key not in single]

    @torch.no_grad()
    def from_unit(self, x: NDArray[np.float64]) -> ParametricGenerator:
        """A copy with its parameters set from ``x`` (d,) in [0, 1].

        A normal takes x as its mean; a Bernoulli as the probability of choice 1 (within the floor); a categorical of k
        choices cuts [0, 1] into k equal bins, and the choice whose bin x is in gets all but the floor of the others.
        Raises ``ValueError`` for a wrong shape or a value outside [0, 1].
        """
        names = self.unit_dimensions()
        point = np.asarray(x, dtype=np.float64)
        if point.shape != (len(names),) or not np.all((point >= 0) & (point <= 1)):
            raise ValueError(f"unit view: expected {len(names)} values in [0, 1], found {x!r}")
        result = copy.deepcopy(self)
        at = dict(zip(names, point.tolist(), strict=True))
        for i, k in enumerate(self.keyed.continuous):
            result.means[i] = at[k.key]
        for i, (k, count) in enumerate(zip(self.keyed.categorical, self._sizes, strict=True)):
            if count == 2:
                result._set_probabilities(i, torch.tensor([1 - at[k.key], at[k.key]], dtype=torch.float64))
            elif count > 2:
                chosen = min(int(at[k.key] * count), count - 1)
                result._set_probabilities(i, torch.eye(count, dtype=torch.float64)[chosen])
        result.project()
        return result

    @torch.no_grad()
    def to_unit(self) -> NDArray[np.float64]:
        """(d,) the point of the ``[0, 1]^d`` view nearest to the parameters: a categorical of more than two choices
        gives the middle of its likeliest choice's bin.
        """
        at = {k.key: float(mean) for k, mean in zip(self.keyed.continuous, self.means, strict=True)}
        for i, (k, count) in enumerate(zip(self.keyed.categorical, self._sizes, strict=True)):
            if count == 2:
                at[k.key] = float(self._choice(i).probabilities[1])
            elif count > 2:
                at[k.key] = (int(self._choice(i).probabilities.argmax()) + 0.5) / count
        return np.clip([at[name] for name in self.unit_dimensions()], 0.0, 1.0)

    def choices(self) -> list[distributions.Bernoulli | distributions.Categorical]:
        """The distribution of each categorical attribute of more than one choice, differentiable in ``logits``."""
        return [self._choice(i) for i, size in enumerate(self._sizes) if size > 1]

    @torch.no_grad()
    def with_parameters(self, means: Tensor, choices: Tensor) -> ParametricGenerator:
        """A copy with ``means`` (C,), projected, and each of ``choices()`` on one index (but for the floor).

        Raises ``ValueError`` for wrong shapes or an index that is none of the attribute's.
        """
        several = [i for i, size in enumerate(self._sizes) if size > 1]
        if means.shape != self.means.shape or choices.shape != (len(several),):
            shapes = f"{tuple(self.means.shape)} means and ({len(several)},) choices"
            raise ValueError(f"expected {shapes}, found {tuple(means.shape)} and {tuple(choices.shape)}")
        result = copy.deepcopy(self)
        result.means.copy_(means)
        for i, chosen in zip(several, choices.tolist(), strict=True):
            if not 0 <= chosen < self._sizes[i]:
                raise ValueError(f"{self.keyed.categorical[i].key}: index {chosen} is not below {self._sizes[i]}")
            result._set_probabilities(i, torch.eye(self._sizes[i], dtype=torch.float64)[chosen])
        result.project()
        return result

    @property
    def _periodic_mask(self) -> Tensor:
        mask = self._periodic
        assert isinstance(mask, Tensor)
        return mask

    def _tensor(self, array: NDArray[np.float64] | NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.means.device)

    def _normals(
        self, key: NDArray[np.int64]
    ) -> tuple[distributions.CensoredNormal, distributions.WrappedNormal, Tensor]:
        """Both kinds of normal for every entry, and which entries are periodic."""
        index = self._tensor(key)
        mean, std = self.means[index], self.log_spreads[index].exp()
        return (
            distributions.CensoredNormal(mean, std),
            distributions.WrappedNormal(mean, std),
            self._periodic_mask[index],
        )

    def _rows(self, key: NDArray[np.int64]) -> Iterator[tuple[int, Tensor]]:
        """Each categorical attribute of more than one choice that has entries, and their positions."""
        for i, size in enumerate(self._sizes):
            rows = np.flatnonzero(key == i)
            if len(rows) and size > 1:
                yield i, self._tensor(rows)

    def _choice(self, i: int) -> distributions.Bernoulli | distributions.Categorical:
        logits = self.logits[int(self._ends[i]) : int(self._ends[i + 1])]
        return distributions.Bernoulli(logits[0]) if len(logits) == 1 else distributions.Categorical(logits)

    @torch.no_grad()
    def _set_probabilities(self, i: int, probabilities: Tensor) -> None:
        # The floor is at most three quarters of an equal share.
        floor = min(self.floor, max(self._least_floor, 0.75 / len(probabilities)))
        logs = _at_least(probabilities, floor).log()
        start, end = int(self._ends[i]), int(self._ends[i + 1])
        if end - start == 1:
            self.logits[start] = logs[1] - logs[0]
        elif end > start:
            self.logits[start:end] = (logs - logs.mean()).to(self.logits.dtype)


def _moments(grammar: Grammar, keyed: KeyedAttribute) -> tuple[float, float]:
    """Normalised mean and standard deviation of a continuous attribute's prior."""
    spec = keyed.attribute
    assert isinstance(spec, Continuous)
    span = spec.high - spec.low
    prior = grammar.prior(keyed.node_class, keyed.slot, spec.name)
    if isinstance(prior, Normal):
        return spec.normalise(prior.mean), prior.std / span
    if isinstance(prior, Constant):
        return spec.normalise(float(prior.value)), 0.0
    assert not isinstance(prior, Choice)
    return spec.normalise((prior.low + prior.high) / 2), (prior.high - prior.low) / span / math.sqrt(12)


def _probabilities(grammar: Grammar, keyed: KeyedAttribute) -> tuple[float, ...]:
    """Probability of each choice under a categorical attribute's prior."""
    spec = keyed.attribute
    assert isinstance(spec, Categorical)
    prior = grammar.prior(keyed.node_class, keyed.slot, spec.name)
    if isinstance(prior, Constant):
        return tuple(float(choice == prior.value) for choice in spec.choices)
    assert isinstance(prior, Choice)
    return prior.normalised


def _at_least(probabilities: Tensor, floor: float) -> Tensor:
    """Probabilities (k,) with those below ``floor`` raised to it and the others scaled down to sum to 1."""
    low = torch.zeros_like(probabilities, dtype=torch.bool)
    result = probabilities / probabilities.sum()
    while bool((result < floor).logical_and(~low).any()):
        low |= result < floor
        rest = 1 - floor * int(low.sum())
        result = torch.where(low, torch.full_like(result, floor), result)
        result = torch.where(low, result, result * rest / result[~low].sum())
    return result
