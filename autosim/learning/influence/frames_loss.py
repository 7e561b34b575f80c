"""The mean loss of a network on frames, computed part by part: memory does not grow with a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from autosim.learning.influence.curvature import AT_ONCE, LossSurface, Product
from autosim.learning.tasks.task import Task
from autosim.learning.training import images_at_once
from autosim.rendering.frames import Frames

# Pixels of the frames whose graph is held at once, and frames whose influences are computed at once.
PIXELS, INFLUENCES = 2**20, 50


class FramesLoss:
    """:class:`LossSurface` for frames, which are converted part by part.

    A product of curvature holds the graph of one pass where all frames are one part; where there are several parts,
    each product computes every part's graph again, which takes one more pass but no memory.
    """

    def __init__(self, task: Task, network: nn.Module, frames: Frames, device: torch.device | str = "cpu") -> None:
        self.task, self.network, self.frames, self.device = task, network, frames, device

    def gradient(self) -> Tensor:
        """(P,) gradient of the mean loss."""
        total = torch.zeros(())
        for surface in self._parts(AT_ONCE):
            gradient = surface.gradient(len(self.frames))
            total = total.to(gradient.device) + gradient
        return total

    def influences_and_losses(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """(n,) influences ``v·∂l_k/∂θ`` and (n,) losses."""
        found = [surface.influences_and_losses(v) for surface in self._parts(INFLUENCES)]
        return torch.cat([influences for influences, _ in found]), torch.cat([losses for _, losses in found])

    def gauss_newton(self, linearise: bool = True) -> Product:
        """``v -> G v``, as :meth:`LossSurface.gauss_newton`."""
        return self._product(lambda surface: surface.gauss_newton(linearise and self._is_one_part()))

    def hessian(self) -> Product:
        """``v -> H v``, as :meth:`LossSurface.hessian`."""
        return self._product(LossSurface.hessian)

    def _product(self, product_of: Callable[[LossSurface], Product]) -> Product:
        if self._is_one_part():
            return product_of(next(self._parts(len(self.frames))))

        def product(v: Tensor) -> Tensor:
            total = torch.zeros_like(v)
            for surface in self._parts(len(self.frames)):
                total += product_of(surface)(v) * (len(surface.inputs) / len(self.frames))
            return total

        return product

    def _is_one_part(self) -> bool:
        return images_at_once(self.frames.images, PIXELS, len(self.frames)) == len(self.frames)

    def _parts(self, most: int) -> Iterator[LossSurface]:
        size = images_at_once(self.frames.images, PIXELS, most)
        for start in range(0, len(self.frames), size):
            part = self.frames.select(slice(start, start + size))
            yield LossSurface(self.task, self.network, *self.task.prepare(part, self.device))
