"""What a run works with: its environment, its device and its session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from autosim import registry
from autosim.errors import LONGEST_NAME, RendererError, UserError, shortened
from autosim.formats.fitting import own_size
from autosim.formats.parts import TargetSettings, find_places, picture_sizes
from autosim.rendering.renderer import ALLOWED
from autosim.runs.config import RunConfig
from autosim.seeding import seed_sequence

if TYPE_CHECKING:
    import torch

    from autosim.env import Env
    from autosim.learning.stopwatch import Stages
    from autosim.session import Session
    from autosim.target import Target

# Scenes that are shown to a renderer before a run that needs their adjoints.
ADJOINT_TRIALS = 32


def open_environment(config: RunConfig) -> Env:
    """The environment; ``UserError`` where it or the folder of target images cannot be had, the algorithm cannot learn
    on it, or the renderer has no adjoint of the environment's scenes and that is asked for.
    """
    env = make_environment(config.env, config.env_config)
    check_suited(config.algo, env)
    env = fitted_environment(env, config.settings.target)
    if config.settings.render.method == "adjoint":
        check_adjoint(env)
    return env


def make_environment(name: str, config: Any) -> Env:
    """The environment called ``name`` from an instance of its ``Config``; ``UserError`` where it cannot be made."""
    env_class: Callable[[Any], Env] = registry.find_environment(name)
    try:
        return env_class(config)
    except (ValueError, OSError) as error:
        raise UserError(f"environment {name!r}: {' '.join(str(error).split())}") from error


def fitted_environment(env: Env, target: TargetSettings) -> Env:
    """The environment as it draws beside the user's own images: in their aspect where ``target`` asks for that, its
    renderer can and its task allows it, otherwise as it is. ``UserError`` where the images cannot be had.
    """
    if not target.given:
        return env
    places = find_places(target)
    if target.fit != "own":
        return env
    renderer = env.renderer()
    here = renderer.height, renderer.width
    if (size := own_size(picture_sizes(places), here)) == here:
        return env
    try:
        return env.with_frame_size(*size)
    except (RendererError, ValueError):  # told as the images are read
        return env


def check_suited(algo: str, env: Env) -> None:
    """``UserError`` where an algorithm cannot learn on an environment; it names those that can."""
    if (refusal := registry.find_algorithm(algo).refusal(env)) is not None:
        suited = ", ".join(name for name, reason in refusals(env).items() if reason is None) or "none"
        raise UserError(f"{algo} cannot work on {env.name}: {refusal}; algorithms that can: {suited}")


def refusals(env: Env) -> dict[str, str | None]:
    """The installed algorithms by name, each with the reason why it cannot learn on an environment, None where it can.
    Those that cannot be imported are left out.
    """
    names = [part.name for part in registry.installed(registry.ALGORITHMS) if part.works]
    return {name: registry.find_algorithm(name).refusal(env) for name in names}


def check_adjoint(env: Env) -> None:
    """``UserError`` where the renderer refuses the adjoint of one of a few scenes that the prior gives."""
    renderer = env.renderer()
    for scene in env.prior().sample_many(ADJOINT_TRIALS, seed_sequence(0, "adjoint trials")):
        if (refusal := renderer.adjoint_refusal(scene)) is not None:
            name = type(renderer).__name__
            raise UserError(f"--render.method: adjoint: {name} of environment {env.name!r}: {refusal}; {ALLOWED}")


def choose_device(name: str) -> torch.device:
    """The device called ``name``; ``auto`` is a GPU where there is one. ``UserError`` where it cannot be used."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        float(torch.ones(1, device=device))  # a device that can be named may be missing, or may hold no numbers
    except Exception as error:  # of whatever kind the backend that is asked for raises
        gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        reason = shortened(str(error).partition(". ")[0], 100)
        shown = shortened(repr(name), LONGEST_NAME)
        raise UserError(
            f"--device: {shown} cannot be used here ({reason}); there are: {', '.join(['cpu', *gpus])}"
        ) from error
    return device


def packages_of(config: RunConfig) -> list[str]:
    """Python packages that a run needs wherever a part of it works: autosim's and those of the two that it names."""
    classes = registry.find_algorithm(config.algo), registry.find_environment(config.env)
    return list(dict.fromkeys(["autosim", *(found.__module__.partition(".")[0] for found in classes)]))


@contextmanager
def open_session(
    config: RunConfig,
    env: Env,
    device: torch.device,
    targets: dict[str, Target] | None = None,
    stages: Stages | None = None,
) -> Iterator[Session]:
    """The services of a run; its render workers end with it. ``targets``, ``stages``: see :class:`Session`."""
    import torch

    from autosim.learning.features.sources import FeatureSource
    from autosim.learning.stopwatch import Stages
    from autosim.parallel import start_ray
    from autosim.rendering.pool import make_pool
    from autosim.session import Session

    settings = config.settings
    torch.set_num_threads(settings.threads)
    stages = stages or Stages()
    if settings.workers:
        with stages.stage("starting Ray"):
            start_ray(settings.workers, settings.ray.address, packages_of(config))
    with make_pool(env.renderer(), settings.workers, settings.ray) as pool:
        yield Session(
            env,
            pool,
            seed=settings.seed,
            workers=settings.workers,
            device=device,
            gradient=settings.render,
            image_budget=settings.budget.images,
            feature_source=FeatureSource(settings.features, settings.feature_weights),
            target_settings=settings.target,
            targets={} if targets is None else targets,
            stages=stages,
        )
