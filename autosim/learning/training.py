"""How a network is trained: batches as tensors, the optimisation, its learning rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autosim.learning.schedule import TrainingSchedule, half_cosine
from autosim.learning.stopwatch import Meter

# CPU seconds for which this process has trained and scored networks.
NETWORKS = Meter()


def to_tensor(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 (n, H, W, 3) to float32 (n, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(images)).to(device).permute(0, 3, 1, 2).float().div_(255.0)


def images_at_once(images: np.ndarray, pixels: int, most: int) -> int:
    """How many of ``images`` (n, H, W, 3) to compute with at once: 1 to ``most``, with at most ``pixels`` in all."""
    return max(1, min(most, pixels // (images.shape[1] * images.shape[2])))


def warm_cosine(step: int, steps: int) -> float:
    """Factor in [0, 1] on the learning rate of step ``step`` of ``steps``: a linear rise over a tenth, then half a
    cosine.
    """
    rise = min(1.0, (step + 1) / max(1.0, 0.1 * steps))
    return rise * half_cosine(step / steps)


def fit(
    network: nn.Module,
    count: int,
    schedule: TrainingSchedule,
    order: torch.Generator,
    loss_of: Callable[[Tensor], Tensor],
    factors: Mapping[str, float] | None = None,
    optimiser: torch.optim.Optimizer | None = None,
    most: float | None = None,
) -> None:
    """Minimise ``loss_of(batch)``, a scalar, by Adam; ``batch`` are indices below ``count``, int64, in a new random
    order in each epoch.

    The learning rate rises over the first tenth of the steps and falls to 0 on half a cosine: scores then vary less
    from seed to seed than with a rate that is high to the end. ``factors`` on it, by the name of a part of the network;
    the first that fits counts, and the rest has 1. An ``optimiser`` that is given goes on with its own state at its own
    rates, which stay what they are. Gradients longer than ``most`` are shortened to it.
    """
    decay = None
    if optimiser is None:
        optimiser = adam(network, schedule.learning_rate, factors)
        steps = schedule.epochs * -(-count // schedule.batch_size)
        decay = torch.optim.lr_scheduler.LambdaLR(optimiser, partial(warm_cosine, steps=steps))
    with NETWORKS.running():
        for _ in range(schedule.epochs):
            for batch in torch.randperm(count, generator=order).split(schedule.batch_size):
                optimiser.zero_grad(set_to_none=True)
                loss_of(batch).backward()
                if most is not None:
                    nn.utils.clip_grad_norm_(network.parameters(), most)
                optimiser.step()
                if decay is not None:
                    decay.step()


def adam(network: nn.Module, rate: float, factors: Mapping[str, float] | None = None) -> torch.optim.Adam:
    """Adam on all parameters, at ``rate`` times their ``factors`` (as in :func:`fit`)."""
    return torch.optim.Adam(_groups(network, rate, factors or {}), lr=rate)


def _groups(network: nn.Module, rate: float, factors: Mapping[str, float]) -> list[dict[str, Any]]:
    """The parameters by their learning rates."""
    found: dict[float, list[nn.Parameter]] = {}
    for name, value in network.named_parameters():
        factor = next((factor for part, factor in factors.items() if name.startswith(f"{part}.")), 1.0)
        found.setdefault(factor, []).append(value)
    return [{"params": values, "lr": rate * factor} for factor, values in found.items()]
