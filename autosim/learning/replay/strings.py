"""Generated strings of rules that are used again, weighted by how much likelier they have become."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

# Largest and smallest importance weight of a string (truncated importance sampling; Ionides, J. Comput. Graph. Stat.
# 2008).
MOST_OFTEN, LEAST_OFTEN = 8.0, 1e-6


class StringReplay:
    """The last ``memory`` strings with the features of their frames, their penalties, and their log-probabilities when
    they were drawn.
    """

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.rules: list[tuple[int, ...]] = []
        self.features = torch.empty(0)
        self.penalties = torch.empty(0)
        self.log_probs = torch.empty(0)

    def add(self, rules: Sequence[tuple[int, ...]], features: Tensor, penalties: Tensor, log_probs: Tensor) -> None:
        """Add n strings: features (n, d), penalties (n,) and log-probabilities (n,)."""
        new = {"features": features, "penalties": penalties, "log_probs": log_probs}
        for name, values in new.items():
            held = getattr(self, name).to(values)
            joined = values.detach() if not len(self.rules) else torch.cat([held, values.detach()])
            setattr(self, name, joined[-self.memory :])
        self.rules = [*self.rules, *rules][-self.memory :]

    def weights(self, log_probs: Tensor) -> Tensor:
        """(n,) importance weights that add up to 1: the probability of each string now, of which ``log_probs`` is the
        logarithm, over that when it was drawn.
        """
        ratio = (log_probs.detach() - self.log_probs).clamp(math.log(LEAST_OFTEN), math.log(MOST_OFTEN)).exp()
        return ratio / ratio.sum()

    def state_dict(self) -> dict[str, Any]:
        """All that is held."""
        tensors = {name: getattr(self, name) for name in ("features", "penalties", "log_probs")}
        return {"rules": [list(string) for string in self.rules], **tensors}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        self.rules = [tuple(string) for string in state["rules"]]
        for name in ("features", "penalties", "log_probs"):
            setattr(self, name, state[name])
