"""Runs from Python: what ``import autosim`` offers."""

from __future__ import annotations

import shlex
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autosim import registry
from autosim.cli.run_options import configure, configure_environment, given_arguments, parse_run
from autosim.errors import RendererError, UserError
from autosim.reports.formatting import percent_text, score_text
from autosim.runs.config import RunConfig, available_cpus
from autosim.runs.folder import RunFolder
from autosim.runs.opening import make_environment, open_environment, packages_of
from autosim.seeding import frame_seeds, seed_sequence

if TYPE_CHECKING:
    from autosim.env import Env
    from autosim.rendering.frames import Frames
    from autosim.scenes.generator import Samples, SceneGenerator

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


class LearnedGenerator:
    """A learned distribution of scenes, ready to be sampled. ``model`` is the :class:`SceneGenerator` behind it."""

    def __init__(self, model: SceneGenerator) -> None:
        self.model = model
        self.schema = model.schema

    def sample(self, count: int, seed: int = 0) -> Samples:
        """``count`` scenes, in ``.scenes``. Equal seeds give equal scenes: take another ``seed`` for others.

        ``UserError`` where ``count`` is below 1 or ``seed`` below 0.
        """
        import torch

        _refuse_below(1, count=count)
        _refuse_below(0, seed=seed)
        with torch.no_grad():
            return self.model.sample(int(count), seed_sequence(int(seed), "scenes for the user"))

    def __repr__(self) -> str:
        return f"LearnedGenerator({type(self.model).__name__})"


class Run:
    """A run that has ended: its figures, what it learned, and frames of that.

    Made by :func:`run` and :func:`load`. ``folder`` is where it lies, ``config`` how it was configured.
    """

    def __init__(self, folder: Path, config: RunConfig, generator: SceneGenerator | None = None) -> None:
        self.folder = folder.absolute()
        self.config = config
        self._generator = generator

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` holds: ``prior_score``, ``test_score``, ``oracle_score``, ``gap_closed``, ``images``,
        ``seconds``, ``attributes``, ``interrupted``, … A score that cannot be known is None.
        """
        return RunFolder(self.folder).read_summary()

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """The figures of each iteration, in order: ``iteration``, ``seconds``, ``images``, ``val_score`` and more."""
        return RunFolder(self.folder).read_metrics()

    @property
    def report(self) -> Path:
        """The page ``report.html``."""
        return self.folder / "report.html"

    @cached_property
    def env(self) -> Env:
        """The environment that the run was made on."""
        return open_environment(self.config)

    @cached_property
    def generator(self) -> LearnedGenerator:
        """The learned distribution of scenes.

        Of a run that was loaded, the algorithm is set up again first, which takes as long as at the run's start.
        ``UserError`` where the folder holds no checkpoint, or one that does not fit.
        """
        if self._generator is None:
            from autosim.runs.learned import learned_generator

            self._generator = learned_generator(self.config, RunFolder(self.folder))
        return LearnedGenerator(self._generator)

    def frames(self, count: int, seed: int = 0, workers: int | None = None) -> Frames:
        """``count`` frames of the learned distribution: ``images``, uint8 (count, H, W, 3), and ``annotations``.

        They are those of ``generator.sample(count, seed)``, and do not depend on ``workers``, the processes that
        render: by default as many as CPUs; 0 for this one. ``RendererError`` where a scene cannot be drawn.
        """
        from autosim.parallel import start_ray
        from autosim.rendering.pool import make_pool

        scenes = self.generator.sample(count, seed).scenes
        workers = available_cpus() if workers is None else workers
        _refuse_below(0, workers=workers)
        settings = self.config.settings.ray
        if workers:
            start_ray(workers, settings.address, packages_of(self.config))
        with make_pool(self.env.renderer(), min(workers, count), settings) as pool:
            return pool.render(scenes, frame_seeds(seed, "frames for the user", 0, count))

    def export(
        self,
        out: str | Path,
        count: int = 1000,
        format: str = "coco",
        workers: int | None = None,
        quiet: bool = False,
        **options: Any,
    ) -> Path:
        """Write a data set of ``count`` images of the learned distribution into ``out``, as ``autosim export`` does;
        returns the folder. ``options`` are those of the command: ``split``, ``size``, ``samples``, ``seed``.

        Called again with the same arguments, it goes on with an export that was stopped. ``UserError``, in one line,
        where an option is wrong or ``out`` holds something else; ``RendererError`` where a scene cannot be drawn.
        """
        from rich.console import Console

        from autosim.cli.options import build, options_of
        from autosim.export.export import export
        from autosim.export.settings import ExportSettings

        values = {option.key: option.default for option in options_of(ExportSettings)}
        for name, value in {"count": count, "format": format, **options}.items():
            if name not in values:
                raise UserError(f"unknown option {name!r}; there are {', '.join(values)}")
            values[name] = value if name != "size" or value is None else str(value)
        workers = available_cpus() if workers is None else workers
        _refuse_below(0, workers=workers)
        console = Console(quiet=True, force_terminal=False) if quiet else Console()
        settings, folder = build(ExportSettings, values), RunFolder(self.folder)
        return export(self.config, folder, settings, Path(out), console, workers, self._generator)

    def __repr__(self) -> str:
        summary = self.summary
        scores = (
            f"{summary['score_name']} {score_text(summary['prior_score'])} → {score_text(summary['test_score'])} "
            f"(oracle {score_text(summary['oracle_score'])}), gap closed {percent_text(summary['gap_closed'])}"
        )
        ended = "interrupted" if summary["interrupted"] else scores
        return f"{summary['algo']} on {summary['env']}, seed {summary['seed']}: {ended}; {self.folder}"


def run(algo: str, env: str, *, out: str | Path | None = None, quiet: bool = False, **options: Any) -> Run:
    """Make a run and wait for its end: the same as ``autosim run --algo ALGO --env ENV …`` makes.

        run = autosim.run("metasim", "clevr", seed=1, **{"algo.batch_size": 24, "budget.iterations": 10})

    ``options`` are those of the command, by the same names (``seed``, ``workers``, ``algo.X``, ``env.X``, ``budget.X``,
    …); groups may be mappings, ``budget={"iterations": 10}``. ``out`` is the folder to make (by default one under
    ``runs/`` of the working directory). ``quiet`` shows nothing while the run works.

    Ctrl-C (in a notebook: interrupt) ends the run after the iteration at hand, with a complete folder and
    ``summary["interrupted"]`` true; a second one ends it at once. ``UserError``, in one line, where an option is wrong;
    ``RendererError`` where a scene cannot be drawn.
    """
    from rich.console import Console

    from autosim.runs.folder import default_folder
    from autosim.runs.iterations import Tally
    from autosim.runs.loop import execute

    given = given_arguments(algo, env, options)
    config = configure(algo, env, options)
    folder = default_folder(config) if out is None else Path(out)
    told = ["autosim", "run", "--algo", algo, "--env", env, *given, *([] if out is None else ["--out", str(out)])]
    # A terminal would get a bar even from a console that shows nothing.
    console = Console(quiet=True, force_terminal=False) if quiet else Console()
    kept: list[SceneGenerator] = []

    def keep(tally: Tally, generator: SceneGenerator) -> None:
        kept[:] = [generator]

    execute(config, folder, console, shlex.join(told), observe=keep)
    return Run(folder, config, kept[0] if kept else None)


def load(folder: str | Path) -> Run:
    """The run in a folder that :func:`run` or ``autosim run`` made. ``UserError`` where it has not come to its end."""
    path = Path(folder)
    loaded = Run(path, parse_run(["--config", str(path / "config.yaml")]).config)
    _ = loaded.summary
    return loaded


def make_env(name: str, **options: Any) -> Env:
    """An environment with its options by name: ``autosim.make_env("clevr", target_seed=1)``.

    ``UserError``, in one line, where there is no such environment or an option is wrong.
    """
    return make_environment(name, configure_environment(name, options))


def algorithms() -> dict[str, str]:
    """The installed algorithms by name, each with a sentence. Those that cannot be imported are left out."""
    return {part.name: part.text for part in registry.installed(registry.ALGORITHMS) if part.works}


def environments() -> dict[str, str]:
    """The installed environments by name, each with a sentence. Those that cannot be imported are left out."""
    return {part.name: part.text for part in registry.installed(registry.ENVIRONMENTS) if part.works}


def _refuse_below(lowest: int, **numbers: Any) -> None:
    for name, number in numbers.items():
        if not isinstance(number, (int, np.integer)) or isinstance(number, bool):
            raise UserError(f"{name}: expected a whole number, found {number!r}")
        if number < lowest:
            raise UserError(f"{name}: {number} is below {lowest}")
