"""The papers' experiments: their runs, what is read off each, what was published.

``paper.py`` makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autosim.runs.config import RunConfig
from autosim.seeding import seed_sequence
from benchmarks.papers.lmo import LMO_EXPERIMENTS
from benchmarks.papers.trial import Experiment, Trial

if TYPE_CHECKING:
    from autosim.env import Env
    from autosim.scenes.generator import SceneGenerator

# Scenes whose structure, and whose angles, are compared with the target's.
SCENES = 10_000
ANGLES = 2_000
# Accuracy whose time is reported.
FAST_ENOUGH = 0.94
# Edge of MultiMNIST's canvas, and width of the kernels of the other rewards (the paper's is 1, for all features
# together).
EDGE = 128
# Frames of the target that its distributions are read off, frames of the start that its features are trained on, and
# steps: what it takes to recover ten classes, which is more than a plain command's five minutes.
VALIDATION, FEATURE_FRAMES, ITERATIONS = 4000, 12_000, 240
BANDWIDTH: dict[str, dict[str, float]] = {"density": {}, "joint": {"bandwidth": 1.0}, "mmd": {"bandwidth": 0.4}}
# Edge of the aerial views, where a car has an inside and shows how it is turned, and number of them that networks are
# trained on for the table.
AERIAL_EDGE, AERIAL_FRAMES = 128, 2000
# Standard deviation of the target's angle in degrees, where it is learned too.
TARGET_STD = 15.0


def open_env(config: RunConfig) -> Env:
    """The environment of a run."""
    from autosim.runs.opening import open_environment

    return open_environment(config)


def table1_trials(seeds: int, digits: Mapping[str, Any]) -> list[Trial]:
    """Meta-Sim, Table 1: a rotated digit, and one that is rotated and moved."""
    # As many as there are digits; of pictures of four times the pixels, fewer.
    frames = {"rotation": 60_000, "rotation-translation": 5_000} if digits["digits"] == "mnist" else {}
    return [
        Trial(case, "metasim", "mnist", {}, {"case": case, **digits, "train_frames": frames.get(case, 0)}, seed)
        for case in ("rotation", "rotation-translation")
        for seed in range(seeds)
    ]


def spread_trials(seeds: int, digits: Mapping[str, Any]) -> list[Trial]:
    """Angles of 90 ± 15°, from 0 ± 5°, with learned standard deviations."""
    env = {"yaw_std": TARGET_STD, **digits}
    return [Trial("learned spread", "metasim", "mnist", {}, env, seed) for seed in range(seeds)]


def measure_spread(config: RunConfig, folder: Path, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Mean and standard deviation of the learned angles, and by what factor the latter is off."""
    env = open_env(config)
    scenes = learned(config, folder, env).sample(ANGLES, seed_sequence(0, "angles")).scenes
    turned = np.array([(float(scene.nodes[0]["yaw"]) + 90) % 360 - 90 for scene in scenes])
    std = float(turned.std())
    return {
        "angle": float(turned.mean()),
        "spread": std,
        "factor": max(std / TARGET_STD, TARGET_STD / std),
        "accuracy": summary["test_score"],
        "seconds": summary["seconds"],
    }


def measure_digits(config: RunConfig, folder: Path, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Accuracies, the mean absolute error of the angle, and the seconds until the validation accuracy is .94."""
    from autosim.runs.folder import RunFolder

    env = open_env(config)
    scenes = learned(config, folder, env).sample(ANGLES, seed_sequence(0, "angles")).scenes
    turned = np.array([float(scene.nodes[0]["yaw"]) for scene in scenes])
    fast = [line for line in RunFolder(folder).read_metrics() if (line["val_score"] or 0) >= FAST_ENOUGH]
    return {
        "start": summary["prior_score"],
        "accuracy": summary["test_score"],
        "oracle": summary["oracle_score"],
        "angle_error": float(np.abs((turned - 90 + 180) % 360 - 180).mean()),
        "seconds_to_94": fast[0]["seconds"] if fast else None,
        "seconds": summary["seconds"],
    }


def table2_trials(seeds: int, digits: Mapping[str, Any]) -> list[Trial]:
    """Meta-Sim, Table 2: segmentation of aerial views."""
    # The table trains networks of its own.
    env = {"case": "segmentation", "edge": AERIAL_EDGE, "train_frames": 100}
    return [Trial("Meta-Sim", "metasim", "aerial", {}, env, seed) for seed in range(seeds)]


def measure_aerial(config: RunConfig, folder: Path, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Intersection over union of each class, of networks trained on the start, on what was learned and on the target's
    own scenes: ``AERIAL_FRAMES`` frames each.
    """
    from autosim.cache import cached_json
    from autosim.learning.tasks.segmentation import Segmentation
    from autosim.runs.closing.frames import closing_frames
    from autosim.runs.closing.known import describe_target, known_distributions
    from autosim.runs.opening import choose_device, open_session
    from autosim.target import TARGET_SEED

    more = replace(config, env_config=replace(config.env_config, train_frames=AERIAL_FRAMES))
    env = open_env(more)
    with open_session(more, env, choose_device("cpu")) as session:
        task, test = session.task, session.target.test
        assert isinstance(task, Segmentation) and test is not None

        def found(label: str, generator: SceneGenerator) -> dict[str, float]:
            network = task.network(TARGET_SEED)
            task.train(network, closing_frames(session, generator), env.schedule, TARGET_SEED)
            scores = {name: 100 * v for name, v in task.scored(network, test).by_class().items() if name != "grass"}
            return {f"{label}_{k}": v for k, v in {**scores, "mean": float(np.mean(list(scores.values())))}.items()}

        def fixed() -> dict[str, float]:
            known = known_distributions(session)
            return found("start", known["prior"]) | found("own", known["oracle"])

        figures = cached_json("aerial", describe_target(session), fixed)
        return figures | found("learned", learned(config, folder, env))


def multimnist_trials(rewards: Sequence[str]) -> Callable[[int, Mapping[str, Any]], list[Trial]]:
    """Meta-Sim2, Figures 6 and 7: a hidden target for each seed, under each reward."""

    def trials(seeds: int, digits: Mapping[str, Any]) -> list[Trial]:
        return [
            Trial(
                reward,
                "metasim2",
                "multimnist",
                {
                    "reward": reward,
                    "feature_frames": FEATURE_FRAMES,
                    "feature_batch": 32,
                    "iterations": ITERATIONS,
                    **BANDWIDTH[reward],
                },
                {"target_seed": seed, "edge": EDGE, "validation": VALIDATION, **digits},
                seed,
            )
            for reward in rewards
            for seed in range(seeds)
        ]

    return trials


def fig6_trials(seeds: int, digits: Mapping[str, Any]) -> list[Trial]:
    """Meta-Sim2, Figure 6: the method, and leap, which reads the same pictures."""
    pictures = {"edge": EDGE, "validation": VALIDATION, **digits}
    return [
        *multimnist_trials(("density",))(seeds, digits),
        *(Trial("leap", "leap", "multimnist", {}, {"target_seed": seed, **pictures}, seed) for seed in range(seeds)),
    ]


def measure_multimnist(config: RunConfig, folder: Path, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Total variation between learned and target distributions of counts and classes; the distributions."""
    from envs.multimnist.env import FIRST_DIGIT, MORE, MOST, MultiMnist

    env = open_env(config)
    assert isinstance(env, MultiMnist)
    strings = learned_strings(config, folder, env)
    counts = np.bincount([string.count(MORE) for string in strings], minlength=MOST + 1) / len(strings)
    labels = [rule - FIRST_DIGIT for string in strings for rule in string if rule >= FIRST_DIGIT]
    classes = np.bincount(labels, minlength=10) / max(1, len(labels))
    return {
        "counts_tv": total_variation(counts, env.target_counts),
        "classes_tv": total_variation(classes, env.target_classes),
        "images": summary["images"],
        "seconds": summary["seconds"],
        "distributions": {
            "number of digits": {"learned": counts.tolist(), "target": env.target_counts.tolist()},
            "class": {"learned": classes.tolist(), "target": env.target_classes.tolist()},
        },
    }


def fig8_trials(seeds: int, digits: Mapping[str, Any]) -> list[Trial]:
    """Meta-Sim2, Figure 8: cars whose number depends on which road it is; with and without context."""
    return [
        Trial(label, "metasim2", "aerial", {"context": context}, {"case": "structure"}, seed)
        for label, context in (("with context", True), ("context-free", False))
        for seed in range(seeds)
    ]


def measure_roads(config: RunConfig, folder: Path, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Total variations of the number of roads, of cars on the first road and of cars on the others."""
    env = open_env(config)
    target = env.target()
    assert target is not None
    scenes = target.sample_many(SCENES, seed_sequence(1, "target strings"))
    ours = road_numbers(learned_strings(config, folder, env))
    theirs = road_numbers([scene.derivation or () for scene in scenes])
    figures: dict[str, Any] = {}
    distributions: dict[str, Any] = {}
    names = {"roads": "number of roads", "first": "cars on the first road", "others": "cars on the other roads"}
    for name, title in names.items():
        most = max(max(ours[name]), max(theirs[name])) + 1
        found, wanted = (np.bincount(part[name], minlength=most) / len(part[name]) for part in (ours, theirs))
        figures[f"{name}_tv"] = total_variation(found, wanted)
        distributions[title] = {"learned": found.tolist(), "target": wanted.tolist()}
    return figures | {"images": summary["images"], "seconds": summary["seconds"], "distributions": distributions}


def road_numbers(strings: Sequence[Sequence[int]]) -> dict[str, list[int]]:
    """Numbers of roads, of cars on first roads and of cars on other roads, one entry for each."""
    from envs.aerial.env import MORE_CARS, NO_MORE_CARS, ROAD

    numbers: dict[str, list[int]] = {"roads": [], "first": [], "others": []}
    for string in strings:
        cars: list[int] = []
        for rule in string:
            if rule == ROAD:
                cars.append(0)
            elif rule == MORE_CARS:
                cars[-1] += 1
        assert string.count(NO_MORE_CARS) == len(cars)
        numbers["roads"].append(len(cars))
        numbers["first"] += cars[:1]
        numbers["others"] += cars[1:]
    return numbers


def learned(config: RunConfig, folder: Path, env: Env) -> SceneGenerator:
    """What a run of ``metasim`` ended with."""
    from algorithms.trained import load_transformer

    return load_transformer(str(folder), env)


def learned_strings(config: RunConfig, folder: Path, env: Env) -> list[tuple[int, ...]]:
    """Strings of rules that a run learned to draw."""
    from algorithms.trained import load_policy
    from autosim.api import load

    if config.algo != "metasim2":
        return [scene.derivation or () for scene in load(folder).generator.sample(SCENES, seed=1).scenes]
    return list(load_policy(str(folder), env).sample_strings(SCENES, seed_sequence(1, "learned strings")).rules)


def total_variation(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Half the sum of absolute differences of two distributions over 0, 1, 2, …; what one lacks at the end is 0."""
    size = max(len(p), len(q))
    return 0.5 * float(np.abs(np.pad(p, (0, size - len(p))) - np.pad(q, (0, size - len(q)))).sum())


DIGITS_HEADS = {
    "counts_tv": "total variation, numbers",
    "classes_tv": "total variation, classes",
    "images": "images",
    "seconds": "s",
}

EXPERIMENTS: dict[str, Experiment] = {
    "metasim-table1": Experiment(
        "Meta-Sim, Table 1: accuracy on rotated and moved digits",
        table1_trials,
        measure_digits,
        {
            "start": "start",
            "accuracy": "learned",
            "oracle": "target's own",
            "angle_error": "angle error, °",
            "seconds_to_94": "s to .94",
            "seconds": "s",
        },
        {
            "rotation": {"start": 0.148, "accuracy": 0.995},
            "rotation-translation": {"start": 0.131, "accuracy": 0.993},
        },
        {
            "rotation": {"accuracy": 0.995, "angle_error": -3.0, "seconds_to_94": -50.0},
            "rotation-translation": {"accuracy": 0.993},
        },
    ),
    "metasim-table2": Experiment(
        "Meta-Sim, Table 2: segmentation of aerial views, intersection over union in percent",
        table2_trials,
        measure_aerial,
        {
            f"{label}_{name}": f"{name}, {head}"
            for name in ("car", "road", "house", "tree", "mean")
            for label, head in (("start", "start"), ("learned", "learned"), ("own", "target's own"))
        },
        {
            "Meta-Sim": {
                "start_car": 30.0, "start_road": 93.1, "start_house": 98.3, "start_tree": 99.7, "start_mean": 80.3,
                "learned_car": 86.7, "learned_road": 99.6, "learned_house": 95.0, "learned_tree": 99.5,
                "learned_mean": 95.2,
            }
        },
        {"Meta-Sim": {"learned_mean": 95.2, "learned_car": 86.7}},
    ),
    "metasim-spread": Experiment(
        "Meta-Sim with a learned spread: angles of 90 ± 15°",
        spread_trials,
        measure_spread,
        {
            "angle": "mean angle, °",
            "spread": "standard deviation, °",
            "factor": "off by a factor",
            "accuracy": "accuracy",
            "seconds": "s",
        },
        bounds={"learned spread": {"factor": -1.3}},
    ),
    "metasim2-fig6": Experiment(
        "Meta-Sim2, Figure 6: numbers and classes of digits",
        fig6_trials,
        measure_multimnist,
        DIGITS_HEADS,
        bounds={row: {"counts_tv": -0.05, "classes_tv": -0.05} for row in ("density", "leap")},
    ),
    "metasim2-fig7": Experiment(
        "Meta-Sim2, Figure 7: the same with other rewards",
        multimnist_trials(("density", "joint", "mmd")),
        measure_multimnist,
        # Seconds would mislead: what the rewards are given is the same number of images.
        {name: head for name, head in DIGITS_HEADS.items() if name != "seconds"},
    ),
    "metasim2-fig8": Experiment(
        "Meta-Sim2, Figure 8: cars on the first road and on the others",
        fig8_trials,
        measure_roads,
        {
            "roads_tv": "total variation, roads",
            "first_tv": "cars on the first road",
            "others_tv": "cars on the others",
            "images": "images",
            "seconds": "s",
        },
        bounds={"with context": {"roads_tv": -0.1, "first_tv": -0.1, "others_tv": -0.1}},
    ),
    **LMO_EXPERIMENTS,
}  # fmt: skip
