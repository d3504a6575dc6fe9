# SPDX-License-Identifier: GPL-3.0-or-later
"""A batch on a real Ray cluster of two nodes; run by `test_batches.py` as a process of its own.

`die`: the driver leaves without a word after the first table. `finish`: goes on, kills an actor and then
removes a node in the middle of the work.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import ray
from ray.cluster_utils import Cluster
from ray.util.state import list_actors

from backend.batches.inputs import find_inputs
from backend.batches.ray_engine import RayEngine, RaySettings
from backend.batches.segmenting import SegmentSettings
from backend.batches.tables import RecordTables, done_ids
from backend.batches.worker import WorkerSettings


def main() -> None:
    folder, out, mode = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 10**8})
    second = cluster.add_node(num_cpus=1, object_store_memory=10**8)
    package = Path(__file__).resolve().parents[1]
    ray.init(
        address=cluster.address,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}},
    )
    settings = WorkerSettings(
        SegmentSettings(prompts=4, refine=False), model="small-untrained", device="cpu", threads=1
    )
    done = done_ids(out)
    left = [item for item in find_inputs(folder) if item.id not in done]
    tables = RecordTables(out, rows_per_table=1)
    engine = RayEngine(settings, RaySettings(workers=(2, 2), cpus=0.5))
    for number, row in enumerate(engine.run(left)):
        tables.add(row)
        if mode == "die" and number == 2:
            os._exit(9)
        if mode == "finish" and number == 1:
            actors = [
                actor for actor in list_actors() if actor.state == "ALIVE" and "MapWorker" in actor.class_name
            ]
            os.kill(actors[0].pid, 9)
            cluster.remove_node(second, allow_graceful=False)
            print("actor killed, node removed")
    tables.flush()
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
