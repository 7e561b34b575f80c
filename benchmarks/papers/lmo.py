"""AutoSimulate's experiments on Linemod-Occluded (Behl et al., ECCV 2020, section 5.2): tables 3, 5 and 6, and table 2
of the supplement.

With ``--data-dir`` a folder that holds ``models``, ``val`` and ``test`` in BOP's layout, targets are its photographs;
otherwise objects are stand-ins and the target is the environment's hidden one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autosim.runs.config import RunConfig
from benchmarks.papers.trial import Experiment, Trial

# Published: the network's training goes on from step to step. For the steps, see the environment's defaults.
GOING_ON = {"restart": False, "epochs": 5, "choice_rate": 0.4}
# Rows of table 3 and how each is asked for.
PAPER_ROWS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "LTS": ("lts", {}),
    "BO": ("bo", {}),
    "random search": ("random", {}),
    "AutoSimulate exact": ("autosimulate", {"approximation": "quadratic", **GOING_ON}),
    "AutoSimulate approximate": ("autosimulate", {"approximation": "approximate", **GOING_ON}),
    "AutoSimulate linear": ("autosimulate", {"approximation": "linear", **GOING_ON}),
    "AutoSimulate blind": ("autosimulate", {"approximation": "none", **GOING_ON}),
}
OTHER_ROWS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "AutoSimulate restarted": ("autosimulate", {}),
    "cmaes": ("cmaes", {}),
    "optuna": ("optuna", {}),
    "leap": ("leap", {}),
}
# Of EfficientNet-lite0's 17 parts those that do not learn, and options that suit photographs.
FROZEN, WIDTH, STRIDE, TRAIN_FRAMES = 10, 320, 8, 240
VARIED = {"look": True, "zoom": 1.6}
DETECTOR = {"network": "lite0", "frozen": FROZEN, **VARIED}


def asked(data: Mapping[str, Any], detector: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of the environment, and of the run's target."""
    folder = data.get("data_dir")
    if folder is None:
        return {"detector": dict(detector)}, {}
    # The other detectors have no cells of this size.
    stride = {"stride": STRIDE} if detector["network"] == "lite0" else {}
    environment = {
        "meshes": Path(folder, "models"),
        "width": WIDTH,
        "train_frames": TRAIN_FRAMES,
        "detector": {**stride, **detector},
    }
    # Networks trained on the validation photographs themselves are the reference of real images.
    target = {"validation": Path(folder, "val"), "test": Path(folder, "test"), "train": Path(folder, "val")}
    return environment, {"target": target}


def rows_of(
    rows: Mapping[str, tuple[str, Mapping[str, Any]]], detectors: Mapping[str, Mapping[str, Any]]
) -> Callable[[int, Mapping[str, Any]], list[Trial]]:
    """The trials of each row with each detector, whose name follows the row's where there are several."""

    def trials(seeds: int, data: Mapping[str, Any]) -> list[Trial]:
        made = []
        for kind, detector in detectors.items():
            environment, target = asked(data, detector)
            for row, (algo, options) in rows.items():
                label = f"{row} {kind}".rstrip()
                made += [Trial(label, algo, "lmo", options, environment, seed, target) for seed in range(seeds)]
        return made

    return trials


def measure(config: RunConfig, folder: Path, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Scores of the run, its images and seconds."""
    return {
        "start": summary["prior_score"],
        "validation": summary["val_score"],
        "images": summary["images"],
        "seconds": summary["seconds"],
        "test": summary["test_score"],
        "broad": summary.get("broad_score"),
        "real": summary.get("real_score"),
    }


HEADS = {
    "start": "start",
    "validation": "validation",
    "images": "images",
    "seconds": "s",
    "test": "test",
    "broad": "uniform",
    "real": "real photographs",
}


def published(*values: float) -> dict[str, float]:
    """Validation and test score and cost, as the paper has them."""
    return dict(zip(("validation", "images", "seconds", "test"), values, strict=True))


TITLE = "AutoSimulate on Linemod-Occluded, average precision"
LMO_EXPERIMENTS: dict[str, Experiment] = {
    "autosimulate-table3": Experiment(
        f"{TITLE} (table 3)",
        rows_of({**PAPER_ROWS, **OTHER_ROWS}, {"": DETECTOR}),
        measure,
        HEADS,
        {
            "LTS": published(0.402, 86_150, 114_360, 0.372),
            "BO": published(0.393, 9_200, 83_225, 0.375),
            "random search": published(0.403, 34_300, 134_318, 0.370),
            "AutoSimulate exact": published(0.371, 8_950, 23_193, 0.361),
            "AutoSimulate approximate": published(0.401, 2_950, 2_321, 0.374),
            "AutoSimulate linear": published(0.414, 17_850, 30_477, 0.459),
            "AutoSimulate blind": {"test": 0.293},
        },
        photographs=True,
    ),
    "autosimulate-table5": Experiment(
        f"{TITLE}: backbone frozen or not (table 5)",
        rows_of(
            {"AutoSimulate linear": PAPER_ROWS["AutoSimulate linear"]},
            {"frozen": {**DETECTOR, "frozen": 17}, "free": {**DETECTOR, "frozen": 0}},
        ),
        measure,
        HEADS,
        photographs=True,
    ),
    "autosimulate-table6": Experiment(
        f"{TITLE}: a small and a large detector (table 6)",
        rows_of(
            {"AutoSimulate linear": PAPER_ROWS["AutoSimulate linear"]},
            {"small": {"network": "scratch", **VARIED}, "large": DETECTOR},
        ),
        measure,
        HEADS,
        photographs=True,
    ),
    "autosimulate-supplement-table2": Experiment(
        f"{TITLE}: Faster R-CNN (table 2 of the supplement)",
        rows_of(
            {name: PAPER_ROWS[name] for name in ("LTS", "BO", "random search")},
            {"": {**DETECTOR, "network": "faster_rcnn"}},
        ),
        measure,
        HEADS,
        photographs=True,
    ),
}
