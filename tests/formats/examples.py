"""Small data sets for the tests of formats, and ways to damage what is written."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from autosim.errors import UserError
from autosim.formats.dataset import DataSet, LabelledImage
from autosim.formats.frame_reader import FrameReader
from autosim.formats.pictures import encode_png
from autosim.formats.shapes import Pixels, Shape, bounding_box
from autosim.rendering.annotations import Boxes

HEIGHT, WIDTH = 24, 32
CLASSES = ("ball", "cube")


def picture(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(picture(seed, height, width)))


def masks() -> list[np.ndarray[Any, np.dtype[np.bool_]]]:
    """Three objects that do not overlap: a block, a disc that the edge cuts, a block with a hole."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    block = (x >= 2) & (x < 9) & (y >= 3) & (y < 8)
    disc = (x - 31) ** 2 + (y - 4) ** 2 < 36
    ring = (x >= 10) & (x < 20) & (y >= 12) & (y < 22) & ~((x >= 13) & (x < 16) & (y >= 15) & (y < 18))
    return [block, disc, ring]


def example() -> DataSet:
    """Three pictures: three objects with masks, none, one to be ignored."""
    found = masks()
    boxes = np.array([bounding_box(mask) for mask in found], dtype=np.float32)
    shapes: list[Shape] = [Pixels(mask) for mask in found]
    return DataSet(
        CLASSES,
        [
            LabelledImage("a", picture(1), boxes, np.array([0, 1, 1]), shapes=tuple(shapes)),
            LabelledImage("b", picture(2)),
            LabelledImage("c", picture(3), boxes[2:], np.array([0]), ignore=np.array([True]), shapes=tuple(shapes[2:])),
        ],
    )


def boxes_of(image: LabelledImage, classes: tuple[str, ...]) -> list[tuple[str, bool, list[float]]]:
    """The objects of a picture in words and numbers."""
    return [
        (classes[image.classes[i]], bool(image.ignored[i]), [float(value) for value in image.boxes[i]])
        for i in range(len(image))
    ]


def all_boxes(data: DataSet) -> list[list[tuple[str, bool, list[float]]]]:
    return [boxes_of(image, data.classes) for image in data.images]


def refusal(read: Callable[[], object], *words: str) -> str:
    """The one line in which something is refused; it holds all of ``words``."""
    with pytest.raises(UserError) as caught:
        read()
    line = str(caught.value)
    assert "\n" not in line and len(line) < 400
    for word in words:
        assert word in line, line
    return line


def read_wholly(data: DataSet) -> int:
    """Everything of a data set that a run would use, at another size; how many frames there were."""
    boxes = Boxes(data.classes or ("object",), 200)
    reader = FrameReader(data, {"boxes": boxes}, 16, 20)
    for i, image in enumerate(data.images):
        frame, dropped = reader.read(i)
        assert frame.image.shape == (16, 20, 3) and dropped >= 0
        assert boxes.fault(np.asarray(frame.annotations["boxes"]), 16, 20) is None
        assert image.read().shape[:2] == image.read_size()
        mask = image.read_class_mask()
        assert mask is None or mask.shape == image.read_size()
    return len(data)


def read_or_refused(read: Callable[[], DataSet]) -> bool:
    """Whether a data set could be used; a refusal in one line is the only other way."""
    try:
        read_wholly(read())
    except UserError as error:
        assert "\n" not in str(error)
        return False
    return True


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 10**400, 1e308, -1e308, 10**6, "", "../../x", "a\0b", [], {}, [[]], {"counts": "0"}]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4),
)


@st.composite
def damaged_json(draw: st.DrawFn, content: object) -> str:
    """A JSON document with one of its values replaced, removed or repeated."""
    changed = copy.deepcopy(content)
    node, steps = changed, draw(st.integers(1, 6))
    for step in range(steps):
        keys: list[Any] = (
            list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
        )
        if not keys:
            break
        key = draw(st.sampled_from(keys))
        inner = node[key]  # type: ignore[index]
        if step == steps - 1 or not isinstance(inner, (dict, list)) or not inner:
            change = draw(st.sampled_from(["replace", "remove", "repeat"]))
            if change == "remove":
                del node[key]  # type: ignore[attr-defined]
            elif change == "repeat" and isinstance(node, list):
                node.append(copy.deepcopy(inner))
            else:
                node[key] = draw(ODD)  # type: ignore[index]
            break
        node = inner
    return json.dumps(changed)


@st.composite
def damaged_text(draw: st.DrawFn, content: bytes) -> bytes:
    """A file cut short, or with a piece of it replaced."""
    place = draw(st.integers(0, len(content)))
    if draw(st.booleans()):
        return content[:place]
    words = [b"nan", b"-1", b"1e999", b"9" * 400, b"\xff\xfe", b"\0", b"<", b"&a;", b"- [", b"{", b"\n", b"0x1"]
    piece = draw(st.one_of(st.binary(max_size=8), st.sampled_from(words)))
    return content[:place] + piece + content[place + draw(st.integers(0, 12)) :]
