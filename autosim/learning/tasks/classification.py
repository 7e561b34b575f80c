"""Classification: a small convolutional network, trained on shifted images; cross-entropy and accuracy."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from autosim.learning.tasks.task import Scorer, Task
from autosim.learning.training import to_tensor
from autosim.rendering.frames import Frames
from autosim.seeding import torch_seeded


class ConvolutionalClassifier(nn.Module):
    """Two 5×5 convolutions, each with 2×2 maximum pooling, then layers of 50, 100 and ``classes`` units with dropout
    between them: Meta-Sim's network for digits (Kar et al., ICCV 2019, §4.1), whose ``filters`` the paper does not say.

    For images (n, 3, height, width) of one size. No layer mixes samples.
    """

    def __init__(
        self, classes: int, height: int, width: int, filters: tuple[int, int] = (32, 64), dropout: float = 0.25
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, filters[0], 5)
        self.second = nn.Conv2d(filters[0], filters[1], 5)
        rows, columns = (((edge - 4) // 2 - 4) // 2 for edge in (height, width))
        self.head = nn.Sequential(
            nn.Linear(filters[1] * rows * columns, 50),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(50, 100),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(100, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(n, classes) logits."""
        x = functional.max_pool2d(functional.relu(self.first(images)), 2)
        x = functional.max_pool2d(functional.relu(self.second(x)), 2)
        return self.head(x.flatten(1))


class Classification(Task):
    """Assign each image one of ``classes`` (at least 2); targets are indices in the annotation ``label``, int (n,).

    ``height`` and ``width`` (at least 16) are those of the images. The loss is the cross-entropy in nats, the score the
    share of images whose class is predicted correctly. In training, an image is shifted by up to ``shift`` pixels each
    way, at random each time it is used; pixels from beyond its edge are black.
    """

    score_name = "accuracy"
    reads = ("label",)
    any_size = False

    def __init__(
        self, classes: int, height: int, width: int, filters: tuple[int, int] = (32, 64), shift: int = 2
    ) -> None:
        if classes < 2:
            raise ValueError(f"classes: {classes} is below 2")
        if min(height, width) < 16:
            raise ValueError(f"images of {height} × {width} are smaller than 16 × 16")
        if shift < 0:
            raise ValueError(f"shift: {shift} is below 0")
        self.classes, self.height, self.width, self.filters, self.shift = classes, height, width, filters, shift

    def network(self, seed: int) -> nn.Module:
        """A fresh network; equal seeds give equal weights. The global random state is left as it was."""
        with torch_seeded(seed):
            network = ConvolutionalClassifier(self.classes, self.height, self.width, self.filters)
        return network.to(memory_format=torch.channels_last)

    def prepare(self, frames: Frames, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """(images (n, 3, H, W), labels int64 (n,)); ``ValueError`` where labels are missing or do not fit."""
        if "label" not in frames.annotations:
            raise ValueError(f"classification: frames have no annotation 'label', only {sorted(frames.annotations)}")
        labels = torch.from_numpy(frames.annotations["label"].astype("int64"))
        if labels.shape != (len(frames),):
            raise ValueError(f"classification: labels of shape {tuple(labels.shape)} for {len(frames)} images")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.classes:
            raise ValueError(f"classification: a label is outside [0, {self.classes})")
        images = to_tensor(frames.images, device).contiguous(memory_format=torch.channels_last)
        return images, labels.to(device)

    def vary(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 3, H, W) images, each shifted by its own number of pixels; labels stay."""
        if not self.shift:
            return inputs, targets
        n, _, height, width = inputs.shape
        moves = torch.randint(0, 2 * self.shift + 1, (2, n, 1), device=inputs.device)
        rows, columns = (moves[i] + torch.arange(edge, device=inputs.device) for i, edge in enumerate((height, width)))
        padded = functional.pad(inputs, (self.shift,) * 4)
        scene = torch.arange(n, device=inputs.device)[:, None, None]
        shifted = padded.permute(0, 2, 3, 1)[scene, rows[:, :, None], columns[:, None, :]]
        return shifted.permute(0, 3, 1, 2), targets

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(n,) cross-entropy, in nats."""
        return functional.cross_entropy(outputs, targets, reduction="none")

    def scorer(self) -> Accuracy:
        """Accuracy."""
        return Accuracy(self.classes)


class Accuracy(Scorer):
    """The share of samples whose class is predicted correctly, overall and by class (``classes`` of them)."""

    def __init__(self, classes: int) -> None:
        self.right, self.seen = (torch.zeros(classes, dtype=torch.int64) for _ in range(2))

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Count the samples whose logits (n, classes) are largest at their target, int64 (n,)."""
        classes = len(self.seen)
        self.seen += torch.bincount(targets.cpu(), minlength=classes)
        self.right += torch.bincount(targets[outputs.argmax(dim=1) == targets].cpu(), minlength=classes)

    def compute(self) -> float:
        """Accuracy on all samples; ``ValueError`` where there were none."""
        if not int(self.seen.sum()):
            raise ValueError("accuracy: no samples were seen")
        return int(self.right.sum()) / int(self.seen.sum())

    def by_class(self) -> dict[str, float]:
        """Recall of each class of which there were samples, by its index."""
        counts = zip(self.right.tolist(), self.seen.tolist(), strict=True)
        return {str(c): right / seen for c, (right, seen) in enumerate(counts) if seen}
