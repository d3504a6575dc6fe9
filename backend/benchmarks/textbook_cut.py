# SPDX-License-Identifier: GPL-3.0-or-later
"""Alpha-expansion exactly as the textbook has it: the yardstick of the benchmark and the tests.

Boykov, Veksler, Zabih, "Fast approximate energy minimization via graph cuts", PAMI 2001, section 5: the
whole graph in every move, one auxiliary node for each pair of neighbours with different labels, built
node by node. Slow on purpose; shares nothing with `refinement/band_problem.py` but the max-flow library.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..geometry.mesh import IntArray
from ..refinement.energy import PottsEnergy


def reference_sweep(energy: PottsEnergy, labels: IntArray, offered: Sequence[int]) -> IntArray:
    """One round of expansion moves over `offered` labels, each kept if the energy falls, int32 [F]."""
    labels = np.array(labels, dtype=np.int32)
    best = energy.total(labels)
    for alpha in offered:
        proposed = reference_expansion(energy, labels, alpha)
        total = energy.total(proposed)
        if total < best:
            labels, best = proposed, total
    return labels


def reference_expansion(energy: PottsEnergy, labels: IntArray, alpha: int) -> IntArray:
    """The best labelling within one expansion of `alpha` from `labels`, int32 [F].

    The source stands for alpha, the sink for "keep". A node's link to the terminal whose label it gets
    is the one that is cut.
    """
    import maxflow

    faces = np.arange(len(labels))
    keep_costs = energy.data(faces, labels).tolist()
    alpha_costs = energy.data(faces, alpha).tolist()
    graph = maxflow.GraphFloat(len(labels), len(energy.edges))
    graph.add_nodes(len(labels))
    for face, label in enumerate(labels.tolist()):
        graph.add_tedge(face, alpha_costs[face], float("inf") if label == alpha else keep_costs[face])
    for (first, second), weight in zip(energy.edges.tolist(), energy.weights.tolist(), strict=True):
        if labels[first] == labels[second]:
            both_ways = weight if labels[first] != alpha else 0.0
            graph.add_edge(first, second, both_ways, both_ways)
            continue
        auxiliary = int(graph.add_nodes(1)[0])
        for face in (first, second):
            one_way = weight if labels[face] != alpha else 0.0
            graph.add_edge(face, auxiliary, one_way, one_way)
        graph.add_tedge(auxiliary, 0.0, weight)
    graph.maxflow()
    takes_alpha = np.array([graph.get_segment(face) == 1 for face in faces])
    return np.where(takes_alpha, alpha, labels).astype(np.int32)
