"""Which format a folder is in, from what lies in it, and reading it as that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autosim.errors import UserError
from autosim.files import fault, read_json
from autosim.formats import bop, coco, kitti, masks, voc, yolo
from autosim.formats.dataset import DataSet, LabelledImage
from autosim.formats.pictures import PICTURE_SUFFIXES, picture_names
from autosim.formats.reading import exists, is_folder, list_folder

READERS: dict[str, Callable[[Path, str | None], DataSet]] = {
    "bop": bop.read,
    "coco": coco.read,
    "kitti": kitti.read,
    "masks": masks.read,
    "voc": voc.read,
    "yolo": yolo.read,
}
WRITERS: dict[str, Callable[[DataSet, Path, str | None], None]] = {
    "bop": bop.write,
    "coco": coco.write,
    "kitti": kitti.write,
    "masks": masks.write,
    "voc": voc.write,
    "yolo": yolo.write,
}
# Whether a folder in a format has a part of some name.
PARTS: dict[str, Callable[[Path, str], bool]] = {
    "bop": lambda folder, part: bool(bop.scenes(folder, part)),
    "coco": lambda folder, part: bool(coco.find(folder, part)),
    "kitti": lambda folder, part: kitti.find(folder, part) is not None,
    "masks": lambda folder, part: masks.find(folder, part) is not None,
    "voc": lambda folder, part: exists(folder / voc.LISTS / f"{part}.txt"),
    "yolo": yolo.has_part,
}
# A folder of pictures without labels.
IMAGES = "images"
FORMATS = (IMAGES, *READERS)


@dataclass(frozen=True)
class Guess:
    """A format, and what in the folder speaks for it. As text: ``coco: annotations.json beside images/``."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def guess_format(folder: Path) -> Guess:
    """The format that a folder is in; ``UserError`` where it is in none, or might be in several."""
    names = list_folder(folder)
    found = [guess for look in (_bop, _kitti, _voc, _coco, _yolo, _masks) if (guess := look(folder, names))]
    if len(found) > 1:
        raise fault(folder, f"may be {' or '.join(str(guess) for guess in found)}; say which format it is")
    if found:
        return found[0]
    for place, what in ((folder, "no labels"), (folder / "images", "in images/, no labels")):
        if is_folder(place) and (count := len(picture_names(place))):
            return Guess(IMAGES, f"{count} pictures, {what}")
    raise fault(folder, f"is in none of the formats {', '.join(FORMATS)}")


def has_part(name: str, folder: Path, part: str) -> bool:
    """Whether a folder in the format ``name`` has a part that its reader would read as ``part``."""
    return PARTS[name](folder, part)


def read_data_set(folder: Path, name: str | None = None, part: str | None = None) -> DataSet:
    """The data set in a folder, in the format ``name`` or in the one that it seems to be in.

    ``part`` (``train``, ``val``, …) is as in the formats' own readers.
    """
    name = guess_format(folder).name if name is None else name
    if name == IMAGES:
        return _read_images(folder / part if part else folder)
    if name not in READERS:
        raise UserError(f"format {name!r} is not known; allowed are {', '.join(FORMATS)}")
    return READERS[name](folder, part)


def _read_images(folder: Path) -> DataSet:
    place = folder if picture_names(folder) or not is_folder(folder / "images") else folder / "images"
    names = picture_names(place)
    if not names:
        raise fault(place, f"holds no picture ({', '.join(PICTURE_SUFFIXES)})")
    return DataSet((), [LabelledImage(Path(name).stem, place / name) for name in names])


def _bop(folder: Path, names: list[str]) -> Guess | None:
    found = bop.scenes(folder)
    if not found:
        return None
    place = found[0].relative_to(folder).as_posix()
    more = f" and in {len(found) - 1} more scenes" if len(found) > 1 else ""
    return Guess("bop", f"{bop.TRUTH if place == '.' else f'{place}/{bop.TRUTH}'}{more}")


def _kitti(folder: Path, names: list[str]) -> Guess | None:
    place = kitti.find(folder)
    inner = "" if place in (None, folder) else "training/"
    return None if place is None else Guess("kitti", f"{inner}{kitti.LABELS}/ beside {inner}{kitti.PICTURES}/")


def _voc(folder: Path, names: list[str]) -> Guess | None:
    place = voc.label_folder(folder)
    if not any(name.endswith(".xml") for name in (list_folder(place) if place != folder else names)):
        return None
    return Guess("voc", "XML beside the pictures" if place == folder else f"XML in {voc.LABELS}/")


def _coco(folder: Path, names: list[str]) -> Guess | None:
    found = coco.find(folder)
    if not found:
        # One JSON file of another name is looked into; several are something else, such as scenes beside pictures.
        files = [name for name in names if name.endswith(".json")]
        if len(files) == 1 and _has_annotations(folder / files[0]):
            found = [folder / files[0]]
    if not found:
        return None
    beside = " beside images/" if coco.PICTURES in names else ""
    return Guess("coco", f"{', '.join(path.relative_to(folder).as_posix() for path in found[:3])}{beside}")


def _has_annotations(path: Path) -> bool:
    try:
        content = read_json(path)
    except UserError:
        return False
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= set(content)


def _yolo(folder: Path, names: list[str]) -> Guess | None:
    settings = yolo.settings_file(folder)
    if settings is not None and settings.name == yolo.SETTINGS:
        return Guess("yolo", f"{yolo.SETTINGS}{' beside images/' if yolo.PICTURES in names else ''}")
    if yolo.LABELS in names and yolo.PICTURES in names and is_folder(folder / yolo.LABELS):
        inside = list_folder(folder / yolo.LABELS)
        if any(name.endswith(".txt") for name in inside) or any(name in yolo.SPLITS for name in inside):
            return Guess("yolo", f"{yolo.LABELS}/ with text files beside {yolo.PICTURES}/")
    return None


def _masks(folder: Path, names: list[str]) -> Guess | None:
    found = masks.find(folder)
    if found is None:
        return None
    if found[0] == found[1]:
        return Guess("masks", f"*{masks.ENDING}.png beside the pictures")
    return Guess("masks", f"{masks.MASKS}/ beside {masks.PICTURES}/")
