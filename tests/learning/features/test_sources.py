"""Where features come from: trained once for an environment and kept, or read from the user's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from autosim.errors import UserError
from autosim.learning.broad import PROBES
from autosim.learning.features.sources import FeatureSource, ReferencedFeatures
from autosim.learning.training import to_tensor
from autosim.rendering.pool import LocalPool
from tests.support.helpers import BlobConfig, BlobEnv

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("AUTOSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def load(frames: int = 48, size: int = 24) -> tuple[ReferencedFeatures, int]:
    """Features of the blobs, and how many images were rendered for them."""
    env = BlobEnv(BlobConfig(size=size))
    with LocalPool(env.renderer()) as pool:
        return FeatureSource(frames=frames).load(env, pool, CPU), pool.images


def files(folder: Path) -> list[Path]:
    """What is kept of features; the frames that they learn from are kept beside."""
    return [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "broad"]


def test_features_are_learned_once_and_come_back_bit_for_bit(folder: Path) -> None:
    first, rendered = load()
    assert rendered == PROBES + 48 and len(files(folder)) == 1
    second, again = load()
    assert again == PROBES and len(files(folder)) == 1
    images = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    assert torch.equal(first.features(images), second.features(images))
    assert torch.equal(first.reference, second.reference)
    assert first.features.group_names == second.features.group_names
    assert first.features.weights == second.features.weights


def test_features_of_other_settings_or_environments_are_others(folder: Path) -> None:
    load()
    # Their frames are the first of those that are kept, which a probe of them tells.
    assert load(frames=40)[1] == PROBES + PROBES
    assert load(size=16)[1] == PROBES + 48
    assert len(files(folder)) == 3


def test_a_damaged_file_is_learned_again(folder: Path) -> None:
    first, _ = load()
    (path,) = files(folder)
    path.write_bytes(path.read_bytes()[:100])
    second, rendered = load()
    assert rendered == PROBES + PROBES and torch.equal(first.reference, second.reference)


def test_the_reference_is_broader_than_the_prior(folder: Path) -> None:
    loaded, _ = load()
    assert loaded.reference.shape == (48, loaded.features.dimension)
    env = BlobEnv(BlobConfig())
    with LocalPool(env.renderer()) as pool:
        frames = pool.render(env.prior().sample_many(48, np.random.SeedSequence(0)), range(48))
    spread = loaded.reference.std(dim=0) / loaded.features(to_tensor(frames.images)).std(dim=0).clamp_min(1e-6)
    layout = loaded.features.groups[loaded.features.group_names.index("layout")]
    assert float(spread[layout].median()) > 1.2


@pytest.mark.parametrize("kind", ["squeezenet", "inception"])
def test_missing_weights_are_told_in_one_line(tmp_path: Path, kind: Literal["squeezenet", "inception"]) -> None:
    env = BlobEnv(BlobConfig())
    with LocalPool(env.renderer()) as pool:
        for weights in (str(tmp_path / "none.pt"), None):
            with pytest.raises(UserError) as caught:
                FeatureSource(kind, weights).load(env, pool, CPU)
            assert "\n" not in str(caught.value)
            assert "weights" in str(caught.value) and str(weights or kind) in str(caught.value)
        assert pool.images == 0


def test_given_weights_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import squeezenet1_1

    monkeypatch.setattr("autosim.learning.features.sources.REFERENCES", 8)
    path = tmp_path / "weights.pt"
    torch.save(squeezenet1_1(weights=None).state_dict(), path)
    env = BlobEnv(BlobConfig())
    with LocalPool(env.renderer()) as pool:
        loaded = FeatureSource("squeezenet", str(path)).load(env, pool, CPU)
        assert loaded.usage.images == len(loaded.reference) == 8
    assert loaded.reference.shape[1] == loaded.features.dimension
    assert not loaded.reference.requires_grad


def test_lite0_needs_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autosim.learning.features.sources.REFERENCES", 8)
    env = BlobEnv(BlobConfig(size=32))
    with LocalPool(env.renderer()) as pool:
        found = FeatureSource("lite0").load(env, pool, CPU)
    assert found.reference.shape == (8, found.features.dimension) and bool(found.reference.isfinite().all())
