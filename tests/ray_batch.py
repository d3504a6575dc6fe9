# SPDX-License-Identifier: GPL-3.0-or-later
"""A batch on a real Ray cluster of two nodes; run by `test_batches.py` as a process of its own.

`die`: the driver leaves without a word after the first table. `finish`: goes on, kills an actor and then
removes a node in the middle of the work; then curates a folder of real and damaged files, fuses a shape, and
prints which of the cards that Ray was told of its actors computed on, and those that asked for none.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import ray
from ray.cluster_utils import Cluster

from backend.batches.engines import EngineSettings
from backend.batches.inputs import Input, find_inputs
from backend.batches.ray_engine import RayEngine, RaySettings
from backend.batches.segment_job import SegmentJob
from backend.batches.segmenting import SegmentSettings
from backend.batches.tables import RecordTables, done_ids
from backend.curation import CurationSettings, curate
from backend.errors import DeviceError
from backend.training.fuse_job import FuseJob, fuse_shards
from tests.dealt_job import DealtJob

DATA = Path(__file__).resolve().parent / "data"


def one_actor() -> int:
    """Process id of an actor of this cluster: a descendant of this process that Ray calls so."""
    parents, actors = {}, []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if b"MapWorker" in (folder / "cmdline").read_bytes():
                    actors.append(int(folder.name))
            except OSError:
                continue  # it has ended since
    for actor in actors:
        process = actor
        while process in parents:
            process = parents[process]
            if process == os.getpid():
                return actor
    raise RuntimeError(f"none of the actors {actors} is of this cluster")


def print_cards() -> None:
    """What is said of a device that there is not, and one line of JSON: rows of two actors with a card each,
    and of one without.
    """
    inputs = [Input(str(number), "") for number in range(24)]
    two = RayEngine(DealtJob(seconds=0.05), RaySettings((2, 2), cpus=0.25, gpus=1))
    none = RayEngine(DealtJob(), RaySettings(cpus=0.25))
    try:
        list(RayEngine(DealtJob(device="abacus"), RaySettings(cpus=0.25)).run(inputs[:1]))
    except DeviceError as error:
        print("refused:", error)
    print("cards", json.dumps([list(two.run(inputs)), list(none.run(inputs[:1]))]))


def main() -> None:
    folder, out, mode = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    # Inherited by all that Ray starts; a runtime environment would take its time to be made.
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    os.environ["CUDA_VISIBLE_DEVICES"] = "4,7"
    node = {"num_cpus": 1, "num_gpus": 2, "object_store_memory": 10**8, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    second = cluster.add_node(num_cpus=1, object_store_memory=10**8)
    ray.init(address=cluster.address, log_to_driver=False)
    settings = SegmentJob(
        SegmentSettings(prompts=4, refine=False), model="small-untrained", device="cpu", threads=1
    )
    tables = RecordTables(out, rows_per_table=1)
    done = done_ids(out)
    left = [item for item in find_inputs(folder) if item.id not in done]
    engine = RayEngine(settings, RaySettings(workers=(2, 2), cpus=0.5))
    for number, row in enumerate(engine.run(left)):
        tables.add(row)
        if mode == "die" and number == 2:
            os._exit(9)
        if mode == "finish" and number == 1:
            os.kill(one_actor(), 9)
            cluster.remove_node(second, allow_graceful=False)
            print("actor killed, node removed")
    tables.flush()
    if mode == "finish":
        engine_of_shards = EngineSettings("ray", cpus=0.5)
        curate(DATA, out / "shards", CurationSettings(), engine_of_shards)
        fuse_shards([out / "shards" / "shard_000.npz.xz"], out / "fused", FuseJob(limit=1), engine_of_shards)
        print_cards()
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
