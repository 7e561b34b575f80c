"""Second-order tools against explicit matrices, single samples and retraining."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autosim.learning.influence.curvature import LossSurface, Solution, Solver, largest_eigenvalue, solve
from autosim.learning.tasks.segmentation import Segmentation
from tests.learning.shapes import KINDS, shape_frames
from tests.learning.small_tasks import ArrayTask, Classification, Linear, Logistic, Wavy, convolutional, perceptron

METHODS: tuple[Solver, ...] = ("cg", "fmin_ncg")


TASKS: dict[str, Callable[[], tuple[ArrayTask, int]]] = {
    "classification": lambda: (Classification(*perceptron(3)), 3),
    "logistic": lambda: (Logistic(*perceptron(1)), 3),
    "wavy": lambda: (Wavy(*perceptron(2)), 3),
    "linear loss": lambda: (Linear(*perceptron(2)), 3),
    "linear throughout": lambda: (Linear(nn.Linear(3, 2)), 3),
    "convolutional": lambda: (Classification(*convolutional()), 16),
}


def array_surface(name: str, seed: int = 0, count: int = 7) -> LossSurface:
    """A surface of one of TASKS on random data."""
    task, width = TASKS[name]()
    generator = torch.Generator().manual_seed(seed + 1)
    inputs = torch.randn(count, width, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, 2, (count,), generator=generator)
    return LossSurface(task, task.network(seed), inputs, targets)


def shapes_surface(normalisation: str = "group", count: int = 5) -> LossSurface:
    """A small segmentation U-Net, in single precision, on drawn shapes."""
    task = Segmentation(("background", *KINDS), width=4, normalisation=normalisation)  # type: ignore[arg-type]
    inputs, targets = task.prepare(shape_frames(count, seed=0, size=16)[1])
    return LossSurface(task, task.network(0), inputs, targets)


def random_vector(size: int, seed: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def explicit(surface: LossSurface) -> tuple[Tensor, Tensor, Tensor]:
    """(gradient, Hessian, Gauss-Newton matrix), written down entry by entry by torch's own means."""
    network, task = surface.network, surface.task
    values = list(network.parameters())
    theta = torch.cat([value.detach().flatten() for value in values])

    def outputs(theta: Tensor) -> Tensor:
        parts = theta.split([value.numel() for value in values])
        named = zip(network.named_parameters(), parts, strict=True)
        parameters = {name: part.view(value.shape) for (name, value), part in named}
        found: Tensor = torch.func.functional_call(network, parameters, (surface.inputs,))
        return found

    def mean_loss(outputs: Tensor) -> Tensor:
        return task.losses(outputs, surface.targets).mean()

    def mean_loss_of_theta(theta: Tensor) -> Tensor:
        return mean_loss(outputs(theta))

    at = outputs(theta)
    jacobian = torch.func.jacrev(outputs)(theta).reshape(at.numel(), -1)
    of_outputs = torch.autograd.functional.hessian(mean_loss, at).reshape(at.numel(), at.numel())
    gradient, hessian = torch.func.grad(mean_loss_of_theta)(theta), torch.func.hessian(mean_loss_of_theta)(theta)
    return gradient, hessian, jacobian.T @ of_outputs @ jacobian


def matrix_of(product: Callable[[Tensor], Tensor], size: int) -> Tensor:
    """The matrix behind a product."""
    return torch.stack([product(row) for row in torch.eye(size, dtype=torch.float64)])


@pytest.mark.parametrize("name", TASKS)
def test_gradient_and_both_curvatures_are_those_of_explicit_matrices(name: str) -> None:
    surface = array_surface(name)
    gradient, hessian, gauss_newton = explicit(surface)
    torch.testing.assert_close(surface.gradient(), gradient)
    torch.testing.assert_close(matrix_of(surface.hessian(), surface.size), hessian, rtol=1e-9, atol=1e-12)
    for linearise in (True, False):
        product = surface.gauss_newton(linearise)
        torch.testing.assert_close(matrix_of(product, surface.size), gauss_newton, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", TASKS)
def test_influences_are_sample_gradients_along_a_direction(name: str) -> None:
    surface = array_surface(name)
    v, gradients = random_vector(surface.size), surface.sample_gradients()
    torch.testing.assert_close(gradients.mean(dim=0), surface.gradient())
    torch.testing.assert_close(surface.influences(v), gradients @ v, rtol=1e-9, atol=1e-12)
    found, losses = surface.influences_and_losses(v)
    torch.testing.assert_close(found, gradients @ v, rtol=1e-9, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(losses, surface.task.losses(surface.network(surface.inputs), surface.targets))


@pytest.mark.parametrize("normalisation", ["group", "none"])
def test_influences_on_the_segmentation_network_in_single_precision(normalisation: str) -> None:
    surface = shapes_surface(normalisation)
    v = random_vector(surface.size, dtype=torch.float32)
    v /= v.norm()
    gradients = surface.sample_gradients()
    torch.testing.assert_close(gradients.mean(dim=0), surface.gradient(), rtol=1e-4, atol=1e-6)
    expected = (gradients.double() @ v.double()).float()
    torch.testing.assert_close(surface.influences(v), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_products_on_the_segmentation_network_are_those_of_autograd() -> None:
    surface = shapes_surface()
    network, task, parameters = surface.network, surface.task, list(surface.network.parameters())
    v = random_vector(surface.size, dtype=torch.float32)
    parts = [p.view(value.shape) for p, value in zip(v.split([q.numel() for q in parameters]), parameters, strict=True)]

    def flat(found: tuple[Tensor, ...]) -> Tensor:
        return torch.cat([part.flatten() for part in found])

    loss = task.losses(network(surface.inputs), surface.targets).mean()
    slopes = torch.autograd.grad(loss, parameters, create_graph=True)
    expected = flat(torch.autograd.grad(slopes, parameters, parts))
    torch.testing.assert_close(surface.hessian()(v), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))

    outputs = network(surface.inputs)
    names = [name for name, _ in network.named_parameters()]
    moved = torch.func.jvp(
        lambda named: torch.func.functional_call(network, named, (surface.inputs,)),
        ({name: value.detach() for name, value in network.named_parameters()},),
        (dict(zip(names, parts, strict=True)),),
    )[1]
    at = outputs.detach().requires_grad_()
    (slope,) = torch.autograd.grad(task.losses(at, surface.targets).mean(), at, create_graph=True)
    (curved,) = torch.autograd.grad(slope, at, moved)
    expected = flat(torch.autograd.grad(outputs, parameters, curved))
    for linearise in (True, False):
        found = surface.gauss_newton(linearise)(v)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_gauss_newton_is_positive_semidefinite_and_both_are_symmetric(seed: int) -> None:
    surface = array_surface("classification", seed)
    v, w = random_vector(surface.size, seed), random_vector(surface.size, seed + 1)
    gauss_newton, hessian = surface.gauss_newton(), surface.hessian()
    assert float(v @ gauss_newton(v)) >= 0
    assert float(w @ gauss_newton(v)) == pytest.approx(float(v @ gauss_newton(w)), rel=1e-9, abs=1e-12)
    assert float(w @ hessian(v)) == pytest.approx(float(v @ hessian(w)), rel=1e-9, abs=1e-12)
    torch.testing.assert_close(hessian(2 * v - w), 2 * hessian(v) - hessian(w))
    torch.testing.assert_close(gauss_newton(2 * v - w), 2 * gauss_newton(v) - gauss_newton(w))


def test_the_network_stays_as_it_was_and_products_hold_the_point_they_were_made_at() -> None:
    surface = array_surface("convolutional")
    network = surface.network.train()
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    v = random_vector(surface.size)
    with torch.no_grad():
        surface.gradient(), surface.influences(v), surface.sample_gradients()
        surface.gauss_newton()(v), surface.hessian()(v)
    assert network.training
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, before[name]) and parameter.requires_grad
        assert parameter.grad is not None and torch.equal(parameter.grad, torch.ones_like(parameter))
    gradient = surface.gradient()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    assert not torch.allclose(surface.gradient(), gradient)


def test_frozen_parameters_are_constants() -> None:
    surface = array_surface("classification")
    whole, count = surface.sample_gradients(), surface.size
    first = next(iter(surface.network.parameters()))
    first.requires_grad_(False)
    frozen = LossSurface(surface.task, surface.network, surface.inputs, surface.targets)
    v = random_vector(frozen.size)
    assert frozen.size == count - first.numel()
    torch.testing.assert_close(frozen.sample_gradients(), whole[:, first.numel() :])
    torch.testing.assert_close(frozen.influences(v), whole[:, first.numel() :] @ v)
    assert frozen.gauss_newton()(v).shape == frozen.hessian()(v).shape == (frozen.size,)


def test_what_does_not_fit_is_refused() -> None:
    task = Classification(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    network, inputs, targets = (
        task.network(0),
        torch.randn(5, 3, dtype=torch.float64),
        torch.zeros(5, dtype=torch.int64),
    )
    with pytest.raises(ValueError, match="layer '1', BatchNorm1d, is in training mode; call network"):
        LossSurface(task, network, inputs, targets)
    network[1].eval()  # type: ignore[index]
    with pytest.raises(ValueError, match="layer '2', Dropout, is in training mode"):
        LossSurface(task, network, inputs, targets)
    surface = LossSurface(task, network.eval(), inputs, targets)
    torch.testing.assert_close(surface.influences(surface.gradient()), surface.sample_gradients() @ surface.gradient())
    with pytest.raises(ValueError, match="5 inputs and 4 targets"):
        LossSurface(task, network, inputs, targets[:4])
    with pytest.raises(ValueError, match="0 inputs"):
        LossSurface(task, network, inputs[:0], targets[:0])
    with pytest.raises(ValueError, match=r"vector of shape \(3,\) for 24 parameters"):
        surface.influences(torch.zeros(3))
    with pytest.raises(ValueError, match="no parameter of the network requires a gradient"):
        LossSurface(task, network.requires_grad_(False), inputs, targets)


def symmetric(eigenvalues: list[float], seed: int = 0) -> Tensor:
    """A symmetric matrix with the given eigenvalues and a random basis."""
    size = len(eigenvalues)
    basis = torch.linalg.qr(random_vector(size * size, seed).view(size, size))[0]
    return basis @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ basis.T


@pytest.mark.parametrize(("eigenvalues", "largest"), [([5, 2, 1, -1], 5.0), ([3, 2, 1, -6], -6.0), ([0, 0, 0], 0.0)])
def test_largest_eigenvalue_by_magnitude(eigenvalues: list[float], largest: float) -> None:
    matrix = symmetric(eigenvalues).float()
    found = largest_eigenvalue(matrix.mv, len(matrix), steps=200, tolerance=1e-7)
    assert found == pytest.approx(largest, rel=1e-4)
    assert found == largest_eigenvalue(matrix.mv, len(matrix), steps=200, tolerance=1e-7)


def test_largest_eigenvalue_takes_no_more_products_than_allowed_and_says_where_they_are_not_finite() -> None:
    taken = []

    def product(v: Tensor) -> Tensor:
        taken.append(v)
        return v * torch.linspace(0, 1, len(v))

    assert 0 < largest_eigenvalue(product, 50, steps=4, tolerance=0) <= 1
    assert len(taken) == 4
    assert math.isnan(largest_eigenvalue(lambda v: v * float("inf"), 3))


@settings(max_examples=25)
@given(
    eigenvalues=st.lists(st.floats(0, 100), min_size=1, max_size=12),
    damping=st.floats(0.5, 10),
    scale=st.sampled_from([1e-6, 1.0, 1e5]),
    seed=st.integers(0, 1000),
)
@pytest.mark.parametrize("method", METHODS)
def test_solutions_are_those_of_numpy(
    method: Solver, eigenvalues: list[float], damping: float, scale: float, seed: int
) -> None:
    matrix = symmetric(eigenvalues, seed)
    gradient = random_vector(len(matrix), seed + 1) * scale
    found = solve(matrix.mv, gradient, damping, method, tolerance=1e-7, limit=500)
    expected = np.linalg.solve((matrix + damping * torch.eye(len(matrix))).numpy(), gradient.numpy())
    assert np.allclose(found.v.numpy(), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    assert found.residual <= 1e-6
    assert found.alignment == pytest.approx(float(gradient @ found.v), rel=1e-9)
    assert 0 < found.products <= 500


def residual(matrix: Tensor, gradient: Tensor, damping: float, solution: Solution) -> float:
    """The relative residual of a solution, worked out again."""
    left = matrix @ solution.v + damping * solution.v - gradient
    return float(left.norm() / gradient.norm())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("limit", [3, 40])
def test_an_indefinite_matrix_is_told_by_the_residual(method: Solver, limit: int) -> None:
    matrix = symmetric(list(np.linspace(-5, 20, 30)))
    gradient = random_vector(30, 9)
    found = solve(matrix.mv, gradient, 0.1, method, limit=limit)
    assert found.products <= limit and bool(torch.isfinite(found.v).all())
    assert found.residual == pytest.approx(residual(matrix, gradient, 0.1, found), rel=1e-6)
    if limit == 3:
        assert found.residual > 0.05


@pytest.mark.parametrize("method", METHODS)
def test_an_exact_hessian_solution_has_the_residual_it_states(method: Solver) -> None:
    surface = array_surface("wavy")
    hessian = explicit(surface)[1]
    gradient = surface.gradient()
    found = solve(surface.hessian(), gradient, 0.01, method, limit=60)
    assert found.residual == pytest.approx(residual(hessian, gradient, 0.01, found), rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_products_that_are_not_finite_end_it_and_show_in_the_residual(method: Solver) -> None:
    def broken(v: Tensor) -> Tensor:
        return torch.full_like(v, float("nan"))

    found = solve(broken, torch.ones(4), 0.1, method)
    assert not math.isfinite(found.residual) and torch.equal(found.v, torch.zeros(4))
    left = [4]

    def breaks_later(v: Tensor) -> Tensor:
        left[0] -= 1
        return v * torch.arange(1.0, 31.0) if left[0] > 0 else broken(v)

    found = solve(breaks_later, torch.ones(30), 0.1, method)
    assert not math.isfinite(found.residual) and bool(torch.isfinite(found.v).all())


@pytest.mark.parametrize("method", METHODS)
def test_a_gradient_of_zero_or_not_finite(method: Solver) -> None:
    found = solve(lambda v: v, torch.zeros(3), 0.1, method)
    assert torch.equal(found.v, torch.zeros(3))
    assert (found.products, found.residual, found.alignment) == (0, 0.0, 0.0)
    found = solve(lambda v: v, torch.tensor([1.0, float("nan")]), 0.1, method)
    assert math.isnan(found.residual) and math.isnan(found.alignment)


def test_settings_out_of_range_are_refused() -> None:
    ones = torch.ones(2)
    with pytest.raises(ValueError, match=r"method 'newton' is not one of \['cg', 'fmin_ncg'\]"):
        solve(lambda v: v, ones, 0.1, "newton")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"damping -0\.1 is not at least 0"):
        solve(lambda v: v, ones, -0.1)
    with pytest.raises(ValueError, match="tolerance 0 is not above 0"):
        solve(lambda v: v, ones, 0.1, tolerance=0)
    with pytest.raises(ValueError, match="limit 0 is not above 0"):
        solve(lambda v: v, ones, 0.1, limit=0)
    assert solve(lambda v: v, ones, 0.0).v.tolist() == pytest.approx([1, 1])


def test_methods_agree_on_the_gauss_newton_system_of_the_segmentation_network() -> None:
    surface = shapes_surface()
    product, gradient = surface.gauss_newton(), surface.gradient()
    damping = 0.05 * largest_eigenvalue(product, surface.size)
    found = {method: solve(product, gradient, damping, method, tolerance=1e-3, limit=200) for method in METHODS}
    for solution in found.values():
        assert solution.residual < 2e-3
        assert solution.alignment > 0
    difference = (found["cg"].v - found["fmin_ncg"].v).norm()
    assert float(difference) < 0.05 * float(found["cg"].v.norm())


def minimised(surface: LossSurface, weights: Tensor) -> None:
    """Newton's method on the weighted sum of logistic losses, in closed form, until nothing is left of its gradient."""
    network = surface.network
    inputs = torch.cat([surface.inputs, torch.ones(len(surface.inputs), 1, dtype=torch.float64)], dim=1)
    for _ in range(50):
        theta = nn.utils.parameters_to_vector(network.parameters()).detach()
        chance = torch.sigmoid(network(surface.inputs).detach()[:, 0])
        gradient = (weights * (chance - surface.targets)) @ inputs
        curvature = (inputs * (weights * chance * (1 - chance))[:, None]).T @ inputs
        nn.utils.vector_to_parameters(theta - torch.linalg.solve(curvature, gradient), network.parameters())
        if float(gradient.norm()) < 1e-12:
            return
    raise AssertionError("not converged")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_influences_predict_what_retraining_with_a_scene_up_weighted_does(seed: int) -> None:
    """The check of AutoSimulate's Eq. 8 where its assumptions hold: a convex loss, trained to its minimum."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randn(4, generator=generator, dtype=torch.float64)

    def data(count: int) -> tuple[Tensor, Tensor]:
        inputs = torch.randn(count, 4, generator=generator, dtype=torch.float64)
        return inputs, (inputs @ truth + 2 * torch.randn(count, generator=generator) > 0).long()

    task = Logistic(nn.Linear(4, 1))
    network = task.network(0)
    nn.utils.vector_to_parameters(torch.zeros(5, dtype=torch.float64), network.parameters())
    training, validation = LossSurface(task, network, *data(60)), LossSurface(task, network, *data(200))

    def validation_loss() -> float:
        with torch.no_grad():
            return float(task.losses(network(validation.inputs), validation.targets).mean())

    even = torch.full((60,), 1 / 60, dtype=torch.float64)
    minimised(training, even)
    before = validation_loss()
    v = solve(training.hessian(), validation.gradient(), 0.0, tolerance=1e-8).v
    influences = training.influences(v).numpy()

    def actual(epsilon: float, scenes: int) -> list[float]:
        """Change of the validation loss for each of the first scenes, its weight raised by epsilon."""
        found = []
        for k in range(scenes):
            minimised(training, even + epsilon * torch.eye(60, dtype=torch.float64)[k])
            found.append(validation_loss() - before)
        return found

    assert np.corrcoef(-influences, actual(1 / 60, 60))[0, 1] >= 0.95
    assert actual(1e-6, 5) == pytest.approx(-1e-6 * influences[:5], rel=1e-3, abs=1e-11)
