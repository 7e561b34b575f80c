"""Images of handwritten digits, 28 × 28, split into those that scenes are made of and those of the targets."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from autosim.errors import UserError

Source = Literal["bundled", "mnist"]
Split = Literal["train", "validation", "test"]

EDGE = 28
LABELS = tuple(range(10))
# The part of [0, 1] from which a digit's ``variant`` is drawn: which of the images of its label it has.
VARIANTS: dict[Split, tuple[float, float]] = {"train": (0.0, 0.6), "validation": (0.6, 0.75), "test": (0.75, 1.0)}
MNIST_FILES = {"train": "train", "test": "t10k"}


@dataclass(frozen=True)
class Digits:
    """``images`` uint8 (n, 28, 28), white on black; those of a label and split are ``count`` from ``first`` on, both
    (10, 3) in the order of :data:`VARIANTS`.
    """

    images: NDArray[np.uint8]
    first: NDArray[np.int64]
    count: NDArray[np.int64]

    def index(self, label: int, variant: float) -> int:
        """Position of the image of a label with a ``variant`` in [0, 1]."""
        for split, (low, high) in enumerate(VARIANTS.values()):
            if variant < high or split == len(VARIANTS) - 1:
                share = (variant - low) / (high - low)
                count = int(self.count[label, split])
                return int(self.first[label, split]) + min(int(share * count), count - 1)
        raise AssertionError("unreachable")


def load_digits(source: Source, folder: Path | None = None) -> Digits:
    """Digits from scikit-learn's bundled set (1,797, enlarged from 8 × 8), or from MNIST's four idx files in a folder.

    Of MNIST, scenes are made of the training file and targets of the test file. ``UserError`` where the folder or one
    of its files is missing or is not what it should be.
    """
    if source == "mnist" and folder is None:
        raise UserError("digits: 'mnist' needs data_dir, the folder of MNIST's idx files")
    return _load(source, folder)


@lru_cache(maxsize=2)
def _load(source: Source, folder: Path | None) -> Digits:
    rng = np.random.default_rng(0)
    parts: dict[Split, tuple[NDArray[np.uint8], NDArray[np.uint8]]]
    if source == "bundled":
        images, labels = _bundled()
        order = rng.permutation(len(labels))
        ends = [round(high * len(order)) for _, high in VARIANTS.values()][:-1]
        train, validation, test = np.split(order, ends)
        parts = {
            "train": (images[train], labels[train]),
            "validation": (images[validation], labels[validation]),
            "test": (images[test], labels[test]),
        }
    else:
        assert folder is not None
        images, labels = _mnist(folder, "test")
        order = rng.permutation(len(labels))
        validation, test = np.split(order, [len(order) // 5])
        parts = {
            "train": _mnist(folder, "train"),
            "validation": (images[validation], labels[validation]),
            "test": (images[test], labels[test]),
        }
    return _sorted(parts)


def _sorted(parts: dict[Split, tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> Digits:
    chosen: list[NDArray[np.uint8]] = []
    first = np.zeros((len(LABELS), len(VARIANTS)), dtype=np.int64)
    count = np.zeros_like(first)
    total = 0
    for column, split in enumerate(VARIANTS):
        images, labels = parts[split]
        for label in LABELS:
            own = images[labels == label]
            if not len(own):
                raise UserError(f"digits: no image of {label} for {split}")
            first[label, column], count[label, column] = total, len(own)
            chosen.append(own)
            total += len(own)
    return Digits(np.concatenate(chosen), first, count)


def _bundled() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits as load_bundled

    bundle = load_bundled()
    large = zoom(bundle.images / 16.0, (1, 2.5, 2.5), order=3, mode="grid-constant", grid_mode=True)
    margin = (EDGE - large.shape[1]) // 2
    padded = np.pad(np.clip(large, 0, 1), ((0, 0), (margin, margin), (margin, margin)))
    return np.rint(padded * 255).astype(np.uint8), bundle.target.astype(np.uint8)


def _mnist(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    images = _idx(folder, f"{MNIST_FILES[part]}-images-idx3-ubyte", 3)
    labels = _idx(folder, f"{MNIST_FILES[part]}-labels-idx1-ubyte", 1)
    if images.shape[1:] != (EDGE, EDGE):
        raise UserError(f"{folder}: images of {images.shape[1:]} pixels instead of {(EDGE, EDGE)}")
    if len(images) != len(labels):
        raise UserError(f"{folder}: {len(images)} images but {len(labels)} labels of MNIST's {part} part")
    if len(labels) and int(labels.max()) > LABELS[-1]:
        raise UserError(f"{folder}: label {int(labels.max())} is not a digit")
    return images, labels


def _idx(folder: Path, name: str, dimensions: int) -> NDArray[np.uint8]:
    """An idx file of unsigned bytes, compressed (``.gz``) or not."""
    candidates = (folder / f"{name}.gz", folder / name)
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        raise UserError(f"{folder}: neither {candidates[0].name} nor {candidates[1].name} is there")
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    header = 4 + 4 * dimensions
    if len(data) < header or data[:4] != bytes((0, 0, 8, dimensions)):
        raise UserError(f"{path}: not an idx file of unsigned bytes with {dimensions} dimensions")
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", dimensions, 4))
    if len(data) - header != int(np.prod(shape, dtype=np.int64)):
        raise UserError(f"{path}: {len(data) - header} bytes of data, but the header says {shape}")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
