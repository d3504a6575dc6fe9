# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user can say about a part, as values: clicks, outlines and faces.

The network knows clicks; each other kind says which clicks stand for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..mesh_exchange.arrays import BoolArray, FloatArray, IntArray

REGION_CLICKS = 8
"""Clicks that stand for a region: what the network was trained with at most."""

OUTLINE_CLICKS = 6
"""Clicks that stand for an outline on the screen."""

GRID_STEPS = 12
"""Places along each side of a box at which the surface is looked up."""


@dataclass(frozen=True)
class Click:
    """A point on the mesh that was encoded.

    place: in object space
    polygon: the base polygon; -1 where a modifier made it anew
    positive: the part is here; else: it is not
    anchor: vertices of the seen surface and their weights, by which the dot is drawn
    """

    place: tuple[float, float, float]
    polygon: int
    positive: bool
    anchor: tuple[tuple[int, int, int], tuple[float, float, float]] | None = None

    def mirrored(self) -> Click:
        """The click on the other side of the object's X axis; its polygon is not known."""
        return replace(self, place=(-self.place[0], *self.place[1:]), polygon=-1, anchor=None)


def mirrored(clicks: Sequence[Click]) -> tuple[Click, ...]:
    """The same clicks on the other side of the object's X axis."""
    return tuple(click.mirrored() for click in clicks)


def spread(points: FloatArray, count: int, weights: FloatArray | None = None) -> IntArray:
    """Up to `count` of points [N, D] far from each other, int [K]; the first near the weighted middle."""
    if len(points) <= count:
        return np.arange(len(points))
    middle = np.average(points, axis=0, weights=weights)
    chosen = [int(np.argmin(np.linalg.norm(points - middle, axis=1)))]
    distance = np.linalg.norm(points - points[chosen[0]], axis=1)
    while len(chosen) < count:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen)


@dataclass(frozen=True)
class Faces:
    """Faces of the mesh that are the part, or not: a selection, or an existing part. chosen: bool [P]"""

    chosen: BoolArray
    positive: bool = True

    def clicks(self, centers: FloatArray, areas: FloatArray) -> tuple[Click, ...]:
        """Clicks that stand for them. centers: float [P, 3], object space; areas: float [P], of all faces"""
        polygons = np.flatnonzero(self.chosen)
        if len(polygons) == 0:
            return ()
        weights = np.nan_to_num(areas[polygons]) + 1e-12
        order = spread(centers[polygons], REGION_CLICKS, weights)
        return tuple(
            Click(tuple(centers[polygon].tolist()), polygon, self.positive)
            for polygon in polygons[order].tolist()
        )


@dataclass(frozen=True)
class Outline:
    """A closed line on the screen around the part, or around what is not. corners: in pixels"""

    corners: tuple[tuple[float, float], ...]
    positive: bool = True

    @classmethod
    def box(cls, start: tuple[float, float], stop: tuple[float, float], *, positive: bool = True) -> Outline:
        """Between two opposite corners."""
        return cls((start, (stop[0], start[1]), stop, (start[0], stop[1])), positive)

    def pixels(self) -> FloatArray:
        """Pixels float [N, 2] on a grid inside, border included roughly."""
        corners = np.asarray(self.corners, dtype=np.float64)
        low, high = corners.min(axis=0), corners.max(axis=0)
        steps = (np.arange(GRID_STEPS) + 0.5) / GRID_STEPS
        x, y = np.meshgrid(*(low[axis] + steps * (high[axis] - low[axis]) for axis in (0, 1)))
        points = np.stack([x.ravel(), y.ravel()], axis=1)
        return points[inside_outline(points, corners)]

    def clicks(self, seen: Sequence[Click]) -> tuple[Click, ...]:
        """Clicks that stand for it, of those that were found under its pixels."""
        if not seen:
            return ()
        chosen = spread(np.array([click.place for click in seen]), OUTLINE_CLICKS)
        return tuple(replace(seen[index], positive=self.positive) for index in chosen.tolist())


def inside_outline(points: FloatArray, outline: FloatArray) -> BoolArray:
    """Which of points [N, 2] lie inside a closed outline [K, 2], by the even-odd rule."""
    inside = np.zeros(len(points), dtype=bool)
    x, y = points[:, 0], points[:, 1]
    for (ax, ay), (bx, by) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        if ay == by:
            continue
        crosses = (ay > y) != (by > y)
        inside ^= crosses & (x < (bx - ax) * (y - ay) / (by - ay) + ax)
    return inside
