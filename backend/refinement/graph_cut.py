# SPDX-License-Identifier: GPL-3.0-or-later
"""Alpha-expansion in a band around label borders.

Expansion moves: Boykov, Veksler, Zabih, "Fast approximate energy minimization via graph cuts", PAMI 2001.
Each move is one minimum cut, built without auxiliary nodes: Kolmogorov, Zabih, "What energy functions
can be minimized via graph cuts?", PAMI 2004. The cut itself is PyMaxflow's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import Cancelled
from ..geometry.mesh import FloatArray, IntArray
from .adjacency import Adjacency
from .energy import EnergySettings, PottsEnergy, evidence_energy
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
    band = border_band(graph.edges, labels, rings)
    if not band.any():
        return labels.astype(np.int32)
    energy = evidence_energy(graph, evidence, labels, strength=strength, rings=rings, settings=settings)
    return minimize(energy, labels, band=band, reach=rings, cancel=cancel)


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


def border_band(edges: IntArray, labels: IntArray, rings: int) -> np.ndarray:
    """bool [F]: faces at a border between two labels (ring 1), and their neighbours up to ring `rings`."""
    band = np.zeros(len(labels), dtype=bool)
    band[edges[labels[edges[:, 0]] != labels[edges[:, 1]]]] = True
    for _ in range(rings - 1):
        one_sided = band[edges[:, 0]] != band[edges[:, 1]]
        if not one_sided.any():
            break
        band[edges[one_sided]] = True
    return band


def minimize(
    energy: PottsEnergy,
    labels: IntArray,
    *,
    band: np.ndarray | None = None,
    reach: int | None = None,
    max_sweeps: int = _MAX_SWEEPS,
    cancel: Cancel | None = None,
) -> IntArray:
    """Expansion moves until nothing improves, or `max_sweeps` rounds over the labels have passed.

    labels: int [F], not changed
    band: bool [F], faces that may change; None for all
    reach: a label is offered only to faces this many rings from it, and to those where it costs less
        than what they have; None offers every label everywhere, as in the textbook

    Returns int32 [F]; the energy never rises.
    """
    labels = np.array(labels, dtype=np.int32)
    if band is None:
        band = np.ones(len(labels), dtype=bool)
    if not band.any():
        return labels
    problem = _BandProblem.around(energy, band, labels)
    stale = set(np.unique(problem.labels).tolist())
    for _ in range(max_sweeps):
        round_labels, stale = sorted(stale), set()
        for alpha in round_labels:
            if cancel is not None and cancel():
                raise Cancelled
            stale |= problem.expand(alpha, reach)
        if not stale:
            break
    labels[problem.faces] = problem.labels
    return labels


@dataclass
class _BandProblem:
    """The part of the graph that can change, and the faces next to it that cannot.

    faces: int64 [n], faces of the band first renumbered 0 .. n-1
    free: bool [n], False for the fixed faces just outside the band
    labels: int32 [n], current; costs: float64 [n], what those cost
    """

    energy: PottsEnergy
    faces: IntArray
    free: np.ndarray
    adjacency: Adjacency
    labels: IntArray
    costs: FloatArray

    @classmethod
    def around(cls, energy: PottsEnergy, band: np.ndarray, labels: IntArray) -> _BandProblem:
        edges, weights = energy.edges, energy.weights
        touching = band[edges[:, 0]] | band[edges[:, 1]]
        if not touching.all():
            edges, weights = edges[touching], weights[touching]
        inside = band.copy()
        inside[edges] = True
        faces = np.flatnonzero(inside)
        number = np.zeros(len(band), dtype=np.int64)
        number[faces] = np.arange(len(faces))
        return cls(
            energy=energy,
            faces=faces,
            free=band[faces],
            adjacency=Adjacency.of(len(faces), number[edges], weights),
            labels=labels[faces],
            costs=energy.data(faces, labels[faces]),
        )

    def expand(self, alpha: int, reach: int | None) -> set[int]:
        """One expansion move; kept only if it lowers the energy. Returns labels worth trying again."""
        nodes = self._candidates(alpha, reach)
        if len(nodes) == 0:
            return set()
        alpha_costs = self.energy.data(self.faces[nodes], alpha)
        switch = _best_switch(self.adjacency, self.labels, nodes, alpha, alpha_costs - self.costs[nodes])
        changed = nodes[switch]
        if len(changed) == 0:
            return set()
        before = self.labels[changed]
        slots, owner = self.adjacency.slots(changed)
        around = self.adjacency.neighbours[slots]
        old_cut = before[owner] != self.labels[around]
        touched = {alpha, *np.unique(before).tolist(), *np.unique(self.labels[around]).tolist()}
        self.labels[changed] = alpha
        is_changed = np.zeros(len(self.labels), dtype=bool)
        is_changed[changed] = True
        # An edge between two changed faces has a slot at each of them.
        weight = self.adjacency.weights[slots] * np.where(is_changed[around], 0.5, 1.0)
        difference = (weight * ((self.labels[around] != alpha) * 1.0 - old_cut)).sum()
        difference += (alpha_costs[switch] - self.costs[changed]).sum()
        if not difference < -1e-12 * (1e-30 + self.costs[changed].sum() + weight.sum()):
            self.labels[changed] = before
            return set()
        self.costs[changed] = alpha_costs[switch]
        return touched

    def _candidates(self, alpha: int, reach: int | None) -> IntArray:
        """Nodes to which `alpha` is offered."""
        candidates = self.free & (self.labels != alpha)
        if reach is not None:
            near = self.adjacency.within(np.flatnonzero(self.labels == alpha), reach)
            nodes = np.flatnonzero(candidates & ~near)
            better = self.energy.data(self.faces[nodes], alpha) < self.costs[nodes]
            candidates[nodes[~better]] = False
        return np.flatnonzero(candidates)


def _best_switch(
    adjacency: Adjacency, labels: IntArray, nodes: IntArray, alpha: int, data_change: FloatArray
) -> np.ndarray:
    """Which of `nodes` [n] (none has `alpha`) take `alpha` in the best expansion move, bool [n].

    data_change: float64 [n], cost of alpha less cost of the present label.

    With x = 1 for a node that switches, an edge of weight w between two such nodes costs
    w [l_i != l_j] (1 - x_i)(1 - x_j) + w (x_i != x_j). For equal labels that is a plain two-way
    edge of capacity w. For different ones it equals w - w/2 (x_i + x_j) + w/2 [x_i != x_j]: a two-way edge
    of half the capacity and a bonus for switching at both ends; no auxiliary node is needed.
    """
    import maxflow  # here, so that machines without it can do all but cut

    position = np.full(len(labels), -1, dtype=np.int64)
    position[nodes] = np.arange(len(nodes))
    slots, owner = adjacency.slots(nodes)
    around, weights = adjacency.neighbours[slots], adjacency.weights[slots]
    other = position[around]
    cut_now = labels[nodes][owner] != labels[around]
    pairwise = other >= 0
    change = np.where(
        pairwise,
        -0.5 * weights * cut_now,
        weights * ((labels[around] != alpha) * 1.0 - cut_now),
    )
    change = data_change + np.bincount(owner, change, minlength=len(nodes))

    once = pairwise & (owner < other)
    capacity = weights[once] * np.where(cut_now[once], 0.5, 1.0)
    cut = maxflow.GraphFloat(len(nodes), len(capacity))
    identifiers = cut.add_grid_nodes((len(nodes),))
    cut.add_edges(owner[once], other[once], capacity, capacity)
    cut.add_grid_tedges(identifiers, np.maximum(change, 0), np.maximum(-change, 0))
    cut.maxflow()
    return cut.get_grid_segments(identifiers)
