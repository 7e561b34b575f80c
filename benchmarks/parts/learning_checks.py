"""Checks of second-order tools: what they cost, and whether influences tell the truth; ``checks.py`` calls them.

All of it computes with one thread, on drawn frames of discs, squares and diamonds: nothing is rendered.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from autosim.learning.influence.curvature import LossSurface, Product, Solver, largest_eigenvalue, solve
from autosim.learning.schedule import TrainingSchedule
from autosim.learning.tasks.task import Scorer, Task
from autosim.rendering.frames import Frames
from envs.clevr.env import Clevr, ClevrConfig

REPEATS = 11
RELATIVE_DAMPING = 1e-2
LIMIT = 60

Row = dict[str, Any]


def drawn_frames(count: int, seed: int, light: tuple[float, float], size: int = 64) -> Frames:
    """Three objects of the three classes an image, of random brightness in the range ``light``, with masks."""
    rng = np.random.default_rng(seed)
    down, across = np.indices((size, size)) / size
    images = 0.2 + rng.normal(0, 0.03, (count, size, size, 3))
    masks = np.zeros((count, size, size), dtype=np.uint8)
    for image, mask in zip(images, masks, strict=True):
        bright = rng.uniform(*light)
        for _ in range(3):
            u, v = np.abs(across - rng.uniform(0.15, 0.85)), np.abs(down - rng.uniform(0.15, 0.85))
            kind = int(rng.integers(3))
            inside = (u**2 + v**2 < 0.13**2, np.maximum(u, v) < 0.12, u + v < 0.16)[kind]
            image[inside] += bright * rng.uniform(0.2, 1.0, 3)
            mask[inside] = kind + 1
    return Frames(np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8), {"mask": masks})


def surface(task: Task, network: nn.Module, frames: Frames) -> LossSurface:
    """The network's loss on frames."""
    return LossSurface(task, network, *task.prepare(frames))


def check_curvature(command: str) -> list[Row]:
    """What influences and products cost; how well the variants of v are solved for on a briefly trained network."""
    torch.set_num_threads(1)
    task = Clevr(ClevrConfig()).task()
    frames, validation = drawn_frames(50, 0, (0.1, 1.0)), drawn_frames(30, 1, (0.6, 0.8))
    network = task.network(0)
    task.train(network, frames, TrainingSchedule(epochs=10), seed=0)
    training = surface(task, network, frames)
    rows = costs(training, command)
    return rows + variants(training, surface(task, network, validation).gradient(), command)


def costs(training: LossSurface, command: str) -> list[Row]:
    """Medians, in multiples of one gradient, of processor time: another process does not count."""
    v = torch.randn(training.size, generator=torch.Generator().manual_seed(0))
    first = seconds(training.gauss_newton)
    made = {
        "gauss_newton": training.gauss_newton(),
        "forward_mode": training.gauss_newton(linearise=False),
        "hessian": training.hessian(),
    }
    timed: dict[str, Callable[[], Any]] = {
        "gradient": training.gradient,
        "influences": lambda: training.influences(v),
        "gauss_newton": lambda: made["gauss_newton"](v),
        "forward_mode": lambda: made["forward_mode"](v),
        "hessian": lambda: made["hessian"](v),
        "linearising": training.gauss_newton,
    }
    times: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(REPEATS):
        for name, function in timed.items():
            times[name].append(seconds(function))
    unit = float(np.median(times["gradient"]))
    ratio = {name: float(np.median(found)) / unit for name, found in times.items()}
    where = f"CLEVR's U-Net, {len(training.inputs)} frames of 64×64"
    extra = f"; a gradient takes {1000 * unit:.0f} ms"
    setup = f"; linearising costs {ratio['linearising']:.1f} once ({first / unit:.0f} the first time in a process)"
    return [
        cost_row(f"influences of all scenes, {where}", ratio["influences"], 1.2, extra, command),
        cost_row(f"a Gauss-Newton product, {where}", ratio["gauss_newton"], 1.5, setup, command),
        cost_row(f"the same without linearising, {where}", ratio["forward_mode"], None, "", command),
        cost_row(f"a product of the exact Hessian, {where}", ratio["hessian"], None, "", command),
    ]


def seconds(function: Callable[[], Any]) -> float:
    """Processor time of one call."""
    started = time.process_time()
    function()
    return time.process_time() - started


def cost_row(name: str, ratio: float, most: float | None, more: str, command: str) -> Row:
    """One line of costs."""
    return {
        "name": name,
        "criterion": "for comparison" if most is None else f"≤ {most:g} gradients",
        "figure": f"{ratio:.2f} gradients{more}",
        "value": ratio,
        "holds": None if most is None else ratio <= most,
        "command": command,
    }


def variants(training: LossSurface, gradient: Tensor, command: str) -> list[Row]:
    """Residual, products and influences of each variant of v; damping relative to Gauss-Newton's largest eigenvalue."""
    gauss_newton, hessian = training.gauss_newton(), training.hessian()
    damping = RELATIVE_DAMPING * largest_eigenvalue(gauss_newton, training.size)
    solved: list[tuple[str, Product, Solver]] = [
        ("Gauss-Newton, cg (the default)", gauss_newton, "cg"),
        ("Gauss-Newton, fmin_ncg", gauss_newton, "fmin_ncg"),
        ("exact Hessian, cg", hessian, "cg"),
        ("exact Hessian, fmin_ncg", hessian, "fmin_ncg"),
    ]
    rows, reference = [], np.zeros(0)

    def row(name: str, figures: str, influences: Tensor, criterion: str = "for comparison") -> Row:
        found = np.asarray(influences.double())
        agrees = float(np.corrcoef(found, reference)[0, 1]) if len(reference) else 1.0
        figure = f"{figures}; influences correlate {agrees:.2f} with the default's"
        return {"name": f"v by {name}", "criterion": criterion, "figure": figure, "holds": None, "command": command}

    for name, product, method in solved:
        started = time.process_time()
        found = solve(product, gradient, damping, method, limit=LIMIT)
        took = time.process_time() - started
        figures = f"{found.products} products, residual {found.residual:.2g}, gᵀv {found.alignment:.2g}, {took:.1f} s"
        influences = training.influences(found.v)
        entry = row(name, figures, influences)
        if not len(reference):
            reference = np.asarray(influences.double())
            entry |= {"figure": figures, "criterion": "residual ≤ .01 within 50 products", "value": found.residual}
            entry["holds"] = found.residual <= 0.01 and found.products <= 50
        rows.append(entry)
    approximate = gauss_newton(gradient)
    rows.append(row("approximate quadratic, H g", "1 product", training.influences(approximate)))
    rows.append(row("linear, g", "no product", training.influences(gradient)))
    return rows


def check_influence(command: str) -> list[Row]:
    """Predicted and actual change of the validation loss with one scene's weight raised."""
    torch.set_num_threads(1)
    return [logistic_row(command), *unet_rows(command)]


class Logistic(Task):
    """Logistic regression on plain numbers."""

    score_name = "accuracy"

    def network(self, seed: int) -> nn.Module:
        """Starts at zero, in double precision."""
        network = nn.Linear(5, 1).double()
        nn.utils.vector_to_parameters(torch.zeros(6, dtype=torch.float64), network.parameters())
        return network

    def prepare(self, frames: Frames, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Not for frames."""
        raise NotImplementedError

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(n,) nats."""
        return functional.binary_cross_entropy_with_logits(outputs[:, 0], targets, reduction="none")

    def scorer(self) -> Scorer:
        """Not scored."""
        raise NotImplementedError


def minimise(training: LossSurface, weights: Tensor) -> None:
    """Put the parameters where the weighted sum of logistic losses is least, by Newton's method."""
    design = torch.cat([training.inputs, torch.ones(len(weights), 1, dtype=torch.float64)], dim=1)
    parameters = list(training.network.parameters())
    for _ in range(30):
        theta = nn.utils.parameters_to_vector(parameters).detach()
        chance = torch.sigmoid(design @ theta)
        slope = design.T @ (weights * (chance - training.targets))
        curvature = (design * (weights * chance * (1 - chance))[:, None]).T @ design
        nn.utils.vector_to_parameters(theta - torch.linalg.solve(curvature, slope), parameters)


def mean_loss(at: LossSurface) -> float:
    """The loss where the network is now."""
    with torch.no_grad():
        return float(at.task.losses(at.network(at.inputs), at.targets).mean())


def logistic_row(command: str, scenes: int = 60, seeds: int = 10) -> Row:
    """Retrained to convergence with each scene counted twice, for several random problems."""
    found = []
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        truth = torch.randn(5, generator=generator, dtype=torch.float64)

        def data(count: int, generator: torch.Generator, truth: Tensor) -> tuple[Tensor, Tensor]:
            inputs = torch.randn(count, 5, generator=generator, dtype=torch.float64)
            noise = 2 * torch.randn(count, generator=generator, dtype=torch.float64)
            return inputs, (inputs @ truth + noise > 0).double()

        task = Logistic()
        network = task.network(0)
        training = LossSurface(task, network, *data(scenes, generator, truth))
        validation = LossSurface(task, network, *data(200, generator, truth))
        even = torch.full((scenes,), 1 / scenes, dtype=torch.float64)
        minimise(training, even)
        before = mean_loss(validation)
        v = solve(training.hessian(), validation.gradient(), 0.0, tolerance=1e-8).v
        predicted = -training.influences(v) / scenes
        actual = []
        for k in range(scenes):
            minimise(training, even + torch.eye(scenes, dtype=torch.float64)[k] / scenes)
            actual.append(mean_loss(validation) - before)
        found.append(float(np.corrcoef(np.asarray(predicted), actual)[0, 1]))
    return {
        "name": f"predicted and actual change of validation loss, each of {scenes} scenes counted twice and logistic "
        "regression retrained to convergence",
        "criterion": f"correlation ≥ .95, median of {seeds} problems",
        "figure": f"{np.median(found):.3f} ({min(found):.3f} to {max(found):.3f})",
        "value": float(np.median(found)),
        "holds": bool(np.median(found) >= 0.95),
        "command": command,
    }


@dataclass(frozen=True)
class FineTuning:
    """How a trained network is trained further: rate and passes; batches of 8 with Adam, or all scenes at once."""

    name: str
    learning_rate: float
    epochs: int
    adam: bool


TUNINGS = (
    FineTuning("gradient descent, 40 steps on all of them at .05", 0.05, 40, adam=False),
    FineTuning("Adam, 3 epochs in batches at .001", 1e-3, 3, adam=True),
    FineTuning("Adam, 3 epochs in batches at .005", 5e-3, 3, adam=True),
)


def fine_tune(training: LossSurface, weights: Tensor, how: FineTuning) -> None:
    """Train further, each scene's loss times its weight; the order of scenes is the same each time."""
    parameters = list(training.network.parameters())
    count = len(weights)
    optimiser = (torch.optim.Adam if how.adam else torch.optim.SGD)(parameters, lr=how.learning_rate)
    order = torch.Generator().manual_seed(0)
    for _ in range(how.epochs):
        for batch in torch.randperm(count, generator=order).split(8 if how.adam else count):
            optimiser.zero_grad()
            losses = training.task.losses(training.network(training.inputs[batch]), training.targets[batch])
            (losses * weights[batch]).mean().backward()
            optimiser.step()


def unet_rows(command: str, scenes: int = 32) -> list[Row]:
    """Where the theory's assumptions fail: a U-Net, trained a little, that is trained a little further."""
    task = Clevr(ClevrConfig()).task()
    frames, frames_apart = drawn_frames(scenes, 0, (0.1, 1.0), 32), drawn_frames(30, 1, (0.6, 0.8), 32)
    network = task.network(0)
    task.train(network, frames, TrainingSchedule(epochs=10), seed=0)
    training, validation = surface(task, network, frames), surface(task, network, frames_apart)
    start = copy.deepcopy(network.state_dict())
    gradient, product = validation.gradient(), training.gauss_newton()
    found = solve(product, gradient, RELATIVE_DAMPING * largest_eigenvalue(product, training.size))
    predicted = {"the default v": -training.influences(found.v), "v = g": -training.influences(gradient)}
    rows = []
    for how in TUNINGS:
        changes: list[float] = []
        for k in range(-1, scenes):
            weights = torch.ones(scenes)
            if k >= 0:
                weights[k] += 1.0
            network.load_state_dict(start)
            fine_tune(training, weights, how)
            changes.append(mean_loss(validation))
        correlations = {
            name: float(np.corrcoef(np.asarray(values), changes[1:])[0, 1]) for name, values in predicted.items()
        }
        rows.append(
            {
                "name": f"predicted and actual change of validation loss, each of {scenes} scenes counted twice and a "
                f"U-Net fine-tuned by {how.name}",
                "criterion": "for comparison",
                "figure": "correlation "
                + ", ".join(f"{value:.2f} with {name}" for name, value in correlations.items()),
                "value": correlations["the default v"],
                "holds": None,
                "command": command,
            }
        )
    return rows
