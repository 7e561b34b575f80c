"""Learn what synthetic data to render.

Five lines from a notebook or a script (no ``if __name__ == "__main__"`` is needed):

    import autosim

    run = autosim.run("metasim", "clevr", seed=1, **{"budget.iterations": 10})
    print(run.summary["prior_score"], run.summary["test_score"])
    scenes = run.generator.sample(10).scenes
    frames = run.frames(100)  # rendered in parallel; frames.images: uint8 (100, H, W, 3)

``autosim.load(folder)`` gives the same object from the folder of a finished run. What this module offers is imported
when it is first asked for: ``import autosim`` alone loads nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autosim.api import LearnedGenerator, Run, algorithms, environments, load, make_env, run
    from autosim.errors import RendererError, UserError

__all__ = [
    "LearnedGenerator",
    "RendererError",
    "Run",
    "UserError",
    "algorithms",
    "environments",
    "load",
    "make_env",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in __all__ and name != "__version__":
        raise AttributeError(f"module 'autosim' has no attribute {name!r}")
    if name == "__version__":
        from autosim.registry import installed_version

        return installed_version()
    from autosim import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
