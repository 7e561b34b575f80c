"""Replay: scenes of earlier steps, used again for the present distribution, and the baseline that their signal gets."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autosim.rendering.frames import Frames
from autosim.scenes.generator import Samples, SceneGenerator
from autosim.scenes.graph import Continuous, SceneGraph, Schema


@dataclass(frozen=True)
class Batch:
    """Scenes of one step, their frames, and the parameters of the generator that drew them."""

    samples: Samples
    frames: Frames
    parameters: dict[str, Tensor]


@dataclass
class Replay:
    """The latest batches, of ``capacity`` scenes together (always at least the last batch)."""

    capacity: int
    batches: list[Batch] = field(default_factory=list)

    def add(self, samples: Samples, frames: Frames, generator: SceneGenerator) -> None:
        """Take in a batch that ``generator`` drew as it is now; the oldest ones beyond the capacity are dropped."""
        values = Samples(samples.scenes, samples.values.detach(), samples.sources)
        self.batches.append(Batch(values, frames, copy.deepcopy(generator.state_dict())))
        while len(self.batches) > 1 and sum(len(batch.samples) for batch in self.batches) > self.capacity:
            self.batches.pop(0)

    @property
    def samples(self) -> Samples:
        """All scenes held, oldest first."""
        parts = [batch.samples for batch in self.batches]
        sources = None if parts[0].sources is None else tuple(s for part in parts for s in part.sources or ())
        scenes = tuple(scene for part in parts for scene in part.scenes)
        return Samples(scenes, torch.cat([part.values for part in parts]), sources)

    def frames(self, latest: int | None = None) -> Frames:
        """Frames of the scenes held, oldest first; of at least the ``latest`` ones where that is given."""
        parts: list[Frames] = []
        for batch in reversed(self.batches):
            parts.insert(0, batch.frames)
            if latest is not None and sum(len(part) for part in parts) >= latest:
                break
        return Frames.concatenate(parts)

    @torch.no_grad()
    def weights(self, generator: SceneGenerator) -> Tensor:
        """(n,) float64 importance weights of the scenes held under ``generator``, adding up to 1.

        A scene's weight is its density now over its mean density under all parameters that drew the scenes held, the
        balance heuristic (Veach and Guibas, SIGGRAPH 1995): no scene can weigh more than as if all were drawn now.
        """
        samples, sizes = self.samples, torch.tensor([len(batch.samples) for batch in self.batches])
        now = copy.deepcopy(generator.state_dict())
        present = generator.log_prob(samples)
        densities = []
        for batch in self.batches:
            generator.load_state_dict(batch.parameters)
            densities.append(generator.log_prob(samples))
        generator.load_state_dict(now)
        shares = (sizes.double() / sizes.sum()).log()[:, None].to(present.device)
        mixture = torch.logsumexp(torch.stack(densities) + shares, dim=0)
        return torch.softmax(present - mixture, dim=0)

    def draw(self, count: int, weights: Tensor, seed: np.random.SeedSequence) -> Frames:
        """``count`` frames of the scenes held, with replacement, half of them by ``weights``, half whichever."""
        chances = 0.5 * weights.cpu().numpy() + 0.5 / len(weights)
        chosen = np.random.default_rng(seed).choice(len(weights), size=count, p=chances / chances.sum())
        return self.frames().select(chosen)

    def state_dict(self) -> list[dict[str, Any]]:
        """Everything held, as tensors, numbers, strings and containers of them."""
        return [
            {
                "scenes": [scene.to_json() for scene in batch.samples.scenes],
                "sources": None if batch.samples.sources is None else [s.to_json() for s in batch.samples.sources],
                "values": batch.samples.values,
                "frames": batch.frames.to_state(),
                "parameters": batch.parameters,
            }
            for batch in self.batches
        ]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Take up where :meth:`state_dict` was called."""
        self.batches = []
        for entry in state:
            scenes = tuple(SceneGraph.from_json(scene) for scene in entry["scenes"])
            known = entry["sources"]
            sources = None if known is None else tuple(SceneGraph.from_json(scene) for scene in known)
            frames = Frames.from_state(entry["frames"])
            self.batches.append(Batch(Samples(scenes, entry["values"], sources), frames, entry["parameters"]))


def ranked(signal: Tensor, weights: Tensor) -> Tensor:
    """(n,) float64 normal scores of the ranks of a signal (n,): the shape of its distribution, outliers above all, no
    longer matters. ``weights`` (n,) add up to 1; the weighted mean of the result is 0.
    """
    order = signal.argsort(stable=True)
    middle = torch.zeros_like(weights)
    middle[order] = weights[order].cumsum(0) - 0.5 * weights[order]
    scores = torch.special.ndtri(middle.clamp(1e-3, 1 - 1e-3))
    return scores - (weights * scores).sum()


def without_immutable_part(
    schema: Schema, scenes: tuple[SceneGraph, ...], signal: Tensor, weights: Tensor, ridge: float = 3.0
) -> Tensor:
    """(n,) the signal without what a weighted ridge regression on the scenes' immutable parts explains of it.

    What a method does not learn (shapes, colours, which classes there are) is distributed the same whatever the learned
    parameters are. A function of it is thus a baseline that leaves the score-function estimate unbiased, apart from the
    regression's own use of the same samples, and takes away the variance that those parts bring in. ``weights`` (n,)
    add up to 1; ``ridge`` is in units of one sample.
    """
    parts = torch.from_numpy(immutable_features(schema, scenes)).to(signal)
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


def effective_size(weights: Tensor) -> float:
    """Number of equally weighted samples that are worth as much as these: one over the sum of squared weights."""
    found = 1.0 / float(weights.square().sum())
    return found if math.isfinite(found) else 0.0
