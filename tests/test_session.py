"""Sessions: what is counted, whose frames are whose, scores that compare like with like."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autosim.errors import UserError
from autosim.formats.parts import TargetSettings
from autosim.learning.features.sources import ReferencedFeatures
from autosim.learning.schedule import TrainingSchedule
from autosim.rendering.differences import GradientSettings
from autosim.rendering.drawn import DrawnFrames
from autosim.rendering.frames import Frames
from autosim.rendering.usage import Usage
from autosim.runs.closing.scores import begin_known_scores, closing_scores
from autosim.runs.closing.trainings import closing_test_scores
from autosim.scenes.graph import SceneGraph
from autosim.scenes.parametric import ParametricGenerator
from autosim.session import Session
from autosim.target import Target
from tests.support.helpers import BlobConfig, BlobEnv, blob_scenes, blob_session
from tests.support.toy import image_folder

pytestmark = pytest.mark.usefixtures("one_thread")


class Counted:
    """Frames that were asked of a pool, by reference."""

    def __init__(self, session: Session) -> None:
        self.frames: list[Frames] = []
        original = session.pool.render

        def render(scenes: Sequence[SceneGraph], seeds: Sequence[int]) -> Frames:
            self.frames.append(original(scenes, seeds))
            return self.frames[-1]

        session.pool.render = render  # type: ignore[method-assign]


def prior_of(session: Session) -> ParametricGenerator:
    return ParametricGenerator(session.env.prior())


def target_of(session: Session) -> ParametricGenerator:
    grammar = session.env.target()
    assert grammar is not None
    return ParametricGenerator(grammar)


def test_images_are_the_method_s_own_with_those_of_gradients() -> None:
    session = blob_session()
    assert session.images == 0
    assert session.target.labelled and session.images == 0
    assert isinstance(session.features, ReferencedFeatures) and session.images == 0
    assert session.pool.images >= 12 + 16
    samples = prior_of(session).sample(3, session.seed_sequence("scenes"))
    session.render(samples.scenes, "frames")
    assert session.images == 3
    images, frames = session.differentiable_render(samples, "frames")
    assert session.images == 6 and len(frames) == 3
    images.sum().backward()
    assert session.images == 6 + 3 * 2 * 7
    closing_test_scores(session, [prior_of(session)])
    assert session.images == 6 + 3 * 2 * 7
    session.resumed_usage = Usage(100)
    assert session.images == 106 + 3 * 2 * 7


def test_render_cost_and_features_are_counted_and_features_the_same_from_the_cache() -> None:
    first, second = blob_session(), blob_session()
    pixels = first.pool.height * first.pool.width
    assert first.feature_usage == Usage() and first.features is not None
    count = 64
    assert (first.feature_usage.images, first.feature_usage.cost) == (count, count * pixels)
    assert first.render_cost == 0 < first.pool.cost
    assert second.features is not None and second.feature_usage == first.feature_usage
    before = second.core_seconds()
    second.render(prior_of(second).sample(3, second.seed_sequence("scenes")).scenes, "frames")
    assert second.render_cost == 3 * pixels and second.core_seconds() > before
    with second.uncounted():
        second.render(prior_of(second).sample(3, second.seed_sequence("scenes")).scenes, "frames")
    assert second.render_cost == 3 * pixels


def test_progress_is_that_of_the_nearest_limit() -> None:
    session = blob_session()
    assert session.progress(3, 12) == 0.25 and session.progress(20, 12) == 1.0
    limited = replace(session, image_budget=10)
    limited.render(blob_scenes(5, blobs=2), "frames")
    assert limited.progress(3, 12) == 0.5 and limited.progress(9, 12) == 0.75
    limited.render(blob_scenes(15, blobs=2), "frames")
    assert limited.progress(3, 12) == 1.0


def test_what_fails_uncounted_stays_uncounted() -> None:
    session = blob_session()
    samples = prior_of(session).sample(2, session.seed_sequence("scenes"))
    with pytest.raises(RuntimeError, match="no more"), session.uncounted():
        session.render(samples.scenes, "frames")
        raise RuntimeError("no more")
    assert session.images == 0 and session.uncounted_usage.images == 2


def test_gradients_are_estimated_as_the_settings_say() -> None:
    session = blob_session()
    session.gradient = GradientSettings("forward")
    samples = prior_of(session).sample(2, session.seed_sequence("scenes"))
    session.differentiable_render(samples, "frames")[0].sum().backward()
    assert session.images == 2 + 2 * (1 + 7)


def test_all_runs_on_a_target_see_the_same_frames() -> None:
    first, second = blob_session(seed=0), blob_session(seed=7)
    tests = [session.target.test for session in (first, second)]
    assert tests[0] is not None and tests[1] is not None
    for a, b in ((first.validation, second.validation), (tests[0], tests[1])):
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.annotations["mask"], b.annotations["mask"])
    assert (len(first.validation), len(tests[0])) == (12, 16)


def test_what_is_matched_are_the_validation_frames_without_their_labels() -> None:
    target = blob_session().target
    assert target.validation is not None
    np.testing.assert_array_equal(target.images.images, target.validation.images)
    assert not target.images.annotations and target.validation.annotations
    with pytest.raises(ValueError, match="mask"):
        Target(target.validation, None, None)


def test_runs_that_share_targets_render_each_of_them_once(tmp_path: Path) -> None:
    targets: dict[str, Target] = {}
    first, second, other = (replace(blob_session(seed=seed), targets=targets) for seed in (0, 7, 0))
    other.target_settings = TargetSettings(folder=image_folder(tmp_path / "images", count=3, edge=40))
    assert first.target is second.target
    assert first.pool.images == 28 and second.pool.images == 0
    assert not other.target.labelled and first.target.labelled and len(targets) == 2
    assert other.target.images.images.shape == (3, 24, 24, 3)


def test_no_frame_is_both_for_validation_and_for_the_test() -> None:
    target = blob_session().target
    assert target.validation is not None and target.test is not None
    images = np.concatenate([target.validation.images, target.test.images])
    assert len({image.tobytes() for image in images}) == len(images)


def test_frames_of_a_method_are_not_those_of_the_target() -> None:
    session = blob_session(seed=0)
    validation = session.validation.images
    grammar = session.env.target()
    assert grammar is not None
    scenes = grammar.sample_many(12, session.seed_sequence("scenes"))
    drawn = session.render(scenes, "frames").images
    assert not {image.tobytes() for image in drawn} & {image.tobytes() for image in validation}


def test_work_beside_the_workers_has_one_thread_and_later_work_has_all_again() -> None:
    torch.set_num_threads(2)
    alone, accompanied = blob_session(), replace(blob_session(), workers=1)
    threads: list[int] = []

    def note() -> int:
        threads.append(torch.get_num_threads())
        if len(threads) == 3:
            raise LookupError("no third time")
        return len(threads)

    first, second = alone.in_background(note), accompanied.in_background(note)
    assert (second(), first()) == (1, 2) and threads == [1, 2]
    third = accompanied.in_background(note)
    assert torch.get_num_threads() == 1
    with pytest.raises(LookupError, match="no third time"):
        third()
    assert torch.get_num_threads() == 2


def test_draws_differ_by_seed_purpose_and_iteration() -> None:
    scenes = blob_session().env.prior().sample_many(2, np.random.SeedSequence(0))
    drawn = [
        blob_session(seed=seed).render(scenes, purpose, iteration).images.tobytes()
        for seed, purpose, iteration in [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1)]
    ]
    assert len(set(drawn)) == 4
    assert blob_session().render(scenes, "a", 0).images.tobytes() == drawn[0]
    session = blob_session()
    states = [
        int(session.seed_sequence(*key).generate_state(1)[0])
        for key in [("a", 0, 0), ("a", 0, 1), ("a", 1, 0), ("b", 0, 0)]
    ]
    assert len(set(states)) == 4 and 0 <= session.integer_seed("a") < 2**31


def test_a_target_of_the_user_s_own_images_has_no_test_and_no_scores() -> None:
    session = blob_session(unlabelled=True)
    assert not session.target.labelled and session.target.test is None
    assert session.target.images.images.shape == (6, 24, 24, 3)
    with pytest.raises(UserError, match="unlabelled"):
        _ = session.validation
    with pytest.raises(UserError, match="unlabelled"):
        closing_test_scores(session, [prior_of(session)])


def test_an_environment_without_any_target_is_refused() -> None:
    class Aimless(BlobEnv):
        def target(self) -> None:
            return None

    session = blob_session()
    session.env = Aimless(BlobConfig())
    with pytest.raises(UserError, match=r"'blobs' has no target of its own; give .* --target"):
        _ = session.target


def test_networks_start_equal_within_a_run_and_differ_between_seeds() -> None:
    first, again, other = (blob_session(seed=seed).network().state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first.values(), again.values(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first.values(), other.values(), strict=True))


def test_data_sets_are_scored_in_order_and_each_by_itself() -> None:
    session = blob_session()
    sets = [
        session.render(generator.sample(16, session.seed_sequence("scenes", 0, i)).scenes, "frames", i)
        for i, generator in enumerate((prior_of(session), target_of(session)))
    ]
    schedule = TrainingSchedule(epochs=8, batch_size=8, learning_rate=1e-2)
    scores = session.score_datasets(sets, session.validation, schedule)
    assert scores[1] > scores[0]
    assert session.score_datasets(sets[::-1], session.validation, schedule) == scores[::-1]
    assert session.score_datasets(sets[1:], session.validation, schedule) == scores[1:]
    assert session.score_datasets(sets[1:], session.validation) != scores[1:]


def test_final_scores_give_equal_generators_equal_frames_and_equal_scores_whatever_the_run_s_seed() -> None:
    collected, scores = [], []
    for seed in (0, 3):
        session = blob_session(seed=seed)
        _ = session.target
        counted = Counted(session)
        scores.append(closing_test_scores(session, [prior_of(session), prior_of(session), target_of(session)]))
        collected.append(counted.frames)
        assert [len(frames) for frames in counted.frames] == [session.env.train_frames] * 3
    for frames in collected:
        np.testing.assert_array_equal(frames[0].images, frames[1].images)
        assert not np.array_equal(frames[0].images, frames[2].images)
    np.testing.assert_array_equal(collected[0][0].images, collected[1][0].images)
    assert scores[0] == scores[1]
    assert scores[0][0] == scores[0][1] and all(0 <= score <= 1 for found in scores[0] for score in found)


def test_further_closing_networks_and_seeds_say_how_much_chance_there_is_in_a_score() -> None:
    session = blob_session()
    (one,), (three,) = (closing_test_scores(session, [prior_of(session)], networks) for networks in (1, 3))
    assert len(one) == 1 and len(set(three)) == 3 and three[0] == one[0]
    (other,) = closing_test_scores(session, [prior_of(session)], seed=5)
    assert other != one and session.images == 0


def test_scores_on_labelled_images_of_the_user_s_own_have_no_oracle(tmp_path: Path) -> None:
    hidden, session = blob_session(), blob_session()
    session.target_settings = TargetSettings(folder=tmp_path)
    session.__dict__["target"] = hidden.target
    scores = closing_scores(session, target_of(session))
    assert scores.oracle is None and scores.gap_closed is None and "no oracle" in scores.note
    known = closing_scores(hidden, target_of(hidden))
    assert (scores.prior, scores.learned, scores.each) == (known.prior, known.learned, known.each)


@pytest.mark.parametrize("lost", [False, True])
def test_known_scores_that_are_computed_beside_a_run_are_those_of_its_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lost: bool
) -> None:
    class Done:
        def __init__(self, function: Callable[[Any], Any], work: Any) -> None:
            trained.append(len(work))
            self.found = None if lost else function(work)

        def result(self) -> Any:
            return self.found

    trained: list[int] = []
    monkeypatch.setattr("autosim.runs.closing.scores.begin", Done)
    session = blob_session(workers=2)
    monkeypatch.setenv("AUTOSIM_CACHE", str(tmp_path / "beside"))
    begun = begin_known_scores(session, networks=2)
    session.workers = 0
    beside = closing_scores(session, target_of(session), 2, begun=begun)
    assert trained == [4] and session.images == 0
    assert begin_known_scores(blob_session(workers=2), networks=2) is None  # they are cached
    monkeypatch.setenv("AUTOSIM_CACHE", str(tmp_path / "at its end"))
    assert begin_known_scores(blob_session(workers=1), networks=2) is None
    assert beside == closing_scores(session, target_of(session), 2)


def test_a_score_for_the_report_is_charged_to_nobody() -> None:
    session = blob_session()
    assert session.validation is not None and session.score_at_end(target_of(session), 1, 3) is None
    charged, spent = session.core_seconds_by_part(), time.process_time()
    score = session.score_at_end(target_of(session), 2, 3)
    assert score is not None and 0 <= score <= 1 and session.images == 0
    used = session.core_seconds_by_part() - charged
    assert used.total < 0.2 * (time.process_time() - spent) and used.rendering == 0 and used.networks < 0.01


def test_core_seconds_are_told_apart_by_rendering_and_networks() -> None:
    session = blob_session()
    before = session.core_seconds_by_part()
    drawn = session.draw(blob_scenes(20, blobs=2), "frames")
    rendered = session.core_seconds_by_part() - before
    assert 0 < rendered.rendering <= rendered.total and rendered.networks == 0
    session.task.train(session.network(), drawn.frames, replace(session.env.schedule, epochs=8), seed=0)
    trained = session.core_seconds_by_part() - before - rendered
    assert trained.rendering == 0 and 0.8 * trained.total < trained.networks <= trained.total


def test_frames_that_are_drawn_again_are_the_same_and_are_not_counted() -> None:
    session = blob_session(seed=3)
    drawn = session.draw(blob_scenes(3, blobs=2), "frames", 4)
    np.testing.assert_array_equal(drawn.frames.images, session.render(blob_scenes(3, blobs=2), "frames", 4).images)
    before = session.images
    again = DrawnFrames.from_state(drawn.to_state(), session.redraw)
    assert again.scenes == drawn.scenes and again.seeds == drawn.seeds and session.images == before
    np.testing.assert_array_equal(again.frames.images, drawn.frames.images)
    np.testing.assert_array_equal(again.frames.annotations["mask"], drawn.frames.annotations["mask"])
    with pytest.raises(ValueError, match="equal numbers"):
        DrawnFrames(drawn.scenes[:2], drawn.seeds, drawn.frames)
