# SPDX-License-Identifier: GPL-3.0-or-later
"""Compact coding of triangle meshes, decoded with array operations only.

Faces are put in the order of a depth-first walk over shared edges. A face then consists of an edge of
an earlier face (its parent) and one corner, stored as its distance from the newest vertex: 0 for a
vertex never seen before. A new vertex is predicted by completing the parallelogram over the parent
(Touma and Gotsman, 1998), and only the error is stored. Chains of edges are resolved by pointer
doubling; the predictions are one sparse triangular system with small integer coefficients, which
floating point solves exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix, identity
from scipy.sparse.csgraph import connected_components, depth_first_order
from scipy.sparse.linalg import spsolve_triangular

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class FaceCode:
    """Coded faces and positions of many shapes.

    parent: int64 [F], how many faces back the parent is, 0 for a face without one
    edge: int64 [F], e or 3 + e: corners 0 and 1 are the parent's corners e + 1 and e, or e and e + 1
    corner: int64 [F], distance of corner 2 from the newest vertex
    roots: int64 [R, 2], the same for corners 0 and 1 of the faces without parent
    errors: int64 [V, 3], position minus prediction
    """

    parent: Ints
    edge: Ints
    corner: Ints
    roots: Ints
    errors: Ints


def encode_faces(positions: Ints, faces: Ints, face_counts: Ints) -> tuple[FaceCode, Ints]:
    """Code the faces of S shapes.

    positions: int64 [V, 3]; faces: int64 [F, 3], indices into `positions`, shape after shape; no two
    shapes share a vertex; face_counts: int64 [S]
    Returns the code and the order of the coded faces, int64 [F]: coded face k is face order[k].
    """
    order, parent = _walk(faces, face_counts)
    faces, edge = _rotate_to_parent(faces[order], parent)
    used, vertex = _first_use(faces.ravel())
    vertex = vertex.reshape(-1, 3)
    is_new = np.zeros(vertex.size, dtype=bool)
    is_new[np.unique(vertex.ravel(), return_index=True)[1]] = True
    back = (_newest(is_new) - vertex.ravel()).reshape(-1, 3)
    rows = np.arange(len(faces))
    sorted_positions = positions[used]
    predictor = _predictor(vertex, is_new, parent, edge)
    code = FaceCode(
        parent=np.where(parent < 0, 0, rows - parent),
        edge=edge,
        corner=back[:, 2],
        roots=back[parent < 0, :2],
        errors=sorted_positions - np.rint(predictor @ sorted_positions).astype(np.int64),
    )
    return code, order


def decode_faces(code: FaceCode) -> tuple[Ints, Ints]:
    """Positions int64 [V, 3] and faces int64 [F, 3] in the coded order. Raises ValueError if damaged."""
    rows = np.arange(len(code.parent))
    parent = np.where(code.parent == 0, -1, rows - code.parent)
    if (code.parent < 0).any() or (parent < -1).any() or (code.edge < 0).any() or (code.edge > 5).any():
        raise ValueError("a face refers to a face that does not exist")
    back = np.full((len(rows), 3), -1, dtype=np.int64)  # -1: copied from the parent
    back[:, 2] = code.corner
    back[parent < 0, :2] = code.roots
    is_new = back.ravel() == 0
    vertex = _newest(is_new) - back.ravel()
    vertex = vertex[_copied_from(parent, code.edge)].reshape(-1, 3)
    if len(vertex) and (vertex.min() < 0 or vertex.max() >= len(code.errors)):
        raise ValueError("a face refers to a vertex that does not exist")
    predictor = _predictor(vertex, is_new, parent, code.edge)
    system = identity(len(code.errors), format="csr") - predictor
    solution = spsolve_triangular(system, code.errors.astype(np.float64), unit_diagonal=True)
    return np.rint(solution).astype(np.int64), vertex


def _walk(faces: Ints, face_counts: Ints) -> tuple[Ints, Ints]:
    """Depth-first order over shared edges, shape by shape: order [F] and parents in that order, -1 = none."""
    count = len(faces)
    first, second = _face_pairs(faces)
    pairs = coo_matrix((np.ones(len(first)), (first, second)), shape=(count, count))
    _, component = connected_components(pairs, directed=False)
    starts = np.unique(component, return_index=True)[1]  # one virtual root joins all components
    first, second = np.concatenate([first, np.full(len(starts), count)]), np.concatenate([second, starts])
    graph = csr_matrix((np.ones(len(first)), (first, second)), shape=(count + 1, count + 1))
    visited, before = depth_first_order(graph, count, directed=False)
    visited = visited[1:].astype(np.int64)
    shape = np.repeat(np.arange(len(face_counts)), face_counts)
    order = visited[np.argsort(shape[visited], kind="stable")]
    rank = np.empty(count + 1, dtype=np.int64)
    rank[order] = np.arange(count)
    rank[count] = -1
    return order, rank[before[order]]


def _face_pairs(faces: Ints) -> tuple[Ints, Ints]:
    """Pairs of different faces with a common edge; the faces around an edge are chained, int64 [P] each."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    face = np.tile(np.arange(len(faces)), 3)
    proper = edges[:, 0] != edges[:, 1]
    key, face = edges[proper, 0] << 32 | edges[proper, 1], face[proper]
    by_edge = np.argsort(key, kind="stable")
    key, face = key[by_edge], face[by_edge]
    joined = (key[1:] == key[:-1]) & (face[1:] != face[:-1])
    return face[:-1][joined], face[1:][joined]


def _rotate_to_parent(faces: Ints, parent: Ints) -> tuple[Ints, Ints]:
    """Rotate corners so that 0 and 1 are the edge shared with the parent; returns faces and edge codes."""
    child = np.flatnonzero(parent >= 0)
    turn = np.zeros(len(faces), dtype=np.int64)
    turn[child] = _matches(faces[child], faces[parent[child]], turns=True)
    faces = np.take_along_axis(faces, (turn[:, None] + np.arange(3)) % 3, axis=1)
    edge = np.zeros(len(faces), dtype=np.int64)
    edge[child] = _matches(faces[child], faces[parent[child]], turns=False)
    return faces, edge


def _matches(faces: Ints, parents: Ints, *, turns: bool) -> Ints:
    """The corner with which the shared edge starts (turns), or else the edge code of corners 0 and 1."""
    result = np.full(len(faces), -1, dtype=np.int64)
    for code in range(5, -1, -1):  # the lowest code wins: consistent orientation before flipped
        edge, flipped = code % 3, code >= 3
        ends = parents[:, [(edge + 1) % 3, edge]]
        ends = ends[:, ::-1] if flipped else ends
        for start in range(2, -1, -1) if turns else (0,):
            hit = (faces[:, start] == ends[:, 0]) & (faces[:, (start + 1) % 3] == ends[:, 1])
            hit &= ends[:, 0] != ends[:, 1]
            result[hit] = start if turns else code
    return result


def _first_use(flat: Ints) -> tuple[Ints, Ints]:
    """Used vertices in the order of first use, and `flat` in that numbering."""
    unique, first, inverse = np.unique(flat, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return unique[order], rank[inverse]


def _newest(is_new: NDArray[np.bool_]) -> Ints:
    """The index that the next new vertex gets, before each corner, int64 [3 F]."""
    return np.cumsum(is_new, dtype=np.int64) - is_new


def _copied_from(parent: Ints, edge: Ints) -> Ints:
    """Flat index of the corner at which each corner's vertex is stored, int64 [3 F]."""
    corners = np.arange(3 * len(parent)).reshape(-1, 3)
    child = np.flatnonzero(parent >= 0)
    start, flipped = edge[child] % 3, edge[child] >= 3
    ends = 3 * parent[child, None] + np.stack([(start + 1) % 3, start], axis=1)
    corners[child, :2] = np.where(flipped[:, None], ends[:, ::-1], ends)
    source = corners.ravel()
    while True:
        further = source[source]
        if np.array_equal(further, source):
            return source
        source = further


def _predictor(vertex: Ints, is_new: NDArray[np.bool_], parent: Ints, edge: Ints) -> csr_matrix:
    """Matrix [V, V] that predicts each vertex from earlier ones."""
    count = int(is_new.sum())
    flat = np.flatnonzero(is_new)
    face, corner = flat // 3, flat % 3
    completes = (corner == 2) & (parent[face] >= 0)
    row = np.flatnonzero(completes)
    face = face[completes]
    opposite = vertex[parent[face], (edge[face] % 3 + 2) % 3]
    plain = np.flatnonzero(~completes)
    plain = plain[plain > 0]
    rows = np.concatenate([row, row, row, plain])
    columns = np.concatenate([vertex[face, 0], vertex[face, 1], opposite, plain - 1])
    values = np.concatenate([np.ones(2 * len(row)), -np.ones(len(row)), np.ones(len(plain))])
    return csr_matrix((values, (rows, columns)), shape=(count, count))
