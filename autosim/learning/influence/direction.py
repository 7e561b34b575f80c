"""The direction that influences are measured along: what training on a scene does to the validation loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from autosim.learning.influence.curvature import LossSurface, Solver, largest_eigenvalue, solve
from autosim.learning.influence.frames_loss import FramesLoss

# Least λ where it is relative: a network that has nothing left to learn has no curvature, and its system no solution.
LEAST_DAMPING = 1e-6

Approximation = Literal["quadratic", "exact", "exact-ncg", "approximate", "linear", "none"]
"""Of ``v = (H + λI)^-1 g_val`` (AutoSimulate, Table 1): ``quadratic`` solves with the Gauss-Newton matrix in place of
H, ``exact`` with H by conjugate gradients and ``exact-ncg`` by Newton-CG; ``approximate`` is ``H g_val`` (without
inverse, as printed), ``linear`` is ``g_val``; ``none`` is a constant vector with the norm of ``g_val``, which ignores
the validation frames.
"""


@dataclass(frozen=True)
class Direction:
    """``v`` (P,), and how it was found: λ, curvature products, relative residual of the system, ``g_valᵀ v``."""

    v: Tensor
    damping: float
    products: int
    residual: float
    alignment: float

    def figures(self) -> dict[str, float]:
        """All but ``v``, as metrics."""
        return {
            "damping": self.damping,
            "products": float(self.products),
            "cg_residual": self.residual,
            "gradient_dot_v": self.alignment,
        }


def influence_direction(
    surface: LossSurface | FramesLoss,
    validation_gradient: Tensor,
    approximation: Approximation = "quadratic",
    damping: float = 1e-2,
    limit: int = 8,
    relative: bool = True,
) -> Direction:
    """``v`` for the curvature of ``surface`` and ``validation_gradient`` (P,), by at most ``limit`` products.

    λ is ``damping``; for ``quadratic`` it is ``damping`` times the largest eigenvalue, by power iteration, where it is
    ``relative``, and at least ``LEAST_DAMPING``.
    """
    g = validation_gradient
    if approximation in ("none", "linear"):
        v = g if approximation == "linear" else torch.full_like(g, float(g.norm()) / len(g) ** 0.5)
        return Direction(v, 0.0, 0, 0.0, float(g @ v))
    product = surface.gauss_newton(linearise=False) if approximation == "quadratic" else surface.hessian()
    if approximation == "approximate":
        v = product(g)
        return Direction(v, 0.0, 1, 0.0, float(g @ v))
    if approximation == "quadratic" and relative:
        # A gradient points mostly along the directions of largest curvature, so few steps from it suffice.
        damping = max(damping * largest_eigenvalue(product, len(g), steps=2, start=g), LEAST_DAMPING)
    method: Solver = "fmin_ncg" if approximation == "exact-ncg" else "cg"
    found = solve(product, g, damping, method, tolerance=1e-2, limit=limit)
    return Direction(found.v, damping, found.products, found.residual, found.alignment)
