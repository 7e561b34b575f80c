"""Whether influences point towards the target, by how long their network has learned:
``python benchmarks/papers/influence_ages.py [--env clevr] [--targets 0,1,2] [--scenes 400]``.

Scenes are drawn widely around the start. Their influences are measured at networks that have gone on learning for some
steps of AutoSimulate, and at networks that began anew in the step. An attribute's correlation with the influences says
where AutoSimulate would move it. Of attributes whose mean has a way to go, its sign is taken towards the target; the
figure is the mean over them in standard deviations of chance, 0 where nothing is known. The control has the labels of
other validation images. Writes ``benchmarks/results/influence-ages.json``.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
# A script's own folder is what Python looks in, not the one above it.
sys.path.insert(0, str(ROOT))

from autosim.errors import UserError  # noqa: E402
from autosim.reports.table import Table  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from algorithms.autosimulate import AutoSimulateConfig
    from autosim.learning.influence.direction import Approximation
    from autosim.scenes.generator import Samples
    from autosim.scenes.parametric import ParametricGenerator
    from autosim.session import Session
    from benchmarks.record import Record

RESULT = ROOT / "benchmarks" / "results" / "influence-ages.json"
# A mean that is nearer to the target's than this share of its range has no way to go.
NEAR = 0.05


@dataclass(frozen=True)
class Age:
    """A network that has learned for ``steps`` steps of ``epochs`` passes, each over scenes of its own."""

    steps: int
    epochs: int

    @property
    def name(self) -> str:
        """What the table calls it."""
        begun = "begun anew" if self.steps == 1 else f"after {self.steps} steps"
        return f"{begun}, {self.epochs} {'pass' if self.epochs == 1 else 'passes'} a step"


# Of those with as many passes, fewer steps come first: one network learns on.
AGES = (Age(1, 1), Age(1, 2), Age(1, 20), Age(1, 5), Age(3, 5), Age(10, 5), Age(25, 5))
# How influences are measured: the approximation of their direction, and whether the labels are another image's.
WAYS: dict[str, tuple[Approximation, bool]] = {
    "linear": ("linear", False),
    "linear, labels permuted": ("linear", True),
    "quadratic": ("quadratic", False),
}


def values_of(generator: ParametricGenerator, samples: Samples) -> NDArray[np.float64]:
    """(n, C) normalised values of the attributes that the generator has means of; NaN where a scene lacks one."""
    real, _ = generator.keyed.locate(generator.schema.encode(samples.scenes))
    values = np.full((len(samples), len(generator.means)), np.nan)
    values[real.scene, real.key] = samples.values.detach().numpy()
    return values


def towards(signal: NDArray[np.float64], values: NDArray[np.float64], way: NDArray[np.float64]) -> float:
    """The mean over columns of ``values`` (n, C) of the correlation with ``signal`` (n,), times the sign of ``way``
    (C,), in standard deviations of chance, ``1 / √n``; columns whose ``way`` is at most :data:`NEAR` are left out.
    """
    correlations = [
        math.copysign(1.0, way[column]) * float(np.corrcoef(signal, values[:, column])[0, 1])
        for column in np.flatnonzero(np.abs(way) > NEAR)
    ]
    return fmean(correlations) * math.sqrt(len(signal))


def measure(session: Session, scenes: int, config: AutoSimulateConfig) -> Iterator[dict[str, Any]]:
    """A row for each of :data:`AGES`: how far each of :data:`WAYS` points towards the target."""
    from algorithms.autosimulate import AutoSimulate
    from autosim.scenes.parametric import ParametricGenerator

    hidden = session.env.target()
    if hidden is None:
        raise UserError(f"--env: {session.env.name} has no hidden target that influences could point to")
    start, target = ParametricGenerator(session.env.prior()), ParametricGenerator(hidden)
    start.explore(config.spread, 0.0)
    way = (target.means - start.means).detach().double().numpy()
    samples = start.sample(scenes, session.seed_sequence("influences"))
    frames, values = session.render(samples.scenes, "influences"), values_of(start, samples)
    permuted = session.validation.with_labels_permuted()
    for epochs, ages in groupby(AGES, key=lambda age: age.epochs):
        algorithm, done = AutoSimulate(session, replace(config, epochs=epochs)), 0
        for age in ages:
            for step in range(done, age.steps):
                drawn = start.sample(config.frames, session.seed_sequence("scenes", step))
                own = session.render(drawn.scenes, "frames", step)
                algorithm.fine_tune(own, step)
            done = age.steps
            row: dict[str, Any] = {"steps": age.steps, "epochs": age.epochs}
            for name, (approximation, permute) in WAYS.items():
                validation = permuted if permute else session.validation
                algorithm.probe.point(validation, own, approximation, config.damping, config.products, relative=False)
                row[name] = towards(algorithm.probe.influences(frames).double().numpy(), values, way)
            yield row


def record_of(rows: Sequence[dict[str, Any]], command: str, env: str, scenes: int) -> Record:
    """Means over targets of the rows, with the least and the largest."""
    from benchmarks.record import made_now

    lines = []
    for age in AGES:
        own = [row for row in rows if (row["steps"], row["epochs"]) == (age.steps, age.epochs)]
        lines.append((age.name, *(_range_text([row[name] for row in own]) for name in WAYS)))
    targets = sorted({row["target"] for row in rows})
    note = (
        f"{env}, targets {', '.join(map(str, targets))}, {scenes} scenes: correlation of influences and attributes "
        "towards the target, mean over attributes, in standard deviations of chance. Mean over targets, the least and "
        "the largest."
    )
    return made_now(command, Table(("network", *WAYS), tuple(lines), "lrrr"), rows, [0], [note])


def _range_text(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{fmean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main() -> int:
    """Measure on each target and write the record. Returns the exit code."""
    from algorithms.autosimulate import AutoSimulateConfig
    from autosim.cli.run_options import parse_run
    from autosim.runs.opening import choose_device, open_environment, open_session

    parser = argparse.ArgumentParser(description="Whether influences point towards the target.")
    parser.add_argument("--env", default="clevr", help="an environment with attributes (default: clevr)")
    parser.add_argument("--targets", default="0,1,2", help="its hidden targets (default: those for tuning)")
    parser.add_argument("--scenes", type=int, default=400, help="scenes whose influences are measured (default: 400)")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for target in options.targets.split(","):
        arguments = ["--algo=autosimulate", f"--env={options.env}", f"--env.target_seed={target}", "--workers=0"]
        config = parse_run(arguments).config
        with open_session(config, open_environment(config), choose_device("cpu")) as session:
            # As published, whatever suits the environment.
            for row in measure(session, options.scenes, AutoSimulateConfig()):
                rows.append({"target": int(target), **row})
                told = ", ".join(f"{name} {row[name]:.2f}" for name in WAYS)
                print(f"target {target}, {Age(row['steps'], row['epochs']).name}: {told}", flush=True)
    command = shlex.join(["python", "benchmarks/papers/influence_ages.py", *sys.argv[1:]])
    record_of(rows, command, options.env, options.scenes).write(RESULT)
    print(RESULT)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
