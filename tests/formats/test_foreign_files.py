"""Files as other people's tools write them, and folders that say by themselves what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autosim.formats import bop, coco, kitti, masks, voc, yolo
from autosim.formats.dataset import DataSet
from autosim.formats.guess import guess_format, read_data_set
from autosim.formats.pictures import class_palette, encode_png
from tests.formats.examples import HEIGHT, WIDTH, boxes_of, refusal, save


def coco_content(**changes: Any) -> dict[str, Any]:
    """Two pictures, one with two objects; ids as they come."""
    return {
        "info": {"year": 2017},
        "images": [
            {"id": 139, "file_name": "b.png", "width": WIDTH, "height": HEIGHT, "license": 2},
            {"id": 7, "file_name": "a.png", "width": WIDTH, "height": HEIGHT},
        ],
        "annotations": [
            {"id": 42, "image_id": 7, "category_id": 90, "bbox": [1, 2.5, 3, 4], "area": 12, "iscrowd": 0},
            {"id": 3, "image_id": 7, "category_id": 18, "segmentation": [[1, 1, 9, 1, 9, 7]], "bbox": None},
        ],
        "categories": [{"id": 90, "name": "toothbrush"}, {"id": 18, "name": "dog", "supercategory": "animal"}],
        **changes,
    }


def coco_folder(folder: Path, content: object, pictures: str = "images", file: str = "annotations.json") -> Path:
    for name in ("a", "b"):
        save(folder / pictures / f"{name}.png")
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("pictures", "file", "part", "reason"),
    [
        ("images", "annotations.json", None, "coco: annotations.json beside images/"),
        ("val2017", "annotations/instances_val2017.json", "val2017", "coco: annotations/instances_val2017.json"),
        ("val2017", "annotations/instances_val2017.json", None, "coco: annotations/instances_val2017.json"),
        (".", "_annotations.coco.json", None, "coco: _annotations.coco.json"),
        ("images/val", "annotations/instances_val.json", "val", "coco: annotations/instances_val.json beside images/"),
        ("images", "labels_of_mine.json", None, "coco: labels_of_mine.json beside images/"),
    ],
)
def test_coco_lies_in_folders_of_many_names(
    pictures: str, file: str, part: str | None, reason: str, tmp_path: Path
) -> None:
    coco_folder(tmp_path, coco_content(), pictures, file)
    assert str(guess_format(tmp_path)) == reason
    data = read_data_set(tmp_path, part=part)
    assert data.classes == ("dog", "toothbrush") and [image.name for image in data.images] == ["b", "a"]
    assert boxes_of(data.images[1], data.classes) == [
        ("toothbrush", False, [1, 2.5, 4, 6.5]),
        ("dog", False, [1, 1, 9, 7]),
    ]
    assert len(data.images[0]) == 0 and data.images[0].read().shape == (HEIGHT, WIDTH, 3)


def test_coco_parts_in_folders_of_their_own(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        coco_folder(tmp_path / part, coco_content(), ".", "_annotations.coco.json")
    assert len(coco.read(tmp_path, "valid")) == 2
    for part in ("train", "val"):
        coco_folder(tmp_path / "two", coco_content(), "images", f"annotations/instances_{part}.json")
    refusal(lambda: coco.read(tmp_path / "two"), "2 files", "instances_train.json")
    coco_folder(tmp_path / "two", coco_content(), "images", "annotations/instances_trainval.json")
    for part in ("train", "val", "trainval"):
        assert len(coco.read(tmp_path / "two", part)) == 2


def test_yolo_names_as_list_or_dict_and_splits_as_folders_or_lists(tmp_path: Path) -> None:
    for split, name in (("train", "a"), ("val", "b"), ("val", "c")):
        save(tmp_path / "images" / split / f"{name}.png")
    (tmp_path / "labels/val").mkdir(parents=True)
    (tmp_path / "labels/val/b.txt").write_text("1 0.5 0.5 0.25 0.5\n\n0 0 0 0.5 0 0.5 1 0 0.75\n")
    (tmp_path / "labels/val/c.txt").write_text("")
    (tmp_path / "val.txt").write_text("./images/val/b.png\n")
    for settings in (
        "path: ../elsewhere\ntrain: images/train\nval: images/val\nnames: [cat, dog]\nnc: 2\n",
        "train: ../images/train\nval: [images/val]\ntest:\nnames:\n  0: cat\n  1: dog\n",
    ):
        (tmp_path / "data.yaml").write_text(settings)
        assert str(guess_format(tmp_path)) == "yolo: data.yaml beside images/"
        data = read_data_set(tmp_path, part="val")
        assert data.classes == ("cat", "dog") and [image.name for image in data.images] == ["b", "c"]
        assert boxes_of(data.images[0], data.classes) == [
            ("dog", False, [12, 6, 20, 18]),
            ("cat", False, [0, 0, 16, 24]),
        ]
        mask = data.images[0].shape_mask(1)
        assert mask is not None and 200 < mask.sum() < 400 and data.images[0].shape_mask(0) is None
        assert len(read_data_set(tmp_path)) == 3
    (tmp_path / "data.yaml").write_text("val: val.txt\nnames: [cat, dog]\n")
    assert [image.name for image in yolo.read(tmp_path, "val").images] == ["b"]


def test_yolo_without_settings_takes_names_from_a_list(tmp_path: Path) -> None:
    save(tmp_path / "images/a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 1 1\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert str(guess_format(tmp_path)) == "yolo: labels/ with text files beside images/"
    (image,) = read_data_set(tmp_path).images
    assert image.boxes.tolist() == [[0, 0, WIDTH, HEIGHT]]


def test_yolo_boxes_belong_to_the_picture_held_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 20)).save(tmp_path / "images/a.jpg", exif=exif)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 1 1\n")
    (tmp_path / "data.yaml").write_text("names: [cat]\n")
    (image,) = yolo.read(tmp_path).images
    assert image.boxes.tolist() == [[0, 0, 20, 40]] and image.read().shape == (40, 20, 3)


VOC_XML = """<annotation><folder>VOC2012</folder><filename>2007_000027.jpg</filename>
<size><width>32</width><height>24</height><depth>3</depth></size><segmented>0</segmented>
<object><name>person</name><pose>Unspecified</pose><truncated>1</truncated><difficult>0</difficult>
<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>32</xmax><ymax>24</ymax></bndbox>
<part><name>head</name><bndbox><xmin>4</xmin><ymin>4</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></part></object>
<object><bndbox><xmax>30.5</xmax><xmin>20.25</xmin><ymax>9</ymax><ymin>3</ymin></bndbox>
<name>car</name><difficult>1</difficult></object></annotation>"""


def test_voc_with_parts_decimals_and_fields_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/2007_000027.xml").write_text(VOC_XML)
    save(tmp_path / "JPEGImages/2007_000027.png")
    assert str(guess_format(tmp_path)) == "voc: XML in Annotations/"
    data = voc.read(tmp_path)
    assert data.classes == ("car", "person")
    assert boxes_of(data.images[0], data.classes) == [
        ("person", False, [0, 0, 32, 24]),
        ("car", True, [19.25, 2, 30.5, 9]),
    ]
    objects = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    objects[:9, :5], objects[9] = 1, 255
    (tmp_path / "SegmentationObject").mkdir()
    (tmp_path / "SegmentationObject/2007_000027.png").write_bytes(encode_png(objects, class_palette()))
    mask = voc.read(tmp_path).images[0].shape_mask(0)
    assert mask is not None and (mask == (objects == 1)).all()
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    (tmp_path / "ImageSets/Main/val.txt").write_text("2007_000027 -1\n")
    assert len(voc.read(tmp_path, "val")) == 1


def test_voc_beside_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(VOC_XML.replace("2007_000027.jpg", "C:\\photos\\b.png"))
    save(tmp_path / "b.png")
    assert str(guess_format(tmp_path)) == "voc: XML beside the pictures"
    assert read_data_set(tmp_path).images[0].name == "b"


KITTI_LINES = (
    "Truck 0.00 0 -1.57 2.22 7.99 14.37 20.37 2.85 2.63 12.34 0.47 1.49 69.44 -1.56\n"
    "Car 0.88 3 -0.69 0.00 9.57 10.68 20.40 1.60 1.57 3.23 -2.70 1.74 3.68 -1.29 0.93\n"
    "DontCare -1 -1 -10 5.37 3.97 9.42 5.70 -1 -1 -1 -1000 -1000 -1000 -10\n"
)


def test_kitti_as_published(tmp_path: Path) -> None:
    place = tmp_path / "training"
    save(place / "image_2/000001.png")
    (place / "label_2").mkdir()
    (place / "label_2/000001.txt").write_text(KITTI_LINES)
    (place / "calib").mkdir()
    matrix = " ".join(["7.0e+02"] * 12)
    (place / "calib/000001.txt").write_text(f"P0: {matrix}\nP2: {matrix}\nR0_rect: 1 0 0\n\n")
    assert str(guess_format(tmp_path)) == "kitti: training/label_2/ beside training/image_2/"
    data = kitti.read(tmp_path)
    assert data.classes == ("Car", "Truck", "DontCare")
    (image,) = data.images
    assert image.classes.tolist() == [1, 0, 2] and image.ignored.tolist() == [False, False, True]
    assert image.boxes[1].tolist() == np.array([0, 9.57, 10.68, 20.4], dtype=np.float32).tolist()
    assert image.details["occluded"].tolist() == [0, 3, -1] and image.details["location"][0].tolist() == [
        0.47,
        1.49,
        69.44,
    ]
    assert image.camera is not None and image.camera.shape == (3, 4)


def class_mask(data: DataSet) -> np.ndarray[Any, np.dtype[np.uint8]]:
    found = data.images[0].read_class_mask()
    assert found is not None
    return found


def bop_folder(place: Path, box: object = (1, 2, 10, 5), key: str = "8", **changes: Any) -> Path:
    """One scene with one picture and three objects: one as given, one hardly visible, one out of the picture."""
    save(place / "rgb/000008.png")
    pose = {"cam_R_m2c": [1.0, 0, 0, 0, 1, 0, 0, 0, 1], "cam_t_m2c": [1, 2, 900]}
    truth = [{"obj_id": number, **pose} for number in (12, 5, 5)]
    info = [
        {"bbox_obj": [0, 0, 12, 9], "bbox_visib": box, "px_count_all": 9, "visib_fract": 0.5, **changes},
        {"bbox_obj": [3, 3, 2, 2], "bbox_visib": [3, 3, 1, 1], "visib_fract": 0.0999},
        {"bbox_obj": [-1, -1, -1, -1], "bbox_visib": [-1, -1, -1, -1], "visib_fract": 0.0},
    ]
    (place / "scene_gt.json").write_text(json.dumps({key: truth, "9": truth}))
    (place / "scene_gt_info.json").write_text(json.dumps({key: info, "9": info}))
    (place / "scene_camera.json").write_text(json.dumps({key: {"cam_K": [572.4, 0, 325, 0, 573, 242, 0, 0, 1]}}))
    return place


def test_bop_as_published(tmp_path: Path) -> None:
    place = bop_folder(tmp_path / "test/000002")
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[2:7, 1:11] = 255
    (place / "mask_visib").mkdir()
    (place / "mask_visib/000008_000000.png").write_bytes(encode_png(mask))
    (place / "depth").mkdir()
    Image.fromarray(np.full((HEIGHT, WIDTH), 9001, dtype=np.uint16)).save(place / "depth/000008.png")
    camera = {"cam_K": [572.4, 0, 325, 0, 573, 242, 0, 0, 1], "depth_scale": 0.1}
    (place / "scene_camera.json").write_text(json.dumps({"8": camera}))
    assert str(guess_format(tmp_path)) == "bop: test/000002/scene_gt.json"
    for data in (bop.read(tmp_path), bop.read(tmp_path, "test"), read_data_set(tmp_path), bop.read(place)):
        assert data.classes == ("obj_000005", "obj_000012")
        assert data.notes == (
            "1 objects have a box of -1 and are left out",
            "1 objects of which less than 0.1 is visible are ignored",
        )
        (image,) = data.images
        assert boxes_of(image, data.classes) == [
            ("obj_000012", False, [1, 2, 11, 7]),
            ("obj_000005", True, [3, 3, 4, 4]),
        ]
        found = image.shape_mask(0)
        assert found is not None and (found == (mask > 0)).all() and image.shape_mask(1) is None
        assert image.camera is not None and image.camera[0, 0] == 572.4
        depth = image.read_depth()
        assert depth is not None and (depth == np.float32(900.1)).all()
    assert bop.read(tmp_path).images[0].name == "test/000002/000008"


def test_masks_without_names_and_beside_their_pictures(tmp_path: Path) -> None:
    values = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    values[4:9] = 3
    values[0] = 255
    save(tmp_path / "numbers/images/a.png")
    (tmp_path / "numbers/masks").mkdir()
    (tmp_path / "numbers/masks/a.png").write_bytes(encode_png(values))
    assert str(guess_format(tmp_path / "numbers")) == "masks: masks/ beside images/"
    data = read_data_set(tmp_path / "numbers")
    assert data.classes == ("1", "2", "3") and np.array_equal(class_mask(data), values)
    save(tmp_path / "two/a.jpg.png")
    (tmp_path / "two/a.jpg_mask.png").write_bytes(encode_png((values == 3).astype(np.uint8) * np.uint8(255)))
    assert str(guess_format(tmp_path / "two")) == "masks: *_mask.png beside the pictures"
    data = masks.read(tmp_path / "two")
    assert data.classes == ("object",) and np.array_equal(class_mask(data), values == 3)


def test_pictures_alone_are_pictures_without_labels(tmp_path: Path) -> None:
    for folder in ("plain", "inner/images"):
        save(tmp_path / folder / "a.png")
        save(tmp_path / folder / "b.png")
    # Scenes beside pictures are not labels.
    for name in ("a", "b"):
        (tmp_path / "plain" / f"{name}.json").write_text('{"objects": []}')
    assert str(guess_format(tmp_path / "plain")) == "images: 2 pictures, no labels"
    assert str(guess_format(tmp_path / "inner")) == "images: 2 pictures, in images/, no labels"
    for folder in ("plain", "inner"):
        data = read_data_set(tmp_path / folder)
        assert data.classes == () and [image.name for image in data.images] == ["a", "b"]


def test_a_folder_that_may_be_two_things_or_none_is_refused(tmp_path: Path) -> None:
    coco_folder(tmp_path, coco_content())
    (tmp_path / "data.yaml").write_text("names: [cat]\n")
    refusal(lambda: guess_format(tmp_path), "coco: annotations.json beside images/ or yolo: data.yaml")
    assert len(read_data_set(tmp_path, "coco")) == 2
    (tmp_path / "empty").mkdir()
    refusal(lambda: guess_format(tmp_path / "empty"), "none of the formats images, bop, coco")
    refusal(lambda: guess_format(tmp_path / "missing"), "not a folder")
    refusal(lambda: read_data_set(tmp_path, "pickle"), "'pickle'", "coco, kitti")
