"""The parts of a user's own target: pictures to match, validation, test and training, each a folder in some format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal

from autosim.errors import UserError
from autosim.files import fault
from autosim.formats.dataset import DataSet
from autosim.formats.fitting import Fit
from autosim.formats.guess import IMAGES, guess_format, has_part, read_data_set
from autosim.formats.reading import is_folder
from autosim.ranges import Checked, Range

# What the sub-folders of a target, or the parts of a format, may be called.
NAMES = {
    "images": ("unlabelled", "unlabeled"),
    "validation": ("validation", "val", "valid"),
    "test": ("test",),
    "train": ("train",),
}
LABELLED = ("validation", "test", "train")
FEWEST = 2


@dataclass(frozen=True)
class TargetSettings(Checked):
    """Images of the user's own as the target."""

    folder: Path | None = None
    """Your own images as the target, in place of the environment's hidden one; --target DIR is short for it. Parts are
    found by name (unlabelled, val or validation, test, train); of labelled images without parts the first half is the
    validation part, the rest is the test part."""
    validation: Path | None = None
    """Labelled images that methods learn by: a folder, or a sub-folder of --target."""
    test: Path | None = None
    """Labelled images that are only ever scored: a folder, or a sub-folder of --target."""
    train: Path | None = None
    """Labelled images that a network is trained on for comparison: a folder, or a sub-folder of --target."""
    format: Literal["auto", "images", "bop", "coco", "kitti", "masks", "voc", "yolo"] = "auto"
    """What format the images are in; auto finds out from what lies in the folder."""
    classes: str | None = None
    """What your classes are called in the environment: car=Car,van= maps car to Car and leaves van out."""
    fit: Fit = "pad"
    """How images come to the environment's size: pad shows all of each and repeats its edges, crop fills the picture
    and cuts off what juts out, own draws the environment's frames in the images' aspect, where its renderer can."""
    field_of_view: Annotated[float | None, Range(above=1, below=170)] = None
    """Your camera's field of view along the longer edge of an image, in degrees: images are then scaled to that of the
    environment's camera, padded or cropped as it comes out. By default both are taken to be the same."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # Absolute, so that a configuration means the same in another working directory.
        if self.folder is not None:
            object.__setattr__(self, "folder", self.folder.expanduser().absolute())
        for role in LABELLED:
            path = getattr(self, role)
            if path is not None:
                inner = None if self.folder is None else self.folder / path.expanduser()
                found = inner if inner is not None and is_folder(inner) else path.expanduser().absolute()
                object.__setattr__(self, role, found)
        _ = self.mapping
        given = [f.name for f in fields(self) if getattr(self, f.name) != f.default]
        if self.folder is None and self.validation is None and given:
            raise ValueError(f"{given[0]}: there are no images to go by; give a folder of them, --target DIR")

    @property
    def given(self) -> bool:
        """Whether there are images of the user's own at all."""
        return self.folder is not None or self.validation is not None

    @property
    def mapping(self) -> dict[str, str | None]:
        """``classes`` by the names in the images' labels; None for what is left out."""
        found: dict[str, str | None] = {}
        for entry in (self.classes or "").split(","):
            name, equals, target = (text.strip() for text in entry.partition("="))
            if not entry.strip():
                continue
            if not equals or not name:
                raise ValueError(f"classes: {entry.strip()!r} is not of the form yours=environment's or yours=")
            if name in found:
                raise ValueError(f"classes: {name!r} is there twice")
            found[name] = target or None
        return found


@dataclass(frozen=True)
class Place:
    """Where one part of a target lies: a folder in a format, or a ``part`` of it by the format's own name; with
    ``half`` the first or the last half of its images. ``reason`` is what speaks for the format.
    """

    folder: Path
    format: str
    reason: str
    part: str | None = None
    half: Literal["first", "last"] | None = None

    @property
    def labelled(self) -> bool:
        """Whether the format has labels."""
        return self.format != IMAGES

    def read(self) -> DataSet:
        """The data set; ``UserError`` where it cannot be read, or is to be halved and has one image alone."""
        data = read_data_set(self.folder, self.format, self.part)
        if self.half is None:
            return data
        if len(data) < FEWEST:
            raise fault(self.folder, f"holds {len(data)} labelled image; {FEWEST} make a validation and a test part")
        middle = len(data) // 2
        chosen = slice(middle) if self.half == "first" else slice(middle, None)
        return replace(data, images=data.images[chosen])


def find_places(settings: TargetSettings) -> dict[str, Place]:
    """The parts that there are, by role: ``images``, ``validation``, ``test``, ``train``. Folders are listed, no labels
    are read. ``UserError`` where a folder is missing, in no known format, or holds no labels where labels are needed.
    """
    found = {}
    for role in LABELLED:
        if (folder := getattr(settings, role)) is not None:
            found[role] = _whole(folder, settings.format)
    if settings.folder is not None:
        found = {**_parts_of(settings.folder, settings.format, frozenset(found)), **found}
    for role in LABELLED:
        if role in found and not found[role].labelled:
            place = found[role]
            raise UserError(f"{place.folder}: holds images without labels ({place.reason}); the {role} part needs them")
    if not {"images", "validation", "train"} & set(found):
        raise UserError(f"{settings.folder}: holds a test part alone, which is only ever scored; give --target DIR")
    return found


def picture_sizes(places: Mapping[str, Place]) -> list[tuple[int, int]]:
    """(height, width) of the pictures of all parts; they are not decoded."""
    return [image.read_size() for each in places.values() for image in each.read().images]


def _parts_of(folder: Path, form: str, given: frozenset[str]) -> dict[str, Place]:
    """Roles of a folder as a whole or of its parts; roles ``given`` elsewhere are not looked for."""
    parts = _named_parts(folder, form)
    if set(parts) - {"train"}:
        return parts
    # Images to match need no labels, whatever format the labelled parts are said to be in.
    whole = _whole(folder, "auto" if "validation" in given else form)
    if not whole.labelled or "validation" in given:
        return {"images": whole}
    if "test" in given:
        return {"validation": whole}
    return {"validation": replace(whole, half="first"), "test": replace(whole, half="last")}


def _named_parts(folder: Path, form: str) -> dict[str, Place]:
    try:
        own = _whole(folder, form) if is_folder(folder) else None
    except UserError:  # in no format of its own, as a folder with sub-folders for its parts
        own = None
    found: dict[str, Place] = {}
    for role, names in NAMES.items():
        for name in names:
            if own is not None and own.labelled and has_part(own.format, folder, name):
                found.setdefault(role, replace(own, part=name))
            elif is_folder(folder / name):
                found.setdefault(role, _whole(folder / name, "auto" if role == "images" else form))
    return found


def _whole(folder: Path, form: str) -> Place:
    if form != "auto":
        if not is_folder(folder):
            raise fault(folder, "is not a folder of images")
        return Place(folder, form, "as given")
    guess = guess_format(folder)
    return Place(folder, guess.name, guess.reason)
