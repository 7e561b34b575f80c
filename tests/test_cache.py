"""The cache: found again, computed again where damaged, done without where the folder cannot be written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autosim.cache import (
    cache_folder,
    cache_key,
    cached_json,
    cached_tensors,
    read_arrays,
    saved_core_seconds,
    write_arrays,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("AUTOSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Counter:
    """Returns ``value`` and counts how often it is asked."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.calls = 0

    def __call__(self) -> Any:
        self.calls += 1
        return self.value


def test_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTOSIM_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path.home() / ".cache" / "autosim"
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/autosim")
    monkeypatch.setenv("AUTOSIM_CACHE", "/elsewhere")
    assert cache_folder() == Path("/elsewhere")


def test_key_does_not_depend_on_the_order_of_keys_and_tells_values_apart() -> None:
    assert cache_key({"a": 1, "b": [1, 2]}) == cache_key({"b": [1, 2], "a": 1})
    assert cache_key({"a": 1}) != cache_key({"a": 2})
    with pytest.raises(TypeError):
        cache_key({"a": object()})


def test_json_is_computed_once_for_each_description(folder: Path) -> None:
    compute = Counter({"score": 0.25, "pair": (1, 2)})
    first = cached_json("scores", {"seed": 0}, compute)
    assert first == {"score": 0.25, "pair": [1, 2]}
    assert cached_json("scores", {"seed": 0}, compute) == first
    assert compute.calls == 1
    cached_json("scores", {"seed": 1}, compute)
    cached_json("others", {"seed": 0}, compute)
    assert compute.calls == 3
    assert not list(folder.rglob("*.part"))


def test_tensors_come_back_bit_for_bit(folder: Path) -> None:
    compute = Counter({"weights": {"a": torch.rand(3)}, "size": [1, 2], "none": None})
    cached_tensors("networks", {"seed": 0}, compute)
    again = cached_tensors("networks", {"seed": 0}, compute)
    assert compute.calls == 1
    assert torch.equal(again["weights"]["a"], compute.value["weights"]["a"])
    assert again["size"] == [1, 2]


@pytest.mark.parametrize("damage", [b"", b"{", b"PK\x03\x04 rubbish", b"[1, 2]", b"null"])
@pytest.mark.parametrize("function", [cached_json, cached_tensors])
def test_damaged_files_are_computed_again(folder: Path, function: Callable[..., Any], damage: bytes) -> None:
    compute = Counter({"a": 1})
    function("kind", {"seed": 0}, compute)
    (path,) = [path for path in folder.rglob("*") if path.is_file()]
    path.write_bytes(damage)
    assert function("kind", {"seed": 0}, compute) == {"a": 1}
    assert compute.calls == 2
    assert function("kind", {"seed": 0}, compute) == {"a": 1}
    assert compute.calls == 2


def test_a_file_of_another_description_is_not_believed(folder: Path) -> None:
    compute = Counter(1)
    cached_json("kind", {"seed": 0}, compute)
    (path,) = folder.rglob("*.json")
    stored = json.loads(path.read_text())
    stored["description"] = {"seed": 1}
    path.write_text(json.dumps(stored))
    cached_json("kind", {"seed": 0}, compute)
    assert compute.calls == 2


def test_pickled_code_is_not_run(folder: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (folder / "ran",))

    cached_tensors("kind", {}, Counter({"a": 1}))
    (path,) = folder.rglob("*.pt")
    torch.save({"description": "{}", "value": Evil()}, path)
    assert cached_tensors("kind", {}, Counter({"a": 2})) == {"a": 2}
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("function", [cached_json, cached_tensors])
def test_goes_on_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: Callable[..., Any]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("AUTOSIM_CACHE", str(blocked))
    compute = Counter({"a": 1})
    assert function("kind", {}, compute) == {"a": 1}
    assert function("kind", {}, compute) == {"a": 1}
    assert compute.calls == 2


def test_an_error_of_the_computation_leaves_no_file(folder: Path) -> None:
    def fail() -> Any:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        cached_json("kind", {}, fail)
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_arrays_come_back_with_their_types_and_make_way_for_later_ones(folder: Path) -> None:
    arrays: dict[str, Any] = {
        "images": np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3),
        "annotation depth": np.ones((2, 3)),
    }
    assert read_arrays("frames", {"a": 1}) is None
    write_arrays("frames", {"a": 1}, arrays)
    found = read_arrays("frames", {"a": 1})
    assert found is not None and list(found) == list(arrays)
    for name, values in arrays.items():
        assert found[name].dtype == values.dtype and np.array_equal(found[name], values)
    assert read_arrays("frames", {"a": 2}) is None
    write_arrays("frames", {"a": 1}, {"images": np.zeros(5)})
    later = read_arrays("frames", {"a": 1})
    assert later is not None and list(later) == ["images"] and len(later["images"]) == 5


@pytest.mark.parametrize("kept", [0, 7, 200, -30])
def test_arrays_that_are_damaged_are_none(folder: Path, kept: int) -> None:
    write_arrays("frames", {"a": 1}, {"images": np.arange(400)})
    (path,) = (path for path in folder.rglob("*.npz"))
    path.write_bytes(path.read_bytes()[:kept])
    assert read_arrays("frames", {"a": 1}) is None


def test_arrays_that_run_code_are_not_opened(folder: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return (Path.touch, (folder / "harm",))

    write_arrays("frames", {"a": 1}, {"images": np.array([Harm()], dtype=object)})
    assert read_arrays("frames", {"a": 1}) is None and not (folder / "harm").exists()


def test_what_is_read_is_charged_with_what_making_it_took(folder: Path) -> None:
    ticks = iter([10.0, 13.5])

    def compute() -> dict[str, Any]:
        return {"a": torch.ones(1)}

    before = saved_core_seconds()
    cached_tensors("kind", {"a": 1}, compute, clock=lambda: next(ticks))
    assert saved_core_seconds() == before
    for reads in (1, 2):
        cached_tensors("kind", {"a": 1}, compute, clock=lambda: 0.0)
        assert saved_core_seconds() == pytest.approx(before + 3.5 * reads)


@pytest.mark.parametrize("seconds", [None, -1.0, float("nan"), "3"])
def test_a_file_that_does_not_say_what_it_took_is_made_again(folder: Path, seconds: Any) -> None:
    cached_tensors("kind", {"a": 1}, lambda: {"a": torch.ones(1)}, clock=lambda: 1.0)
    (path,) = (folder / "kind").iterdir()
    stored = torch.load(path)
    torch.save({**stored, "core_seconds": seconds}, path)
    before = saved_core_seconds()
    assert cached_tensors("kind", {"a": 1}, lambda: {"a": torch.zeros(1)}, clock=lambda: 1.0)["a"].item() == 0
    assert saved_core_seconds() == before
