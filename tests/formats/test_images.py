"""Folders of a user's own images: read in order, fitted to size, and refused in one line."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from autosim.errors import UserError
from autosim.formats.images import read_image_folder


def save(path: Path, width: int, height: int, colour: tuple[int, int, int], mode: str = "RGB") -> None:
    Image.new("RGB", (width, height), colour).convert(mode).save(path)


def encoded(kind: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


def test_images_come_in_the_order_of_their_names_as_rgb(tmp_path: Path) -> None:
    save(tmp_path / "b.png", 32, 32, (0, 255, 0))
    save(tmp_path / "a.PNG", 32, 32, (255, 0, 0))
    save(tmp_path / "c.bmp", 48, 32, (0, 0, 255))
    save(tmp_path / "d.png", 32, 32, (100, 100, 100), mode="L")
    (tmp_path / "notes.txt").write_text("not an image")
    frames = read_image_folder(tmp_path, 16, 24)
    assert frames.images.shape == (4, 16, 24, 3) and frames.images.dtype == np.uint8
    assert not frames.annotations
    expected = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (100, 100, 100)]
    assert [tuple(image.mean(axis=(0, 1))) for image in frames.images] == expected


def test_a_wide_image_is_cropped_about_its_centre_and_not_stretched(tmp_path: Path) -> None:
    pixels = np.zeros((40, 120, 3), dtype=np.uint8)
    pixels[:, :40] = (255, 0, 0)
    pixels[:, 40:80] = (0, 255, 0)
    pixels[:, 80:] = (0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    (image,) = read_image_folder(tmp_path, 20, 20).images
    assert (image[:, 2:-2] == (0, 255, 0)).all() and (image.argmax(axis=2) == 1).all()


def test_a_photograph_is_turned_as_its_camera_was_held(tmp_path: Path) -> None:
    pixels = np.zeros((20, 20, 3), dtype=np.uint8)
    pixels[:10] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    (image,) = read_image_folder(tmp_path, 20, 20).images
    assert image[:8].max() == 0 and image[12:].min() == 255


@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp", "webp"])
def test_an_image_cut_short_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    data = encoded(kind)
    for share in (0.0, 0.02, 0.1, 0.5):
        (tmp_path / f"cut.{kind}").write_bytes(data[: int(share * len(data))])
        with pytest.raises(UserError) as caught:
            read_image_folder(tmp_path, 16, 16)
        assert f"cut.{kind}" in str(caught.value) and "\n" not in str(caught.value)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["png", "jpeg", "bmp", "webp"]),
    place=st.floats(0, 1),
    garbage=st.binary(min_size=1, max_size=12),
)
def test_a_damaged_image_is_read_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, kind: str, place: float, garbage: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    data = bytearray(encoded(kind))
    start = int(place * (len(data) - len(garbage)))
    data[start : start + len(garbage)] = garbage
    for path in folder.iterdir():
        path.unlink()
    (folder / f"image.{kind}").write_bytes(data)
    try:
        assert read_image_folder(folder, 16, 16).images.shape == (1, 16, 16, 3)
    except UserError as error:
        assert "\n" not in str(error) and f"image.{kind}" in str(error)


def test_folders_that_give_no_image_are_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").write_text("nothing to see")
    file = tmp_path / "file.png"
    save(file, 8, 8, (0, 0, 0))
    cases = {tmp_path / "missing": "not a folder", file: "not a folder", empty: "holds no image"}
    for folder, reason in cases.items():
        with pytest.raises(UserError, match=reason) as caught:
            read_image_folder(folder, 16, 16)
        assert str(folder) in str(caught.value) and "\n" not in str(caught.value)

    def denied(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    for method in ("iterdir", "is_dir"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, method, denied)
            with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
                read_image_folder(empty, 16, 16)


def test_a_folder_named_like_an_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "odd.png").mkdir()
    with pytest.raises(UserError, match=r"odd\.png"):
        read_image_folder(tmp_path, 8, 8)
