"""How Ray is started here or joined elsewhere, and how what was started is removed."""

from __future__ import annotations

import atexit
import importlib.util
import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from autosim.errors import UserError, shortened
from autosim.parallel.watch import (
    LOOK,
    LOOK_AT_CLUSTER,
    dead_head,
    dead_process,
    remove_folder,
    stop_watching,
    vital_processes,
    watch,
)
from autosim.ranges import Checked, Range

# Seconds that a cluster's head may take to answer.
REACHED_WITHIN = 10.0
# Where this is 0, Ray uses 127.0.0.1 as this machine's address, and all of its ports listen on loopback alone.
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"

# Parts of Ray that a cluster or a dashboard needs: three processes of Python, half of the processor time of a start.
_FOR_CLUSTERS = ("start_monitor", "start_log_monitor", "start_api_server")
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
    with _own_signals():
        _start_ray(workers, address, packages, loopback)


def _start_ray(workers: int, address: str, packages: Sequence[str], loopback: dict[str, str]) -> None:
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address:
        check_reachable(address)
        sent = {"py_modules": [_folder(package) for package in packages], "env_vars": dict.fromkeys(_ONE_THREAD, "1")}
        try:
            joined: Any = ray.init(address=address, runtime_env=sent, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(f"ray.address: {address!r} cannot be joined: {' '.join(str(error).split())}") from error
        watch(partial(dead_head, str(joined.address_info["gcs_address"])), LOOK_AT_CLUSTER)
        return
    # Workers inherit the environment of the process that starts Ray; a runtime_env costs seconds per actor instead.
    with one_thread_each(), _environment(loopback), _for_this_machine():
        try:
            context: Any = ray.init(address="local", num_cpus=workers, include_dashboard=False, **quiet)
        except Exception as error:  # of whatever kind; a full or read-only /dev/shm is a common cause
            reason = shortened(f"{type(error).__name__}: {error}", 120)
            raise UserError(f"Ray cannot be started here ({reason}); --workers 0 works without it") from error
    # Ray prints pages of its own when one of its processes dies, whatever level of logging it is given.
    ray._private.worker.print_to_stdstream = _nothing
    watch(dead_process, LOOK, vital_processes())
    atexit.register(remove_session, Path(context.address_info["session_dir"]), os.getpid())


def _nothing(*arguments: Any, **named: Any) -> None:
    """In the place of what prints, or of what starts a process."""


@contextmanager
def _for_this_machine() -> Iterator[None]:
    """Ray starts without its autoscaler, dashboard and reader of logs; parts that a Ray does not know are left out."""
    from ray._private.node import Node

    before = {name: getattr(Node, name) for name in _FOR_CLUSTERS if hasattr(Node, name)}
    for name in before:
        setattr(Node, name, _nothing)
    try:
        yield
    finally:
        for name, start in before.items():
            setattr(Node, name, start)


def remove_session(folder: Path, process: int) -> None:
    """End Ray and remove the folder of its session (logs, sockets), in the process that started it alone."""
    import ray

    if os.getpid() != process:
        return
    stop_watching()
    ray.shutdown()
    remove_folder(folder)


def placement() -> dict[str, str]:
    """Options that spread actors and tasks over all nodes; none within a placement group, so that they stay in it.

    Ray places them in the group only where they have no strategy of their own.
    """
    from ray.util import get_current_placement_group

    return {} if get_current_placement_group() else {"scheduling_strategy": "SPREAD"}


@contextmanager
def _own_signals() -> Iterator[None]:
    """Signals are handled after this as they were before: Ray sets handlers of its own, in Python and beneath it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            # Where there was none, Ray's own in Python ends the process in order; what is beneath it does not.
            kept = signal.getsignal(number) if handler in (None, signal.SIG_DFL) else handler
            if kept is not None:
                signal.signal(number, kept)


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
