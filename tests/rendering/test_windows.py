"""Windows and labels of differences: what is drawn, what is counted, and that gradients stay what they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from autosim.errors import RendererError
from autosim.rendering.annotations import Annotation, ClassMask
from autosim.rendering.differences import GradientMethod, GradientSettings
from autosim.rendering.gradient import differentiable_masks
from autosim.rendering.pool import LocalPool
from autosim.rendering.renderer import Renderer
from autosim.rendering.windows import Window
from autosim.scenes.graph import Continuous, Node, NodeClass, SceneGraph, Schema

HEIGHT, WIDTH = 12, 40
BAR = 6


class BarRenderer(Renderer):
    """Bars of class 1 from top to bottom, and a light on the whole picture. Edges of a bar are smooth in the image and
    fall on whole pixels in the mask.
    """

    height, width = HEIGHT, WIDTH
    annotations: Mapping[str, Annotation] = {"mask": ClassMask(("ground", "bar"))}
    windows = True

    def __init__(self) -> None:
        step = 1 / WIDTH
        self.schema = Schema(
            (
                NodeClass("bar", (Continuous("x", 0.0, float(WIDTH), step=step * WIDTH),), slots=2),
                NodeClass("light", (Continuous("strength", 0.0, 1.0),)),
            )
        )
        self.drawn: list[Window] = []

    def __deepcopy__(self, memo: object) -> BarRenderer:
        """A pool draws with a copy; what that draws is to be seen here."""
        return self

    def build(self) -> None:
        pass

    def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> NDArray[np.float32]:
        self.drawn.append(Window(0, 0, HEIGHT, WIDTH))
        return self._image(scene)

    def draw_window(self, scene: SceneGraph, seed: int, effort: float, window: Window) -> NDArray[np.float32]:
        self.drawn.append(window)
        return self._image(scene)[window.slices]

    def window(self, scene: SceneGraph, node: int, attribute: str) -> Window | None:
        if attribute != "x" or not self.windows:
            return None
        left = int(float(scene.nodes[node]["x"])) - 1
        return Window(0, left, HEIGHT, BAR + 3)

    def annotate(self, scene: SceneGraph) -> dict[str, NDArray[np.generic]]:
        mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        for bar in scene.find("bar"):
            left = round(float(bar["x"]))
            mask[:, left : left + BAR] = 1
        return {"mask": mask}

    def _image(self, scene: SceneGraph) -> NDArray[np.float32]:
        (light,) = scene.find("light")
        columns, shades = np.arange(WIDTH), np.full(WIDTH, 0.1)
        for bar in scene.find("bar"):
            shades += (
                0.3 * np.clip(columns - float(bar["x"]) + 1, 0, 1) * np.clip(float(bar["x"]) + BAR - columns, 0, 1)
            )
        return np.broadcast_to((shades * light["strength"])[None, :, None], (HEIGHT, WIDTH, 3)).astype(np.float32)


def bars(first: float, second: float, strength: float = 0.7) -> SceneGraph:
    nodes = (Node("bar", {"x": first}, 0), Node("bar", {"x": second}, 1), Node("light", {"strength": strength}))
    return SceneGraph(nodes, (-1, -1, -1))


def cotangent(seed: int = 0, channels: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(1, HEIGHT, WIDTH, channels)).astype(np.float32)


def pool_of(renderer: BarRenderer) -> tuple[LocalPool, BarRenderer]:
    return LocalPool(renderer), renderer


def test_windows_are_checked_joined_clipped_and_measured() -> None:
    window = Window(2, 30, 4, 20)
    assert window.clipped(HEIGHT, WIDTH) == Window(2, 30, 4, 10)
    assert window.union(Window(0, 10, 3, 5)) == Window(0, 10, 6, 40)
    assert window.union(Window(0, 0, 0, 0)) == window == Window(9, 9, 0, 7).union(window)
    assert Window(-5, -5, 4, 4).clipped(HEIGHT, WIDTH).empty
    assert Window(0, 0, 6, 20).share(HEIGHT, WIDTH) == 0.25
    assert np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)[Window(1, 2, 3, 4).slices].shape == (3, 4)
    with pytest.raises(ValueError, match="height: -1 is below 0"):
        Window(0, 0, -1, 3)


def test_gradients_in_windows_are_those_of_whole_pictures_and_cost_less() -> None:
    scene, weights = bars(5.3, 21.8), cotangent()
    found = {}
    for windows in (True, False):
        pool, renderer = pool_of(BarRenderer())
        (found[windows],) = pool.vjp([scene], [3], weights, GradientSettings(windows=windows))
        drawn = [window.width for window in renderer.drawn]
        assert drawn == ([WIDTH] * 2 + [BAR + 5] * 4 if windows else [WIDTH] * 6)
        assert pool.images == 6
        assert pool.cost == HEIGHT * sum(drawn)
    np.testing.assert_allclose(found[True], found[False], rtol=1e-6, atol=1e-6)
    assert (found[True] != 0).all()


@pytest.mark.parametrize("method", ["forward", "spsa"])
def test_other_differences_draw_whole_pictures(method: GradientMethod) -> None:
    pool, renderer = pool_of(BarRenderer())
    pool.vjp([bars(5.3, 21.8)], [3], cotangent(), GradientSettings(method))
    assert {window.width for window in renderer.drawn} == {WIDTH}


def test_a_cotangent_that_is_zero_in_a_window_draws_nothing_there() -> None:
    pool, renderer = pool_of(BarRenderer())
    weights = cotangent()
    weights[:, :, 15:] = 0
    (gradient,) = pool.vjp([bars(5.3, 21.8)], [3], weights, GradientSettings())
    assert gradient[1] == 0 and gradient[0] != 0 != gradient[2]
    assert pool.images == 4 == len(renderer.drawn)


def test_a_window_of_another_shape_is_refused() -> None:
    class Wrong(BarRenderer):
        def draw_window(self, scene: SceneGraph, seed: int, effort: float, window: Window) -> NDArray[np.float32]:
            return self._image(scene)

    with pytest.raises(RendererError, match=r"draw_window gave float32 \(12, 40, 3\) instead of float32 \(12, 11, 3\)"):
        LocalPool(Wrong()).vjp([bars(5.3, 21.8)], [3], cotangent(), GradientSettings())


def test_render_cost_follows_effort_and_windows_only_where_they_are_drawn() -> None:
    renderer, half = BarRenderer(), Window(0, 0, HEIGHT, WIDTH // 2)
    scene = bars(1, 2)
    assert renderer.cost(scene) == HEIGHT * WIDTH
    assert renderer.cost(scene, 0.5, half) == HEIGHT * WIDTH / 4

    class Whole(Renderer):
        schema, height, width = renderer.schema, HEIGHT, WIDTH

        def build(self) -> None:
            pass

        def draw(self, scene: SceneGraph, seed: int, effort: float = 1.0) -> Any:
            return np.arange(HEIGHT * WIDTH * 3, dtype=np.float32).reshape(HEIGHT, WIDTH, 3)

    whole = Whole()
    assert whole.cost(scene, 0.5, half) == HEIGHT * WIDTH / 2
    assert whole.window(scene, 0, "x") is None
    np.testing.assert_array_equal(whole.draw_window(scene, 0, 1.0, Window(2, 3, 4, 5)), whole.draw(scene, 0)[2:6, 3:8])


def test_a_moved_bar_s_mask_has_its_closed_form_gradient() -> None:
    """A bar that covers [x, x + 6) gains the weight of the column it enters and loses that of the one it leaves."""
    pool, renderer = pool_of(BarRenderer())
    scene = bars(5, 20)
    weights = torch.from_numpy(cotangent(1, 2)).permute(0, 3, 1, 2)
    values = torch.from_numpy(renderer.schema.values(scene)).requires_grad_()
    _, one_hot, frames = differentiable_masks(pool, [scene], values, [3], "mask")
    assert one_hot.shape == (1, 2, HEIGHT, WIDTH) and one_hot.sum() == HEIGHT * WIDTH
    assert np.array_equal(one_hot[0, 1].detach().numpy(), frames.annotations["mask"][0])
    before = pool.images
    (one_hot * weights).sum().backward()
    assert pool.images == before and len(renderer.drawn) == 1
    gain = (weights[0, 1] - weights[0, 0]).sum(dim=0).double()
    expected = [
        WIDTH / 2 * float(gain[left + BAR] + gain[left + BAR - 1] - gain[left] - gain[left - 1]) for left in (5, 20)
    ]
    assert values.grad is not None
    np.testing.assert_allclose(values.grad[:2].numpy(), expected, rtol=1e-5)
    assert values.grad[2] == 0


@pytest.mark.parametrize("method", ["central", "forward", "spsa"])
def test_labels_and_images_together_are_differences_of_the_loss_itself(method: GradientMethod) -> None:
    renderer, settings = BarRenderer(), GradientSettings(method)
    scene, images, labels = bars(5.3, 20.9), cotangent(2), cotangent(3, 2)
    pool = LocalPool(renderer)
    (both,) = pool.vjp([scene], [3], images, settings, {"mask": labels})
    (only_images,) = pool.vjp([scene], [3], images, settings)
    (only_labels,) = pool.vjp([scene], [3], None, settings, {"mask": labels})
    np.testing.assert_allclose(both, only_images + only_labels, rtol=1e-9, atol=1e-9)

    def loss(scene: SceneGraph) -> float:
        mask = renderer.annotate(scene)["mask"]
        return float(sum(labels[0, ..., k][mask == k].sum(dtype=np.float64) for k in (0, 1)))

    if method == "central":
        brute = [
            (loss(bars(5.3 + a, 20.9 + b)) - loss(bars(5.3 - a, 20.9 - b))) * WIDTH / 2 for a, b in ((1, 0), (0, 1))
        ]
        np.testing.assert_allclose(only_labels[:2], brute, rtol=1e-6)


def test_labels_that_cannot_be_are_refused() -> None:
    pool, scene = LocalPool(BarRenderer()), bars(5, 20)
    values = torch.from_numpy(pool.schema.values(scene))
    for refused, message in (("depth", "'depth' is no class mask; allowed are .'mask'."),):
        with pytest.raises(ValueError, match=message):
            differentiable_masks(pool, [scene], values, [3], refused)
        with pytest.raises(ValueError, match=message):
            pool.vjp([scene], [3], None, GradientSettings(), {refused: cotangent(0, 2)})
    with pytest.raises(ValueError, match="the adjoint has none of labels"):
        pool.vjp([scene], [3], None, GradientSettings("adjoint"), {"mask": cotangent(0, 2)})
    with pytest.raises(ValueError, match=r"cotangents of 'mask' have shape"):
        pool.vjp([scene], [3], None, GradientSettings(), {"mask": cotangent(0, 3)})
