"""Picture files as RGB arrays and index masks, and back: any mode and orientation, or one line that names the file."""

from __future__ import annotations

import io
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autosim.errors import UserError
from autosim.files import check_file, fault
from autosim.formats.reading import list_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
EXIF_ORIENTATION = 0x0112
# Greyscale PNG of 2 and 4 bits are spread over 0 to 255 as they are read: the steps between neighbouring values.
SPREAD = {"L;2": 85, "L;4": 17}
DEEPEST = 2**16 - 1


def picture_names(folder: Path) -> list[str]:
    """Names of the pictures of a folder, sorted."""
    return [name for name in list_folder(folder) if name.lower().endswith(PICTURE_SUFFIXES)]


def picture_size(path: Path, upright: bool = True) -> tuple[int, int]:
    """(height, width) of a picture from its header: as EXIF says it is to be held, or as it is stored."""
    return picture_sizes(path)[not upright]


def picture_sizes(path: Path) -> tuple[tuple[int, int], tuple[int, int]]:
    """(height, width) of a picture turned as EXIF says, and as it is stored."""
    with _opened(path) as image:
        return _turned_size(image), (image.height, image.width)


def read_picture(path: Path, size: tuple[int, int] | None = None, upright: bool = True) -> NDArray[np.uint8]:
    """A picture as RGB, uint8 (H, W, 3).

    It is turned upright as EXIF says where ``upright``. ``size`` (height, width) is what its labels say: where only the
    stored picture has that size, it is left as stored; where neither has, ``UserError``. 16 bits are scaled to 8, grey
    is repeated, alpha is left out, CMYK is converted. Damaged files, floating-point pixels and files that are not
    regular: ``UserError``.
    """
    with _opened(path) as image:
        turn = upright
        if size is not None:
            sizes = (_turned_size(image), (image.height, image.width))
            if size not in sizes:
                raise fault(path, f"is {image.width}×{image.height}; its labels say {size[1]}×{size[0]}")
            turn = upright and size == sizes[0]
        orientation = _orientation(image) if turn else 1
        return _rgb(_turn(image, orientation))


def read_index_mask(path: Path) -> NDArray[np.uint8]:
    """A mask whose pixels are numbers, uint8 (H, W): palette index, grey value, or bit; ``UserError`` for colours."""
    with _opened(path) as image:
        # The raw mode tells how many bits the file has; it is gone once the pixels are read.
        raw = [entry[3] for entry in getattr(image, "tile", ())]
        spread = SPREAD.get(raw[0], 1) if raw and isinstance(raw[0], str) else 1
        values = np.asarray(image)
        grey = image.mode == "LA" or (image.mode in ("RGB", "RGBA") and (values[..., :1] == values[..., :3]).all())
        if grey:
            values = values[..., 0]
        if values.ndim != 2 or values.dtype.kind not in "bui":
            raise fault(path, f"has mode {image.mode}; a mask has palette or grey values")
        if values.dtype.kind != "b" and (values.min() < 0 or values.max() > 255):
            raise fault(path, f"has values from {values.min()} to {values.max()}; allowed are 0 to 255")
        return values.astype(np.uint8) // np.uint8(spread)


def encode_png(pixels: NDArray[np.uint8], palette: NDArray[np.uint8] | None = None) -> bytes:
    """PNG of RGB (H, W, 3) or of an index mask (H, W), with a palette (256, 3) if given; the same bytes each time."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels))
    if palette is not None:
        image = image.convert("L")
        image.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def encode_depth(depth: NDArray[np.float32]) -> tuple[bytes, float]:
    """Depth (H, W), 0 where nothing is seen, as grey PNG of 16 bits, and the scale that its values are multiplied with.

    The scale is such that the largest depth is 65535; what is seen is at least 1.
    """
    from PIL import Image

    scale = float(depth.max(initial=0)) / DEEPEST or 1.0
    values = np.round(depth.astype(np.float64) / scale)
    values = np.where(depth > 0, np.clip(values, 1, DEEPEST), 0).astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue(), scale


def read_depth(path: Path, scale: float) -> NDArray[np.float32]:
    """Depth (H, W) of a grey PNG times its scale; ``UserError`` for colours and values that are not whole."""
    with _opened(path) as image:
        values = np.asarray(image)
        if values.ndim != 2 or values.dtype.kind not in "ui" or image.mode == "P":
            raise fault(path, f"has mode {image.mode}; depth has grey values of 8 or 16 bits")
        if values.min() < 0:
            raise fault(path, f"has values from {values.min()}; allowed are 0 and above")
        return (values.astype(np.float64) * scale).astype(np.float32)


def class_palette() -> NDArray[np.uint8]:
    """(256, 3): black for 0, colours that tell neighbouring indices apart, and the colours of PASCAL VOC at that.

    Each bit triple of the index sets one bit of red, green and blue, from the highest down.
    """
    index = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for place in range(8):
        for channel in range(3):
            bit = (index >> (3 * place + channel)) & 1
            palette[:, channel] |= (bit << (7 - place)).astype(np.uint8)
    return palette


@contextmanager
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    from PIL import Image

    check_file(path)
    try:
        with _no_warnings(), Image.open(path) as image:
            if not image.width or not image.height:
                raise fault(path, f"is {image.width}×{image.height}")
            yield image
    except UserError:
        raise
    except Exception as error:  # damaged files raise errors of many kinds
        raise fault(path, f"is not a readable picture ({error})") from error


def _orientation(image: Image.Image) -> int:
    """How a picture is to be turned, 1 to 8 as in EXIF. The header alone is read: PNG would be decoded for it.

    TIFF is never to be turned: the library does that as it reads.
    """
    if image.format == "TIFF" or (image.format == "PNG" and not {"exif", "XML:com.adobe.xmp", "xmp"} & set(image.info)):
        return 1
    try:
        found: Any = image.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # damaged EXIF data say nothing about the picture
        return 1
    return found if found in range(1, 9) else 1


def _turned_size(image: Image.Image) -> tuple[int, int]:
    return (image.width, image.height) if _orientation(image) >= 5 else (image.height, image.width)


def _turn(image: Image.Image, orientation: int) -> Image.Image:
    from PIL import Image

    turns = Image.Transpose
    ways = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }
    return image.transpose(ways[orientation]) if orientation in ways else image


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode == "F":
        raise ValueError("floating-point pixels; allowed are 8 or 16 bits")
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("more than 16 bits a pixel")
        grey = ((values * 255 + 32767) // 65535).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.array(image.convert("RGB"), dtype=np.uint8)
