# SPDX-License-Identifier: GPL-3.0-or-later
"""How long every stage of the command line takes, and the most memory held."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..stage_times import StageTimes


@dataclass(frozen=True)
class StageMeasurement:
    """One built mesh through all stages.

    seconds: per stage; `labels` is another granularity of parts that are already found
    command: seconds of `segment` for the same mesh, from its start to its end
    peak_mib: most memory that the process held, interpreter and torch included; None where unknown
    """

    faces: int
    parts: int
    trained: bool
    seconds: dict[str, float]
    command: float
    peak_mib: float | None


def measure_stages(faces: int, *, model: str, device: str, prompts: int) -> StageMeasurement:
    """Read, encode, segment, refine and write one built mesh in this process."""
    from ..mesh_files import SourceScene, Surface, read_mesh_file, write_parts
    from ..segmenter import Segmenter
    from .graph_cut import lumpy_torus, peak_megabytes

    times = StageTimes()
    built = lumpy_torus(faces)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "built.glb"
        surface = Surface("built", built.vertices, built.triangles)
        write_parts(path, SourceScene((surface,)), np.zeros(built.face_count, dtype=np.int32))
        with times.measure("read"):
            scene = read_mesh_file(path)
        with times.measure("load"):
            segmenter = Segmenter.load(model, device=device)
        with times.measure("encode"):
            shape = segmenter.encode(scene.mesh)
        clock = _StageClock(times)
        parts = segmenter.segment_every_part(shape, prompts=prompts, progress=clock)
        clock.stop()
        with times.measure("labels"):
            parts.face_labels(0.8)
        with times.measure("refine"):
            labels = parts.refined_labels(0.5)
        with times.measure("write"):
            write_parts(Path(folder) / "parts.glb", scene, labels)
        peak = peak_megabytes()
        command = _command_seconds(path, model=model, device=device, prompts=prompts)
    count = len(np.unique(labels))
    return StageMeasurement(built.face_count, count, segmenter.is_trained, times.seconds, command, peak)


def _command_seconds(path: Path, *, model: str, device: str, prompts: int) -> float:
    """Of `segment`, in a process of its own, whose output goes beside the input."""
    options = ["--model", model, "--device", device, "--prompts", str(prompts)]
    words = [sys.executable, "-m", __package__.partition(".")[0], "segment", str(path), *options]
    start = time.perf_counter()
    output = str(path.with_name("segmented.glb"))
    subprocess.run([*words, "-o", output], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


class _StageClock:
    """A progress callback that books the time between its calls on the stage that was running."""

    def __init__(self, times: StageTimes) -> None:
        self._times = times
        self._stage = "prompts"
        self._since = time.perf_counter()

    def __call__(self, stage: str, fraction: float) -> None:
        self.stop()
        self._stage = stage

    def stop(self) -> None:
        """Book what ran until now."""
        now = time.perf_counter()
        self._times.seconds[self._stage] = self._times.seconds.get(self._stage, 0.0) + now - self._since
        self._since = now
