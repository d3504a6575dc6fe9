# SPDX-License-Identifier: GPL-3.0-or-later
"""Which side of a face is outside, and signed dihedral angles that survive careless winding."""

from __future__ import annotations

import numpy as np

from ..geometry import Mesh, face_centroids
from ..geometry.mesh import FloatArray, IntArray
from ..geometry.rows import blocks, lengths
from .components import connected_nodes

_CLEAR_VOLUME = 1e-3
"""A component whose signed volume is below this x area^1.5 (a ball has 0.094) has no clear inside."""

_NEARLY_CLOSED = 0.2
"""The area vectors of a closed surface cancel; left over with more than this share of the area (a bowl: 0.5)
a component is an open sheet, of which only its author knows the front."""

_SLIVER_HEIGHT = 1e-5
"""A face lower than this share of its longest side has no trustworthy normal of its own."""


def outward_signs(component: IntArray, pairs: IntArray, agrees: np.ndarray, mesh: Mesh) -> FloatArray:
    """+1 for faces of `mesh` whose winding can stay, -1 for those that must be turned round, float64 [F].

    component: int [F], of each face under `pairs`
    pairs: int [M, 2], faces that share a manifold edge
    agrees: bool [M], whether both wind the same way round

    Each component is made consistent, if it can be (a Moebius strip stays as it is). If it is nearly
    closed, it is turned so that its volume is positive; else the winding of the larger area stays.
    """
    flipped = _consistent_flips(component, pairs, agrees)
    areas = mesh.areas
    component = component.astype(np.intp, copy=False)  # once, not in every count
    sizes = np.bincount(component, areas).astype(np.float64, copy=False)
    signs = np.where(flipped, -1.0, 1.0)
    balance = np.bincount(component, areas * signs)
    volume = np.bincount(component, signs * _heights(mesh, component, sizes)) / 3
    leftover = np.stack([np.bincount(component, signs * axis) for axis in mesh.area_vectors.T], axis=1) / 2
    closed = np.linalg.norm(leftover, axis=1) < _NEARLY_CLOSED * sizes
    clear = closed & (np.abs(volume) > _CLEAR_VOLUME * sizes**1.5)
    turn = np.where(clear, volume < 0, balance < 0)
    return np.where(turn[component], -signs, signs)


def _heights(mesh: Mesh, component: IntArray, sizes: FloatArray) -> FloatArray:
    """How far each face lies in front of its component's center, times its area, float64 [F].

    component: int [F]; sizes: float64 [C], areas of the components
    """
    centroids = face_centroids(mesh)
    sums = [np.bincount(component, mesh.areas * axis) for axis in centroids.T]
    centers = np.stack(sums, axis=1) / np.where(sizes > 0, sizes, 1.0)[:, None]
    heights = np.empty(mesh.face_count)
    for rows in blocks(mesh.face_count):
        offsets = centroids[rows] - centers.take(component[rows], axis=0)
        x, y, z = (offsets * mesh.area_vectors[rows]).T
        heights[rows] = (x + y + z) / 2
    return heights


def _consistent_flips(component: IntArray, pairs: IntArray, agrees: np.ndarray) -> np.ndarray:
    """Whether each face must flip to wind like its component's first face, bool [F].

    Solved on the double cover: face f as it is (f) and turned (f + count). An edge whose faces agree
    joins equal states, any other joins opposite ones; components of the cover are consistent windings.
    """
    count = len(component)
    if agrees.all():
        return np.zeros(count, dtype=bool)
    first, second = pairs[:, 0], pairs[:, 1]
    crossing = np.where(agrees, 0, count)
    cover = np.concatenate(
        [
            np.stack([first, second + crossing], axis=1),
            np.stack([first + count, second + count - crossing], axis=1),
        ]
    )
    state = connected_nodes(2 * count, cover)
    representative = np.zeros(int(component.max()) + 1, dtype=np.int64)
    representative[component[::-1]] = np.arange(count)[::-1]
    orientable = state[:count] != state[count:]
    return orientable & (state[:count] != state[representative[component]])


def trusted_normals(area_vectors: FloatArray, longest: FloatArray) -> FloatArray:
    """Unit normals, float64 [F, 3]; zero for slivers and collapsed faces.

    area_vectors: float64 [F, 3], as `Mesh` has them; longest: float64 [F], square of each face's longest side
    """
    doubled = lengths(area_vectors)
    trusted = (doubled > _SLIVER_HEIGHT * longest) & (doubled > 0)
    factor = np.divide(1.0, doubled, out=np.zeros_like(doubled), where=trusted)
    return area_vectors * factor[:, None]


def borrow_normals(
    normals: FloatArray, pairs: IntArray, lengths: FloatArray, *, rounds: int = 3
) -> FloatArray:
    """Give faces without a normal that of the neighbour across their longest edge.

    So a sliver between two faces passes their crease on instead of hiding it. Chains of slivers
    fill from their ends, one face a round.
    """
    missing = _without_direction(normals)
    if not missing.any():
        return normals
    normals = normals.copy()
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both_lengths = np.concatenate([lengths, lengths])
    relevant = missing[both[:, 0]]
    both, both_lengths = both[relevant], both_lengths[relevant]
    both = both[np.argsort(both_lengths, kind="stable")]  # the longest comes last and wins
    for _ in range(rounds):
        fillable = missing[both[:, 0]] & ~missing[both[:, 1]]
        if not fillable.any():
            break
        normals[both[fillable, 0]] = normals[both[fillable, 1]]
        missing = _without_direction(normals)
    return normals


def _without_direction(normals: FloatArray) -> np.ndarray:
    x, y, z = normals.T
    return np.asarray((x == 0) & (y == 0) & (z == 0))


def signed_dihedrals(
    normals: FloatArray, pairs: IntArray, directions: FloatArray, agrees: np.ndarray
) -> FloatArray:
    """Signed angle between the normals of two faces at their common edge, radians, float64 [M].

    normals: float64 [F, 3], outward, zero where unknown (gives angle 0)
    directions: float64 [M, 3], the edge as the first face runs along it (any length)
    agrees: bool [M], whether both wind the same way round; where not, the second normal is turned

    0 is flat, positive a ridge (convex), negative a valley (concave).
    """
    first, second = normals.take(pairs.T, axis=0).transpose(0, 2, 1)
    second = second * np.where(agrees, 1.0, -1.0)
    along, long = directions.T, lengths(directions)
    x, y, z = (_cross(first, second, axis) * along[axis] for axis in range(3))
    sine = x + y + z
    sine = np.divide(sine, long, out=np.zeros_like(long), where=long > 0)
    angles: FloatArray = np.arctan2(sine, (first * second).sum(axis=0))
    return angles


def _cross(first: FloatArray, second: FloatArray, axis: int) -> FloatArray:
    """One coordinate of the cross product of vectors in columns [3, N]."""
    left, right = (axis + 1) % 3, (axis + 2) % 3
    return first[left] * second[right] - first[right] * second[left]
