"""Meta-Sim's distribution transformer: a graph network that moves the mutable attributes of grammar samples."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autosim.scenes import distributions
from autosim.scenes.generator import Part, Samples, SceneGenerator
from autosim.scenes.grammar import Grammar, child_seed
from autosim.scenes.graph import Categorical, Continuous, SceneGraph
from autosim.scenes.keyed import KeyedAttributes
from autosim.seeding import torch_seeded

EDGE = 0.005
"""Inputs closer than this to 0 or 1 are moved to it before the residual's logit, which is infinite there."""


@dataclass(frozen=True)
class GraphBatch:
    """Scenes as the network reads them: n nodes, m mutable continuous and d mutable categorical entries.

    ``features`` (n, F); ``edges`` (2, E) with ``relations`` (E,), 0 from parent to child and 1 from child to parent.
    For each entry, ``*_scene``, ``*_node``, ``*_column`` and ``*_key`` as in :class:`~autosim.scenes.keyed.Entries`;
    ``values`` (m,) normalised and ``indices`` (d,) are what the scenes hold.
    """

    features: Tensor
    edges: Tensor
    relations: Tensor
    real_scene: Tensor
    real_node: Tensor
    real_column: Tensor
    real_key: Tensor
    values: Tensor
    choice_scene: Tensor
    choice_node: Tensor
    choice_column: Tensor
    choice_key: Tensor
    indices: Tensor


@dataclass(frozen=True)
class Prediction:
    """Distributions of all mutable attributes: ``means``, ``stds`` and ``periodic``, (m,) each; for categorical ones,
    column by column, the positions of its entries among the d and their logits.
    """

    means: Tensor
    stds: Tensor
    periodic: Tensor
    choices: tuple[tuple[Tensor, distributions.Categorical], ...]


class GraphNetwork(nn.Module):
    """Relational graph convolutions with weights of their own for parent to child, child to parent and self.

    The read-out sees every layer and the input features. Meta-Sim §3.2, appendix.
    """

    def __init__(self, features: int, hidden: int, layers: int, outputs: int) -> None:
        with warnings.catch_warnings():
            # The library warns about its own use of PyTorch, which our users cannot change.
            warnings.simplefilter("ignore", FutureWarning)
            from torch_geometric.nn import RGCNConv

        super().__init__()
        widths = [features] + [hidden] * layers
        self.layers = nn.ModuleList(
            RGCNConv(before, after, num_relations=2, root_weight=True) for before, after in pairwise(widths)
        )
        self.read_out = nn.Linear(sum(widths), outputs)

    def forward(self, features: Tensor, edges: Tensor, relations: Tensor) -> Tensor:
        """(n, outputs) for nodes (n, features), edges (2, E) and their relations (E,)."""
        seen = [features]
        for layer in self.layers:
            seen.append(torch.relu(layer(seen[-1], edges, relations)))
        output: Tensor = self.read_out(torch.cat(seen, dim=1))
        return output


class DistributionTransformer(SceneGenerator):
    """``G_theta`` of Meta-Sim §3: keeps structure and immutable attributes of grammar samples, and predicts the rest.

    Per node, from one layout of features: a mean in [0, 1] for each continuous attribute, as a sigmoid (periodic: the
    angle of a predicted sine and cosine); logits for each categorical one. A mean is that of a censored (wrapped)
    normal whose standard deviation belongs to the ``schema.key``: ``std`` of the range at the start, learnable with
    ``learn_spread``, and kept within ``[min_spread, max_spread]`` by :meth:`project`. Logits are squashed so that the
    likeliest choice has at most probability ``1 - floor``: some samples of every choice always remain.

    The network must learn to reproduce the prior first, see :mod:`autosim.scenes.pretraining`. With ``residual`` it
    need not: its output, zero at the start, is added to the input's own logits (or sine and cosine). This is not the
    default, because the copy of the input makes the spread narrow slowly.

    The network's outputs are shared by all nodes of a class. Every ``schema.key`` adds an offset of its own to them,
    zero at the start, so that slots can separate without a change of the shared weights. Offsets of angles are in
    quarter turns; added to the sine and cosine, whose length is free, they would turn a long pair only little.

    Equal seeds give equal initial weights. Raises ``ValueError`` where a setting is out of its range.
    """

    def __init__(
        self,
        grammar: Grammar,
        seed: int = 0,
        hidden: int = 64,
        layers: int = 2,
        residual: bool = False,
        std: float = 0.02,
        learn_spread: bool = False,
        min_spread: float = 0.005,
        max_spread: float = 0.5,
        floor: float = 0.01,
    ) -> None:
        super().__init__()
        if not 0 < min_spread <= std <= max_spread <= 0.5:
            raise ValueError(f"spreads: 0 < {min_spread} <= std {std} <= {max_spread} <= 0.5 does not hold")
        if not 0 < floor <= 0.1:
            raise ValueError(f"floor {floor} is not in (0, 0.1]")
        if hidden < 1 or layers < 1:
            raise ValueError(f"hidden {hidden} and layers {layers} must be at least 1")
        self.grammar, self.schema = grammar, grammar.schema
        self.residual, self.min_spread, self.max_spread, self.floor = residual, min_spread, max_spread, floor
        self.keyed = KeyedAttributes(grammar)
        spread = torch.full((len(self.keyed.continuous),), math.log(std))
        self._start_spread = std
        self.log_spreads = nn.Parameter(spread, requires_grad=learn_spread)
        outputs = self._lay_out()
        with torch_seeded(seed):
            self.network = GraphNetwork(self.schema.feature_count, hidden, layers, outputs)
        self.offsets = nn.Parameter(torch.zeros(len(self.keyed.continuous)))
        self.choice_offsets = nn.Parameter(torch.zeros(self._lay_out_choice_offsets()))
        if residual:
            nn.init.zeros_(self.network.read_out.weight)
            nn.init.zeros_(self.network.read_out.bias)

    def sample(self, count: int, seed: np.random.SeedSequence, noise: bool = True) -> Samples:
        """Draw grammar scenes and transform them; see :meth:`transform`."""
        return self.transform(self.grammar.sample_many(count, child_seed(seed, 0)), child_seed(seed, 1), noise)

    def transform(self, sources: Sequence[SceneGraph], seed: np.random.SeedSequence, noise: bool = True) -> Samples:
        """One sample for each source; without ``noise`` the means and the likeliest choices.

        Raises ``ValueError`` where a source has a node that the grammar cannot emit.
        """
        batch = self.batch(sources)
        predicted = self.predict(batch)
        values = predicted.means
        if noise:
            normal = np.random.default_rng(child_seed(seed, 0)).standard_normal(len(values))
            values = sample_values(predicted, self._tensor(normal).to(values.dtype))
        uniform = self._tensor(np.random.default_rng(child_seed(seed, 1)).random(len(batch.indices)))
        indices = torch.zeros_like(batch.indices)
        for rows, choice in predicted.choices:
            indices[rows] = choice.sample(uniform[rows]) if noise else choice.logits.argmax(dim=-1)
        written = values.detach().double().cpu().numpy()
        return Samples(self.keyed.write(sources, written, indices.cpu().numpy()), values, tuple(sources))

    def log_prob(self, samples: Samples, part: Part = "all") -> Tensor:
        """(count,) float64 ``log q(s' | s)`` with ``s`` the source of each scene ``s'`` (Meta-Sim Eq. 3–4).

        Scenes are data here: the gradient runs through the network's means, logits and spreads only. Raises
        ``ValueError`` where the samples have no sources, or sources of another structure.
        """
        if samples.sources is None or _structure(samples.sources) != _structure(samples.scenes):
            raise ValueError("samples: each scene needs the source that it was transformed from, of the same structure")
        batch, drawn = self.batch(samples.sources), self.batch(samples.scenes)
        predicted = self.predict(batch)
        plain = distributions.CensoredNormal(predicted.means, predicted.stds).log_prob(drawn.values)
        circle = distributions.WrappedNormal(predicted.means, predicted.stds).log_prob(drawn.values)
        terms = torch.where(predicted.periodic, circle, plain)
        total = torch.zeros(len(samples), dtype=torch.float64, device=terms.device)
        if part != "categorical":
            total = total.index_add(0, batch.real_scene, terms)
        if part == "continuous":
            return total
        for rows, choice in predicted.choices:
            total = total.index_add(0, batch.choice_scene[rows], choice.log_prob(drawn.indices[rows]))
        return total

    @torch.no_grad()
    def set_spread(self, std: float) -> None:
        """Set every standard deviation, as a fraction of the range; bounded to ``[min_spread, max_spread]``."""
        self.log_spreads.fill_(math.log(min(max(std, self.min_spread), self.max_spread)))

    def explore(self, spread: float, share: float) -> None:
        """As the contract says, for the standard deviations; choices keep the transformer's ``floor``."""
        if not self.log_spreads.requires_grad:
            self.set_spread(max(spread, self._start_spread))

    @torch.no_grad()
    def project(self) -> None:
        """Put the standard deviations back into ``[min_spread, max_spread]``; the network's weights are free."""
        self.log_spreads.clamp_(math.log(self.min_spread), math.log(self.max_spread))

    def batch(self, scenes: Sequence[SceneGraph]) -> GraphBatch:
        """Scenes as tensors; ``ValueError`` where one has a node that the grammar cannot emit.

        Edges come from the parents in one array operation, which costs less than looking up a batch of equal structure.
        """
        arrays = self.schema.encode(scenes)
        real, choice = self.keyed.locate(arrays)
        child = np.flatnonzero(arrays.parent >= 0)
        down = np.stack([arrays.parent[child], child])
        relations = np.repeat(np.arange(2, dtype=np.int64), len(child))
        return GraphBatch(
            features=self._tensor(self.schema.network_features(arrays)).to(self.log_spreads.dtype),
            edges=self._tensor(np.concatenate([down, down[::-1]], axis=1)),
            relations=self._tensor(relations),
            real_scene=self._tensor(real.scene),
            real_node=self._tensor(real.node),
            real_column=self._tensor(real.column),
            real_key=self._tensor(real.key),
            values=self._tensor(arrays.continuous[real.node, real.column]),
            choice_scene=self._tensor(choice.scene),
            choice_node=self._tensor(choice.node),
            choice_column=self._tensor(choice.column),
            choice_key=self._tensor(choice.key),
            indices=self._tensor(arrays.categorical[choice.node, choice.column]),
        )

    def predict(self, batch: GraphBatch) -> Prediction:
        """Distributions of the mutable attributes of a batch."""
        output = self.network(batch.features, batch.edges, batch.relations)
        start, periodic = self._real_start[batch.real_column], self._real_periodic[batch.real_column]
        own = self.offsets[batch.real_key]
        first, second = output[batch.real_node, start], output[batch.real_node, start + periodic.long()]
        values = batch.values.to(output.dtype)
        if self.residual:
            angle = 2 * math.pi * values
            plain = torch.logit(values.clamp(EDGE, 1 - EDGE))
            first = first + torch.where(periodic, angle.sin(), plain)
            second = second + torch.where(periodic, angle.cos(), plain)
        # A quarter of the range for each unit: the slope of a sigmoid where it is steepest.
        turn = torch.remainder(torch.atan2(first, second) / (2 * math.pi) + own / 4, 1.0)
        means = torch.where(periodic, turn, torch.sigmoid(first + own))
        choices = []
        for column, rows in self._choice_rows(batch.choice_column):
            begin, count = self._choice_start[column], self._choice_count[column]
            own = self._choice_offset[batch.choice_key[rows]][:, None] + torch.arange(count, device=rows.device)
            raw = output[batch.choice_node[rows], begin : begin + count] + self.choice_offsets[own]
            if self.residual:
                raw = raw + self._one_hot_logits(batch.indices[rows], count)
            choices.append((rows, distributions.Categorical(_cap(raw, self.floor))))
        return Prediction(means, self.log_spreads.exp()[batch.real_key], periodic, tuple(choices))

    def smoothed(self, indices: Tensor, count: int) -> Tensor:
        """(d, count) one-hot probabilities with ``2 · floor`` spread over the other choices: what pre-training fits."""
        if count == 1:
            return torch.ones(len(indices), 1, dtype=self.log_spreads.dtype, device=indices.device)
        hot = nn.functional.one_hot(indices, count).to(self.log_spreads.dtype)
        other = 2 * self.floor / (count - 1)
        return hot * (1 - 2 * self.floor - other) + other

    def _one_hot_logits(self, indices: Tensor, count: int) -> Tensor:
        """Outputs that give the smoothed one-hot probabilities once squashed."""
        logs = self.smoothed(indices, count).log()
        middle = (logs.amax(dim=1, keepdim=True) + logs.amin(dim=1, keepdim=True)) / 2
        limit = _limit(count, self.floor)
        return limit * torch.atanh((logs - middle) / limit)

    def _lay_out(self) -> int:
        """Give every mutable column that the grammar emits its place among the outputs; returns their number."""
        used = {f"{k.node_class}.{k.attribute.name}" for k in self.grammar.attributes()}
        width = 0
        starts, periodic = [], []
        for column in self.schema.continuous_columns:
            assert isinstance(column.attribute, Continuous)
            starts.append(width)
            periodic.append(column.attribute.periodic)
            width += (1 + column.attribute.periodic) if column.key in used else 0
        self.register_buffer("_starts", torch.tensor(starts, dtype=torch.int64), persistent=False)
        self.register_buffer("_periodic", torch.tensor(periodic, dtype=torch.bool), persistent=False)
        self._choice_start: list[int] = []
        self._choice_count: list[int] = []
        for column in self.schema.categorical_columns:
            assert isinstance(column.attribute, Categorical)
            self._choice_start.append(width)
            self._choice_count.append(len(column.attribute.choices))
            width += len(column.attribute.choices) if column.key in used else 0
        return width

    def _lay_out_choice_offsets(self) -> int:
        """Give the offsets of every categorical ``schema.key`` their place; returns their number."""
        choice = [0]
        for keyed in self.keyed.categorical:
            assert isinstance(keyed.attribute, Categorical)
            choice.append(choice[-1] + len(keyed.attribute.choices))
        self.register_buffer("_choice_offsets", torch.tensor(choice[:-1], dtype=torch.int64), persistent=False)
        return choice[-1]

    @property
    def _choice_offset(self) -> Tensor:
        return self.get_buffer("_choice_offsets")

    @property
    def _real_start(self) -> Tensor:
        return self.get_buffer("_starts")

    @property
    def _real_periodic(self) -> Tensor:
        return self.get_buffer("_periodic")

    def _choice_rows(self, columns: Tensor) -> Iterator[tuple[int, Tensor]]:
        for column in range(len(self._choice_start)):
            rows = torch.nonzero(columns == column)[:, 0]
            if len(rows):
                yield column, rows

    def _tensor(self, array: NDArray[np.float64] | NDArray[np.float32] | NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.log_spreads.device)


def sample_values(predicted: Prediction, noise: Tensor) -> Tensor:
    """(m,) reparameterised values for standard normal ``noise`` (m,)."""
    plain = distributions.CensoredNormal(predicted.means, predicted.stds).rsample(noise)
    circle = distributions.WrappedNormal(predicted.means, predicted.stds).rsample(noise)
    return torch.where(predicted.periodic, circle, plain)


def _structure(scenes: Sequence[SceneGraph]) -> list[tuple[tuple[int, ...], list[tuple[str, int]]]]:
    return [(scene.parents, [(node.node_class, node.slot) for node in scene.nodes]) for scene in scenes]


def _limit(count: int, floor: float) -> float:
    """Largest size of a logit: one choice at +limit and the others at -limit have 1 - floor and floor together."""
    return 0.5 * math.log((1 - floor) / floor * max(count - 1, 1))


def _cap(raw: Tensor, floor: float) -> Tensor:
    limit = _limit(raw.shape[-1], floor)
    return limit * torch.tanh(raw / limit)
