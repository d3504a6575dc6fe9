# SPDX-License-Identifier: GPL-3.0-or-later
"""What a device computes of a mesh is what numpy computes. The device's code, also run on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from backend import block_search, encoding
from backend.benchmarks.graph_cut import lumpy_torus
from backend.block_search import nearest_of_ordered
from backend.device_surface import DeviceSurface
from backend.errors import MeshError
from backend.geometry import Mesh, face_areas, face_centroids, face_normals, sample_surface
from backend.segmentation import sites
from backend.segmentation.sites import Sites
from tests.built_meshes import cube, joined, plate
from tests.tiny_network import tiny_segmenter

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics card")
DEVICES = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NO_GPU)])
COUNT = 1000


def soup() -> Mesh:
    """Repeated and collapsed faces with colours, and vertices that no face uses and that are nowhere."""
    random = np.random.default_rng(5)
    vertices = np.concatenate([random.integers(-9, 9, (12, 3)), np.full((1, 3), np.nan)])
    triangles = random.integers(0, 12, (40, 3))
    return Mesh(vertices, triangles, random.random((40, 3)).astype(np.float32))


MESHES = {
    "torus": lumpy_torus(6000),
    "cube": cube(),
    "plate": plate(30, 30, size=1 / 30),  # all areas are equal, and all steps of the area on borders
    "soup": soup(),
}


@DEVICES
@pytest.mark.parametrize("name", MESHES)
def test_samples_are_those_of_numpy(name: str, device: str) -> None:
    mesh = MESHES[name]
    surface = DeviceSurface(mesh, device)
    expected, found = sample_surface(mesh, COUNT, seed=3), surface.sample(COUNT, seed=3)
    for field, values in vars(expected).items():
        assert getattr(found, field).dtype == values.dtype, field
        np.testing.assert_array_equal(getattr(found, field), values, field)
    np.testing.assert_array_equal(surface.order.cpu(), mesh.order.faces)
    np.testing.assert_array_equal(surface.centroids().cpu(), face_centroids(mesh))
    # Square roots of torch on the CPU are off by the last digit at times.
    np.testing.assert_allclose(surface.areas.cpu(), face_areas(mesh), rtol=3e-16)
    np.testing.assert_allclose(surface.normals().cpu(), face_normals(mesh), rtol=5e-16)


@DEVICES
@pytest.mark.parametrize("most", [700, 10_000])
@pytest.mark.parametrize("name", ["torus", "plate"])
def test_sites_are_those_of_numpy(name: str, most: int, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sites, "MAX_SITES", most)
    mesh = MESHES[name]
    point_faces = sample_surface(mesh, COUNT).faces
    expected = Sites.of_mesh(mesh, point_faces)
    found = Sites.of_surface(DeviceSurface(mesh, device), point_faces)
    np.testing.assert_array_equal(found.faces, expected.faces)
    np.testing.assert_array_equal(found.locations, expected.locations)
    grey = np.full((COUNT, 3), 0.5)
    for ours, theirs in zip(
        found.attributes(mesh, grey, grey), expected.attributes(mesh, grey, grey), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=5e-16)
    if name == "torus":  # on the plate several sites are equally far
        np.testing.assert_array_equal(found.of_face, expected.of_face)
        np.testing.assert_array_equal(found.of_point, expected.of_point)
        np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-12)
    far = np.linalg.norm(found.locations[found.of_face] - face_centroids(mesh), axis=1)
    nearest = np.linalg.norm(expected.locations[expected.of_face] - face_centroids(mesh), axis=1)
    np.testing.assert_allclose(far, nearest, atol=1e-12)


@DEVICES
@pytest.mark.parametrize(("count", "asked"), [(1, 5), (40, 3000), (3000, 700)])
def test_blocks_find_what_a_tree_finds_in_any_order(
    count: int, asked: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random orders are the worst: nearly all blocks have to be looked at, in several rounds."""
    monkeypatch.setattr(block_search, "_AT_ONCE", 1 << 18)
    random = np.random.default_rng(count)
    places, queries = random.normal(size=(count, 6)), random.normal(size=(asked, 6))
    expected = cKDTree(places).query(queries)[1]
    found = nearest_of_ordered(torch.from_numpy(places).to(device), torch.from_numpy(queries).to(device))
    np.testing.assert_array_equal(found.cpu(), expected)


@pytest.mark.parametrize(
    ("vertices", "triangles"),
    [
        ([[0, 0, 0]], np.zeros((0, 3), int)),
        ([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]]),
        ([[0, 0, 0], [1, 0, 0], [0, np.inf, 0]], [[0, 1, 2]]),
        ([[0, 0, 0], [1e31, 0, 0], [0, 1e31, 0]], [[0, 1, 2]]),
    ],
)
def test_meshes_that_cannot_be_segmented_are_refused_as_by_numpy(vertices: list, triangles: list) -> None:
    mesh = Mesh(np.array(vertices, dtype=float), np.array(triangles))
    with pytest.raises(MeshError) as refusal:
        DeviceSurface(mesh, "cpu")
    assert str(refusal.value) == mesh.problem


def test_an_encoded_shape_is_the_same_by_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sites, "MAX_SITES", 700)
    mesh = joined(MESHES["torus"], cube(center=(4, 0, 0)))
    segmenter = tiny_segmenter()
    expected = segmenter.encode(mesh)
    monkeypatch.setattr(encoding, "keeps_surfaces", lambda device: True)
    found = segmenter.encode(mesh)
    np.testing.assert_array_equal(found.points, expected.points)
    np.testing.assert_array_equal(found.sites.of_face, expected.sites.of_face)
    assert torch.equal(found.encoding.texels, expected.encoding.texels)
    torch.testing.assert_close(found.site_locations.features, expected.site_locations.features)
    sample = sample_surface(mesh, segmenter.config.points)
    sent = segmenter.encode_points(sample.points, sample.normals, point_faces=sample.faces, mesh=mesh)
    assert torch.equal(sent.site_locations.features, found.site_locations.features)
