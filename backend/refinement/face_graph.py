# SPDX-License-Identifier: GPL-3.0-or-later
"""The graph over a mesh's faces along which labels are smoothed, dissolved and connected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry import Mesh, face_centroids, validate_mesh
from ..geometry.mesh import FloatArray, IntArray, used_vertices
from ..geometry.rows import extents
from ..geometry.rows import lengths as row_lengths
from .components import connected_nodes
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

    @property
    def borders(self) -> IntArray:
        """The edges without links, int32 [E', 2]."""
        return self.edges[~self.is_link] if self.is_link.any() else self.edges


@dataclass(frozen=True)
class _SharedEdges:
    """Face pairs across mesh edges: `pairs` int32 [M, 2]; `ends` int32 [M, 2], the edge's welded vertices as
    the first face runs along it; `agrees`, whether the second runs the other way; `manifold`, whether nobody
    else shares the edge; `folded`, whether both faces have the same third corner."""

    pairs: IntArray
    ends: IntArray
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
    vertex_group, places = weld_vertices(mesh.vertices, tolerance=weld_tolerance)
    shared = _shared_edges(vertex_group.astype(np.int32)[mesh.triangles])
    directions = places.take(shared.ends[:, 1], axis=0)
    directions -= places.take(shared.ends[:, 0], axis=0)
    lengths = row_lengths(directions)
    shells = connected_nodes(mesh.face_count, shared.pairs)
    dihedral = _dihedrals(mesh, shared, shells, directions, lengths)

    diagonal = float(np.linalg.norm(extents(mesh.vertices)))
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


def _without_unused_vertices(mesh: Mesh) -> Mesh:
    """Vertices that no face uses may be anything, NaN included; leave them out."""
    used = used_vertices(mesh)
    if used.all():
        return mesh
    return Mesh(mesh.vertices[used], (np.cumsum(used) - 1)[mesh.triangles])


def _shared_edges(triangles: IntArray) -> _SharedEdges:
    """Pairs of faces across each edge of welded `triangles` int32 [F, 3]; collapsed edges are no edges."""
    start, end = triangles.ravel(), np.roll(triangles, -1, axis=1).ravel()
    key: IntArray = np.minimum(start, end).astype(np.int64)
    key *= int(triangles.max()) + 1
    key += np.maximum(start, end)
    half_edges: IntArray = np.arange(len(key), dtype=np.int32)
    proper = start != end
    if not proper.all():
        half_edges, key = half_edges[proper], key[proper]
    key, half_edges = _sorted_edges(key, half_edges)
    follows = np.zeros(len(key) + 1, dtype=bool)  # whether an edge is the same as the one before
    np.equal(key[1:], key[:-1], out=follows[1:-1])
    firsts, seconds, manifolds = [], [], []
    for step in range(1, _JOINED_PER_EDGE + 1):
        same = np.flatnonzero(key[step:] == key[:-step] if step > 1 else follows[1:-1])
        if len(same) == 0:
            break
        firsts.append(half_edges[same])
        seconds.append(half_edges[same + step])
        manifolds.append(~follows[same] & ~follows[same + 2] if step == 1 else np.zeros(len(same), bool))
    if not firsts:
        nothing, no_flags = np.zeros((0, 2), dtype=np.int32), np.zeros(0, dtype=bool)
        return _SharedEdges(nothing, nothing, no_flags, no_flags, no_flags)
    del key, follows
    return _joined(triangles, np.concatenate(firsts), np.concatenate(seconds), np.concatenate(manifolds))


def _sorted_edges(key: IntArray, half_edges: IntArray) -> tuple[IntArray, IntArray]:
    """`half_edges` int32 [H], ascending, in the order of their `key` int64 [H], which is used up.

    Both fit into one number up to some two million faces: sorting that takes half of what an order does.
    """
    bits = int(half_edges.max(initial=0)).bit_length()
    if int(key.max(initial=0)) >> (63 - bits):
        order = np.argsort(key, kind="stable")
        return key[order], half_edges[order]
    key <<= bits
    key |= half_edges
    key.sort()
    half_edges = (key & ((1 << bits) - 1)).astype(np.int32)
    key >>= bits
    return key, half_edges


def _joined(triangles: IntArray, first: IntArray, second: IntArray, manifold: np.ndarray) -> _SharedEdges:
    """Of pairs of half edges, int32 [M] each: half edge 3 f + c leaves corner c of face f."""
    pairs = np.stack([first // 3, second // 3], axis=1)
    proper = pairs[:, 0] != pairs[:, 1]  # a collapsed face meets itself
    if not proper.all():
        first, second, manifold, pairs = first[proper], second[proper], manifold[proper], pairs[proper]
    start, end, opposite = (np.roll(triangles, -turn, axis=1).ravel() for turn in range(3))
    folded = opposite[first] == opposite[second]
    ends = np.stack([start[first], end[first]], axis=1)
    return _SharedEdges(pairs, ends, ends[:, 0] != start[second], manifold & ~folded, folded)


def _dihedrals(
    mesh: Mesh, shared: _SharedEdges, shells: IntArray, directions: FloatArray, lengths: FloatArray
) -> FloatArray:
    """Signed angles float64 [M]. shells: int [F], components over all pairs. Uses up `directions` [M, 3]."""
    area_vectors = 0.5 * mesh.area_vectors
    pairs, agrees, components = shared.pairs, shared.agrees, shells
    if not shared.manifold.all():
        pairs, agrees = pairs[shared.manifold], agrees[shared.manifold]
        components = connected_nodes(mesh.face_count, pairs)
    signs = outward_signs(components, pairs, agrees, area_vectors, face_centroids(mesh))
    outward = trusted_normals(area_vectors, _longest_sides(mesh))
    outward *= signs[:, None]
    normals = borrow_normals(outward, shared.pairs, lengths)
    first_sign, second_sign = signs[shared.pairs[:, 0]], signs[shared.pairs[:, 1]]
    directions *= first_sign[:, None]
    angles = signed_dihedrals(normals, shared.pairs, directions, shared.agrees == (first_sign == second_sign))
    angles[shared.folded] = 0.0  # two copies of one face, not a sharp edge
    return angles


def _longest_sides(mesh: Mesh) -> FloatArray:
    """Square of the longest side of each face, float64 [F]."""
    corners = [mesh.vertices.take(corner, axis=0) for corner in mesh.triangles.T]
    longest = np.zeros(mesh.face_count)
    for i in range(3):
        side = corners[i] - corners[i - 1]
        np.maximum(longest, sum(axis**2 for axis in side.T), out=longest)
    return longest
