"""Targets of the user's own: their parts, their formats, how they are fitted, and what is refused in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autosim.errors import UserError
from autosim.formats.dataset import DataSet, LabelledImage
from autosim.formats.frame_reader import FrameReader
from autosim.formats.guess import WRITERS
from autosim.formats.parts import TargetSettings, find_places
from autosim.rendering.annotations import Boxes, ClassLabel, ClassMask
from autosim.target import Target, folder_target
from tests.formats.examples import CLASSES, HEIGHT, WIDTH, example, refusal

MASK = {"mask": ClassMask(("nothing", "cube", "ball"))}


def read(folder: Path | None = None, **options: Any) -> Target:
    return folder_target(TargetSettings(folder=folder, **options), MASK, 40, 40)


def pictures(folder: Path, count: int = 3, size: tuple[int, int] = (20, 10)) -> Path:
    folder.mkdir(parents=True)
    for i in range(count):
        Image.new("RGB", size, (10 * i, 200, 0)).save(folder / f"{i}.png")
    return folder


def part_of(data: DataSet, index: int) -> DataSet:
    return replace(data, images=data.images[index : index + 1])


@pytest.mark.parametrize("name", ["coco", "masks", "yolo", "voc", "kitti", "bop"])
@pytest.mark.parametrize("nested", [True, False])
def test_parts_are_found_by_name_in_every_format(tmp_path: Path, name: str, nested: bool) -> None:
    data = example()
    for part, index in (("train", 0), ("val", 1), ("test", 2)):
        WRITERS[name](part_of(data, index), tmp_path / part if nested else tmp_path, None if nested else part)
    pictures(tmp_path / "unlabelled")
    places = find_places(TargetSettings(folder=tmp_path))
    assert {role: place.format for role, place in places.items()} == {
        "images": "images", "validation": name, "test": name, "train": name
    }  # fmt: skip
    assert [len(places[role].read()) for role in ("images", "validation", "test", "train")] == [3, 1, 1, 1]


def test_of_labelled_images_without_parts_the_halves_steer_and_score(tmp_path: Path) -> None:
    WRITERS["coco"](example(), tmp_path, None)
    target = read(tmp_path)
    assert target.validation is not None and target.test is not None and target.train is None
    assert (len(target.images), len(target.validation), len(target.test)) == (1, 1, 2)
    np.testing.assert_array_equal(target.images.images, target.validation.images)
    said = " ".join(target.notes)
    assert "coco (annotations.json beside images/)" in said and "first half" in said and "1 for validation" in said
    assert "first half" not in " ".join(read(tmp_path, test=tmp_path).notes)


def test_a_part_may_be_a_folder_of_its_own_and_what_is_matched_has_no_labels(tmp_path: Path) -> None:
    pictures(tmp_path / "photos", 4)
    for name, index in (("held out", 1), ("steering", 2)):
        WRITERS["masks"](part_of(example(), index), tmp_path / name, None)
    target = read(tmp_path / "photos", validation=tmp_path / "steering", test=tmp_path / "held out")
    assert len(target.images) == 4 and not target.images.annotations
    assert target.validation is not None and set(target.validation.annotations) == {"mask"}
    said = read(tmp_path / "photos", validation=tmp_path / "steering", format="masks")
    assert len(said.images) == 4 and said.validation is not None
    alone = read(validation=tmp_path / "steering")
    assert len(alone.images) == 1 and alone.test is None


def test_unlabelled_images_of_any_shape_are_padded_in_the_order_of_their_names(tmp_path: Path) -> None:
    pictures(tmp_path / "a")
    Image.fromarray(np.full((8, 8), 40000, dtype=np.uint16)).save(tmp_path / "a" / "3.png")
    target = read(tmp_path / "a")
    assert target.images.images.shape == (4, 40, 40, 3) and target.validation is None is target.test
    assert [tuple(image[20, 20]) for image in target.images.images] == [
        (0, 200, 0), (10, 200, 0), (20, 200, 0), (156, 156, 156)
    ]  # fmt: skip
    assert "20×10 (and 1 other size) fill 40×20 of 40×40, edges are repeated" in " ".join(target.notes)


@pytest.mark.parametrize(("own", "inner"), [(60.0, 40), (30.0, 19), (100.0, 83)])
def test_a_field_of_view_gives_objects_the_size_that_the_environment_s_camera_sees(
    tmp_path: Path, own: float, inner: int
) -> None:
    pixels = np.zeros((30, 60, 3), dtype=np.uint8)
    pixels[:, 15:45] = 255  # half of the width
    folder = tmp_path / "a"
    folder.mkdir()
    Image.fromarray(pixels).save(folder / "0.png")
    settings = TargetSettings(folder=folder, field_of_view=own)
    target = folder_target(settings, MASK, 40, 40, 60.0)
    assert abs(int((target.images.images[0, 20, :, 0] > 127).sum()) - min(40, inner // 2)) <= 1
    with pytest.raises(UserError, match="no perspective camera"):
        folder_target(settings, MASK, 40, 40, None)


def test_a_class_label_is_the_one_class_that_a_picture_shows() -> None:
    declared = {"label": ClassLabel(("cube", "ball"))}
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[3:5] = 1 + CLASSES.index("ball")
    masked = DataSet(CLASSES, [LabelledImage("a", np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8), class_mask=mask)])
    reader = FrameReader(example(), declared, HEIGHT, WIDTH)
    assert "shows the classes cube, ball; a label is one class" in refusal(lambda: reader.read(0))
    cubes = FrameReader(example(), declared, HEIGHT, WIDTH, {"ball": None})
    label = cubes.read(0)[0].annotations["label"]
    assert label.dtype == np.int64 and label.shape == () and int(label) == 0
    assert int(FrameReader(masked, declared, HEIGHT, WIDTH).read(0)[0].annotations["label"]) == 1


def test_mistakes_end_in_one_line_that_names_them(tmp_path: Path) -> None:
    coco = tmp_path / "coco"
    WRITERS["coco"](example(), coco, None)
    file = coco / "annotations.json"
    content = json.loads(file.read_text())
    content["categories"][0]["name"] = "automobile"
    file.write_text(json.dumps(content))
    said = refusal(lambda: read(coco))
    assert "'automobile'" in said and "cube, ball" in said and "--target.classes" in said
    target = read(coco, classes=f"automobile={CLASSES[0]}")
    assert target.test is not None
    assert "'van' is none of the target's classes automobile" in refusal(
        lambda: read(coco, classes=f"van=,automobile={CLASSES[0]}")
    )
    pictures(tmp_path / "plain")
    assert "without labels" in refusal(lambda: find_places(TargetSettings(tmp_path / "plain", test=tmp_path / "plain")))
    assert "is not a folder" in refusal(lambda: find_places(TargetSettings(tmp_path / "nowhere")))
    one = tmp_path / "one"
    WRITERS["masks"](part_of(example(), 1), one, None)
    assert "1 labelled image" in refusal(lambda: read(one))
    for options, named in (({"fit": "crop"}, "fit"), ({"classes": "car"}, "classes"), ({"test": coco}, "test")):
        with pytest.raises(ValueError, match=f"^{named}: "):
            TargetSettings(**options)


def test_images_may_have_more_boxes_than_scenes_and_those_that_a_crop_loses_are_counted(tmp_path: Path) -> None:
    WRITERS["coco"](example(), tmp_path, None)
    declared = {"boxes": Boxes(CLASSES, 1)}
    whole = folder_target(TargetSettings(folder=tmp_path), declared, 24, 32)
    assert whole.validation is not None and whole.validation.annotations["boxes"].shape == (1, 3, 5)
    target = folder_target(TargetSettings(folder=tmp_path, fit="crop"), declared, 24, 12)
    assert any("boxes lie outside the picture" in note for note in target.notes)
