"""Pictures larger or smaller, and moved, with their boxes: a detector then meets objects at sizes and in surroundings
that the scenes do not have (as in Liu et al., "SSD", 2016, section 2.2, where patches are cropped or pictures shrunk).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from autosim.learning.tasks.kitti_precision import LEVELS

# A box is left out where less than this share of it is still in the picture.
LEFT = 0.4


def zoomed(images: Tensor, boxes: Sequence[Tensor], most: float) -> tuple[Tensor, list[Tensor]]:
    """``images``, float (n, 3, H, W), each scaled by its own factor in [1 / most, most], ``most`` >= 1, uniform in its
    logarithm, about a random point; what comes in from beyond an edge mirrors the picture. ``boxes`` are (k, 5 or more)
    for each, the corners in pixels first; they move along and are cut at the edges. By torch's global generator.

    Of boxes with a level (six columns) those that are left out count no more, and nothing is asked where they are.
    """
    count, height, width = len(images), images.shape[-2], images.shape[-1]
    sizes = torch.tensor([width, height], dtype=torch.float32)
    scales = torch.empty(count, 1).uniform_(-math.log(most), math.log(most)).exp()
    # Moved by up to half of what the picture grows or shrinks by: a larger one still fills the frame.
    shifts = torch.empty(count, 2).uniform_(-0.5, 0.5) * (scales - 1).abs() * sizes + (1 - scales) * sizes / 2
    # Where in the picture, from -1 to 1 across it, each pixel of the new one is found.
    turns = torch.zeros(count, 2, 3)
    turns[:, 0, 0] = turns[:, 1, 1] = 1 / scales[:, 0]
    turns[:, :, 2] = (sizes - 2 * shifts) / (scales * sizes) - 1
    places = functional.affine_grid(turns, [count, 3, height, width], align_corners=False).to(images)
    moved = functional.grid_sample(images, places, padding_mode="reflection", align_corners=False)
    limits = torch.cat([sizes, sizes])
    found = []
    for rows, scale, shift in zip(boxes, scales, shifts, strict=True):
        rows, edges = rows.clone(), limits.to(rows)
        whole = rows[:, :4] * scale.to(rows) + torch.cat([shift, shift]).to(rows)
        rows[:, :4] = torch.minimum(whole.clamp(min=0), edges)
        gone = _area(rows) < LEFT * _area(whole)
        if rows.shape[1] > 5:
            rows[gone, 5] = len(LEVELS)
        else:
            rows = rows[~gone]
        found.append(rows)
    return moved.contiguous(memory_format=torch.channels_last), found


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
