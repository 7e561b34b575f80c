"""Structure features: a network that has learned how many objects of each kind are in a picture.

Devaranjan, Kar and Fidler, "Meta-Sim2", ECCV 2020, §3.2 and supplement: a ResNet of three residual blocks and three
fully connected layers, trained on samples of the prior, whose derivations are known, to predict counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from autosim.learning.features.features import Features
from autosim.learning.features.labels import mask_shares
from autosim.learning.features.network_parts import CELL, explained_share, held_out_split, residual_body
from autosim.learning.schedule import TrainingSchedule
from autosim.learning.training import fit, to_tensor
from autosim.rendering.annotations import Annotation
from autosim.rendering.frames import Frames
from autosim.scenes.grammar import Grammar
from autosim.scenes.graph import SceneGraph
from autosim.seeding import torch_seeded

# Part of the cache key: raise it when the code gives other features for equal settings and frames.
VERSION = 2
# Cells of each edge of the grid that the last maps are pooled to: places matter for order.
GRID = 4
# Weight of the cross-entropy of the cells' classes, relative to the error of the counts.
GRID_WEIGHT = 3.0


def structure_counts(grammar: Grammar, scenes: Sequence[SceneGraph]) -> list[Counter[str]]:
    """Counts of each scene's structure, from its derivation; names that do not occur count 0.

    ``symbol`` is the number of nodes that a symbol has emitted; ``all class`` that of a node class with several;
    ``parent.i.symbol`` the number of a symbol's nodes under the parent that is the i-th of its symbol. ``ValueError``
    where a scene has no derivation.
    """
    shared = Counter(emission.node_class for emission in grammar.emissions.values())
    result = []
    for scene in scenes:
        derivation = grammar.derivation(scene)
        counts: Counter[str] = Counter()
        order: list[int] = []
        for symbol, parent in zip(derivation.emitted, derivation.parents, strict=True):
            order.append(counts[symbol])
            counts[symbol] += 1
            node_class = grammar.emissions[symbol].node_class
            if shared[node_class] > 1:
                counts[f"all {node_class}"] += 1
            if parent >= 0:
                counts[f"{derivation.emitted[parent]}.{order[parent]}.{symbol}"] += 1
        result.append(counts)
    return result


def is_of_one_parent(name: str) -> bool:
    """Whether a count belongs to one numbered parent, ``parent.i.symbol``."""
    return name.count(".") == 2


@dataclass(frozen=True)
class StructureSettings:
    """How the network is made and trained: filters, passes over the frames, frames in a batch, Adam's peak rate."""

    width: int = 16
    epochs: int = 10
    batch_size: int = 32
    learning_rate: float = 2e-3


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = residual_body(inputs, outputs, stride, nn.BatchNorm2d)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(n, outputs, h / stride, w / stride) for (n, inputs, h, w)."""
        return functional.relu(self.body(x) + self.shortcut(x))


class StructureNetwork(nn.Module):
    """Images (n, 3, H, W) to the counts ``names``, and to logits of ``mask_classes`` (0 for none) in each cell of a
    grid of an eighth of the resolution, which are learned as well.

    A count is a sum over the cells of the grid, so it does not depend on where objects are or how many there are.
    Counts of one numbered parent (:func:`is_of_one_parent`) are corrected by fully connected layers, which see the
    places of objects and thus their order. Such layers are wrong about layouts that they were not trained on, so the
    other counts do not use them.
    """

    def __init__(self, names: Sequence[str], mask_classes: int, width: int) -> None:
        super().__init__()
        self.outputs = outputs = len(names)
        self.corrected = [i for i, name in enumerate(names) if is_of_one_parent(name)]
        self.maps = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            ResidualBlock(width, 2 * width, 2),
            ResidualBlock(2 * width, 4 * width, 2),
            ResidualBlock(4 * width, 4 * width, 1),
        )
        self.cells = nn.Conv2d(4 * width, outputs + mask_classes, 1)
        assert self.cells.bias is not None
        # At the start of training the cells' counts are almost 0, and the correction is 0.
        nn.init.constant_(self.cells.bias[:outputs], -6.0)
        if self.corrected:
            last = nn.Linear(64, len(self.corrected))
            inputs = (4 * width + mask_classes) * GRID * GRID
            self.correction = nn.Sequential(nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), last)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(n, outputs) and (n, mask_classes, H/8, W/8)."""
        maps = self.maps(images)
        cells = self.cells(maps)
        amounts, logits = cells[:, : self.outputs], cells[:, self.outputs :]
        counts = functional.softplus(amounts).sum(dim=(2, 3))
        if self.corrected:
            layout = torch.cat([maps, logits.softmax(dim=1)], dim=1)
            correction = self.correction(functional.adaptive_avg_pool2d(layout, GRID).flatten(1))
            counts = counts.index_add(1, torch.tensor(self.corrected, device=counts.device), correction)
        return counts, logits


class StructureFeatures(Features):
    """Predicted counts, named as by :func:`structure_counts`; each is a group of its own, in units of nodes.

    ``explained`` is the share of each count's variance that the network explains on held-out frames.
    """

    def __init__(
        self,
        names: Sequence[str],
        mask_classes: int,
        settings: StructureSettings,
        state: dict[str, Tensor],
        explained: Sequence[float],
    ) -> None:
        super().__init__()
        self.mask_classes, self.settings, self.explained = mask_classes, settings, list(explained)
        self.network = StructureNetwork(names, mask_classes, settings.width).to(memory_format=torch.channels_last)
        self.network.load_state_dict(state)
        self.group_names = list(names)
        self.groups = [slice(i, i + 1) for i in range(len(names))]
        self.weights = [1.0] * len(names)
        self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        """(n, counts) for images (n, 3, H, W) in [0, 1]."""
        return self.network(images.contiguous(memory_format=torch.channels_last))[0]

    def to_state(self) -> dict[str, Any]:
        """Everything as tensors, numbers, strings, lists and dictionaries; :meth:`from_state` reads it back."""
        state = {name: value.clone() for name, value in self.network.state_dict().items()}
        return {
            "names": self.group_names,
            "mask_classes": self.mask_classes,
            "settings": asdict(self.settings),
            "state": state,
            "explained": self.explained,
        }

    @staticmethod
    def from_state(data: dict[str, Any]) -> StructureFeatures:
        """Read what :meth:`to_state` wrote."""
        settings = StructureSettings(**data["settings"])
        return StructureFeatures(data["names"], data["mask_classes"], settings, data["state"], data["explained"])


def train_structure_features(
    grammar: Grammar,
    scenes: Sequence[SceneGraph],
    frames: Frames,
    declared: Mapping[str, Annotation],
    seed: int,
    settings: StructureSettings | None = None,
    device: torch.device | str = "cpu",
) -> StructureFeatures:
    """Train on ``frames`` of ``scenes`` of the grammar, whose annotations are ``declared``; of several class masks the
    first is used. Equal arguments give equal weights.

    Raises ``ValueError`` where scenes and frames differ in number, or all scenes have one structure.
    """
    if len(scenes) != len(frames):
        raise ValueError(f"structure features: {len(scenes)} scenes for {len(frames)} frames")
    settings = settings or StructureSettings()
    counts = structure_counts(grammar, scenes)
    names = [name for name in sorted(set().union(*counts)) if len({found[name] for found in counts}) > 1]
    if not names:
        raise ValueError("structure features: all scenes have the same structure")
    truth = torch.tensor([[float(found[name]) for name in names] for found in counts], device=device)
    height, width = frames.images.shape[1:3]
    shares = mask_shares(frames, declared, (-(-height // CELL), -(-width // CELL)))
    mask_classes = 0 if shares is None else shares.shape[1]
    with torch_seeded(seed, device):
        network = StructureNetwork(names, mask_classes, settings.width).to(device)
        network = network.to(memory_format=torch.channels_last)
    order = torch.Generator().manual_seed(seed)
    held_out, training = held_out_split(len(frames), order)

    def loss_of(part: Tensor) -> Tensor:
        batch = training[part]
        images = to_tensor(frames.images[batch.numpy()], device).contiguous(memory_format=torch.channels_last)
        found, logits = network(images)
        # In objects, not in standard deviations: that of all objects together is by far the largest.
        loss = functional.smooth_l1_loss(found, truth[batch], beta=0.3)
        if shares is None:
            return loss
        return loss + GRID_WEIGHT * functional.cross_entropy(logits, shares[batch].to(device))

    schedule = TrainingSchedule(settings.epochs, settings.batch_size, settings.learning_rate)
    fit(network, len(training), schedule, order, loss_of)
    state = {name: value.cpu() for name, value in network.state_dict().items()}
    features = StructureFeatures(names, mask_classes, settings, state, [])
    features.explained = _explained(features, frames.images[held_out.numpy()], truth[held_out].cpu())
    return features.to(device)


def _explained(features: StructureFeatures, images: NDArray[np.uint8], truth: Tensor) -> list[float]:
    if len(images) < 2:
        return []
    error = ((features.of_images(images) - truth) ** 2).mean(dim=0)
    return [explained_share(*each) for each in zip(error, truth.var(dim=0, unbiased=False), strict=True)]
