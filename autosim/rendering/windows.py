"""Windows: upright rectangles of a picture, outside which a change of a scene changes nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """Rows ``top`` to ``top + height`` and columns ``left`` to ``left + width``, in pixels from the upper left corner.

    A window may reach beyond the picture until it is clipped; one of no rows or no columns is empty. ``ValueError``
    where height or width is below 0.
    """

    top: int
    left: int
    height: int
    width: int

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} is below 0")

    @property
    def bottom(self) -> int:
        """The first row below the window."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """The first column to its right."""
        return self.left + self.width

    @property
    def empty(self) -> bool:
        """Whether it holds no pixel."""
        return self.height == 0 or self.width == 0

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of its pixels in an array (H, W, …) of a picture that it lies within."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def union(self, other: Window) -> Window:
        """The smallest window that holds both; an empty one adds nothing."""
        if self.empty or other.empty:
            return other if self.empty else self
        top, left = min(self.top, other.top), min(self.left, other.left)
        bottom, right = max(self.bottom, other.bottom), max(self.right, other.right)
        return Window(top, left, bottom - top, right - left)

    def clipped(self, height: int, width: int) -> Window:
        """The part of it within a picture of (height, width); ``Window(0, 0, 0, 0)`` where there is none."""
        top, left = max(self.top, 0), max(self.left, 0)
        bottom, right = min(self.bottom, height), min(self.right, width)
        if bottom <= top or right <= left:
            return Window(0, 0, 0, 0)
        return Window(top, left, bottom - top, right - left)

    def share(self, height: int, width: int) -> float:
        """Its pixels as a share of those of a picture of (height, width)."""
        return self.height * self.width / (height * width)
