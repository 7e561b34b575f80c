"""Pictures in ``images/`` and a class mask for each in ``masks/``, a PNG of the same name: palette or grey values.

``classes.txt`` names the values line by line, the background first. Without it classes are called by their values, and
masks of 0 and 255 alone have one class, ``object``. Otherwise 255 is void. Masks belong to the pictures turned upright
as EXIF says, or as stored where only that fits.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autosim.files import fault, read_text, write_whole
from autosim.formats.dataset import VOID, ClassMaskFile, DataSet, LabelledImage, check_classes, file_stems
from autosim.formats.pictures import (
    PICTURE_SUFFIXES,
    class_palette,
    encode_png,
    picture_names,
    picture_size,
    picture_sizes,
    read_index_mask,
)
from autosim.formats.reading import exists, is_folder, list_folder

PICTURES, MASKS, CLASSES = "images", "masks", "classes.txt"
# A mask beside its picture in one folder ends so.
ENDING = "_mask"
BACKGROUND, ONLY_CLASS = "background", "object"


def read(folder: Path, part: str | None = None) -> DataSet:
    """All pictures with their masks, or those of a part (``images/<part>`` or ``<part>/images``); a picture without a
    mask is refused.
    """
    pictures, masks = _folders(folder, part)
    beside = pictures == masks
    names = [name for name in picture_names(pictures) if not (beside and Path(name).stem.endswith(ENDING))]
    if not names:
        raise fault(pictures, f"holds no picture ({', '.join(PICTURE_SUFFIXES)})")
    there = set(list_folder(masks))
    pairs = []
    for name in names:
        stem = Path(name).stem
        found = [
            mask
            for mask in ((f"{stem}{ENDING}.png",) if beside else (f"{stem}.png", f"{stem}{ENDING}.png"))
            if mask in there
        ]
        if not found:
            raise fault(pictures / name, f"has no mask in {masks}")
        pairs.append((pictures / name, masks / found[0]))
    values = None
    source = next((root / CLASSES for root in (folder, pictures.parent) if exists(root / CLASSES)), None)
    if source is not None:
        lines = [line.strip() for line in read_text(source).splitlines() if line.strip()]
        if len(lines) < 2 or len(lines) > VOID:
            raise fault(source, f"has {len(lines)} names; allowed are 2 to {VOID}, the background first")
        classes = check_classes(source, lines)[1:]
    else:
        used = sorted(set().union(*(np.unique(read_index_mask(mask)).tolist() for _, mask in pairs)) - {0})
        if used == [VOID]:
            classes = (ONLY_CLASS,)
            values = np.arange(256, dtype=np.uint8)
            values[VOID] = 1
        else:
            classes = tuple(str(value) for value in range(1, max([1, *(value for value in used if value != VOID)]) + 1))
    images = [
        LabelledImage(
            name=picture.stem,
            picture=picture,
            class_mask=ClassMaskFile(mask, len(classes), values),
            size=_size(picture, mask),
            source=str(mask),
        )
        for picture, mask in pairs
    ]
    return DataSet(classes, images)


def write(data: DataSet, folder: Path, part: str | None = None) -> None:
    """Pictures, masks with a palette, and ``classes.txt``; ``UserError`` for an image without a mask."""
    if len(data.classes) >= VOID:
        raise fault(folder, f"{len(data.classes)} classes; a mask tells {VOID - 1} apart")
    pictures, masks = folder / PICTURES / (part or ""), folder / MASKS / (part or "")
    for place in (pictures, masks):
        place.mkdir(parents=True, exist_ok=True)
    for image, stem in zip(data.images, file_stems(data, folders=False), strict=True):
        values = image.read_class_mask()
        if values is None:
            raise fault(image.source or image.name, f"{image.name} has no mask of all its objects")
        write_whole(pictures / f"{stem}.png", image.encoded())
        write_whole(masks / f"{stem}.png", encode_png(values, class_palette()))
    write_whole(folder / CLASSES, "".join(f"{name}\n" for name in (BACKGROUND, *data.classes)).encode())


def find(folder: Path, part: str | None = None) -> tuple[Path, Path] | None:
    """The folders of pictures and of masks; the same one where masks end in ``_mask.png``; None without any."""
    roots = (
        [(folder / PICTURES / part, folder / MASKS / part), (folder / part / PICTURES, folder / part / MASKS)]
        if part
        else [(folder / PICTURES, folder / MASKS)]
    )
    for pictures, masks in roots:
        if is_folder(pictures) and is_folder(masks):
            return pictures, masks
    place = folder / part if part else folder
    if is_folder(place) and any(name.endswith(f"{ENDING}.png") for name in list_folder(place)):
        return place, place
    return None


def _folders(folder: Path, part: str | None) -> tuple[Path, Path]:
    found = find(folder, part)
    if found is None:
        raise fault(folder / (part or ""), f"holds neither {PICTURES} beside {MASKS} nor pictures beside *{ENDING}.png")
    return found


def _size(picture: Path, mask: Path) -> tuple[int, int]:
    """The mask's size, which says how the picture is to be held."""
    size = picture_size(mask, upright=False)
    sizes = picture_sizes(picture)
    if size not in sizes:
        height, width = sizes[0]
        raise fault(mask, f"is {size[1]}×{size[0]}; its picture is {width}×{height}")
    return size
