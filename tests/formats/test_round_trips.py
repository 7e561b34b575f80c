"""Each format reads what it writes, and other people's readers read it too."""

from __future__ import annotations

import dataclasses
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autosim.errors import UserError
from autosim.formats import bop, coco, kitti, yolo
from autosim.formats.dataset import DataSet, LabelledImage
from autosim.formats.guess import READERS, WRITERS, guess_format, read_data_set
from autosim.formats.pictures import encode_png
from autosim.formats.shapes import MaskFile, Pixels, Polygons, RunLengths, bounding_box, outline
from tests.formats.examples import CLASSES, HEIGHT, WIDTH, all_boxes, boxes_of, example, masks, picture

WITH_BOXES = ["bop", "coco", "kitti", "voc", "yolo"]


def written_as(name: str, data: DataSet, folder: Path, part: str | None = None) -> DataSet:
    WRITERS[name](data, folder, part)
    return READERS[name](folder, part)


def expected(name: str, data: DataSet) -> list[list[tuple[str, bool, list[float]]]]:
    """What a format can say about boxes: BOP has numbers for names, KITTI no class of what is ignored, YOLO no such."""
    found = all_boxes(data)
    if name == "bop":
        numbers = {label: f"obj_{i + 1:06d}" for i, label in enumerate(data.classes)}
        return [[(numbers[label], ignored, box) for label, ignored, box in image] for image in found]
    if name == "kitti":
        return [[("DontCare" if ignored else label, ignored, box) for label, ignored, box in image] for image in found]
    if name == "yolo":
        return [[entry for entry in image if not entry[1]] for image in found]
    return found


@pytest.mark.parametrize("name", WITH_BOXES)
@pytest.mark.parametrize("part", [None, "val"])
def test_boxes_classes_and_pixels_come_back(name: str, part: str | None, tmp_path: Path) -> None:
    data = example()
    back = written_as(name, data, tmp_path, part)
    assert all_boxes(back) == expected(name, data)
    for image, original in zip(back.images, data.images, strict=True):
        assert (image.read() == original.read()).all()
        assert image.read_size() == (HEIGHT, WIDTH)


@pytest.mark.parametrize("name", ["bop", "coco", "voc"])
def test_the_pixels_of_each_object_come_back(name: str, tmp_path: Path) -> None:
    data = example()
    back = written_as(name, data, tmp_path)
    for i, mask in enumerate(masks()):
        found = back.images[0].shape_mask(i)
        assert found is not None and (found == mask).all()
    original = data.images[0].read_class_mask()
    assert original is not None and set(np.unique(original)) == {0, 1, 2}
    again = back.images[0].read_class_mask()
    assert again is not None and np.array_equal(again, original)


def test_class_masks_come_back_with_their_names(tmp_path: Path) -> None:
    data = example()
    for part in (None, "val"):
        back = written_as("masks", data, tmp_path, part)
        assert back.classes == CLASSES
        for image, original in zip(back.images, data.images, strict=True):
            mask, again = original.read_class_mask(), image.read_class_mask()
            assert mask is not None and again is not None and np.array_equal(again, mask)
            assert image.name == original.name


@pytest.mark.parametrize("name", [*WITH_BOXES, "masks"])
def test_a_written_folder_is_recognised_and_writing_twice_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        WRITERS[name](example(), tmp_path / folder, None)
    assert guess_format(tmp_path / "one").name == name
    assert len(read_data_set(tmp_path / "one")) == 3
    files = [path.relative_to(tmp_path / "one") for path in sorted((tmp_path / "one").rglob("*")) if path.is_file()]
    assert len(files) >= 4
    assert all((tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes() for path in files)


def lengths(limit: int) -> st.SearchStrategy[float]:
    """Coordinates that are 0 or a thousandth of a pixel at least: shares of a picture cannot tell less apart."""
    return st.floats(0, limit, width=32).map(lambda value: value if value > 1e-3 else 0.0)


@st.composite
def random_boxes(draw: st.DrawFn) -> np.ndarray[Any, np.dtype[np.float32]]:
    found = []
    for _ in range(draw(st.integers(1, 4))):
        x0, x1 = sorted((draw(lengths(WIDTH)), draw(lengths(WIDTH))))
        y0, y1 = sorted((draw(lengths(HEIGHT)), draw(lengths(HEIGHT))))
        found.append((x0, y0, x1, y1))
    return np.array(found, dtype=np.float32)


@settings(max_examples=12)
@given(boxes=random_boxes(), seed=st.integers(0, 100))
def test_any_boxes_come_back_to_the_last_bit(
    boxes: np.ndarray[Any, np.dtype[np.float32]], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    classes = np.random.default_rng(seed).integers(0, 2, len(boxes))
    data = DataSet(CLASSES, [LabelledImage("a", picture(), boxes, classes)])
    for name in ("coco", "kitti", "yolo", "bop"):
        folder = tmp_path_factory.getbasetemp() / f"any-{name}"
        (image,) = written_as(name, data, folder, "train").images
        assert image.boxes.dtype == np.float32
        assert (image.boxes == boxes).all(), name
        assert boxes_of(image, CLASSES)[0][2] == [float(value) for value in boxes[0]]


@settings(max_examples=12)
@given(boxes=random_boxes())
def test_voc_rounds_to_whole_pixels(
    boxes: np.ndarray[Any, np.dtype[np.float32]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = DataSet(CLASSES, [LabelledImage("a", picture(), boxes, np.zeros(len(boxes), dtype=np.int64))])
    (image,) = written_as("voc", data, tmp_path_factory.getbasetemp() / "any-voc").images
    assert (np.abs(image.boxes - boxes) <= 1.5).all() and (image.boxes == np.round(image.boxes)).all()
    assert (image.boxes[:, 2:] > image.boxes[:, :2]).all()


def test_coco_keeps_polygons_run_lengths_areas_and_crowds(tmp_path: Path) -> None:
    ring = np.array([[1.25, 2.5], [20.1, 3.0], [8.0, 19.75]])
    runs = RunLengths((100, 20, HEIGHT * WIDTH - 120), HEIGHT, WIDTH)
    boxes = np.array([[1.25, 2.5, 20.1, 19.75], [4, 0, 6, 24], [4, 0, 6, 24]], dtype=np.float32)
    image = LabelledImage(
        "scene/a",
        picture(),
        boxes,
        np.array([1, 0, 0]),
        ignore=np.array([False, True, False]),
        shapes=(Polygons((ring, ring + 1)), runs, None),
        details={"area": np.array([163.5, 20.0, 48.0])},
    )
    (back,) = written_as("coco", DataSet(CLASSES, [image]), tmp_path).images
    assert back.name == "scene/a" and boxes_of(back, CLASSES) == boxes_of(image, CLASSES)
    polygons, lengths_back, nothing = back.shapes
    assert isinstance(polygons, Polygons) and [r.tolist() for r in polygons.rings] == [
        ring.tolist(),
        (ring + 1).tolist(),
    ]
    assert isinstance(lengths_back, RunLengths) and lengths_back.counts == runs.counts and nothing is None
    assert back.details["area"].tolist() == [163.5, 20.0, 48.0]


def test_yolo_keeps_polygons_where_all_objects_have_one(tmp_path: Path) -> None:
    ring = np.array([[1.25, 2.5], [20.1, 3.0], [8.0, 19.75]])
    box = np.array([[1.25, 2.5, 20.1, 19.75]], dtype=np.float32)
    image = LabelledImage("a", picture(), box, np.array([1]), shapes=(Polygons((ring,)),))
    (back,) = written_as("yolo", DataSet(CLASSES, [image]), tmp_path, "val").images
    (shape,) = back.shapes
    assert isinstance(shape, Polygons) and np.allclose(shape.rings[0], ring, atol=1e-12)
    assert np.allclose(back.boxes, box, atol=1e-5) and back.name == "a"


def test_outlines_of_yolo_are_masks_to_the_pixel_for_us_and_within_one_for_supervision(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about libraries that it can do without
        import supervision

    y, x = np.mgrid[:HEIGHT, :WIDTH]
    parts = ((x < 6) | (x > 20)) & (y > 14)
    data = example()
    both = [*masks(), parts & ~masks()[2], np.zeros_like(parts)]
    boxes = np.array([bounding_box(mask) for mask in both], dtype=np.float32)
    image = LabelledImage(
        "a", picture(1), boxes, np.array([0, 1, 1, 0, 0]), shapes=tuple(Pixels(mask) for mask in both)
    )
    data = DataSet(CLASSES, [image, *data.images[1:]])
    yolo.write_outlines(data, tmp_path, "train")
    back = yolo.read(tmp_path, "train")
    # What is to be ignored and what is not seen has no outline.
    assert [len(found) for found in back.images] == [4, 0, 0]
    assert back.images[0].boxes.tolist() == boxes[:4].tolist()
    theirs = supervision.DetectionDataset.from_yolo(
        images_directory_path=str(tmp_path / "images/train"),
        annotations_directory_path=str(tmp_path / "labels/train"),
        data_yaml_path=str(tmp_path / "data.yaml"),
    )
    found = {Path(path).stem: detections for path, _, detections in theirs}["a"]
    assert found.mask is not None and found.class_id is not None and found.class_id.tolist() == [0, 1, 1, 0]
    for i, mask in enumerate(both[:4]):
        ours = back.images[0].shape_mask(i)
        assert ours is not None and (ours == mask).all()
        # It paints the outline too, and of a shape in parts the line that joins them.
        different = found.mask[i] & ~mask
        assert (found.mask[i] | ~mask).all() and (i == 3 or not (different & ~near(mask)).any())


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), height=st.integers(1, 30), width=st.integers(1, 30), share=st.floats(0, 1))
def test_any_mask_has_an_outline_that_gives_it_back(seed: int, height: int, width: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    ring = outline(mask)
    assert (Polygons((ring,)).mask(height, width) == mask).all() if mask.any() else len(ring) == 0
    assert (ring == np.round(ring)).all()


def near(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The pixels of a mask, and those right of them and below."""
    padded = np.pad(mask, ((1, 0), (1, 0)))
    return padded[1:, 1:] | padded[:-1, 1:] | padded[1:, :-1] | padded[:-1, :-1]


def test_kitti_keeps_every_field_and_the_camera(tmp_path: Path) -> None:
    details = {
        "truncated": np.array([0.25, -1.0]),
        "occluded": np.array([2, -1]),
        "alpha": np.array([-1.573, -10.0]),
        "dimensions": np.array([[1.5, 1.61, 4.123456], [-1.0, -1.0, -1.0]]),
        "location": np.array([[-16.53, 2.39, 58.49], [-1000.0, -1000.0, -1000.0]]),
        "rotation_y": np.array([1.57, -10.0]),
    }
    camera = np.array([[358.1, 0, 305.9, 23.17], [0, 357.3, 91.2, -0.17], [0, 0, 1, 0.0049]])
    boxes = np.array([[1.5, 2, 9, 20], [3, 3, 4, 4]], dtype=np.float32)
    data = DataSet(
        ("Car", "DontCare"),
        [
            LabelledImage(
                "000007",
                picture(),
                boxes,
                np.array([0, 1]),
                ignore=np.array([False, True]),
                details=details,
                camera=camera,
            )
        ],
    )
    (back,) = written_as("kitti", data, tmp_path).images
    assert boxes_of(back, ("Car", "DontCare")) == boxes_of(data.images[0], ("Car", "DontCare"))
    assert {name: values.tolist() for name, values in back.details.items()} == {
        name: values.tolist() for name, values in details.items()
    }
    assert back.camera is not None and (back.camera == camera).all()


def test_bop_keeps_poses_cameras_visibility_and_whole_boxes(tmp_path: Path) -> None:
    details = {
        "visibility": np.array([0.05, 0.75]),
        "whole_box": np.array([[0, 0, 20, 20], [4, 4, 9, 30]], dtype=np.float32),
        "rotation": np.stack([np.eye(3), np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])]),
        "translation": np.array([[1.5, -2.25, 900.0], [0.1, 0.2, 1112.83]]),
    }
    camera = np.array([[572.4, 0, 325.2], [0, 573.5, 242.0], [0, 0, 1]])
    boxes = np.array([[2, 3, 8, 9], [4, 4, 9, 20]], dtype=np.float32)
    image = LabelledImage("a", picture(), boxes, np.array([1, 0]), details=details, camera=camera)
    back = written_as("bop", DataSet(("obj_000005", "obj_000012"), [image]), tmp_path)
    assert back.classes == ("obj_000005", "obj_000012")
    (found,) = back.images
    assert found.classes.tolist() == [1, 0] and found.ignored.tolist() == [True, False]
    assert {name: values.tolist() for name, values in found.details.items()} == {
        name: values.tolist() for name, values in details.items()
    }
    assert found.camera is not None and (found.camera == camera).all()
    assert back.notes == ("1 objects of which less than 0.1 is visible are ignored",)


def test_voc_keeps_poses_and_flags(tmp_path: Path) -> None:
    data = example()
    details = {"truncated": np.array([1, 0, 0]), "pose": np.array(["Left", "Unspecified", "Rear"], dtype=object)}
    ignore = np.array([False, True, False])
    image = dataclasses.replace(data.images[0], details=details, ignore=ignore)
    (back,) = written_as("voc", DataSet(CLASSES, [image]), tmp_path).images
    assert back.details["truncated"].tolist() == [1, 0, 0] and list(back.details["pose"]) == list(details["pose"])
    assert back.ignored.tolist() == [False, True, False]


def test_coco_tools_read_the_same_boxes_and_pixels(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    data = example()
    ring = np.array([[1.25, 2.5], [20.1, 3.0], [8.0, 19.75]])
    box = np.array([[1.25, 2.5, 20.1, 19.75]], dtype=np.float32)
    drawn = LabelledImage("d", picture(4), box, np.array([0]), shapes=(Polygons((ring,)),))
    data = DataSet(CLASSES, [*data.images, drawn])
    coco.write(data, tmp_path)
    theirs, ours = COCO(str(tmp_path / "annotations.json")), coco.read(tmp_path)
    assert [entry["name"] for entry in theirs.loadCats(theirs.getCatIds())] == list(CLASSES)
    assert len(theirs.getImgIds()) == 4 and len(theirs.getAnnIds()) == 5
    for number, image in zip(theirs.getImgIds(), ours.images, strict=True):
        for i, entry in enumerate(theirs.loadAnns(theirs.getAnnIds(number))):
            x, y, width, height = entry["bbox"]
            assert np.array([x, y, x + width, y + height], dtype=np.float32).tolist() == image.boxes[i].tolist()
            assert entry["category_id"] == image.classes[i] + 1 and entry["iscrowd"] == image.ignored[i]
            mask = image.shape_mask(i)
            assert mask is not None and mask.any() and (theirs.annToMask(entry) == mask).all()


def test_supervision_reads_the_same_boxes_of_yolo_and_voc(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about libraries that it can do without
        import supervision

    data = example()
    WRITERS["yolo"](data, tmp_path / "yolo", "train")
    WRITERS["voc"](data, tmp_path / "voc", None)
    yolo_theirs = supervision.DetectionDataset.from_yolo(
        images_directory_path=str(tmp_path / "yolo/images/train"),
        annotations_directory_path=str(tmp_path / "yolo/labels/train"),
        data_yaml_path=str(tmp_path / "yolo/data.yaml"),
    )
    voc_theirs = supervision.DetectionDataset.from_pascal_voc(
        images_directory_path=str(tmp_path / "voc/JPEGImages"),
        annotations_directory_path=str(tmp_path / "voc/Annotations"),
    )
    for theirs, name in ((yolo_theirs, "yolo"), (voc_theirs, "voc")):
        assert list(theirs.classes) == list(CLASSES) and len(theirs) == 3
        found = {Path(path).stem: detections for path, _, detections in theirs}
        for image, objects in zip(data.images, expected(name, data), strict=True):
            boxes = [box for _, _, box in objects]
            assert np.allclose(found[image.name].xyxy, np.array(boxes).reshape(-1, 4), atol=1e-3)
            indices = found[image.name].class_id
            assert indices is not None and [CLASSES[i] for i in indices] == [label for label, _, _ in objects]


def test_difficulty_is_as_the_development_kit_says() -> None:
    cases = [  # height, occluded, truncated -> level
        (40.1, 0, 0.15, 0),
        (40.0, 0, 0.0, 1),
        (60.0, 1, 0.0, 1),
        (60.0, 0, 0.3, 1),
        (25.1, 2, 0.5, 2),
        (25.01, 0, 0.0, 1),
        (25.0, 0, 0.0, 3),
        (60.0, 3, 0.0, 3),
        (60.0, 0, 0.51, 3),
    ]
    boxes = np.array([(0, 0, 5, height) for height, *_ in cases], dtype=np.float32)
    details = {
        "occluded": np.array([case[1] for case in cases]),
        "truncated": np.array([case[2] for case in cases]),
    }
    zeros = np.zeros(len(cases), dtype=np.int64)
    image = LabelledImage("a", picture(), boxes, zeros, details=details)
    assert kitti.difficulty(image).tolist() == [case[3] for case in cases]
    half = dataclasses.replace(image, boxes=boxes / np.float32(2))
    assert kitti.difficulty(half, scale=0.5).tolist() == [case[3] for case in cases]
    regions = dataclasses.replace(image, ignore=np.ones(len(cases), dtype=bool))
    assert set(kitti.difficulty(regions)) == {kitti.NOT_COUNTED}


def test_images_that_would_be_one_file_are_refused_and_names_with_folders_kept_apart(tmp_path: Path) -> None:
    apart = DataSet(CLASSES, [LabelledImage("a/b", picture(1)), LabelledImage("a_b", picture(2))])
    for name in ("kitti", "masks", "voc"):
        with pytest.raises(UserError, match="a_b: two images"):
            WRITERS[name](apart, tmp_path / name, None)
    assert [image.name for image in written_as("coco", apart, tmp_path / "coco").images] == ["a/b", "a_b"]
    for name in ("coco", "yolo"):
        with pytest.raises(UserError, match="a: two images"):
            WRITERS[name](DataSet(CLASSES, [LabelledImage("a", picture(1))] * 2), tmp_path / name, None)


def test_bop_numbers_its_classes_as_they_are_called_or_by_place() -> None:
    boxes = np.array([[1, 1, 3, 3]] * 2, dtype=np.float32)
    image = LabelledImage("a", picture(), boxes, np.array([0, 1]))
    for classes, expected_numbers in ((("obj_000005", "obj_000012"), [5, 12]), (("obj_000002", "cup"), [1, 2])):
        assert [entry["obj_id"] for entry in bop.image_truth(image, classes)[0]] == expected_numbers


def test_what_a_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    boxes = np.array([[1, 1, 3, 3]], dtype=np.float32)
    with pytest.raises(UserError, match="a has no mask of all its objects"):
        WRITERS["masks"](DataSet(CLASSES, [LabelledImage("a", picture(), boxes, np.array([0]))]), tmp_path, None)
    with pytest.raises(ValueError, match="leaves its folder"):
        LabelledImage("../a", picture())
    with pytest.raises(ValueError, match="classes has 0 entries for 1 boxes"):
        LabelledImage("a", picture(), boxes)


def test_texts_for_one_picture_are_as_the_formats_have_them() -> None:
    (image, _, ignored) = example().images
    assert kitti.label_text(image, CLASSES).splitlines()[0] == (
        "ball 0.00 0 -10.00 2.00 3.00 9.00 8.00 -1.00 -1.00 -1.00 -1000.00 -1000.00 -1000.00 -10.00"
    )
    assert kitti.label_text(ignored, CLASSES).startswith("DontCare -1.00 -1 -10.00 10.00")
    assert yolo.label_text(image).splitlines()[0] == "0 0.171875000 0.229166667 0.218750000 0.208333333"
    assert yolo.label_text(ignored) == ""
    truth, info = bop.image_truth(image, CLASSES)
    assert truth[1] == {"obj_id": 2} and info[0]["bbox_visib"] == [2, 3, 7, 5]
    entry = coco.image_annotations(image, 5, first=9)[0]
    assert entry["bbox"] == [2.0, 3.0, 7.0, 5.0] and entry["id"] == 9 and entry["area"] == 35.0


def test_a_mask_file_is_read_again_where_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    for i, mask in enumerate(masks()):
        path.write_bytes(encode_png(mask.astype(np.uint8)))
        os.utime(path, ns=(i, i))
        assert (MaskFile(path).mask(HEIGHT, WIDTH) == mask).all()
