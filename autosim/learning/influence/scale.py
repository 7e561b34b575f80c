"""Signals in units of their running spread."""

from __future__ import annotations

from torch import Tensor

# Share of the old mean square that each new signal leaves.
DECAY = 0.9


class RunningScale:
    """Divides signals by the root of an exponential moving average of their mean square, the one at hand included.

    ``square`` is that average, None before the first signal. A signal that is 0 everywhere stays so.
    """

    def __init__(self) -> None:
        self.square: float | None = None

    def __call__(self, signal: Tensor) -> Tensor:
        """The signal (n,) in units of its running spread; ``ValueError`` where it is not finite."""
        found = float(signal.double().square().mean())
        if not 0 <= found < float("inf"):
            raise ValueError("the signal is not finite")
        self.square = found if self.square is None else DECAY * self.square + (1 - DECAY) * found
        return signal / self.square**0.5 if self.square else signal
