"""Results kept on disk: a file for each description, found by the SHA-256 of its JSON.

The folder is ``AUTOSIM_CACHE``, else ``$XDG_CACHE_HOME/autosim``, else ``~/.cache/autosim``. The cache only ever saves
time: a damaged file is computed again, and where the folder cannot be written, everything is computed every time.

What is read was paid for once. Where a ``clock`` of CPU seconds is given, those that computing took are kept beside the
value, and :func:`saved_core_seconds` tells how many a process was spared: a method is charged for them all the same.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from autosim.files import check_file, read_json, read_tensors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# CPU seconds, or a function of them.
Clock = Callable[[], float]
# The array that names what a file of arrays was computed from.
DESCRIPTION = "description"


class _Saved:
    """What this process was spared so far."""

    core_seconds = 0.0


def saved_core_seconds() -> float:
    """CPU seconds that it took to make everything that this process has read from the cache, as far as known."""
    return _Saved.core_seconds


def charge(core_seconds: float) -> None:
    """Something was read whose making took so many CPU seconds; ``ValueError`` where that is no number from 0 on."""
    if type(core_seconds) is not float or not math.isfinite(core_seconds) or core_seconds < 0:
        raise ValueError(f"{core_seconds!r} are no CPU seconds")
    _Saved.core_seconds += core_seconds


def cache_folder() -> Path:
    """The folder that holds the cache; it need not exist."""
    if os.environ.get("AUTOSIM_CACHE"):
        return Path(os.environ["AUTOSIM_CACHE"]).expanduser()
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "autosim"
    return Path("~/.cache/autosim").expanduser()


def cache_key(description: Mapping[str, Any]) -> str:
    """SHA-256 (hexadecimal) of a JSON-able description, whatever the order of its keys.

    Raises ``TypeError`` where the description holds something that JSON does not know.
    """
    return hashlib.sha256(_canonical(description).encode()).hexdigest()


def anything(value: Any) -> bool:
    """Whatever is kept fits."""
    return True


def cached_json(
    kind: str, description: Mapping[str, Any], compute: Callable[[], Any], fits: Callable[[Any], bool] = anything
) -> Any:
    """The JSON-able value of ``compute()``, from the cache where a file for ``kind`` and ``description`` is there.

    The value comes back as JSON gives it (tuples as lists) whether it was computed or read. One that does not ``fits``,
    or for which that raises an exception, is computed again.
    """
    found = _stored_json(kind, description, fits)
    if found is not None:
        return found["value"]
    text = json.dumps({"description": dict(description), "value": compute()}, indent=1)
    _write(_path(kind, description, ".json"), lambda file: file.write(text.encode()))
    return json.loads(text)["value"]


def is_cached(kind: str, description: Mapping[str, Any], fits: Callable[[Any], bool] = anything) -> bool:
    """Whether :func:`cached_json` would read the value instead of computing it."""
    return _stored_json(kind, description, fits) is not None


def cached_tensors(
    kind: str,
    description: Mapping[str, Any],
    compute: Callable[[], dict[str, Any]],
    fits: Callable[[dict[str, Any]], bool] = anything,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Like :func:`cached_json` for a dictionary of tensors, numbers, strings and lists and dictionaries of these. With
    a ``clock``, which counts :func:`saved_core_seconds` too, what computing took is charged whenever it is read.
    """
    import torch

    path = _path(kind, description, ".pt")
    try:
        stored = read_tensors(path)
        value = stored["value"]
        if stored["description"] == _canonical(description) and isinstance(value, dict) and fits(value):
            if clock is not None:
                charge(stored["core_seconds"])
            return value
    except Exception:  # torch.load raises errors of many kinds on damaged files; all mean "compute it"
        pass
    start = clock() if clock is not None else 0.0
    value = compute()
    kept: dict[str, Any] = {"description": _canonical(description), "value": value}
    if clock is not None:
        kept["core_seconds"] = clock() - start
    _write(path, lambda file: torch.save(kept, file))
    return value


def read_arrays(kind: str, description: Mapping[str, Any]) -> dict[str, NDArray[np.generic]] | None:
    """The arrays that :func:`write_arrays` kept; None where there are none, or they are damaged."""
    import numpy as np

    path = _path(kind, description, ".npz")
    try:
        check_file(path)
        with np.load(path, allow_pickle=False) as stored:
            if str(stored[DESCRIPTION]) != _canonical(description):
                return None
            return {name: stored[name] for name in stored.files if name != DESCRIPTION}
    except Exception:  # damaged archives raise errors of many kinds
        return None


def write_arrays(kind: str, description: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Keep arrays, compressed, in the place of those of the same description; none may be called ``description``."""
    import numpy as np

    kept: dict[str, Any] = {DESCRIPTION: np.array(_canonical(description)), **arrays}
    _write(_path(kind, description, ".npz"), lambda file: np.savez_compressed(file, **kept))


def _stored_json(kind: str, description: Mapping[str, Any], fits: Callable[[Any], bool]) -> dict[str, Any] | None:
    try:
        stored = dict(read_json(_path(kind, description, ".json")))
        if _canonical(stored["description"]) == _canonical(description) and fits(stored["value"]):
            return stored
    except Exception:  # whatever a file may hold that is not ours; all mean "compute it"
        pass
    return None


def _canonical(description: Mapping[str, Any]) -> str:
    return json.dumps(description, sort_keys=True, separators=(",", ":"))


def _path(kind: str, description: Mapping[str, Any], suffix: str) -> Path:
    return cache_folder() / kind / (cache_key(description) + suffix)


def _write(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file whole or not at all; silently not where the folder cannot be written."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix=".part", delete=False) as file:
            temporary = file.name
            write(file)
        os.replace(temporary, path)
    except OSError:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
