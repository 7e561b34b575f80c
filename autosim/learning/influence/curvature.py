"""Second-order tools for a task's loss: influences, curvature products and damped linear systems.

AutoSimulate (Behl et al., ECCV 2020, Eq. 8 and 11) weighs each scene by its influence ``v·∂l_k/∂θ`` with
``v = (H + λI)^-1 g_val``. Nothing here holds a gradient of each sample or a matrix of P × P entries in memory, except
:meth:`LossSurface.sample_gradients`, with which tests compare.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn

from autosim.learning.influence.group_norm import CheapGroupNorm
from autosim.learning.tasks.targets import Targets, split
from autosim.learning.tasks.task import Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Product = Callable[[Tensor], Tensor]
"""``v -> A v`` for a symmetric matrix A of P × P entries; v and A v are (P,)."""

Solver = Literal["cg", "fmin_ncg"]
"""Conjugate gradients, or Newton's method with conjugate gradients inside: scipy's functions of these names."""

# Samples whose graph is held at once for sums over samples.
AT_ONCE = 256


class LossSurface:
    """The mean loss of a task on fixed samples, as a function of a network's parameters.

    ``theta`` (P,) are the parameters that require a gradient, flattened one after another in the order of
    ``network.named_parameters()``. Each method uses their values at the time of the call and changes nothing of the
    network: neither parameters nor gradients nor mode.

    Targets may have either form: only the task's losses read them.

    Raises ``ValueError`` where there are no samples or no such parameters, or where a layer in training mode mixes
    samples or is random (batch normalisation, dropout): the loss is then not a sum over samples.
    """

    def __init__(self, task: Task, network: nn.Module, inputs: Tensor, targets: Targets) -> None:
        if not len(inputs) or len(inputs) != len(targets):
            raise ValueError(f"loss surface: {len(inputs)} inputs and {len(targets)} targets; as many, and at least 1")
        for name, module in network.named_modules():
            kind = type(module).__name__
            if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.modules.dropout._DropoutNd) and module.training:
                raise ValueError(
                    f"loss surface: layer {name!r}, {kind}, is in training mode; call network.eval() first"
                )
        self.task, self.network = task, network
        self.inputs = inputs
        self.targets: Any = targets
        self.names = [name for name, value in network.named_parameters() if value.requires_grad]
        if not self.names:
            raise ValueError("loss surface: no parameter of the network requires a gradient")
        self.size = sum(value.numel() for value in self._parameters())

    @torch.enable_grad()
    def gradient(self, count: int | None = None) -> Tensor:
        """(P,) gradient of the mean loss; with ``count`` that of the sum of the losses divided by ``count``: the part
        of these samples in the gradient of ``count`` samples.
        """
        parameters, total = self._parameters(), torch.zeros(())
        for inputs, targets in zip(self.inputs.split(AT_ONCE), split(self.targets, AT_ONCE), strict=True):
            loss = self.task.losses(self.network(inputs), targets).sum() / (count or len(self.inputs))
            total = total.to(loss.device) + _flat(torch.autograd.grad(loss, parameters, materialize_grads=True))
        return total

    @torch.enable_grad()
    def sample_gradients(self) -> Tensor:
        """(n, P) gradient of each sample's loss, one backward pass each; for small networks."""
        rows = []
        for i in range(len(self.inputs)):
            loss = self.task.losses(self.network(self.inputs[i : i + 1]), self.targets[i : i + 1]).sum()
            rows.append(_flat(torch.autograd.grad(loss, self._parameters(), materialize_grads=True)))
        return torch.stack(rows)

    def influences(self, v: Tensor) -> Tensor:
        """(n,) ``v·∂l_k/∂θ`` for each sample k and ``v`` (P,)."""
        return self.influences_and_losses(v)[0]

    @torch.no_grad()
    def influences_and_losses(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and the losses ``l_k`` (n,).

        One forward-mode derivative of all outputs along v, times the slopes of the losses in the outputs.
        """
        with _quietly(), CheapGroupNorm():
            dual: tuple[Tensor, ...] = torch.func.jvp(self._outputs, (self._detached(),), (self._named(v),))
        outputs, moved = dual
        with torch.enable_grad():
            at = outputs.detach().requires_grad_()
            losses = self.task.losses(at, self.targets)
            (slopes,) = torch.autograd.grad(losses.sum(), at)
        return (slopes * moved).flatten(1).sum(dim=1), losses.detach()

    def gauss_newton(self, linearise: bool = True) -> Product:
        """``v -> Jᵀ H_out J v``: J the Jacobian of the outputs, H_out the Hessian of the mean loss in the outputs.

        Positive semi-definite where each loss is convex in its outputs. The product holds the graph of one pass as long
        as it exists. With ``linearise`` the forward direction is linearised once as well: each product then saves a
        pass, but tracing the network takes most of a second, which pays from about 20 products on.
        """
        with torch.enable_grad():
            outputs = self.network(self.inputs)
            at = outputs.detach().requires_grad_()
            loss = self.task.losses(at, self.targets).mean()
            slopes = torch.autograd.grad(loss, at, create_graph=True, materialize_grads=True)
        forward = (_linearised if linearise else _forward_mode)(self._outputs, self._detached())
        parameters = self._parameters()

        def product(v: Tensor) -> Tensor:
            (curved,) = _second_derivative(slopes, [at], [forward(self._named(v))])
            found = torch.autograd.grad(outputs, parameters, curved, retain_graph=True, materialize_grads=True)
            return _flat(found)

        return product

    def hessian(self) -> Product:
        """``v -> H v`` for the Hessian H of the mean loss, by double backward; symmetric, but seldom definite.

        The graph of the gradient is made once and held as long as the product exists.
        """
        parameters = self._parameters()
        with torch.enable_grad():
            losses = self.task.losses(self.network(self.inputs), self.targets)
            slopes = torch.autograd.grad(losses.mean(), parameters, create_graph=True, materialize_grads=True)

        def product(v: Tensor) -> Tensor:
            return _flat(_second_derivative(slopes, parameters, list(self._named(v).values())))

        return product

    def _parameters(self) -> list[Tensor]:
        return [value for value in self.network.parameters() if value.requires_grad]

    def _detached(self) -> dict[str, Tensor]:
        return {name: value.detach() for name, value in zip(self.names, self._parameters(), strict=True)}

    def _outputs(self, parameters: dict[str, Tensor]) -> Tensor:
        found: Tensor = torch.func.functional_call(self.network, parameters, (self.inputs,))
        return found

    def _named(self, v: Tensor) -> dict[str, Tensor]:
        """The parts of ``v`` (P,) by parameter, in the same memory layout as these: other layouts are slower."""
        if v.shape != (self.size,):
            raise ValueError(f"loss surface: vector of shape {tuple(v.shape)} for {self.size} parameters")
        values = self._parameters()
        parts = v.detach().split([value.numel() for value in values])
        named = zip(self.names, parts, values, strict=True)
        return {
            name: torch.empty_like(value, requires_grad=False).copy_(part.view(value.shape))
            for name, part, value in named
        }


def _flat(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.detach().reshape(-1) for part in parts])


def _second_derivative(slopes: Sequence[Tensor], at: list[Tensor], along: list[Tensor]) -> Sequence[Tensor]:
    """Derivatives of ``Σ_i slopes_i · along_i`` with respect to ``at``; autograd refuses slopes that are constant."""
    curved = [(slope, part) for slope, part in zip(slopes, along, strict=True) if slope.requires_grad]
    if not curved:
        return [torch.zeros_like(value) for value in at]
    return torch.autograd.grad(
        [slope for slope, _ in curved], at, [part for _, part in curved], retain_graph=True, materialize_grads=True
    )


def _linearised(function: Callable[[Any], Tensor], point: Any) -> Callable[[Any], Tensor]:
    """``tangent -> J tangent`` of a function at a point."""
    with _quietly(), CheapGroupNorm(), torch.no_grad():
        forward: Callable[[Any], Tensor] = torch.func.linearize(function, point)[1]
    return torch.no_grad()(forward)


def _forward_mode(function: Callable[[Any], Tensor], point: Any) -> Callable[[Any], Tensor]:
    """The same, by a forward-mode pass each time."""

    @torch.no_grad()
    def forward(tangent: Any) -> Tensor:
        with _quietly(), CheapGroupNorm():
            dual: tuple[Tensor, ...] = torch.func.jvp(function, (point,), (tangent,))
        return dual[1]

    return forward


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without torch's warnings about deprecated functions that it calls itself, and about its own graphs."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="torch")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="torch")
        warnings.filterwarnings("ignore", message="Attempted to insert a get_attr Node")
        yield


@torch.no_grad()
def largest_eigenvalue(
    product: Product, size: int, steps: int = 30, seed: int = 0, tolerance: float = 1e-2, start: Tensor | None = None
) -> float:
    """Eigenvalue of largest magnitude of a symmetric matrix (``size`` × ``size``), by at most ``steps`` products.

    Power iteration from ``start`` (size,), or a random vector, ended where the estimate changes by less than
    ``tolerance`` of itself. The estimate lies between the smallest and the largest eigenvalue, and its sign is that of
    the eigenvalue found. 0 for the zero matrix, NaN where a product is not finite.
    """
    v = torch.randn(size, generator=torch.Generator().manual_seed(seed)) if start is None else start.detach().cpu()
    v = v / v.norm().clamp(min=1e-30)
    value = 0.0
    for _ in range(steps):
        image = product(v).to(v.dtype).cpu()
        previous, value = value, float(v @ image)
        length = float(image.norm())
        if not 0 < length < float("inf"):
            return length if length == 0 else float("nan")
        if abs(value - previous) <= tolerance * abs(value):
            break
        v = image / length
    return value


@dataclass(frozen=True)
class Solution:
    """A solution of ``(H + λI) v = g``, and how good it is.

    ``v`` (P,); ``products``: curvature products the method took; ``residual``: ``‖(H + λI) v − g‖ / ‖g‖`` by one more
    product, infinite or NaN where that is; ``alignment``: ``gᵀv``, positive where v descends along g.
    """

    v: Tensor
    products: int
    residual: float
    alignment: float


def solve(
    product: Product,
    gradient: Tensor,
    damping: float,
    method: Solver = "cg",
    tolerance: float = 1e-3,
    limit: int = 100,
) -> Solution:
    """Solve ``(H + damping · I) v = gradient`` by scipy's ``cg``, or by its ``fmin_ncg`` on ``½ vᵀHv − gᵀv``.

    Ends where the relative residual is below ``tolerance`` or after ``limit`` products, with the last finite iterate.
    An indefinite or non-finite matrix may have no solution: then the residual is large, and nothing is raised. Raises
    ``ValueError`` for an unknown method and for settings out of range.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    if method not in get_args(Solver):
        raise ValueError(f"solve: method {method!r} is not one of {list(get_args(Solver))}")
    for name, value, above in (("damping", damping, -1e-300), ("tolerance", tolerance, 0.0), ("limit", limit, 0)):
        if not above < value < float("inf"):
            raise ValueError(f"solve: {name} {value} is not {'at least' if name == 'damping' else 'above'} 0")
    scale = float(gradient.double().norm())
    if scale == 0 or not np.isfinite(scale):
        residual = 0.0 if scale == 0 else float("nan")
        return Solution(torch.zeros_like(gradient), 0, residual, 0.0 if scale == 0 else float("nan"))
    system = _System(product, gradient, damping, limit)
    # Scaled to length 1, so that the absolute tolerances inside fmin_ncg mean the same for every gradient.
    target = gradient.detach().double().cpu().numpy() / scale
    # On vectors this short, threads of linear algebra mostly wait for each other and occupy cores that others need.
    with np.errstate(all="ignore"), warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        with contextlib.suppress(_Stop):
            (_conjugate_gradients if method == "cg" else _newton)(system, target, tolerance)
        found = torch.from_numpy(system.iterate * scale).to(gradient)
        products = system.products
        left = system.times(found.double().cpu().numpy() / scale) - target
        residual = float(np.linalg.norm(left))
    return Solution(found, products, residual, float(gradient.double() @ found.double()))


class _Stop(Exception):
    """Ends a method of scipy's."""


class _System:
    """``H + damping · I`` for scipy: counts products, keeps the last iterate."""

    def __init__(self, product: Product, like: Tensor, damping: float, limit: int) -> None:
        import numpy as np

        self._product, self._like, self._damping, self._limit = product, like, damping, limit
        self.products = 0
        self.iterate: NDArray[np.float64] = np.zeros(len(like))

    def times(self, v: NDArray[np.float64]) -> NDArray[np.float64]:
        """One product, in double precision except within the network."""
        import numpy as np

        found = self._product(torch.from_numpy(np.asarray(v, dtype=np.float64)).to(self._like))
        return found.detach().double().cpu().numpy() + self._damping * v

    def counted(self, v: NDArray[np.float64]) -> NDArray[np.float64]:
        """One product for the method; ends the method after too many products or a result that is not finite."""
        import numpy as np

        if self.products >= self._limit:
            raise _Stop
        self.products += 1
        found = self.times(v)
        if not np.isfinite(found).all():
            raise _Stop
        return found

    def keep(self, v: NDArray[np.float64]) -> None:
        """Keep an iterate, if it is finite."""
        import numpy as np

        if np.isfinite(v).all():
            self.iterate = np.array(v)


def _conjugate_gradients(system: _System, target: NDArray[np.float64], tolerance: float) -> None:
    from scipy.sparse.linalg import LinearOperator, cg

    size = len(target)
    matrix = LinearOperator((size, size), matvec=system.counted, dtype=target.dtype)
    cg(matrix, target, rtol=tolerance, maxiter=10 * size, callback=system.keep)


def _newton(system: _System, target: NDArray[np.float64], tolerance: float) -> None:
    import numpy as np
    from scipy.optimize import fmin_ncg

    last: list[NDArray[np.float64]] = [np.zeros_like(target), np.zeros_like(target)]

    def image(v: NDArray[np.float64]) -> NDArray[np.float64]:
        if not np.array_equal(v, last[0]):
            last[:] = [np.array(v), system.counted(v)]
        return last[1]

    def value(v: NDArray[np.float64]) -> float:
        return float(0.5 * v @ image(v) - target @ v)

    def slope(v: NDArray[np.float64]) -> NDArray[np.float64]:
        return image(v) - target

    def after(v: NDArray[np.float64]) -> None:
        system.keep(v)
        if np.linalg.norm(slope(v)) <= tolerance:
            raise _Stop

    start = np.zeros_like(target)
    fmin_ncg(
        value, start, slope, fhess_p=lambda _, direction: system.counted(direction), avextol=0.0,
        maxiter=10 * len(target), disp=0, callback=after,
    )  # fmt: skip
