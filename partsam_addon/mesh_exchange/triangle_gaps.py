# SPDX-License-Identifier: GPL-3.0-or-later
"""How near triangles come to each other."""

from __future__ import annotations

import numpy as np

from .arrays import BoolArray, FloatArray

_FLAT = 1e-12
"""Twice the area over the square of the longest side: below it a triangle is but its sides."""


def any_closer(one: FloatArray, other: FloatArray, limits: FloatArray) -> bool:
    """Whether any pair of triangles [K, 3, 3] comes closer than its limit [K], crosses or touches."""
    heights = [_heights(one, other), _heights(other, one)]
    apart = np.zeros(len(one), dtype=bool)
    for height in heights:  # all of a triangle lies on one side of the other's plane, far enough off
        apart |= (height.min(axis=1) >= limits) | (height.max(axis=1) <= -limits)
    one, other, limits = one[~apart], other[~apart], limits[~apart]
    above_one, above_other = (height[~apart] for height in heights)
    found = _faces_meet(one, other, above_one, limits) | _faces_meet(other, one, above_other, limits)
    return bool(found.any()) or _sides_meet(one, other, limits)


def plane_comes_near(corners: FloatArray, low: FloatArray, high: FloatArray, limits: FloatArray) -> BoolArray:
    """Whether the plane of a triangle [K, 3, 3] comes closer to a box [K, 3] than the limit [K], bool [K]."""
    normals = _normals(corners)
    height = np.einsum("ki,ki->k", (low + high) / 2 - corners[:, 0], normals)
    reach = np.einsum("ki,ki->k", (high - low) / 2, np.abs(normals))
    return np.abs(height) - reach < limits


def _normals(corners: FloatArray) -> FloatArray:
    """Unit normals of triangles [K, 3, 3]; zero where one is but its sides."""
    sides = corners - corners[:, [2, 0, 1]]
    normals = np.cross(sides[:, 1], sides[:, 2])
    lengths = np.linalg.norm(normals, axis=1)
    flat = lengths <= _FLAT * np.einsum("kni,kni->kn", sides, sides).max(axis=1)
    return np.where(flat, 0.0, 1.0)[:, None] * normals / np.where(flat, 1.0, lengths)[:, None]


def _heights(plane: FloatArray, corners: FloatArray) -> FloatArray:
    """How far each of the corners [K, 3, 3] is above the plane of a triangle, [K, 3]; 0 above none."""
    return np.einsum("kni,ki->kn", corners - plane[:, :1], _normals(plane))


def _faces_meet(face: FloatArray, other: FloatArray, heights: FloatArray, limits: FloatArray) -> BoolArray:
    """Whether a corner of `other` is above or below `face` and close, or a side goes through it, bool [K].

    heights: of the corners of `other` above the plane of `face`, [K, 3]
    """
    after, rises = np.roll(other, -1, axis=1), heights - np.roll(heights, -1, axis=1)
    crosses = heights * np.roll(heights, -1, axis=1) < 0
    share = heights / np.where(crosses, rises, 1.0)
    through = other + np.where(crosses, share, 0.0)[..., None] * (after - other)
    inside = _above(face, np.concatenate([other, through], axis=1))
    return (inside & np.concatenate([np.abs(heights) < limits[:, None], crosses], axis=1)).any(axis=1)


def _above(face: FloatArray, points: FloatArray) -> BoolArray:
    """Which of the points [K, N, 3] are straight above or below a triangle [K, 3, 3], bool [K, N]."""
    normals = _normals(face)
    within = np.broadcast_to((normals != 0).any(axis=1, keepdims=True), points.shape[:2])
    for corner in range(3):
        side = face[:, (corner + 1) % 3] - face[:, corner]
        inward = np.cross(normals, side)
        within = within & (np.einsum("kni,ki->kn", points - face[:, corner, None], inward) >= 0)
    return within


def _sides_meet(one: FloatArray, other: FloatArray, limits: FloatArray) -> bool:
    """Whether sides of a pair of triangles come closer than its limit."""
    start, along = one[:, :, None], (np.roll(one, -1, axis=1) - one)[:, :, None]
    begin, ahead = other[:, None], (np.roll(other, -1, axis=1) - other)[:, None]
    between = start - begin
    a, e, b = _dot(along, along), _dot(ahead, ahead), _dot(along, ahead)
    c, f = _dot(along, between), _dot(ahead, between)
    # The closest points of two segments: those of their lines, drawn to one segment and then to the other.
    s = _ratio(b * f - c * e, a * e - b * b)
    t = _ratio(b * s + f, e)
    s = _ratio(b * t - c, a)
    gaps = between + s[..., None] * along - t[..., None] * ahead
    return bool((_dot(gaps, gaps) < limits[:, None, None] ** 2).any())


def _dot(left: FloatArray, right: FloatArray) -> FloatArray:
    return np.einsum("...i,...i->...", left, right)


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """A share of a segment, from 0 to 1; 0 where it has no length, or any is as good."""
    above, below = np.broadcast_arrays(above, below)
    return np.clip(np.divide(above, below, out=np.zeros(above.shape), where=below > 0), 0.0, 1.0)
