"""Work in parallel on Ray: an ordered map over tasks.

Nothing here reserves logical CPUs of Ray by default. A render actor would hold its CPU as long as it lives: on a
machine of two cores, two actors would leave none for a training, which would wait for ever. Instead every actor and
task has ``num_cpus=0``, and the caller limits how many run at once: ``workers`` actors in a pool, ``limit`` tasks in a
map.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Generic, TypeVar

from autosim.errors import LostProcessError
from autosim.parallel.start import one_thread_each, placement, start_ray

Item = TypeVar("Item")
Result = TypeVar("Result")

# Lost processes after which a task fails; times that a task is told to end.
ATTEMPTS = 3
# Seconds that Ray may take to end a task before it is told again.
CANCELLED_WITHIN = 2.0


def parallel_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    limit: int,
    done: Callable[[int, Result], None] | None = None,
) -> list[Result]:
    """``[function(item) for item in items]`` as Ray tasks, at most ``limit`` at once; in this process if it is 0.

    Each call computes with one torch thread, in this process too, so that numbers do not depend on ``limit``.
    ``done(index, result)`` is called here as results arrive. An exception of ``function`` is raised unchanged, that of
    the earliest item where several fail. A task whose process dies (killed, or out of memory) is repeated;
    ``LostProcessError`` when three of its processes have died. Arrays that a task receives or returns may be read-only.
    """
    if limit < 0:
        raise ValueError(f"limit: {limit} is below 0")
    if limit == 0:
        results = []
        for index, item in enumerate(items):
            results.append(_with_one_thread(function, item))
            if done is not None:
                done(index, results[-1])
        return results
    return _map_on_ray(function, items, limit, done)


def _map_on_ray(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    limit: int,
    done: Callable[[int, Result], None] | None,
) -> list[Result]:
    start_ray(limit)
    import ray

    task = _task()
    sent = ray.put(function)
    results: dict[int, Result] = {}
    failures: dict[int, BaseException] = {}
    pending: dict[Any, int] = {}
    lost: dict[int, int] = {}
    waiting = deque(range(len(items)))
    try:
        while pending or (waiting and not failures):
            while waiting and len(pending) < limit and not failures:
                index = waiting.popleft()
                pending[task.remote(sent, items[index])] = index
            reference = ray.wait(list(pending), num_returns=1)[0][0]
            index = pending.pop(reference)
            try:
                results[index], core_seconds = ray.get(reference)
                _TASKS.core_seconds += core_seconds
            except ray.exceptions.RayTaskError as error:
                failures[index] = original_error(error)
            except ray.exceptions.RayError as error:
                lost[index] = lost.get(index, 0) + 1
                if lost[index] < ATTEMPTS:
                    waiting.appendleft(index)
                else:
                    failures[index] = LostProcessError(
                        f"task {index}: {ATTEMPTS} of its processes died, the last one: {type(error).__name__}"
                    )
            else:
                if done is not None:
                    done(index, results[index])
    except BaseException:
        for reference in pending:
            ray.cancel(reference, force=True)
        raise
    if failures:
        raise failures[min(failures)]
    return [results[index] for index in range(len(items))]


class Begun(Generic[Result]):
    """A task of Ray that is at work while this process goes on; what it uses is charged to nobody."""

    def __init__(self, reference: Any) -> None:
        self._reference = reference

    def result(self) -> Result | None:
        """Waits for its result, or raises its exception; None where its process died or it was cancelled."""
        import ray

        try:
            found: tuple[Result, float] = ray.get(self._reference)
        except ray.exceptions.RayTaskError as error:
            raise original_error(error) from None
        except ray.exceptions.RayError:
            return None
        return found[0]

    def cancel(self) -> None:
        """End it, where it has not ended. Ray may lose what it is told of a task that is just starting: told again."""
        import ray

        for _ in range(ATTEMPTS):
            with suppress(ray.exceptions.RayError):
                ray.cancel(self._reference, force=True)
            if ray.wait([self._reference], timeout=CANCELLED_WITHIN)[0]:
                return


def begin(function: Callable[[Item], Result], item: Item) -> Begun[Result]:
    """Begin ``function(item)`` as a Ray task, with one torch thread."""
    start_ray(1)
    return Begun(_task().remote(function, item))


def _task() -> Any:
    import ray

    return ray.remote(_timed).options(num_cpus=0, max_retries=0, **placement())


class _Tasks:
    """What the tasks of this process have used in other processes."""

    core_seconds: float = 0.0


_TASKS = _Tasks()


def core_seconds() -> float:
    """CPU seconds of this process and of its tasks of :func:`parallel_map` in other processes."""
    return time.process_time() + task_core_seconds()


def task_core_seconds() -> float:
    """CPU seconds of this process's tasks in other processes."""
    return _TASKS.core_seconds


def in_background(work: Callable[[], Result]) -> Callable[[], Result]:
    """Begin ``work`` in a thread of its own; the function that is returned waits for its result or raises its error.

    For work outside Python's lock, such as training, while this thread waits, for renders say.
    """
    thread = ThreadPoolExecutor(max_workers=1)
    future = thread.submit(work)
    thread.shutdown(wait=False)
    return future.result


def original_error(error: BaseException) -> BaseException:
    """The exception that a Ray task raised, without Ray's wrapper where Ray could send it."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else error


def _with_one_thread(function: Callable[[Item], Result], item: Item) -> Result:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return function(item)
    finally:
        torch.set_num_threads(threads)


def _timed(function: Callable[[Item], Result], item: Item) -> tuple[Result, float]:
    """The result, and the CPU seconds that it took."""
    start = time.process_time()
    if "torch" in sys.modules:
        return _with_one_thread(function, item), time.process_time() - start
    # Work that needs no PyTorch does not wait for its import; where it is imported in there, it takes one thread.
    with one_thread_each():
        return function(item), time.process_time() - start
