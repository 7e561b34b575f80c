"""A second look: crops that are where they should be, what they tell, what they leave alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from autosim.learning.inference.attributes import NodeLabels, ReadClass
from autosim.learning.inference.found import FoundNodes, nodes_at, nodes_found
from autosim.learning.inference.network import Predicted
from autosim.learning.inference.second_look import EDGE, SecondLook, crops, train_second_look
from autosim.learning.schedule import TrainingSchedule
from autosim.scenes.graph import Categorical, Continuous

pytestmark = pytest.mark.usefixtures("one_thread")
STRIPES = Categorical("stripes", ("lying", "standing"))
THING = ReadClass(
    "thing",
    False,
    1,
    (Continuous("x", 0.0, 1.0), Continuous("y", 0.0, 1.0)),
    (Categorical("colour", ("a", "b", "c")), STRIPES),
    (Continuous("yaw", 0.0, 360.0, periodic=True),),
)
SIZE, PATCH = 48, 8


def striped(count: int, seed: int) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """Pictures (n, 48, 48, 3) with a small striped thing, where it is (n, 2) and which way its stripes go (n,)."""
    random = np.random.default_rng(seed)
    images = np.full((count, SIZE, SIZE, 3), 90, dtype=np.uint8)
    corners, ways = random.integers(0, SIZE - PATCH, (count, 2)), random.integers(0, 2, count)
    pattern = np.where(np.arange(PATCH) % 4 < 2, 255, 0).astype(np.uint8)
    for image, (row, column), way in zip(images, corners, ways, strict=True):
        lines = pattern[:, None] if way == 0 else pattern[None]
        image[row : row + PATCH, column : column + PATCH] = np.broadcast_to(lines, (PATCH, PATCH))[..., None]
    places = (corners[:, ::-1] + PATCH / 2) / SIZE * 2 - 1
    return images, torch.from_numpy(places.copy()).float(), torch.from_numpy(ways)


def labels_of(ways: torch.Tensor) -> NodeLabels:
    count = len(ways)
    choices = torch.stack([torch.zeros_like(ways), ways], dim=1)
    return NodeLabels(
        torch.ones(count, 1, dtype=torch.bool), torch.zeros(count, 1, 2), torch.zeros(count, 1, 1), choices[:, None]
    )


def test_a_crop_is_the_picture_around_a_place_and_its_edge_goes_on() -> None:
    torch.manual_seed(0)
    # A quarter of 96 pixels is as many as a crop has: pixels are copied.
    images = torch.rand(2, 3, 96, 96)
    places = torch.tensor([[60.0, 30.0], [0.0, 96.0]]) / 96 * 2 - 1
    small = crops(images, places)[:, :3]
    half = EDGE // 2
    torch.testing.assert_close(small[0], images[0, :, 30 - half : 30 + half, 60 - half : 60 + half])
    corner = images[1, :, -1, 0]
    torch.testing.assert_close(small[1, :, -1, 0], corner)
    torch.testing.assert_close(small[1, :, :half, half:], images[1, :, 96 - half :, :half])


def test_numbers_of_a_prediction_are_about_one_attribute_each() -> None:
    numbers = [place for each in THING.attributes for place in THING.places_of(each.name)]
    assert sorted(numbers) == list(range(THING.outputs))
    with pytest.raises(KeyError):
        THING.places_of("weight")


def test_it_says_nothing_before_it_is_trained_and_then_tells_what_only_a_crop_shows() -> None:
    images, places, ways = striped(400, seed=0)
    torch.manual_seed(0)
    first = 0.1 * torch.randn(400, THING.outputs)
    look = SecondLook(THING)
    shown = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        torch.testing.assert_close(look(shown, places, first), first)
    known = labels_of(ways).select((slice(None), 0))
    nodes = FoundNodes(torch.arange(400), places, first, known)
    train_second_look(look, images, nodes.select(torch.arange(300)), TrainingSchedule(6, 32, 3e-3), seed=0)
    with torch.no_grad():
        after = look(shown[300:], places[300:], first[300:])
    right = THING.split(after).choices[1].argmax(dim=1) == ways[300:]
    assert float(right.float().mean()) > 0.9
    assert float((THING.log_prob(after, known.select(slice(300, None)))).mean()) > float(
        THING.log_prob(first[300:], known.select(slice(300, None))).mean()
    )


def test_nodes_are_where_the_cells_that_tell_of_them_are() -> None:
    coordinates = torch.stack(torch.meshgrid(torch.linspace(-1, 1, 5), torch.linspace(-1, 1, 4), indexing="xy"))
    cells = coordinates.flatten(1).shape[1]
    rates, outputs = torch.full((1, cells), -9.0), torch.zeros(1, cells, THING.outputs)
    rates[0, 7] = 0.0
    two = replace(THING, most=2)
    found = nodes_found(two, Predicted(outputs, rates), coordinates)
    assert found.present.tolist() == [[True, False]] and found.places is not None
    torch.testing.assert_close(found.places[0, 0], coordinates.flatten(1)[:, 7], atol=0.01, rtol=0)
    # Those that are near a true node are known.
    values = torch.tensor([[[0.5, 0.5], [0.9, 0.1]]])
    kinds = torch.zeros(1, 2, 2, dtype=torch.int64)
    truth = NodeLabels(torch.ones(1, 2, dtype=torch.bool), values, torch.zeros(1, 2, 1), kinds)
    nodes = nodes_at(two, found, truth)
    assert nodes.rows.tolist() == [0] and nodes.truth.continuous.tolist() == [[0.5, 0.5]]
    # A single node that nothing looks for has no place.
    alone = nodes_found(replace(THING, single=True), Predicted(outputs[:, 0]), coordinates)
    assert alone.places is None and alone.present.tolist() == [[True]]
