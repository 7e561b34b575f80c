"""Work in parallel on Ray: how Ray is started, and an ordered map over tasks.

Nothing here reserves logical CPUs of Ray by default. A render actor would hold its CPU as long as it lives: on a
machine of two cores, two actors would leave none for a training, which would wait for ever. Instead every actor and
task has ``num_cpus=0``, and the caller limits how many run at once: ``workers`` actors in a pool, ``limit`` tasks in a
map.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from autosim.errors import LostProcessError, UserError
from autosim.ranges import Checked, Range

Item = TypeVar("Item")
Result = TypeVar("Result")

# Seconds that a cluster's head may take to answer.
REACHED_WITHIN = 10.0
# Lost processes after which a task fails.
ATTEMPTS = 3
# Where this is 0, Ray uses 127.0.0.1 as this machine's address, and all of its ports listen on loopback alone.
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class RaySettings(Checked):
    """Where Ray runs, what it reserves for a render actor, and when an actor is replaced."""

    address: str = ""
    """Cluster to join: HOST:6379, or auto for the one that this machine belongs to; empty starts Ray here."""
    cpus: Annotated[float, Range(least=0)] = 0.0
    """CPUs that a render actor reserves; with 0, --workers alone says how many actors there are."""
    gpus: Annotated[float, Range(least=0)] = 0.0
    """GPUs that a render actor reserves, or a part of one, for renderers that use them."""

    patience: Annotated[float, Range(above=0)] = 60.0
    """Seconds of silence, plus thirty times what its work should take, after which a render actor is replaced."""
    recycle_after: Annotated[int, Range(least=0)] = 0
    """Images after which a render actor is replaced by a fresh one; 0 for never."""
    growth: Annotated[int, Range(least=1)] = 1024
    """Mebibytes by which a render actor may grow before it is replaced."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("cpus", "gpus"):
            value = getattr(self, name)
            if value > 1 and value != int(value):
                raise ValueError(f"{name}: {value} is neither in [0, 1] nor a whole number")


def start_ray(workers: int, address: str = "", packages: Sequence[str] = ()) -> None:
    """Start Ray on this machine for ``workers`` processes (at least 1), or join the cluster at ``address`` (by default
    ``RAY_ADDRESS``), to whose nodes the Python ``packages`` are sent. ``UserError`` where it cannot be joined.

    Does nothing where Ray runs already. Its processes use one thread each for numerical libraries, and see every GPU. A
    Ray that is started here listens on loopback alone; its session folder is removed when this process ends.
    """
    if workers < 1:
        raise ValueError(f"workers: {workers} is not at least 1")
    # Ray hides GPUs from tasks that reserve none; tasks here reserve nothing, and the caller limits their number.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = address or os.environ.get("RAY_ADDRESS", "")
    # For this Ray alone: a process that is started from here may join a cluster, which loopback does not reach.
    loopback = {} if address else {LOOPBACK: os.environ.get(LOOPBACK, "0")}
    with _environment(loopback):  # read when Ray is imported
        import ray

    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address:
        check_reachable(address)
        sent = {"py_modules": [_folder(package) for package in packages], "env_vars": dict.fromkeys(_ONE_THREAD, "1")}
        try:
            ray.init(address=address, runtime_env=sent, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(f"ray.address: {address!r} cannot be joined: {' '.join(str(error).split())}") from error
        return
    # Workers inherit the environment of the process that starts Ray; a runtime_env costs seconds per actor instead.
    with one_thread_each(), _environment(loopback):
        context: Any = ray.init(address="local", num_cpus=workers, include_dashboard=False, **quiet)
    atexit.register(remove_session, Path(context.address_info["session_dir"]), os.getpid())


def remove_session(folder: Path, process: int) -> None:
    """End Ray and remove the folder of its session (logs, sockets), in the process that started it alone."""
    import ray

    if os.getpid() != process:
        return
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
    latest = folder.parent / "session_latest"
    if latest.is_symlink() and not latest.exists():
        latest.unlink(missing_ok=True)


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

    task: Any = ray.remote(_timed).options(num_cpus=0, max_retries=0, **placement())
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


class _Tasks:
    """What the tasks of this process have used in other processes."""

    core_seconds: float = 0.0


_TASKS = _Tasks()


def core_seconds() -> float:
    """CPU seconds of this process and of its tasks of :func:`parallel_map` in other processes."""
    return time.process_time() + _TASKS.core_seconds


def placement() -> dict[str, str]:
    """Options that spread actors and tasks over all nodes; none within a placement group, so that they stay in it.

    Ray places them in the group only where they have no strategy of their own.
    """
    from ray.util import get_current_placement_group

    return {} if get_current_placement_group() else {"scheduling_strategy": "SPREAD"}


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


def check_reachable(address: str) -> None:
    """``UserError`` unless something listens at ``HOST:PORT``; Ray itself would try for minutes. Ray checks other forms
    of address itself.
    """
    host, colon, port = address.rpartition(":")
    if not colon or "/" in address or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=REACHED_WITHIN).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise UserError(f"ray.address: {address!r} cannot be joined: {' '.join(str(error).split())}") from error


def _folder(package: str) -> str:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"{package!r} is no Python package, and only packages can be sent to a cluster's nodes")
    return str(next(iter(spec.submodule_search_locations)))


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
    return _with_one_thread(function, item), time.process_time() - start


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes started inside get one thread each for numerical libraries."""
    with _environment(dict.fromkeys(_ONE_THREAD, "1")):
        yield


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
