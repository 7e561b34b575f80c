"""PASCAL VOC's layout: ``JPEGImages``, ``Annotations`` in XML, lists of names in ``ImageSets/Main`` and, where there
are any, ``SegmentationObject`` masks.

Boxes are counted from 1 and both ends belong to the object: xmin = 1 and xmax = width is the whole picture, here
(0, width). The i-th object of a picture has the number i in its mask, 255 is void.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from autosim.files import fault, read_bytes, read_text, shown, write_whole
from autosim.formats.dataset import VOID, DataSet, LabelledImage, file_stems
from autosim.formats.pictures import class_palette, encode_png, picture_names, picture_size
from autosim.formats.reading import LARGEST, check_boxes, inner_name, is_folder, list_folder, parse_number
from autosim.formats.shapes import MaskFile

PICTURES, LABELS, LISTS = "JPEGImages", "Annotations", "ImageSets/Main"
OBJECTS, CLASSES = "SegmentationObject", "SegmentationClass"
CORNERS = ("xmin", "ymin", "xmax", "ymax")
DEFAULT_POSE = "Unspecified"


def label_folder(folder: Path) -> Path:
    """``Annotations``, or the folder itself where pictures and XML lie side by side."""
    return folder / LABELS if is_folder(folder / LABELS) else folder


def read(folder: Path, part: str | None = None) -> DataSet:
    """All annotated pictures, or those that ``ImageSets/Main/<part>.txt`` lists. Classes are in order of their names.

    ``details`` of each object: truncated, difficult (0 or 1), pose. Objects called difficult are to be ignored.
    """
    labels = label_folder(folder)
    stems = [name[:-4] for name in list_folder(labels) if name.endswith(".xml")]
    if part is not None:
        source = folder / LISTS / f"{part}.txt"
        listed = [line.split()[0] for line in read_text(source).splitlines() if line.strip()]
        missing = sorted(set(listed) - set(stems))
        if missing:
            raise fault(source, f"names {missing[0]!r}, which has no annotation in {labels}")
        stems = list(dict.fromkeys(listed))
    if not stems:
        raise fault(labels, "holds no annotation in XML")
    pictures = folder / PICTURES if is_folder(folder / PICTURES) else folder / "images"
    pictures = pictures if is_folder(pictures) else folder
    files = {Path(name).stem: pictures / name for name in picture_names(pictures)}
    masks = set(list_folder(folder / OBJECTS)) if is_folder(folder / OBJECTS) else set()
    trees = {stem: _parse(labels / f"{stem}.xml") for stem in stems}
    classes = tuple(
        sorted(
            {_text(labels / f"{stem}.xml", item, "name") for stem in stems for item in trees[stem].iterfind("object")}
        )
    )
    images = []
    for stem in stems:
        source = labels / f"{stem}.xml"
        name = trees[stem].findtext("filename") or ""
        picture = files.get(stem) or files.get(Path(inner_name(name)).stem)
        if picture is None:
            raise fault(source, f"filename is {shown(name)}, and {pictures} has no such picture")
        mask = folder / OBJECTS / f"{stem}.png" if f"{stem}.png" in masks else None
        images.append(_labelled(source, picture, trees[stem], classes, mask))
    return DataSet(classes, images)


def write(data: DataSet, folder: Path, part: str | None = None) -> None:
    """Pictures as PNG, their annotations, the list of them, and masks where every object of a picture has a shape.

    The format has whole pixels: boxes are rounded to the nearest. Objects to be ignored are called difficult.
    """
    part = part or "train"
    for name in (PICTURES, LABELS, LISTS):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for image, stem in zip(data.images, file_stems(data, folders=False), strict=True):
        write_whole(folder / PICTURES / f"{stem}.png", image.encoded())
        write_whole(folder / LABELS / f"{stem}.xml", label_xml(image, data.classes, f"{stem}.png"))
        if image.shapes and all(shape is not None for shape in image.shapes):
            for kind, values in ((OBJECTS, _object_mask(image)), (CLASSES, image.read_class_mask())):
                assert values is not None
                (folder / kind).mkdir(exist_ok=True)
                write_whole(folder / kind / f"{stem}.png", encode_png(values, class_palette()))
    write_whole(
        folder / LISTS / f"{part}.txt", "".join(f"{stem}\n" for stem in file_stems(data, folders=False)).encode()
    )


def label_xml(image: LabelledImage, classes: tuple[str, ...], filename: str) -> bytes:
    """The annotation of one picture as XML."""
    height, width = image.read_size()
    root = ElementTree.Element("annotation")
    _add(root, "folder", PICTURES)
    _add(root, "filename", filename)
    size = ElementTree.SubElement(root, "size")
    for name, value in (("width", width), ("height", height), ("depth", 3)):
        _add(size, name, value)
    _add(root, "segmented", int(bool(image.shapes)))
    for i in range(len(image)):
        item = ElementTree.SubElement(root, "object")
        _add(item, "name", classes[image.classes[i]])
        _add(item, "pose", image.details["pose"][i] if "pose" in image.details else DEFAULT_POSE)
        truncated = image.details["truncated"][i] if "truncated" in image.details else 0
        _add(item, "truncated", int(truncated > 0))
        _add(item, "difficult", int(image.ignored[i]))
        box = ElementTree.SubElement(item, "bndbox")
        for name, value in zip(CORNERS, _whole_pixels(image.boxes[i], height, width), strict=True):
            _add(box, name, value)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8")


class _WithoutDeclarations(ElementTree.TreeBuilder):
    """A document type may declare entities that grow without end; annotations need none."""

    def doctype(self, name: str, public: str | None, system: str | None) -> NoReturn:
        """Called where a declaration starts, before anything of it is expanded."""
        raise ValueError("has a document type declaration, which is not allowed")


def _parse(path: Path) -> ElementTree.Element:
    parser = ElementTree.XMLParser(target=_WithoutDeclarations())
    try:
        parser.feed(read_bytes(path))
        root = parser.close()
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise fault(path, f"is not valid XML ({error})") from error
    assert isinstance(root, ElementTree.Element)
    if root.tag != "annotation":
        raise fault(path, f"starts with <{root.tag}>; an annotation starts with <annotation>")
    return root


def _labelled(
    source: Path, picture: Path, tree: ElementTree.Element, classes: tuple[str, ...], mask: Path | None
) -> LabelledImage:
    stated = tree.find("size")
    size = None if stated is None else (_length(source, stated, "height"), _length(source, stated, "width"))
    # Some tools write sizes of 0 where they have not looked.
    size = None if size is None or 0 in size else size
    corners, names, flags = [], [], {"truncated": list[int](), "difficult": list[int]()}
    poses = []
    for number, item in enumerate(tree.iterfind("object"), start=1):
        box = item.find("bndbox")
        if box is None:
            raise fault(source, f"object {number} has no bndbox")
        corners.append([parse_number(source, box.findtext(name), f"{name} of object {number}") for name in CORNERS])
        names.append(classes.index(_text(source, item, "name")))
        poses.append((item.findtext("pose") or DEFAULT_POSE).strip())
        for name, values in flags.items():
            text = (item.findtext(name) or "0").strip()
            value = parse_number(source, text, f"{name} of object {number}")
            if value not in (0, 1):
                raise fault(source, f"{name} of object {number} is {shown(text)}; allowed are 0 and 1")
            values.append(int(value))
    boxes = (np.array(corners, dtype=np.float64).reshape(-1, 4) - (1, 1, 0, 0)).astype(np.float32)
    fields = [f"bndbox of object {i + 1}" for i in range(len(boxes))]
    check_boxes(source, boxes, size or picture_size(picture), fields)
    return LabelledImage(
        name=picture.stem,
        picture=picture,
        boxes=boxes,
        classes=np.array(names, dtype=np.int64),
        ignore=np.array(flags["difficult"], dtype=bool),
        shapes=() if mask is None else tuple(MaskFile(mask, i + 1) for i in range(len(boxes))),
        details={
            **{name: np.array(values, dtype=np.int64) for name, values in flags.items()},
            "pose": np.array(poses, dtype=object),
        },
        size=size,
        source=str(source),
    )


def _whole_pixels(box: NDArray[np.float32], height: int, width: int) -> tuple[int, int, int, int]:
    """Corners counted from 1, both ends included, rounded to the nearest, at least one pixel within the picture."""
    x0, y0, x1, y1 = (round(float(value)) for value in box)
    x0, y0 = min(max(x0, 0), width - 1), min(max(y0, 0), height - 1)
    return x0 + 1, y0 + 1, min(max(x1, x0 + 1), width), min(max(y1, y0 + 1), height)


def _object_mask(image: LabelledImage) -> NDArray[np.uint8]:
    if len(image) >= VOID:
        raise fault(image.source or image.name, f"{image.name} has {len(image)} objects; a mask tells {VOID - 1} apart")
    mask = np.zeros(image.read_size(), dtype=np.uint8)
    for i in range(len(image)):
        pixels = image.shape_mask(i)
        assert pixels is not None
        mask[pixels] = i + 1
    return mask


def _text(source: Path, item: ElementTree.Element, name: str) -> str:
    text = (item.findtext(name) or "").strip()
    if not text:
        raise fault(source, f"an object has no {name}")
    return text


def _length(source: Path, stated: ElementTree.Element, name: str) -> int:
    value = parse_number(source, stated.findtext(name), f"size {name}")
    if value != int(value) or not 0 <= value <= LARGEST:
        raise fault(source, f"size {name} is {value:g}; allowed are whole pixels")
    return int(value)


def _add(parent: ElementTree.Element, name: str, value: object) -> None:
    ElementTree.SubElement(parent, name).text = str(value)
