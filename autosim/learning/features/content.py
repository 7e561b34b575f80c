"""Content features: a small network that has learned to predict what is in the picture.

It is trained on frames whose scenes are known, so its labels cost nothing: how much of each cell of a coarse grid each
class covers, how many nodes there are, and the attributes of nodes that every scene has once, lights and camera say.
The features of Meta-Sim2 (Devaranjan et al., ECCV 2020) are similar: they predict the presence or the counts of
classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from autosim.learning.features.content_network import (
    ContentLoss,
    ContentNetwork,
    input_size,
    network_input,
    split_outputs,
)
from autosim.learning.features.features import Features
from autosim.learning.features.labels import ContentLabels, ContentTargets, content_labels, content_targets
from autosim.learning.features.network_parts import CELL, explained_share, held_out_split
from autosim.learning.features.statistics import COLOUR_STATISTICS, gaussian_blur, image_statistics
from autosim.learning.schedule import TrainingSchedule
from autosim.learning.training import fit, images_at_once, to_tensor
from autosim.rendering.annotations import Annotation
from autosim.rendering.frames import Frames
from autosim.scenes.graph import SceneGraph, Schema
from autosim.seeding import torch_seeded

# Part of the cache key: raise it when the code gives other features for equal settings and frames.
VERSION = 5
# Most pixels, and most images, that are converted at once.
PIXELS, IMAGES = 2**20, 256
# Continuous labels of which less than this share of the variance is predicted are left out of the features.
SHOWN = 0.05


@dataclass(frozen=True)
class ContentSettings:
    """How the content network is made and trained: longest edge of its input in pixels, filters (a multiple of 8),
    passes, Adam's peak rate; and whether image statistics are features too.
    """

    edge: int = 64
    width: int = 16
    epochs: int = 10
    batch_size: int = 16
    learning_rate: float = 4e-3
    appearance: bool = True

    def __post_init__(self) -> None:
        # PyTorch 2.15 writes past a gradient's end on processors with AVX2 alone: a 1×1 convolution with stride 2 of 4
        # channels that lie last in memory.
        if self.width < 8 or self.width % 8:
            raise ValueError(f"width: {self.width} is not a multiple of 8 from 8 on")


class ContentFeatures(Features):
    """Features of a trained :class:`ContentNetwork`; groups, each present where it has features:

    ``layout``: the predicted foreground as a soft map, blurred at two scales, so that features vary smoothly with the
    places of objects; ``moments``: its mass and moments, which have a gradient at any distance, where the map has none;
    ``classes``: both at a lower resolution for each foreground class; ``attributes``: predicted scene-wide continuous
    attributes and counts of nodes; ``CLASS.ATTRIBUTE``: log-probabilities or counts of a categorical attribute's
    choices; ``colour`` and ``texture``: :func:`image_statistics`, where the settings have ``appearance``.

    The ``weights`` of groups that hold predictions are the share of the label's variance (of its entropy, if
    categorical) that the network explains on held-out frames: what pictures do not show would only add noise. ``shown``
    are the positions of the targets' continuous attributes that are features, all by default; the others would only add
    noise too.
    """

    def __init__(
        self,
        targets: ContentTargets,
        input_size: tuple[int, int],
        settings: ContentSettings,
        state: dict[str, Tensor],
        shown: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.targets = targets
        self.shown = list(range(len(targets.continuous)) if shown is None else shown)
        self.settings = settings
        self.input_size = input_size
        self.network = ContentNetwork(targets, settings.width).to(memory_format=torch.channels_last)
        self.network.load_state_dict(state)
        height, width = input_size
        with torch.no_grad():
            parts = self._parts(torch.zeros(1, 3, height, width))
        self.group_names = list(parts)
        self.groups = []
        start = 0
        for part in parts.values():
            self.groups.append(slice(start, start + part.shape[1]))
            start += part.shape[1]
        self.weights = [1.0] * len(self.groups)
        self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        """(n, d) features of images of any size, float (n, 3, H, W) in [0, 1]."""
        return torch.cat(list(self._parts(images).values()), dim=1)

    def predictions(self, images: Tensor) -> tuple[Tensor | None, Tensor, Tensor, list[Tensor]]:
        """(grid logits, continuous (n, K), counts (n, M), logits of each categorical attribute) for images."""
        grid, scene = self.network(network_input(images, self.input_size), image_statistics(images))
        return (grid, *split_outputs(self.targets, scene))

    def _parts(self, images: Tensor) -> dict[str, Tensor]:
        statistics = image_statistics(images)
        grid, scene = self.network(network_input(images, self.input_size), statistics)
        continuous, counts, choices = split_outputs(self.targets, scene)
        parts: dict[str, Tensor] = {}
        if grid is not None:
            probability = grid.softmax(dim=1)
            foreground = 1.0 - probability[:, :1]
            fine = gaussian_blur(foreground, 0.7).flatten(1)
            parts["layout"] = torch.cat([fine, coarse_map(foreground)], dim=1)
            parts["moments"] = moments(foreground)
            if grid.shape[1] > 2:
                parts["classes"] = torch.cat([coarse_map(probability[:, 1:]), moments(probability[:, 1:])], dim=1)
        named = {"attributes": [continuous[:, self.shown]]}
        for i, count in enumerate(self.targets.counts):
            if count.mutable:
                named.setdefault(count.group, []).append(counts[:, i : i + 1])
        for choice, logits in zip(self.targets.categorical, choices, strict=True):
            named.setdefault(choice.key, []).append(logits.log_softmax(dim=1))
        joined = {name: torch.cat(columns, dim=1) for name, columns in named.items()}
        parts |= {name: values for name, values in joined.items() if values.shape[1]}
        if self.settings.appearance:
            parts["colour"] = statistics[:, :COLOUR_STATISTICS]
            parts["texture"] = statistics[:, COLOUR_STATISTICS:]
        return parts

    def to_state(self) -> dict[str, Any]:
        """Everything as tensors, numbers, strings, lists and dictionaries; :meth:`from_state` reads it back."""
        return {
            "targets": self.targets.to_json(),
            "input_size": list(self.input_size),
            "settings": asdict(self.settings),
            "shown": list(self.shown),
            "weights": list(self.weights),
            "seen": dict(self.seen),
            "state": {name: value.clone() for name, value in self.network.state_dict().items()},
        }

    @staticmethod
    def from_state(data: dict[str, Any]) -> ContentFeatures:
        """Read what :meth:`to_state` wrote."""
        height, width = data["input_size"]
        targets, settings = ContentTargets.from_json(data["targets"]), ContentSettings(**data["settings"])
        features = ContentFeatures(targets, (height, width), settings, data["state"], data["shown"])
        features.weights = list(data["weights"])
        features.seen = dict(data["seen"])
        return features


def coarse_map(maps: Tensor) -> Tensor:
    """(n, c · h/2 · w/2) maps (n, c, h, w) blurred over two cells, at half the resolution."""
    return functional.avg_pool2d(gaussian_blur(maps, 2.0), 2, ceil_mode=True).flatten(1)


def moments(maps: Tensor) -> Tensor:
    """(n, 6 c) mass, first and second moments of maps (n, c, h, w) about the centre, in units of half the map's edge.

    They are not divided by the mass, so they stay smooth where a map is nearly empty, and several objects' add up.
    """
    h, w = maps.shape[-2:]
    y = torch.linspace(-1, 1, h, dtype=maps.dtype, device=maps.device)[:, None]
    x = torch.linspace(-1, 1, w, dtype=maps.dtype, device=maps.device)[None, :]
    weights = torch.stack([torch.ones_like(x * y), x + 0 * y, y + 0 * x, x * x + 0 * y, y * y + 0 * x, x * y])
    return torch.einsum("nchw,khw->nck", maps, weights).flatten(1)


def train_content_features(
    schema: Schema,
    scenes: Sequence[SceneGraph],
    frames: Frames,
    declared: Mapping[str, Annotation],
    seed: int,
    settings: ContentSettings | None = None,
    device: torch.device | str = "cpu",
) -> ContentFeatures:
    """Train on ``frames`` of ``scenes``, which should cover the attributes' full ranges, and whose annotations are
    ``declared``. Equal arguments give equal weights.

    Raises ``ValueError`` where scenes and frames differ in number or nothing can be predicted.
    """
    settings = ContentSettings() if settings is None else settings
    targets = content_targets(schema, scenes, frames, declared)
    height, width = frames.images.shape[1:3]
    size = input_size(height, width, settings.edge)
    grid = (size[0] // CELL, size[1] // CELL)
    labels = content_labels(schema, scenes, frames, declared, targets, grid).to(device)
    with torch_seeded(seed):
        network = ContentNetwork(targets, settings.width).to(memory_format=torch.channels_last).to(device)
    at_once = images_at_once(frames.images, PIXELS, IMAGES)
    statistics = torch.cat([image_statistics(to_tensor(part, device)) for part in _parts_of(frames.images, at_once)])
    network.statistics_mean.copy_(statistics.mean(dim=0))
    network.statistics_std.copy_(statistics.std(dim=0, unbiased=False) + 1e-3)

    def inputs(places: Tensor) -> Tensor:
        parts = (frames.images[some.numpy()] for some in places.cpu().split(at_once))
        return torch.cat([network_input(to_tensor(part, device), size) for part in parts])

    order = torch.Generator().manual_seed(seed)
    held_out, training = (part.to(device) for part in held_out_split(len(frames), order))
    loss = ContentLoss(targets, labels.select(training))

    def loss_of(part: Tensor) -> Tensor:
        batch = training[part]
        return loss(network(inputs(batch), statistics[batch]), labels.select(batch))

    schedule = TrainingSchedule(settings.epochs, settings.batch_size, settings.learning_rate)
    fit(network, len(training), schedule, order, loss_of)
    state = network.cpu().state_dict()
    features = ContentFeatures(targets, size, settings, state).to(device)
    if len(held_out) >= 2:
        with torch.no_grad():
            _, scene = features.network(inputs(held_out), statistics[held_out])
        explained = _explained(targets, scene, labels.select(held_out))
        # The continuous attributes' shares come first, in their order.
        known = explained.get("attributes", [])[: len(targets.continuous)]
        shown = [place for place, share in enumerate(known) if share >= SHOWN]
        features = ContentFeatures(targets, size, settings, state, shown).to(device)
        features.weights = [max(explained.get(name, [1.0])) for name in features.group_names]
        # An angle has several parts, and choices have several counts, of which the best seen one tells.
        seen: dict[str, float] = {}
        for label, share in zip(targets.continuous, known, strict=True):
            seen[label.key] = max(share, seen.get(label.key, 0.0))
        features.seen = seen | {key: max(shares) for key, shares in explained.items() if key != "attributes"}
    return features


def _parts_of(images: NDArray[np.uint8], size: int) -> Iterator[NDArray[np.uint8]]:
    return (images[start : start + size] for start in range(0, len(images), size))


def _explained(targets: ContentTargets, scene: Tensor, labels: ContentLabels) -> dict[str, list[float]]:
    """Shares in [0, 1] of the labels that the scene-wide outputs explain, by group."""
    continuous, counts, choices = split_outputs(targets, scene)
    shares: dict[str, list[float]] = {}

    def add(group: str, error: Tensor, without: Tensor) -> None:
        shares.setdefault(group, []).append(explained_share(error, without))

    for i in range(len(targets.continuous)):
        truth = labels.continuous[:, i]
        add("attributes", ((continuous[:, i] - truth) ** 2).mean(), truth.var(unbiased=False))
    for i, count in enumerate(targets.counts):
        truth = labels.counts[:, i]
        add(count.group, ((counts[:, i] - truth) ** 2).mean(), truth.var(unbiased=False))
    for i, (choice, logits) in enumerate(zip(targets.categorical, choices, strict=True)):
        truth = labels.categorical[:, i]
        frequency = torch.bincount(truth, minlength=choice.choices) / len(truth)
        add(choice.key, functional.cross_entropy(logits, truth), torch.special.entr(frequency).sum())
    return shares
