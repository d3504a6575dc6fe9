# SPDX-License-Identifier: GPL-3.0-or-later
"""Point clouds: normals, samples, labels for every point, files in and out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from backend import Segmenter
from backend.__main__ import main
from backend.errors import MeshError
from backend.geometry import Mesh
from backend.mesh_files import PointCloud, read_mesh_file, read_scan_or_mesh
from backend.scans import ScanSettings, estimate_normals, scan_mesh, segment_cloud, write_cloud
from backend.scans.clouds import even_sample
from backend.segmentation.point_normals import surface_at
from backend.segmentation.sites import Sites, graph_of_points

DATA = Path(__file__).parent / "data"
CASES = DATA / "mesh_cases"


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.load("small-untrained", device="cpu")


def torus(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points on a torus and their outward normals."""
    random = np.random.default_rng(0)
    u, v = random.uniform(0, 2 * np.pi, (2, count))
    ring = np.column_stack([np.cos(u), np.sin(u), 0 * u])
    normals = np.cos(v)[:, None] * ring + np.sin(v)[:, None] * [0, 0, 1]
    return 2 * ring + 0.6 * normals, normals


def test_estimated_normals_look_outwards() -> None:
    points, normals = torus(4000)
    points = np.concatenate([points, points + [20, 0, 0]])  # two pieces, each turned by itself
    found = estimate_normals(points)
    agreement = (found * np.concatenate([normals, normals])).sum(axis=1)
    assert np.median(agreement) > 0.99
    assert (agreement > 0.8).mean() > 0.99


def test_noise_is_taken_off_and_exact_points_stay() -> None:
    points, normals = torus(20_000)
    exact, _ = surface_at(points)
    np.testing.assert_array_equal(exact, points)
    noise = 0.05  # two thirds of a percent of the diagonal, and more than points lie apart
    noisy = points + np.random.default_rng(2).normal(0, noise, points.shape)
    places, found = surface_at(noisy)
    agreement = (found * normals).sum(axis=1)
    assert np.degrees(np.arccos(agreement.clip(-1, 1))).mean() < 8
    assert (agreement > 0).mean() > 0.999
    off = np.hypot(np.hypot(places[:, 0], places[:, 1]) - 2, places[:, 2]) - 0.6
    assert np.sqrt((off**2).mean()) < noise / 2


@pytest.mark.parametrize("noise", [0.0, 0.005])
def test_noise_of_a_scan_is_told_from_its_detail(noise: float) -> None:
    knight = read_mesh_file(DATA / "knight.glb").mesh
    points, _ = scan_mesh(knight, ScanSettings(noise=noise, missing=0, resolution=96))
    places, _ = surface_at(points, at=np.arange(500))
    moved = (places != points[:500]).any(axis=1)
    assert moved.all() if noise else not moved.any()


def test_a_volume_full_of_points_is_no_noisy_surface() -> None:
    points = np.random.default_rng(0).random((5000, 3))
    np.testing.assert_array_equal(surface_at(points)[0], points)


def test_graph_of_points_measures_borders_and_creases_as_on_a_mesh() -> None:
    random = np.random.default_rng(3)
    sphere = random.normal(size=(6000, 3))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    graph = graph_of_points(Sites.of_points(sphere), sphere)
    assert graph.face_areas.sum() == pytest.approx(4 * np.pi, rel=0.2)
    across = (sphere[graph.edges, 0] > 0).sum(axis=1) == 1
    assert graph.edge_length[across].sum() == pytest.approx(2 * np.pi, rel=0.15)
    assert 0 < np.median(graph.dihedral) < 0.1  # convex
    plane = np.column_stack([random.uniform(-1, 1, (4000, 2)), np.zeros(4000)])
    bent = np.where(plane[:, :1] > 0, plane, np.column_stack([0 * plane[:, 0], plane[:, 1], -plane[:, 0]]))
    facing = np.where(plane[:, :1] > 0, [0, 0, 1], [1, 0, 0])  # a floor and a wall
    graph = graph_of_points(Sites.of_points(bent), facing)
    assert np.unique(np.round(graph.dihedral, 6)).tolist() == pytest.approx([-np.pi / 2, 0], abs=1e-5)


@pytest.mark.parametrize("points", [np.zeros((6, 3)), np.arange(4.0)[:, None] * [1, 2, 3]])
def test_normals_of_points_without_extent_are_finite(points: np.ndarray) -> None:
    np.testing.assert_allclose(np.linalg.norm(estimate_normals(points), axis=1), 1, atol=1e-6)


def test_sample_is_even_whatever_the_density() -> None:
    random = np.random.default_rng(1)
    sparse, dense = random.random((2000, 2)), random.random((60_000, 2)) * [1, 1] + [1, 0]
    points = np.column_stack([np.concatenate([sparse, dense]), np.zeros(62_000)])
    chosen = even_sample(points, 1000, random)
    assert len(np.unique(chosen)) == 1000
    assert 0.4 < (points[chosen, 0] < 1).mean() < 0.6


def test_every_point_gets_the_label_of_its_nearest_sample(segmenter: Segmenter) -> None:
    points, _ = torus(40_000)
    points[7] = np.nan
    found = segment_cloud(segmenter, points, prompts=8)
    labels = found.labels()
    assert labels[7] == -1
    sample = found.sample_labels()
    assert set(labels) == {-1, *range(sample.max() + 1)}
    for row in (0, 1, 39_999):
        nearest = ((found.sample - points[row]) ** 2).sum(axis=1).argmin()
        assert labels[row] == sample[nearest]
    tree = found.atom_tree()
    assert tree.atoms[7] == -1
    for step in (0, 50, 100):
        of_points = tree.labels[step][tree.atoms]
        expected = found.labels(step / 100)
        # The same partition; `labels` has no gaps in its numbers.
        pairs = {(a, b) for a, b in zip(of_points, expected, strict=True) if b >= 0}
        assert len(pairs) == expected.max() + 1


def test_normals_are_optional_for_the_network(segmenter: Segmenter) -> None:
    points, _ = torus(600)
    shape = segmenter.encode_points(points)
    assert shape.points.shape == (600, 3)
    with pytest.raises(MeshError, match="finite"):
        segmenter.encode_points(np.full((10, 3), np.nan))


def test_two_points_are_too_few(segmenter: Segmenter) -> None:
    with pytest.raises(MeshError, match="at least 4"):
        segment_cloud(segmenter, np.zeros((2, 3)))


def test_gaussian_splats_and_xyz_are_clouds(tmp_path: Path) -> None:
    splats = read_scan_or_mesh(CASES / "ply_gaussian_splat.ply")
    assert splats.cloud is not None
    assert splats.cloud.colors is not None
    assert splats.cloud.colors.min() >= 0 and splats.cloud.colors.max() <= 1
    points, normals = torus(50)
    np.savetxt(tmp_path / "n.xyz", np.column_stack([points, normals]))
    np.savetxt(tmp_path / "c.xyz", np.column_stack([points, np.full((50, 3), 128)]), delimiter=",")
    read = [read_scan_or_mesh(tmp_path / name).cloud for name in ("n.xyz", "c.xyz")]
    np.testing.assert_allclose(read[0].normals, normals, atol=1e-6)
    np.testing.assert_allclose(read[1].colors, 128 / 255)
    np.testing.assert_allclose(read[1].positions, points)


@pytest.mark.parametrize("offset", [0.0, 5e6])
def test_written_cloud_holds_parts_colours_and_exact_positions(tmp_path: Path, offset: float) -> None:
    points, normals = torus(100)
    cloud = PointCloud(points + offset, normals.astype(np.float32))
    labels = np.arange(100, dtype=np.int32) // 50
    labels[3] = -1
    write_cloud(tmp_path / "out.ply", cloud, labels)
    again = trimesh.load(tmp_path / "out.ply")  # another reader
    np.testing.assert_allclose(again.vertices, points + offset, atol=1e-6)
    data = again.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_array_equal(np.ravel(data["part"]), labels)
    assert len(np.unique(again.colors, axis=0)) == 3
    back = read_scan_or_mesh(tmp_path / "out.ply").cloud
    np.testing.assert_allclose(back.normals, normals, atol=1e-6)


def test_virtual_scan_sees_only_the_outside() -> None:
    boxes = [trimesh.creation.box((size,) * 3) for size in (2, 1)]
    both = trimesh.util.concatenate(boxes)
    points, faces = scan_mesh(
        Mesh(both.vertices, both.faces), ScanSettings(cameras=6, resolution=48, noise=0, missing=0.2)
    )
    assert set(faces) <= set(range(12))
    np.testing.assert_allclose(np.abs(points).max(axis=1), 1, atol=1e-9)
    whole, _ = scan_mesh(Mesh(both.vertices, both.faces), ScanSettings(6, 48, 0, 0))
    assert 0.6 < len(points) / len(whole) < 0.85


def test_command_line_writes_a_cloud(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["--model", "small-untrained", "--prompts", "4", "--device", "cpu"]
    splats, out, labels = str(CASES / "ply_gaussian_splat.ply"), tmp_path / "out.ply", tmp_path / "out.npy"
    assert main(["segment", splats, "-o", str(tmp_path / "out.glb"), *quick]) == 1
    assert "give -o OUT.ply" in capsys.readouterr().err
    assert main(["segment", splats, "-o", str(out), "--labels", str(labels), *quick]) == 0
    count = len(read_scan_or_mesh(splats).cloud.positions)
    assert f"{count:,} points" in capsys.readouterr().out
    assert np.load(labels).shape == (count,)
    assert len(read_scan_or_mesh(out).cloud.positions) == count
