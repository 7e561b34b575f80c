"""What every environment has to hold: prior and target share a schema, the renderer draws both, the task can learn."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import is_dataclass

import numpy as np
import torch

from autosim.env import Env
from autosim.rendering.frames import Frames
from autosim.seeding import seed_sequence


class EnvSuite:
    """Subclass with :meth:`env`, under a name that pytest collects (``Test…``)."""

    frames = 4

    @abstractmethod
    def env(self) -> Env:
        """The environment, as small as it goes."""

    def drawn(self, env: Env, which: str) -> Frames:
        """A few frames of the prior or the target."""
        grammar = env.prior() if which == "prior" else env.target()
        assert grammar is not None
        renderer = env.renderer()
        renderer.build()
        scenes = grammar.sample_many(self.frames, seed_sequence(0, which))
        return Frames.stack([renderer.render(scene, seed) for seed, scene in enumerate(scenes)])

    def test_it_is_named_and_configured_by_a_dataclass(self) -> None:
        env = self.env()
        assert env.name and is_dataclass(env.Config)
        assert isinstance(env.config, env.Config)

    def test_prior_and_target_draw_scenes_of_the_schema(self) -> None:
        env = self.env()
        for grammar in (env.prior(), env.target()):
            if grammar is not None:
                for scene in grammar.sample_many(20, seed_sequence(1, "suite")):
                    env.schema.validate(scene)

    def test_the_target_is_another_distribution_than_the_prior(self) -> None:
        env = self.env()
        target = env.target()
        if target is not None:
            seed = seed_sequence(2, "suite")
            assert target.sample_many(8, seed) != env.prior().sample_many(8, seed)

    def test_there_is_a_target_of_one_kind(self) -> None:
        env = self.env()
        assert (env.target() is None) != (env.target_frames() is None)

    def test_something_can_be_learned(self) -> None:
        env = self.env()
        assert any(a.mutable for c in env.schema.classes for a in c.attributes)

    def test_equal_configurations_give_equal_frames(self) -> None:
        first, second = self.drawn(self.env(), "prior"), self.drawn(self.env(), "prior")
        assert np.array_equal(first.images, second.images)

    def test_the_task_trains_on_frames_and_scores_in_range(self) -> None:
        env = self.env()
        frames = self.drawn(env, "prior")
        task = env.task()
        network = task.network(0)
        inputs, targets = task.prepare(frames)
        losses = task.losses(network(inputs), targets)
        assert losses.shape == (self.frames,)
        assert torch.isfinite(losses).all()
        before = [p.detach().clone() for p in network.parameters()]
        losses.mean().backward()
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.grad is not None:
                    parameter -= 1e-2 * parameter.grad
        assert any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
        assert 0.0 <= task.evaluate(network, frames) <= 1.0

    def test_a_sample_s_loss_does_not_depend_on_its_batch(self) -> None:
        env = self.env()
        task = env.task()
        inputs, targets = task.prepare(self.drawn(env, "prior"))
        network = task.network(0).train()
        together = task.losses(network(inputs), targets)
        alone = torch.cat([task.losses(network(inputs[i : i + 1]), targets[i : i + 1]) for i in range(self.frames)])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)

    def test_networks_of_one_seed_start_equal(self) -> None:
        task = self.env().task()
        for a, b in zip(task.network(3).parameters(), task.network(3).parameters(), strict=True):
            assert torch.equal(a, b)
