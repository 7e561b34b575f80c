"""Targets: the frames that a run is to do well on, drawn from a hidden distribution or a folder of the user's own."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from autosim import seeding
from autosim.env import Env
from autosim.errors import UserError
from autosim.formats.dataset import DataSet
from autosim.formats.fitting import own_size, place
from autosim.formats.frame_reader import FrameReader
from autosim.formats.parts import Place, TargetSettings, find_places
from autosim.rendering.annotations import Annotation, Boxes, InstanceMask, RatedBoxes
from autosim.rendering.frames import Frame, Frames
from autosim.rendering.pool import RenderPool

# Target frames do not depend on the run's seed: all runs on a target see the same ones.
TARGET_SEED = 0


@dataclass(frozen=True)
class Target:
    """Frames to do well on.

    ``images`` are what distribution matching sees: they have no annotations. ``validation`` has labels and steers; None
    where there are no labels. ``test`` is only ever scored; None where there is nothing to score against. ``train`` are
    labelled images of the user's own that a network is trained on for comparison; None without. ``notes`` are sentences
    on how a user's images were read, to be shown.
    """

    images: Frames
    validation: Frames | None
    test: Frames | None
    train: Frames | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.images.annotations:
            raise ValueError(f"target: the images to match have annotations {sorted(self.images.annotations)}")

    @property
    def labelled(self) -> bool:
        """Whether there are labels to go by."""
        return self.validation is not None


def hidden_target(env: Env, pool: RenderPool) -> Target:
    """Frames of the environment's own hidden distribution; the images to match are those of the validation frames.
    ``UserError`` where the environment has no such distribution.
    """
    parts = []
    for purpose, count, grammar in (
        ("validation", env.sizes.validation, env.validation_target()),
        ("test", env.sizes.test, env.target()),
    ):
        if grammar is None:
            raise UserError(f"environment {env.name!r} has no target of its own; give a folder of images, --target DIR")
        scenes = grammar.sample_many(count, seeding.seed_sequence(TARGET_SEED, f"target {purpose}"))
        parts.append(pool.render(scenes, seeding.frame_seeds(TARGET_SEED, f"target {purpose}", 0, count)))
    validation, test = parts
    return Target(Frames(validation.images), validation, test)


def folder_target(
    settings: TargetSettings,
    declared: Mapping[str, Annotation],
    height: int,
    width: int,
    field_of_view: float | None = None,
    aliases: Mapping[str, str] = MappingProxyType({}),
) -> Target:
    """The user's own images, brought to (height, width), with the ``declared`` annotations where they have labels.

    ``field_of_view`` is that of the environment's camera, ``aliases`` are its names of classes that the labels may call
    otherwise (``Env.class_aliases``). Without a part of images to match, those of the validation
    part are matched, or else those of the training part. ``UserError`` names the file where one cannot be read, a class
    that is not known, and an annotation that no format holds.
    """
    zoom = camera_zoom(settings.field_of_view, field_of_view)
    places = find_places(settings)
    matched = next(role for role in ("images", "validation", "train") if role in places)
    reader = _PartReader(settings, declared, (height, width), zoom, aliases)
    frames = {role: reader.labelled(role, found) for role, found in places.items() if role != "images"}
    reader.check_mapping()
    images = reader.unlabelled(places[matched]) if matched == "images" else Frames(frames[matched].images)
    counts = {"to match": len(images), **{f"for {role}": len(part) for role, part in frames.items()}}
    notes = [_where(places), f"images: {', '.join(f'{count} {what}' for what, count in counts.items())}"]
    notes += [_fitted(reader.sizes, settings, (height, width), field_of_view, zoom), *reader.notes]
    return Target(images, frames.get("validation"), frames.get("test"), frames.get("train"), tuple(notes))


def with_room(declared: Mapping[str, Annotation], count: int) -> dict[str, Annotation]:
    """The same annotations with room for ``count`` objects: real images may show more than a scene can have."""
    return {
        name: replace(kind, most=max(kind.most, count)) if isinstance(kind, (Boxes, InstanceMask, RatedBoxes)) else kind
        for name, kind in declared.items()
    }


def camera_zoom(own: float | None, field_of_view: float | None) -> float | None:
    """How much of the picture's width the longer edge of an image takes up, if its camera has the field of view ``own``
    along it and the environment's has ``field_of_view`` across (degrees): tan(own / 2) / tan(field_of_view / 2).
    """
    if own is None:
        return None
    if field_of_view is None:
        raise UserError("--target.field_of_view: the renderer of this environment has no perspective camera")
    return math.tan(math.radians(own) / 2) / math.tan(math.radians(field_of_view) / 2)


class _PartReader:
    """Reads the parts of a target, and keeps what is to be said about them."""

    def __init__(
        self,
        settings: TargetSettings,
        declared: Mapping[str, Annotation],
        size: tuple[int, int],
        zoom: float | None,
        aliases: Mapping[str, str],
    ) -> None:
        self.settings, self.declared, self.size, self.zoom = settings, declared, size, zoom
        self.aliases = aliases
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.notes: list[str] = []
        self.classes: dict[str, None] = {}

    def unlabelled(self, found: Place) -> Frames:
        """The pictures of a part; labels are not looked at."""
        data = found.read()
        return self._frames(data, FrameReader(data, {}, *self.size, fit=self.settings.fit, zoom=self.zoom))

    def labelled(self, role: str, found: Place) -> Frames:
        """The pictures of a part with their labels."""
        data, settings = found.read(), self.settings
        self.classes.update(dict.fromkeys(data.classes))
        known: dict[str, str | None] = {name: to for name, to in self.aliases.items() if name in data.classes}
        known |= {name: to for name, to in settings.mapping.items() if name in data.classes}
        try:
            declared = with_room(self.declared, max((len(image) for image in data.images), default=0))
            reader = FrameReader(data, declared, *self.size, known, settings.fit, zoom=self.zoom)
        except UserError as error:
            raise UserError(f"{found.folder}: {error} (--target.classes yours=theirs, or yours=)") from error
        self.notes += [f"{role}: {note}" for note in data.notes]
        return self._frames(data, reader, role)

    def check_mapping(self) -> None:
        """``UserError`` for a mapped class that no part has."""
        for name in self.settings.mapping:
            if self.classes and name not in self.classes:
                raise UserError(f"--target.classes: {name!r} is none of the target's classes {', '.join(self.classes)}")

    def _frames(self, data: DataSet, reader: FrameReader, role: str = "") -> Frames:
        frames, lost = list[Frame](), 0
        for i, labels in enumerate(data.images):
            frame, dropped = reader.read(i)
            frames.append(frame)
            self.sizes[labels.read_size()] += 1
            lost += dropped
        if lost:
            self.notes.append(f"{role}: {lost} boxes lie outside the picture as it is fitted and are left out")
        return Frames.stack(frames)


def _where(places: Mapping[str, Place]) -> str:
    """Where images come from and in which format, each folder once."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for role, each in places.items():
        found.setdefault((str(each.folder), each.format, each.reason), []).append(role)
    texts = []
    for (folder, form, reason), roles in found.items():
        named = "" if len(found) == 1 else f"{', '.join(roles)}: "
        texts.append(f"{named}{folder}: {form} ({reason})")
    halves = {role: each.half for role, each in places.items() if each.half}
    said = "; the first half is for validation, the rest for the test (--target.test DIR chooses)" if halves else ""
    return f"target {'; '.join(texts)}{said}"


def _fitted(
    sizes: Counter[tuple[int, int]],
    settings: TargetSettings,
    size: tuple[int, int],
    field_of_view: float | None,
    zoom: float | None,
) -> str:
    """How pictures came to the environment's size, and what their camera is taken to be."""
    high, wide = sizes.most_common(1)[0][0]
    height, width = size
    others = f" (and {len(sizes) - 1} other size{'s' if len(sizes) > 2 else ''})" if len(sizes) > 1 else ""
    text = f"images of {wide}×{high}{others}"
    if (high, wide) == size and zoom is None:
        return f"{text} have the environment's size"
    placed = place((high, wide), size, settings.fit, zoom)
    inner = f"{round(wide * placed.scale_x)}×{round(high * placed.scale_y)}"
    if zoom is not None:
        return (
            f"{text} are scaled to {inner} in {width}×{height}, from a field of view of {settings.field_of_view:g}° "
            f"to that of the environment's camera, {field_of_view:g}°"
        )
    stretched = settings.fit == "own" and inner == f"{width}×{height}"
    if stretched:
        text += f" fill {inner}, their own aspect"
    elif settings.fit == "crop":
        text += f" are scaled to {inner} and cropped to {width}×{height}"
    else:
        text += f" fill {inner} of {width}×{height}, edges are repeated"
        if settings.fit == "own" and own_size(list(sizes.elements()), size) != size:
            text += " (this environment cannot draw in their aspect)"
    if field_of_view is None:
        return text
    seen = math.tan(math.radians(field_of_view) / 2) * wide * placed.scale_x / width
    across = 2 * math.degrees(math.atan(seen))
    return f"{text}; their field of view is taken to be {across:.1f}° across (--target.field_of_view says another)"
