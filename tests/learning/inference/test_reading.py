"""What is read off pictures: true values as tensors, the likelihood of a set, a reader that learns from few frames."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from autosim.learning.inference.angles import GRID, normals
from autosim.learning.inference.attributes import NodeLabels, ReadClass, node_labels, read_classes, set_loss
from autosim.learning.inference.calibration import Frequencies, Readings, calibrated
from autosim.learning.inference.network import SceneNetwork
from autosim.learning.inference.reader import SceneReader
from autosim.learning.schedule import TrainingSchedule
from autosim.rendering.drawn import DrawnFrames
from autosim.scenes.graph import Categorical, Continuous
from tests.learning.shapes import SHAPES_ANNOTATIONS, SHAPES_SCHEMA, shape_frames

pytestmark = pytest.mark.usefixtures("one_thread")
NO_ANGLES = torch.zeros(2, 2, 0)
DOTS = ReadClass("dot", False, 2, (Continuous("x", 0.0, 1.0),), (Categorical("kind", ("a", "b")),))


def drawn(count: int, seed: int) -> DrawnFrames:
    scenes, frames = shape_frames(count, seed=seed)
    return DrawnFrames(tuple(scenes), tuple(range(count)), frames)


@pytest.fixture(scope="module")
def reader() -> SceneReader:
    """Trained for some seconds."""
    frames = drawn(300, seed=0)
    made = SceneReader(SHAPES_SCHEMA, frames, SHAPES_ANNOTATIONS, edge=32, seed=0)
    made.train(frames, TrainingSchedule(16, 16, 4e-3), held_out=40, seed=0)
    return made


def test_classes_are_single_or_sets_and_labels_are_their_true_values() -> None:
    frames = drawn(20, seed=0)
    classes = read_classes(SHAPES_SCHEMA, frames.scenes)
    assert {each.name: each.single for each in classes} == {"camera": True, "light": True, "shape": False}
    for read in classes:
        labels = node_labels(SHAPES_SCHEMA, read, frames.scenes)
        for row, scene in enumerate(frames.scenes):
            nodes = list(scene.find(read.name))
            assert int(labels.present[row].sum()) == len(nodes) <= read.most
            for place, node in enumerate(nodes):
                true = [each.normalise(float(node[each.name])) for each in read.continuous]
                assert labels.continuous[row, place].tolist() == pytest.approx(true, abs=1e-6)


def test_the_likelihood_of_a_set_is_the_sum_over_all_ways_to_explain_it() -> None:
    """By hand: two nodes, three cells and the background, every assignment of nodes to what explains them."""
    torch.manual_seed(0)
    rates, outputs = torch.randn(1, 3), torch.randn(1, 3, DOTS.outputs)
    background = torch.tensor(-1.0)
    continuous, choices = torch.tensor([[[0.2], [0.7]]]), torch.tensor([[[0], [1]]])
    labels = NodeLabels(torch.ones(1, 2, dtype=torch.bool), continuous, NO_ANGLES[:1], choices)
    total = 0.0
    for way in itertools.product(range(4), repeat=2):
        product = 1.0
        for node, cell in enumerate(way):
            if cell == 3:
                product *= math.exp(-1.0) / 2
                continue
            density = DOTS.log_prob(outputs[0, cell], labels.select((0, node)))
            product *= math.exp(float(rates[0, cell]) + float(density))
        total += product
    expected = float(rates.exp().sum()) + math.exp(-1.0) - math.log(total)
    assert float(set_loss(DOTS, rates, outputs, background, labels)) == pytest.approx(expected, rel=1e-5)


def test_the_order_of_nodes_and_absent_nodes_do_not_matter() -> None:
    torch.manual_seed(1)
    rates, outputs, background = torch.randn(2, 5), torch.randn(2, 5, DOTS.outputs), torch.tensor(-2.0)
    present = torch.tensor([[True, True], [True, False]])
    continuous, choices = torch.rand(2, 2, 1), torch.randint(0, 2, (2, 2, 1))
    loss = set_loss(DOTS, rates, outputs, background, NodeLabels(present, continuous, NO_ANGLES, choices))
    turned = NodeLabels(present.flip(1), continuous.flip(1), NO_ANGLES, choices.flip(1))
    torch.testing.assert_close(set_loss(DOTS, rates, outputs, background, turned), loss)
    other = continuous.clone()
    other[1, 1] = 0.123
    torch.testing.assert_close(
        set_loss(DOTS, rates, outputs, background, NodeLabels(present, other, NO_ANGLES, choices)), loss
    )


def test_a_density_integrates_to_one_on_a_circle_and_on_a_line() -> None:
    torch.manual_seed(2)
    grid, none = torch.linspace(0, 1, 2001)[:-1, None], torch.zeros(2000, 0)
    line = ReadClass("hand", True, 1, (Continuous("height", 0.0, 1.0),), ())
    circle = ReadClass("hand", True, 1, (), (), (Continuous("angle", 0.0, 360.0, periodic=True),))
    for read, truth in ((line, (grid, none)), (circle, (none, grid))):
        labels = NodeLabels(torch.ones(2000, dtype=torch.bool), *truth, none.long())
        outputs = torch.zeros(read.outputs) if read is line else torch.randn(read.outputs)
        if read is line:
            outputs[-1] = -1.5
        density = read.log_prob(outputs.expand(2000, -1), labels).exp()
        assert float(density.mean()) == pytest.approx(1.0, abs=0.01)
        if read is circle:
            (mixture,) = read.split(outputs).angles
            places = torch.arange(0, 2000, 2000 // 40)
            ours = mixture.densities()[:: 360 // 40]
            assert ours == pytest.approx(density[places].numpy(), rel=0.02, abs=0.01)


def test_even_gradients_of_means_do_not_grow_as_predictions_grow_precise() -> None:
    """By hand: z / σ of a normal, and z / σ times 2 σ; the density and the gradients of σ are the same."""
    read = ReadClass("hand", True, 1, (Continuous("height", 0.0, 1.0), Continuous("width", 0.0, 1.0)), ())
    sigmas, z = torch.tensor([0.01, 0.4]), torch.tensor([0.7, -1.3])
    means = torch.tensor([0.3, 0.6])
    none = torch.zeros(1, 0)
    truth = NodeLabels(torch.ones(1, dtype=torch.bool), (means + z * sigmas)[None], none, none.long())
    gradients, values = [], []
    for even in (False, True):
        outputs = read.joined(means[None], sigmas[None], none, []).requires_grad_()
        value = read.log_prob(outputs, truth, even)
        value.sum().backward()
        assert outputs.grad is not None
        gradients.append(outputs.grad[0])
        values.append(float(value.detach()))
    torch.testing.assert_close(gradients[0][:2], z / sigmas, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(gradients[1][:2], 2 * z, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(gradients[1][2:], gradients[0][2:])
    assert values[0] == pytest.approx(values[1], abs=1e-5)


def test_a_child_is_told_of_its_parent_alone() -> None:
    road = ReadClass(
        "road", True, 1, (Continuous("offset", -1.0, 1.0),), (), (Continuous("yaw", 0, 360, periodic=True),)
    )
    car = ReadClass("car", False, 2, (Continuous("along", 0.0, 1.0),), (), parent="road")
    network = SceneNetwork((road, car, DOTS), (), (16, 16))
    torch.manual_seed(3)
    images, statistics = torch.rand(3, 3, 16, 16), torch.zeros(3, len(network.statistics_mean))
    alone, _ = network(images, statistics, {})
    assert set(alone) == {"road", "dot"}
    told = [road.telling(torch.tensor([[0.5]] * 3), torch.tensor([[turn]] * 3)) for turn in (0.1, 0.6)]
    one, other = (network(images, statistics, {"car": each})[0] for each in told)
    assert not torch.allclose(one["car"].outputs, other["car"].outputs)
    for name in alone:
        torch.testing.assert_close(one[name].outputs, other[name].outputs)
    # An angle just before the seam and one just after it tell nearly the same.
    near, far = (road.telling(torch.zeros(1), torch.tensor([turn])) for turn in (0.999, 0.001))
    assert float((near - far).abs().max()) < 0.02


def test_cells_that_show_a_class_of_the_mask_hold_nodes_of_its_name() -> None:
    torch.manual_seed(4)
    car = ReadClass("car", False, 2, (Continuous("x", 0.0, 1.0),), ())
    network = SceneNetwork((car, DOTS), ("ground", "dot"), (16, 16))
    assert network.grid is not None and network.grid.bias is not None
    images, statistics = torch.rand(2, 3, 16, 16), torch.zeros(2, len(network.statistics_mean))
    before, _ = network(images, statistics, {})
    with torch.no_grad():
        network.grid.bias[1] += 5.0
    after, _ = network(images, statistics, {})
    for name, more in (("dot", True), ("car", False)):
        rates, risen = before[name].rates, after[name].rates
        assert rates is not None and risen is not None
        assert bool((risen > rates + 0.01).all()) == more


@pytest.mark.slow
def test_a_reader_finds_what_pictures_show(reader: SceneReader) -> None:
    shares = reader.explained
    assert shares and max(shares.values()) > 0.5
    test = drawn(40, seed=1)
    found = reader.readings(test.frames.images, {})
    for read in reader.read:
        labels = node_labels(SHAPES_SCHEMA, read, test.scenes)
        if not read.single:
            right = found[read.name].present.sum(axis=1)
            assert np.abs(right - labels.present.sum(dim=1).numpy()).mean() < 1.0
        again = calibrated(read, found[read.name], labels, reader.calibrations[read.name].frequencies)
        for key, share in again.explained.items():
            assert 0 <= share <= 1 and abs(share - shares[key]) < 0.35


def test_equal_seeds_give_equal_readers() -> None:
    frames = drawn(60, seed=0)
    made = []
    for _ in range(2):
        other = SceneReader(SHAPES_SCHEMA, frames, SHAPES_ANNOTATIONS, edge=32, seed=0)
        other.train(frames, TrainingSchedule(1, 16, 4e-3), held_out=12, seed=0)
        made.append(other.readings(frames.frames.images[:4], {}))
    for name, found in made[0].items():
        np.testing.assert_array_equal(found.means, made[1][name].means)


def test_what_the_frames_have_in_common_is_not_explained_by_readings() -> None:
    """Angles that are all near one, and readings that say this one of every picture, tell nothing of any."""
    hand = ReadClass("hand", True, 1, (), (), (Continuous("angle", 0.0, 360.0, periodic=True),))
    true = np.random.default_rng(0).normal(0.3, 0.03, 200)
    present, none = np.ones((200, 1), dtype=bool), torch.zeros(200, 1, 0)
    labels = NodeLabels(torch.from_numpy(present), none, torch.from_numpy(true[:, None, None]).float(), none.long())
    empty = np.zeros((200, 1, 0))
    shares = []
    for means, width in ((np.full(200, 0.3), 0.03), (true, 0.005)):
        densities = normals(means[:, None], np.full((200, 1), width))
        found = Readings(present, empty, empty, [densities], [])
        shares.append(calibrated(hand, found, labels, Frequencies([np.ones(GRID)], [])).explained["hand.angle"])
    assert shares[0] < 0.1 < 0.8 < shares[1]
