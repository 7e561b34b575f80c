"""What is exported: how many images, in which format, at which size and quality, and how they are split."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from autosim.errors import UserError
from autosim.ranges import Checked, Range

LARGEST_EDGE = 16384


@dataclass(frozen=True)
class ExportSettings(Checked):
    """A data set that is drawn from a learned distribution."""

    count: Annotated[int, Range(least=1)] = 1000
    """Images in all."""
    format: Literal["bop", "coco", "imagefolder", "kitti", "masks", "voc", "webdataset", "yolo", "yolo-seg"] = "coco"
    """What is written; imagefolder is pictures with metadata.jsonl, webdataset is shards of tar files, yolo-seg has
    outlines in place of boxes."""
    split: Annotated[float, Range(least=0, below=1)] = 0.1
    """Share of the images in the part val, the last ones; the others are in train. 0 writes them undivided."""
    size: str | None = None
    """Pixels of the pictures, WIDTHxHEIGHT, or the longer edge alone; by default those of the run."""
    samples: Annotated[int | None, Range(least=1)] = None
    """Samples a pixel of every image, at the picture's full resolution; by default each scene has the quality that
    was learned."""
    seed: Annotated[int, Range(least=0, below=2**32)] = 0
    """Every image follows from this number and from what was learned; other seeds give other images."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size is not None and not re.fullmatch(r"\d{1,5}(x\d{1,5})?", self.size):
            raise ValueError(f"size: {self.size!r} is neither a number of pixels nor WIDTHxHEIGHT")
        if self.size is not None and not all(8 <= int(edge) <= LARGEST_EDGE for edge in self.size.split("x")):
            raise ValueError(f"size: {self.size} is not of 8 to {LARGEST_EDGE} pixels each way")

    @property
    def held_out(self) -> int:
        """Images in the part val; at least one where there are two images or more and ``split`` is above 0."""
        if not self.split or self.count < 2:
            return 0
        return min(self.count - 1, max(1, round(self.split * self.count)))

    def parts(self) -> dict[str | None, range]:
        """The numbers of the images of each part; None is the part of a data set that is not divided."""
        first = self.count - self.held_out
        return {"train": range(first), "val": range(first, self.count)} if self.held_out else {None: range(self.count)}

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the pictures, if those of the run have (height, width)."""
        if self.size is None:
            return height, width
        if "x" in self.size:
            wide, high = (int(edge) for edge in self.size.split("x"))
            return high, wide
        scale = int(self.size) / max(height, width)
        return max(1, round(height * scale)), max(1, round(width * scale))

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON knows it."""
        return asdict(self)


def refuse_other(name: str, before: object, now: object) -> None:
    """``UserError`` where an export that was begun was begun with something else."""
    if before != now:
        raise UserError(f"--{name}: {now} is not what the export was begun with, {before}; choose another --out")
