"""Group normalisation with a fast forward-mode derivative.

Torch has no forward-mode rule of its own for it: it composes one from many passes over the activations, which for a
small U-Net takes a third of the time of all influences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class CheapGroupNorm(TorchFunctionMode):
    """Within this context ``torch.nn.functional.group_norm`` has a forward-mode derivative of few passes.

    For forward mode only: there is no reverse-mode derivative within it.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace that one function."""
        kwargs = kwargs or {}
        return group_norm(*args, **kwargs) if func is functional.group_norm else func(*args, **kwargs)


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """As ``torch.nn.functional.group_norm``, for input (n, c, …); only differentiable in forward mode."""
    channels = input.shape[1]
    weight = input.new_ones(channels) if weight is None else weight
    bias = input.new_zeros(channels) if bias is None else bias
    if not input.is_contiguous(memory_format=torch.channels_last):
        input = input.contiguous()
    normalised: Tensor = _GroupNorm.apply(input, weight, bias, num_groups, eps)[0]
    return normalised


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        n, c = x.shape[:2]
        y, mean, reciprocal = torch.native_group_norm(x, weight, bias, n, c, x[0, 0].numel(), groups, eps)
        return y, mean, reciprocal

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, weight, _, ctx.groups, _ = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_forward(x, weight, *output[1:])

    @staticmethod
    def jvp(ctx: Any, dx: Tensor, dweight: Tensor, dbias: Tensor, *_: None) -> tuple[Tensor, None, None]:
        # With z = (x − mean) r the derivative is w r (dx − mean(dx) − z mean(z dx)) + z dw + db: a factor of dx, one of
        # x − mean and a constant, each for a sample's channel.
        x, weight, mean, reciprocal = ctx.saved_tensors
        (n, c), groups, places = x.shape[:2], ctx.groups, tuple(range(2, x.dim()))
        shape = (n, c, *[1] * len(places))

        def channels(of_groups: Tensor) -> Tensor:
            return of_groups.repeat_interleave(c // groups, dim=1)

        def group_means(values: Tensor) -> Tensor:
            return values.mean(dim=places).view(n, groups, c // groups).mean(dim=2)

        centred = x - channels(mean).view(shape)
        covariance = group_means(dx * centred)
        of_dx = channels(reciprocal) * weight
        of_centred = channels(reciprocal) * dweight - channels(covariance * reciprocal**3) * weight
        constant = dbias - channels(group_means(dx)) * of_dx
        dy = torch.addcmul(constant.view(shape), dx, of_dx.view(shape))
        return dy.addcmul_(centred, of_centred.view(shape)), None, None
