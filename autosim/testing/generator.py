"""What every generator has to fulfil: seeds, valid scenes, the gradient of ``log_prob``, bounds and saved state."""

from __future__ import annotations

import io
from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor

from autosim.scenes.generator import Samples, SceneGenerator
from autosim.seeding import seed_sequence


class GeneratorSuite:
    """Subclass with :meth:`generator`, under a name that pytest collects (``Test…``)."""

    count = 8

    @abstractmethod
    def generator(self) -> SceneGenerator:
        """A new generator, the same one each time."""

    def drawn(self, generator: SceneGenerator, index: int = 0) -> Samples:
        """A few scenes."""
        return generator.sample(self.count, seed_sequence(0, "suite", index))

    def moved(self, by: float = 0.1) -> SceneGenerator:
        """The generator with its learned parameters moved at random."""
        generator = self.generator()
        with torch.no_grad():
            for parameter, part in zip(_learned(generator), _direction(generator, seed=1), strict=True):
                parameter.add_(by * part)
        generator.project()
        return generator

    def test_equal_seeds_give_equal_scenes(self) -> None:
        first, second = self.generator(), self.generator()
        assert self.drawn(first).scenes == self.drawn(second).scenes == self.drawn(first).scenes
        assert self.drawn(first).scenes != self.drawn(first, 1).scenes

    def test_scenes_are_of_the_schema(self) -> None:
        generator = self.generator()
        samples = self.drawn(generator)
        assert len(samples) == len(samples.scenes) == self.count
        for scene in samples.scenes:
            generator.schema.validate(scene)

    def test_values_are_those_of_the_scenes(self) -> None:
        generator = self.generator()
        samples = self.drawn(generator)
        if len(samples.values):
            values = np.concatenate([generator.schema.values(scene) for scene in samples.scenes])
            # Scenes hold attributes in their own units: converting there and back loses some digits.
            np.testing.assert_allclose(samples.values.detach().cpu().numpy(), values, atol=1e-5)

    def test_log_probabilities_are_one_finite_number_a_scene(self) -> None:
        generator = self.generator()
        samples = self.drawn(generator)
        for found in (generator.log_prob(samples), generator.picture_log_prob(samples)):
            assert found.shape == (self.count,)
            assert bool(found.isfinite().all())

    def test_parts_of_the_log_probability_add_up(self) -> None:
        generator = self.generator()
        samples = self.drawn(generator)
        parts = generator.log_prob(samples, "continuous") + generator.log_prob(samples, "categorical")
        torch.testing.assert_close(parts.double(), generator.log_prob(samples).double(), rtol=1e-5, atol=1e-5)

    def test_the_gradient_of_the_log_probability_is_that_of_differences(self) -> None:
        generator, step = self.moved(), 1e-3
        samples, direction = self.drawn(generator), _direction(generator, seed=2)
        gradients = torch.autograd.grad(
            generator.log_prob(samples).sum(), _learned(generator), allow_unused=True, materialize_grads=True
        )
        found = sum(float((gradient * part).sum()) for gradient, part in zip(gradients, direction, strict=True))
        assert any(bool(gradient.any()) for gradient in gradients)
        values = []
        with torch.no_grad():
            for by in (step, -2 * step):
                for parameter, part in zip(_learned(generator), direction, strict=True):
                    parameter.add_(by * part)
                values.append(float(generator.log_prob(samples).sum()))
        expected = (values[0] - values[1]) / (2 * step)
        size = sum(float((gradient**2).sum()) for gradient in gradients) ** 0.5
        assert abs(found - expected) <= 0.02 * abs(expected) + 0.01 * size

    def test_the_score_function_loss_has_the_gradient_of_weighted_log_probabilities(self) -> None:
        generator = self.generator()
        samples, signal = self.drawn(generator), torch.linspace(-1.0, 2.0, self.count)
        found, expected = (
            torch.autograd.grad(loss, _learned(generator), allow_unused=True, materialize_grads=True)
            for loss in (
                generator.score_function_loss(samples, signal),
                (signal * generator.log_prob(samples)).mean(),
            )
        )
        for mine, other in zip(found, expected, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)

    def test_parameters_come_back_into_their_bounds(self) -> None:
        generator = self.moved(by=50.0)
        kept = [parameter.detach().clone() for parameter in generator.parameters()]
        generator.project()
        for parameter, before in zip(generator.parameters(), kept, strict=True):
            torch.testing.assert_close(parameter.detach(), before)
        samples = self.drawn(generator)
        for scene in samples.scenes:
            generator.schema.validate(scene)
        assert bool(generator.log_prob(samples).isfinite().all())

    def test_exploring_keeps_scenes_valid_and_ends(self) -> None:
        generator = self.generator()
        generator.explore(0, 0)
        before = self.drawn(generator).scenes
        # Spreads return to their values; choices that were made likelier stay likelier.
        for share in (0.0, 0.25):
            generator.explore(0.3, share)
            samples = self.drawn(generator)
            for scene in samples.scenes:
                generator.schema.validate(scene)
            assert bool(generator.log_prob(samples).isfinite().all())
            generator.explore(0, 0)
            assert share or self.drawn(generator).scenes == before

    def test_moving_towards_another_gets_there(self) -> None:
        generator, other = self.generator(), self.moved()
        before = self.drawn(generator).scenes
        generator.move_towards(other, 0.0)
        assert self.drawn(generator).scenes == before
        generator.move_towards(other, 0.5)
        for scene in self.drawn(generator).scenes:
            generator.schema.validate(scene)
        generator.move_towards(other, 1.0)
        for mine, theirs in zip(_learned(generator), _learned(other), strict=True):
            torch.testing.assert_close(mine.detach(), theirs.detach(), rtol=1e-5, atol=1e-6)

    def test_a_saved_state_draws_the_same_scenes(self) -> None:
        saved, fresh = self.moved(), self.generator()
        buffer = io.BytesIO()
        torch.save(saved.state_dict(), buffer)
        buffer.seek(0)
        fresh.load_state_dict(torch.load(buffer, weights_only=True))
        samples = self.drawn(saved)
        assert self.drawn(fresh).scenes == samples.scenes
        assert torch.equal(fresh.log_prob(samples), saved.log_prob(samples))


def _learned(generator: SceneGenerator) -> list[Tensor]:
    return [parameter for parameter in generator.parameters() if parameter.requires_grad]


def _direction(generator: SceneGenerator, seed: int) -> list[Tensor]:
    """A random direction of length 1, a part for each learned parameter."""
    random = torch.Generator().manual_seed(seed)
    parts = [torch.randn(parameter.shape, generator=random).to(parameter) for parameter in _learned(generator)]
    length = sum(float((part**2).sum()) for part in parts) ** 0.5
    return [part / length for part in parts]
