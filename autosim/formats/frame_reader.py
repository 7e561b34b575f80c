"""Labelled images as frames, with the annotations that a renderer declares; and frames as labelled images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autosim.errors import UserError
from autosim.files import fault
from autosim.formats import kitti
from autosim.formats.dataset import VOID, DataSet, LabelledImage
from autosim.formats.fitting import Fit, Placement, place
from autosim.formats.shapes import Pixels, bounding_box
from autosim.rendering.annotations import Annotation, Boxes, ClassLabel, ClassMask, Depth, InstanceMask, RatedBoxes
from autosim.rendering.frames import Frame

LEFT_OUT = -1


@dataclass(frozen=True)
class FrameReader:
    """Frames of (height, width) out of a data set, with the annotations that are declared.

    ``mapping`` gives for a class of the data set the declared one, or None to leave it out; a class that bears a
    declared name needs no entry. Where the reader is made, ``UserError`` names a class that is used and has neither, an
    entry for a class that is not there, and an annotation that no format holds. Objects to be ignored are left out
    unless ``with_ignored``.

    A class mask repeats its edges where the picture repeats its own; void pixels count as background. Boxes and
    instance masks end where the picture ends. A class label is the one class that all objects of a picture have, or the
    pixels of its class mask. ``zoom``: see :func:`~autosim.formats.fitting.place`.
    """

    data: DataSet
    declared: Mapping[str, Annotation]
    height: int
    width: int
    mapping: Mapping[str, str | None] = field(default_factory=dict)
    fit: Fit = "pad"
    with_ignored: bool = False
    zoom: float | None = None

    def __post_init__(self) -> None:
        for name, kind in self.declared.items():
            if not isinstance(kind, (ClassMask, InstanceMask, Boxes, RatedBoxes, ClassLabel)):
                raise UserError(f"annotation {name!r} ({type(kind).__name__}) is in no format of labelled images")
        known = self._declared_classes()
        for name, target in self.mapping.items():
            if name not in self.data.classes:
                raise UserError(
                    f"class {name!r} is not in the data set; its classes are {', '.join(self.data.classes)}"
                )
            if target is not None and target not in known:
                raise UserError(f"class {name!r} is mapped to {target!r}; allowed are {', '.join(known)}")
        for name in self._used_classes():
            if known and name not in known and name not in self.mapping:
                allowed = ", ".join(known)
                raise UserError(f"class {name!r} of the data set is none of {allowed}: map it to one or leave it out")

    def __len__(self) -> int:
        return len(self.data)

    def read(self, index: int) -> tuple[Frame, int]:
        """One frame, and how many boxes were dropped because nothing of them is in the frame.

        ``UserError`` names the file where it is damaged, has more objects than declared, or lacks what is declared.
        """
        labels = self.data.images[index]
        pixels = labels.read()
        placement = place((pixels.shape[0], pixels.shape[1]), (self.height, self.width), self.fit, self.zoom)
        boxes, inside = placement.boxes(labels.boxes)
        objects = self._objects(labels)
        kept = np.flatnonzero(objects & inside)
        annotations: dict[str, NDArray[np.generic]] = {}
        for name, kind in self.declared.items():
            if isinstance(kind, Boxes):
                table = self._table(kind.classes)
                annotations[name] = self._boxes(labels, kind, boxes[kept], table[labels.classes[kept]])
            elif isinstance(kind, RatedBoxes):
                annotations[name] = self._rated(labels, kind, boxes, inside)
            elif isinstance(kind, InstanceMask):
                annotations[name] = self._instances(labels, kind, kept, placement)
            elif isinstance(kind, ClassMask):
                annotations[name] = self._class_mask(labels, kind, placement)
            elif isinstance(kind, ClassLabel):
                annotations[name] = self._class_label(labels, kind)
        return Frame(placement.picture(pixels), annotations), int(np.count_nonzero(objects & ~inside))

    def _declared_classes(self) -> list[str]:
        """All names that any annotation declares, without backgrounds."""
        names: dict[str, None] = {}
        for kind in self.declared.values():
            if isinstance(kind, (Boxes, ClassLabel)):
                names.update(dict.fromkeys(kind.classes))
            elif isinstance(kind, ClassMask):
                names.update(dict.fromkeys(kind.classes[1:]))
        return list(names)

    def _used_classes(self) -> list[str]:
        """Classes of objects that count; all classes where there are class masks, which are not read for this."""
        used = np.zeros(len(self.data.classes), dtype=bool)
        for labels in self.data.images:
            if labels.class_mask is not None:
                return list(self.data.classes)
            used[labels.classes if self.with_ignored else labels.classes[~labels.ignored]] = True
        return [name for name, found in zip(self.data.classes, used, strict=True) if found]

    def _table(self, classes: tuple[str, ...]) -> NDArray[np.int64]:
        """For each class of the data set the index of the declared one, or ``LEFT_OUT``."""
        targets = [self.mapping.get(name, name) for name in self.data.classes]
        return np.array([classes.index(name) if name in classes else LEFT_OUT for name in targets], dtype=np.int64)

    def _objects(self, labels: LabelledImage) -> NDArray[np.bool_]:
        """Which objects are wanted: of a declared class, where any are declared, and not to be ignored."""
        wanted = np.full(len(labels), True) if self.with_ignored else ~labels.ignored
        if known := self._declared_classes():
            wanted &= self._table(tuple(known))[labels.classes] != LEFT_OUT
        return wanted

    def _boxes(
        self, labels: LabelledImage, kind: Boxes, boxes: NDArray[np.float32], classes: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        boxes, classes = boxes[classes != LEFT_OUT], classes[classes != LEFT_OUT]
        if len(boxes) > kind.most:
            raise fault(labels.source or labels.name, f"{labels.name} has {len(boxes)} boxes; allowed are {kind.most}")
        rows = np.full((kind.most, 5), -1, dtype=np.float32)
        rows[: len(boxes), :4] = boxes
        rows[: len(boxes), 4] = classes
        return rows

    def _rated(
        self, labels: LabelledImage, kind: RatedBoxes, boxes: NDArray[np.float32], inside: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """All objects and regions with the level that they count at. Of classes that are left out those are kept that
        KITTI takes for neighbours of a wanted one; they count at no level.
        """
        own = self._table(kind.classes)
        beside = [kitti.NEIGHBOURS.get(name) for name in self.data.classes]
        table = np.array(
            [
                own[self.data.classes.index(other)] if other in self.data.classes and at == LEFT_OUT else at
                for other, at in zip(beside, own, strict=True)
            ],
            dtype=np.int64,
        ).reshape(-1)
        levels = kitti.difficulty(labels, kitti.scale_of(labels.read_size()[1]))
        levels[own[labels.classes] == LEFT_OUT] = kitti.NOT_COUNTED
        classes = np.where(labels.ignored, -1, table[labels.classes])
        kept = np.flatnonzero(inside & (labels.ignored | (classes != LEFT_OUT)))
        if len(kept) > kind.most:
            raise fault(labels.source or labels.name, f"{labels.name} has {len(kept)} boxes; allowed are {kind.most}")
        rows = np.full((kind.most, 6), -1, dtype=np.float32)
        rows[: len(kept)] = np.column_stack([boxes[kept], classes[kept], levels[kept]])
        return rows

    def _instances(
        self, labels: LabelledImage, kind: InstanceMask, kept: NDArray[np.int64], placement: Placement
    ) -> NDArray[np.uint16]:
        """Instance k + 1 is the k-th object that is left; later ones lie on top."""
        if len(kept) > kind.most:
            raise fault(labels.source or labels.name, f"{labels.name} has {len(kept)} objects; allowed are {kind.most}")
        found = np.zeros(placement.source, dtype=np.uint16)
        for instance, index in enumerate(kept, start=1):
            pixels = labels.shape_mask(int(index))
            if pixels is None:
                raise fault(labels.source or labels.name, f"{labels.name}: object {index} has no mask, only a box")
            found[pixels] = instance
        return placement.mask(found, fill=0)

    def _class_mask(self, labels: LabelledImage, kind: ClassMask, placement: Placement) -> NDArray[np.uint8]:
        found = labels.read_class_mask()
        if found is None:
            raise fault(labels.source or labels.name, f"{labels.name} has no mask of all its objects")
        values = np.zeros(256, dtype=np.uint8)
        table = self._table(kind.classes)
        values[1 : len(table) + 1] = np.where(table == LEFT_OUT, 0, table)
        values[VOID] = 0
        return placement.mask(values[found])

    def _class_label(self, labels: LabelledImage, kind: ClassLabel) -> NDArray[np.int64]:
        wanted = np.full(len(labels), True) if self.with_ignored else ~labels.ignored
        used = labels.classes[wanted]
        if not len(labels) and (mask := labels.read_class_mask()) is not None:
            used = np.unique(mask[(mask > 0) & (mask != VOID)]).astype(np.int64) - 1
        found = sorted(set(self._table(kind.classes)[used].tolist()) - {LEFT_OUT})
        if len(found) != 1:
            names = ", ".join(kind.classes[i] for i in found) or "none"
            raise fault(labels.source or labels.name, f"{labels.name} shows the classes {names}; a label is one class")
        return np.array(found[0], dtype=np.int64)


def frame_classes(declared: Mapping[str, Annotation]) -> tuple[str, ...]:
    """Classes of a data set of frames: the names that boxes and class masks declare, boxes first, no backgrounds; those
    of a class label alone where there is one and there are no boxes.
    """
    label = _label_of(declared)
    if label is not None:
        return label[1].classes
    ordered = sorted(declared.values(), key=lambda kind: not isinstance(kind, Boxes))
    names: dict[str, None] = {}
    for kind in ordered:
        if isinstance(kind, (Boxes, ClassMask)):
            names.update(dict.fromkeys(kind.classes[isinstance(kind, ClassMask) :]))
    return tuple(names)


def from_frame(name: str, frame: Frame, declared: Mapping[str, Annotation]) -> LabelledImage:
    """A frame as a labelled image whose classes are :func:`frame_classes` of what it declares.

    Instance k + 1 is the shape of box k. Without boxes, each instance gets the box around its pixels and the class that
    most of them have in the class mask; without a class mask no object can be told, and none is given. Where a class
    label is declared and there are no boxes, all objects have that class, and without instances the picture is one.
    """
    names, label = frame_classes(declared), _label_of(declared)
    by_kind = {type(kind): (kind, frame.annotations[key]) for key, kind in declared.items()}
    instances = by_kind[InstanceMask][1].astype(np.int64) if InstanceMask in by_kind else None
    depth = by_kind[Depth][1].astype(np.float32) if Depth in by_kind else None
    class_mask = None
    kind, values = by_kind.get(ClassMask, (None, None))
    if isinstance(kind, ClassMask) and values is not None:
        known = kind.classes[1:] if label is not None else names
        numbers = np.array([0, *(known.index(name) + 1 for name in kind.classes[1:])], dtype=np.uint8)
        class_mask = numbers[values.astype(np.int64)]
    if label is not None:
        number = int(frame.annotations[label[0]].astype(np.int64))
        shown = np.ones(frame.image.shape[:2], dtype=bool) if class_mask is None else class_mask > 0
        class_mask = np.where(shown, np.uint8(number + 1), np.uint8(0))
        instances = class_mask.astype(bool).astype(np.int64) if instances is None else instances
    kind, values = by_kind.get(Boxes, (None, None))
    if isinstance(kind, Boxes) and values is not None:
        rows = values.astype(np.float32)
        rows = rows[rows[:, 4] >= 0]
        boxes = rows[:, :4]
        classes = np.array([names.index(kind.classes[int(row)]) for row in rows[:, 4]], dtype=np.int64)
        found = list(range(1, len(rows) + 1))
    elif instances is not None and class_mask is not None:
        counted = [np.bincount(class_mask[instances == k], minlength=2) for k in range(int(instances.max()) + 1)]
        found = [k for k in range(1, len(counted)) if counted[k][1:].any()]
        boxes = np.array([bounding_box(instances == k) for k in found], dtype=np.float32).reshape(-1, 4)
        classes = np.array([counted[k][1:].argmax() for k in found], dtype=np.int64)
    else:
        return LabelledImage(name, frame.image, class_mask=class_mask, depth=depth)
    shapes = () if instances is None else tuple(Pixels(instances == k) for k in found)
    return LabelledImage(name, frame.image, boxes, classes, shapes=shapes, class_mask=class_mask, depth=depth)


def _label_of(declared: Mapping[str, Annotation]) -> tuple[str, ClassLabel] | None:
    """The class label that is declared, with its name, where no boxes are."""
    if any(isinstance(kind, Boxes) for kind in declared.values()):
        return None
    return next(((name, kind) for name, kind in declared.items() if isinstance(kind, ClassLabel)), None)
