"""What files of labels hold, as objects, lists and numbers: whatever is wrong is said in a line that names the file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosim.files import fault, shown

# Coordinates beyond this many pixels are taken for damage.
LARGEST = 1e6


def json_object(path: Path, value: object, field: str) -> dict[str, Any]:
    """``value`` if it is a JSON object."""
    if not isinstance(value, dict):
        raise fault(path, f"{field} is {shown(value)} instead of an object")
    return value


def json_list(path: Path, value: object, field: str) -> list[Any]:
    """``value`` if it is a JSON list."""
    if not isinstance(value, list):
        raise fault(path, f"{field} is {shown(value)} instead of a list")
    return value


def is_number(value: object, largest: float = LARGEST) -> bool:
    """Whether ``value`` is an int or a float, finite and no larger than ``largest`` either way."""
    return type(value) in (int, float) and -largest <= value <= largest  # type: ignore[operator]


def is_size(value: object) -> bool:
    """Whether ``value`` is a width or height of a picture in whole pixels."""
    return type(value) is int and 0 < value <= LARGEST


def numbers(path: Path, value: object, field: str, count: int, largest: float = LARGEST) -> list[float]:
    """``value`` if it is a list of ``count`` numbers, each no larger than ``largest``."""
    if not isinstance(value, list) or len(value) != count:
        raise fault(path, f"{field} is {shown(value)} instead of a list of {count} numbers")
    for item in value:
        if not is_number(item, largest):
            raise fault(path, f"{field} holds {shown(item)}; allowed are numbers up to {largest:g}")
    return value


def parse_number(path: Path, text: str | None, field: str, largest: float = LARGEST) -> float:
    """A number written in a text file, finite and no larger than ``largest`` either way."""
    try:
        value = float((text or "").strip())
    except ValueError:
        value = float("nan")
    if not -largest <= value <= largest:
        raise fault(path, f"{field} is {shown(text)}; allowed are numbers up to {largest:g}")
    return value


def check_boxes(source: Path, boxes: NDArray[np.floating[Any]], size: tuple[int, int], fields: Sequence[str]) -> None:
    """``UserError`` for the first of (n, 4) boxes xyxy that is turned inside out or lies wholly outside a picture of
    ``size`` (height, width); ``fields`` names each box as its file does.

    A box that reaches beyond the picture is allowed: it is clipped where it is used.
    """
    if not len(boxes):
        return
    height, width = size
    x0, y0, x1, y1 = boxes.T
    outside = (x0 > width) | (y0 > height) | (x1 < 0) | (y1 < 0)
    for wrong, what in (
        ((x1 < x0) | (y1 < y0), "has its end before its start"),
        (outside, f"lies outside the picture of {width}×{height}"),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            corners = ", ".join(f"{value:.6g}" for value in boxes[row])
            raise fault(source, f"{fields[row]} ({corners}) {what}")


def list_folder(folder: Path) -> list[str]:
    """Names in a folder, sorted; ``UserError`` where it is missing or cannot be read."""
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError) as error:
        raise fault(
            folder, f"is not a folder that can be read ({getattr(error, 'strerror', None) or error})"
        ) from error


def is_folder(folder: Path) -> bool:
    """Whether there is a folder of this name; False where that cannot be found out."""
    try:
        return folder.is_dir()
    except (OSError, ValueError):
        return False


def exists(path: Path) -> bool:
    """Whether there is anything of this name, be it a file or not; False where that cannot be found out."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def modified(path: Path) -> int:
    """When a file was last changed, in nanoseconds; 0 where that cannot be found out."""
    try:
        return path.stat().st_mtime_ns
    except (OSError, ValueError):
        return 0


def inner_name(name: str) -> str:
    """A path as a name within a data set: relative, with slashes, without ``..``."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return "/".join(part for part in parts if part not in ("/", "..") and not part.endswith(":")) or "picture"
