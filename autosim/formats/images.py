"""Folders of images: a user's own target pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autosim.errors import UserError
from autosim.rendering.frames import Frames

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def image_files(folder: Path) -> list[Path]:
    """The images of a folder by name; ``UserError`` where it is missing, cannot be read or holds none."""
    try:
        if not folder.is_dir():
            raise UserError(f"{folder}: not a folder of images")
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from error
    if not paths:
        raise UserError(f"{folder}: holds no image ({', '.join(SUFFIXES)})")
    return paths


def read_image_folder(folder: Path, height: int, width: int) -> Frames:
    """All images of a folder in order of their names, as RGB of (height, width); no annotations.

    Images are turned upright as their EXIF data say, cropped to the aspect ratio around their centre, then resampled.
    Raises ``UserError`` where :func:`image_files` does, or where an image is corrupt.
    """
    from PIL import Image, ImageOps

    images = []
    for path in image_files(folder):
        try:
            with Image.open(path) as image:
                upright = ImageOps.exif_transpose(image).convert("RGB")
                fitted = ImageOps.fit(upright, (width, height), Image.Resampling.BICUBIC)
                images.append(np.asarray(fitted, dtype=np.uint8))
        except Exception as error:  # damaged files raise errors of many kinds
            raise UserError(f"{path}: not a readable image ({' '.join(str(error).split())})") from error
    return Frames(np.stack(images))
