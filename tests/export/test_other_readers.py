"""Image folders and shards as Hugging Face's ``datasets`` and ``webdataset`` read them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as run_lengths

from autosim.export.writers import EXPORTERS, has_masks
from autosim.formats.dataset import DataSet, LabelledImage
from tests.export.other_readers import imported
from tests.formats.examples import CLASSES, HEIGHT, WIDTH, example, masks, picture


def check_objects(found: list[dict[str, Any]]) -> None:
    """The objects of :func:`example` but the last picture's, which are to be ignored."""
    assert [(entry["width"], entry["height"]) for entry in found] == [(WIDTH, HEIGHT)] * 3
    first, second = (entry["objects"] for entry in found[:2])
    assert first["category_name"] == ["ball", "cube", "cube"] and first["category"] == [0, 1, 1]
    assert second["bbox"] == [] == second["category"]
    for (x, y, width, height), runs, mask in zip(first["bbox"], first["segmentation"], masks(), strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert [x, y, width, height] == [columns[0], rows[0], len(columns), len(rows)]
        assert (run_lengths.decode(runs) == mask).all()


def check_mask(mask: Any, index: int) -> None:
    expected = example().images[index].read_class_mask()
    assert expected is not None and (np.array(mask) == expected).all()


@pytest.mark.parametrize("part", ["train", None])
def test_datasets_reads_an_image_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str | None) -> None:
    datasets = imported("datasets", tmp_path, monkeypatch)
    EXPORTERS["imagefolder"](example(), tmp_path / "a", part)
    found = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "a"), cache_dir=str(tmp_path / "kept"))
    rows = list(found["train"])
    check_objects(rows)
    for i, row in enumerate(rows):
        assert (np.array(row["image"]) == picture(i + 1)).all()
        check_mask(row["mask"], i)


def test_webdataset_reads_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    webdataset = imported("webdataset", tmp_path, monkeypatch)
    EXPORTERS["webdataset"](example(), tmp_path, "train")
    shards = webdataset.WebDataset(str(tmp_path / "train-000000.tar"), shardshuffle=False)
    samples = list(shards.decode("rgb8", only=["png", "json"]))
    assert [sample["__key__"] for sample in samples] == ["a", "b", "c"]
    check_objects([sample["json"] for sample in samples])
    for i, sample in enumerate(samples):
        assert (sample["png"] == picture(i + 1)).all()
        check_mask(Image.open(io.BytesIO(sample["mask.png"])), i)


@pytest.mark.parametrize("classes", [(), CLASSES])
def test_pictures_without_classes_or_outlines_have_no_masks(tmp_path: Path, classes: tuple[str, ...]) -> None:
    boxes = np.array([[1, 2, 5, 8]], dtype=np.float32)
    alone = [LabelledImage("b", picture(2), boxes, np.array([0]))] if classes else []
    data = DataSet(classes, [LabelledImage("a", picture()), *alone])
    assert not has_masks(data) and has_masks(example())
    EXPORTERS["imagefolder"](data, tmp_path / "a", None)
    EXPORTERS["webdataset"](data, tmp_path / "b", None)
    assert not (tmp_path / "a" / "masks").exists() and "mask" not in (tmp_path / "a" / "metadata.jsonl").read_text()
    assert b"mask" not in (tmp_path / "b" / "data-000000.tar").read_bytes()
