# SPDX-License-Identifier: GPL-3.0-or-later
"""Alpha-expansion in a band around label borders."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import Cancelled
from ..geometry.mesh import FloatArray, IntArray
from .adjacency import Adjacency
from .band_problem import BandProblem
from .energy import EnergySettings, PottsEnergy, evidence_energy, published_energy
from .face_graph import FaceGraph

Cancel = Callable[[], bool]

_MAX_SWEEPS = 3

_RINGS_PER_ROOT_FACES = 0.03
"""On an even mesh of F faces of area A / F, one ring is about 0.7 sqrt(A / F) wide."""


def refine_labels(
    graph: FaceGraph,
    evidence: FloatArray,
    labels: IntArray,
    *,
    strength: float = 1.0,
    band_rings: int | None = None,
    cancel: Cancel | None = None,
    settings: EnergySettings | None = None,
) -> IntArray:
    """Move label borders to where evidence and creases want them.

    evidence: float [F, P], soft; column p belongs to label p
    labels: int [F], 0 .. P-1, what to start from
    strength: factor on the smoothness; 0 leaves the evidence alone to decide
    band_rings: labels change only in faces at most this many rings from a border; None for as many as
        cover the distance by which masks miss borders (see `default_band_rings`)
    cancel: asked before each move; if it says True, errors.Cancelled is raised

    Returns int32 [F], whose energy is never above that of `labels`. Raises ValueError for arrays that do
    not fit together.
    """
    evidence, labels = np.asarray(evidence), np.asarray(labels)
    _check(graph, evidence, labels)
    rings = default_band_rings(graph.face_count) if band_rings is None else band_rings
    adjacency = Adjacency.of_faces(graph.face_count, graph.edges)
    band = border_band(graph.edges, labels, rings, adjacency)
    if not band.any():
        return labels.astype(np.int32)
    energy = evidence_energy(
        graph, evidence, labels, strength=strength, rings=rings, settings=settings, adjacency=adjacency
    )
    del adjacency
    return minimize(energy, labels, band=band, reach=rings, cancel=cancel)


def refine_labels_published(graph: FaceGraph, labels: IntArray, *, cancel: Cancel | None = None) -> IntArray:
    """The published post-processing for comparison: its energy over the whole graph, int32 [F].

    labels: int [F], the prediction; there is no soft evidence in that energy
    """
    return minimize(published_energy(graph, labels), labels, cancel=cancel)


def default_band_rings(face_count: int) -> int:
    """Rings that cover about 2 % of the square root of the area to each side, and at least 3."""
    return max(3, math.ceil(_RINGS_PER_ROOT_FACES * math.sqrt(face_count)))


def _check(graph: FaceGraph, evidence: FloatArray, labels: IntArray) -> None:
    faces = graph.face_count
    if evidence.ndim != 2 or len(evidence) != faces or labels.shape != (faces,):
        raise ValueError(f"{faces} faces, but evidence {evidence.shape} and labels {labels.shape}")
    if labels.min() < 0 or labels.max() >= evidence.shape[1]:
        raise ValueError(
            f"labels {labels.min()}..{labels.max()}, but evidence for {evidence.shape[1]} labels"
        )


def border_band(edges: IntArray, labels: IntArray, rings: int, adjacency: Adjacency) -> np.ndarray:
    """bool [F]: faces at a border between two labels (ring 1), and their neighbours up to ring `rings`.

    adjacency: of the edges
    """
    at_border = np.zeros(len(labels), dtype=bool)
    if rings < 1:
        return at_border
    first, second = edges.T
    between = np.flatnonzero(labels.take(first) != labels.take(second))
    at_border[first[between]] = at_border[second[between]] = True
    return adjacency.within(np.flatnonzero(at_border), rings - 1)


def minimize(
    energy: PottsEnergy,
    labels: IntArray,
    *,
    band: np.ndarray | None = None,
    reach: int | None = None,
    offered: Sequence[int] | None = None,
    max_sweeps: int = _MAX_SWEEPS,
    cancel: Cancel | None = None,
) -> IntArray:
    """Expansion moves until nothing improves, or `max_sweeps` rounds over the labels have passed.

    labels: int [F], not changed
    band: bool [F], faces that may change; None for all
    reach: a label is offered only to faces this many rings from it, and to those where it costs less
        than what they have; None offers every label everywhere, as in the textbook
    offered: labels to expand; None for those that occur in and next to the band. Between two labels
        one move finds the exact minimum.

    Returns int32 [F]; the energy never rises. Raises errors.Cancelled if `cancel()` says so before a move.
    """
    labels = np.array(labels, dtype=np.int32)
    if band is None:
        band = np.ones(len(labels), dtype=bool)
    if not band.any():
        return labels
    problem = BandProblem.around(energy, band, labels)
    present = np.unique(problem.labels).tolist()
    stale = set(present if offered is None else offered)
    if len(stale) == 2 and stale.issuperset(present):
        _stop_if(cancel)
        problem.decide(*sorted(stale))
        max_sweeps = 0
    for _ in range(max_sweeps):
        round_labels, stale = sorted(stale), set()
        for alpha in round_labels:
            _stop_if(cancel)
            stale |= problem.expand(alpha, reach)
    labels[problem.faces] = problem.labels
    return labels


def _stop_if(cancel: Cancel | None) -> None:
    if cancel is not None and cancel():
        raise Cancelled
