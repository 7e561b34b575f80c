"""Pictures of every mode and orientation are read as they look; what is damaged is refused in one line."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autosim.formats.pictures import (
    class_palette,
    encode_png,
    picture_names,
    picture_size,
    read_index_mask,
    read_picture,
)
from tests.formats.examples import picture, refusal, save

ORANGE = (250, 120, 30)


@pytest.mark.parametrize(
    ("mode", "suffix", "near"),
    [
        ("L", "png", 0),
        ("1", "png", 0),
        ("LA", "png", 0),
        ("P", "png", 0),
        ("RGBA", "png", 0),
        ("CMYK", "jpg", 8),
        ("CMYK", "tif", 0),
        ("YCbCr", "jpg", 8),
        ("L", "jpg", 8),
        ("RGB", "webp", 16),
        ("RGB", "bmp", 0),
    ],
)
def test_any_mode_is_read_as_it_looks(mode: str, suffix: str, near: int, tmp_path: Path) -> None:
    image = Image.new("RGB", (16, 16), ORANGE).convert(mode)
    path = tmp_path / f"a.{suffix}"
    image.save(path, lossless=True) if suffix == "webp" else image.save(path)
    found = read_picture(path)
    assert found.shape == (16, 16, 3) and found.dtype == np.uint8
    expected = np.array(image.convert("RGB"), dtype=np.int64)
    assert np.abs(found.astype(np.int64) - expected).max() <= near


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_are_scaled_and_not_cut_off(suffix: str, tmp_path: Path) -> None:
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    assert read_picture(tmp_path / f"a.{suffix}")[0].tolist() == [[v] * 3 for v in (0, 1, 128, 255)]


def test_pixels_without_a_scale_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 0.5, dtype=np.float32)).save(tmp_path / "a.tif")
    refusal(lambda: read_picture(tmp_path / "a.tif"), "a.tif", "floating-point")
    Image.fromarray(np.full((4, 4), 70_000, dtype=np.int32)).save(tmp_path / "b.tif")
    refusal(lambda: read_picture(tmp_path / "b.tif"), "b.tif", "16 bits")


def turned(path: Path, orientation: int, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)


@pytest.mark.parametrize("suffix", ["png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_camera_was_held(orientation: int, suffix: str, tmp_path: Path) -> None:
    from PIL import ImageOps

    path = tmp_path / f"a.{suffix}"
    turned(path, orientation, picture(0, 6, 9))
    with Image.open(path) as image:
        upright, stored = np.array(ImageOps.exif_transpose(image).convert("RGB")), np.array(image.convert("RGB"))
    assert (read_picture(path) == upright).all() and picture_size(path) == upright.shape[:2]
    assert (read_picture(path, upright=False) == stored).all() and picture_size(path, upright=False) == (6, 9)


def test_tiff_is_upright_whatever_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    turned(path, 6, picture(0, 6, 9))
    for upright in (True, False):
        assert picture_size(path, upright) == read_picture(path, upright=upright).shape[:2] == (9, 6)


def test_the_size_that_labels_state_says_which_way_up_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    turned(path, 6, picture(0, 6, 9))
    assert read_picture(path, (9, 6)).shape == (9, 6, 3)
    assert read_picture(path, (6, 9)).shape == (6, 9, 3)
    refusal(lambda: read_picture(path, (9, 9)), "a.jpg", "9×6", "labels say 9×9")


def test_masks_are_numbers_whatever_they_are_stored_as(tmp_path: Path) -> None:
    values = np.array([[0, 1, 2], [3, 1, 0]], dtype=np.uint8)
    files: dict[str, Image.Image] = {
        "grey": Image.fromarray(values),
        "sixteen": Image.fromarray(values.astype(np.uint16)),
        "thrice": Image.fromarray(np.repeat(values[..., None], 3, axis=2)),
    }
    for name, image in files.items():
        image.save(tmp_path / f"{name}.png")
    (tmp_path / "palette.png").write_bytes(encode_png(values, class_palette()))
    with Image.open(tmp_path / "palette.png") as image:
        image.save(tmp_path / "two_bits.png", bits=2)
    for name in (*files, "palette", "two_bits"):
        assert (read_index_mask(tmp_path / f"{name}.png") == values).all(), name
    Image.fromarray(values > 1).save(tmp_path / "bits.png")
    assert (read_index_mask(tmp_path / "bits.png") == (values > 1)).all()


def test_a_grey_mask_of_four_bits_is_not_spread(tmp_path: Path) -> None:
    """Few writers make such files, so it is put together here: PNG, greyscale, four bits, 4×1 pixels 0, 1, 2, 15."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 4, 1, 4, 0, 0, 0, 0)
    rows = zlib.compress(bytes([0, 0x01, 0x2F]))
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(content)
    assert read_index_mask(tmp_path / "a.png").tolist() == [[0, 1, 2, 15]]


def test_masks_of_colours_or_large_numbers_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    refusal(lambda: read_index_mask(tmp_path / "a.png"), "a.png", "RGB", "palette or grey")
    Image.fromarray(np.full((4, 4), 300, dtype=np.uint16)).save(tmp_path / "b.png")
    refusal(lambda: read_index_mask(tmp_path / "b.png"), "b.png", "300", "0 to 255")


@pytest.mark.parametrize("suffix", ["png", "jpeg", "tiff", "webp", "bmp"])
def test_a_file_cut_short_is_refused(suffix: str, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, suffix)
    for share in (0.0, 0.02, 0.5):
        path = tmp_path / f"a.{suffix}"
        path.write_bytes(buffer.getvalue()[: int(share * len(buffer.getvalue()))])
        refusal(partial(read_picture, path), str(path))


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere")
    for name, word in (("pipe", "regular"), ("folder", "regular"), ("dangling", "missing"), ("none", "missing")):
        readers: tuple[Callable[[Path], object], ...] = (read_picture, picture_size, read_index_mask)
        for read in readers:
            refusal(partial(read, tmp_path / f"{name}.png"), f"{name}.png", word)


def test_names_come_sorted_and_only_those_of_pictures(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "c.txt", "d.tiff"):
        (tmp_path / name).touch()
    assert picture_names(tmp_path) == ["a.png", "b.JPG", "d.tiff"]
    refusal(lambda: picture_names(tmp_path / "none"), "none", "folder")


def test_the_palette_is_that_of_pascal_voc() -> None:
    assert class_palette()[[0, 1, 2, 15, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [192, 128, 128],
        [224, 224, 192],
    ]
