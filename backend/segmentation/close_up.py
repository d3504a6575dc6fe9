# SPDX-License-Identifier: GPL-3.0-or-later
"""Close-ups: a ball of the surface, sampled and encoded anew with as many points as the whole shape.

A screw head of a thousandth of the surface has a dozen of the whole shape's points; in a close-up it has
hundreds. The network was trained on such balls, too, and on parts of the size that they then have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..geometry import Mesh, sample_surface
from ..geometry.mesh import NEUTRAL_GREY, FloatArray, IntArray
from ..geometry.sampling import PointSample
from ..nearest import nearest_faced
from ..network.sparse_logits import CLEARLY_OUTSIDE
from .encoded_shape import EncodedShape

FINE_SIZE = 0.02
"""Parts of a smaller share of the surface are worth a close-up."""

_BALL_SHARES = (0.04, 0.125)
"""Shares of the surface that balls hold. In the first a part takes a fifth to a fiftieth of them."""
_FINEST = 0.005
"""Parts below this share take the smallest ball."""
_MARGIN = 1.5
"""A ball reaches so many times as far as the farthest click."""
_LARGEST_BALL = 0.5
_REUSED = 0.5
"""A close-up serves clicks within this share of its radius."""


@dataclass(frozen=True)
class Ball:
    """What is looked at: center float64 [3] and radius in the caller's units.

    share: of the surface that lies inside; wanted: the share that was wished for
    """

    center: FloatArray
    radius: float
    share: float
    wanted: float

    def reaches(self, places: FloatArray, share: float = 1.0) -> np.ndarray:
        """Which of places [K, 3] lie within a share of the radius, bool [K]."""
        inside: np.ndarray = np.linalg.norm(places - self.center, axis=1) < share * self.radius
        return inside


@dataclass(frozen=True)
class CloseUp:
    """A ball of a shape, encoded.

    encoded: of the ball's own points, which lie on `point_faces` of the whole shape's mesh. Its locations are
        places of the whole shape: `point_locations` its points in the ball, `site_locations` its sites there
    points, sites: which ones those are, int64 [n] and [m]
    """

    ball: Ball
    encoded: EncodedShape
    points: IntArray
    sites: IntArray

    def serves(self, inside: FloatArray, size: float) -> bool:
        """Whether clicks [K, 3] into a part of that size can be answered here."""
        fits = size < FINE_SIZE and self.ball.wanted == _ball_share(size)
        return fits and bool(self.ball.reaches(inside, _REUSED).all())

    def own_logits(self, face_logits: FloatArray) -> FloatArray:
        """Logits at the faces of the shape [..., F] as logits at the ball's own points [..., N]."""
        return face_logits[..., self.encoded.point_faces]

    def on_whole(self, at_points: Tensor, shape: EncodedShape) -> Tensor:
        """Logits [..., n] at `points` as logits at all of the shape's [..., N]."""
        return _scattered(at_points, self.points, len(shape.points))

    def at_faces(self, at_sites: Tensor, shape: EncodedShape) -> Tensor:
        """Logits [..., m] at `sites` as logits at the faces of the shape [..., F]."""
        return shape.at_faces(_scattered(at_sites, self.sites, len(shape.sites.locations)))


def ball_around(shape: EncodedShape, inside: FloatArray, size: float) -> Ball | None:
    """The ball in which to look at clicks [K, 3] (caller's units) into a part of that share of the surface.

    None where it would not help: for larger parts, for clicks far apart, where a shape has no mesh.
    """
    if shape.mesh is None or size >= FINE_SIZE or not len(inside):
        return None
    center = inside.mean(axis=0)
    distances = np.sort(np.linalg.norm(shape.world_points - center, axis=1))
    count, wanted = len(distances), _ball_share(size)
    radius = float(distances[int(wanted * count)])
    radius = max(radius, _MARGIN * float(np.linalg.norm(inside - center, axis=1).max()))
    share = float(np.searchsorted(distances, radius)) / count
    return Ball(center, radius, share, wanted) if 0 < share <= _LARGEST_BALL else None


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


def _scattered(values: Tensor, rows: IntArray, count: int) -> Tensor:
    index = torch.as_tensor(rows, device=values.device)
    everywhere = values.new_full((*values.shape[:-1], count), CLEARLY_OUTSIDE)
    return everywhere.index_copy_(-1, index, values)
