# SPDX-License-Identifier: GPL-3.0-or-later
"""Polygons to triangles, and per-corner data to per-vertex data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..geometry.mesh import FloatArray, IntArray

_FLAT = 1e-9
"""Turns below this share of a polygon's area are straight on: rounding must not make a polygon concave."""


def triangulate(positions: FloatArray, corners: IntArray, sizes: IntArray) -> NDArray[np.int64]:
    """Split polygons into triangles: convex ones into fans, concave ones by ear clipping.

    positions: float [V, 3]; corners: int [C], vertices of all polygons, one after the other
    sizes: int [N], corners of each polygon; those with fewer than three give no triangle

    Returns places int64 [T, 3] in `corners`, in the order of the polygons.
    """
    sizes = np.asarray(sizes, dtype=np.int64)
    places = fan_corners(sizes)
    starts = np.cumsum(sizes) - sizes
    first = np.cumsum(np.maximum(sizes - 2, 0)) - np.maximum(sizes - 2, 0)
    for size in np.unique(sizes[sizes > 3]):
        chosen = np.flatnonzero(sizes == size)
        rings = positions[corners[starts[chosen][:, None] + np.arange(size)]]
        normals, turns = _turns(rings)
        concave = np.flatnonzero((turns < -_FLAT).any(axis=1))
        if size == 4:
            # A fan around the reflex corner; real files have too many such quads for a loop.
            fans = (turns[concave].argmin(axis=1)[:, None] + [0, 1, 2, 0, 2, 3]) % 4
            rows = first[chosen[concave]][:, None] + [0, 1]
            places[rows] = (starts[chosen[concave]][:, None] + fans).reshape(-1, 2, 3)
            continue
        for row in concave:
            polygon = chosen[row]
            ears = _clip_ears(_flattened(rings[row], normals[row]))
            places[first[polygon] : first[polygon] + size - 2] = starts[polygon] + ears
    return places


def fan_corners(sizes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Split polygons into fans around their first corner.

    sizes: int [N], corners of each polygon; those with fewer than three give no triangle

    Returns positions int64 [T, 3] in the flat list of all corners, polygon after polygon. Exact for
    convex polygons.
    """
    sizes = np.asarray(sizes, dtype=np.int64)
    counts = np.maximum(sizes - 2, 0)
    first = np.repeat(np.cumsum(sizes) - sizes, counts)
    step = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.column_stack([first, first + step + 1, first + step + 2])


def split_vertices(
    corners: NDArray[np.integer], data: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.floating]]:
    """Give each distinct (vertex, data) pair a vertex of its own, as glTF needs.

    corners: int [C], vertex of each corner; data: float [C, n] of each corner

    Returns (new vertex of each corner [C], old vertex of each new one [V], data of each new one [V, n]).
    """
    _, data_ids = np.unique(data, axis=0, return_inverse=True)
    keys = corners.astype(np.int64) * (int(data_ids.max(initial=0)) + 1) + data_ids.reshape(-1)
    _, first, new = np.unique(keys, return_index=True, return_inverse=True)
    return new.reshape(-1), corners[first].astype(np.int64), data[first]


def _turns(rings: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(unit normals [N, 3] by Newell's method, turn at each corner [N, k] as a share of the area).

    rings: float [N, k, 3]. A turn below 0 is a reflex corner.
    """
    forward = np.roll(rings, -1, axis=1) - rings
    normals = np.cross(rings - rings[:, :1], np.roll(rings, -1, axis=1) - rings[:, :1]).sum(axis=1)
    doubled = np.linalg.norm(normals, axis=1)
    safe = np.where(doubled > 0, doubled, 1)
    normals = normals / safe[:, None]
    crosses = np.cross(np.roll(forward, 1, axis=1), forward)
    return normals, np.einsum("nkc,nc->nk", crosses, normals) / safe[:, None]


def _flattened(ring: FloatArray, normal: FloatArray) -> FloatArray:
    """The polygon [k, 3] in its plane [k, 2], counter-clockwise."""
    axis = np.eye(3)[np.abs(normal).argmin()]
    across = np.cross(normal, axis)
    across /= np.linalg.norm(across)
    return (ring - ring[0]) @ np.column_stack([across, np.cross(normal, across)])


def _clip_ears(ring: FloatArray) -> NDArray[np.int64]:
    """Triangles int64 [k - 2, 3] of a simple polygon [k, 2], by ear clipping (Meisters 1975).

    Among the ears the one with the widest smallest side is cut first. A polygon that crosses itself has
    corners that are no ears; those are cut all the same, so that the count holds.
    """
    left = list(range(len(ring)))
    scores = [_ear_score(ring, left, place) for place in left]
    triangles = []
    while len(left) > 3:
        if max(scores) < 0:
            # What was cut may have stood in the way of others.
            scores = [_ear_score(ring, left, place) for place in range(len(left))]
        place = int(np.argmax(scores))
        triangles.append([left[place - 1], left[place], left[(place + 1) % len(left)]])
        del left[place], scores[place]
        for near in (place - 1, place % len(left)):
            scores[near] = _ear_score(ring, left, near % len(left))
    return np.array([*triangles, left], dtype=np.int64)


def _ear_score(ring: FloatArray, left: list[int], place: int) -> float:
    """How good an ear the corner at `place` is: its smallest sine; below 0 if it is none."""
    a, b, c = (ring[left[(place + step) % len(left)]] for step in (-1, 0, 1))
    doubled = _cross(b - a, c - b)
    longest = max(np.dot(b - a, b - a), np.dot(c - b, c - b), np.dot(a - c, a - c))
    if doubled <= 0 or longest == 0:
        return -1.0
    others = ring[[corner for step, corner in enumerate(left) if (step - place + 1) % len(left) > 2]]
    sides = np.stack([_cross(q - p, others - p) for p, q in ((a, b), (b, c), (c, a))])
    # A corner on the rim (a hole's bridge visits its ends twice) does not lie inside.
    rim = _FLAT * longest
    inside = (sides > -rim).all(axis=0) & ((sides > rim).sum(axis=0) >= 2)
    return -1.0 if inside.any() else float(doubled / longest)


def _cross(first: FloatArray, second: FloatArray) -> FloatArray:
    """z of the cross product of plane vectors [..., 2]."""
    return first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
