"""Replay: scenes of earlier steps, used again for the present distribution, and the baseline that their signal gets."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autosim.rendering.drawn import DrawnFrames, Redraw
from autosim.rendering.frames import Frames
from autosim.scenes.generator import Samples, SceneGenerator
from autosim.scenes.graph import Continuous, SceneGraph, Schema


@dataclass(frozen=True)
class ReplayedBatch:
    """Scenes of one step, their frames, the parameters of the generator that drew them, and the signals (n, columns)
    of the scenes by the number of the measurement.
    """

    samples: Samples
    drawn: DrawnFrames
    parameters: dict[str, Tensor]
    looks: dict[int, Tensor]


@dataclass
class SceneReplay:
    """The latest batches, of ``capacity`` scenes together (always at least the last batch). A scene gets ``columns``
    signals in a measurement, which begins with :meth:`add_signals` for all scenes held and goes on with the batches
    that :meth:`add` adds. The replay's state holds scenes and seeds; ``redraw`` draws their frames again.
    """

    capacity: int
    redraw: Redraw
    columns: int = 1
    batches: list[ReplayedBatch] = field(default_factory=list)
    # Row i: log-densities of every batch's pictures, under the parameters that drew batch i.
    _densities: list[list[Tensor]] = field(default_factory=list, repr=False)

    def add(
        self, samples: Samples, drawn: DrawnFrames, generator: SceneGenerator, signal: Tensor | None = None
    ) -> None:
        """Add a batch of ``generator`` with its present parameters, its frames, and the signals (n, columns) of its
        scenes, if any; the oldest batches beyond the capacity are dropped.
        """
        values = Samples(samples.scenes, samples.values.detach(), samples.sources)
        parameters = copy.deepcopy(generator.state_dict())
        looks = {} if signal is None else {self._measurement: _held(signal)}
        self.batches.append(ReplayedBatch(values, drawn, parameters, looks))
        while len(self.batches) > 1 and sum(len(batch.samples) for batch in self.batches) > self.capacity:
            self.batches.pop(0)
            self._densities = [row[1:] for row in self._densities[1:]]

    @property
    def samples(self) -> Samples:
        """All scenes held, oldest first."""
        parts = [batch.samples for batch in self.batches]
        sources = None if parts[0].sources is None else tuple(s for part in parts for s in part.sources or ())
        scenes = tuple(scene for part in parts for scene in part.scenes)
        return Samples(scenes, torch.cat([part.values for part in parts]), sources)

    @property
    def frames(self) -> Frames:
        """Frames of the scenes held, oldest first."""
        return Frames.concatenate([batch.drawn.frames for batch in self.batches])

    @property
    def signal(self) -> Tensor:
        """(n, columns) float64 mean signal of each of the scenes held, 0 without a signal. Level and scale of an
        influence change with the network: signals are :func:`tempered` among all of one measurement.
        """
        counts = self._counts.clamp(min=1).repeat_interleave(self._sizes)
        return self._sums()[0] / counts[:, None]

    @property
    def reliability(self) -> Tensor:
        """(batches,) share of the variance of a batch's mean signals (first column) that another measurement would
        find again: ``k r / (1 + (k - 1) r)`` for means of k signals whose correlation is r (Spearman, Brown, 1910), in
        units of r; 1 for batches without a signal. r is that of all pairs of signals of a scene.
        """
        total, squares = (sums[:, 0] for sums in self._sums())
        pairs = (self._sizes * self._counts * (self._counts - 1)).sum()
        r = 1.0 if pairs == 0 else float(((total.square() - squares).sum() / pairs).clamp(1e-2, 1.0))
        k = self._counts.double().clamp(min=1)
        return k / (1 + (k - 1) * r)

    @property
    def _sizes(self) -> Tensor:
        """(batches,) numbers of scenes."""
        return torch.tensor([len(batch.samples) for batch in self.batches])

    @property
    def _counts(self) -> Tensor:
        """(batches,) numbers of signals of each scene."""
        return torch.tensor([len(batch.looks) for batch in self.batches])

    @property
    def _measurement(self) -> int:
        """The number of the latest measurement."""
        return max((number for batch in self.batches for number in batch.looks), default=0)

    def _sums(self) -> tuple[Tensor, Tensor]:
        """(n, columns) sums of the tempered signals of each scene held, and of their squares."""
        total = torch.zeros(int(self._sizes.sum()), self.columns, dtype=torch.float64)
        squares = torch.zeros_like(total)
        for number in sorted({number for batch in self.batches for number in batch.looks}):
            rows = torch.tensor([number in batch.looks for batch in self.batches]).repeat_interleave(self._sizes)
            found = tempered(torch.cat([batch.looks[number] for batch in self.batches if number in batch.looks]))
            total[rows] += found
            squares[rows] += found.square()
        return total, squares

    def add_signals(self, signal: Tensor) -> None:
        """Begin a measurement with signals (n, columns) of all scenes held."""
        number = self._measurement + 1
        for batch, part in zip(self.batches, _held(signal).split(self._sizes.tolist()), strict=True):
            batch.looks[number] = part

    @torch.no_grad()
    def weights(self, generator: SceneGenerator) -> Tensor:
        """(n,) float64 importance weights of the scenes held under ``generator``, adding up to 1.

        A scene's weight is its density now over its mean density under all parameters that drew the scenes held, the
        balance heuristic (Veach and Guibas, SIGGRAPH 1995), which limits the weight of any single scene. Batches count
        by their :attr:`reliability`, in the mean and in the weight: any such factors leave the estimate unbiased.
        """
        sizes, reliability = self._sizes, self.reliability
        now = copy.deepcopy(generator.state_dict())
        present = torch.cat([generator.picture_log_prob(batch.samples) for batch in self.batches])
        for i, batch in enumerate(self.batches):
            if i == len(self._densities):
                self._densities.append([])
            row = self._densities[i]
            if len(row) < len(self.batches):
                generator.load_state_dict(batch.parameters)
                row += [generator.picture_log_prob(other.samples) for other in self.batches[len(row) :]]
        generator.load_state_dict(now)
        shares = (sizes * reliability).log()[:, None].to(present.device)
        mixture = torch.logsumexp(torch.stack([torch.cat(row) for row in self._densities]) + shares, dim=0)
        return torch.softmax(reliability.repeat_interleave(sizes).log().to(present.device) + present - mixture, dim=0)

    def draw(self, count: int, weights: Tensor, seed: np.random.SeedSequence, replace: bool = True) -> Frames:
        """``count`` frames of the scenes held, half of them drawn by ``weights``, half uniformly; without ``replace``
        all are different, and there are fewer where not enough scenes are held.
        """
        chances = 0.5 * weights.cpu().numpy() + 0.5 / len(weights)
        count = count if replace else min(count, len(weights))
        random = np.random.default_rng(seed)
        return self.frames.select(random.choice(len(weights), count, replace, chances / chances.sum()))

    def state_dict(self) -> list[dict[str, Any]]:
        """Everything held, as tensors, numbers, strings and containers of them."""
        return [
            {
                **batch.drawn.to_state(),
                "sources": None if batch.samples.sources is None else [s.to_json() for s in batch.samples.sources],
                "values": batch.samples.values,
                "parameters": batch.parameters,
                "looks": {str(number): signal.clone() for number, signal in batch.looks.items()},
            }
            for batch in self.batches
        ]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Take up where :meth:`state_dict` was called; the frames are drawn again."""
        self.batches, self._densities = [], []
        for entry in state:
            drawn, known = DrawnFrames.from_state(entry, self.redraw), entry["sources"]
            sources = None if known is None else tuple(SceneGraph.from_json(scene) for scene in known)
            samples = Samples(drawn.scenes, entry["values"], sources)
            looks = {int(number): signal.clone() for number, signal in entry["looks"].items()}
            self.batches.append(ReplayedBatch(samples, drawn, entry["parameters"], looks))


def _held(signal: Tensor) -> Tensor:
    return signal.detach().double().cpu()


def tempered(signal: Tensor) -> Tensor:
    """(n, columns) float64 roots of the signals' distances from their median, with their signs, of mean 0 and standard
    deviation 1 (0 where a column does not vary): influences have heavy tails, and a few frames would outweigh all
    others.
    """
    distance = signal.detach() - signal.detach().median(dim=0).values
    root = (distance.sign() * distance.abs().sqrt()).double().cpu()
    centred = root - root.mean(dim=0)
    return centred / centred.std(dim=0, correction=0).clamp(min=1e-30)


def benefit(replay: SceneReplay, schema: Schema, weights: Tensor) -> Tensor:
    """(n,) the first signal of the scenes held, without the part that the other signals and the immutable attributes
    explain, as a share of its standard deviation under ``weights`` (n,), which add up to 1.

    The distribution of what a method does not learn (shapes, colours, which classes there are) does not depend on the
    learned parameters. A function of it is thus a baseline that leaves the score-function estimate unbiased, except
    that the regression uses the same samples, and removes the variance of those parts.

    The other signal is the frame's own loss. A frame with a large loss has a long gradient, and thus a large influence,
    whatever it shows: unless that is removed, dark and coarse frames are preferred because they are hard. What is left
    is a frame's benefit for the validation frames compared with other frames that are as hard. Where the other parts
    explain nearly all of the signal, little is left, and little moves.
    """
    signal, *others = replay.signal.unbind(dim=1)
    others = [part for other in others for part in (ranked(other, weights), other)]
    scenery = torch.from_numpy(immutable_features(schema, replay.samples.scenes)).to(signal)
    left = unexplained(signal, torch.column_stack([scenery, *others]), weights)
    centred = signal - weights @ signal
    return left / (weights @ centred.square()).sqrt().clamp(min=1e-12)


def ranked(signal: Tensor, weights: Tensor) -> Tensor:
    """(n,) float64 normal scores of the ranks of a signal (n,): the shape of its distribution, outliers in particular,
    no longer matters. ``weights`` (n,) add up to 1; the weighted mean of the result is 0.
    """
    order = signal.argsort(stable=True)
    middle = torch.zeros_like(weights)
    middle[order] = weights[order].cumsum(0) - 0.5 * weights[order]
    scores = torch.special.ndtri(middle.clamp(1e-3, 1 - 1e-3))
    return scores - (weights * scores).sum()


def unexplained(signal: Tensor, parts: Tensor, weights: Tensor, ridge: float = 3.0) -> Tensor:
    """(n,) what a weighted ridge regression on ``parts`` (n, f) leaves of a signal (n,). ``weights`` (n,) add up to 1;
    ``ridge`` is in units of one sample.
    """
    centred, shifted = parts - weights @ parts, signal - weights @ signal
    weighted = centred * (weights * len(weights))[:, None]
    gram = weighted.T @ centred + ridge * torch.eye(parts.shape[1]).to(signal)
    return shifted - centred @ torch.linalg.solve(gram, weighted.T @ shifted)


def immutable_features(schema: Schema, scenes: tuple[SceneGraph, ...]) -> NDArray[np.float64]:
    """(n, f) numbers of nodes by class and slot, and sums of immutable attributes by ``schema.key``: choices as counts,
    continuous attributes normalised, with their squares.
    """
    rows: list[dict[str, float]] = []
    for scene in scenes:
        row: dict[str, float] = {}
        for node in scene.nodes:
            kind = schema.node_class(node.node_class)
            counted = {f"{node.node_class}.{node.slot}": 1.0}
            for attribute in kind.attributes:
                if attribute.mutable:
                    continue
                key, value = schema.key(node, attribute.name), node[attribute.name]
                if isinstance(attribute, Continuous):
                    number = attribute.normalise(float(value))
                    counted |= {key: number, f"{key} squared": number * number}
                else:
                    counted[f"{key} {attribute.index(value)}"] = 1.0
            for name, number in counted.items():
                row[name] = row.get(name, 0.0) + number
        rows.append(row)
    names = {name: None for row in rows for name in row}
    table = np.array([[row.get(name, 0.0) for name in names] for row in rows], dtype=np.float64)
    return table.reshape(len(scenes), len(names))
