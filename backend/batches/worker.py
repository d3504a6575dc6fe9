# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that holds one model and segments files: one thread reads the next while the network works."""

from __future__ import annotations

import os
import queue
import threading
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import PartSAMError
from ..mesh_files import SourceScene, read_scan_or_mesh
from ..stage_times import StageTimes
from .inputs import Input
from .opening import local_file
from .records import Record, failed_record
from .segmenting import SegmentSettings, default_output, segment_read_file, write_result

if TYPE_CHECKING:
    from ..segmenter import Segmenter


@dataclass(frozen=True)
class WorkerSettings:
    """model, device: what `Segmenter.load` takes; parts_folder: where parts are written, None for nowhere
    threads: of the arithmetic, 0 for as many as there are cores
    """

    segment: SegmentSettings
    model: str = "small"
    device: str = "auto"
    parts_folder: Path | None = None
    threads: int = 0


def serve_files(pipe: Connection, settings: WorkerSettings) -> None:
    """Answer each Input that comes through the pipe.

    Messages out: ("ready",), ("reading", name), ("waiting", name), ("segmenting", name), ("done", name, row)
    and ("fatal", message), after which the process ends.
    """
    lock = threading.Lock()

    def tell(*message: Any) -> None:
        with lock:
            pipe.send(message)

    try:
        segmenter = _load(settings)
    except PartSAMError as error:
        tell("fatal", str(error))
        return
    tell("ready")
    # One file is read ahead: more would only fill the memory.
    ready: queue.Queue[tuple[Input, SourceScene | Record, StageTimes]] = queue.Queue(maxsize=1)
    threading.Thread(target=_read_ahead, args=(pipe, tell, ready), daemon=True).start()
    while True:
        item, found, times = ready.get()
        tell("segmenting", item.name)
        try:
            record = found if isinstance(found, Record) else _segment(item, found, times, segmenter, settings)
        except Exception as error:
            failure = failed_record(item.name, error, times)
            if failure is None:
                tell("fatal", f"{type(error).__name__}: {error}")
                return
            record = failure
        tell("done", item.name, record.row())


def _load(settings: WorkerSettings) -> Segmenter:
    import torch

    from ..segmenter import Segmenter

    if settings.threads:
        torch.set_num_threads(settings.threads)
    return Segmenter.load(settings.model, device=settings.device)


def _read_ahead(pipe: Connection, tell: Any, ready: queue.Queue) -> None:
    while True:
        try:
            item: Input = pipe.recv()
        except (EOFError, OSError):
            os._exit(0)  # whoever started this process is gone
        times = StageTimes()
        tell("reading", item.name)
        found: SourceScene | Record
        try:
            with times.measure("read"), local_file(item.place) as path:
                found = read_scan_or_mesh(path)
        except Exception as error:
            found = failed_record(item.name, error, times) or Record(
                item.name, error="failed", detail=f"{type(error).__name__}: {error}"
            )
        tell("waiting", item.name)
        ready.put((item, found, times))


def _segment(
    item: Input, scene: SourceScene, times: StageTimes, segmenter: Segmenter, settings: WorkerSettings
) -> Record:
    record = segment_read_file(item.name, scene, segmenter, settings.segment, times)
    if settings.parts_folder is not None:
        with times.measure("write"):
            target = default_output(item.name, settings.parts_folder, is_mesh=bool(scene.surfaces))
            write_result(target, scene, record.labels)
    return replace(record, seconds=dict(times.seconds))
