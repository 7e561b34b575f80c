"""Labels of what is in a picture, from its scene graph and its mask or boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from autosim.learning.training import images_at_once
from autosim.rendering.annotations import Annotation, Boxes, class_mask, first_boxes, large_first
from autosim.rendering.frames import Frames
from autosim.scenes.generator import numbers_of_nodes
from autosim.scenes.graph import Categorical, Continuous, SceneGraph, Schema

# Most pixels, and most masks, that are converted at once; a pixel takes five bytes for each class.
PIXELS, IMAGES = 2**20, 256
# What boxes of a class add up to.
BOX_PARTS = ("count", "x", "y", "width", "height")
# Parts of periodic attributes. Twice the angle gives the axis of objects that look (nearly) the same from behind.
TURNS = {"sine": (np.sin, 1), "cosine": (np.cos, 1), "double sine": (np.sin, 2), "double cosine": (np.cos, 2)}


@dataclass(frozen=True)
class ContinuousTarget:
    """A normalised continuous attribute, the mean over a scene's nodes of the class: ``part`` is value, or for a
    periodic one the sine or cosine of the angle or of twice the angle (:data:`TURNS`).
    """

    node_class: str
    attribute: str
    part: str = "value"

    @property
    def key(self) -> str:
        """``class.attribute``"""
        return f"{self.node_class}.{self.attribute}"


@dataclass(frozen=True)
class CategoricalTarget:
    """A categorical attribute, with ``choices`` choices, of a node that each scene has once."""

    node_class: str
    attribute: str
    choices: int

    @property
    def key(self) -> str:
        """``class.attribute``"""
        return f"{self.node_class}.{self.attribute}"


@dataclass(frozen=True)
class CountTarget:
    """Number of nodes of a class; with ``attribute``, only of those whose choice of it has the index ``choice``.

    ``most`` is the largest number of nodes of the class in a scene: the unit of the label.
    """

    node_class: str
    attribute: str | None
    choice: int
    most: int
    mutable: bool

    @property
    def group(self) -> str:
        """``class.attribute``, or ``attributes`` for plain numbers of nodes."""
        return "attributes" if self.attribute is None else f"{self.node_class}.{self.attribute}"


@dataclass(frozen=True)
class BoxTarget:
    """What the boxes of one class add up to, where boxes are all that is known: their number (``count``), or the sum of
    their centres' ``x`` and ``y``, or of their ``width`` and ``height``, in shares of the picture's. ``most`` boxes
    in a picture are the unit.
    """

    box_class: int
    part: str
    most: int
    mutable: bool = True
    group: str = "boxes"

    def label(self, rows: NDArray[np.float32], height: int, width: int) -> float:
        """Of boxes (k, 5) in pixels of a picture of (height, width)."""
        x0, y0, x1, y1, kind = rows.astype(np.float64).T
        values = {
            "count": np.ones(len(rows)),
            "x": (x0 + x1) / (2 * width),
            "y": (y0 + y1) / (2 * height),
            "width": (x1 - x0) / width,
            "height": (y1 - y0) / height,
        }
        return float(values[self.part][kind == self.box_class].sum()) / self.most


@dataclass(frozen=True)
class ContentTargets:
    """What a content network predicts; ``mask_classes`` is 0 where neither masks nor boxes tell where things are,
    otherwise class 0 is the background.
    """

    mask_classes: int
    continuous: tuple[ContinuousTarget, ...]
    categorical: tuple[CategoricalTarget, ...]
    counts: tuple[CountTarget | BoxTarget, ...]

    @property
    def categorical_sizes(self) -> list[int]:
        """Number of choices of each categorical attribute."""
        return [target.choices for target in self.categorical]

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary; :meth:`from_json` reads it back."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> ContentTargets:
        """Read what :meth:`to_json` wrote."""
        return ContentTargets(
            int(data["mask_classes"]),
            tuple(ContinuousTarget(**item) for item in data["continuous"]),
            tuple(CategoricalTarget(**item) for item in data["categorical"]),
            tuple(BoxTarget(**item) if "part" in item else CountTarget(**item) for item in data["counts"]),
        )


@dataclass(frozen=True)
class ContentLabels:
    """Labels of n frames: ``grid`` (n, classes, h, w) shares of each cell or None, ``continuous`` (n, K), ``counts``
    (n, M), ``categorical`` int64 (n, D).
    """

    grid: Tensor | None
    continuous: Tensor
    counts: Tensor
    categorical: Tensor

    def select(self, index: Tensor) -> ContentLabels:
        """The labels at ``index``."""
        grid = None if self.grid is None else self.grid[index]
        return ContentLabels(grid, self.continuous[index], self.counts[index], self.categorical[index])

    def to(self, device: torch.device | str) -> ContentLabels:
        """The same on a device."""
        grid = None if self.grid is None else self.grid.to(device)
        return ContentLabels(grid, self.continuous.to(device), self.counts.to(device), self.categorical.to(device))


def content_targets(
    schema: Schema, scenes: Sequence[SceneGraph], frames: Frames, declared: Mapping[str, Annotation]
) -> ContentTargets:
    """What can be predicted from pictures like these, whose annotations are ``declared``; of several class masks the
    first is used. Without, boxes tell where things are, how many, and how large.

    Classes without slots of which each scene has exactly one node give their attributes (of the continuous ones only
    the mutable). Attributes of other nodes would be ambiguous, because a picture does not show which node is which:
    these give counts instead, of nodes and of their choices, and the means of their angles, which the mask hardly
    shows. Raises ``ValueError`` where scenes and frames differ in number or there is nothing to predict.
    """
    if len(scenes) != len(frames) or not scenes:
        raise ValueError(f"content labels: {len(scenes)} scenes for {len(frames)} frames; equal numbers above 0 needed")
    continuous: list[ContinuousTarget] = []
    categorical: list[CategoricalTarget] = []
    counts: list[CountTarget | BoxTarget] = []
    for node_class in schema.classes:
        numbers = numbers_of_nodes(scenes, node_class.name).tolist()
        if max(numbers) == 0:
            continue
        if node_class.slots == 1 and min(numbers) == max(numbers) == 1:
            for attribute in node_class.attributes:
                if isinstance(attribute, Continuous):
                    if not attribute.mutable:
                        continue
                    parts = TURNS if attribute.periodic else ("value",)
                    continuous += [ContinuousTarget(node_class.name, attribute.name, part) for part in parts]
                elif len(attribute.choices) > 1:
                    categorical.append(CategoricalTarget(node_class.name, attribute.name, len(attribute.choices)))
            continue
        if min(numbers) < max(numbers):
            counts.append(CountTarget(node_class.name, None, 0, max(numbers), True))
        for attribute in node_class.attributes:
            if isinstance(attribute, Continuous) and attribute.periodic and attribute.mutable:
                continuous += [ContinuousTarget(node_class.name, attribute.name, part) for part in TURNS]
            if isinstance(attribute, Categorical) and len(attribute.choices) > 1:
                counts += [
                    CountTarget(node_class.name, attribute.name, choice, max(numbers), attribute.mutable)
                    for choice in range(len(attribute.choices))
                ]
    if (boxes := _boxes_alone(declared)) is not None:
        name, kind = boxes
        most = max(1, int((np.asarray(frames.annotations[name], np.float32)[..., 4] >= 0).sum(axis=1).max()))
        counts += [BoxTarget(i, part, most) for i in range(len(kind.classes)) for part in BOX_PARTS]
    mask_classes = _layout_classes(declared)
    targets = ContentTargets(
        mask_classes if mask_classes > 1 else 0, tuple(continuous), tuple(categorical), tuple(counts)
    )
    if not (targets.mask_classes or continuous or categorical or counts):
        raise ValueError("content labels: no mask, no scene-wide attribute and no count that could be predicted")
    return targets


def content_labels(
    schema: Schema,
    scenes: Sequence[SceneGraph],
    frames: Frames,
    declared: Mapping[str, Annotation],
    targets: ContentTargets,
    grid: tuple[int, int],
) -> ContentLabels:
    """Labels of ``targets`` for frames of ``scenes``, whose annotations are ``declared``, with masks as shares over a
    ``grid`` of (rows, columns).
    """
    continuous = np.zeros((len(scenes), len(targets.continuous)), dtype=np.float32)
    counts = np.zeros((len(scenes), len(targets.counts)), dtype=np.float32)
    categorical = np.zeros((len(scenes), len(targets.categorical)), dtype=np.int64)
    for row, scene in enumerate(scenes):
        for i, value in enumerate(targets.continuous):
            spec = schema.node_class(value.node_class).attribute(value.attribute)
            assert isinstance(spec, Continuous)
            units = np.array([spec.normalise(float(node[value.attribute])) for node in scene.find(value.node_class)])
            if value.part != "value":
                function, times = TURNS[value.part]
                units = function(2 * np.pi * times * units)
            continuous[row, i] = units.mean() if len(units) else 0.0
        for i, target in enumerate(targets.categorical):
            (node,) = scene.find(target.node_class)
            categorical[row, i] = _choice(schema, target.node_class, target.attribute, node[target.attribute])
        for i, count in enumerate(targets.counts):
            if isinstance(count, BoxTarget):
                counts[row, i] = count.label(_rows(frames, declared, row), *frames.images.shape[1:3])
                continue
            counts[row, i] = (
                sum(
                    count.attribute is None
                    or _choice(schema, count.node_class, count.attribute, node[count.attribute]) == count.choice
                    for node in scene.find(count.node_class)
                )
                / count.most
            )
    shares = mask_shares(frames, declared, grid) if targets.mask_classes else None
    return ContentLabels(shares, torch.from_numpy(continuous), torch.from_numpy(counts), torch.from_numpy(categorical))


def mask_shares(frames: Frames, declared: Mapping[str, Annotation], grid: tuple[int, int]) -> Tensor | None:
    """(n, classes, rows, columns) share of each cell of a ``grid`` of (rows, columns) that each class of the first
    declared class mask covers, or, without class masks, the boxes of each class; None without either.
    """
    mask, classes = class_mask(declared), _layout_classes(declared)
    if not classes:
        return None
    size = images_at_once(frames.images, PIXELS, IMAGES)
    shares = []
    for start in range(0, len(frames), size):
        places = range(start, min(start + size, len(frames)))
        if mask is not None:
            part = torch.from_numpy(np.array(frames.annotations[mask[0]][start : start + size]))
        else:
            painted = [_painted(_rows(frames, declared, i), *frames.images.shape[1:3]) for i in places]
            part = torch.from_numpy(np.stack(painted))
        covered = torch.stack([part == c for c in range(classes)], dim=1).float()
        shares.append(functional.adaptive_avg_pool2d(covered, grid))
    return torch.cat(shares)


def _boxes_alone(declared: Mapping[str, Annotation]) -> tuple[str, Boxes] | None:
    """The first boxes that are declared, with their name, where no class mask is."""
    if class_mask(declared) is not None:
        return None
    return first_boxes(declared)


def _layout_classes(declared: Mapping[str, Annotation]) -> int:
    """How many classes a layout tells apart, the background among them; 0 where there is none."""
    if (mask := class_mask(declared)) is not None:
        return len(mask[1].classes)
    boxes = _boxes_alone(declared)
    return 0 if boxes is None else 1 + len(boxes[1].classes)


def _rows(frames: Frames, declared: Mapping[str, Annotation], place: int) -> NDArray[np.float32]:
    """The boxes (k, 5) of one frame, where they are all that is known."""
    boxes = _boxes_alone(declared)
    assert boxes is not None
    rows = np.asarray(frames.annotations[boxes[0]][place], dtype=np.float32)
    return rows[rows[:, 4] >= 0]


def _painted(rows: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
    """Boxes as a class mask, small ones over large ones."""
    mask = np.zeros((height, width), dtype=np.uint8)
    for row in large_first(rows):
        x0, y0, x1, y1 = row[:4].round().astype(int)
        mask[max(0, y0) : y1, max(0, x0) : x1] = int(row[4]) + 1
    return mask


def _choice(schema: Schema, node_class: str, attribute: str, value: object) -> int:
    spec = schema.node_class(node_class).attribute(attribute)
    assert isinstance(spec, Categorical)
    return spec.index(value)
