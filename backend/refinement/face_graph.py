# SPDX-License-Identifier: GPL-3.0-or-later
"""The graph over a mesh's faces along which labels are smoothed, dissolved and connected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import Mesh, validate_mesh
from ..geometry.mesh import FloatArray, IntArray, used_vertices
from ..geometry.rows import blocks, extents
from ..geometry.rows import lengths as row_lengths
from .components import connected_nodes
from .shell_links import link_near_shells, no_links
from .welding import weld_vertices
from .winding import borrow_normals, outward_signs, signed_dihedrals, trusted_normals

_JOINED_PER_EDGE = 7
"""Around one edge each face is joined with this many that follow: all pairs up to 8 faces, linear beyond."""

_AFTER, _OPPOSITE = np.array([1, 1, -2], dtype=np.int32), np.array([2, -1, -1], dtype=np.int32)
"""From each half edge of a face to the one after it, and to the one that starts opposite."""


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
    outward: int8 [F], 1 where a face's corners run so that its normal points outwards, -1 where it points
        inwards; None where that is not known
    """

    face_areas: FloatArray
    edges: IntArray
    edge_length: FloatArray
    dihedral: FloatArray
    is_link: np.ndarray
    shells: IntArray
    diagonal: float
    outward: NDArray[np.int8] | None = None

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
    lengths = np.empty(len(shared.ends))
    for rows in blocks(len(lengths)):
        lengths[rows] = row_lengths(_directions(places, shared.ends[rows]))
    sheets, shells = _components(mesh.face_count, shared)
    signs = _outward(mesh, shared, sheets)
    dihedral = _dihedrals(mesh, shared, signs, places, lengths)

    diagonal = float(np.linalg.norm(extents(mesh.vertices)))
    links, link_lengths = link_near_shells(mesh, shells, diagonal=diagonal) if link_shells else no_links()
    return FaceGraph(
        face_areas=mesh.areas,
        edges=np.concatenate([shared.pairs, links.astype(np.int32)]),
        edge_length=np.concatenate([lengths, link_lengths]),
        dihedral=np.concatenate([dihedral, np.zeros(len(links))]),
        is_link=np.repeat([False, True], [len(lengths), len(links)]),
        shells=shells,
        diagonal=diagonal,
        outward=signs.astype(np.int8),
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
    pairs = np.empty((len(first), 2), dtype=np.int32)
    np.floor_divide(first, 3, out=pairs[:, 0])
    np.floor_divide(second, 3, out=pairs[:, 1])
    proper = pairs[:, 0] != pairs[:, 1]  # a collapsed face meets itself
    if not proper.all():
        first, second, manifold, pairs = first[proper], second[proper], manifold[proper], pairs[proper]
    ends, agrees, folded = np.empty_like(pairs), np.empty_like(manifold), np.empty_like(manifold)
    corners = triangles.ravel()
    for rows in blocks(len(pairs)):
        start, end, opposite = _corners(corners, first[rows], pairs[rows, 0])
        other_start, _, other_opposite = _corners(corners, second[rows], pairs[rows, 1])
        ends[rows, 0], ends[rows, 1] = start, end
        np.not_equal(start, other_start, out=agrees[rows])
        np.equal(opposite, other_opposite, out=folded[rows])
    return _SharedEdges(pairs, ends, agrees, manifold & ~folded, folded)


def _corners(corners: IntArray, half_edges: IntArray, faces: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Where half edges int32 [M] of faces [M] start and end, and the third corner of their faces: int32 [M]
    each. corners: int32 [3 F], of all faces"""
    corner = half_edges - 3 * faces
    after, opposite = half_edges + _AFTER.take(corner), half_edges + _OPPOSITE.take(corner)
    return corners.take(half_edges), corners.take(after), corners.take(opposite)


def _directions(places: FloatArray, ends: IntArray) -> FloatArray:
    """From the first to the second of the ends int [M, 2] of edges, float64 [M, 3]."""
    directions = places.take(ends[:, 1], axis=0)
    directions -= places.take(ends[:, 0], axis=0)
    return directions


def _components(count: int, shared: _SharedEdges) -> tuple[IntArray, IntArray]:
    """The component of each of `count` faces, int32 [F] each, over manifold edges and over all."""
    if shared.manifold.all():
        shells = connected_nodes(count, shared.pairs)
        return shells, shells
    sheets = connected_nodes(count, shared.pairs[shared.manifold])
    between = sheets.take(shared.pairs[~shared.manifold])
    return sheets, connected_nodes(int(sheets.max()) + 1, between).take(sheets)


def _outward(mesh: Mesh, shared: _SharedEdges, sheets: IntArray) -> FloatArray:
    """1 or -1 for each face, float64 [F]. sheets: int [F], components over manifold edges"""
    pairs, agrees = shared.pairs, shared.agrees
    if not shared.manifold.all():
        pairs, agrees = pairs[shared.manifold], agrees[shared.manifold]
    return outward_signs(sheets, pairs, agrees, mesh)


def _dihedrals(
    mesh: Mesh, shared: _SharedEdges, signs: FloatArray, places: FloatArray, lengths: FloatArray
) -> FloatArray:
    """Signed angles float64 [M]. signs: float64 [F], `_outward`; places: float64 [G, 3], of the welded
    vertices; lengths: float64 [M], of the edges."""
    normals = borrow_normals(_outward_normals(mesh, signs), shared.pairs, lengths)
    angles = np.empty(len(shared.pairs))
    for rows in blocks(len(angles)):
        pairs = shared.pairs[rows]
        first_sign, second_sign = signs.take(pairs[:, 0]), signs.take(pairs[:, 1])
        directions = _directions(places, shared.ends[rows])
        directions *= first_sign[:, None]
        agrees = shared.agrees[rows] == (first_sign == second_sign)
        angles[rows] = signed_dihedrals(normals, pairs, directions, agrees)
    angles[shared.folded] = 0.0  # two copies of one face, not a sharp edge
    return angles


def _outward_normals(mesh: Mesh, signs: FloatArray) -> FloatArray:
    """Unit normals turned by signs [F], float64 [F, 3]; zero where a face has none to trust."""
    outward = np.empty((mesh.face_count, 3))
    for rows in blocks(mesh.face_count):
        longest = _longest_sides(mesh.vertices, mesh.triangles[rows])
        outward[rows] = trusted_normals(mesh.area_vectors[rows], longest)
        outward[rows] *= signs[rows, None]
    return outward


def _longest_sides(vertices: FloatArray, triangles: IntArray) -> FloatArray:
    """Square of the longest side of each face, float64 [F]."""
    corners = [vertices.take(corner, axis=0) for corner in triangles.T]
    longest = np.zeros(len(triangles))
    for i in range(3):
        side = corners[i] - corners[i - 1]
        np.maximum(longest, sum(axis**2 for axis in side.T), out=longest)
    return longest
