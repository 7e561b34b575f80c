"""The tasks of the engine and the toys hold the tasks' contract, in every form of targets; broken ones are found."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from autosim.env import Env
from autosim.learning.influence.frames_loss import FramesLoss
from autosim.learning.tasks.classification import Classification
from autosim.learning.tasks.segmentation import IntersectionOverUnion, Segmentation
from autosim.learning.tasks.targets import Targets, concatenate, select, split, to_device
from autosim.learning.tasks.task import Task
from autosim.rendering.frames import Frames
from autosim.seeding import seed_sequence
from autosim.testing import EnvSuite, RendererSuite, TaskSuite
from autosim.testing.centres import CELL, DenseCentres, ListedCentres
from autosim.testing.problems import KINDS, MOST, Rectangles, RectanglesConfig, rectangle_grammar

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = ("background", *KINDS)


def rectangle_frames(count: int = 6, height: int = 26, width: int = 42) -> Frames:
    renderer = Rectangles(RectanglesConfig(height, width)).renderer()
    renderer.build()
    scenes = rectangle_grammar(0.5, 0.5).sample_many(count, seed_sequence(0, "tests"))
    return Frames.stack([renderer.render(scene, i) for i, scene in enumerate(scenes)])


def perfect_centres(boxes: Tensor) -> Tensor:
    """Outputs (classes + 2, 4, 6) that find the boxes (k, 5) of one image."""
    output = torch.full((len(KINDS) + 2, 4, 6), -20.0)
    for x0, y0, x1, y1, kind in boxes.tolist():
        if kind >= 0:
            row, column = int((y0 + y1) / 2 // CELL), int((x0 + x1) / 2 // CELL)
            output[int(kind), row, column] = 20.0
            output[len(KINDS) :, row, column] = torch.tensor([x1 - x0, y1 - y0]).clamp(min=1).div(CELL).log()
    return output


class TestSegmentation(TaskSuite):
    def task(self) -> Task:
        return Segmentation(CLASSES, width=4)

    def frames(self) -> Frames:
        return rectangle_frames()

    def perfect_outputs(self, targets: Targets) -> Tensor:
        assert isinstance(targets, Tensor)
        return 20.0 * nn.functional.one_hot(targets, len(CLASSES)).permute(0, 3, 1, 2).float()


class TestClassification(TaskSuite):
    def task(self) -> Task:
        return Classification(MOST + 1, 26, 42, filters=(4, 8))

    def frames(self) -> Frames:
        frames = rectangle_frames()
        counts = (frames.annotations["boxes"][:, :, 4] >= 0).sum(axis=1)  # type: ignore[operator]
        return Frames(frames.images, {"label": counts})

    def perfect_outputs(self, targets: Targets) -> Tensor:
        assert isinstance(targets, Tensor)
        return 20.0 * nn.functional.one_hot(targets, MOST + 1).float()


class TestDenseCentres(TaskSuite):
    def task(self) -> Task:
        return DenseCentres(KINDS)

    def frames(self) -> Frames:
        return rectangle_frames()

    def perfect_outputs(self, targets: Targets) -> Tensor:
        return torch.stack([perfect_centres(boxes) for boxes in targets])


class TestListedCentres(TestDenseCentres):
    def task(self) -> Task:
        return ListedCentres(KINDS)


class TestRectanglesEnv(EnvSuite):
    def env(self) -> Env:
        return Rectangles(RectanglesConfig(task="list"))


class TestRectanglesRenderer(RendererSuite):
    def renderer(self) -> Any:
        return Rectangles(RectanglesConfig()).renderer()

    def scenes(self) -> Any:
        return rectangle_grammar(0.5, 0.5).sample_many(3, seed_sequence(1, "tests"))


def test_lists_and_padded_targets_give_the_same_losses_scores_and_influences() -> None:
    frames, found = rectangle_frames(), []
    for task in (DenseCentres(KINDS), ListedCentres(KINDS)):
        network = task.network(0)
        loss = FramesLoss(task, network.eval(), frames)
        v = loss.gradient()
        products = [loss.gauss_newton(linearise=False)(v), loss.hessian()(v)]
        found.append([v, *loss.influences_and_losses(v), *products, torch.tensor(task.evaluate(network, frames))])
    for dense, listed in zip(*found, strict=True):
        torch.testing.assert_close(dense, listed, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["mask", "list", "dense"])
def test_frames_in_several_parts_have_the_loss_s_gradient_and_curvature(
    kind: Literal["mask", "list", "dense"], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, frames = Rectangles(RectanglesConfig(task=kind)).task(), rectangle_frames(5)
    loss, found = FramesLoss(task, task.network(0).eval(), frames), []
    for pixels in (2**20, 2 * 26 * 42):
        monkeypatch.setattr("autosim.learning.influence.frames_loss.PIXELS", pixels)
        g = loss.gradient()
        found.append([g, *loss.influences_and_losses(g), loss.gauss_newton()(g), loss.hessian()(g)])
    for whole, parts in zip(*found, strict=True):
        torch.testing.assert_close(whole, parts, rtol=1e-3, atol=1e-4 * float(whole.abs().max()))


def test_a_picture_of_188_by_620_is_learned_from() -> None:
    frames = rectangle_frames(2, 188, 620)
    kinds: tuple[Literal["mask", "list"], ...] = ("mask", "list")
    for kind in kinds:
        task = Rectangles(RectanglesConfig(188, 620, kind)).task()
        network = task.network(0)
        inputs, targets = task.prepare(frames)
        assert inputs.shape == (2, 3, 188, 620)
        assert bool(task.losses(network(inputs), targets).isfinite().all())
        assert 0 <= task.evaluate(network, frames) <= 1


def test_both_forms_of_targets_are_taken_apart_and_put_together() -> None:
    dense = torch.arange(10.0).view(5, 2)
    for targets in (dense, [torch.ones(i, 3) * i for i in range(5)]):
        assert [len(part) for part in split(targets, 2)] == [2, 2, 1]
        again = to_device(concatenate(split(targets, 2)), "cpu")
        assert type(again) is type(targets)
        assert all(torch.equal(a, b) for a, b in zip(again, targets, strict=True))
        chosen = select(targets, torch.tensor([4, 0]))
        assert torch.equal(chosen[0], targets[4]) and torch.equal(chosen[1], targets[0])
    with pytest.raises(ValueError, match="1 of 2 parts are tensors"):
        concatenate([dense, []])


class Mixing(Segmentation):
    def network(self, seed: int) -> nn.Module:
        return nn.Sequential(nn.BatchNorm2d(3), super().network(seed))


class Unseeded(Segmentation):
    def network(self, seed: int) -> nn.Module:
        return super().network(int(torch.randint(2**31, ()).item()))


class Whitening(Segmentation):
    def prepare(self, frames: Frames, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        images, targets = super().prepare(frames, device)
        return images - images.mean(), targets


class Sorted(Segmentation):
    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return super().losses(outputs, targets).sort().values


class Flat(Segmentation):
    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return super().losses(outputs.detach(), targets) + 0 * outputs.mean(dim=(1, 2, 3))


class Ascending(Segmentation):
    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 3 - super().losses(outputs, targets).clamp(max=3)


class Percent(Segmentation):
    def scorer(self) -> IntersectionOverUnion:
        class Hundredfold(IntersectionOverUnion):
            def compute(self) -> float:
                return 100 * super().compute()

        return Hundredfold(self.classes)


class LastBatchOnly(Segmentation):
    def scorer(self) -> IntersectionOverUnion:
        class Forgetting(IntersectionOverUnion):
            def update(self, outputs: Tensor, targets: Tensor) -> None:
                self.pixels.zero_()
                super().update(outputs, targets)

        return Forgetting(self.classes)


class Shuffled(Segmentation):
    def scorer(self) -> IntersectionOverUnion:
        class Askew(IntersectionOverUnion):
            def update(self, outputs: Tensor, targets: Tensor) -> None:
                super().update(outputs, targets.flip(-1))

        return Askew(self.classes)


class Cropping(Segmentation):
    def vary(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return inputs[..., 1:], targets[..., 1:]


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (Unseeded, "test_networks_start_equal_for_equal_seeds_only"),
        (Whitening, "test_what_a_frame_gives_does_not_depend_on_its_batch"),
        (Mixing, "test_a_sample_s_loss_does_not_depend_on_its_batch"),
        (Sorted, "test_losses_follow_the_order_of_the_samples"),
        (Flat, "test_losses_have_a_gradient_in_the_outputs"),
        (Flat, "test_training_lowers_the_loss_and_repeats"),
        (Percent, "test_scores_are_in_range"),
        (Shuffled, "test_perfect_outputs_score_best"),
        (Ascending, "test_perfect_outputs_score_best"),
        (LastBatchOnly, "test_the_score_does_not_depend_on_the_batches"),
        (Cropping, "test_what_training_sees_is_of_the_same_form"),
    ],
)
def test_a_broken_task_is_found(broken: type[Segmentation], found: str) -> None:
    class Suite(TestSegmentation):
        def task(self) -> Task:
            return broken(CLASSES, width=4)

    with pytest.raises(Exception):  # noqa: B017 - a failed assertion, or what the broken part raises
        getattr(Suite(), found)()
