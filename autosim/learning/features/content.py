"""Content features: a small network that has learned to say what is in the picture.

It is trained on frames whose scenes are known, so its labels are free: how much of each cell of a coarse grid each
class covers, how many nodes there are, and the attributes of the nodes that every scene has once, lights and camera
say. Meta-Sim2 (Devaranjan et al., ECCV 2020) trains its features in the same spirit, to predict the presence or the
counts of classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from autosim.learning.features.features import Features
from autosim.learning.features.labels import ContentLabels, ContentTargets, content_labels, content_targets
from autosim.learning.features.statistics import COLOUR_STATISTICS, TEXTURE_STATISTICS, gaussian_blur, image_statistics
from autosim.learning.schedule import TrainingSchedule
from autosim.learning.training import fit, to_tensor
from autosim.rendering.annotations import Annotation
from autosim.rendering.frames import Frames
from autosim.scenes.graph import SceneGraph, Schema
from autosim.seeding import torch_seeded

# One grid cell of the network's input, in pixels: its total stride.
CELL = 8
# To be raised where features of equal settings and frames come to be others: stored ones are known by it.
VERSION = 4
# Standard deviation in pixels of the blur of the network's input.
INPUT_BLUR = 0.7
STATISTICS = COLOUR_STATISTICS + TEXTURE_STATISTICS
# Of the frames, this share is kept from training and tells how well each kind of label is predicted.
HELD_OUT = 0.1
# Continuous labels of which less than this share of the variance is predicted are left out of the features.
SHOWN = 0.05


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.GroupNorm(outputs // 4, outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
        nn.GroupNorm(outputs // 4, outputs),
    )


class ContentNetwork(nn.Module):
    """A ResNet of three residual blocks at strides 4, 8 and 8, with a head for each kind of label.

    Normalisation takes an image's overall brightness away, so image statistics join the pooled activations before the
    heads of the scene-wide labels.
    """

    statistics_mean: Tensor
    statistics_std: Tensor

    def __init__(self, targets: ContentTargets, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.GroupNorm(width // 4, width), nn.ReLU())
        self.blocks = nn.ModuleList(
            [_block(width, 2 * width, 2), _block(2 * width, 4 * width, 2), _block(4 * width, 4 * width, 1)]
        )
        self.shortcuts = nn.ModuleList(
            [nn.Conv2d(width, 2 * width, 1, 2), nn.Conv2d(2 * width, 4 * width, 1, 2), nn.Identity()]
        )
        self.grid = nn.Conv2d(4 * width, targets.mask_classes, 1) if targets.mask_classes else None
        outputs = len(targets.continuous) + len(targets.counts) + sum(targets.categorical_sizes)
        self.scene = nn.Sequential(nn.Linear(8 * width + STATISTICS, 64), nn.ReLU(), nn.Linear(64, max(outputs, 1)))
        self.register_buffer("statistics_mean", torch.zeros(STATISTICS))
        self.register_buffer("statistics_std", torch.ones(STATISTICS))

    def forward(self, images: Tensor, statistics: Tensor) -> tuple[Tensor | None, Tensor]:
        """(grid logits (n, classes, h, w) or None, scene-wide outputs (n, continuous + counts + choices))."""
        x = self.stem(images)
        for block, shortcut in zip(self.blocks, self.shortcuts, strict=True):
            x = functional.relu(block(x) + shortcut(x))
        mean = x.mean(dim=(2, 3))
        spread = (x.var(dim=(2, 3), unbiased=False) + 1e-4).sqrt()
        scaled = (statistics - self.statistics_mean) / self.statistics_std
        return None if self.grid is None else self.grid(x), self.scene(torch.cat([mean, spread, scaled], dim=1))


@dataclass(frozen=True)
class ContentSettings:
    """How the content network is made and trained: longest edge of its input in pixels, filters, passes, Adam's peak
    rate; and whether image statistics are features too.
    """

    edge: int = 64
    width: int = 16
    epochs: int = 10
    batch_size: int = 16
    learning_rate: float = 4e-3
    appearance: bool = True


class ContentFeatures(Features):
    """Features of a trained :class:`ContentNetwork`; groups, each present where there is something to say:

    ``layout``: the predicted foreground as a soft map, blurred at two scales, so that features vary smoothly with the
    places of objects; ``moments``: its mass and moments, which pull from any distance: in the map alone, an object
    that covers for another's absence sees no way over; ``classes``: both coarsely for each foreground class;
    ``attributes``: predicted scene-wide continuous attributes and counts of nodes; ``CLASS.ATTRIBUTE``:
    log-probabilities or counts of a categorical attribute's choices; ``colour`` and ``texture``:
    :func:`image_statistics`, where the settings have ``appearance``.

    The ``weights`` of groups that hold predictions are the share of the label's variance (of its entropy, if
    categorical) that the network explains on held-out frames: what pictures do not show would only add noise. So would
    continuous attributes that are not ``shown``; these are the places of those that are among the targets' continuous
    ones, all by default.
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
            "state": {name: value.clone() for name, value in self.network.state_dict().items()},
        }

    @staticmethod
    def from_state(data: dict[str, Any]) -> ContentFeatures:
        """Read what :meth:`to_state` wrote."""
        height, width = data["input_size"]
        targets, settings = ContentTargets.from_json(data["targets"]), ContentSettings(**data["settings"])
        features = ContentFeatures(targets, (height, width), settings, data["state"], data["shown"])
        features.weights = list(data["weights"])
        return features


def network_input(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images at (height, width), each new pixel the mean of what it covers, lightly blurred.

    Unblurred, the network's derivative with respect to an image is mostly of pixel-to-pixel frequency, and gradients
    through a renderer drown in its sampling noise.
    """
    if images.shape[-2:] != torch.Size(size):
        images = functional.interpolate(images, size=size, mode="area")
    margin = max(1, round(3 * INPUT_BLUR))
    images = functional.pad(images, (margin, margin, margin, margin), mode="replicate")
    images = gaussian_blur(images, INPUT_BLUR)[..., margin:-margin, margin:-margin]
    return images.contiguous(memory_format=torch.channels_last)


def split_outputs(targets: ContentTargets, scene: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The network's scene-wide outputs as (continuous, counts, logits of each categorical attribute)."""
    k, m = len(targets.continuous), len(targets.counts)
    rest = scene[:, k + m : k + m + sum(targets.categorical_sizes)]
    return scene[:, :k], scene[:, k : k + m], list(rest.split(targets.categorical_sizes, dim=1))


def coarse_map(maps: Tensor) -> Tensor:
    """(n, c · h/2 · w/2) maps (n, c, h, w) blurred over two cells and thinned out."""
    return functional.avg_pool2d(gaussian_blur(maps, 2.0), 2, ceil_mode=True).flatten(1)


def moments(maps: Tensor) -> Tensor:
    """(n, 6 c) mass, first and second moments of maps (n, c, h, w) about the centre, in units of half the map's edge.

    They are not divided by the mass, so they stay smooth where a map is nearly empty, and those of several objects add.
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
    factor = min(1.0, settings.edge / max(height, width))
    size = (_whole_cells(height * factor), _whole_cells(width * factor))
    grid = (size[0] // CELL, size[1] // CELL)
    labels = content_labels(schema, scenes, frames, declared, targets, grid).to(device)
    with torch_seeded(seed):
        network = ContentNetwork(targets, settings.width).to(memory_format=torch.channels_last).to(device)
    images = to_tensor(frames.images, device)
    statistics = torch.cat([image_statistics(part) for part in images.split(256)])
    small = torch.cat([network_input(part, size) for part in images.split(256)]).contiguous(
        memory_format=torch.channels_last
    )
    network.statistics_mean.copy_(statistics.mean(dim=0))
    network.statistics_std.copy_(statistics.std(dim=0, unbiased=False) + 1e-3)

    order = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(frames), generator=order)
    held_out = shuffled[: int(HELD_OUT * len(frames))]
    training = shuffled[len(held_out) :]
    loss = ContentLoss(targets, labels.select(training.to(device)))

    def loss_of(part: Tensor) -> Tensor:
        batch = training[part].to(device)
        return loss(network(small[batch], statistics[batch]), labels.select(batch))

    schedule = TrainingSchedule(settings.epochs, settings.batch_size, settings.learning_rate)
    fit(network, len(training), schedule, order, loss_of)
    state = network.cpu().state_dict()
    features = ContentFeatures(targets, size, settings, state).to(device)
    if len(held_out) >= 2:
        explained = _explained(features, images[held_out.to(device)], labels.select(held_out.to(device)))
        # The continuous attributes' shares come first, in their order.
        known = explained.get("attributes", [])[: len(targets.continuous)]
        shown = [place for place, share in enumerate(known) if share >= SHOWN]
        features = ContentFeatures(targets, size, settings, state, shown).to(device)
        features.weights = [max(explained.get(name, [1.0])) for name in features.group_names]
    return features


@torch.no_grad()
def _explained(features: ContentFeatures, images: Tensor, labels: ContentLabels) -> dict[str, list[float]]:
    """Shares in [0, 1] of its labels that the predictions explain, for each group that holds predictions of labels."""
    targets = features.targets
    _, continuous, counts, choices = features.predictions(images)
    shares: dict[str, list[float]] = {}

    def add(group: str, error: Tensor, without: Tensor) -> None:
        share = 1.0 - float(error) / float(without) if float(without) > 0 else 0.0
        shares.setdefault(group, []).append(min(max(share, 0.0), 1.0))

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


class ContentLoss:
    """Sum of the heads' losses, each about 1 for a network that knows the label's frequencies alone."""

    def __init__(self, targets: ContentTargets, labels: ContentLabels) -> None:
        self.targets = targets
        self.continuous_scale, self.counts_scale = _spread(labels.continuous), _spread(labels.counts)
        self.class_weights: Tensor | None = None
        self.grid_scale = 1.0
        if labels.grid is not None:
            share = labels.grid.mean(dim=(0, 2, 3))
            weights = (share + 1e-4) ** -0.5
            self.class_weights = weights / (weights * share).sum()
            entropy = -(self.class_weights * share * (share + 1e-4).log()).sum()
            self.grid_scale = 1.0 / max(float(entropy), 1e-3)

    def __call__(self, outputs: tuple[Tensor | None, Tensor], labels: ContentLabels) -> Tensor:
        """Mean loss of a batch."""
        grid, scene = outputs
        continuous, counts, choices = split_outputs(self.targets, scene)
        total = scene.sum() * 0.0
        if grid is not None and labels.grid is not None:
            total = total + 4.0 * self.grid_scale * functional.cross_entropy(grid, labels.grid, self.class_weights)
        if continuous.shape[1]:
            total = total + (((continuous - labels.continuous) / self.continuous_scale) ** 2).mean()
        if counts.shape[1]:
            total = total + (((counts - labels.counts) / self.counts_scale) ** 2).mean()
        for logits, target in zip(choices, labels.categorical.unbind(dim=1), strict=True):
            total = total + functional.cross_entropy(logits, target) / len(choices)
        return total


def _spread(labels: Tensor) -> Tensor:
    """Standard deviations of the columns of (n, K), K possibly 0, where torch warns of empty ones."""
    return (labels.std(dim=0, unbiased=False) if labels.shape[1] else labels.new_zeros(0)).clamp_min(1e-3)


def _whole_cells(pixels: float) -> int:
    return max(1, round(pixels / CELL)) * CELL
