"""Files of others: regular ones alone, YAML that stands for no more than it may, tensors without a warning."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autosim.errors import LONGEST, UserError
from autosim.files import LARGEST_SETTINGS, read_bytes, read_json, read_tensors, read_text, read_yaml
from autosim.formats.pictures import read_picture

READERS: list[Callable[[Path], Any]] = [read_bytes, read_text, read_json, read_yaml, read_tensors, read_picture]
SHARED = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "nothing", "nul", "long"])
@pytest.mark.timeout(20)
def test_what_is_no_regular_file_is_not_opened(tmp_path: Path, read: Callable[[Path], Any], kind: str) -> None:
    path = tmp_path / {"nul": "a\0b", "long": "n" * 300}.get(kind, kind)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    with pytest.raises(UserError) as error:
        read(path)
    assert len(str(error.value)) <= LONGEST and str(error.value).isprintable()


@given(st.text(max_size=200) | st.binary(max_size=200))
@SHARED
def test_any_text_is_yaml_or_refused(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    try:
        read_yaml(path)
    except UserError as error:
        assert str(error).startswith(str(path)[:40])


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=9), st.lists, max_leaves=9))
@SHARED
def test_yaml_reads_as_ever(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(value, allow_unicode=True), encoding="utf-8")
    assert read_yaml(path) == value


@pytest.mark.parametrize("form", ["[{}]", "{{<<: [{}]}}"])
@pytest.mark.timeout(20)
def test_references_are_counted_before_they_are_followed(tmp_path: Path, form: str) -> None:
    lines = ["a: &a {x: 1}"]
    lines += [f"{b}: &{b} {form.format(','.join([f'*{a}'] * 9))}" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    path = tmp_path / "a.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"stands for .* values"):
        read_yaml(path)
    path.write_text("a: &a [*a]")
    with pytest.raises(UserError, match="stands for inf values"):
        read_yaml(path)
    with path.open("wb") as file:
        file.truncate(LARGEST_SETTINGS + 1)
    with pytest.raises(UserError, match="files of settings have at most"):
        read_yaml(path)


def test_warnings_of_libraries_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    Image.new("L", (40, 40)).save(tmp_path / "a.png")
    torch.save({"a": torch.zeros(2)}, tmp_path / "a.pt", pickle_protocol=3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_picture(tmp_path / "a.png").shape == (40, 40, 3)
        assert list(read_tensors(tmp_path / "a.pt")) == ["a"]
