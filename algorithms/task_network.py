"""The task network that Meta-Sim and Meta-Sim2 train as they go, on the frames of the last steps.

Meta-Sim steers by its validation score (the paper's second loss); of Meta-Sim2 the score is only reported.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autosim.rendering.drawn import DrawnFrames
from autosim.rendering.frames import Frames
from autosim.session import Session


class OnlineTaskNetwork:
    """A network that goes once through the frames of the last ``steps`` steps after each, at a constant ``rate``, and
    is scored on ``scored`` validation frames, None for all.
    """

    def __init__(self, session: Session, steps: int, rate: float, scored: int | None = None) -> None:
        self.session, self.steps, self.rate, self.scored = session, steps, rate, scored
        self.network = session.network()
        self.recent: list[DrawnFrames] = []

    def __call__(self, drawn: DrawnFrames, iteration: int) -> float | None:
        """Train, and return the validation score; None where the target has no labels."""
        session = self.session
        if not session.target.labelled:
            return None
        self.recent = [*self.recent, drawn][-self.steps :]
        schedule = replace(session.env.schedule, epochs=1, learning_rate=self.rate)
        seed = session.integer_seed("task order", iteration)
        frames = Frames.concatenate([recent.frames for recent in self.recent])
        session.task.train(self.network, frames, schedule, seed, session.device)
        against = session.validation.select(slice(self.scored))
        return session.task.evaluate(self.network, against, session.device)

    def state_dict(self) -> dict[str, Any]:
        """The network, and the scenes and seeds of the frames."""
        return {"network": self.network.state_dict(), "recent": [recent.to_state() for recent in self.recent]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave; the frames are drawn again."""
        self.network.load_state_dict(state["network"])
        self.recent = [DrawnFrames.from_state(recent, self.session.redraw) for recent in state["recent"]]
