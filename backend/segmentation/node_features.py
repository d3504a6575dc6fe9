# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known about each node of a part tree: how sure the network is, how it lies, how it is bordered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry.mesh import FloatArray, IntArray
from ..refinement.components import connected_nodes
from ..refinement.face_graph import FaceGraph
from .part_tree import PIECE, REST, PartTree, distinct_pairs, edges_between
from .tree_context import CONTEXT_FEATURES, context_features

FEATURES = (
    "score", "support", "log_area", "is_piece", "is_rest", "certainty", "stability", "fit",
    "log_share_of_parent", "masks_inside", "covered", "concave", "sharp", "border", "share_of_shells",
    "pieces", "score_of_parent", "score_inside", "twins", "depth", "log_candidates", "log_nodes",
    *CONTEXT_FEATURES,
)  # fmt: skip
"""Names of the columns of `node_features`."""

_SHARP = 0.7
"""Dihedral angle, radians, from which an edge is as sharp as any."""
_TWIN = 0.12
"""Nodes apart whose areas differ by less than this (in logarithm) are twins, as two arms are."""


@dataclass(frozen=True)
class Candidates:
    """The masks that a tree is made of.

    logits: [K, S] at sites; scores: [K], predicted IoU; support: [K] in [0, 1]
    """

    logits: FloatArray
    scores: FloatArray
    support: FloatArray


def node_features(
    tree: PartTree, candidates: Candidates, weights: FloatArray, graph: FaceGraph
) -> FloatArray:
    """Features float32 [T, len(FEATURES)] of the nodes. weights: [S], area shares; graph: over the sites."""
    areas = np.maximum(tree.inside @ tree.areas, 1e-9)
    scores = np.append(candidates.scores, 0)[tree.masks]
    support = np.append(candidates.support, 0)[tree.masks]
    parents = np.maximum(tree.parents, 0)
    inner = (tree.kinds != REST) & (tree.parents >= 0)
    inside_count = np.bincount(parents[inner], minlength=len(parents))
    covered = np.bincount(parents[inner], areas[inner], minlength=len(parents)) / areas
    best_inside = np.zeros(len(parents))
    np.maximum.at(best_inside, parents[inner], scores[inner])
    count = np.full(len(parents), len(parents))
    between = edges_between(graph, tree.atoms)
    between = between[~graph.is_link[between]]
    share_of_shells = _share_of_shells(tree, graph, areas)
    columns = [
        scores, support, np.log(areas), tree.kinds == PIECE, tree.kinds == REST,
        *_agreement(tree, candidates, weights, areas),
        np.log(areas / areas[parents]), inside_count, covered,
        *_borders(tree, graph, between, areas),
        share_of_shells, _pieces(tree, tree.atoms[graph.edges[between]]),
        np.where(tree.parents >= 0, scores[parents], 0), best_inside, _twins(tree, areas), tree.depths,
        np.full(len(parents), np.log(max(len(candidates.scores), 1))), np.log(count),
    ]  # fmt: skip
    columns += list(context_features(tree, share_of_shells).T)
    return np.stack(columns, axis=1).astype(np.float32)


def _agreement(
    tree: PartTree, candidates: Candidates, weights: FloatArray, areas: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """How well each node agrees with its mask: mean probability inside, the mask's IoU between the logit
    thresholds +1 and -1, and the node's IoU with the mask; float64 [T] each, 0 without a mask."""
    atoms = len(tree.areas)
    found = np.zeros((3, len(tree.masks)))
    for mask in np.unique(tree.masks[tree.masks < len(candidates.scores)]):
        logits = np.asarray(candidates.logits[mask], dtype=np.float32)
        probable = np.bincount(tree.atoms, weights / (1 + np.exp(-logits)), minlength=atoms)
        near = np.flatnonzero(logits > -1)  # most sites are far from most masks
        near_logits, near_weights = logits.take(near), weights.take(near)
        own = near_logits > 0
        taken = np.bincount(tree.atoms.take(near[own]), near_weights[own], minlength=atoms)
        outer, inner = float(near_weights.sum()), float(near_weights[near_logits > 1].sum())
        nodes = np.flatnonzero(tree.masks == mask)
        inside = tree.inside[nodes]
        shared = inside @ taken
        found[0, nodes] = inside @ probable / areas[nodes]
        found[1, nodes] = inner / max(outer, 1e-9)
        found[2, nodes] = shared / np.maximum(areas[nodes] + taken.sum() - shared, 1e-9)
    return found[0], found[1], found[2]


def _borders(
    tree: PartTree, graph: FaceGraph, between: IntArray, areas: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Of each node's border the concave and the sharp share (1 without a border), and its length by the
    square root of the area; float64 [T] each. between: the edges that join different atoms"""
    pairs, pair = distinct_pairs(tree.atoms[graph.edges[between]], len(tree.areas))
    length, dihedral = graph.edge_length[between], graph.dihedral[between]
    sums = [
        np.bincount(pair, length * factor, minlength=len(pairs))
        for factor in (
            np.ones(len(length)),
            np.clip(-dihedral / _SHARP, 0, 1),
            np.clip(np.abs(dihedral) / _SHARP, 0, 1),
        )
    ]
    on_border = tree.inside[:, pairs[:, 0]] != tree.inside[:, pairs[:, 1]]
    total, concave, sharp = (on_border @ each for each in sums)
    bordered = total > 0
    safe = np.where(bordered, total, 1)
    size = np.sqrt(areas * graph.face_areas.sum())
    return (
        np.where(bordered, concave / safe, 1),
        np.where(bordered, sharp / safe, 1),
        total / np.maximum(size, 1e-12),
    )


def _share_of_shells(tree: PartTree, graph: FaceGraph, areas: FloatArray) -> FloatArray:
    """Each node's area by that of the shells that it touches, float64 [T]."""
    shell_of = np.zeros(len(tree.areas), dtype=np.int64)
    shell_of[tree.atoms] = graph.shells
    shell_areas = np.bincount(shell_of, tree.areas)
    touched = np.zeros((len(areas), len(shell_areas)), dtype=bool)
    node, atom = np.nonzero(tree.inside)
    touched[node, shell_of[atom]] = True
    return areas / np.maximum(touched @ shell_areas, 1e-9)


def _pieces(tree: PartTree, touching: IntArray) -> IntArray:
    """Connected pieces of each node, at most 5, int [T]. touching: int [E, 2], atoms that touch"""
    count = len(tree.areas)
    pairs = distinct_pairs(touching, count)[0]
    # All nodes at once: a graph of as many copies of the atoms.
    node, pair = np.nonzero(tree.inside[:, pairs].all(axis=2))
    pieces = connected_nodes(tree.inside.size, pairs[pair] + count * node[:, None])
    of_node = np.zeros(tree.inside.size, dtype=np.int64)  # by piece
    of_node[pieces] = np.repeat(np.arange(len(tree.inside)), count)
    inside = np.unique(pieces[tree.inside.ravel()])
    return np.minimum(np.bincount(of_node[inside], minlength=len(tree.inside)), 5)


def _twins(tree: PartTree, areas: FloatArray) -> IntArray:
    """How many other nodes apart from it have nearly its area, at most 4, int [T]."""
    logs = np.log(areas)
    alike = np.abs(logs[:, None] - logs[None]) < _TWIN
    overlapping = (tree.inside.astype(np.float32) @ tree.inside.T.astype(np.float32)) > 0
    return np.minimum((alike & ~overlapping).sum(axis=1), 4)
