"""Folders of images: a user's own target pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autosim.errors import UserError
from autosim.rendering.frames import Frames

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def read_image_folder(folder: Path, height: int, width: int) -> Frames:
    """All images of a folder in order of their names, as RGB of (height, width); no annotations.

    Larger images are cropped to the aspect ratio around their centre, then resampled. Raises ``UserError`` where the
    folder is missing, cannot be read or holds no image, or where an image is corrupt.
    """
    from PIL import Image, ImageOps

    if not folder.is_dir():
        raise UserError(f"{folder}: not a folder of images")
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from error
    if not paths:
        raise UserError(f"{folder}: holds no image ({', '.join(SUFFIXES)})")
    images = []
    for path in paths:
        try:
            with Image.open(path) as image:
                fitted = ImageOps.fit(image.convert("RGB"), (width, height), Image.Resampling.BICUBIC)
                images.append(np.asarray(fitted, dtype=np.uint8))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise UserError(f"{path}: not a readable image ({error})") from error
    return Frames(np.stack(images))
