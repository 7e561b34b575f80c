"""The form of a task's targets: one tensor, or a list with a tensor for each sample; and functions for both."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Targets = Tensor | list[Tensor]
"""For n samples: a tensor (n, …), or a list of n tensors of any shapes, for ground truth of any number of objects."""


def select(targets: Targets, index: Tensor | slice) -> Targets:
    """The targets at ``index``, int64 (k,) or a slice, in that order."""
    if isinstance(targets, Tensor) or isinstance(index, slice):
        return targets[index]
    return [targets[i] for i in index.tolist()]


def split(targets: Targets, size: int) -> list[Targets]:
    """The targets in parts of ``size`` samples, the last one shorter where they do not divide evenly."""
    return [targets[start : start + size] for start in range(0, len(targets), size)]


def concatenate(parts: Sequence[Targets]) -> Targets:
    """Several parts as one; ``ValueError`` where there are none, or some are tensors and some lists."""
    tensors = [part for part in parts if isinstance(part, Tensor)]
    if not parts or 0 < len(tensors) < len(parts):
        raise ValueError(f"targets: {len(tensors)} of {len(parts)} parts are tensors; all or none of at least 1 needed")
    return torch.cat(tensors) if tensors else [target for part in parts for target in part]


def to_device(targets: Targets, device: torch.device | str) -> Targets:
    """The same on a device."""
    return targets.to(device) if isinstance(targets, Tensor) else [target.to(device) for target in targets]
