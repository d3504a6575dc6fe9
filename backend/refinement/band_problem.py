# SPDX-License-Identifier: GPL-3.0-or-later
"""Single moves of the graph cut: expand one label, or decide between two.

Expansion moves: Boykov, Veksler, Zabih, "Fast approximate energy minimization via graph cuts", PAMI 2001.
Each move is one minimum cut, built without auxiliary nodes: Kolmogorov, Zabih, "What energy functions
can be minimized via graph cuts?", PAMI 2004. The cut itself is PyMaxflow's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..geometry.mesh import FloatArray, IntArray
from .adjacency import Adjacency
from .energy import PottsEnergy
from .minimum_cut import minimum_cut

_CLEAR_GAIN = 1e-12
"""A move must lower the energy by this share of what it touches; less is rounding."""


@dataclass
class BandProblem:
    """The faces that can change, those next to them that cannot, and their present labels.

    energy: of the whole graph
    faces: int64 [n], numbers in the whole graph; here they are nodes 0 .. n-1
    free: bool [n], False for the fixed faces just outside the band
    adjacency: between the nodes
    labels: int32 [n], present; costs: float64 [n], the data costs of those
    """

    energy: PottsEnergy
    faces: IntArray
    free: np.ndarray
    adjacency: Adjacency
    labels: IntArray
    costs: FloatArray
    _changes: list[IntArray] = field(default_factory=list)  # nodes that each adopted move changed
    _cheaper: dict[int, tuple[np.ndarray, int]] = field(default_factory=dict)  # see `_is_cheaper`

    @classmethod
    def around(cls, energy: PottsEnergy, band: np.ndarray, labels: IntArray) -> BandProblem:
        """band: bool [F], faces that may change; labels: int32 [F]."""
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
        """The best move in which faces keep their label or take `alpha`, if it lowers the energy.

        reach: see `minimize`. Returns the labels next to what changed: those worth trying again.
        """
        nodes = self._candidates(alpha, reach)
        if len(nodes) == 0:
            return set()
        alpha_costs = self.energy.data(self.faces[nodes], alpha)
        switch = best_switch(self.adjacency, self.labels, nodes, alpha, alpha_costs - self.costs[nodes])
        return self.adopt(nodes[switch], np.full(int(switch.sum()), alpha), alpha_costs[switch])

    def decide(self, alpha: int, beta: int) -> set[int]:
        """The best labelling of all free faces with `alpha` and `beta` alone, if it lowers the energy.

        Where no other labels occur this is the exact minimum, whatever the faces have now.
        """
        nodes = np.flatnonzero(self.free)
        alpha_costs = self.energy.data(self.faces[nodes], alpha)
        beta_costs = self.energy.data(self.faces[nodes], beta)
        all_beta = self.labels.copy()
        all_beta[nodes] = beta
        switch = best_switch(self.adjacency, all_beta, nodes, alpha, alpha_costs - beta_costs)
        labels = np.where(switch, alpha, beta)
        changed = labels != self.labels[nodes]
        costs = np.where(switch, alpha_costs, beta_costs)
        return self.adopt(nodes[changed], labels[changed], costs[changed])

    def _candidates(self, alpha: int, reach: int | None) -> IntArray:
        """Nodes to which `alpha` is offered."""
        candidates = self.free & (self.labels != alpha)
        if reach is not None:
            near = self.adjacency.within(np.flatnonzero(self.labels == alpha), reach)
            candidates &= near | self._is_cheaper(alpha)
        return np.flatnonzero(candidates)

    def _is_cheaper(self, alpha: int) -> np.ndarray:
        """Whether `alpha` costs a node less than its label, bool [n]; asked anew only where that changed."""
        if alpha not in self._cheaper:
            cheaper = self.energy.data(self.faces, alpha) < self.costs
        else:
            cheaper, seen = self._cheaper[alpha]
            if seen < len(self._changes):
                nodes = np.concatenate(self._changes[seen:])
                cheaper[nodes] = self.energy.data(self.faces[nodes], alpha) < self.costs[nodes]
        self._cheaper[alpha] = cheaper, len(self._changes)
        return cheaper

    def adopt(self, changed: IntArray, labels: IntArray, costs: FloatArray) -> set[int]:
        """Give the nodes `changed` [m] other `labels` [m] of cost `costs` [m], if that lowers the energy.

        Returns the labels next to what changed, none if the proposal was turned down.
        """
        if len(changed) == 0:
            return set()
        slots, _ = self.adjacency.slots(changed)
        scale = self.costs[changed].sum() + self.adjacency.weights[slots].sum()
        if self.energy_change(changed, labels, costs) >= -_CLEAR_GAIN * scale:
            return set()
        around = self.labels[self.adjacency.neighbours[slots]]
        touched = np.unique(np.concatenate([labels, self.labels[changed], around]))
        self.labels[changed] = labels
        self.costs[changed] = costs
        self._changes.append(changed)
        return set(touched.tolist())

    def energy_change(self, changed: IntArray, labels: IntArray, costs: FloatArray) -> float:
        """What the energy would gain (less than 0: lose) by `adopt`, from the changed nodes alone."""
        proposed = self.labels.copy()
        proposed[changed] = labels
        is_changed = np.zeros(len(self.labels), dtype=bool)
        is_changed[changed] = True
        slots, owner = self.adjacency.slots(changed)
        around = self.adjacency.neighbours[slots]
        # An edge between two changed faces has a slot at each of them.
        weights = self.adjacency.weights[slots] * np.where(is_changed[around], 0.5, 1.0)
        cut_before = self.labels[changed][owner] != self.labels[around]
        cut_after = labels[owner] != proposed[around]
        pairs = weights[cut_after].sum() - weights[cut_before].sum()
        return float(pairs + (costs - self.costs[changed]).sum())


def best_switch(
    adjacency: Adjacency, labels: IntArray, nodes: IntArray, alpha: int, data_change: FloatArray
) -> np.ndarray:
    """Which of `nodes` [n] (none has `alpha`) take `alpha` in the best expansion move, bool [n].

    data_change: float64 [n], cost of alpha less cost of the present label

    With x = 1 for a node that switches, an edge of weight w between two of the nodes costs
    w [x_i != x_j] if their labels are equal: a two-way edge of capacity w. If they differ it costs
    w (1 - x_i x_j) = w - w/2 (x_i + x_j) + w/2 [x_i != x_j]: a two-way edge of half the capacity and a
    bonus for switching at both ends.
    """
    position = np.full(len(labels), -1, dtype=np.int64)
    position[nodes] = np.arange(len(nodes))
    slots, owner = adjacency.slots(nodes)
    around, weights = adjacency.neighbours[slots], adjacency.weights[slots]
    other = position[around]
    movable = other >= 0
    cut_now = labels[nodes][owner] != labels[around]
    edge_change = weights * np.where(movable, -0.5 * cut_now, 1.0 * (labels[around] != alpha) - cut_now)
    change = data_change + np.bincount(owner, edge_change, minlength=len(nodes))

    once = movable & (owner < other)
    capacity = weights[once] * np.where(cut_now[once], 0.5, 1.0)
    beside_others = np.zeros(len(nodes), dtype=bool)
    beside_others[owner[~movable]] = True
    return minimum_cut(owner[once], other[once], capacity, change, beside_others)
