"""Group normalisation with a derivative rule of its own against torch's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autosim.learning.influence.group_norm import CheapGroupNorm


@settings(max_examples=25)
@given(
    groups=st.integers(1, 3),
    each=st.integers(1, 3),
    places=st.sampled_from([(4,), (3, 5), (2, 3, 2)]),
    affine=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_value_and_derivative_are_those_of_torch(
    groups: int, each: int, places: tuple[int, ...], affine: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)

    def like(x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=generator, dtype=torch.float64)

    layer = nn.GroupNorm(groups, groups * each, affine=affine).double()
    parameters = {name: like(value) for name, value in layer.named_parameters()}
    x = 3 + like(torch.empty(2, groups * each, *places))
    tangents = (like(x), {name: like(value) for name, value in parameters.items()})

    def function(x: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        found: Tensor = torch.func.functional_call(layer, parameters, (x,))
        return found

    expected = torch.func.jvp(function, (x, parameters), tangents)
    with CheapGroupNorm():
        found = torch.func.jvp(function, (x, parameters), tangents)
    torch.testing.assert_close(found, expected)


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    generator = torch.Generator().manual_seed(0)
    x, dx = (torch.randn(2, 4, 16, 16, generator=generator) for _ in range(2))
    layer = nn.GroupNorm(2, 4)
    with torch.no_grad():
        expected = torch.func.jvp(layer.double(), ((x + 1000).double(),), (dx.double(),))[1]
        with CheapGroupNorm():
            found = torch.func.jvp(layer.float(), (x + 1000,), (dx,))[1]
    assert float((found - expected).abs().max()) < 1e-3


def test_outside_the_context_nothing_has_changed() -> None:
    layer, x = nn.GroupNorm(2, 4), torch.randn(3, 4, 5, requires_grad=True)
    with CheapGroupNorm():
        pass
    assert layer(x).grad_fn is not None and type(layer(x).grad_fn).__name__ == "NativeGroupNormBackward0"
    layer(x).sum().backward()
    assert x.grad is not None


def test_channels_last_input() -> None:
    x = torch.randn(2, 4, 3, 5).to(memory_format=torch.channels_last)
    dx = torch.randn_like(x)
    layer = nn.GroupNorm(2, 4)
    with torch.no_grad():
        expected = torch.func.jvp(layer, (x,), (dx,))
        with CheapGroupNorm():
            found = torch.func.jvp(layer, (x,), (dx,))
    torch.testing.assert_close(found, expected)
    assert float(found[1].abs().max()) == pytest.approx(float(expected[1].abs().max()), rel=1e-4)
