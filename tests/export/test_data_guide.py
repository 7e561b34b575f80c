"""The guide from photographs to a data set: what it shows of other people's readers and trainers runs as shown."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autosim.export.writers import EXPORTERS
from autosim.formats import coco, yolo
from autosim.formats.dataset import DataSet, LabelledImage
from autosim.formats.shapes import Pixels
from tests.export.other_readers import imported

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "data.md"
CODE = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pictures of a square each, where the guide's exports lie."""
    pixels = np.full((64, 64, 3), 90, dtype=np.uint8)
    pixels[10:30, 20:40] = 200
    mask = np.zeros((64, 64), dtype=bool)
    mask[10:30, 20:40] = True
    images = []
    for name in ("000000", "000001"):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        boxes, classes = np.array([[20, 10, 40, 30]], dtype=np.float32), np.array([1])
        images.append(LabelledImage(name, tmp_path / f"{name}.png", boxes, classes, shapes=(Pixels(mask),)))
    data = DataSet(("sphere", "cube", "cylinder"), images)
    coco.write(data, tmp_path / "data" / "photos", "train")
    yolo.write(data, tmp_path / "data" / "large", "train")
    EXPORTERS["imagefolder"](data, tmp_path / "data" / "folder", "train")
    EXPORTERS["webdataset"](data, tmp_path / "data" / "shards", "train")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("exported", "one_thread")
@pytest.mark.filterwarnings("ignore:OpenCV")
@pytest.mark.parametrize(
    ("reader", "promised"),
    [
        ("pycocotools", r"2 images, 2 objects\n.*cube.*\[20\.0, 10\.0, 20\.0, 20\.0\].*400"),
        ("supervision", r"2 \['sphere', 'cube', 'cylinder'\]"),
        ("CocoDetection", r"loss of the last picture: \d+\.\d\d"),
        ("datasets", r"2 \(64, 64\) \['cube'\] \[0 2\]"),
        ("webdataset", r"000000 \(64, 64, 3\) \['cube'\] \[0 2\]\n000001 "),
    ],
)
def test_code_runs_as_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, promised: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if reader in ("datasets", "webdataset"):
        imported(reader, tmp_path, monkeypatch)
    (code,) = (block for block in CODE if re.search(rf"import .*\b{reader}\b|from {reader}\b", block))
    exec(compile(code, "data.md", "exec"), {})
    assert re.search(promised, capsys.readouterr().out)


def test_all_code_of_the_guide_is_run() -> None:
    assert len(CODE) == 5
