"""Leap: it keeps the contract, jumps to the target on blobs, stays at a target that is the start."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from algorithms.leap import Leap, LeapConfig
from autosim.env import Env, TargetSizes
from autosim.errors import UserError
from autosim.rendering.frames import Frames
from autosim.rendering.pool import LocalPool
from autosim.scenes.generator import AttributeSummary, CategoricalSummary, ContinuousSummary, summarise
from autosim.scenes.grammar import Grammar, Uniform
from autosim.scenes.graph import Continuous, SceneGraph, Schema
from autosim.seeding import seed_sequence
from autosim.session import Session
from autosim.target import Target
from autosim.testing import AlgorithmSuite
from autosim.testing.problems import Rectangles, RectanglesConfig, rectangle_grammar
from envs.aerial.env import Aerial, AerialConfig
from envs.multimnist.env import MultiMnist, MultiMnistConfig
from tests.support.helpers import BlobConfig, BlobEnv, blob_session

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = LeapConfig(iterations=3, broad=60, epochs=2, frames=20, round_epochs=1)


class TestLeap(AlgorithmSuite):
    def env(self) -> Env:
        return BlobEnv(BlobConfig())

    def algorithm(self, session: Session) -> Leap:
        return Leap(session, QUICK)


def test_where_nodes_without_a_place_are_to_be_counted_it_is_refused() -> None:
    refusal = Leap.refusal(Aerial(AerialConfig(case="structure")))
    assert refusal == "it counts nodes by where they are, and places of car nodes are not learned"
    assert Leap.refusal(BlobEnv(BlobConfig())) is Leap.refusal(MultiMnist(MultiMnistConfig())) is None


class Crowded(Rectangles):
    """Small rectangles; in the target side by side, mostly three."""

    sizes = TargetSizes(validation=120, test=4)

    def prior(self) -> Grammar:
        return super().prior().with_priors({"rectangle.size": Uniform(0.15, 0.2)})

    def target(self) -> Grammar:
        weights = (0.05, 0.15, 0.8)
        grammar = rectangle_grammar(0.5, 0.5)
        rules = tuple(replace(rule, weight=weight) for rule, weight in zip(grammar.rules, weights, strict=True))
        return replace(grammar, rules=rules, arrange=side_by_side)


def side_by_side(scene: SceneGraph, rng: np.random.Generator) -> SceneGraph:
    nodes = list(scene.nodes)
    for order, i in enumerate(i for i, node in enumerate(nodes) if node.node_class == "rectangle"):
        nodes[i] = replace(nodes[i], attributes={**nodes[i].attributes, "x": 0.2 + 0.3 * order, "size": 0.15})
    return replace(scene, nodes=tuple(nodes))


def crowded_session() -> Session:
    env = Crowded(RectanglesConfig(height=32, width=48))
    return Session(env, LocalPool(env.renderer()))


def test_structure_and_layouts_are_in_its_state() -> None:
    session = crowded_session()
    algorithm, other = Leap(session, QUICK), Leap(session, QUICK)
    before = algorithm.generator.sample(20, seed_sequence(0, "found")).scenes
    # The last step scores a network, in other processes.
    for iteration in range(QUICK.iterations - 1):
        algorithm.step(iteration)
    found = algorithm.generator.sample(20, seed_sequence(0, "found")).scenes
    assert found != before
    other.load_state_dict(algorithm.state_dict())
    assert other.generator.sample(20, seed_sequence(0, "found")).scenes == found
    assert "number of rectangle" in algorithm.seen()


@pytest.mark.slow
def test_it_counts_and_puts_things_as_they_lie() -> None:
    algorithm = Leap(crowded_session(), LeapConfig(iterations=1, broad=600, epochs=30, second_looks=False))
    algorithm.step(0)
    scenes = algorithm.generator.sample(300, seed_sequence(0, "found")).scenes
    numbers = np.array([sum(1 for _ in scene.find("rectangle")) for scene in scenes])
    assert numbers.mean() == pytest.approx(2.75, abs=0.25)
    assert algorithm.seen()["number of rectangle"] > 0.3
    # Three lie apart, where independent places would often be the same.
    rows = [sorted(float(node["x"]) for node in scene.find("rectangle")) for scene in scenes]
    gaps = np.array([np.diff(row).min() for row in rows if len(row) == 3])
    assert np.median(gaps) == pytest.approx(0.3, abs=0.1)


def test_where_many_nodes_look_alike_it_is_refused() -> None:
    env = BlobEnv(BlobConfig())
    blob = replace(env.schema.node_class("blob"), slots=6)
    env.schema = Schema(tuple(blob if each.name == "blob" else each for each in env.schema.classes))
    assert Leap.refusal(env) == "it tells at most 5 nodes of a class apart"
    # Nodes with nothing to learn need not be told apart.
    still = replace(blob, attributes=tuple(replace(each, mutable=False) for each in blob.attributes))
    env.schema = Schema(tuple(still if each.name == "blob" else each for each in env.schema.classes))
    assert Leap.refusal(env) is None


def truth(session: Session) -> dict[str, AttributeSummary]:
    target = session.env.target()
    assert target is not None
    return summarise(session.env.schema, target.sample_many(200, seed_sequence(0, "truth")))


def left(algorithm: Leap, start: dict[str, AttributeSummary], key: str) -> float:
    """The share of its way to the target that an attribute's mean has not gone."""
    spec = next(keyed.attribute for keyed in algorithm.session.env.prior().attributes() if keyed.key == key)
    before, after, true = start[key], algorithm.answer.parameters_by_key()[key], truth(algorithm.session)[key]
    assert isinstance(spec, Continuous) and isinstance(before, ContinuousSummary)
    assert isinstance(after, ContinuousSummary) and isinstance(true, ContinuousSummary)
    return abs(spec.difference(after.mean, true.mean)) / abs(spec.difference(before.mean, true.mean))


def test_it_jumps_to_the_target() -> None:
    """With few frames, from which the light and places can be told."""
    algorithm = Leap(blob_session(), LeapConfig(iterations=1, broad=300, epochs=14, second_looks=False))
    start, seen = algorithm.start.parameters_by_key(), algorithm.seen()
    algorithm.step(0)
    assert min(seen["blob.x"], seen["blob.y"]) > 0.3
    for key in ("light.power", "blob.0.x", "blob.1.x"):
        assert left(algorithm, start, key) < 0.5, key


@pytest.mark.slow
def test_it_jumps_to_the_target_in_angles_and_choices_too() -> None:
    session = blob_session()
    algorithm = Leap(session, LeapConfig(iterations=1, broad=700, epochs=18))
    start, seen = algorithm.start.parameters_by_key(), algorithm.seen()
    algorithm.step(0)
    answer, true = algorithm.answer.parameters_by_key(), truth(session)
    assert min(seen[f"blob.{name}"] for name in ("x", "y", "hue")) > 0.3
    # How bright a blob is a second look shows; a choice that is not told well enough to be used counts as not seen.
    assert seen["blob.sign"] > 0.2
    for key in ("light.power", "blob.0.x", "blob.1.x", "blob.0.hue", "blob.1.hue"):
        assert left(algorithm, start, key) < 0.5, key
    for key in ("blob.0.sign", "blob.1.sign"):
        shares = []
        for summary in (start[key], answer[key], true[key]):
            assert isinstance(summary, CategoricalSummary)
            shares.append(summary.probabilities[0])
        assert abs(shares[1] - shares[2]) < max(abs(shares[0] - shares[2]), 0.2), key


def test_from_labels_it_finds_places_whatever_images_look_like() -> None:
    """The light, of which labels show nothing, is spread over its range."""
    session = blob_session()
    noise = np.random.default_rng(0).integers(0, 256, session.validation.images.shape).astype(np.uint8)
    blind = Target(Frames(noise), Frames(noise, session.validation.annotations), session.target.test)
    session.__dict__["target"] = blind
    config = LeapConfig(iterations=1, broad=300, epochs=14, second_looks=False, reads="labels")
    assert Leap.shown(config) == "labels" and Leap.shown(QUICK) == "images"
    algorithm = Leap(session, config)
    start = algorithm.start.parameters_by_key()
    algorithm.step(0)
    assert session.images == session.feature_usage.images == 0
    for key in ("blob.0.x", "blob.1.x"):
        assert left(algorithm, start, key) < 0.5, key
    light = algorithm.answer.parameters_by_key()["light.power"]
    (spec,) = [keyed.attribute for keyed in session.env.prior().attributes() if keyed.key == "light.power"]
    assert isinstance(light, ContinuousSummary) and isinstance(spec, Continuous)
    assert light.mean == pytest.approx((spec.low + spec.high) / 2, abs=0.01 * (spec.high - spec.low))
    assert light.std > 0.2 * (spec.high - spec.low)


def test_without_labels_that_show_places_there_is_nothing_to_read() -> None:
    with pytest.raises(UserError, match=r"^leap needs a labelled target: it reads their labels"):
        Leap(blob_session(unlabelled=True), replace(QUICK, reads="labels"))
    session = blob_session()
    given = session.validation
    # Frames have masks beside it, but the target's labels have none.
    labelled = Frames(given.images, {"blobs": given.annotations["blobs"]})
    session.__dict__["target"] = Target(session.target.images, labelled, session.target.test)
    with pytest.raises(UserError, match=r"^algo\.reads: labels, but here they say nothing of where things are"):
        Leap(session, replace(QUICK, reads="labels"))


def test_a_round_is_drawn_around_the_answer() -> None:
    algorithm = Leap(blob_session(), QUICK)
    around = algorithm.reader.widened(algorithm.answer, 2.0, 0.1)
    for key, summary in around.parameters_by_key().items():
        own = algorithm.answer.parameters_by_key()[key]
        if isinstance(summary, ContinuousSummary):
            assert isinstance(own, ContinuousSummary)
            assert summary.std >= own.std and summary.mean == pytest.approx(own.mean, abs=1e-3)
        else:
            assert isinstance(summary, CategoricalSummary) and min(summary.probabilities) > 0


def test_a_round_is_as_wide_as_what_readings_confuse_where_they_see_anything() -> None:
    algorithm = Leap(blob_session(), QUICK)
    reader = algorithm.reader.reader
    (read,) = [each for each in reader.read if each.name == "blob"]
    place = [each.name for each in read.continuous].index("x")
    reader.calibrations["blob"].noise[place], reader.calibrations["blob"].slope[place] = 0.1, 0.5
    (spec,) = [keyed.attribute for keyed in algorithm.reader.prior.attributes() if keyed.key == "blob.0.x"]
    assert isinstance(spec, Continuous)
    own = algorithm.answer.parameters_by_key()["blob.0.x"]
    assert isinstance(own, ContinuousSummary)
    spreads = []
    for explained in (0.5, 0.0):
        reader.explained["blob.x"] = explained
        around = algorithm.reader.widened(algorithm.answer, 1.0, 0.01).parameters_by_key()["blob.0.x"]
        assert isinstance(around, ContinuousSummary)
        spreads.append(around.std)
    span = spec.high - spec.low
    assert spreads == [pytest.approx(math.hypot(own.std, 0.2 * span), rel=0.01), pytest.approx(own.std, rel=0.01)]


def test_a_round_sees_each_angle_both_ways() -> None:
    algorithm = Leap(blob_session(), QUICK)
    own = algorithm.answer.parameters_by_key()["blob.0.hue"]
    assert isinstance(own, ContinuousSummary)
    (spec,) = [keyed.attribute for keyed in algorithm.reader.prior.attributes() if keyed.key == "blob.0.hue"]
    assert isinstance(spec, Continuous)
    scenes = algorithm.reader.around(algorithm.answer, 1.0, 0.01, 200, seed_sequence(0, "round"))
    hues = [float(node["hue"]) for scene in scenes for node in scene.find("blob") if node.slot == 0]
    apart = [abs(spec.difference(hue, own.mean)) for hue in hues]
    near, across = sum(gap < 90 for gap in apart), sum(gap >= 90 for gap in apart)
    assert 60 < near < 140 and near + across == 200
