# SPDX-License-Identifier: GPL-3.0-or-later
"""The graph over a mesh's faces along which labels are smoothed, dissolved and connected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..geometry import Mesh, validate_mesh
from ..geometry.mesh import FloatArray, IntArray, used_vertices
from .shell_links import link_near_shells, no_links
from .welding import weld_vertices
from .winding import borrow_normals, outward_signs, signed_dihedrals, trusted_normals

_JOINED_PER_EDGE = 7
"""Around one edge each face is joined with this many that follow: all pairs up to 8 faces, linear beyond."""


@dataclass(frozen=True)
class FaceGraph:
    """Faces of a mesh and which of them touch.

    face_areas: float64 [F], squared mesh units
    edges: int32 [E, 2], faces that share an edge after welding by position, or that are linked across
        a gap. A pair that shares several edges occurs once for each.
    edge_length: float64 [E], mesh units (for links: the spacing at which gaps were probed)
    dihedral: float64 [E], radians; 0 flat, positive convex, negative concave; 0 for links
    is_link: bool [E], weak link between two shells that nearly touch
    shells: int32 [F], connected component of each face without links
    diagonal: of the bounding box of the used vertices, mesh units
    """

    face_areas: FloatArray
    edges: IntArray
    edge_length: FloatArray
    dihedral: FloatArray
    is_link: np.ndarray
    shells: IntArray
    diagonal: float

    @property
    def face_count(self) -> int:
        return len(self.face_areas)


@dataclass(frozen=True)
class _SharedEdges:
    """Face pairs across mesh edges: `pairs` [M, 2]; `start`/`end` [M], the edge's welded vertices as the
    first face runs along it; `agrees`, whether the second runs the other way; `manifold`, whether nobody
    else shares the edge; `folded`, whether both faces have the same third corner."""

    pairs: IntArray
    start: IntArray
    end: IntArray
    agrees: np.ndarray
    manifold: np.ndarray
    folded: np.ndarray


def build_face_graph(mesh: Mesh, *, weld_tolerance: float = 1e-6, link_shells: bool = True) -> FaceGraph:
    """Adjacency, edge lengths and signed dihedral angles of `mesh`.

    weld_tolerance: share of the bounding box's diagonal within which vertices count as one place
    link_shells: join shells that nearly touch by weak links

    Faces that are degenerate, duplicated or meet at non-manifold edges are kept and connected.
    Winding may be inconsistent or inside out. Raises MeshError for meshes that cannot be segmented.
    """
    validate_mesh(mesh)
    mesh = _without_unused_vertices(mesh)
    corners = mesh.corners()
    area_vectors = 0.5 * mesh.area_vectors
    vertex_group, places = weld_vertices(mesh.vertices, tolerance=weld_tolerance)
    shared = _shared_edges(vertex_group[mesh.triangles])
    directions = places[shared.end] - places[shared.start]
    lengths = np.linalg.norm(directions, axis=1)
    dihedral = _dihedrals(shared, directions, lengths, corners, area_vectors)

    diagonal = float(np.linalg.norm(np.ptp(mesh.vertices, axis=0)))
    shells = connected_faces(mesh.face_count, shared.pairs)
    links, link_lengths = link_near_shells(mesh, shells, diagonal=diagonal) if link_shells else no_links()
    return FaceGraph(
        face_areas=mesh.areas,
        edges=np.concatenate([shared.pairs, links]).astype(np.int32),
        edge_length=np.concatenate([lengths, link_lengths]),
        dihedral=np.concatenate([dihedral, np.zeros(len(links))]),
        is_link=np.repeat([False, True], [len(lengths), len(links)]),
        shells=shells,
        diagonal=diagonal,
    )


def connected_faces(count: int, edges: IntArray) -> IntArray:
    """Connected component of each of `count` nodes under `edges` [E, 2], int32 [count]."""
    matrix = coo_array((np.ones(len(edges), dtype=np.int8), (edges[:, 0], edges[:, 1])), shape=(count, count))
    return connected_components(matrix, directed=False)[1]


def _without_unused_vertices(mesh: Mesh) -> Mesh:
    """Vertices that no face uses may be anything, NaN included; leave them out."""
    used = used_vertices(mesh)
    if used.all():
        return mesh
    return Mesh(mesh.vertices[used], (np.cumsum(used) - 1)[mesh.triangles])


def _shared_edges(triangles: IntArray) -> _SharedEdges:
    """Pairs of faces across each edge of welded `triangles` int64 [F, 3]; collapsed edges are no edges."""
    start = triangles.ravel()
    end = np.roll(triangles, -1, axis=1).ravel()
    half_edges = np.flatnonzero(start != end)
    low, high = np.minimum(start, end)[half_edges], np.maximum(start, end)[half_edges]
    key = low * (int(triangles.max()) + 1) + high
    order = np.argsort(key)
    key, half_edges = key[order], half_edges[order]

    first_parts, second_parts, manifold_parts = [], [], []
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    valence = np.repeat(np.diff(starts, append=len(key)), np.diff(starts, append=len(key)))
    for step in range(1, _JOINED_PER_EDGE + 1):
        same = np.flatnonzero(key[step:] == key[:-step])
        if len(same) == 0:
            break
        first_parts.append(half_edges[same])
        second_parts.append(half_edges[same + step])
        manifold_parts.append(valence[same] == 2)
    if not first_parts:
        nothing = np.zeros(0, dtype=np.int64)
        no_flags = np.zeros(0, dtype=bool)
        return _SharedEdges(nothing.reshape(0, 2), nothing, nothing, no_flags, no_flags, no_flags)
    first, second = np.concatenate(first_parts), np.concatenate(second_parts)
    manifold = np.concatenate(manifold_parts)
    proper = first // 3 != second // 3  # a collapsed face meets itself
    first, second, manifold = first[proper], second[proper], manifold[proper]
    opposite = np.roll(triangles, -2, axis=1).ravel()
    folded = opposite[first] == opposite[second]
    return _SharedEdges(
        pairs=np.stack([first // 3, second // 3], axis=1),
        start=start[first],
        end=end[first],
        agrees=start[first] != start[second],
        manifold=manifold & ~folded,
        folded=folded,
    )


def _dihedrals(
    shared: _SharedEdges,
    directions: FloatArray,
    lengths: FloatArray,
    corners: FloatArray,
    area_vectors: FloatArray,
) -> FloatArray:
    signs = outward_signs(
        shared.pairs[shared.manifold], shared.agrees[shared.manifold], area_vectors, corners.mean(axis=1)
    )
    outward = trusted_normals(corners, area_vectors) * signs[:, None]
    normals = borrow_normals(outward, shared.pairs, lengths)
    first_sign, second_sign = signs[shared.pairs[:, 0]], signs[shared.pairs[:, 1]]
    agrees = shared.agrees == (first_sign == second_sign)
    angles = signed_dihedrals(normals, shared.pairs, directions * first_sign[:, None], agrees)
    angles[shared.folded] = 0.0  # two copies of one face, not a sharp edge
    return angles
