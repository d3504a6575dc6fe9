# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a part is the exact copy of another: which element is which, and the motion between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from mathutils import Vector
from mathutils.kdtree import KDTree

from ..mesh_exchange.arrays import FloatArray, IntArray
from .topology import PartTopology, WholeMesh

TOLERANCE = 1e-3
"""Share of a part's diagonal by which vertices of a copy may be off."""

_ROUNDS = 3


@dataclass(frozen=True)
class Match:
    """How the second part lies over the first.

    motion: float64 [4, 4], from the first to the second in the space of the whole mesh, with a reflection
        where the second is mirrored
    corners, polygons: for each of the first part the one of the second, as positions in the arrays of
        `PartTopology`
    edge_corners: for each corner of the first part that of the second whose edge is the same
    """

    motion: FloatArray
    corners: IntArray
    polygons: IntArray
    edge_corners: IntArray


def match_parts(
    whole: WholeMesh, first: PartTopology, second: PartTopology, guess: FloatArray
) -> Match | None:
    """The match of two parts of a mesh; None if they are no exact copies.

    guess: about the motion between them, [4, 4]
    """
    if len(first.corners) != len(second.corners) or not len(first.polygons):
        return None
    # Vertices are doubled at UV seams and sharp edges, in any order: what is laid on each other are places.
    here, there = (np.unique(whole.places[part.vertices], return_inverse=True) for part in (first, second))
    points = [whole.positions[places].astype(np.float64) for places in (here[0], there[0])]
    if len(points[0]) != len(points[1]) or not all(np.isfinite(p).all() for p in points):
        return None
    tolerance = TOLERANCE * float(np.linalg.norm(np.ptp(points[0], axis=0)))
    for places, motion in _alignments(points[0], points[1], guess, tolerance):
        mirrored = bool(np.linalg.det(motion[:3, :3]) < 0)
        found = _elements(first, second, places[here[1].ravel()], there[1].ravel(), mirrored=mirrored)
        if found is not None:
            return Match(motion, *found)
    return None


def _alignments(
    here: FloatArray, there: FloatArray, guess: FloatArray, tolerance: float
) -> Iterator[tuple[IntArray, FloatArray]]:
    """Pairings of all places, and motions that lay the first ones on the second within the tolerance."""
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
        motion, places = start, in_order
        for _ in range(_ROUNDS):
            moved = here @ motion[:3, :3].T + motion[:3, 3]
            places = np.array([tree.find(Vector(point))[1] for point in moved.tolist()])
            motion = _fit(here, there[places], mirrored=bool(np.linalg.det(start[:3, :3]) < 0))
        if len(np.unique(places)) == len(places) and _distance(here, there[places], motion) <= tolerance:
            yield places, motion


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
    first: PartTopology, second: PartTopology, here: IntArray, there: IntArray, *, mirrored: bool
) -> tuple[IntArray, IntArray, IntArray] | None:
    """Corners, polygons and corners of the edges (see `Match`); None where the faces are others, or look to
    the other side.

    here, there: the place of each vertex of the first part and of the second, in the same numbers
    """
    parts = list(zip((first, second), (here, there), strict=True))
    # Sums of random numbers tell sets of places apart, whatever their order.
    count = int(here.max()) + 1
    keys = np.random.default_rng(0).integers(2**63, size=count, dtype=np.uint64)
    polygons = _pairing(*(_polygon_keys(part, keys[places]) for part, places in parts))
    if polygons is None:
        return None
    of_corner = [np.repeat(np.arange(len(part.polygon_sizes)), part.polygon_sizes) for part, _ in parts]
    corners = _pairing(
        polygons[of_corner[0]] * count + here[first.corner_vertices],
        of_corner[1] * count + there[second.corner_vertices],
    )
    if corners is None:
        return None
    after, around = _next_corners(first), _next_corners(second)
    if mirrored:
        around = np.argsort(around)
    if not np.array_equal(corners[after], around[corners]):
        return None
    # An edge belongs to the corner at its beginning, which is its end on the mirrored side.
    return corners, polygons, corners[after] if mirrored else corners


def _polygon_keys(part: PartTopology, keys: np.ndarray) -> np.ndarray:
    """A number for the vertices of each polygon, given one for each vertex."""
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
