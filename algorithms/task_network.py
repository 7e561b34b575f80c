"""The task network of methods that need no score of it: trained alongside, on the frames of the last steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autosim.rendering.frames import Frames
from autosim.session import Session


class OnlineTaskNetwork:
    """A network that goes once through the frames of the last ``steps`` steps after each, at a constant ``rate``, and
    is scored on ``scored`` validation frames, None for all.
    """

    def __init__(self, session: Session, steps: int, rate: float, scored: int | None = None) -> None:
        self.session, self.steps, self.rate, self.scored = session, steps, rate, scored
        self.network = session.network()
        self.recent: list[Frames] = []

    def __call__(self, frames: Frames, iteration: int) -> float | None:
        """Train, and return the validation score; None where the target has no labels."""
        session = self.session
        if not session.target.labelled:
            return None
        self.recent = [*self.recent, frames][-self.steps :]
        schedule = replace(session.env.schedule, epochs=1, learning_rate=self.rate)
        seed = session.integer_seed("task order", iteration)
        session.task.train(self.network, Frames.concatenate(self.recent), schedule, seed, session.device)
        against = session.target.validation.select(slice(self.scored))
        return session.task.evaluate(self.network, against, session.device)

    def state_dict(self) -> dict[str, Any]:
        """Network and frames."""
        return {"network": self.network.state_dict(), "recent": [frames.to_state() for frames in self.recent]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` was called."""
        self.network.load_state_dict(state["network"])
        self.recent = [Frames.from_state(frames) for frames in state["recent"]]
