"""Supervises Ray actors that may die, fail, hang or grow: sends them work, replaces them and repeats lost work."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from autosim.errors import RendererError
from autosim.ranges import Checked, Range
from autosim.rendering.usage import Usage

# Seconds between two checks for late actors.
INTERVAL = 1.0
# Seconds for an actor to release what its renderer holds.
CLOSING = 2.0


@dataclass(frozen=True)
class SupervisorSettings(Checked):
    """How many pieces of work an actor has ``in_flight``; how often a piece is tried (``attempts``); how long an actor
    may be silent: ``patience`` seconds and ``slack`` times what its piece should take, ``first_patience`` seconds
    before that is known; after how many images (``recycled_after``, 0 for never) or bytes of growth it is replaced.
    """

    in_flight: Annotated[int, Range(least=1)] = 2
    attempts: Annotated[int, Range(least=1)] = 3
    patience: Annotated[float, Range(above=0)] = 60.0
    slack: Annotated[float, Range(above=0)] = 30.0
    first_patience: Annotated[float, Range(above=0)] = 900.0
    recycled_after: Annotated[int, Range(least=0)] = 0
    most_growth: Annotated[int, Range(above=0)] = 1 << 30


@dataclass
class Work:
    """Items ``start`` to ``stop`` of a job, and how many actors were lost while doing them. Work that was with an actor
    when that was lost is from then on done ``alone``: a process that dies may take the answer to the work before along,
    so that only an actor that has no other work shows which one is at fault.
    """

    start: int
    stop: int
    lost: int = 0
    alone: bool = False


@dataclass
class Answer:
    """What an actor returns: the result, the seconds it took, what it used, and the bytes that its process holds."""

    result: Any
    seconds: float
    used: Usage
    memory: int


@dataclass
class Job:
    """``count`` items of work. ``cut`` says how many of the items left to send next, ``send`` sends some to an actor
    and returns Ray's reference, ``take`` receives an answer, ``explain`` makes the error of failed work, and
    ``expected`` gives the seconds an item should take, once known.
    """

    count: int
    cut: Callable[[int], int]
    send: Callable[[Any, int, int], Any]
    take: Callable[[Work, Answer], None]
    explain: Callable[[BaseException, Work], RendererError]
    expected: Callable[[], float | None]


@dataclass
class JobState:
    """State of a job: work to be done ``again``, and errors by first item. Without a job the supervisor only waits for
    actors to be built.
    """

    job: Job | None = None
    again: deque[Work] = field(default_factory=deque)
    failures: dict[int, RendererError] = field(default_factory=dict)


@dataclass
class Actor:
    """An actor: ``building`` is Ray's reference of its construction until it is built, ``queue`` the work that it has
    (it is doing the first), ``since`` when it began that; the rest is what it has done so far.
    """

    handle: Any
    building: Any | None
    queue: deque[tuple[Any, Work]] = field(default_factory=deque)
    since: float = field(default_factory=time.monotonic)
    images: int = 0
    first_memory: int | None = None
    retiring: bool = False

    @property
    def awaited(self) -> Any | None:
        """Ray's reference of its next answer."""
        return self.building if self.building is not None else self.queue[0][0] if self.queue else None


class Supervisor:
    """``size`` actors; one that is lost is replaced, and ``replaced`` counts them.

    ``make`` starts an actor and returns it with Ray's reference of its construction; ``explain`` makes the error of a
    construction that failed.
    """

    def __init__(
        self,
        make: Callable[[], tuple[Any, Any]],
        size: int,
        settings: SupervisorSettings,
        explain: Callable[[BaseException], RendererError],
    ) -> None:
        self._make = make
        self._explain = explain
        self.settings = settings
        self.actors = [Actor(*make()) for _ in range(size)]
        self.replaced = 0
        # An actor that is given no work, where there are others.
        self.avoided: Any = None
        # Actors in a row that were lost during their construction.
        self._failed_builds = 0

    def build(self) -> None:
        """Wait until every actor is ready."""
        while building := [actor for actor in self.actors if actor.building is not None]:
            self._wait(building, JobState())

    def run(self, job: Job) -> None:
        """Do a job. An item that has lost ``attempts`` actors ends it: no later item is sent, work that was sent is
        waited for, and the error of the earliest item is raised, whatever the order of the answers.
        """
        import ray

        state = JobState(job)
        again, failures = state.again, state.failures
        following = 0
        try:
            while True:
                if failures:
                    earlier = [work for work in again if work.start < min(failures)]
                    again.clear()
                    again.extend(earlier)
                    following = job.count
                while again or following < job.count:
                    actor = self._free(alone=bool(again) and again[0].alone)
                    if actor is None:
                        break
                    if again:
                        work = again.popleft()
                    else:
                        work = Work(following, following + job.cut(job.count - following))
                        following = work.stop
                    self._give(actor, job, work)
                left = bool(again or following < job.count)
                if not left and not any(actor.queue for actor in self.actors):
                    break
                busy = [m for m in self.actors if m.queue or (left and m.building is not None)]
                self._wait(busy, state)
        except BaseException:
            for actor in self.actors:
                for reference, _ in actor.queue:
                    ray.cancel(reference)
                actor.queue.clear()
            raise
        if failures:
            raise failures[min(failures)]

    def close(self) -> None:
        """Close the actors, whose renderers may own processes, and end them, busy ones after some seconds."""
        import ray

        actors, self.actors = self.actors, []
        if not actors or not ray.is_initialized():
            return
        try:
            closing = [actor.handle.close.remote() for actor in actors]
            ray.wait(closing, num_returns=len(closing), timeout=CLOSING)
        finally:
            for actor in actors:
                ray.kill(actor.handle, no_restart=True)

    def _free(self, alone: bool) -> Actor | None:
        """The actor with the least work among those that may have more, or, with ``alone``, one without any."""
        most = 0 if alone else self.settings.in_flight - 1
        free = [m for m in self.actors if m.building is None and len(m.queue) <= most and not m.retiring]
        free = [m for m in free if not any(work.alone for _, work in m.queue)]
        if len(self.actors) > 1:
            free = [m for m in free if m.handle is not self.avoided]
        return min(free, key=lambda actor: len(actor.queue), default=None)

    def _give(self, actor: Actor, job: Job, work: Work) -> None:
        if not actor.queue:
            actor.since = time.monotonic()
        actor.queue.append((job.send(actor.handle, work.start, work.stop), work))

    def _wait(self, busy: list[Actor], state: JobState) -> None:
        """Receive the answers that are there, or the next one; replace actors that are silent for too long."""
        import ray

        by_reference = {actor.awaited: actor for actor in sorted(busy, key=lambda actor: actor.since)}
        references = list(by_reference)
        # Several of many actors may have answered at once: one call for all is faster than one for each.
        ready, silent = ray.wait(references, num_returns=len(references), timeout=0)
        if not ready:
            ready, silent = ray.wait(references, num_returns=1, timeout=INTERVAL)
        for reference in ready:
            self._receive(by_reference[reference], state)
        if ready:
            return
        for reference in silent:
            actor = by_reference[reference]
            # This process may itself have been suspended: an actor that has answered by now is not silent.
            if time.monotonic() - actor.since > (patience := self._patience(actor, state)):
                if ray.wait([reference], timeout=0)[0]:
                    continue
                self._lose(actor, state, TimeoutError(f"no answer for {patience:.0f} s"))

    def _patience(self, actor: Actor, state: JobState) -> float:
        """Seconds that an actor may take for what it is doing."""
        seconds = state.job.expected() if state.job is not None else None
        if actor.building is not None or seconds is None:
            return self.settings.first_patience
        work = actor.queue[0][1]
        return self.settings.patience + self.settings.slack * seconds * (work.stop - work.start)

    def _receive(self, actor: Actor, state: JobState) -> None:
        """Receive an actor's answer: that it is built, the result of its work, or that it is lost."""
        import ray

        reference: Any = actor.awaited
        try:
            answer: Any = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            if actor.building is not None:
                raise self._explain(error) from None
            # A renderer that raised may leave itself and its process in any state.
            self._lose(actor, state, error)
        except ray.exceptions.RayError as error:
            self._lose(actor, state, error)
        else:
            if actor.building is not None:
                actor.building, self._failed_builds = None, 0
            else:
                self._finish(actor, state, answer)

    def _finish(self, actor: Actor, state: JobState, answer: Answer) -> None:
        """Take the answer to the actor's first work; replace the actor where it is due."""
        import ray

        assert state.job is not None
        work = actor.queue[0][1]
        state.job.take(work, answer)
        self._note(actor, work, answer)
        actor.queue.popleft()
        actor.since = time.monotonic()
        if actor.retiring and not actor.queue:
            ray.wait([actor.handle.close.remote()], timeout=CLOSING)
            self._replace(actor)

    def _note(self, actor: Actor, work: Work, answer: Answer) -> None:
        settings = self.settings
        actor.images += work.stop - work.start
        if actor.first_memory is None:
            actor.first_memory = answer.memory
        old = settings.recycled_after and actor.images >= settings.recycled_after
        actor.retiring = bool(old) or answer.memory - actor.first_memory > settings.most_growth

    def _lose(self, actor: Actor, state: JobState, error: BaseException) -> None:
        """Replace an actor. The work that it was doing is repeated item by item, to find the one at fault; the rest of
        its queue is sent again whole. Raises where too many actors in a row are lost before they are built.
        """
        if actor.building is not None:
            self._failed_builds += 1
            if self._failed_builds >= self.settings.attempts * len(self.actors):
                raise self._explain(error) from None
        else:
            assert state.job is not None
            (_, first), *behind = actor.queue
            state.again.extendleft(Work(work.start, work.stop, work.lost, True) for _, work in reversed(behind))
            lost = first.lost + 1
            if lost >= self.settings.attempts and first.stop - first.start == 1:
                state.failures[first.start] = state.job.explain(error, first)
            else:
                items = reversed(range(first.start, first.stop))
                state.again.extendleft(Work(item, item + 1, lost, True) for item in items)
        self._replace(actor)

    def _replace(self, actor: Actor) -> None:
        import ray

        ray.kill(actor.handle, no_restart=True)
        self.actors[self.actors.index(actor)] = Actor(*self._make())
        self.replaced += 1
