"""MNIST: digits kept apart by use, files checked, pictures as declared."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autosim.env import Env
from autosim.errors import UserError
from autosim.rendering.renderer import Renderer
from autosim.scenes.graph import Node, SceneGraph
from autosim.seeding import seed_sequence
from autosim.testing import EnvSuite, RendererSuite
from envs.digits import LABELS, VARIANTS, load_digits
from envs.mnist.env import Mnist, MnistConfig

pytestmark = pytest.mark.usefixtures("one_thread")


def env(case: str = "rotation-translation") -> Mnist:
    return Mnist(MnistConfig(case=case, train_frames=40))  # type: ignore[arg-type]


def scene(label: int, variant: float, yaw: float, x: float = 0.5, y: float = 0.5) -> SceneGraph:
    values = {"x": x, "y": y, "yaw": yaw, "variant": variant, "label": label}
    return SceneGraph((Node("digit", values),), (-1,))


class TestMnist(EnvSuite):
    def env(self) -> Env:
        return env()


class TestRotation(EnvSuite):
    def env(self) -> Env:
        return env("rotation")


class TestDigitRenderer(RendererSuite):
    def renderer(self) -> Renderer:
        return env().renderer()

    def scenes(self) -> Sequence[SceneGraph]:
        return [scene(3, 0.1, 0.0), scene(7, 0.9, 90.0, 0.3, 0.6), scene(0, 0.65, 200.0)]


@given(label=st.sampled_from(LABELS), variant=st.floats(0, 1))
@settings(deadline=None)
def test_a_variant_stays_within_its_label_and_split(label: int, variant: float) -> None:
    digits = load_digits("bundled")
    index = digits.index(label, variant)
    split = next((i for i, (_, high) in enumerate(VARIANTS.values()) if variant < high), 2)
    first, count = int(digits.first[label, split]), int(digits.count[label, split])
    assert first <= index < first + count


def test_start_validation_and_test_have_no_image_in_common() -> None:
    problem, digits = env(), load_digits("bundled")
    used = []
    for i, grammar in enumerate((problem.prior(), problem.validation_target(), problem.target())):
        scenes = grammar.sample_many(200, seed_sequence(0, "digits", i))
        used.append({digits.index(int(s.nodes[0]["label"]), float(s.nodes[0]["variant"])) for s in scenes})
    assert not used[0] & used[1] and not used[0] & used[2] and not used[1] & used[2]
    images = [{digits.images[i].tobytes() for i in part} for part in used]
    assert len(images[0]) > 100 and not images[0] & images[2]


def test_every_image_of_a_split_can_be_drawn() -> None:
    digits = load_digits("bundled")
    low, high = VARIANTS["train"]
    count = int(digits.count[4, 0])
    found = {digits.index(4, low + (high - low) * (i + 0.5) / count) for i in range(count)}
    assert len(found) == count


def test_the_target_is_turned_and_in_the_lower_left_corner() -> None:
    problem = env()
    renderer = problem.renderer()
    renderer.build()
    upright = renderer.draw(scene(7, 0.8, 0.0, 14 / 64, 50 / 64), 0)
    turned = renderer.draw(scene(7, 0.8, 90.0, 14 / 64, 50 / 64), 0)
    assert upright.sum() > 10
    assert np.allclose(turned[36:, :28], np.rot90(upright[36:, :28]), atol=1e-4)
    for drawn in problem.target().sample_many(5, seed_sequence(0, "corner")):
        image = renderer.draw(drawn, 0)
        assert image[36:, :28].sum() == pytest.approx(image.sum()) and image.sum() > 10


@pytest.mark.parametrize("case", ["rotation", "rotation-translation"])
def test_a_seed_draws_another_target_away_from_the_start(case: Any) -> None:
    renderer = Mnist(MnistConfig(case)).renderer()
    renderer.build()
    angles = set()
    for seed in range(1, 12):
        first, second = Mnist(MnistConfig(case, target_seed=seed)).target().sample_many(2, seed_sequence(0, "t"))
        nodes = [next(drawn.find("digit")) for drawn in (first, second)]
        assert nodes[0]["yaw"] == nodes[1]["yaw"] and 45 <= float(nodes[0]["yaw"]) <= 315
        angles.add(nodes[0]["yaw"])
        if case == "rotation-translation":
            assert np.hypot(float(nodes[0]["x"]) - 0.5, float(nodes[0]["y"]) - 0.5) >= 1 / 6
        # The whole digit is in the picture.
        image = renderer.draw(first, 0)
        assert image[[0, -1]].sum() + image[:, [0, -1]].sum() < 0.02 * image.sum()
    assert len(angles) == 11


def test_an_upright_digit_in_the_middle_is_its_image() -> None:
    renderer = env("rotation").renderer()
    renderer.build()
    node = Node("digit", {"yaw": 0.0, "variant": 0.3, "label": 5})
    frame = renderer.render(SceneGraph((node,), (-1,)), 0)
    expected = load_digits("bundled").images[load_digits("bundled").index(5, 0.3)]
    assert np.array_equal(frame.image[2:-2, 2:-2, 0], expected)
    assert int(frame.annotations["label"]) == 5


def write_idx(path: Path, array: np.ndarray, compressed: bool = True) -> None:
    header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    data = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if compressed else data)


def mnist_folder(folder: Path, compressed: bool = True) -> Path:
    rng = np.random.default_rng(0)
    ending = ".gz" if compressed else ""
    for part, count in (("train", 50), ("t10k", 200)):
        write_idx(folder / f"{part}-images-idx3-ubyte{ending}", rng.integers(0, 256, (count, 28, 28)), compressed)
        write_idx(folder / f"{part}-labels-idx1-ubyte{ending}", np.arange(count) % 10, compressed)
    return folder


@pytest.mark.parametrize("compressed", [True, False])
def test_the_original_files_are_read(tmp_path: Path, compressed: bool) -> None:
    digits = load_digits("mnist", mnist_folder(tmp_path, compressed))
    assert digits.images.shape == (250, 28, 28)
    assert digits.count[:, 0].tolist() == [5] * 10 and int(digits.count[:, 1:].sum()) == 200
    problem = Mnist(MnistConfig(digits="mnist", data_dir=tmp_path))
    assert problem.train_frames == 20_000


def test_a_folder_that_lacks_a_file_or_holds_a_wrong_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="data_dir"):
        load_digits("mnist")
    with pytest.raises(UserError, match=r"neither t10k-images-idx3-ubyte\.gz nor t10k-images-idx3-ubyte is there"):
        load_digits("mnist", tmp_path / "empty")
    folder = mnist_folder(tmp_path)
    name = folder / "train-labels-idx1-ubyte.gz"
    for content, message in (
        (b"not compressed", "cannot be read"),
        (gzip.compress(b"\0\0\x08\x03"), "not an idx file of unsigned bytes with 1 dimensions"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x09abc"), "3 bytes of data, but the header says"),
    ):
        name.write_bytes(content)
        with pytest.raises(UserError, match=message):
            load_digits.__globals__["_load"].cache_clear()
            load_digits("mnist", folder)
    write_idx(name, np.arange(49) % 10)
    with pytest.raises(UserError, match="50 images but 49 labels"):
        load_digits("mnist", folder)


def test_options_out_of_range_are_named() -> None:
    with pytest.raises(ValueError, match="case"):
        env("reflection")
    with pytest.raises(ValueError, match="train_frames"):
        MnistConfig(train_frames=-1)
    with pytest.raises(ValueError, match="digits"):
        MnistConfig(digits="svhn")  # type: ignore[arg-type]
