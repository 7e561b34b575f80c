"""Bad data ends in one line that names file and field, whatever is wrong with it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autosim.errors import UserError
from autosim.formats import bop, coco, kitti, masks, voc, yolo
from autosim.formats.dataset import DataSet
from autosim.formats.guess import READERS, WRITERS, guess_format
from autosim.formats.pictures import encode_depth, encode_png
from tests.formats.examples import (
    HEIGHT,
    WIDTH,
    damaged_json,
    damaged_text,
    example,
    read_or_refused,
    read_wholly,
    refusal,
    save,
)
from tests.formats.test_foreign_files import KITTI_LINES, VOC_XML, bop_folder, coco_content, coco_folder


def changed(field: str, place: int, **changes: Any) -> dict[str, Any]:
    """COCO's content with one entry changed."""
    content = coco_content()
    content[field][place] |= changes
    return content


COCO_FAULTS: list[tuple[object, tuple[str, ...]]] = [
    ([], ("the file is a list",)),
    ({}, ("images is None",)),
    (coco_content(images=[]), ("images is empty",)),
    (coco_content(images=[3]), ("images[0]", "id None")),
    (changed("images", 1, id=139), ("images has the id 139 twice",)),
    (changed("images", 1, id="7"), ("images[1]", "id '7'")),
    (changed("images", 0, file_name=None), ("file_name of image 139", "None")),
    (changed("images", 0, file_name="c.png"), ("'c.png'", "missing")),
    (changed("images", 0, width=0), ("width of image 139 is 0",)),
    (changed("images", 0, height=10**400), ("height of image 139", "huge number")),
    (changed("categories", 0, name=""), ("class 1", "''")),
    (changed("categories", 0, name="dog"), ("class 'dog'", "twice")),
    (changed("annotations", 0, image_id=8), ("annotations[0].image_id is 8",)),
    (changed("annotations", 0, image_id=[7]), ("annotations[0].image_id",)),
    (changed("annotations", 1, id=42), ("annotations[1].id 42 is there twice",)),
    (changed("annotations", 0, category_id=1), ("annotations[0].category_id is 1",)),
    (changed("annotations", 0, bbox=[1, 2, 3]), ("annotations[0].bbox", "list of 4 numbers")),
    (changed("annotations", 0, bbox=[1, 2, "3", 4]), ("annotations[0].bbox", "'3'")),
    (changed("annotations", 0, bbox=[1, 2, 1e300, 4]), ("annotations[0].bbox", "1e+300")),
    (changed("annotations", 0, bbox=[1, 2, -3, 4]), ("annotations[0].bbox", "end before its start")),
    (changed("annotations", 0, bbox=[500, 2, 3, 4]), ("annotations[0].bbox", "outside the picture of 32×24")),
    (changed("annotations", 0, iscrowd="no"), ("annotations[0].iscrowd", "'no'")),
    (changed("annotations", 0, area="12"), ("annotations[0].area", "'12'")),
    (changed("annotations", 1, segmentation=[[1, 2, 3, 4]]), ("annotations[1].segmentation", "3 points")),
    (changed("annotations", 1, segmentation=[[1, 2, 3, 4, 5, None]]), ("annotations[1].segmentation", "None")),
    (changed("annotations", 1, segmentation=None), ("annotations[1] has neither bbox nor segmentation",)),
    (changed("annotations", 1, segmentation={"size": [24, 32], "counts": [1, 2]}), ("segmentation", "add up")),
    (changed("annotations", 1, segmentation={"size": [24], "counts": [1, 2]}), ("segmentation.size",)),
    (changed("annotations", 1, segmentation={"size": [24, 32], "counts": [768, "x"]}), ("segmentation.counts",)),
]


@pytest.mark.parametrize(("content", "words"), COCO_FAULTS)
def test_coco_names_the_field(content: object, words: tuple[str, ...], tmp_path: Path) -> None:
    coco_folder(tmp_path, content)
    refusal(lambda: read_wholly(coco.read(tmp_path)), "annotations.json", *words)


def test_json_that_is_none_is_refused(tmp_path: Path) -> None:
    coco_folder(tmp_path, coco_content())
    path = tmp_path / "annotations.json"
    whole = path.read_text()
    deep = "[" * 100_000
    cases = {
        whole[:-20]: "not valid JSON",
        "": "not valid JSON",
        deep: "not valid JSON",
        whole.replace("2.5", "NaN"): "NaN",
        whole.replace("2.5", "-Infinity"): "-Infinity",
        whole.replace("2.5", "9" * 5000): "not valid JSON",
    }
    for text, word in cases.items():
        path.write_text(text)
        refusal(lambda: coco.read(tmp_path), "annotations.json", word)
    path.write_bytes(b"\xff\xfe\x00" + whole.encode())
    refusal(lambda: coco.read(tmp_path), "annotations.json", "UTF-8")
    path.write_bytes(b"\xef\xbb\xbf" + whole.encode())
    assert len(coco.read(tmp_path)) == 2


def test_a_picture_of_another_size_than_stated_is_refused(tmp_path: Path) -> None:
    coco_folder(tmp_path, coco_content())
    save(tmp_path / "images/b.png", height=HEIGHT + 1)
    refusal(lambda: read_wholly(coco.read(tmp_path)), "b.png", "32×25", "32×24")


def yolo_folder(folder: Path, lines: str, settings_text: str = "names: [cat, dog]\n") -> Path:
    save(folder / "images/a.png")
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels/a.txt").write_text(lines)
    (folder / "data.yaml").write_text(settings_text)
    return folder


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("0 0.5 0.5 0.5", ("line 1 has 4 fields",)),
        ("0 0.5 0.5 0.5 0.5 0.9", ("line 1 has 6 fields",)),
        ("0 0.5 0.5 0.5 0.5\ncat 0.5 0.5 0.5 0.5", ("class of line 2 is 'cat'",)),
        ("2 0.5 0.5 0.5 0.5", ("class of line 1 is 2", "0 to 1")),
        ("0.5 0.5 0.5 0.5 0.5", ("class of line 1 is 0.5",)),
        ("0 12 6 20 18", ("line 1 holds 12", "shares of the picture")),
        ("0 0.5 nan 0.5 0.5", ("line 1", "'nan'")),
        ("0 0.5 1e999 0.5 0.5", ("line 1", "'1e999'")),
        ("0 0.5 0.5 -0.005 0.5", ("box 1", "end before its start")),
    ],
)
def test_yolo_names_the_line(lines: str, words: tuple[str, ...], tmp_path: Path) -> None:
    refusal(lambda: yolo.read(yolo_folder(tmp_path, lines)), "labels/a.txt", *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("names: [cat\n", ("not valid YAML",)),
        ("- names\n", ("instead of settings",)),
        ("names: 3\n", ("names is 3",)),
        ("train: images\n", ("no names of classes", "classes.txt")),
        ("names: [yes, 7]\n", ("class 0 is True",)),
        ("names: {0: cat, 2: dog}\n", ("names has the keys",)),
        ("names: [cat, cat]\n", ("class 'cat'", "twice")),
        ("names: [cat, null]\n", ("class 1", "None")),
        ("names: [cat]\nnc: 5\n", ("nc is 5",)),
        ("names: [cat]\nval: nowhere\n", ("val names 'nowhere'",)),
        ("names: [cat]\nval: 3\n", ("val is 3",)),
        ("a: &a [x, x]\nb: &b [*a, *a]\nnames: *b\n", ("class 0",)),
        ("names: !!python/object/apply:os.getcwd []\n", ("not valid YAML",)),
    ],
)
def test_yolo_settings_name_the_field(text: str, words: tuple[str, ...], tmp_path: Path) -> None:
    refusal(lambda: yolo.read(yolo_folder(tmp_path, "", text)), "data.yaml", *words)


def test_yolo_without_any_label_is_refused(tmp_path: Path) -> None:
    yolo_folder(tmp_path, "")
    assert len(yolo.read(tmp_path).images[0]) == 0
    (tmp_path / "labels/a.txt").unlink()
    refusal(lambda: yolo.read(tmp_path), "no label file for any of 1 pictures")


BOMB = '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;">]><annotation>&c;</annotation>'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (VOC_XML[:-30], ("not valid XML",)),
        (BOMB, ("document type declaration",)),
        ("<label/>", ("starts with <label>",)),
        (VOC_XML.replace("<width>32", "<width>32.5"), ("size width is 32.5",)),
        (VOC_XML.replace("<xmax>32", "<xmax>wide"), ("xmax of object 1 is 'wide'",)),
        (VOC_XML.replace("<xmax>32</xmax>", ""), ("xmax of object 1 is None",)),
        (VOC_XML.replace("<xmax>32", "<xmax>inf"), ("xmax of object 1 is 'inf'",)),
        (VOC_XML.replace("<name>car</name>", ""), ("object has no name",)),
        (VOC_XML.replace("<truncated>1", "<truncated>7"), ("truncated of object 1 is '7'",)),
        (
            VOC_XML.replace("<xmin>20.25", "<xmin>40").replace("<xmax>30.5", "<xmax>50"),
            ("bndbox of object 2", "outside"),
        ),
        (VOC_XML.replace("bndbox", "box"), ("object 1 has no bndbox",)),
        (VOC_XML.replace("2007_000027.jpg", "other.jpg"), ("filename is 'other.jpg'",)),
    ],
)
def test_voc_names_the_field(text: str, words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    for encoding in ("utf-8", "utf-16"):
        (tmp_path / "Annotations/a.xml").write_bytes(text.encode(encoding))
        save(tmp_path / "JPEGImages/2007_000027.png")
        refusal(lambda: voc.read(tmp_path), "a.xml", *words)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("69.44 -1.56", "69.44", ("line 1 has 14 fields",)),
        ("7.99", "top", ("top of line 1 is 'top'",)),
        ("7.99", "nan", ("top of line 1 is 'nan'",)),
        ("2.22", "20", ("bbox of line 1", "end before its start")),
        ("5.37 3.97 9.42", "537 3.97 942", ("bbox of line 3", "outside the picture of 32×24")),
    ],
)
def test_kitti_names_the_line(old: str, new: str, words: tuple[str, ...], tmp_path: Path) -> None:
    save(tmp_path / "image_2/a.png")
    (tmp_path / "label_2").mkdir()
    assert old in KITTI_LINES
    (tmp_path / "label_2/a.txt").write_text(KITTI_LINES.replace(old, new))
    refusal(lambda: kitti.read(tmp_path), "label_2/a.txt", *words)
    (tmp_path / "label_2/a.txt").unlink()
    refusal(lambda: kitti.read(tmp_path), "label_2/a.txt", "missing")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"box": [1, 2, 3]}, ("bbox_visib of object 0 of picture 8",)),
        ({"box": None}, ("bbox_visib of object 0 of picture 8",)),
        ({"box": [100, 2, 3, 3]}, ("bbox_visib of object 0 of picture 8", "outside")),
        ({"bbox_obj": "all"}, ("bbox_obj of object 0 of picture 8", "'all'")),
        ({"visib_fract": 1.5}, ("visib_fract of object 0 of picture 8 is 1.5",)),
        ({"key": "first"}, ("names the picture 'first'",)),
    ],
)
def test_bop_names_the_field(changes: dict[str, Any], words: tuple[str, ...], tmp_path: Path) -> None:
    refusal(lambda: bop.read(bop_folder(tmp_path, **changes)), "scene_gt", *words)


def test_bop_files_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    bop_folder(tmp_path)
    info = json.loads((tmp_path / "scene_gt_info.json").read_text())
    (tmp_path / "scene_gt_info.json").write_text(json.dumps({"8": info["8"][:2]}))
    refusal(lambda: bop.read(tmp_path), "scene_gt_info.json", "picture 8 has 2 objects", "scene_gt.json has 3")
    (tmp_path / "scene_gt_info.json").write_text("{}")
    refusal(lambda: bop.read(tmp_path), "scene_gt_info.json", "nothing about picture 8")
    (tmp_path / "scene_gt_info.json").unlink()
    refusal(lambda: bop.read(tmp_path), "scene_gt_info.json", "missing")


def test_bop_depth_that_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    save(bop_folder(tmp_path) / "depth/000008.png")  # in colour
    refusal(lambda: bop.read(tmp_path).images[0].read_depth(), "depth/000008.png", "has mode RGB")
    small, _ = encode_depth(np.ones((2, 3), dtype=np.float32))
    (tmp_path / "depth/000008.png").write_bytes(small)
    refusal(lambda: bop.read(tmp_path).images[0].read_depth(), "depth/000008.png", "is 3×2; its picture is 32×24")
    for scale in ("deep", -0.1, None):
        (tmp_path / "scene_camera.json").write_text(json.dumps({"8": {"depth_scale": scale}}))
        refusal(lambda: bop.read(tmp_path), "scene_camera.json", "depth_scale of picture 8")


def test_masks_name_the_file(tmp_path: Path) -> None:
    save(tmp_path / "images/a.png")
    (tmp_path / "masks").mkdir()
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    path = tmp_path / "masks/a.png"
    refusal(lambda: masks.read(tmp_path), "images/a.png", "no mask")
    (tmp_path / "classes.txt").write_text("background\ncat\n")
    path.write_bytes(encode_png(mask + np.uint8(2)))
    refusal(lambda: masks.read(tmp_path).images[0].read_class_mask(), "masks/a.png", "class 2", "0 to 1")
    path.write_bytes(encode_png(mask[1:]))
    refusal(lambda: masks.read(tmp_path), "masks/a.png", "32×23", "32×24")
    (tmp_path / "classes.txt").write_text("background\n")
    refusal(lambda: masks.read(tmp_path), "classes.txt", "1 names")


LABEL_FILES = {
    "bop": ("train/000000/scene_gt.json", "train/000000/scene_gt_info.json", "train/000000/scene_camera.json"),
    "coco": ("annotations.json",),
    "kitti": ("label_2/a.txt", "calib/a.txt"),
    "masks": ("classes.txt",),
    "voc": ("Annotations/a.xml",),
    "yolo": ("labels/train/a.txt", "data.yaml"),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good folder of each format."""
    root = tmp_path_factory.mktemp("written")
    data = example()
    camera = np.array([[500.0, 0, 16], [0, 500, 12], [0, 0, 1]])
    object.__setattr__(data.images[0], "camera", camera)
    for name, write in WRITERS.items():
        write(data, root / name, None)
    (root / "masks/classes.txt").touch()
    return root


@pytest.mark.parametrize(("name", "file"), [(name, file) for name, files in LABEL_FILES.items() for file in files])
def test_a_damaged_file_is_read_or_refused_and_nothing_else(name: str, file: str, written: Path) -> None:
    path = written / name / file
    whole = path.read_bytes()
    content = json.loads(whole) if file.endswith(".json") else None
    texts = damaged_text(whole)
    damages = texts if content is None else st.one_of(texts, damaged_json(content).map(str.encode))
    refused = [0]

    @settings(max_examples=60)
    @given(damaged=damages)
    def check(damaged: bytes) -> None:
        path.write_bytes(damaged)
        refused[0] += not read_or_refused(lambda: READERS[name](written / name, None))

    try:
        check()
    finally:
        path.write_bytes(whole)
    assert refused[0] > 5
    assert read_or_refused(lambda: READERS[name](written / name, None))


@pytest.mark.parametrize("name", sorted(READERS))
def test_pipes_and_folders_in_place_of_files_are_refused_at_once(name: str, written: Path, tmp_path: Path) -> None:
    WRITERS[name](example(), tmp_path, None)
    files = [path for path in sorted(tmp_path.rglob("*")) if path.is_file() and "ImageSets" not in path.parts]
    files = [path for path in files if "SegmentationClass" not in path.parts]
    assert len(files) >= 4
    for path in files:
        kept = path.read_bytes()
        for replace in (os.mkfifo, os.mkdir):
            path.unlink() if path.is_file() or path.is_fifo() else path.rmdir()
            replace(path)
            with pytest.raises(UserError) as caught:
                data = READERS[name](tmp_path, None)
                read_wholly(data)
                read_shapes(data)
            assert "\n" not in str(caught.value)
            guess_or_refuse(tmp_path)
        path.rmdir()
        path.write_bytes(kept)
    assert read_wholly(READERS[name](tmp_path, None)) == 3


def read_shapes(data: DataSet) -> None:
    for image in data.images:
        for i in range(len(image)):
            image.shape_mask(i)


def guess_or_refuse(folder: Path) -> None:
    try:
        guess_format(folder)
    except UserError as error:
        assert "\n" not in str(error)


def test_boxes_beyond_the_picture_are_kept_and_clipped_where_they_are_used(tmp_path: Path) -> None:
    coco_folder(tmp_path, changed("annotations", 0, bbox=[-3, 20, 10, 10]))
    data = coco.read(tmp_path)
    assert data.images[1].boxes[0].tolist() == [-3, 20, 7, 30]
    read_wholly(data)


def test_many_pictures_are_listed_without_being_opened(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for i in range(1000):
        (tmp_path / f"images/{i:04d}.jpg").touch()
    sides = {"width": 640, "height": 480}
    content = {
        "images": [{"id": i, "file_name": f"{i:04d}.jpg", **sides} for i in range(1000)],
        "annotations": [
            {
                "id": i,
                "image_id": i // 7,
                "category_id": 1,
                "bbox": [1.5, 2, 30, 40],
                "segmentation": [[1, 1, 9, 1, 9, 7]],
            }
            for i in range(7000)
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    data = coco.read(tmp_path)  # The files are empty: none could be opened.
    assert len(data) == 1000 and sum(len(image) for image in data.images) == 7000
