"""Features of networks trained on ImageNet: torchvision's SqueezeNet and Inception from the user's file of weights, and
EfficientNet-lite0 from its package.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from autosim.errors import UserError
from autosim.files import read_tensors
from autosim.learning.features.features import Features
from autosim.learning.lite0 import ENDS, HALF, MIDDLE, STRIDES, Lite0

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Fewest pixels of the shortest edge: below, the networks' later layers have no input left.
LEAST = 32


class PretrainedFeatures(Features):
    """Activations of some layers of a pre-trained network, averaged over the cells of a partition of the image.

    Images of ``shape`` (height, width), square by default, are resized so that their longest edge has ``edge`` pixels,
    and normalised by ``mean`` and ``std``. They keep their aspect, but for a shortest edge of at least :data:`LEAST`
    pixels. The longest edge has ``grid`` cells, the other one as many as make them about square. Each layer is a group
    of ``channels · cells`` features.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        stages: Sequence[tuple[str, nn.Module]],
        edge: int,
        grid: int,
        shape: tuple[int, int] | None = None,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        if grid < 1:
            raise ValueError(f"grid: {grid} is below 1")
        longest = max(shape or (1,))
        height, width = (length / longest for length in shape or (1, 1))
        self.size = max(LEAST, round(edge * height)), max(LEAST, round(edge * width))
        self.grid = max(1, round(grid * height)), max(1, round(grid * width))
        self.stages = nn.ModuleList([stage for _, stage in stages])
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])
        self.freeze()
        with torch.no_grad():
            parts = self._parts(torch.zeros(1, 3, *self.size))
        self.group_names = [name for name, _ in stages]
        self.groups = []
        start = 0
        for part in parts:
            self.groups.append(slice(start, start + part.shape[1]))
            start += part.shape[1]
        self.weights = [1.0] * len(self.groups)

    def forward(self, images: Tensor) -> Tensor:
        """(n, d) features of images of any size and the aspect of ``shape``, float (n, 3, H, W) in [0, 1]."""
        return torch.cat(self._parts(images), dim=1)

    def _parts(self, images: Tensor) -> list[Tensor]:
        if images.shape[-2:] != torch.Size(self.size):
            images = functional.interpolate(images, size=self.size, mode="bilinear", antialias=True)
        x = (images - self.mean) / self.std
        parts = []
        for stage in self.stages:
            x = stage(x)
            parts.append(functional.adaptive_avg_pool2d(x, self.grid).flatten(1))
        return parts


class SqueezeNetFeatures(PretrainedFeatures):
    """SqueezeNet 1.1 after its first two pairs of fire modules (128 and 256 channels).

    ``weights`` is a file of torchvision's ``squeezenet1_1``; ``UserError`` where it is missing, unreadable or another
    network's.
    """

    def __init__(self, weights: Path, edge: int = 128, grid: int = 2, shape: tuple[int, int] | None = None) -> None:
        from torchvision.models import squeezenet1_1

        network = squeezenet1_1(weights=None).features
        _load(network, weights, "features.", "squeezenet1_1")
        super().__init__([("fire 2", network[:5]), ("fire 4", network[5:8])], edge, grid, shape)


class InceptionFeatures(PretrainedFeatures):
    """InceptionV3 after its second and third convolution stages (192 and 288 channels).

    Meta-Sim uses InceptionV3 and finds that lower layers help across the gap between real and rendered images.
    ``weights`` is a file of torchvision's ``inception_v3``; ``UserError`` where it is missing, unreadable or another
    network's.
    """

    def __init__(self, weights: Path, edge: int = 149, grid: int = 2, shape: tuple[int, int] | None = None) -> None:
        from torchvision.models import inception_v3

        whole = inception_v3(weights=None, init_weights=False, aux_logits=False)
        layers = list(whole.named_children())
        names = [name for name, _ in layers]
        start, end = names.index("Mixed_5b"), names.index("Mixed_6a")
        network = nn.Sequential(OrderedDict(layers[:end]))
        _load(network, weights, "", "inception_v3")
        super().__init__([("stem", network[:start]), ("mixed 5", network[start:])], edge, grid, shape)


class Lite0Features(PretrainedFeatures):
    """EfficientNet-lite0 at strides 4, 8, 16 and 32 (24, 40, 112 and 320 channels); ``UserError`` where the packages of
    its code and weights are not installed.
    """

    def __init__(self, edge: int = 128, grid: int = 2, shape: tuple[int, int] | None = None) -> None:
        parts, stages, start = Lite0().parts, [], 0
        for end, stride in zip(ENDS, STRIDES, strict=True):
            stages.append((f"stride {stride}", nn.Sequential(*parts[start : end + 1])))
            start = end + 1
        mean, std = MIDDLE / 255.0, HALF / 255.0
        super().__init__(stages, edge, grid, shape, (mean, mean, mean), (std, std, std))


def _load(network: nn.Module, path: Path, prefix: str, expected: str) -> None:
    """Load those tensors of a state dictionary that start with ``prefix`` and belong to ``network``."""
    try:
        state = read_tensors(Path(path))
    except UserError as error:
        raise UserError(f"weights {error}") from error
    except OSError as error:
        raise UserError(f"weights {path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:
        raise UserError(f"weights {path}: not a file of PyTorch weights of {expected}") from error
    wanted = network.state_dict()
    found = state if isinstance(state, dict) else {}
    chosen = {}
    for name, tensor in wanted.items():
        value = found.get(prefix + name)
        if not isinstance(value, Tensor) or value.shape != tensor.shape:
            shape = tuple(value.shape) if isinstance(value, Tensor) else "nothing"
            raise UserError(
                f"weights {path}: {prefix + name} is {shape}, but {expected} of torchvision has {tuple(tensor.shape)}"
            )
        if (fault := _fault(value)) is not None:
            raise UserError(f"weights {path}: {prefix + name} {fault}; allowed are finite numbers")
        chosen[name] = value
    network.load_state_dict(chosen)


def _fault(tensor: Tensor) -> str | None:
    """Why a tensor cannot be a network's weights; None where it can."""
    if tensor.is_meta:
        return "has no values (device meta)"
    if tensor.layout != torch.strided or tensor.is_complex() or tensor.is_quantized:
        return f"is of {tensor.dtype}, {tensor.layout}"
    return None if bool(tensor.isfinite().all()) else "holds numbers that are not finite"
