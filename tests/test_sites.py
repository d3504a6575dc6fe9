# SPDX-License-Identifier: GPL-3.0-or-later
"""Which site stands for which face, and which face for which point."""

from __future__ import annotations

import numpy as np
import pytest

from backend.geometry import Mesh, face_areas, face_centroids, face_normals, sample_surface
from backend.nearest import facing, nearest, nearest_faced
from backend.refinement import build_face_graph
from backend.segmentation import sites
from backend.segmentation.bends import graph_of_bends
from backend.segmentation.sites import Sites, graph_of_sites
from tests.built_meshes import joined, plate, with_flipped
from tests.tiny_network import tiny_segmenter


@pytest.fixture
def sheet() -> Mesh:
    """Two sides, a thousandth of the side length apart, meshed differently."""
    front, back = plate(60, 60, size=1 / 60), plate(47, 53)
    under = back.vertices * [1 / 47, 1 / 53, 1] - [0, 0, 0.001]
    return joined(front, Mesh(under, back.triangles[:, ::-1]))


def test_the_sides_of_a_thin_sheet_keep_to_themselves(sheet: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sites, "MAX_SITES", 1000)
    sample = sample_surface(sheet, 500)
    found = Sites.of_mesh(sheet, sample.faces)
    assert found.of_face is not None and found.faces is not None
    up = face_normals(sheet)[:, 2] > 0
    np.testing.assert_array_equal(up[found.faces[found.of_face]], up)
    centroids = face_centroids(sheet)
    by_place = nearest(centroids[found.faces], centroids)
    assert (up[found.faces[by_place]] != up).mean() > 0.1, "places alone do not tell the sides apart"
    far = np.linalg.norm(centroids[found.faces[found.of_face]] - centroids, axis=1).max()
    assert far < 3 * np.sqrt(face_areas(sheet).sum() / 1000)


def test_sites_take_the_colour_of_points_on_their_own_side(sheet: Mesh) -> None:
    sample = sample_surface(sheet, 3000)
    found = Sites.of_mesh(sheet, sample.faces)
    colors = np.where(sample.normals[:, 2:] > 0, [1.0, 0, 0], [0, 0, 1.0])
    _, of_sites = found.attributes(sheet, sample.normals, colors)
    np.testing.assert_array_equal(of_sites[:, 0] > 0.5, face_normals(sheet)[:, 2] > 0)


def test_points_without_a_face_find_one_that_faces_their_way(sheet: Mesh) -> None:
    sample = sample_surface(sheet, 400)
    shape = tiny_segmenter().encode_points(sample.points, sample.normals, mesh=sheet)
    assert shape.point_faces is not None
    assert (face_normals(sheet, shape.point_faces)[:, 2] * sample.normals[:, 2] > 0).all()


def test_the_nearest_place_is_found_however_far_it_is() -> None:
    random = np.random.default_rng(0)
    places, normals = random.random((200, 3)), random.normal(size=(200, 3))
    queries, asked = random.random((3000, 3)), random.normal(size=(3000, 3))
    queries[::7] *= 50  # much farther than most
    distance = np.linalg.norm(
        facing(queries, asked, 1.0)[:, None] - facing(places, normals, 1.0)[None], axis=2
    )
    np.testing.assert_array_equal(
        nearest_faced(places, normals, queries, asked, 1.0), distance.argmin(axis=1)
    )
    assert len(nearest_faced(places, normals, queries[:0], asked[:0], 1.0)) == 0


def rounded_valley(rows: int = 120, columns: int = 24) -> Mesh:
    """A valley along y of 60 degrees on either side, rounded over many faces, in a closed block."""
    x = np.linspace(-1, 1, rows + 1)
    y = np.linspace(0, 1, columns + 1)
    height = np.sqrt(3 * x**2 + 0.03)
    ground = np.stack(np.broadcast_arrays(x[:, None], y, height[:, None]), axis=-1).reshape(-1, 3)
    corner = np.arange((rows + 1) * (columns + 1)).reshape(rows + 1, -1)
    a, b, c, d = (
        part.ravel() for part in (corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:])
    )
    top = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    below = Mesh(ground - np.array([0, 0, 3.0]), top[:, ::-1])
    rim = np.concatenate([corner[:-1, 0], corner[-1, :-1], corner[:0:-1, -1], corner[0, :0:-1]])
    after, down = np.roll(rim, -1), len(ground)
    walls = [np.stack([rim, rim + down, after + down], axis=1), np.stack([rim, after + down, after], axis=1)]
    block = joined(Mesh(ground, top), below)
    return Mesh(block.vertices, np.concatenate([block.triangles, *walls]))


def test_a_rounded_crease_bends_between_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = rounded_valley()
    every = Sites.of_mesh(mesh, np.zeros(1, dtype=np.int64))
    graph = build_face_graph(mesh)
    assert graph_of_bends(graph, every, mesh) is graph
    monkeypatch.setattr(sites, "MAX_SITES", 700)
    some = Sites.of_mesh(mesh, np.zeros(1, dtype=np.int64))
    across, between = graph_of_bends(graph, some, mesh), graph_of_sites(graph, some)
    ends = some.locations[across.edges]
    valley = (np.abs(ends[..., 0]) < 0.15).all(axis=1) & (ends[..., 2] > 0).all(axis=1)
    crossing = valley & (np.prod(ends[..., 0], axis=1) < 0)
    assert np.median(across.dihedral[crossing]) < 2 * np.median(between.dihedral[crossing]) < 0
    flipped = with_flipped(mesh, np.random.default_rng(0).random(mesh.face_count) < 0.4)
    for other in (flipped, Mesh(mesh.vertices, mesh.triangles[:, ::-1])):
        again = graph_of_bends(build_face_graph(other), some, other)
        order, its = (np.lexsort(np.sort(each.edges, axis=1).T) for each in (across, again))
        np.testing.assert_allclose(again.dihedral[its], across.dihedral[order], atol=1e-6)


def test_a_noisy_surface_is_smoothed_before_its_bends_are_read() -> None:
    """A crease stands out again: noise bends edges by as much."""
    clean = rounded_valley(rows=60, columns=36)
    noise = 0.004 * np.random.default_rng(3).normal(size=clean.vertices.shape)
    mesh = Mesh(clean.vertices + noise, clean.triangles)
    graph = build_face_graph(mesh)
    every = Sites.of_mesh(mesh, np.zeros(1, dtype=np.int64))
    smoothed = graph_of_bends(graph, every, mesh)
    ends = every.locations[graph.edges]
    ground = (ends[..., 2] > -1).all(axis=1) & (np.abs(ends[..., 0]) < 0.9).all(axis=1)
    ground &= ((ends[..., 1] > 0.1) & (ends[..., 1] < 0.9)).all(axis=1)
    along_x = np.abs(ends[:, 0, 0] - ends[:, 1, 0]) > 1e-3
    valley = ground & along_x & (np.abs(ends[..., 0]) < 0.1).all(axis=1)
    slope = ground & (np.abs(ends[..., 0]) > 0.4).all(axis=1)
    contrast = [
        -each.dihedral[valley].mean() / np.quantile(np.abs(each.dihedral[slope]), 0.9)
        for each in (graph, smoothed)
    ]
    assert contrast[0] < 1 < 2 < contrast[1]
