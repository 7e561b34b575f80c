"""A renderer's own adjoint as a method of gradients: through autograd, through pools, and where there is none."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from autosim.cli.main import main
from autosim.errors import RendererError, UserError
from autosim.rendering.actors.pool import RayPool
from autosim.rendering.actors.supervisor import SupervisorSettings
from autosim.rendering.differences import GradientSettings, Stencil, renders_per_scene
from autosim.rendering.gradient import differentiable_render
from autosim.rendering.losses import scene_vjp
from autosim.rendering.pool import LocalPool
from autosim.rendering.renderer import Renderer
from autosim.runs.opening import check_adjoint
from tests.rendering.adjoint_blobs import AdjointBlobRenderer
from tests.support.helpers import BLOB_SCHEMA, BlobConfig, BlobEnv, BlobRenderer, blob_scene, blob_scenes

ADJOINT = GradientSettings("adjoint")
SCENES, SEEDS = blob_scenes(7), list(range(40, 47))
SIZES = [len(BLOB_SCHEMA.values(scene)) for scene in SCENES]


def cotangents(count: int = len(SCENES)) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(count, 16, 16, 3)).astype(np.float32)


class AdjointBlobEnv(BlobEnv):
    def renderer(self) -> Renderer:
        return AdjointBlobRenderer()


def test_the_gradient_of_a_whole_loss_is_that_of_autograd() -> None:
    values = torch.tensor(np.concatenate([BLOB_SCHEMA.values(s) for s in SCENES]), requires_grad=True)
    exact_images = BlobRenderer().torch_images(SCENES, values, SEEDS)
    with LocalPool(AdjointBlobRenderer()) as pool:
        images, _ = differentiable_render(pool, SCENES, values, SEEDS, ADJOINT)
        (found,) = torch.autograd.grad(torch.sin(3 * images).square().sum() + images.mean().exp(), values)
    # The loss is taken of images of 8 bits there; its cotangent at these is sent, so the exact one is taken there too.
    (cotangent,) = torch.autograd.grad(torch.sin(3 * images).square().sum() + images.mean().exp(), images)
    (exact,) = torch.autograd.grad((exact_images * cotangent.double()).sum(), values)
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5)
    assert float(exact.abs().min()) > 1e-3


def test_central_differences_agree_with_the_adjoint() -> None:
    renderer = AdjointBlobRenderer()
    renderer.build()
    for scene, seed, cotangent in zip(SCENES, SEEDS, cotangents(), strict=True):
        adjoint = scene_vjp(renderer, scene, seed, cotangent, ADJOINT)
        central = scene_vjp(renderer, scene, seed, cotangent, GradientSettings(step=0.25))
        assert np.linalg.norm(adjoint - central) < 2e-3 * np.linalg.norm(central)


@pytest.mark.parametrize(
    ("workers", "chunk"),
    [pytest.param(1, None, marks=pytest.mark.slow), pytest.param(2, 1, marks=pytest.mark.slow), (2, 3)],
)
def test_pools_give_the_same_and_count_two_images_a_scene(ray_session: None, workers: int, chunk: int | None) -> None:
    sent = cotangents()
    sent[2] = 0
    with LocalPool(AdjointBlobRenderer()) as local, RayPool(AdjointBlobRenderer(), workers, chunk) as pool:
        here, there = local.vjp(SCENES, SEEDS, sent, ADJOINT), pool.vjp(SCENES, SEEDS, sent, ADJOINT)
        assert [len(gradient) for gradient in there] == SIZES and not there[2].any()
        for a, b in zip(here, there, strict=True):
            np.testing.assert_array_equal(a, b)
        renderer = AdjointBlobRenderer()
        renderer.build()
        for i in (0, 1, 6):
            np.testing.assert_array_equal(here[i], renderer.adjoint(SCENES[i], SEEDS[i], sent[i]))
        assert local.images == pool.images == 2 * (len(SCENES) - 1)
    assert renders_per_scene(ADJOINT, 1) == renders_per_scene(ADJOINT, 128) == 2
    assert renders_per_scene(ADJOINT, 0) == 0


def test_pools_refuse_it_in_one_line_where_there_is_none(ray_session: None) -> None:
    line = "^BlobRenderer: gradient of scene 1: has no adjoint; allowed are central, forward and spsa$"
    sent = cotangents(2)
    sent[0] = 0
    for pool in (LocalPool(BlobRenderer()), RayPool(BlobRenderer(), 1, settings=SupervisorSettings(attempts=1))):
        with pool, pytest.raises(RendererError, match=line) as caught:
            pool.vjp(SCENES[:2], SEEDS[:2], sent, ADJOINT)
        assert caught.value.scene == SCENES[1].to_json()
        assert pool.images == 0
    with pytest.raises(RendererError, match=r"^BlobRenderer: has no adjoint; allowed are"):
        BlobRenderer().adjoint(SCENES[0], 0, sent[1])
    with pytest.raises(ValueError, match="method: the adjoint has no perturbed scenes"):
        Stencil(BLOB_SCHEMA, SCENES[0], 0, ADJOINT)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("shape", r"adjoint gave float64 \(6,\) instead of float64 \(7,\)"),
        ("type", r"adjoint gave float32 \(7,\) instead of float64 \(7,\)"),
        ("finite", "adjoint gave 1 values that are not finite"),
        ("raises", "ZeroDivisionError: a lamp of no size"),
    ],
)
def test_an_adjoint_that_breaks_the_contract_is_named_with_its_scene(fault: str, reason: str) -> None:
    with (
        LocalPool(AdjointBlobRenderer(fault)) as pool,
        pytest.raises(RendererError, match=f"^AdjointBlobRenderer: gradient of scene 0: {reason}$"),
    ):
        pool.vjp([blob_scene(0, 2)], [0], cotangents(1), ADJOINT)


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        ("mnist", "OneDigitRenderer of environment 'mnist': has no adjoint"),
        (
            "clevr",
            "ClevrRenderer of environment 'clevr': object . is a (cube|cylinder), and only spheres have an adjoint",
        ),
    ],
)
def test_a_run_is_refused_before_it_begins(
    env: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = ["--algo", "metasim", "--env", env, "--workers", "0", "--render.method", "adjoint", "--out", str(out)]
    assert main(["run", *arguments]) == 2
    said = capsys.readouterr().err
    line = rf"autosim: --render\.method: adjoint: {reason}; allowed are central, forward and spsa\n"
    assert re.fullmatch(line, said), said
    assert not out.exists()


def test_environments_are_refused_by_what_their_renderers_can() -> None:
    check_adjoint(AdjointBlobEnv(BlobConfig()))
    with pytest.raises(UserError, match=r"^--render\.method: adjoint: BlobRenderer of environment 'blobs': has no"):
        check_adjoint(BlobEnv(BlobConfig()))
