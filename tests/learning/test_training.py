"""How networks are trained: gradients that are too long."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from autosim.learning.schedule import TrainingSchedule
from autosim.learning.training import fit


@pytest.mark.parametrize(("most", "length"), [(None, 50.0), (2.0, 2.0), (100.0, 50.0)])
def test_long_gradients_are_shortened_and_keep_their_direction(most: float | None, length: float) -> None:
    network = nn.Linear(2, 1, bias=False)
    before = network.weight.detach().clone()

    def loss_of(batch: Tensor) -> Tensor:
        assert batch.tolist() == [0]
        return network(torch.tensor([[30.0, 40.0]])).sum()

    step = torch.optim.SGD(network.parameters(), lr=0.1)
    schedule = TrainingSchedule(1, 1, 0.1)
    fit(network, 1, schedule, torch.Generator(), loss_of, optimiser=step, most=most)
    moved = (before - network.weight.detach())[0] / 0.1
    torch.testing.assert_close(moved, length * torch.tensor([0.6, 0.8]), rtol=1e-4, atol=1e-4)
