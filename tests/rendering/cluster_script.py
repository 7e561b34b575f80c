"""Renders on a cluster of two nodes, one of which is taken away half way; prints what came of it as JSON."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np
import ray
from ray.cluster_utils import Cluster

from autosim.parallel import RaySettings, start_ray
from autosim.rendering.actors.pool import RayPool
from autosim.rendering.pool import LocalPool
from tests.support.helpers import BlobRenderer, SlowRenderer, blob_scenes

COUNT = 30


def main() -> None:
    """One batch, with the second node gone once it has drawn something."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    start_ray(2, cluster.address, ["autosim", "tests"])
    scenes, seeds = blob_scenes(COUNT), list(range(COUNT))
    with LocalPool(BlobRenderer()) as local:
        expected = local.render(scenes, seeds)
    renderer = SlowRenderer(0.2, Path.cwd())
    with RayPool(renderer, 2, chunk=1, ray_settings=RaySettings(cpus=0.5)) as pool:
        pool.warm_up()
        timer = threading.Timer(1.0, cluster.remove_node, (second, True))
        timer.start()
        started = time.monotonic()
        frames = pool.render(scenes, seeds)
        seconds = time.monotonic() - started
        timer.join()
        same = np.array_equal(frames.images, expected.images)
        print(json.dumps({"same": bool(same), "images": pool.images, "replaced": pool.replaced, "seconds": seconds}))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
