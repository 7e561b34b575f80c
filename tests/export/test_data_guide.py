"""The guide from photographs to a data set: its commands run one after the other, and so does what it shows of other
people's readers and trainers.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autosim.cli.main import main
from autosim.export.writers import EXPORTERS
from autosim.formats import coco, yolo
from autosim.formats.dataset import DataSet, LabelledImage
from autosim.formats.parts import TargetSettings, find_places
from autosim.formats.shapes import Pixels
from tests.export.other_readers import imported

pytestmark = pytest.mark.usefixtures("blank_pictures")

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "data.md"
CODE = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
COMMANDS = re.findall(r"^autosim .*$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
# Other values for these options, and options beside those shown: as little work as possible, in this process.
SHORT = {"--budget.iterations": "1", "--count": "4", "--samples": "1"}
MORE = {
    "run": ["--workers=0", "--env.train_frames=4", "--env.edge=32", "--algo.epochs=1"],
    "export": ["--workers=0"],
}


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


@pytest.mark.usefixtures("one_thread")
def test_commands_run_one_after_the_other_in_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    coco.write(photographs(), tmp_path / "photos", None)
    assert [command.split()[1] for command in COMMANDS] == ["run", *["export"] * 4]
    for command in COMMANDS:
        words = shlex.split(command)[1:]
        for i, word in enumerate(words[:-1]):
            words[i + 1] = SHORT.get(word, words[i + 1])
        assert main([*words, *MORE[words[0]]]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "coco (annotations.json beside images/); the first half is for validation" in said
    assert "images of 320×240 fill 32×24 of 32×32, edges are repeated" in said
    for name in ("README.md", "samples.png", "train", "val", "annotations/instances_train.json"):
        assert (tmp_path / "data" / "photos" / name).exists()
    # What was exported is a target.
    assert set(find_places(TargetSettings(folder=tmp_path / "data" / "photos"))) == {"validation", "train"}


def photographs() -> DataSet:
    """Four pictures of 320×240 with a square, by three names in turn."""
    images = []
    for i in range(4):
        pixels = np.full((240, 320, 3), 90, dtype=np.uint8)
        mask = np.zeros((240, 320), dtype=bool)
        mask[100:140, 60 * i : 60 * i + 50] = True
        pixels[mask] = 200
        box = np.array([[60 * i, 100, 60 * i + 50, 140]], dtype=np.float32)
        images.append(LabelledImage(f"IMG_{i}", pixels, box, np.array([i % 3]), shapes=(Pixels(mask),)))
    return DataSet(("sphere", "cube", "cylinder"), images)


def test_all_code_of_the_guide_is_run() -> None:
    assert len(CODE) == 5
