"""Files that are written whole or not at all, files of others that are read with suspicion, and values as JSON knows
them.
"""

from __future__ import annotations

import json
import math
import os
import stat
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from autosim.errors import UserError

SHOWN_CHARACTERS = 60
# Bytes of the largest file of settings, and nodes that one may hold, counted as often as they are referred to.
LARGEST_SETTINGS = 2**22
MOST_NODES = 100_000


def write_whole(path: Path, content: bytes, former: Path | None = None) -> None:
    """Write a file whole or not at all; the one that was there becomes ``former``, if named."""
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if former is not None:
            os.replace(path, former)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def finite(value: Any) -> Any:
    """The same with numbers that JSON does not know (NaN, infinities) as None, numpy's and tensors' as Python's own."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def fault(path: Path | str, what: str) -> UserError:
    """An error of one line: the file, and what is wrong there."""
    return UserError(" ".join(f"{path}: {what}".split()))


def shown(value: object) -> str:
    """A value found in a file, short enough for a line."""
    if isinstance(value, int) and abs(value) > 10**SHOWN_CHARACTERS:
        return "a huge number"
    if isinstance(value, (list, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def check_file(path: Path) -> None:
    """``UserError`` unless ``path`` is a regular file: a folder, a pipe or a device is not opened."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise fault(path, "is missing") from error
    except (OSError, ValueError) as error:
        raise fault(path, f"cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if not stat.S_ISREG(mode):
        raise fault(path, "is not a regular file")


def read_bytes(path: Path) -> bytes:
    """The content of a regular file; ``UserError`` where there is none or it cannot be read."""
    check_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise fault(path, f"cannot be read ({error.strerror})") from error


def read_text(path: Path) -> str:
    """The content of a file in UTF-8, with or without a byte order mark."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise fault(path, f"is not text in UTF-8 (byte {error.start})") from error


def read_json(path: Path) -> Any:
    """A JSON file; ``UserError`` where it is damaged, cut short, nested too deeply or holds NaN or Infinity."""
    text = read_text(path)

    def refuse(constant: str) -> NoReturn:
        raise fault(path, f"holds {constant}, which is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise fault(path, f"is not valid JSON ({error})") from error


def read_yaml(path: Path) -> Any:
    """What a YAML file of settings holds; ``UserError`` where it cannot be read, is larger than 4 MiB, or refers to its
    own parts so often that it would be a text of more than 100,000 nodes.
    """
    import yaml

    check_file(path)
    if (size := path.stat().st_size) > LARGEST_SETTINGS:
        raise fault(path, f"has {size:,} bytes; files of settings have at most {LARGEST_SETTINGS:,}")
    text = read_text(path)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if (count := _nodes(node, {})) > MOST_NODES:
            raise fault(path, f"stands for {count:.3g} values; files of settings have at most {MOST_NODES:,}")
        return loader.construct_document(node)
    except UserError:
        raise
    except Exception as error:  # tags that do not fit their values raise errors of many kinds
        raise fault(path, f"is not valid YAML ({error or type(error).__name__})") from error


def _nodes(node: Any, known: dict[int, float]) -> float:
    """How many nodes a YAML node stands for, itself included."""
    if id(node) not in known:
        known[id(node)] = math.inf  # what it is where the node refers to itself
        parts = node.value if isinstance(node.value, list) else []
        inner = [part for entry in parts for part in (entry if isinstance(entry, tuple) else (entry,))]
        known[id(node)] = 1 + sum(_nodes(part, known) for part in inner)
    return known[id(node)]


def read_tensors(path: Path) -> Any:
    """What a file of PyTorch holds, on the CPU; nothing in it is executed, and no warning is shown.

    ``UserError`` where it is no regular file; whatever torch raises where the file is damaged.
    """
    import torch

    check_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)
