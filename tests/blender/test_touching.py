# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether copies of a mesh touch, against distances that Blender finds; many of them beside a large one."""

from __future__ import annotations

import numpy as np
import pytest
from mathutils.bvhtree import BVHTree


@pytest.fixture
def repeated(addon):
    return addon("mesh_exchange.repeated")


def ball(addon, rings: int, sides: int):
    """A sphere of radius 1 out of quads and fans, as triangles."""
    down = np.linspace(0, np.pi, rings + 1)[1:-1]
    around = np.arange(sides) * 2 * np.pi / sides
    points = [(np.sin(d) * np.cos(a), np.sin(d) * np.sin(a), np.cos(d)) for d in down for a in around]
    index = np.arange(len(points)).reshape(rings - 1, sides)
    here, after = index, np.roll(index, -1, axis=1)
    quads = np.stack([here[:-1], here[1:], after[1:], after[:-1]], axis=-1).reshape(-1, 4)
    top, bottom = len(points), len(points) + 1
    fans = [(top, a, b) for a, b in zip(here[0], after[0], strict=True)]
    fans += [(bottom, b, a) for a, b in zip(here[-1], after[-1], strict=True)]
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]], np.array(fans)])
    return addon("backend.geometry").Mesh(np.array([*points, (0, 0, 1), (0, 0, -1)]), triangles)


def placed(mesh, matrix, place):
    return type(mesh)(mesh.vertices @ np.asarray(matrix).T + place, mesh.triangles)


def distance(one, other) -> float:
    """How near two meshes come, a bit too much; 0 where they cross."""
    trees = [BVHTree.FromPolygons(mesh.vertices.tolist(), mesh.triangles.tolist()) for mesh in (one, other)]
    if trees[0].overlap(trees[1]):
        return 0.0
    found = []
    for mesh, tree in zip((one, other), reversed(trees), strict=True):
        steps = np.array([(i, j, 12 - i - j) for i in range(13) for j in range(13 - i)]) / 12
        points = np.einsum("nk,fki->fni", steps, mesh.corners()).reshape(-1, 3)
        found += [tree.find_nearest(point)[3] for point in points.tolist()]
    return min(found)


def test_copies_touch_where_they_come_close(addon, repeated):
    """Stretched, turned, mirrored and flat ones; what is between close and twice that may be either."""
    rng = np.random.default_rng(0)
    thing, seen = ball(addon, 4, 5), {True: 0, False: 0}
    for _ in range(150):
        matrices = [
            rng.normal(size=(3, 3)) * np.array([[1.0], [1.0], [rng.choice([0.0, 1.0])]]) for _ in "ab"
        ]
        pair = [placed(thing, matrices[0], 0), placed(thing, matrices[1], rng.normal(size=3) * 1.5)]
        close = repeated.CLOSE * min(np.linalg.norm(np.ptp(mesh.vertices, axis=0)) for mesh in pair)
        gap = distance(*pair)
        if not close * 0.95 < gap < close * 2.05:
            apart = repeated.stand_apart(pair)
            assert apart == (gap > close), gap / close
            seen[apart] += 1
    assert min(seen.values()) > 30


@pytest.mark.parametrize("close_one", [None, 0, 250, 499])
def test_many_small_ones_over_a_large_one(addon, repeated, monkeypatch, close_one):
    """Each is nearer to the large one than that is fine-meshed; yet of 779 million pairs of a face of the
    large one and one of a small one some 50,000 are looked at."""
    looked_at: list[int] = []
    trees = addon("mesh_exchange.box_trees")
    exactly = trees.any_closer

    def counted(one, other, limits):
        looked_at.append(len(one))
        return exactly(one, other, limits)

    monkeypatch.setattr(trees, "any_closer", counted)
    thing, count, scale = ball(addon, 25, 26), 500, 24.0
    turn = np.arange(count) * np.pi * (1 + 5**0.5)
    height = 1 - (2 * np.arange(count) + 1) / count
    flat = np.sqrt(1 - height**2)
    outwards = np.stack([np.cos(turn) * flat, np.sin(turn) * flat, height], axis=1)
    gaps = np.full(count, 0.1)
    if close_one is not None:
        gaps[close_one] = -0.3  # the faces of the large one lie a little inside of its sphere
    places = outwards * (scale + 1 + gaps)[:, None]
    copies = [placed(thing, np.eye(3) * scale, 0), *(placed(thing, np.eye(3), place) for place in places)]
    assert repeated.stand_apart(copies) == (close_one is None)
    assert sum(looked_at) < 200_000
