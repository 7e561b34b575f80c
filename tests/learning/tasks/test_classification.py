"""Classification: labels checked, losses of each sample alone, bars told apart after a short training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autosim.learning.schedule import TrainingSchedule
from autosim.learning.tasks.classification import Classification
from autosim.rendering.frames import Frames
from tests.learning.small_tasks import scored

pytestmark = pytest.mark.usefixtures("one_thread")


def bars(count: int, seed: int) -> Frames:
    """Horizontal (0) or vertical (1) bars at random places."""
    rng = np.random.default_rng(seed)
    images = np.zeros((count, 16, 16, 3), np.uint8)
    labels = rng.integers(0, 2, count)
    for image, label in zip(images, labels, strict=True):
        place = rng.integers(1, 14)
        image[(slice(place, place + 2), slice(None)) if label == 0 else (slice(None), slice(place, place + 2))] = 255
    return Frames(images, {"label": labels})


def test_it_learns_to_tell_bars_apart() -> None:
    task = Classification(2, 16, 16)
    network = task.network(0)
    assert 0.2 < task.evaluate(network, bars(100, 1)) < 0.8
    task.train(network, bars(200, 0), TrainingSchedule(epochs=6, batch_size=16, learning_rate=2e-3), 0)
    assert task.evaluate(network, bars(100, 1)) > 0.97


def test_training_repeats_exactly_and_leaves_the_global_random_state() -> None:
    task, weights = Classification(2, 16, 16), []
    schedule = TrainingSchedule(epochs=2, batch_size=16, learning_rate=2e-3)
    for state in (1, 2):
        torch.manual_seed(state)
        before = torch.get_rng_state()
        network = task.network(0)
        task.train(network, bars(50, 0), schedule, 7)
        assert torch.equal(torch.get_rng_state(), before)
        weights.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    assert torch.equal(*weights)


def test_losses_are_of_each_sample_and_the_score_is_the_accuracy() -> None:
    task = Classification(3, 16, 16)
    logits, labels = torch.tensor([[2.0, 0, 0], [0, 0, 3.0], [0, 1.0, 0]]), torch.tensor([0, 2, 0])
    expected = [-float(torch.log_softmax(row, 0)[label]) for row, label in zip(logits, labels, strict=True)]
    assert torch.allclose(task.losses(logits, labels), torch.tensor(expected))
    assert scored(task, logits, labels) == pytest.approx(2 / 3)


def test_training_sees_images_shifted_each_by_its_own_number_of_pixels() -> None:
    torch.manual_seed(0)
    images = torch.rand(64, 3, 16, 20)
    shifted, labels = Classification(2, 16, 20, shift=2).vary(images, torch.arange(len(images)))
    assert torch.equal(labels, torch.arange(len(images)))
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    moves = set()
    for image, source in zip(shifted, padded, strict=True):
        (move,) = [
            (row, column)
            for row in range(5)
            for column in range(5)
            if torch.equal(image, source[:, row : row + 16, column : column + 20])
        ]
        moves.add(move)
    # Of 25 shifts, 64 draws leave out few.
    assert len(moves) > 15
    labels = torch.zeros(len(images))
    assert torch.equal(Classification(2, 16, 20, shift=0).vary(images, labels)[0], images)


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ({}, "no annotation 'label'"),
        ({"label": np.array([0, 5])}, r"outside \[0, 3\)"),
        ({"label": np.array([0, -1])}, r"outside \[0, 3\)"),
        ({"label": np.zeros((2, 2), int)}, "shape"),
    ],
)
def test_labels_that_do_not_fit_are_refused(annotations: dict[str, np.ndarray], message: str) -> None:
    frames = Frames(np.zeros((2, 16, 16, 3), np.uint8), annotations)
    with pytest.raises(ValueError, match=message):
        Classification(3, 16, 16).prepare(frames)


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="classes"):
        Classification(1, 16, 16)
    with pytest.raises(ValueError, match="smaller than"):
        Classification(2, 16, 4)
    with pytest.raises(ValueError, match="shift"):
        Classification(2, 16, 16, shift=-1)
