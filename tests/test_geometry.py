# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes, samples and normalisation: laws that hold for any triangle mesh."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backend.errors import MeshError
from backend.geometry import (
    Mesh,
    Normalization,
    face_areas,
    face_centroids,
    face_normals,
    sample_surface,
    validate_mesh,
)
from backend.geometry.canonical import canonical_order
from backend.geometry.mesh import NEUTRAL_GREY

COUNT = 500


@st.composite
def meshes(draw: st.DrawFn) -> Mesh:
    """Any triangle soup with area: non-manifold, with repeated and collapsed faces and unused vertices."""
    vertices = draw(arrays(np.float64, (draw(st.integers(3, 12)), 3), elements=st.integers(-9, 9)))
    faces = draw(st.integers(1, 20))
    triangles = draw(arrays(np.int32, (faces, 3), elements=st.integers(0, len(vertices) - 1)))
    mesh = Mesh(vertices, triangles)
    assume(face_areas(mesh).sum() > 0)
    return mesh


def ball(radius: float = 1.0) -> Mesh:
    source = trimesh.creation.icosphere(subdivisions=2, radius=radius)
    return Mesh(source.vertices, source.faces)


# --- the value type --------------------------------------------------------------------------------


def test_arrays_are_converted_once_and_kept() -> None:
    mesh = Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], [[1, 0, 0]])
    assert (mesh.vertices.dtype, mesh.triangles.dtype) == (np.float64, np.int32)
    assert mesh.face_colors is not None
    assert mesh.face_colors.dtype == np.float32
    assert Mesh(mesh.vertices, mesh.triangles).vertices is mesh.vertices


@pytest.mark.parametrize(
    ("vertices", "triangles", "colors", "message"),
    [
        (np.zeros((3, 2)), np.zeros((1, 3)), None, "vertices must have shape"),
        (np.zeros((3, 3)), np.zeros((1, 4)), None, "triangles must have shape"),
        (np.zeros((3, 3)), [[0, 1, 3]], None, r"0\.\.3, but the mesh has 3 vertices"),
        (np.zeros((3, 3)), [[0, 1, -1]], None, r"-1\.\.1"),
        (np.zeros((3, 3)), [[0, 1, 2**32]], None, "but the mesh has 3 vertices"),
        (np.zeros((3, 3)), [[0, 1, 2]], np.zeros((2, 3)), "2 face colours for 1 triangles"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    vertices: np.ndarray, triangles: np.ndarray, colors: np.ndarray | None, message: str
) -> None:
    with pytest.raises(MeshError, match=message):
        Mesh(vertices, triangles, colors)


@pytest.mark.parametrize(
    ("vertices", "triangles", "message"),
    [
        ([], [], "no faces"),
        ([[0, 0, 0]], [], "no faces"),
        ([[0, 0, np.nan], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], "1 vertex is not finite"),
        ([[0, 0, np.inf], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], "not finite"),
        ([[0, 0, 1e200], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], r"beyond 1e\+30"),
        ([[1, 1, 1]] * 3, [[0, 1, 2]], "no surface area"),
        ([[0, 0, 0], [1, 1, 1], [2, 2, 2]], [[0, 1, 2]], "no surface area"),
        ([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 1]], "no surface area"),
    ],
)
def test_meshes_that_cannot_be_segmented_are_named(vertices: list, triangles: list, message: str) -> None:
    with pytest.raises(MeshError, match=message):
        validate_mesh(Mesh(np.array(vertices, dtype=float), np.array(triangles)))


def test_unused_broken_vertices_do_no_harm() -> None:
    validate_mesh(Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [np.nan, 0, 0]], [[0, 1, 2]]))


def test_blender_can_import_it_without_torch(repository: Path) -> None:
    script = (
        "import sys, backend.geometry; sys.exit(any(n in sys.modules for n in ('torch', 'scipy', 'trimesh')))"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=repository).returncode == 0


# --- per-face geometry -----------------------------------------------------------------------------


def test_known_triangle() -> None:
    mesh = Mesh([[0, 0, 0], [3, 0, 0], [0, 4, 0]], [[0, 1, 2], [0, 2, 1], [0, 1, 1]])
    assert face_areas(mesh).tolist() == [6, 6, 0]
    assert face_normals(mesh).tolist() == [[0, 0, 1], [0, 0, -1], [0, 0, 0]]
    np.testing.assert_allclose(face_centroids(mesh)[0], [1, 4 / 3, 0])


@given(mesh=meshes(), scale=st.floats(1e-6, 1e6), shift=st.floats(-100, 100))
def test_areas_scale_with_the_square_and_ignore_shifts(mesh: Mesh, scale: float, shift: float) -> None:
    moved = Mesh((mesh.vertices + shift) * scale, mesh.triangles)
    np.testing.assert_allclose(
        face_areas(moved), face_areas(mesh) * scale**2, rtol=1e-6, atol=1e-9 * scale**2
    )


@given(mesh=meshes())
def test_normals_are_unit_or_zero(mesh: Mesh) -> None:
    length = np.linalg.norm(face_normals(mesh), axis=1)
    np.testing.assert_allclose(length, face_areas(mesh) > 0, atol=1e-12)


# --- sampling --------------------------------------------------------------------------------------


@given(mesh=meshes(), seed=st.integers(0, 9))
def test_points_lie_on_the_faces_they_name(mesh: Mesh, seed: int) -> None:
    sample = sample_surface(mesh, COUNT, seed=seed)
    assert sample.barycentric.min() >= 0
    np.testing.assert_allclose(sample.barycentric.sum(axis=1), 1, atol=1e-6)
    rebuilt = np.einsum("nc,nca->na", sample.barycentric, mesh.corners()[sample.faces])
    np.testing.assert_allclose(sample.points, rebuilt, atol=1e-5)
    np.testing.assert_allclose(sample.normals, face_normals(mesh)[sample.faces], atol=1e-6)
    assert (face_areas(mesh)[sample.faces] > 0).all()


@given(mesh=meshes(), seed=st.integers(0, 9))
def test_every_face_gets_its_share(mesh: Mesh, seed: int) -> None:
    """Strata bound the error: a face of n strata gets n points, give or take fewer than two."""
    hits = np.bincount(sample_surface(mesh, COUNT, seed=seed).faces, minlength=mesh.face_count)
    areas = face_areas(mesh)
    assert np.abs(hits - COUNT * areas / areas.sum()).max() < 2 + 1e-9


@given(mesh=meshes(), order=st.randoms(use_true_random=False))
def test_vertex_order_does_not_matter(mesh: Mesh, order: object) -> None:
    new_place = np.arange(len(mesh.vertices))
    order.shuffle(new_place)  # type: ignore[attr-defined]
    shuffled = np.empty_like(mesh.vertices)
    shuffled[new_place] = mesh.vertices
    again = sample_surface(Mesh(shuffled, new_place[mesh.triangles]), COUNT)
    sample = sample_surface(mesh, COUNT)
    np.testing.assert_array_equal(again.points, sample.points)
    np.testing.assert_array_equal(again.faces, sample.faces)


@given(seed=st.integers(0, 99), turn=st.integers(0, 5), mirrored=st.booleans())
def test_points_fall_on_the_same_places_whatever_the_order_and_axes(
    seed: int, turn: int, mirrored: bool
) -> None:
    """Faces and their corners in any order, turned by right angles, mirrored."""
    mesh, random = ball(), np.random.default_rng(seed)
    mesh = Mesh(mesh.vertices * [1, 1.5, 0.7] + 0.1 * mesh.vertices**2, mesh.triangles)
    axes, signs = [(0, 1, 2), (1, 0, 2), (2, 1, 0), (0, 2, 1), (1, 2, 0), (2, 0, 1)][turn], np.ones(3)
    signs[seed % 3] = -1 if mirrored else 1
    order = random.permutation(mesh.face_count)
    corners = np.argsort(random.random((mesh.face_count, 3)), axis=1)
    turned = Mesh(mesh.vertices[:, axes] * signs, np.take_along_axis(mesh.triangles[order], corners, axis=1))
    sample, again = sample_surface(mesh, COUNT), sample_surface(turned, COUNT)
    np.testing.assert_array_equal(order[again.faces], sample.faces)
    np.testing.assert_allclose(again.points, sample.points[:, axes] * signs, atol=1e-9)


@given(mesh=meshes(), shift=st.integers(-50, 50), exponent=st.integers(-20, 20))
def test_sample_moves_and_scales_with_the_mesh(mesh: Mesh, shift: int, exponent: int) -> None:
    """Whole numbers and powers of two make the arithmetic exact: the same faces are drawn."""
    moved = sample_surface(Mesh((mesh.vertices + shift) * 2.0**exponent, mesh.triangles), COUNT)
    sample = sample_surface(mesh, COUNT)
    np.testing.assert_array_equal(moved.faces, sample.faces)
    np.testing.assert_allclose(
        moved.points, (sample.points + shift) * 2.0**exponent, atol=1e-12 * 2.0**exponent
    )


def test_same_seed_same_sample() -> None:
    first, again, other = (sample_surface(ball(), COUNT, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.points, again.points)
    assert (first.points != other.points).any()


def test_large_faces_are_all_covered() -> None:
    mesh = ball()  # 320 faces of nearly equal area
    assert len(np.unique(sample_surface(mesh, 3 * mesh.face_count).faces)) == mesh.face_count


def test_points_are_uniform_within_a_triangle() -> None:
    weights = sample_surface(Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]]), 40_000).barycentric
    np.testing.assert_allclose(weights.mean(axis=0), 1 / 3, atol=0.01)
    # The corner beyond the half-way line of a triangle is a quarter of it.
    np.testing.assert_allclose((weights > 0.5).mean(axis=0), 0.25, atol=0.01)


def test_a_prefix_is_a_sample_of_the_whole() -> None:
    height = sample_surface(ball(), 8000).points[:800, 2]
    # On a sphere, height is uniform in -1..1 (Archimedes).
    counts = np.histogram(height, bins=8, range=(-1, 1))[0]
    assert (np.abs(counts - 100) < 45).all()


def test_colours_of_the_faces_or_grey() -> None:
    mesh = ball()
    colors = np.random.default_rng(0).random((mesh.face_count, 3)).astype(np.float32)
    colored = sample_surface(Mesh(mesh.vertices, mesh.triangles, colors), COUNT)
    np.testing.assert_array_equal(colored.colors, colors[colored.faces])
    assert (sample_surface(mesh, COUNT).colors == np.float32(NEUTRAL_GREY)).all()


def test_sampling_refuses_what_validation_refuses() -> None:
    with pytest.raises(MeshError, match="no faces"):
        sample_surface(Mesh([], []), COUNT)


# --- normalisation ---------------------------------------------------------------------------------


@given(mesh=meshes(), scale=st.floats(1e-4, 1e4), shift=st.floats(-1e3, 1e3))
def test_points_fill_the_cube_whatever_their_units(mesh: Mesh, scale: float, shift: float) -> None:
    points = (sample_surface(mesh, COUNT).points + shift) * scale
    cube = Normalization.of_points(points).apply(points)
    assert cube.dtype == np.float32
    np.testing.assert_allclose(np.ptp(cube, axis=0).max(), 1.8, rtol=1e-5)
    np.testing.assert_allclose(cube.min(axis=0) + cube.max(axis=0), 0, atol=1e-5)


def test_normalisation_needs_an_extent() -> None:
    for points in (np.ones((5, 3)), np.full((2, 3), np.nan)):
        with pytest.raises(MeshError, match="span no volume"):
            Normalization.of_points(points)


def test_corners_are_in_order_along_the_frame_and_ties_in_that_of_the_file() -> None:
    random = np.random.default_rng(0)
    along = -(random.integers(0, 5, 60).astype(np.float64) ** 2)  # most lie to the right of the middle
    vertices = np.stack([along, np.zeros(60), np.zeros(60)], axis=1)
    triangles = random.integers(0, 60, (500, 3))
    order = canonical_order(vertices, triangles, np.ones(500))
    np.testing.assert_array_equal(order.corners, np.argsort(along[triangles], axis=1, kind="stable"))
