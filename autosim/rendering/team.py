"""A team of Ray actors that may die, fail, hang or grow: work goes out to them, and to others where they are lost."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from autosim.errors import RendererError

# Seconds between two looks at who is late.
INTERVAL = 1.0
# Seconds that an actor has to release what its renderer holds.
CLOSING = 2.0


@dataclass(frozen=True)
class TeamSettings:
    """How many pieces of work an actor has ``in_flight``; how often a piece is tried (``attempts``); how long an actor
    may be silent: ``patience`` seconds and ``slack`` times what its piece should take, ``first_patience`` seconds
    before that is known; after how many images (``recycled_after``, 0 for never) or bytes of growth it is replaced.
    """

    in_flight: int = 2
    attempts: int = 3
    patience: float = 60.0
    slack: float = 30.0
    first_patience: float = 900.0
    recycled_after: int = 0
    most_growth: int = 1 << 30

    def __post_init__(self) -> None:
        for name in ("in_flight", "attempts", "patience", "slack", "first_patience", "most_growth"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: {getattr(self, name)} is not above 0")
        if self.recycled_after < 0:
            raise ValueError(f"recycled_after: {self.recycled_after} is below 0")


@dataclass
class Work:
    """Items ``start`` to ``stop`` of the whole, and how many actors have been lost over it."""

    start: int
    stop: int
    lost: int = 0


@dataclass
class Answer:
    """What an actor gives back: the result, the seconds it took, and the bytes that its process holds."""

    result: Any
    seconds: float
    memory: int


@dataclass
class Errand:
    """The whole that a team works on. ``cut`` tells how many of the items left go out next, ``send`` gives some to an
    actor and returns Ray's reference, ``take`` receives an answer, ``explain`` makes the error of what failed, and
    ``expected`` tells the seconds an item should take, once known.
    """

    count: int
    cut: Callable[[int], int]
    send: Callable[[Any, int, int], Any]
    take: Callable[[Work, Answer], None]
    explain: Callable[[BaseException, Work], RendererError]
    expected: Callable[[], float | None]


@dataclass
class Course:
    """How far an errand has come: work to be done ``again``, and what has failed, by first item. Without an errand only
    constructions are waited for.
    """

    errand: Errand | None = None
    again: deque[Work] = field(default_factory=deque)
    failures: dict[int, RendererError] = field(default_factory=dict)


@dataclass
class Member:
    """An actor: ``building`` is Ray's reference of its construction until that is over, ``queue`` the work that it has
    (the first is at hand), ``since`` when it has been at what it does, and what it has done.
    """

    actor: Any
    building: Any | None
    queue: deque[tuple[Any, Work]] = field(default_factory=deque)
    since: float = field(default_factory=time.monotonic)
    images: int = 0
    first_memory: int | None = None
    retiring: bool = False

    @property
    def awaited(self) -> Any | None:
        """What it will answer next."""
        return self.building if self.building is not None else self.queue[0][0] if self.queue else None


class Team:
    """``size`` actors; one that is lost is replaced, and ``replaced`` counts them.

    ``make`` starts an actor and gives it with Ray's reference of its construction; ``explain`` makes the error of a
    construction that failed.
    """

    def __init__(
        self,
        make: Callable[[], tuple[Any, Any]],
        size: int,
        settings: TeamSettings,
        explain: Callable[[BaseException], RendererError],
    ) -> None:
        self._make = make
        self._explain = explain
        self.settings = settings
        self.members = [Member(*make()) for _ in range(size)]
        self.replaced = 0
        # Actors that were lost during their construction, one after another.
        self._stillborn = 0

    def build(self) -> None:
        """Wait until every actor is ready."""
        while building := [member for member in self.members if member.building is not None]:
            self._wait(building, Course())

    def run(self, errand: Errand) -> None:
        """All of an errand. An item over which ``attempts`` actors were lost ends it: no later one goes out, what is
        out is waited for, and the error of the earliest item is raised, the same in whatever order they came.
        """
        import ray

        course = Course(errand)
        again, failures = course.again, course.failures
        following = 0
        try:
            while True:
                if failures:
                    earlier = [work for work in again if work.start < min(failures)]
                    again.clear()
                    again.extend(earlier)
                    following = errand.count
                while again or following < errand.count:
                    member = self._free(alone=bool(again and again[0].lost))
                    if member is None:
                        break
                    if again:
                        work = again.popleft()
                    else:
                        work = Work(following, following + errand.cut(errand.count - following))
                        following = work.stop
                    self._give(member, errand, work)
                left = bool(again or following < errand.count)
                if not left and not any(member.queue for member in self.members):
                    break
                busy = [m for m in self.members if m.queue or (left and m.building is not None)]
                self._wait(busy, course)
        except BaseException:
            for member in self.members:
                for reference, _ in member.queue:
                    ray.cancel(reference)
                member.queue.clear()
            raise
        if failures:
            raise failures[min(failures)]

    def close(self) -> None:
        """Tell the actors, whose renderers may own processes, and end them; a busy one is not waited for."""
        import ray

        members, self.members = self.members, []
        if not members or not ray.is_initialized():
            return
        try:
            closing = [member.actor.close.remote() for member in members]
            ray.wait(closing, num_returns=len(closing), timeout=CLOSING)
        finally:
            for member in members:
                ray.kill(member.actor, no_restart=True)

    def _free(self, alone: bool) -> Member | None:
        """The member with the least to do among those that may have more, or that have nothing (``alone``): what an
        actor was lost over goes out in no company, so that no other work is blamed.
        """
        most = 0 if alone else self.settings.in_flight - 1
        free = [m for m in self.members if m.building is None and len(m.queue) <= most and not m.retiring]
        return min(free, key=lambda member: len(member.queue), default=None)

    def _give(self, member: Member, errand: Errand, work: Work) -> None:
        if not member.queue:
            member.since = time.monotonic()
        member.queue.append((errand.send(member.actor, work.start, work.stop), work))

    def _wait(self, busy: list[Member], course: Course) -> None:
        """Take in the answers that are there, or the next; give up on members that are silent for too long."""
        import ray

        by_reference = {member.awaited: member for member in sorted(busy, key=lambda member: member.since)}
        references = list(by_reference)
        # Of many members several have answered at once, and to ask about each time by time would take its time.
        ready, silent = ray.wait(references, num_returns=len(references), timeout=0)
        if not ready:
            ready, silent = ray.wait(references, num_returns=1, timeout=INTERVAL)
        for reference in ready:
            self._receive(by_reference[reference], course)
        if ready:
            return
        for reference in silent:
            member = by_reference[reference]
            # This process may itself have been asleep: what is there by now is not silent.
            if time.monotonic() - member.since > (patience := self._patience(member, course)):
                if ray.wait([reference], timeout=0)[0]:
                    continue
                self._lose(member, course, TimeoutError(f"no answer for {patience:.0f} s"))

    def _patience(self, member: Member, course: Course) -> float:
        """Seconds that a member may take for what it is at."""
        seconds = course.errand.expected() if course.errand is not None else None
        if member.building is not None or seconds is None:
            return self.settings.first_patience
        work = member.queue[0][1]
        return self.settings.patience + self.settings.slack * seconds * (work.stop - work.start)

    def _receive(self, member: Member, course: Course) -> None:
        """Take in a member's answer: that it is built, what its work came to, or that it is lost."""
        import ray

        reference: Any = member.awaited
        try:
            answer: Any = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            if member.building is not None:
                raise self._explain(error) from None
            # A renderer that raised may be left in any state, and its process with it.
            self._lose(member, course, error)
        except ray.exceptions.RayError as error:
            self._lose(member, course, error)
        else:
            if member.building is not None:
                member.building, self._stillborn = None, 0
            else:
                self._finish(member, course, answer)

    def _finish(self, member: Member, course: Course, answer: Answer) -> None:
        """The work at hand is over."""
        import ray

        assert course.errand is not None
        work = member.queue[0][1]
        course.errand.take(work, answer)
        self._note(member, work, answer)
        member.queue.popleft()
        member.since = time.monotonic()
        if member.retiring and not member.queue:
            ray.wait([member.actor.close.remote()], timeout=CLOSING)
            self._replace(member)

    def _note(self, member: Member, work: Work, answer: Answer) -> None:
        settings = self.settings
        member.images += work.stop - work.start
        if member.first_memory is None:
            member.first_memory = answer.memory
        old = settings.recycled_after and member.images >= settings.recycled_after
        member.retiring = bool(old) or answer.memory - member.first_memory > settings.most_growth

    def _lose(self, member: Member, course: Course, error: BaseException) -> None:
        """Replace an actor. What it had at hand is tried again item by item, so that the one at fault shows; what was
        queued behind goes out as it was. Where actor after actor is lost before it is built, that is the error.
        """
        if member.building is not None:
            self._stillborn += 1
            if self._stillborn >= self.settings.attempts * len(self.members):
                raise self._explain(error) from None
        else:
            assert course.errand is not None
            (_, first), *behind = member.queue
            course.again.extendleft(work for _, work in reversed(behind))
            lost = first.lost + 1
            if lost >= self.settings.attempts and first.stop - first.start == 1:
                course.failures[first.start] = course.errand.explain(error, first)
            else:
                course.again.extendleft(Work(item, item + 1, lost) for item in reversed(range(first.start, first.stop)))
        self._replace(member)

    def _replace(self, member: Member) -> None:
        import ray

        ray.kill(member.actor, no_restart=True)
        self.members[self.members.index(member)] = Member(*self._make())
        self.replaced += 1
