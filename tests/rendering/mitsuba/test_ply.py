"""PLY files: three formats, the same mesh; whatever is damaged ends in a line that names the file."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autosim.errors import UserError
from autosim.rendering.mitsuba.ply import PlyMesh, read_ply

VERTICES = [
    (0.0, 0.0, 0.0, 10, 20, 30),
    (1.5, 0.0, 0.0, 40, 50, 60),
    (0.0, 2.0, 0.25, 70, 80, 255),
    (1.0, 1.0, 3.0, 0, 1, 2),
]
FACES = [(0, 1, 2), (1, 3, 2)]
FORMATS = ("ascii", "binary_little_endian", "binary_big_endian")


def header(form: str, vertices: int = 4, faces: int = 2, extra: str = "") -> bytes:
    lines = [
        "ply", f"format {form} 1.0", "comment made by a test", f"element vertex {vertices}",
        *(f"property float {axis}" for axis in "xyz"), *(f"property uchar {c}" for c in ("red", "green", "blue")),
        f"element face {faces}", "property list uchar int vertex_indices", *filter(None, [extra]), "end_header",
    ]  # fmt: skip
    return ("\n".join(lines) + "\n").encode()


def body(form: str, faces: Sequence[tuple[int, ...]] = FACES) -> bytes:
    if form == "ascii":
        lines = [" ".join(map(str, vertex)) for vertex in VERTICES]
        lines += [" ".join(map(str, (len(face), *face))) for face in faces]
        return ("\n".join(lines) + "\n").encode()
    order = "<" if form == "binary_little_endian" else ">"
    packed = [struct.pack(f"{order}3f3B", *vertex) for vertex in VERTICES]
    packed += [struct.pack(f"{order}B{len(face)}i", len(face), *face) for face in faces]
    return b"".join(packed)


def read(folder: Path, content: bytes) -> PlyMesh:
    path = folder / "thing.ply"
    path.write_bytes(content)
    return read_ply(path)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_mesh(tmp_path: Path, form: str) -> None:
    mesh = read(tmp_path, header(form) + body(form))
    np.testing.assert_array_equal(mesh.vertices, np.array([vertex[:3] for vertex in VERTICES], dtype=np.float32))
    np.testing.assert_array_equal(mesh.faces, np.array(FACES))
    assert mesh.colours is not None
    np.testing.assert_array_equal(mesh.colours, np.array([vertex[3:] for vertex in VERTICES]))


@pytest.mark.parametrize("form", FORMATS)
def test_polygons_become_fans(tmp_path: Path, form: str) -> None:
    mesh = read(tmp_path, header(form) + body(form, [(0, 1, 3, 2), (0, 2, 1)]))
    assert mesh.faces.tolist() == [[0, 1, 3], [0, 3, 2], [0, 2, 1]]


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_without_colours_has_none(tmp_path: Path, form: str) -> None:
    content = (header(form) + body(form)).replace(b"uchar red", b"uchar rot")
    assert read(tmp_path, content).colours is None


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("vertices", "faces"), [(5, 2), (3, 2), (4, 3), (4, 1), (0, 2), (4, 0), (9_999_999, 2), (4, 9_999_999)]
)
def test_wrong_counts_are_refused(tmp_path: Path, form: str, vertices: int, faces: int) -> None:
    with pytest.raises(UserError, match=r"thing\.ply: "):
        read(tmp_path, header(form, vertices, faces) + body(form))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("found", "instead", "said"),
    [
        (b"ply\n", b"plx\n", "no PLY file"),
        (b"end_header\n", b"", "no PLY file"),
        (b"property float x", b"property half x", "'property half x'"),
        (b"property float y", b"property float x", "'property float x'"),
        (b"list uchar", b"list float", "list float"),
        (b"element vertex 4", b"element vertex -4", "element vertex -4"),
        (b"format", b"comment", "no format"),
        (b"vertex_indices", b"corners", "no faces"),
        (b"property float z", b"property float h", "no vertices with x, y and z"),
    ],
)
def test_a_wrong_header_is_named(tmp_path: Path, form: str, found: bytes, instead: bytes, said: str) -> None:
    with pytest.raises(UserError, match=r"thing\.ply: .*") as raised:
        read(tmp_path, (header(form) + body(form)).replace(found, instead, 1))
    assert said in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("face", [(0, 1, 4), (0, -1, 2)])
def test_faces_of_vertices_that_are_not_there_are_refused(tmp_path: Path, form: str, face: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="vertices that are not there; there are 4"):
        read(tmp_path, header(form) + body(form, [FACES[0], face]))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"thing\.ply: is missing"):
        read_ply(tmp_path / "thing.ply")


@pytest.mark.parametrize("form", FORMATS)
@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cut_or_changed_files_are_read_or_refused_in_a_line(tmp_path: Path, form: str, data: st.DataObject) -> None:
    content = bytearray(header(form) + body(form))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 2))]
        with pytest.raises(UserError):
            read(tmp_path, bytes(content))
        return
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        mesh = read(tmp_path, bytes(content))
    except UserError as error:
        assert "thing.ply" in str(error) and "\n" not in str(error)
    else:
        assert np.isfinite(mesh.vertices).all() and mesh.faces.max() < len(mesh.vertices)
