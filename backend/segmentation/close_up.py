# SPDX-License-Identifier: GPL-3.0-or-later
"""Close-ups: a ball of the surface, sampled and encoded anew with as many points as the whole shape.

A screw head of a thousandth of the surface has a dozen of the whole shape's points; in a close-up it has
hundreds. The network was trained on such balls, too, and on parts of the size that they then have.

After one click only a size that the user tells says that a part is small; after several the mask does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..geometry import Mesh, sample_surface
from ..geometry.mesh import NEUTRAL_GREY, FloatArray, IntArray
from ..geometry.sampling import PointSample
from ..nearest import nearest_faced
from ..network import regions_in_view
from ..network.sparse_logits import CLEARLY_OUTSIDE
from .encoded_shape import EncodedShape, PlacedRegions

FINE_SIZE = 0.02
"""Parts that are said to take a smaller share of the surface are worth a close-up."""
SMALL_ANSWER = 0.05
"""So are masks below this share that several clicks were answered with."""

_BALL_SHARES = (0.04, 0.125)
"""Shares of the surface that balls hold. In the first a part takes a fifth to a fiftieth of them."""
_FINEST = 0.005
"""Parts below this share take the smallest ball."""
_MARGIN = 1.5
"""A ball reaches so many times as far as the farthest click."""
_LARGEST_BALL = 0.5
_REUSED = 0.5
"""A close-up serves clicks within this share of its radius."""

_AROUND_MASK = 2.0
"""A ball reaches so many times as far as the mask that it is made for, ..."""
_AROUND_CLICKS = 1.3
"""... and so many times as far as the clicks; ..."""
_LEAST_BALL = 0.01
"""... and it holds at least this share of the surface."""
_STRAY = 2.0
"""So many percent of a mask's points, at either end, do not count for its extent."""
_MASK_REUSED = 0.8
_MASK_RADII = (0.5, 2.0)
"""A ball around a mask serves later ones whose clicks lie within `_MASK_REUSED` of its radius, and whose own
balls would be so many times as large."""


@dataclass(frozen=True)
class Ball:
    """What is looked at: center float64 [3] and radius in the caller's units.

    share: of the surface that lies inside
    wanted: the share that was wished for by the part's size; None for a ball around a mask
    """

    center: FloatArray
    radius: float
    share: float
    wanted: float | None = None

    def reaches(self, places: FloatArray, share: float = 1.0) -> np.ndarray:
        """Which of places [K, 3] lie within a share of the radius, bool [K]."""
        inside: np.ndarray = np.linalg.norm(places - self.center, axis=1) < share * self.radius
        return inside

    def serves(self, other: Ball, inside: FloatArray) -> bool:
        """Whether clicks [K, 3], for which `other` would be made, can be answered in this one as well."""
        if self.wanted is not None or other.wanted is not None:
            return self.wanted == other.wanted and bool(self.reaches(inside, _REUSED).all())
        fits = _MASK_RADII[0] <= other.radius / self.radius <= _MASK_RADII[1]
        return fits and bool(self.reaches(inside, _MASK_REUSED).all())


@dataclass(frozen=True)
class CloseUp:
    """A ball of a shape, encoded.

    encoded: of the ball's own points, which lie on `point_faces` of the whole shape's mesh. Its locations are
        places of the whole shape: `point_locations` its points in the ball, `site_locations` its sites there
    points, sites: which ones those are, int64 [n] and [m]
    nearest: the shape's point nearest to each of its own, int32 [N]
    """

    ball: Ball
    encoded: EncodedShape
    points: IntArray
    sites: IntArray
    nearest: IntArray

    def own_logits(self, point_logits: FloatArray) -> FloatArray:
        """Logits at the points of the shape [..., N] as logits at the ball's own points."""
        return point_logits[..., self.nearest]

    def on_points(self, at_points: FloatArray, shape: EncodedShape, beyond: FloatArray | None) -> FloatArray:
        """Logits [..., n] at `points` as logits at all of the shape's [..., N].

        beyond: the logits of the places outside of the ball; None: they are not in the mask
        """
        everywhere = _everywhere(at_points, beyond, len(shape.points))
        everywhere[..., self.points] = at_points
        return everywhere

    def on_faces(self, at_sites: FloatArray, shape: EncodedShape, beyond: FloatArray | None) -> FloatArray:
        """The same at `sites` [..., m], as logits at the faces of the shape [..., F]."""
        of_face = shape.sites.of_face
        assert of_face is not None
        row_of_site = np.full(len(shape.sites.locations), -1)
        row_of_site[self.sites] = np.arange(len(self.sites))
        rows = row_of_site[of_face]
        everywhere = _everywhere(at_sites, beyond, len(of_face))
        everywhere[..., rows >= 0] = at_sites[..., rows[rows >= 0]]
        return everywhere


def ball_around(shape: EncodedShape, inside: FloatArray, size: float) -> Ball | None:
    """The ball in which to look at clicks [K, 3] (caller's units) into a part of that share of the surface.

    None where it would not help: for larger parts, for clicks far apart, where a shape has no mesh or only
    faces too large for the ball.
    """
    if shape.mesh is None or size >= FINE_SIZE or not len(inside):
        return None
    center = inside.mean(axis=0)
    distances = np.sort(np.linalg.norm(shape.world_points - center, axis=1))
    count, wanted = len(distances), _ball_share(size)
    radius = float(distances[int(wanted * count)])
    radius = max(radius, _MARGIN * float(np.linalg.norm(inside - center, axis=1).max()))
    share = float(np.searchsorted(distances, radius)) / count
    return _if_it_helps(Ball(center, radius, share, wanted), shape)


def ball_around_mask(shape: EncodedShape, inside: FloatArray, mask: NDArray[np.bool_]) -> Ball | None:
    """The ball in which to look at what several clicks were answered with.

    inside: float64 [K, 3], the clicks inside (caller's units); mask: bool [N], of the shape's points
    None where it would not help: for larger masks and empty ones, where a shape has no mesh or only faces
    too large for the ball.
    """
    if shape.mesh is None or not len(inside) or not 0 < mask.mean() < SMALL_ANSWER:
        return None
    world = shape.world_points
    places = np.concatenate([world[mask], inside])
    low, high = np.percentile(places, (_STRAY, 100 - _STRAY), axis=0)
    center = (np.minimum(low, inside.min(axis=0)) + np.maximum(high, inside.max(axis=0))) / 2
    extent = float(np.percentile(np.linalg.norm(places - center, axis=1), 100 - _STRAY))
    clicked = float(np.linalg.norm(inside - center, axis=1).max())
    distances = np.sort(np.linalg.norm(world - center, axis=1))
    least = float(distances[int(_LEAST_BALL * len(distances))])
    radius = max(_AROUND_MASK * extent, _AROUND_CLICKS * clicked, least)
    share = float(np.searchsorted(distances, radius)) / len(distances)
    return _if_it_helps(Ball(center, radius, share), shape)


def sample_ball(shape: EncodedShape, ball: Ball, count: int, *, seed: int = 0) -> PointSample:
    """`count` points drawn uniformly over what of the shape's mesh lies in the ball, in random order.

    Where fewer can be drawn they repeat. Faces without known colours take those of the shape's points.
    """
    mesh = shape.mesh
    assert mesh is not None
    near = _faces_near(mesh, ball)
    total = float(mesh.areas.sum())
    wanted = 1.1 * count * float(mesh.areas[near].sum()) / (ball.share * total)
    colors = None if mesh.face_colors is None else mesh.face_colors[near]
    part = Mesh(mesh.vertices, mesh.triangles[near], colors)
    drawn = sample_surface(part, max(int(wanted), count), seed=seed)
    rows = np.resize(np.flatnonzero(ball.reaches(drawn.points)), count)
    points, normals = drawn.points[rows], drawn.normals[rows]
    faces = near[drawn.faces[rows]].astype(np.int32)
    known = drawn.colors[rows] if mesh.face_colors is not None else _colors_nearby(shape, points, normals)
    return PointSample(points, normals, known, faces, drawn.barycentric[rows])


def regions_in_ball(
    shape: EncodedShape, regions: PlacedRegions, ball: Ball, faces: IntArray, at_sites: IntArray
) -> PlacedRegions:
    """The crease regions of a shape where only a ball of it is looked at.

    faces: int [n], of the shape's mesh, that the ball's points lie on; at_sites: int64 [m], the sites in it
    """
    of_face = shape.sites.of_face
    assert of_face is not None
    atoms = regions.of_sites
    of_points, of_sites = (
        atoms[:, torch.as_tensor(rows, device=atoms.device).long()] for rows in (of_face[faces], at_sites)
    )
    share = torch.full((1,), ball.share, device=atoms.device)
    return PlacedRegions(regions_in_view(regions.pairs, share), of_points, of_sites)


def _if_it_helps(ball: Ball, shape: EncodedShape) -> Ball | None:
    """Not where it holds most of the shape, or no site of it, so that no face could change."""
    small = 0 < ball.share <= _LARGEST_BALL
    return ball if small and ball.reaches(shape.sites.locations).any() else None


def _ball_share(size: float) -> float:
    return _BALL_SHARES[0] if size < _FINEST else _BALL_SHARES[1]


def _faces_near(mesh: Mesh, ball: Ball) -> IntArray:
    """Faces that may reach into the ball: their bounding boxes touch its box. int64 [n]."""
    corners = mesh.corners()
    touches = (corners.min(axis=1) <= ball.center + ball.radius) & (
        corners.max(axis=1) >= ball.center - ball.radius
    )
    return np.flatnonzero(touches.all(axis=1))


def _colors_nearby(shape: EncodedShape, points: FloatArray, normals: FloatArray) -> FloatArray:
    """Colours float32 [N, 3] of the nearest of the shape's points that face the same way."""
    if np.ptp(shape.colors, axis=0).max(initial=0) == 0:
        return np.broadcast_to(shape.colors[:1] if len(shape.colors) else NEUTRAL_GREY, points.shape)
    side = float(np.ptp(shape.world_points, axis=0).max())
    return shape.colors[nearest_faced(shape.world_points, shape.normals, points, normals, side)]


def _everywhere(within: FloatArray, beyond: FloatArray | None, count: int) -> FloatArray:
    shape = (*within.shape[:-1], count)
    fill = CLEARLY_OUTSIDE if beyond is None else beyond
    return np.broadcast_to(np.asarray(fill, dtype=within.dtype), shape).copy()
