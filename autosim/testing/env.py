"""What every environment has to fulfil: prior and target share a schema, the renderer draws both, the task learns."""

from __future__ import annotations

import json
from abc import abstractmethod
from dataclasses import fields, is_dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from autosim import registry
from autosim.env import Env
from autosim.rendering.frames import Frames
from autosim.seeding import seed_sequence


class EnvSuite:
    """Subclass with :meth:`env`, under a name that pytest collects (``Test…``).

    Frames that several checks look at are drawn once for a subclass.
    """

    frames = 4
    _kept: ClassVar[dict[str, Frames]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._kept = {}

    @abstractmethod
    def env(self) -> Env:
        """The environment, as small as possible."""

    def drawn(self, env: Env, which: str) -> Frames:
        """A few frames of the ``prior`` or the ``target``; of the prior where the environment has no target."""
        grammar = (env.target() if which == "target" else None) or env.prior()
        renderer = env.renderer()
        renderer.build()
        scenes = grammar.sample_many(self.frames, seed_sequence(0, which))
        return Frames.stack([renderer.render(scene, seed) for seed, scene in enumerate(scenes)])

    def _drawn_once(self, which: str) -> Frames:
        if which not in self._kept:
            self._kept[which] = self.drawn(self.env(), which)
        return self._kept[which]

    def test_it_is_named_and_configured_by_a_dataclass(self) -> None:
        env = self.env()
        assert env.name and is_dataclass(env.Config)
        assert isinstance(env.config, env.Config)

    def test_its_description_is_json_and_names_it(self) -> None:
        env = self.env()
        description = env.describe()
        assert description["name"] == env.name
        assert json.loads(json.dumps(description)) == description
        assert self.env().describe() == description

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

    def test_its_settings_for_algorithms_are_options(self) -> None:
        env = self.env()
        for name in registry.algorithm_names():
            settings = env.defaults(name, env.config)
            assert json.loads(json.dumps(dict(settings))) == dict(settings)
            options = [key.removeprefix("algo.") for key in settings if key.startswith("algo.")]
            if options:
                known = {field.name for field in fields(registry.find_algorithm(name).Config)}
                assert set(options) <= known, f"settings for {name}: {sorted(set(options) - known)} are no options"
            assert not [key for key in settings if key.startswith("env.")]

    def test_something_can_be_learned(self) -> None:
        assert self.env().prior().attributes(mutable_only=True)

    def test_the_renderer_draws_the_schema_of_the_environment(self) -> None:
        env = self.env()
        assert env.renderer().schema == env.schema

    def test_target_and_prior_have_frames_of_one_size(self) -> None:
        env = self.env()
        renderer = env.renderer()
        for which in ("prior", "target"):
            images = self._drawn_once(which).images
            assert images.dtype == np.uint8
            assert images.shape[1:] == (renderer.height, renderer.width, 3)

    def test_equal_configurations_give_equal_frames(self) -> None:
        for which in ("prior", "target"):
            first, second = self._drawn_once(which), self.drawn(self.env(), which)
            assert np.array_equal(first.images, second.images)
            assert list(first.annotations) == list(second.annotations)
            for name, values in first.annotations.items():
                assert np.array_equal(values, second.annotations[name])

    def test_the_task_learns_from_frames_and_scores_in_range(self) -> None:
        env = self.env()
        frames = self._drawn_once("prior")
        task = env.task()
        network = task.network(0)
        inputs, targets = task.prepare(frames)
        losses = task.losses(network(inputs), targets)
        assert losses.shape == (self.frames,)
        assert torch.isfinite(losses).all()
        before = float(_losses(task.network(0), env, frames).mean())
        task.train(network, frames, replace(env.schedule, epochs=max(10, env.schedule.epochs)), seed=0)
        assert float(_losses(network, env, frames).mean()) < before
        assert 0.0 <= task.evaluate(network, frames) <= 1.0
        if env.target() is not None:
            assert 0.0 <= task.evaluate(network, self._drawn_once("target")) <= 1.0

    def test_a_sample_s_loss_does_not_depend_on_its_batch(self) -> None:
        env = self.env()
        task = env.task()
        inputs, targets = task.prepare(self._drawn_once("prior"))
        network = task.network(0).train()
        for module in network.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                # Dropout is random, but draws for each sample separately and mixes none.
                module.eval()
        together = task.losses(network(inputs), targets)
        alone = torch.cat([task.losses(network(inputs[i : i + 1]), targets[i : i + 1]) for i in range(self.frames)])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)

    def test_networks_start_equal_for_equal_seeds_only(self) -> None:
        task = self.env().task()
        first, second, other = (task.network(seed).state_dict() for seed in (3, 3, 4))
        assert all(torch.equal(a, b) for a, b in zip(first.values(), second.values(), strict=True))
        assert any(not torch.equal(a, b) for a, b in zip(first.values(), other.values(), strict=True))

    def test_there_are_frames_to_train_on_and_to_score_against(self) -> None:
        env = self.env()
        assert env.train_frames >= 1
        if env.target() is not None:
            assert env.sizes.validation >= 1 and env.sizes.test >= 1


@torch.no_grad()
def _losses(network: nn.Module, env: Env, frames: Frames) -> torch.Tensor:
    task = env.task()
    inputs, targets = task.prepare(frames)
    return task.losses(network.eval()(inputs), targets)
