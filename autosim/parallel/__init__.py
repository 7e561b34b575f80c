"""Work in parallel, on Ray or in this process."""

from autosim.parallel.start import RaySettings, check_reachable, one_thread_each, placement, start_ray
from autosim.parallel.tasks import (
    ATTEMPTS,
    Begun,
    Result,
    begin,
    core_seconds,
    in_background,
    original_error,
    parallel_map,
    task_core_seconds,
)
from autosim.parallel.watch import await_last_words, tell_if_ray_dies

__all__ = [
    "ATTEMPTS",
    "Begun",
    "RaySettings",
    "Result",
    "await_last_words",
    "begin",
    "check_reachable",
    "core_seconds",
    "in_background",
    "one_thread_each",
    "original_error",
    "parallel_map",
    "placement",
    "start_ray",
    "task_core_seconds",
    "tell_if_ray_dies",
]
