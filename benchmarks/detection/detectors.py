"""What detectors cost and how well they do: ``python benchmarks/detection/detectors.py``.

Seconds an epoch of 400 images of 320×240 pixels with two or three boxes, from the CPU time of one thread over fewer
images: others may use the machine meanwhile. Average precision where the answer is known: networks trained on frames of
CLEVR's hidden distribution and scored on others of the same. Takes some minutes and writes ``detectors.json``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
# A script's own folder is what Python looks in, not the one above it.
sys.path.insert(0, str(ROOT))

from autosim.learning.schedule import TrainingSchedule  # noqa: E402
from autosim.learning.tasks.detection import Detection  # noqa: E402
from autosim.learning.tasks.detection_scores import BoxScorer  # noqa: E402
from autosim.learning.tasks.detector_settings import DetectorSettings  # noqa: E402
from autosim.rendering.frames import Frames  # noqa: E402
from autosim.rendering.pool import LocalPool  # noqa: E402
from autosim.reports.table import Table  # noqa: E402
from autosim.scenes.grammar import Grammar  # noqa: E402
from autosim.seeding import frame_seeds, seed_sequence  # noqa: E402
from autosim.testing.problems import KINDS, RectangleRenderer, rectangle_grammar  # noqa: E402
from benchmarks.record import made_now  # noqa: E402
from envs.clevr.env import BOX_SHARE, Clevr, ClevrConfig  # noqa: E402
from envs.clevr.scene import CLASSES  # noqa: E402

WIDTH, HEIGHT, EPOCH = 320, 240, 400
TRAIN, TEST = 200, 100
# By name: settings, and epochs of the 200 frames.
DETECTORS = {
    "from random weights": (DetectorSettings(), 40),
    "lite0": (DetectorSettings(network="lite0"), 10),
    "lite0, stem and three blocks frozen": (DetectorSettings(network="lite0", frozen=4), 10),
    "lite0, all frozen": (DetectorSettings(network="lite0", frozen=17), 10),
    "Faster R-CNN on lite0, stem and three blocks frozen": (DetectorSettings(network="faster_rcnn", frozen=4), 4),
}


def drawn(renderer: Any, grammar: Grammar, count: int, purpose: str) -> Frames:
    """Frames of a grammar, drawn in this process."""
    scenes = grammar.sample_many(count, seed_sequence(0, purpose))
    with LocalPool(renderer) as pool:
        return pool.render(scenes, frame_seeds(0, purpose, 0, count))


def seconds_an_epoch(settings: DetectorSettings, frames: Frames) -> float:
    """CPU seconds of one epoch of :data:`EPOCH` images, from one of ``frames``."""
    task = settings.task(KINDS, 4, (60.0, 60.0))
    network = task.network(0)
    # What is prepared at the first pass is not part of an epoch.
    task.train(network, frames.select(slice(8)), TrainingSchedule(1, 8, 1e-3), 0)
    started = time.process_time()
    task.train(network, frames, TrainingSchedule(1, 8, 1e-3), 0)
    return (time.process_time() - started) * EPOCH / len(frames)


def precision(task: Detection, schedule: TrainingSchedule, train: Frames, test: Frames) -> tuple[float, float, float]:
    """AP at half overlap, COCO's mean AP, and CPU seconds of the training."""
    network, started = task.network(0), time.process_time()
    task.train(network, train, schedule, 0)
    taken = time.process_time() - started
    scorer = task.scored(network, test)
    assert isinstance(scorer, BoxScorer)
    return scorer.compute(), scorer.precision.mean(), taken


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder to write to")
    parser.add_argument("--images", type=int, default=48, help="images that seconds an epoch are measured on")
    parsed = parser.parse_args(arguments)
    torch.set_num_threads(1)
    timed = drawn(RectangleRenderer(HEIGHT, WIDTH), rectangle_grammar(0.5, 0.5), parsed.images, "timed")
    env = Clevr(ClevrConfig(task="detection", variant="scalar_rgb"))
    train, test = (drawn(env.renderer(), env.target(), count, name) for count, name in ((TRAIN, "a"), (TEST, "b")))
    size = BOX_SHARE * env.edge
    rows: list[dict[str, Any]] = []
    for name, (settings, epochs) in DETECTORS.items():
        task = settings.task(CLASSES[1:], 2, (size, size))
        half, mean, taken = precision(task, replace(env.schedule, epochs=epochs), train, test)
        seconds = seconds_an_epoch(settings, timed)
        rows.append(
            {"detector": name, "epoch": round(seconds, 1), "AP50": half, "mAP": mean, "epochs": epochs,
             "training": round(taken, 1)}
        )  # fmt: skip
        print(rows[-1], flush=True)
    lines = tuple(
        (row["detector"], f"{row['epoch']:.0f}", str(row["epochs"]), f"{row['AP50']:.2f}", f"{row['mAP']:.2f}")
        for row in rows
    )
    record = made_now(
        f"python benchmarks/detection/detectors.py --images {parsed.images}",
        Table(("detector", "s an epoch", "epochs", "AP50", "mAP"), lines, "lrrrr"),
        rows,
        [0],
        (
            f"*s an epoch*: CPU seconds of one thread for {EPOCH} images of {WIDTH}×{HEIGHT} in batches of 8, measured "
            f"on {parsed.images} of them on a machine that others used too. *AP50*, *mAP*: trained for so many "
            f"*epochs* on {TRAIN} frames of 64×64 of CLEVR's hidden distribution, scored on {TEST} others; one seed.",
        ),
    )
    record.write(parsed.out / "detectors.json")
    print(record.markdown())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
