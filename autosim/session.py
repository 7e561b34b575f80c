"""What a run provides to every method: the environment, counted rendering, training, scoring, seeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor, nn

from autosim import seeding
from autosim.env import Env
from autosim.errors import UserError
from autosim.formats.parts import TargetSettings
from autosim.learning.broad import broad_frames
from autosim.learning.features.sources import FeatureSource, ReferencedFeatures
from autosim.learning.schedule import TrainingSchedule
from autosim.learning.stopwatch import CoreSeconds, Stages
from autosim.learning.tasks.task import Task
from autosim.learning.training import NETWORKS
from autosim.parallel import Result, in_background, parallel_map, task_core_seconds
from autosim.rendering.differences import GradientSettings
from autosim.rendering.drawn import DrawnFrames
from autosim.rendering.frames import Frames
from autosim.rendering.gradient import differentiable_render
from autosim.rendering.pool import RenderPool
from autosim.rendering.usage import Usage
from autosim.scenes.generator import Samples, SceneGenerator
from autosim.scenes.graph import SceneGraph
from autosim.target import Target, folder_target, hidden_target

# Frames that a network is trained on for a score that is only reported.
REPORTED_FRAMES = 100


@dataclass
class Session:
    """Services of one run. ``images`` counts every image rendered for the method, perturbations included, and
    ``render_cost`` what they cost (``Renderer.cost``). ``feature_usage`` is the cost of drawing the frames of the
    method's features, whether they were drawn now or for an earlier run; it is reported separately.

    ``target_settings`` say where the user's own target images are; where there are none, the target is the
    environment's hidden one. ``targets`` holds targets by environment and settings; sessions with the same dictionary
    share their frames. ``stages`` are those of set-up.
    """

    env: Env
    pool: RenderPool
    seed: int = 0
    workers: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    gradient: GradientSettings = field(default_factory=GradientSettings)
    feature_source: FeatureSource = field(default_factory=FeatureSource)
    image_budget: int | None = None
    uncounted_usage: Usage = field(default_factory=Usage)
    uncharged_core_seconds: CoreSeconds = field(default_factory=CoreSeconds)
    resumed_usage: Usage = field(default_factory=Usage)
    feature_usage: Usage = field(default_factory=Usage)
    target_settings: TargetSettings = field(default_factory=TargetSettings)
    targets: dict[str, Target] = field(default_factory=dict)
    stages: Stages = field(default_factory=Stages)

    @property
    def used(self) -> Usage:
        """What was rendered for the method so far."""
        return self.resumed_usage + self.pool.used - self.uncounted_usage

    @property
    def images(self) -> int:
        """Images rendered for the method so far."""
        return self.used.images

    @property
    def render_cost(self) -> float:
        """Render cost of these images: samples times pixels."""
        return self.used.cost

    def core_seconds(self) -> float:
        """CPU seconds so far of this process, the workers that render and the tasks in other processes, and what making
        things took that were read from the cache; the difference of two values is what a part of a run is charged.
        """
        return self.core_seconds_by_part().total

    def core_seconds_by_part(self) -> CoreSeconds:
        """The same, with what rendering and networks took of them."""
        return self._spent() - self.uncharged_core_seconds

    def _spent(self) -> CoreSeconds:
        # All tasks in other processes train networks.
        networks = NETWORKS.seconds + task_core_seconds()
        return CoreSeconds(self.pool.charged_core_seconds(), self.pool.core_seconds, networks)

    def progress(self, iteration: int, iterations: int) -> float:
        """Share in [0, 1] of a run that is over before ``iteration`` of ``iterations``, or of its budget of images,
        whichever is larger. What decays over a run follows it. It does not depend on seconds, so that equal seeds give
        equal runs.
        """
        shares = [iteration / iterations]
        if self.image_budget is not None:
            shares.append(self.images / self.image_budget)
        return min(1.0, max(shares))

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Images rendered inside are not counted: target, closing scores, shared preparation."""
        before = self.pool.used
        try:
            yield
        finally:
            self.uncounted_usage += self.pool.used - before

    @contextmanager
    def uncharged(self) -> Iterator[None]:
        """What is rendered and trained inside is for the report alone: neither images nor CPU seconds are counted."""
        before = self._spent()
        with self.uncounted():
            yield
        self.uncharged_core_seconds += self._spent() - before

    @cached_property
    def task(self) -> Task:
        """The environment's task."""
        return self.env.task()

    @cached_property
    def target(self) -> Target:
        """Target frames: the user's own images, or drawn from the environment's hidden distribution."""
        key = json.dumps([self.env.describe(), repr(self.target_settings)], sort_keys=True)
        if key not in self.targets:
            self.targets[key] = self._read_target()
        return self.targets[key]

    def _read_target(self) -> Target:
        with self.stage("target images"), self.uncounted():
            if not self.target_settings.given:
                return hidden_target(self.env, self.pool)
            pool, reads = self.pool, self.task.reads
            declared = {name: kind for name, kind in pool.annotations.items() if reads is None or name in reads}
            declared |= self.task.beside
            camera = self.env.renderer().field_of_view
            size = pool.height, pool.width
            return folder_target(self.target_settings, declared, *size, camera, self.env.class_aliases)

    @property
    def validation(self) -> Frames:
        """Labelled frames of the target, by which methods learn; ``UserError`` where it has no labels."""
        if self.target.validation is None:
            raise UserError("the target is unlabelled: no validation score (--target.validation DIR gives labels)")
        return self.target.validation

    @cached_property
    def features(self) -> ReferencedFeatures:
        """Image features for distribution matching; trained once for an environment and cached."""
        return self.load_features(self.feature_source.load)

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Inside, set-up is at the part ``name``, which is shown with the seconds that it takes."""
        return self.stages.stage(name)

    def load_features(self, load: Callable[[Env, RenderPool, torch.device], ReferencedFeatures]) -> ReferencedFeatures:
        """The features that ``load`` gives. Their frames are charged to the run separately (``feature_usage``)."""
        with self.uncounted(), self.stage("image features"):
            features = load(self.env, self.pool, self.device)
        self.feature_usage += features.usage
        return features

    def broad_frames(self, count: int, images: bool = True) -> DrawnFrames:
        """The first ``count`` broad frames of the environment, the same for every run on it; without ``images`` those
        of :meth:`annotate`. What drawing them took is charged to the run separately (``feature_usage``).
        """
        with self.uncounted(), self.stage("frames over all ranges" if images else "labels over all ranges"):
            drawn = broad_frames(self.env, self.pool, count, images)
        if images or self.pool.annotates_by_rendering:
            self.feature_usage += self.pool.usage_of(drawn.scenes)
        return drawn

    def seed_sequence(self, purpose: str, iteration: int = 0, index: int = 0) -> np.random.SeedSequence:
        """Seeds of one draw of this run."""
        return seeding.seed_sequence(self.seed, purpose, iteration, index)

    def integer_seed(self, purpose: str, iteration: int = 0, index: int = 0) -> int:
        """The same as an integer."""
        return seeding.integer_seed(self.seed, purpose, iteration, index)

    def frame_seeds(self, purpose: str, iteration: int, count: int) -> tuple[int, ...]:
        """The seeds that ``count`` scenes are drawn with; noise differs by purpose and iteration."""
        return tuple(seeding.frame_seeds(self.seed, purpose, iteration, count))

    def render(self, scenes: Sequence[SceneGraph], purpose: str, iteration: int = 0) -> Frames:
        """Frames of scenes, with the seeds of a purpose and an iteration."""
        return self.pool.render(scenes, self.frame_seeds(purpose, iteration, len(scenes)))

    def draw(self, scenes: Sequence[SceneGraph], purpose: str, iteration: int = 0) -> DrawnFrames:
        """The same together with scenes and seeds, which a method that holds frames stores in its state."""
        seeds = self.frame_seeds(purpose, iteration, len(scenes))
        return DrawnFrames(tuple(scenes), seeds, self.pool.render(scenes, seeds))

    def annotate(self, scenes: Sequence[SceneGraph], purpose: str, iteration: int = 0) -> DrawnFrames:
        """The same for a method that learns from labels alone: annotations, and black images that are not counted where
        the renderer finds labels without one.
        """
        seeds = self.frame_seeds(purpose, iteration, len(scenes))
        return DrawnFrames(tuple(scenes), seeds, self.pool.annotate(scenes, seeds))

    def redraw(self, scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> Frames:
        """Draw again frames that this run has drawn and counted before; they are not counted a second time."""
        with self.uncounted():
            return self.pool.render(scenes, seeds)

    def differentiable_render(self, samples: Samples, purpose: str, iteration: int = 0) -> tuple[Tensor, DrawnFrames]:
        """Images (n, 3, H, W) in [0, 1], differentiable in ``samples.values``, and their frames."""
        seeds = self.frame_seeds(purpose, iteration, len(samples))
        images, frames = differentiable_render(self.pool, samples.scenes, samples.values, seeds, self.gradient)
        return images, DrawnFrames(samples.scenes, seeds, frames)

    def in_background(self, work: Callable[[], Result]) -> Callable[[], Result]:
        """Begin work in this process while workers render; the function that is returned waits for the result. Only one
        of the two may draw from torch's global random state, and only inside ``torch_seeded``. Torch uses one thread
        meanwhile: with a second one, it and the workers would slow each other down tenfold.
        """
        if self.workers == 0:
            return work
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        wait = in_background(work)

        def result() -> Result:
            try:
                return wait()
            finally:
                torch.set_num_threads(threads)

        return result

    def network(self) -> nn.Module:
        """A network with the initial weights that all methods share for this run's seed."""
        return self.task.network(self.integer_seed("network"))

    def score_datasets(
        self, datasets: Sequence[Frames], against: Frames, schedule: TrainingSchedule | None = None
    ) -> list[float]:
        """Score of a network trained from scratch on each data set; in parallel, one thread each."""
        seed = self.integer_seed("network")
        schedule = schedule or self.env.schedule
        train = partial(train_and_score, self.task, schedule, seed, against=against, device=self.device)
        return parallel_map(train, list(datasets), limit=self.workers)

    def score_generators(
        self, generators: Sequence[SceneGenerator], frames_each: int, epochs: int, iteration: int = 0
    ) -> list[float]:
        """Validation score of a network trained from scratch on ``frames_each`` frames of each generator.

        All data sets are rendered in one pass. NaN where a training diverged.
        """
        scenes = [
            scene
            for i, generator in enumerate(generators)
            for scene in generator.sample(frames_each, self.seed_sequence("data sets", iteration, i)).scenes
        ]
        frames = self.render(scenes, "data sets", iteration)
        parts = [slice(i * frames_each, (i + 1) * frames_each) for i in range(len(generators))]
        schedule = replace(self.env.schedule, epochs=epochs)
        return self.score_datasets([frames.select(part) for part in parts], self.validation, schedule)

    def score_at_end(self, generator: SceneGenerator, iteration: int, iterations: int) -> float | None:
        """Validation score of ``generator`` in the last of ``iterations``; None before it, and without labels. For the
        report, of methods that learn nothing from scores: one takes as long as a step, and is not charged.
        """
        if iteration != iterations - 1 or self.target.validation is None:
            return None
        with self.uncharged():
            (score,) = self.score_generators([generator], REPORTED_FRAMES, self.env.schedule.epochs, iteration)
        return score


def train_and_score(
    task: Task,
    schedule: TrainingSchedule,
    seed: int,
    frames: Frames,
    against: Frames,
    device: torch.device | str = "cpu",
) -> float:
    """Train a fresh network on ``frames`` and score it on ``against``; NaN where the training diverged."""
    network = trained(task, schedule, seed, frames, device)
    return float("nan") if network is None else task.evaluate(network, against, device)


def trained(
    task: Task, schedule: TrainingSchedule, seed: int, frames: Frames, device: torch.device | str = "cpu"
) -> nn.Module | None:
    """A fresh network that was trained on ``frames``; None where the training diverged."""
    network = task.network(seed)
    task.train(network, frames, schedule, seed, device)
    return network if all(bool(weights.isfinite().all()) for weights in network.parameters()) else None
