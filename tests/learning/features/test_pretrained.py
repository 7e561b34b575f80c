"""Features of pre-trained networks, from weights written here: shapes, gradient, and one-line errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from autosim.errors import UserError
from autosim.learning.features.pretrained import (
    InceptionFeatures,
    Lite0Features,
    PretrainedFeatures,
    SqueezeNetFeatures,
)
from autosim.learning.lite0 import Lite0


@pytest.fixture(scope="module")
def squeezenet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Randomly initialised weights as torchvision saves them."""
    from torchvision.models import squeezenet1_1

    path = tmp_path_factory.mktemp("weights") / "squeezenet.pt"
    torch.save(squeezenet1_1(weights=None).state_dict(), path)
    return path


def test_squeezenet_features_are_those_of_its_layers(squeezenet_file: Path) -> None:
    from torchvision.models import squeezenet1_1

    features = SqueezeNetFeatures(squeezenet_file, edge=64, grid=2)
    assert features.groups == [slice(0, 512), slice(512, 1536)]
    network = squeezenet1_1(weights=None).eval()
    network.load_state_dict(torch.load(squeezenet_file, weights_only=True))
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    normalised = (images - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    expected = torch.nn.functional.adaptive_avg_pool2d(network.features[:5](normalised), 2).flatten(1)
    torch.testing.assert_close(features(images)[:, :512], expected)


def test_squeezenet_features_are_differentiable_frozen_and_resize(squeezenet_file: Path) -> None:
    features = SqueezeNetFeatures(squeezenet_file, edge=64, grid=1)
    images = torch.rand(2, 3, 32, 48, requires_grad=True)
    result = features(images)
    assert result.shape == (2, features.dimension) == (2, 384)
    result.sum().backward()
    assert images.grad is not None and float(images.grad.abs().sum()) > 0
    assert not any(parameter.requires_grad for parameter in features.parameters())
    assert not any(module.training for module in features.train().modules())


@pytest.mark.parametrize(
    ("shape", "size", "cells"), [((188, 620), (39, 128), 4), ((620, 188), (128, 39), 4), ((9, 400), (32, 128), 4)]
)
def test_images_keep_their_aspect_and_cells_are_about_square(
    squeezenet_file: Path, shape: tuple[int, int], size: tuple[int, int], cells: int
) -> None:
    features = SqueezeNetFeatures(squeezenet_file, grid=4, shape=shape)
    assert features.size == size
    assert features.dimension == (128 + 256) * cells
    assert features(torch.rand(1, 3, *shape)).shape == (1, features.dimension)


def test_square_images_have_features_as_without_a_shape(squeezenet_file: Path) -> None:
    images = torch.rand(1, 3, 50, 50)
    plain, told = (SqueezeNetFeatures(squeezenet_file, edge=64, shape=shape) for shape in (None, (50, 50)))
    assert plain.size == (64, 64) and plain.dimension == 4 * (128 + 256)
    assert torch.equal(plain(images), told(images))


def test_inception_features(tmp_path: Path) -> None:
    from torchvision.models import inception_v3

    path = tmp_path / "inception.pt"
    torch.save(inception_v3(weights=None, init_weights=False).state_dict(), path)
    features = InceptionFeatures(path, edge=80, grid=1)
    assert features.dimension == 192 + 288
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(features(images)[:1], features(images[:1]), rtol=1e-4, atol=1e-5)


def test_lite0_features_come_from_several_depths() -> None:
    features = Lite0Features(edge=64, grid=1)
    assert features.group_names == ["stride 4", "stride 8", "stride 16", "stride 32"]
    assert [group.stop - group.start for group in features.groups] == [24, 40, 112, 320]
    images = torch.rand((2, 3, 64, 64), generator=torch.Generator().manual_seed(0)).requires_grad_()
    result = features(images)
    expected = torch.cat([level.mean(dim=(2, 3)) for level in Lite0()(images)], dim=1)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)
    result.sum().backward()
    assert images.grad is not None and float(images.grad.abs().sum()) > 0
    assert not any(parameter.requires_grad for parameter in features.parameters())


@pytest.mark.parametrize("load", [SqueezeNetFeatures, InceptionFeatures])
@pytest.mark.parametrize("content", [None, b"", b"no weights", {"other": torch.zeros(2)}, [1, 2]])
def test_unusable_files_are_named_in_one_line(
    tmp_path: Path, load: Callable[[Path], PretrainedFeatures], content: object
) -> None:
    path = tmp_path / "weights.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(UserError) as error:
        load(path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message


def test_a_folder_and_weights_of_another_shape_are_refused(tmp_path: Path, squeezenet_file: Path) -> None:
    with pytest.raises(UserError, match="is not a regular file"):
        SqueezeNetFeatures(tmp_path)
    state = torch.load(squeezenet_file, weights_only=True)
    state["features.0.weight"] = torch.zeros(1, 2)
    path = tmp_path / "weights.pt"
    torch.save(state, path)
    with pytest.raises(UserError, match=r"features\.0\.weight is \(1, 2\)"):
        SqueezeNetFeatures(path)


@pytest.mark.parametrize("kind", ["nan", "inf", "complex", "sparse", "meta", "text"])
def test_tensors_that_are_no_weights_are_refused(tmp_path: Path, squeezenet_file: Path, kind: str) -> None:
    state = torch.load(squeezenet_file)
    name = "features.3.squeeze.weight"
    changes = {
        "nan": lambda values: values.fill_(float("nan")),
        "inf": lambda values: values.fill_(float("inf")),
        "complex": lambda values: values.to(torch.complex64),
        "sparse": lambda values: values.to_sparse(),
        "meta": lambda values: values.to("meta"),
        "text": lambda values: "weights",
    }
    torch.save({**state, name: changes[kind](state[name])}, tmp_path / "wrong.pt")
    with pytest.raises(UserError, match=r"wrong\.pt: (features\.3\.squeeze\.weight|not a file)"):
        SqueezeNetFeatures(tmp_path / "wrong.pt")
