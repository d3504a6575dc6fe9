# SPDX-License-Identifier: GPL-3.0-or-later
"""Clicks, and the other prompts as clicks: strokes, boxes, lassos, selections and existing parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..mesh_exchange.arrays import BoolArray, FloatArray, IntArray

REGION_CLICKS = 8
"""Clicks that stand for a region: what the network was trained with at most."""

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


def polygon_clicks(
    centers: FloatArray, areas: FloatArray, chosen: BoolArray, *, positive: bool = True
) -> tuple[Click, ...]:
    """Clicks that stand for the chosen polygons.

    centers: float [P, 3], of the polygons, object space; areas: float [P]; chosen: bool [P]
    """
    polygons = np.flatnonzero(chosen)
    if len(polygons) == 0:
        return ()
    weights = np.nan_to_num(areas[polygons]) + 1e-12
    order = spread(centers[polygons], REGION_CLICKS, weights)
    return tuple(
        Click(tuple(centers[polygon].tolist()), polygon, positive) for polygon in polygons[order].tolist()
    )


def pixels_inside(outline: Sequence[tuple[float, float]]) -> FloatArray:
    """Pixels float [N, 2] on a grid inside a closed outline, border included roughly."""
    corners = np.asarray(outline, dtype=np.float64)
    low, high = corners.min(axis=0), corners.max(axis=0)
    steps = (np.arange(GRID_STEPS) + 0.5) / GRID_STEPS
    x, y = np.meshgrid(*(low[axis] + steps * (high[axis] - low[axis]) for axis in (0, 1)))
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    return points[inside_outline(points, corners)]


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


def rectangle(start: tuple[float, float], stop: tuple[float, float]) -> list[tuple[float, float]]:
    """The outline of a box between two opposite corners."""
    return [start, (stop[0], start[1]), stop, (start[0], stop[1])]
