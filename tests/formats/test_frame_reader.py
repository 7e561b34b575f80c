"""Labelled images as frames with declared annotations, and frames as labelled images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autosim.formats import kitti
from autosim.formats.dataset import DataSet, LabelledImage
from autosim.formats.frame_reader import FrameReader, frame_classes, from_frame
from autosim.rendering.annotations import (
    Annotation,
    Boxes,
    ClassLabel,
    ClassMask,
    Depth,
    InstanceMask,
    RatedBoxes,
    check_frame,
)
from autosim.rendering.frames import Frame
from tests.formats.examples import CLASSES, HEIGHT, WIDTH, example, masks, picture, refusal

DECLARED: Mapping[str, Annotation] = {
    "boxes": Boxes(("cube", "ball"), 4),
    "instances": InstanceMask(4),
    "mask": ClassMask(("nothing", "cube", "ball")),
}


def reader(data: DataSet | None = None, **options: Any) -> FrameReader:
    settings: dict[str, Any] = {"declared": DECLARED, "height": HEIGHT, "width": WIDTH, **options}
    return FrameReader(data or example(), **settings)


@pytest.mark.parametrize("fit", ["pad", "crop"])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (40, 40), (12, 64)])
def test_frames_are_as_declared_at_any_size(fit: str, size: tuple[int, int]) -> None:
    frames = reader(height=size[0], width=size[1], fit=fit)
    assert len(frames) == 3
    for i in range(3):
        frame, dropped = frames.read(i)
        check_frame(DECLARED, frame, *size)
        boxes = np.asarray(frame.annotations["boxes"])
        kept = int((boxes[:, 4] >= 0).sum())
        assert kept + dropped == (3, 0, 0)[i]
        assert frame.annotations["instances"].max() <= kept


def test_classes_go_by_name_and_instances_by_row() -> None:
    frame, dropped = reader().read(0)
    boxes = np.asarray(frame.annotations["boxes"])
    assert dropped == 0 and boxes[:, 4].tolist() == [1, 0, 0, -1] and boxes[3].tolist() == [-1] * 5
    assert boxes[0, :4].tolist() == [2, 3, 9, 8]
    for i, mask in enumerate(masks()):
        assert (np.asarray(frame.annotations["instances"]) == i + 1)[mask].all()
        assert (np.asarray(frame.annotations["mask"])[mask] == (2, 1, 1)[i]).all()
    assert (frame.image == picture(1)).all()


def test_classes_are_mapped_or_left_out() -> None:
    declared = {"boxes": Boxes(("sphere",), 4), "mask": ClassMask(("nothing", "sphere")), "instances": InstanceMask(4)}
    frame, dropped = reader(declared=declared, mapping={"ball": "sphere", "cube": None}).read(0)
    boxes = np.asarray(frame.annotations["boxes"])
    assert dropped == 0 and boxes[:, 4].tolist() == [0, -1, -1, -1]
    assert set(np.unique(np.asarray(frame.annotations["mask"]))) == {0, 1}
    assert (np.asarray(frame.annotations["mask"]) > 0).sum() == masks()[0].sum()
    assert np.asarray(frame.annotations["instances"]).max() == 1


def test_a_picture_with_a_class_label_is_one_object_of_that_class() -> None:
    declared = {"mask": ClassMask(("nothing", "thing")), "label": ClassLabel(("ball", "cube", "cone"))}
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[2:6, 3:9] = 1
    frame = Frame(picture(), {"mask": mask, "label": np.array(2)})
    data = DataSet(frame_classes(declared), [from_frame("a", frame, declared)])
    assert data.classes == ("ball", "cube", "cone") and data.images[0].boxes.tolist() == [[3, 2, 9, 6]]
    assert data.images[0].classes.tolist() == [2] and data.images[0].class_mask is not None
    again, _ = reader(data, declared={"label": declared["label"]}).read(0)
    assert int(again.annotations["label"]) == 2


def test_objects_to_be_ignored_are_left_out_unless_wanted() -> None:
    frame, dropped = reader().read(2)
    assert dropped == 0 and (np.asarray(frame.annotations["boxes"]) == -1).all()
    assert (np.asarray(frame.annotations["mask"]) == 0).all()
    frame, _ = reader(with_ignored=True).read(2)
    assert np.asarray(frame.annotations["boxes"])[0, 4] == 1


def test_a_crop_tells_how_many_boxes_it_dropped() -> None:
    declared = {"boxes": Boxes(CLASSES, 4)}
    frame, dropped = reader(declared=declared, height=24, width=12, fit="crop").read(0)
    boxes = np.asarray(frame.annotations["boxes"])
    assert dropped == 2 and boxes[0].tolist() == [0, 12, 10, 22, 1] and (boxes[1:] == -1).all()


def test_mistakes_are_refused_by_name() -> None:
    strange = dataclasses.replace(example(), classes=("ball", "van"))
    refusal(lambda: reader(strange), "class 'van'", "cube, ball", "leave it out")
    refusal(lambda: reader(mapping={"lorry": "cube"}), "class 'lorry'", "ball, cube")
    refusal(lambda: reader(mapping={"ball": "van"}), "'ball'", "'van'", "cube, ball")
    refusal(lambda: reader(declared={"depth": Depth()}), "'depth'", "Depth")
    reader(strange, mapping={"van": None})
    # A class that no object has needs no entry.
    reader(dataclasses.replace(example(), classes=(*CLASSES, "unused")))


def test_what_an_image_lacks_or_has_too_much_of_is_refused_with_its_file() -> None:
    boxes = np.array([[1, 1, 5, 5]] * 5, dtype=np.float32)
    crowded = LabelledImage("a", picture(), boxes, np.zeros(5, dtype=np.int64), source="labels/a.txt")
    data = DataSet(CLASSES, [crowded])
    refusal(lambda: reader(data, declared={"boxes": Boxes(CLASSES, 4)}).read(0), "labels/a.txt", "5 boxes", "are 4")
    refusal(lambda: reader(data, declared={"i": InstanceMask(4)}).read(0), "labels/a.txt", "5 objects", "are 4")
    refusal(lambda: reader(data, declared={"i": InstanceMask(9)}).read(0), "labels/a.txt", "object 0 has no mask")
    refusal(
        lambda: reader(data, declared={"m": ClassMask(("nothing", *CLASSES))}).read(0), "labels/a.txt", "no mask of all"
    )


def test_void_pixels_are_background_and_edges_are_repeated() -> None:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[0], mask[1, 3] = 2, 255
    data = DataSet(CLASSES, [LabelledImage("a", picture(), class_mask=mask)])
    frames = reader(data, declared={"mask": ClassMask(("nothing", *CLASSES))}, height=HEIGHT + 8)
    found = np.asarray(frames.read(0)[0].annotations["mask"])
    assert (found[:5] == 2).all() and (found[5:] == 0).all()


def test_a_frame_becomes_a_labelled_image_and_a_frame_again() -> None:
    frames = reader()
    for i in range(3):
        frame, _ = frames.read(i)
        image = from_frame("a", frame, DECLARED)
        assert frame_classes(DECLARED) == ("cube", "ball")
        back, _ = reader(DataSet(frame_classes(DECLARED), [image])).read(0)
        assert (back.image == frame.image).all()
        for name in DECLARED:
            assert (np.asarray(back.annotations[name]) == np.asarray(frame.annotations[name])).all()


def test_masks_alone_give_objects_where_instances_are_told_apart() -> None:
    frame, _ = reader().read(0)
    declared = {name: kind for name, kind in DECLARED.items() if name != "boxes"}
    image = from_frame("a", Frame(frame.image, {name: frame.annotations[name] for name in declared}), declared)
    assert image.boxes.tolist() == np.asarray(frame.annotations["boxes"])[:3, :4].tolist()
    assert [frame_classes(declared)[i] for i in image.classes] == ["ball", "cube", "cube"]
    alone = from_frame("a", Frame(frame.image, {"mask": frame.annotations["mask"]}), {"mask": DECLARED["mask"]})
    found = alone.read_class_mask()
    assert len(alone) == 0 and found is not None and np.array_equal(found, frame.annotations["mask"])


def test_rated_boxes_keep_what_kitti_counts_and_what_it_overlooks(tmp_path: Path) -> None:
    """Vans are no wrong cars, regions belong to no class, and objects of other classes are left out."""
    for folder in ("image_2", "label_2"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (621, 188)).save(tmp_path / "image_2" / "000000.png")
    figures = "-10 {} 1 1 1 0 0 9 0"
    lines = [
        "Car 0.00 0 " + figures.format("10 10 60 40"),  # 60 pixels high in KITTI's own size: easy
        "Car 0.40 2 " + figures.format("100 10 160 40"),
        "Car 0.00 3 " + figures.format("200 10 260 40"),
        "Van 0.00 0 " + figures.format("300 10 360 40"),
        "Tram 0.00 0 " + figures.format("400 10 460 40"),
        "DontCare -1 -1 -10 500 10 560 40 -1 -1 -1 -1000 -1000 -1000 -10",
    ]
    (tmp_path / "label_2" / "000000.txt").write_text("\n".join(lines))
    data = kitti.read(tmp_path)
    declared = {"boxes": Boxes(("car",), 8), "rated": RatedBoxes(("car",), 8)}
    mapping = {"Car": "car", "Van": None, "Tram": None}
    frame, dropped = FrameReader(data, declared, 94, 310, mapping).read(0)
    check_frame(declared, frame, 94, 310)
    assert dropped == 0 and int((np.asarray(frame.annotations["boxes"], float)[:, 4] >= 0).sum()) == 3
    rated = np.asarray(frame.annotations["rated"])
    assert [tuple(row) for row in rated[:5, 4:].astype(int)] == [(0, 0), (0, 2), (0, 3), (0, 3), (-1, 3)]
    assert (rated[5:] == -1).all()
    np.testing.assert_allclose(rated[0, :4], np.array([10, 10, 60, 40]) * 310 / 621, atol=0.2)
    counted = FrameReader(data, declared, 94, 310, {**mapping, "Van": "car"}).read(0)[0]
    assert [tuple(row) for row in counted.annotations["rated"][3:4, 4:].astype(int)] == [(0, 0)]
