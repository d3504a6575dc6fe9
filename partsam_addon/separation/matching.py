# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a part is the exact copy of another: which element is which, and the motion between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from mathutils import Vector
from mathutils.kdtree import KDTree

from ..mesh_exchange.arrays import FloatArray, IntArray
from .topology import PartTopology

TOLERANCE = 1e-3
"""Share of a part's diagonal by which vertices of a copy may be off."""

_ROUNDS = 3


@dataclass(frozen=True)
class Match:
    """How the second part lies over the first.

    motion: float64 [4, 4], from the first to the second in the space of the whole mesh, with a reflection
        where the second is mirrored
    vertices, edges, corners, polygons: for each element of the first part the one of the second, as positions
        in the arrays of `PartTopology`
    """

    motion: FloatArray
    vertices: IntArray
    edges: IntArray
    corners: IntArray
    polygons: IntArray


def match_parts(
    positions: FloatArray, first: PartTopology, second: PartTopology, guess: FloatArray
) -> Match | None:
    """The match of two parts of a mesh with these vertex positions [V, 3]; None if they are no exact copies.

    guess: about the motion between them, [4, 4]
    """
    shapes = [
        (len(part.vertices), len(part.edges), len(part.corners), len(part.polygons))
        for part in (first, second)
    ]
    if shapes[0] != shapes[1] or not len(first.polygons):
        return None
    here, there = (positions[part.vertices].astype(np.float64) for part in (first, second))
    if not (np.isfinite(here).all() and np.isfinite(there).all()):
        return None
    tolerance = TOLERANCE * float(np.linalg.norm(np.ptp(here, axis=0)))
    for vertices, motion in _alignments(here, there, guess, tolerance):
        found = _elements(first, second, vertices, mirrored=bool(np.linalg.det(motion[:3, :3]) < 0))
        if found is not None:
            return Match(motion, vertices, *found)
    return None


def _alignments(
    here: FloatArray, there: FloatArray, guess: FloatArray, tolerance: float
) -> Iterator[tuple[IntArray, FloatArray]]:
    """Pairings of all vertices, and motions that lay the first ones on the second within the tolerance."""
    in_order = np.arange(len(here))
    for mirrored in (False, True):
        motion = _fit(here, there, mirrored=mirrored)
        if _distance(here, there, motion) <= tolerance:
            yield in_order, motion
    tree = KDTree(len(there))
    for index, point in enumerate(there.tolist()):
        tree.insert(Vector(point), index)
    tree.balance()
    for start in _starts(here, there, guess):
        motion, vertices = start, in_order
        for _ in range(_ROUNDS):
            moved = here @ motion[:3, :3].T + motion[:3, 3]
            vertices = np.array([tree.find(Vector(point))[1] for point in moved.tolist()])
            motion = _fit(here, there[vertices], mirrored=bool(np.linalg.det(start[:3, :3]) < 0))
        if len(np.unique(vertices)) == len(vertices) and (
            _distance(here, there[vertices], motion) <= tolerance
        ):
            yield vertices, motion


def _starts(here: FloatArray, there: FloatArray, guess: FloatArray) -> Iterator[FloatArray]:
    """Motions to begin with: no turn, what was found roughly, and the plain mirrors."""
    for turn in (
        np.eye(3),
        guess[:3, :3],
        *(np.diag(np.where(np.arange(3) == k, -1.0, 1.0)) for k in range(3)),
    ):
        start = np.eye(4)
        start[:3, :3] = turn
        start[:3, 3] = there.mean(axis=0) - turn @ here.mean(axis=0)
        yield start


def _fit(here: FloatArray, there: FloatArray, *, mirrored: bool) -> FloatArray:
    """The rigid motion [4, 4], or motion with reflection, that lays points on others (W. Kabsch, 1976)."""
    middles = here.mean(axis=0), there.mean(axis=0)
    left, _, right = np.linalg.svd((there - middles[1]).T @ (here - middles[0]))
    handed = -1.0 if mirrored else 1.0
    turn = left @ np.diag([1.0, 1.0, handed * np.sign(np.linalg.det(left @ right))]) @ right
    motion = np.eye(4)
    motion[:3, :3] = turn
    motion[:3, 3] = middles[1] - turn @ middles[0]
    return motion


def _distance(here: FloatArray, there: FloatArray, motion: FloatArray) -> float:
    moved = here @ motion[:3, :3].T + motion[:3, 3]
    return float(np.linalg.norm(moved - there, axis=1).max())


def _elements(
    first: PartTopology, second: PartTopology, vertices: IntArray, *, mirrored: bool
) -> tuple[IntArray, IntArray, IntArray] | None:
    """Edges, corners and polygons of `second` for those of `first`; None where they hang together otherwise,
    or the faces look to the other side.
    """
    # Sums of random numbers tell sets of vertices apart, whatever their order.
    keys = np.random.default_rng(0).integers(2**63, size=len(vertices), dtype=np.uint64)
    own = [keys[vertices], keys]
    edges = _pairing(
        *(k[part.edge_vertices].sum(axis=1) for k, part in zip(own, (first, second), strict=True))
    )
    polygons = _pairing(*(_polygon_keys(part, k) for k, part in zip(own, (first, second), strict=True)))
    if edges is None or polygons is None:
        return None
    count = np.int64(len(vertices))
    of_corner = [np.repeat(np.arange(len(p.polygon_sizes)), p.polygon_sizes) for p in (first, second)]
    corners = _pairing(
        polygons[of_corner[0]] * count + vertices[first.corner_vertices],
        of_corner[1] * count + second.corner_vertices,
    )
    if corners is None:
        return None
    after, before = _next_corners(first), _next_corners(second)
    if mirrored:
        before = np.argsort(before)
    same_side = np.array_equal(corners[after], before[corners])
    return (edges, corners, polygons) if same_side else None


def _polygon_keys(part: PartTopology, keys: np.ndarray) -> np.ndarray:
    starts = np.cumsum(part.polygon_sizes) - part.polygon_sizes
    return np.add.reduceat(keys[part.corner_vertices], starts)


def _next_corners(part: PartTopology) -> IntArray:
    """The corner after each one around its polygon [c]."""
    stops = np.cumsum(part.polygon_sizes)
    after = np.arange(1, len(part.corner_vertices) + 1)
    after[stops - 1] = stops - part.polygon_sizes
    return after


def _pairing(first: np.ndarray, second: np.ndarray) -> IntArray | None:
    """For each entry of `first` the place of the equal one in `second`; None unless they pair one to one."""
    order = np.argsort(first), np.argsort(second)
    ordered = first[order[0]]
    if not np.array_equal(ordered, second[order[1]]) or (ordered[1:] == ordered[:-1]).any():
        return None
    result = np.empty(len(first), dtype=np.int64)
    result[order[0]] = order[1]
    return result
