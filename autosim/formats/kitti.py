"""KITTI's object layout: ``image_2/000000.png``, ``label_2/000000.txt`` and, where there is one, ``calib/000000.txt``.

Boxes are left, top, right, bottom in pixels from 0, taken as they stand: the development kit adds nothing to them.
Pictures are taken as stored. Labels refer to what the fields are called in the kit's readme: type, truncated, occluded,
alpha, bbox, dimensions, location, rotation_y.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosim.files import fault, read_text, write_whole
from autosim.formats.dataset import DataSet, LabelledImage, file_stems
from autosim.formats.pictures import PICTURE_SUFFIXES, picture_names, picture_size
from autosim.formats.reading import check_boxes, is_folder, list_folder, parse_number

PICTURES, LABELS, CALIBRATION = "image_2", "label_2", "calib"
DONT_CARE = "DontCare"
# Known types come in this order, others behind them.
TYPES = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc", DONT_CARE)
FIELDS = (
    "type", "truncated", "occluded", "alpha", "left", "top", "right", "bottom", "height", "width", "length",
    "x", "y", "z", "rotation_y", "score",
)  # fmt: skip
# Figures of a region or an object of which no more than the box is known.
UNKNOWN = {"truncated": -1.0, "occluded": -1.0, "alpha": -10.0, "dimensions": -1.0, "location": -1000.0}
# An object counts at easy, moderate, hard if it is higher than this, and no more occluded or truncated.
MIN_HEIGHT = (40.0, 25.0, 25.0)
MAX_OCCLUSION = (0, 1, 2)
MAX_TRUNCATION = (0.15, 0.3, 0.5)
NOT_COUNTED = 3
# What is taken for its neighbour is not wrong: (type, neighbour).
NEIGHBOURS = {"Van": "Car", "Person_sitting": "Pedestrian"}
# Pictures are 1224 to 1242 pixels wide.
WIDTH, WIDTHS = 1242, range(1200, 1300)


def find(folder: Path, part: str | None = None) -> Path | None:
    """The folder that holds ``image_2`` and ``label_2``: ``folder``, or ``part`` in it, or ``training``."""
    for place in (folder / part,) if part else (folder, folder / "training"):
        if is_folder(place / PICTURES) and is_folder(place / LABELS):
            return place
    return None


def read(folder: Path, part: str | None = None) -> DataSet:
    """All pictures of ``image_2`` with their labels; a picture without a file of labels is refused.

    ``details`` of each object: truncated, occluded, alpha, dimensions (n, 3: height, width, length in metres),
    location (n, 3: metres, camera coordinates), rotation_y. Regions called DontCare are objects to be ignored.
    """
    place = find(folder, part)
    if place is None:
        raise fault(folder / (part or ""), f"holds no {PICTURES} and {LABELS}")
    names = picture_names(place / PICTURES)
    if not names:
        raise fault(place / PICTURES, f"holds no picture ({', '.join(PICTURE_SUFFIXES)})")
    calibrated = set(list_folder(place / CALIBRATION)) if is_folder(place / CALIBRATION) else set()
    rows = {name: _read_labels(place / LABELS / f"{Path(name).stem}.txt") for name in names}
    found = {row[0] for labels in rows.values() for row in labels}
    classes = (*(name for name in TYPES if name in found), *sorted(found - set(TYPES)))
    images = []
    for name, labels in rows.items():
        stem = Path(name).stem
        path, source = place / PICTURES / name, place / LABELS / f"{stem}.txt"
        figures = np.array([row[1] for row in labels], dtype=np.float64).reshape(-1, 14)
        boxes = figures[:, 3:7].astype(np.float32)
        check_boxes(
            source, boxes, picture_size(path, upright=False), [f"bbox of line {i + 1}" for i in range(len(labels))]
        )
        camera = f"{stem}.txt" in calibrated
        images.append(
            LabelledImage(
                name=stem,
                picture=path,
                boxes=boxes,
                classes=np.array([classes.index(row[0]) for row in labels], dtype=np.int64),
                ignore=np.array([row[0] == DONT_CARE for row in labels], dtype=bool),
                details={
                    "truncated": figures[:, 0],
                    "occluded": figures[:, 1].astype(np.int64),
                    "alpha": figures[:, 2],
                    "dimensions": figures[:, 7:10],
                    "location": figures[:, 10:13],
                    "rotation_y": figures[:, 13],
                },
                camera=_read_camera(place / CALIBRATION / f"{stem}.txt") if camera else None,
                upright=False,
                source=str(source),
            )
        )
    return DataSet(classes, images)


def difficulty(image: LabelledImage, scale: float = 1.0) -> NDArray[np.int64]:
    """The easiest level at which each object counts: 0 easy, 1 moderate, 2 hard, 3 at none of them. int64 (n,)

    ``scale`` is that of the pictures: .5 where they have half of KITTI's size. Objects of a box of which the format
    knows no more count by their height. (Development kit, ``evaluate_object``: levels include the easier ones.)
    """
    # Labels have hundredths of a pixel; what float32 adds to a difference of two must not lift it over a bound.
    height = np.round((image.boxes[:, 3].astype(np.float64) - image.boxes[:, 1]) / scale, 3)
    occluded = image.details.get("occluded", np.zeros(len(image), dtype=np.int64))
    truncated = image.details.get("truncated", np.zeros(len(image)))
    level = np.full(len(image), NOT_COUNTED, dtype=np.int64)
    for i in reversed(range(len(MIN_HEIGHT))):
        counts = (height > MIN_HEIGHT[i]) & (occluded <= MAX_OCCLUSION[i]) & (truncated <= MAX_TRUNCATION[i])
        level[counts & ~image.ignored] = i
    return level


def scale_of(width: int) -> float:
    """The scale of pictures of a width, 1 for KITTI's own."""
    return 1.0 if width in WIDTHS else width / WIDTH


def write(data: DataSet, folder: Path, part: str | None = None) -> None:
    """Pictures as PNG, a file of labels for each, calibration where a camera is known; what is not known about an
    object is written as the format says so (truncated and occluded as 0).
    """
    place = folder / part if part else folder
    for name in (PICTURES, LABELS):
        (place / name).mkdir(parents=True, exist_ok=True)
    for image, stem in zip(data.images, file_stems(data, folders=False), strict=True):
        write_whole(place / PICTURES / f"{stem}.png", image.encoded())
        write_whole(place / LABELS / f"{stem}.txt", label_text(image, data.classes).encode())
        if image.camera is not None:
            (place / CALIBRATION).mkdir(exist_ok=True)
            write_whole(place / CALIBRATION / f"{stem}.txt", camera_text(image.camera).encode())


def label_text(image: LabelledImage, classes: tuple[str, ...]) -> str:
    """The labels of one picture, a line for each object. Objects to be ignored become DontCare."""
    count = len(image)
    columns = {
        "truncated": np.zeros(count),
        "occluded": np.zeros(count, dtype=np.int64),
        "alpha": np.full(count, UNKNOWN["alpha"]),
        "dimensions": np.full((count, 3), UNKNOWN["dimensions"]),
        "location": np.full((count, 3), UNKNOWN["location"]),
        "rotation_y": np.full(count, UNKNOWN["alpha"]),
        **image.details,
    }
    lines = []
    for i in range(count):
        ignored = bool(image.ignored[i])
        name = DONT_CARE if ignored else classes[image.classes[i]].replace(" ", "_")
        unknown = ignored and "truncated" not in image.details
        truncated = UNKNOWN["truncated"] if unknown else columns["truncated"][i]
        occluded = int(UNKNOWN["occluded"]) if unknown else int(columns["occluded"][i])
        figures = [columns["alpha"][i], *image.boxes[i], *columns["dimensions"][i], *columns["location"][i]]
        written = [decimal(value) for value in (*figures, columns["rotation_y"][i])]
        lines.append(" ".join([name, decimal(truncated), str(occluded), *written]))
    return "".join(f"{line}\n" for line in lines)


def camera_text(camera: NDArray[np.float64]) -> str:
    """Calibration of the left colour camera: ``P2``, the projection (3, 4) into pixels."""
    projection = np.zeros((3, 4))
    projection[:, : camera.shape[1]] = camera
    return "P2: " + " ".join(repr(float(value)) for value in projection.ravel()) + "\n"


def decimal(value: Any) -> str:
    """Two decimals as the format has them, or as many as bring the same number back."""
    short = f"{float(value):.2f}"
    kind = value.dtype.type if isinstance(value, np.floating) else float
    if kind(short) == value:
        return short
    return np.format_float_positional(kind(value), trim="-")


def _read_labels(path: Path) -> list[tuple[str, list[float]]]:
    """Type and fourteen figures of each line."""
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) not in (len(FIELDS) - 1, len(FIELDS)):
            raise fault(path, f"line {number} has {len(words)} fields; allowed are {len(FIELDS) - 1}, or one more")
        figures = [
            parse_number(path, word, f"{name} of line {number}")
            for name, word in zip(FIELDS[1:], words[1:], strict=False)
        ]
        rows.append((words[0], figures[: len(FIELDS) - 2]))
    return rows


def _read_camera(path: Path) -> NDArray[np.float64]:
    for line in read_text(path).splitlines():
        name, _, rest = line.partition(":")
        if name.strip() == "P2":
            words = rest.split()
            if len(words) != 12:
                raise fault(path, f"P2 has {len(words)} figures instead of 12")
            return np.array([parse_number(path, word, "P2") for word in words]).reshape(3, 4)
    raise fault(path, "has no P2")
