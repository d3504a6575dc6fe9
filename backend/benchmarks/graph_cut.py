# SPDX-License-Identifier: GPL-3.0-or-later
"""What refinement costs by face count, against a straightforward construction of the same cut."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..geometry import Mesh, face_centroids
from ..geometry.mesh import FloatArray
from ..refinement.energy import evidence_energy
from ..refinement.face_graph import build_face_graph
from ..refinement.graph_cut import default_band_rings, minimize, refine_labels
from ..refinement.islands import dissolve_islands
from .textbook_cut import reference_sweep

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

DEFAULT_FACE_COUNTS = (20_480, 327_680, 1_000_000)


@dataclass(frozen=True)
class CutMeasurement:
    """One row of the benchmark. Seconds are wall time on this machine, one thread.

    graph_seconds: face graph; islands_seconds: island removal; refine_seconds: `refine_labels` as used
    sweep_seconds: one sweep over the whole graph, every label offered everywhere, as the reference does
    reference_seconds: the same by the textbook's construction; None above the limit asked for
    energy_before, energy_after: of `refine_labels`; sweep_energy, reference_energy: after one sweep each
    peak_megabytes: of the process up to the end of `refine_labels`, None where the system does not tell
    """

    faces: int
    labels: int
    graph_seconds: float
    islands_seconds: float
    refine_seconds: float
    sweep_seconds: float
    reference_seconds: float | None
    energy_before: float
    energy_after: float
    sweep_energy: float
    reference_energy: float | None
    peak_megabytes: float | None

    @property
    def reference_ratio(self) -> float | None:
        """How many times longer the reference takes for the same sweep."""
        return None if self.reference_seconds is None else self.reference_seconds / self.sweep_seconds


def measure_cut(
    face_counts: Sequence[int] = DEFAULT_FACE_COUNTS, *, labels: int = 20, reference_limit: int = 20_480
) -> list[CutMeasurement]:
    """Measure refinement on built meshes, each in a fresh process so that peak memory is its own.

    labels: parts of the built shape; reference_limit: most faces for which the reference runs, too
    """
    rows = []
    for faces in face_counts:
        with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
            rows.append(pool.submit(measure_once, faces, labels, reference_limit).result())
        _log.info("cut of %d faces: %.2f s", faces, rows[-1].refine_seconds)
    return rows


def measure_once(faces: int, labels: int, reference_limit: int) -> CutMeasurement:
    """`measure_cut` for one face count in this process."""
    mesh = lumpy_torus(faces)
    evidence = soft_evidence(mesh, labels)
    rough = evidence.argmax(axis=1).astype(np.int32)
    graph, graph_seconds = _timed(lambda: build_face_graph(mesh))
    start, islands_seconds = _timed(lambda: dissolve_islands(graph, rough))
    refined, refine_seconds = _timed(lambda: refine_labels(graph, evidence, start))
    peak = peak_megabytes()

    energy = evidence_energy(graph, evidence, start, rings=default_band_rings(mesh.face_count))
    offered = range(labels)
    swept, sweep_seconds = _timed(lambda: minimize(energy, start, offered=offered, max_sweeps=1))
    reference_seconds = reference_energy = None
    if len(mesh.triangles) <= reference_limit:
        reference, reference_seconds = _timed(lambda: reference_sweep(energy, start, offered))
        reference_energy = energy.total(reference)
    return CutMeasurement(
        faces=mesh.face_count,
        labels=labels,
        graph_seconds=graph_seconds,
        islands_seconds=islands_seconds,
        refine_seconds=refine_seconds,
        sweep_seconds=sweep_seconds,
        reference_seconds=reference_seconds,
        energy_before=energy.total(start),
        energy_after=energy.total(refined),
        sweep_energy=energy.total(swept),
        reference_energy=reference_energy,
        peak_megabytes=peak,
    )


def lumpy_torus(faces: int) -> Mesh:
    """A closed torus whose tube swells and narrows, of `faces` triangles or a few less."""
    around_tube = max(3, round((faces / 6) ** 0.5))
    around_ring = max(3, faces // 2 // around_tube)
    ring, tube = np.meshgrid(
        np.arange(around_ring) * (2 * np.pi / around_ring),
        np.arange(around_tube) * (2 * np.pi / around_tube),
        indexing="ij",
    )
    radius = 0.35 + 0.12 * np.abs(np.sin(4 * ring)) + 0.03 * np.sin(5 * tube)
    reach = 1 + radius * np.cos(tube)
    vertices = np.stack([reach * np.cos(ring), reach * np.sin(ring), radius * np.sin(tube)], axis=-1)
    index = np.arange(around_ring * around_tube).reshape(around_ring, around_tube)
    along, across = np.roll(index, -1, axis=0), np.roll(index, -1, axis=1)
    diagonal = np.roll(along, -1, axis=1)
    triangles = np.stack([index, along, diagonal, index, diagonal, across], axis=-1).reshape(-1, 3)
    return Mesh(vertices.reshape(-1, 3), triangles)


def soft_evidence(mesh: Mesh, labels: int, *, noise: float = 0.1, seed: int = 0) -> FloatArray:
    """Evidence float32 [F, labels] that falls off from one random face per label, noisy in every face."""
    random = np.random.default_rng(seed)
    centroids = face_centroids(mesh)
    seeds = centroids[random.choice(len(centroids), labels, replace=False)]
    evidence = np.zeros((len(centroids), labels), dtype=np.float32)
    for label, place in enumerate(seeds):
        distance = np.linalg.norm(centroids - place, axis=1)
        evidence[:, label] = np.exp(-distance / 0.15 + noise * random.normal(size=len(centroids)))
    return evidence / evidence.sum(axis=1, keepdims=True)


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def peak_megabytes() -> float | None:
    """Peak resident memory of this process in MiB; None where the system does not tell."""
    status = Path("/proc/self/status")
    if status.exists():  # not getrusage: on Linux its peak includes that of the parent before exec
        peaks = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        if peaks:
            return int(peaks[0]) / 1024
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024
