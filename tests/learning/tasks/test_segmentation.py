"""Segmentation: the network, the balanced loss, the score, and that it learns."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autosim.learning.schedule import TrainingSchedule
from autosim.learning.tasks.segmentation import Segmentation
from autosim.learning.training import warm_cosine
from autosim.rendering.frames import Frames
from tests.learning.shapes import KINDS, shape_frames
from tests.learning.small_tasks import scored

TASK = Segmentation(("background", *KINDS), width=8)


def logits_of(prediction: Tensor, classes: int) -> Tensor:
    """Logits that predict the given class of each pixel."""
    return torch.nn.functional.one_hot(prediction, classes).permute(0, 3, 1, 2).float()


def test_network_has_eight_convolutions_from_width_to_four_times_width() -> None:
    network = Segmentation(("a", "b", "c", "d")).network(0)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 8
    assert all(c.kernel_size == (3, 3) for c in convolutions)
    filters = [c.out_channels for c in convolutions[:-1]]
    assert (min(filters), max(filters)) == (16, 64)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


@pytest.mark.parametrize("size", [(16, 16), (30, 37), (64, 48)])
def test_logits_have_the_size_of_the_images(size: tuple[int, int]) -> None:
    assert TASK.network(0)(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_equal_seeds_give_equal_weights_and_leave_the_global_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second, other = (TASK.network(seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("normalisation", ["group", "none"])
def test_loss_of_a_sample_does_not_depend_on_the_batch(normalisation: str) -> None:
    task = Segmentation(("background", *KINDS), width=8, normalisation=normalisation)  # type: ignore[arg-type]
    _, frames = shape_frames(6, seed=0)
    inputs, targets = task.prepare(frames)
    network = task.network(0).train()
    together = task.losses(network(inputs), targets)
    alone = torch.cat([task.losses(network(inputs[i : i + 1]), targets[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(together, alone)


def test_derivatives_along_a_direction_equal_those_of_single_samples() -> None:
    _, frames = shape_frames(3, seed=1)
    inputs, targets = TASK.prepare(frames)
    network = TASK.network(0).eval()
    parameters = {name: value.detach() for name, value in network.named_parameters()}
    direction = {name: torch.full_like(value, 0.01) for name, value in parameters.items()}

    def losses(parameters: dict[str, Tensor]) -> Tensor:
        return TASK.losses(torch.func.functional_call(network, parameters, (inputs,)), targets)

    tangents = torch.func.jvp(losses, (parameters,), (direction,))[1]
    for i in range(3):
        gradient = torch.autograd.grad(
            TASK.losses(network(inputs[i : i + 1]), targets[i : i + 1])[0], list(network.parameters())
        )
        expected = sum(float((g * direction[name]).sum()) for g, name in zip(gradient, parameters, strict=True))
        assert float(tangents[i]) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_balance_by_hand() -> None:
    # Four pixels, three of class 0 with loss a each and one of class 1 with loss b.
    outputs = torch.tensor([2.0, 0.0])[None, :, None, None].expand(1, 2, 2, 2)
    targets = torch.tensor([[[0, 0], [0, 1]]])
    a, b = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    for balance, expected in [(0.0, (3 * a + b) / 4), (1.0, (a + b) / 2)]:
        task = Segmentation(("a", "b"), balance=balance)
        assert float(task.losses(outputs, targets)) == pytest.approx(expected, rel=1e-5)
    rare, common = 0.25**-0.5, 0.75**-0.5
    expected = (3 * common * a + rare * b) / (3 * common + rare)
    assert float(Segmentation(("a", "b"), balance=0.5).losses(outputs, targets)) == pytest.approx(expected, rel=1e-5)


def test_score_by_hand() -> None:
    targets = torch.tensor([[[0, 0], [1, 1]]])
    predictions = torch.tensor([[[0, 1], [1, 1]]])
    task = Segmentation(("a", "b", "c"))
    # Class 0: 1 of 2; class 1: 2 of 3; class 2 is nowhere and does not count.
    assert scored(task, logits_of(predictions, 3), targets) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert scored(task, logits_of(targets, 3), targets) == pytest.approx(1.0)
    # Predicted though absent: its 0 counts.
    wrong = torch.tensor([[[0, 0], [1, 2]]])
    assert scored(task, logits_of(wrong, 3), targets) == pytest.approx((1 + 1 / 2 + 0) / 3)
    # Missed altogether: its 0 counts too.
    assert scored(task, logits_of(torch.zeros_like(targets), 3), targets) == pytest.approx((2 / 4 + 0) / 2)


def test_foreground_classes_count_as_often_as_they_occur() -> None:
    targets = torch.tensor([[[0, 0, 1], [1, 1, 2]]])
    predictions = torch.tensor([[[0, 1, 1], [1, 0, 1]]])
    task = Segmentation(("a", "b", "c"), average="foreground")
    assert task.score_name == "foreground IoU"
    # Class 1: 2 of 5; class 2: 0 of 1.
    assert scored(task, logits_of(predictions, 3), targets) == pytest.approx(2 / 6)
    assert scored(task, logits_of(targets, 3), targets) == 1.0
    nothing = torch.zeros_like(targets)
    assert scored(task, logits_of(nothing, 3), nothing) == 1.0 > scored(task, logits_of(nothing, 3), targets) == 0.0


def test_an_unknown_average_is_refused() -> None:
    with pytest.raises(ValueError, match="average: 'micro' is not one of"):
        Segmentation(("a", "b"), average="micro")  # type: ignore[arg-type]


def test_score_pools_pixels_over_the_set() -> None:
    targets = torch.tensor([[[0, 0], [1, 1]], [[0, 0], [0, 0]]])
    predictions = torch.tensor([[[0, 0], [1, 1]], [[0, 0], [0, 1]]])
    # Class 0: 5 of 6; class 1: 2 of 3.
    assert scored(Segmentation(("a", "b")), logits_of(predictions, 2), targets) == pytest.approx((5 / 6 + 2 / 3) / 2)


def test_a_score_summed_up_batch_by_batch_is_torchmetrics_on_the_whole_set() -> None:
    from torchmetrics.functional.classification import multiclass_jaccard_index

    generator = torch.Generator().manual_seed(0)
    task = Segmentation(("a", "b", "c", "d", "never"))
    outputs = torch.rand(20, 5, 7, 9, generator=generator) - torch.tensor([0, 0.3, 0.6, 0.2, 9])[:, None, None]
    targets = torch.randint(0, 4, (20, 7, 9), generator=generator)
    scorer = task.scorer()
    for part, truth in zip(outputs.split(3), targets.split(3), strict=True):
        scorer.update(part, truth)
    predictions = outputs.argmax(dim=1)
    assert scorer.compute() == float(multiclass_jaccard_index(predictions, targets, num_classes=5, average="macro"))
    each = multiclass_jaccard_index(predictions, targets, num_classes=5, average="none")
    assert scorer.by_class() == pytest.approx({name: float(each[i]) for i, name in enumerate("abcd")}, rel=1e-6)


def test_nothing_seen_is_no_score() -> None:
    with pytest.raises(ValueError, match="no pixels"):
        TASK.scorer().compute()
    with pytest.raises(ValueError, match="no frames"):
        TASK.evaluate(TASK.network(0), shape_frames(2, seed=0)[1].select(slice(0)))


def test_what_is_found_is_the_likeliest_class_of_each_pixel() -> None:
    _, shown = shape_frames(3, seed=0)
    network = TASK.network(0)
    found = TASK.found(network, shown)
    with torch.no_grad():
        wanted = network(TASK.prepare(shown)[0]).argmax(dim=1).numpy()
    assert np.array_equal(found.annotations["mask"], wanted) and found.annotations["mask"].dtype == np.uint8


def test_it_learns_shapes() -> None:
    _, training = shape_frames(128, seed=0)
    _, test = shape_frames(64, seed=1)
    schedule = TrainingSchedule(epochs=12, batch_size=8, learning_rate=5e-3)
    network = TASK.network(0)
    untrained = TASK.evaluate(network, test)
    TASK.train(network, training, schedule, seed=0)
    assert TASK.evaluate(network, test) > untrained + 0.25


def test_learning_rate_rises_and_comes_to_rest() -> None:
    factors = [warm_cosine(step, 100) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == pytest.approx(factors[9])
    assert factors[100] == pytest.approx(0.0)
    assert all(later < earlier for earlier, later in itertools.pairwise(factors[9:]))


def test_bad_arguments_and_frames_are_named() -> None:
    with pytest.raises(ValueError, match="classes"):
        Segmentation(("a",))
    with pytest.raises(ValueError, match="width"):
        Segmentation(("a", "b"), width=6)
    with pytest.raises(ValueError, match="normalisation"):
        Segmentation(("a", "b"), normalisation="batch")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="balance"):
        Segmentation(("a", "b"), balance=2.0)
    images = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="mask"):
        TASK.prepare(Frames(images))
    with pytest.raises(ValueError, match="class 3"):
        TASK.prepare(Frames(images, {"mask": np.full((2, 8, 8), 3, dtype=np.uint8)}))
    with pytest.raises(ValueError, match="shape"):
        TASK.prepare(Frames(images, {"mask": np.zeros((2, 4, 4), dtype=np.uint8)}))
    with pytest.raises(ValueError, match="no frames"):
        TASK.train(TASK.network(0), Frames(images[:0]), TrainingSchedule(), seed=0)
