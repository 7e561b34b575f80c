"""What every task has to fulfil: equal seeds, no mixing of samples, a loss that training lowers, a score in [0, 1]."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from autosim.learning.influence.curvature import LossSurface
from autosim.learning.schedule import TrainingSchedule
from autosim.learning.tasks.targets import Targets, select
from autosim.learning.tasks.task import Task
from autosim.rendering.frames import Frames


class TaskSuite:
    """Subclass with :meth:`task` and :meth:`frames`, under a name that pytest collects (``Test…``)."""

    schedule = TrainingSchedule(epochs=15, batch_size=4, learning_rate=5e-3)

    @abstractmethod
    def task(self) -> Task:
        """The task, with a network as small as possible."""

    @abstractmethod
    def frames(self) -> Frames:
        """Four to a dozen different frames."""

    def perfect_outputs(self, targets: Targets) -> Tensor | None:
        """Outputs with the best possible score; None, the default, where they are hard to give."""
        return None

    def network(self) -> nn.Module:
        """A fresh network without random layers: dropout mixes no samples, but two passes through it differ."""
        network = self.task().network(0).train()
        for module in network.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.eval()
        return network

    def test_networks_start_equal_for_equal_seeds_only(self) -> None:
        task = self.task()
        first, second, other = (task.network(seed).state_dict() for seed in (3, 3, 4))
        assert all(torch.equal(a, b) for a, b in zip(first.values(), second.values(), strict=True))
        assert any(not torch.equal(a, b) for a, b in zip(first.values(), other.values(), strict=True))

    def test_what_a_frame_gives_does_not_depend_on_its_batch(self) -> None:
        task, frames = self.task(), self.frames()
        inputs, targets = task.prepare(frames)
        assert len(inputs) == len(targets) == len(frames)
        for i in range(len(frames)):
            own_input, own_target = task.prepare(frames.select([i]))
            assert torch.equal(own_input[0], inputs[i])
            assert torch.equal(own_target[0], targets[i])

    def test_a_sample_s_loss_does_not_depend_on_its_batch(self) -> None:
        task, network = self.task(), self.network()
        inputs, targets = task.prepare(self.frames())
        together = task.losses(network(inputs), targets)
        assert together.shape == (len(inputs),) and bool(together.isfinite().all())
        alone = [task.losses(network(inputs[i : i + 1]), targets[i : i + 1]) for i in range(len(inputs))]
        torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)

    def test_losses_follow_the_order_of_the_samples(self) -> None:
        task, network = self.task(), self.network()
        inputs, targets = task.prepare(self.frames())
        back = torch.arange(len(inputs) - 1, -1, -1)
        forwards = task.losses(network(inputs), targets)
        backwards = task.losses(network(inputs[back]), select(targets, back))
        torch.testing.assert_close(backwards, forwards[back], rtol=1e-4, atol=1e-5)

    def test_losses_have_a_gradient_in_the_outputs(self) -> None:
        task = self.task()
        inputs, targets = task.prepare(self.frames())
        outputs = self.network()(inputs).detach().requires_grad_()
        (slopes,) = torch.autograd.grad(task.losses(outputs, targets).sum(), outputs, allow_unused=True)
        assert slopes is not None and bool(slopes.isfinite().all())
        assert bool((slopes.flatten(1) != 0).any(dim=1).all())

    def test_influences_are_those_of_the_samples_gradients(self) -> None:
        task, frames = self.task(), self.frames()
        surface = LossSurface(task, self.network().eval(), *task.prepare(frames.select(slice(4))))
        v = torch.randn(surface.size, generator=torch.Generator().manual_seed(0))
        expected = surface.sample_gradients() @ v
        scale = float(expected.abs().max())
        torch.testing.assert_close(surface.influences(v), expected, rtol=1e-3, atol=1e-4 * scale)

    def test_training_lowers_the_loss_and_repeats(self) -> None:
        task, frames = self.task(), self.frames()
        networks = [task.network(0), task.network(0)]
        before = _mean_loss(task, networks[0], frames)
        for network in networks:
            task.train(network, frames, self.schedule, seed=0)
        after = [_mean_loss(task, network, frames) for network in networks]
        assert after[0] < before
        assert after[0] == after[1]

    def test_scores_are_in_range(self) -> None:
        task, frames = self.task(), self.frames()
        assert task.score_name
        scorer = task.scored(task.network(0), frames)
        assert 0.0 <= scorer.compute() <= 1.0
        assert all(0.0 <= score <= 1.0 for score in scorer.by_class().values())

    def test_perfect_outputs_score_best(self) -> None:
        task, frames = self.task(), self.frames()
        _, targets = task.prepare(frames)
        perfect = self.perfect_outputs(targets)
        if perfect is None:
            return
        scorer = task.scorer()
        scorer.update(perfect, targets)
        assert abs(scorer.compute() - 1.0) < 1e-6
        assert float(task.losses(perfect, targets).mean()) < _mean_loss(task, task.network(0), frames)

    def test_the_score_does_not_depend_on_the_batches(self) -> None:
        task, frames = self.task(), self.frames()
        network = task.network(0)
        scores = [task.evaluate(network, frames, batch_size=size) for size in (1, 3, len(frames))]
        assert max(scores) - min(scores) < 1e-6

    def test_what_training_sees_is_of_the_same_form(self) -> None:
        task = self.task()
        inputs, targets = task.prepare(self.frames())
        before = inputs.clone()
        with torch.random.fork_rng(devices=[]):
            found = []
            for _ in range(2):
                torch.manual_seed(1)
                found.append(task.vary(inputs, targets))
        (varied, labels), (again, same_labels) = found
        assert torch.equal(inputs, before)
        assert varied.shape == inputs.shape and varied.dtype == inputs.dtype
        assert type(labels) is type(targets) and len(labels) == len(targets)
        assert torch.equal(varied, again)
        assert all(torch.equal(a, b) for a, b in zip(labels, same_labels, strict=True))
        losses = task.losses(self.network()(varied), labels)
        assert losses.shape == (len(inputs),) and bool(losses.isfinite().all())


@torch.no_grad()
def _mean_loss(task: Task, network: nn.Module, frames: Frames) -> float:
    inputs, targets = task.prepare(frames)
    return float(task.losses(network.eval()(inputs), targets).mean())
