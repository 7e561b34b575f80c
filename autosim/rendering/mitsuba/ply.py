"""Triangle meshes from PLY files (Turk, 1994): binary of either byte order, or text; with colours if it has any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosim.files import fault, read_bytes, shown

ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
KINDS = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2"},
    **{"int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8"},
}
COLOURS = ("red", "green", "blue")
INDICES = ("vertex_indices", "vertex_index")
# What a header may take, and what a file may name of one kind.
LONGEST_HEADER, MOST = 2**16, 10**7


@dataclass(frozen=True)
class PlyMesh:
    """Vertices (n, 3) float32 in the file's unit, faces (m, 3) uint32, colours (n, 3) uint8 in sRGB or None."""

    vertices: NDArray[np.float32]
    faces: NDArray[np.uint32]
    colours: NDArray[np.uint8] | None


@dataclass(frozen=True)
class _Property:
    name: str
    kind: str
    # Type of the length, where the property is a list.
    length: str | None = None


@dataclass(frozen=True)
class _Element:
    name: str
    count: int
    properties: tuple[_Property, ...]


def read_ply(path: Path) -> PlyMesh:
    """The mesh of a file; polygons become fans of triangles.

    ``UserError`` names the file where it is no PLY file, is cut short or too long, lacks vertices or faces, or holds
    numbers that are not finite and faces of vertices that are not there.
    """
    content = read_bytes(path)
    form, elements, start = _header(path, content)
    try:
        found = _text(content[start:], elements) if form == "ascii" else _binary(content, start, elements, ORDERS[form])
    except (ValueError, IndexError, OverflowError) as error:
        raise fault(path, f"does not hold what its header says ({error})") from error
    return _mesh(path, found)


def _header(path: Path, content: bytes) -> tuple[str, list[_Element], int]:
    head, end, _ = content[:LONGEST_HEADER].partition(b"end_header")
    newline = content.find(b"\n", len(head))
    lines = head.decode("latin-1").splitlines()
    if not end or newline < 0 or not lines or lines[0].strip() != "ply":
        raise fault(path, "is no PLY file: no line 'ply', or no line 'end_header' after it")
    form, elements = "", list[_Element]()
    for line in lines[1:]:
        words = line.split()
        try:
            match words:
                case [] | ["comment" | "obj_info", *_]:
                    continue
                case ["format", name, _] if name in ORDERS:
                    form = name
                case ["element", name, count] if 0 <= int(count) <= MOST:
                    elements.append(_Element(name, int(count), ()))
                case ["property", "list", length, kind, name]:
                    _extend(elements, _Property(name, KINDS[kind], KINDS[length]))
                case ["property", kind, name]:
                    _extend(elements, _Property(name, KINDS[kind]))
                case _:
                    raise ValueError
        except (ValueError, KeyError, IndexError):
            raise fault(path, f"line {shown(line.strip())} of the header is not understood") from None
    if not form:
        raise fault(path, f"names no format; allowed are {', '.join(ORDERS)}")
    return form, elements, newline + 1


def _extend(elements: list[_Element], added: _Property) -> None:
    last = elements[-1]
    if added.name in [known.name for known in last.properties] or (added.length and "f" in added.length):
        raise ValueError
    elements[-1] = _Element(last.name, last.count, (*last.properties, added))


def _binary(content: bytes, start: int, elements: list[_Element], order: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    at = start
    for element in elements:
        if any(known.length for known in element.properties):
            rows, at = _binary_lists(content, at, element, order)
        else:
            kind = np.dtype([(known.name, order + known.kind) for known in element.properties])
            rows = (
                np.frombuffer(content, kind, element.count, at)
                if element.count and kind.itemsize
                else np.empty(0, kind)
            )
            at += element.count * kind.itemsize
        found[element.name] = rows
    if at != len(content):
        raise ValueError(f"{len(content) - at} bytes are left over")
    return found


def _binary_lists(content: bytes, at: int, element: _Element, order: str) -> tuple[Any, int]:
    """Rows as dictionaries; where all lists are of three, as is usual, as an array."""
    lists = [known for known in element.properties if known.length]
    if len(lists) == 1 and element.count:
        fields: list[Any] = []
        for known in element.properties:
            fields += [("length", order + known.length)] if known.length else []
            fields.append((known.name, order + known.kind, (3,)) if known.length else (known.name, order + known.kind))
        kind = np.dtype(fields)
        if at + element.count * kind.itemsize <= len(content):
            rows = np.frombuffer(content, kind, element.count, at)
            if (rows["length"] == 3).all():
                return rows, at + element.count * kind.itemsize
    found = []
    for _ in range(element.count):
        row: dict[str, Any] = {}
        for known in element.properties:
            count = 1
            if known.length:
                (length,) = np.frombuffer(content, order + known.length, 1, at)
                count, at = int(length), at + np.dtype(known.length).itemsize
                if count < 0:
                    raise ValueError(f"a list of {count}")
            values = np.frombuffer(content, order + known.kind, count, at) if count else np.empty(0)
            row[known.name], at = values, at + count * np.dtype(known.kind).itemsize
        found.append(row)
    return found, at


def _text(content: bytes, elements: list[_Element]) -> dict[str, Any]:
    words = content.decode("latin-1").split()
    found: dict[str, Any] = {}
    at = 0

    def take(count: int) -> NDArray[np.float64]:
        nonlocal at
        if count < 0 or at + count > len(words):
            raise ValueError("the file ends too early")
        at += count
        return np.array(words[at - count : at], dtype=np.float64)

    for element in elements:
        names = [known.name for known in element.properties]
        if any(known.length for known in element.properties):
            found[element.name] = [
                {known.name: take(int(take(1)[0]) if known.length else 1) for known in element.properties}
                for _ in range(element.count)
            ]
        else:
            table = take(element.count * len(names)).reshape(element.count, len(names))
            found[element.name] = {name: table[:, i] for i, name in enumerate(names)}
    if at != len(words):
        raise ValueError(f"{len(words) - at} words are left over")
    return found


def _mesh(path: Path, found: dict[str, Any]) -> PlyMesh:
    try:
        rows = found["vertex"]
        vertices = np.stack([np.asarray(rows[axis], dtype=np.float64) for axis in "xyz"], axis=1)
    except (KeyError, ValueError, TypeError, IndexError):
        raise fault(path, "has no vertices with x, y and z") from None
    faces = _triangles(found.get("face"))
    if faces is None or not len(faces):
        raise fault(path, "has no faces with vertex_indices")
    if not (np.isfinite(vertices).all() and np.abs(vertices).max(initial=0) <= np.finfo(np.float32).max):
        raise fault(path, "has vertices that are not finite")
    if not (np.isfinite(faces).all() and faces.min() >= 0 and faces.max() < len(vertices)):
        raise fault(path, f"has faces of vertices that are not there; there are {len(vertices)}")
    colours = _colours(path, rows)
    return PlyMesh(vertices.astype(np.float32), faces.astype(np.uint32), colours)


def _colours(path: Path, rows: Any) -> NDArray[np.uint8] | None:
    names = rows.dtype.names if isinstance(rows, np.ndarray) else tuple(rows)
    if not set(COLOURS) <= set(names):
        return None
    values = np.stack([np.asarray(rows[name]) for name in COLOURS], axis=1)
    if values.size and not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 255):
        raise fault(path, "has colours that are not from 0 to 255")
    return np.asarray(values, dtype=np.uint8)


def _triangles(rows: Any) -> NDArray[np.float64] | None:
    """(m, 3) indices, not checked yet; None where there are none."""
    if isinstance(rows, np.ndarray):
        name = next((name for name in INDICES if name in (rows.dtype.names or ())), None)
        return None if name is None else np.asarray(rows[name], dtype=np.float64).reshape(-1, 3)
    found = []
    for row in rows if isinstance(rows, list) else ():
        corners = next((row[name] for name in INDICES if name in row), None)
        if corners is None:
            return None
        found += [(corners[0], corners[i], corners[i + 1]) for i in range(1, len(corners) - 1)]
    return np.array(found, dtype=np.float64).reshape(-1, 3)
