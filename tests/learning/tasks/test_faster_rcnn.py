"""Faster R-CNN as the network of the detection task: it learns, repeats, is scored, and has no influences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autosim.errors import UserError
from autosim.learning.influence.probe import Probe
from autosim.learning.schedule import TrainingSchedule
from autosim.learning.tasks.detector_settings import DetectorSettings
from autosim.learning.tasks.faster_rcnn import FasterRcnn
from autosim.rendering.frames import Frames

pytestmark = pytest.mark.usefixtures("one_thread")
CLASSES = ("red", "blue")


def squares(count: int, seed: int = 0) -> Frames:
    """Grey images of 64×64 with a red square on the left half and, in every other one, a blue square on the right."""
    rng = np.random.default_rng(seed)
    images = np.full((count, 64, 64, 3), 90, dtype=np.uint8)
    boxes = np.full((count, 3, 5), -1, dtype=np.float32)
    for i in range(count):
        for kind in range(1 + i % 2):
            x, y = rng.integers(0, 16) + 32 * kind, rng.integers(0, 48)
            images[i, y : y + 16, x : x + 16] = (200, 30, 30) if kind == 0 else (30, 30, 200)
            boxes[i, kind] = (x, y, x + 16, y + 16, kind)
    return Frames(images, {"boxes": boxes})


def task() -> FasterRcnn:
    return FasterRcnn(CLASSES, width=4, frozen=17, flips=False, colour=False, size=(16.0, 16.0))


def test_it_learns_to_find_squares() -> None:
    learner, frames = task(), squares(8)
    network = learner.network(0)
    assert learner.evaluate(network, frames) < 0.3
    learner.train(network, frames, TrainingSchedule(epochs=6, batch_size=2, learning_rate=1.5e-2), seed=0)
    scorer = learner.scored(network, frames)
    assert scorer.compute() > 0.5 and set(scorer.by_class()) == set(CLASSES)


def test_training_repeats_and_each_image_has_its_loss() -> None:
    learner, frames = task(), squares(3)
    schedule = TrainingSchedule(epochs=1, batch_size=2, learning_rate=1e-3)
    networks = [learner.network(1) for _ in range(2)]
    losses = [learner.train(network, frames, schedule, seed=5) for network in networks]
    assert losses[0] == losses[1]
    pairs = zip(networks[0].state_dict().values(), networks[1].state_dict().values(), strict=True)
    assert all(torch.equal(first, second) for first, second in pairs)
    found = learner.training_losses(networks[0].train(), *learner.prepare(frames))
    assert found.shape == (3,) and bool(found.isfinite().all()) and found.requires_grad


def test_images_without_objects_and_of_any_size_are_looked_at() -> None:
    learner = task()
    images = np.full((2, 45, 70, 3), 90, dtype=np.uint8)
    frames = Frames(images, {"boxes": np.full((2, 1, 5), -1, dtype=np.float32)})
    network = learner.network(0)
    learner.train(network, frames, TrainingSchedule(epochs=1, batch_size=2, learning_rate=1e-3), seed=0)
    ((outputs, _),) = learner.predict(network, frames)
    assert learner.size_of(outputs) == (45, 70)
    assert all(len(found.boxes) == len(found.scores) == len(found.classes) for found in learner.boxes(outputs, 45, 70))


def test_influences_are_refused_in_one_line() -> None:
    learner = task()
    network = learner.network(0)
    with pytest.raises(UserError, match="influences cannot be measured at FasterRcnn"):
        Probe(learner, network)
    with pytest.raises(UserError, match="do not follow from its outputs"):
        learner.losses(torch.zeros(1), [])


def test_settings_make_it() -> None:
    made = DetectorSettings(network="faster_rcnn", frozen=3, score="mAP").task(CLASSES, 2, (8.0, 8.0))
    assert isinstance(made, FasterRcnn) and made.score_name == "mAP" and made.usual == pytest.approx(8.0)
    with pytest.raises(ValueError, match="stride: 8, but faster_rcnn has 4"):
        DetectorSettings(network="faster_rcnn", stride=8)
