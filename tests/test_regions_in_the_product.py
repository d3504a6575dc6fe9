# SPDX-License-Identifier: GPL-3.0-or-later
"""Crease regions on their way from a mesh to the network's answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from backend import encoding
from backend.geometry import Mesh, face_centroids, sample_surface
from backend.network import regions_in_view, untrained_network
from backend.refinement import build_face_graph
from backend.segmentation import sites
from backend.segmentation.bends import graph_of_bends
from backend.segmentation.clicked_sites import clicked_sites, distances_to_triangles
from backend.segmentation.close_up import CloseUp
from backend.segmentation.creases import CreaseRegions, crease_regions
from backend.segmentation.encoded_shape import PromptDecoder
from backend.segmentation.poses import TURNS
from backend.segmentation.sites import sites_in_order
from backend.segmenter import EncodedShape, Segmenter
from tests.built_meshes import joined, plate
from tests.tiny_network import TINY, UNFILTERED, tiny_segmenter

READS_REGIONS = replace(TINY, size_prompt=True, region_prompt=8)
STEPS = 12
CLICK = np.ones(1, dtype=np.int64)
BOTH = np.array([1, 0])


def dumbbell(columns: int = 24) -> Mesh:
    """A tube about the x axis that is narrow in the middle: each bulb is bounded by a concave crease."""
    x = np.linspace(-1, 1, columns + 1)
    radius = np.where(np.abs(x) < 0.25, 0.2, 0.6) * np.where(np.abs(x) > 0.99, 0.05, 1)
    angle = np.arange(STEPS) * 2 * np.pi / STEPS
    rings = [
        np.stack([np.full(STEPS, at), r * np.cos(angle), r * np.sin(angle)], axis=1)
        for at, r in zip(x, radius, strict=True)
    ]
    corner = np.arange((columns + 1) * STEPS).reshape(columns + 1, STEPS)
    a, b = corner[:-1], corner[1:]
    c, d = np.roll(b, -1, axis=1), np.roll(a, -1, axis=1)
    faces = np.concatenate([np.stack([a, d, c], -1).reshape(-1, 3), np.stack([a, c, b], -1).reshape(-1, 3)])
    return Mesh(np.concatenate(rings), faces)


def reading(*, patches: float, masks: float, closely: bool = False) -> Segmenter:
    """Untrained, with random weights so large where those of regions are zero before training: in what is
    added to the patches, and in what is added to masks."""
    network = untrained_network(replace(READS_REGIONS, region_close_ups=closely), seed=3)
    assert network.decoder.regions is not None
    generator = torch.Generator().manual_seed(4)
    for layer, scale in (
        (network.decoder.regions.patch_out, patches),
        (network.decoder.regions.token_out, masks),
    ):
        layer.weight.data.normal_(0, scale, generator=generator)
        layer.bias.data.normal_(0, scale, generator=generator)
    return Segmenter(network)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return dumbbell()


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return reading(patches=0.5, masks=0.5)


@pytest.fixture(scope="module")
def shape(segmenter: Segmenter, mesh: Mesh) -> EncodedShape:
    return segmenter.encode(mesh)


@pytest.mark.parametrize("most_sites", [50_000, 200])
def test_points_and_sites_know_their_atoms(
    segmenter: Segmenter, mesh: Mesh, most_sites: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sites, "MAX_SITES", most_sites)
    shape = segmenter.encode(mesh)
    found = regions_of(shape)
    assert (len(found.of_sites) < mesh.face_count) == (most_sites < mesh.face_count)
    assert_known(shape, found)
    assert shape.face_graph is shape.face_graph
    # From one bulb to the other a click crosses something clear, within a bulb it does not.
    clicks = np.array([[-0.8, 0, 0.6], [-0.6, 0, -0.6], [0.8, 0, 0.6]])
    atoms = atoms_of(segmenter, shape, clicks)
    crossed = found.pairs[..., 3]
    assert crossed[atoms[0], atoms[2]] > 0.9 > 0.5 > crossed[atoms[0], atoms[1]]


def regions_of(shape: EncodedShape) -> CreaseRegions:
    mesh = shape.mesh
    assert mesh is not None
    graph = graph_of_bends(build_face_graph(mesh), shape.sites, mesh)
    return crease_regions(graph, shape.sites.weights, order=sites_in_order(shape.sites, mesh))


def assert_known(shape: EncodedShape, found: CreaseRegions) -> None:
    """That regions are placed everywhere."""
    points = torch.as_tensor(found.of_sites[shape.sites.of_point]).long()
    locations = (shape.point_locations.regions, shape.site_locations.regions)
    assert locations[0] is not None
    assert locations[1] is not None
    assert (locations[0][0] == points).all()
    assert (locations[1][0].numpy() == found.of_sites).all()
    assert shape.encoding.region_pairs is not None
    assert (shape.encoding.region_pairs[0].numpy() == found.pairs).all()
    assert shape.encoding.center_regions is not None
    assert (shape.encoding.center_regions == points[shape.geometry.center_index]).all()


def atoms_of(segmenter: Segmenter, shape: EncodedShape, clicks: np.ndarray) -> np.ndarray:
    """As the decoder finds them."""
    cube = torch.as_tensor(shape.normalization.apply(clicks)).float()
    found = PromptDecoder(segmenter._on_device, shape).regions_of_nearest(cube[:, None])
    assert found is not None
    return found[0, :, 0].numpy()


def test_turned_shapes_have_the_same_regions(segmenter: Segmenter, shape: EncodedShape) -> None:
    turned = segmenter._encoder.turned(shape, TURNS[1])
    found = regions_of(shape)
    assert_known(turned, found)
    clicks = torch.as_tensor(turned.points[:50, None])
    atoms = PromptDecoder(segmenter._on_device, turned).regions_of_nearest(clicks)
    assert atoms is not None
    assert (atoms[0, :, 0].numpy() == found.of_sites[shape.sites.of_point[:50]]).all()


def test_patches_are_told_how_they_hang_together(mesh: Mesh) -> None:
    config = replace(READS_REGIONS, patch_layers=1, patch_width=16, patch_heads=2, patch_regions=8)
    network = untrained_network(config, seed=3)
    assert network.patch_context is not None
    assert network.patch_context.regions is not None
    for layer in (network.patch_context.out, network.patch_context.regions.out):
        layer.weight.data.normal_(0, 3, generator=torch.Generator().manual_seed(4))
    segmenter = Segmenter(network)
    shape = segmenter.encode(mesh)
    for seen in (shape, segmenter._encoder.turned(shape, TURNS[1])):
        assert_known(seen, regions_of(shape))
        given = [
            torch.as_tensor(rows, dtype=torch.float32)[None]
            for rows in (seen.points, seen.normalization.directions(seen.normals), seen.colors)
        ]
        assert seen.regions is not None
        with torch.inference_mode():
            told = network.encode(*given, seen.geometry, seen.regions.for_network).patches
            untold = network.encode(*given, seen.geometry).patches
        torch.testing.assert_close(seen.encoding.patches, told)
        assert (told - untold).norm() > 0.01 * untold.norm()


def test_regions_of_many_faces_are_found_once_the_network_asks(
    segmenter: Segmenter, mesh: Mesh, shape: EncodedShape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not in a thread beside it, which takes more memory."""
    monkeypatch.setattr(encoding, "_GRAPH_AHEAD_FACES", mesh.face_count - 1)
    monkeypatch.setattr(encoding, "started", None)
    assert_known(segmenter.encode(mesh), regions_of(shape))


@pytest.mark.parametrize(("most_sites", "noise"), [(50_000, 0.0), (300, 0.01)])
def test_regions_do_not_hang_on_the_order_of_faces(
    segmenter: Segmenter, most_sites: int, noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even on flat ground, where all borders are equal."""
    monkeypatch.setattr(sites, "MAX_SITES", most_sites)
    rng = np.random.default_rng(2)
    mesh = joined(dumbbell(), plate(12, 9))
    vertices = mesh.vertices + noise * rng.normal(size=mesh.vertices.shape)
    order = rng.permutation(mesh.face_count)
    numbers = (np.arange(mesh.face_count), order)
    own, other = (segmenter.encode(Mesh(vertices, mesh.triangles[rows])) for rows in numbers)
    assert own.regions is not None
    assert other.regions is not None
    atoms, others = (each.at_faces(each.regions.of_sites)[0] for each in (own, other))
    assert (atoms[order] == others).all()
    torch.testing.assert_close(own.regions.pairs, other.regions.pairs, rtol=0, atol=1e-3)


def test_what_regions_add_to_a_mask_ends_at_the_crease(mesh: Mesh) -> None:
    clicks = face_centroids(mesh)[[30]]
    without, with_regions = (
        segmenter.predict(segmenter.encode(mesh), clicks, CLICK)
        for segmenter in (reading(patches=0, masks=0), reading(patches=0, masks=0.5))
    )
    shape = reading(patches=0, masks=0).encode(mesh)
    assert shape.regions is not None
    assert without.face_logits is not None
    assert with_regions.face_logits is not None
    added = with_regions.face_logits - without.face_logits
    atoms = shape.regions.of_sites[0].numpy()
    of_atom = np.stack([added[:, atoms == atom].mean(axis=1) for atom in range(atoms.max() + 1)], axis=1)
    np.testing.assert_allclose(added, of_atom[:, atoms], atol=1e-4)
    assert np.ptp(of_atom, axis=1).min() > 0.01
    left, right = (
        atoms[side] for side in (face_centroids(mesh)[:, 0] < -0.3, face_centroids(mesh)[:, 0] > 0.3)
    )
    assert not set(left) & set(right)


def test_all_ways_to_ask_read_regions(mesh: Mesh, segmenter: Segmenter, shape: EncodedShape) -> None:
    plain = reading(patches=0, masks=0)
    same = plain.encode(mesh)
    clicks = np.stack([shape.world_points[5], shape.world_points[9]])
    signs = np.array([1, 0])
    answers = []
    for each, own in ((segmenter, shape), (plain, same)):
        first = each.predict(own, clicks[:1], CLICK, size=0.2)
        second = each.predict(own, clicks, signs, previous=first)
        parts = each.predict_parts(own, [clicks[:1], clicks[1:]])
        cube = torch.as_tensor(own.points[:70, None])
        many, _ = each.predict_batch(own, cube, torch.ones(70, 1))
        at_faces = each.face_logits_batch(own, cube[:3], torch.ones(3, 1)).numpy()
        answers.append([first.face_logits, second.point_logits, parts.face_logits, many.numpy(), at_faces])
    for with_regions, without in zip(*answers, strict=True):
        assert np.isfinite(with_regions).all()
        assert np.abs(with_regions - without).max() > 0.01


def test_distances_to_triangles_are_those_of_the_nearest_places() -> None:
    rng = np.random.default_rng(1)
    corners = rng.normal(size=(60, 3, 3))
    corners[40:50, 2] = corners[40:50, 1]  # no area
    corners[50:, 2] = corners[50:, 0] + 2 * (corners[50:, 1] - corners[50:, 0])
    corners[59] = corners[59, 0]
    for place in rng.normal(size=(20, 3)):
        found = distances_to_triangles(place, corners)
        nearest = trimesh.triangles.closest_point(corners[:40], np.broadcast_to(place, (40, 3)))
        np.testing.assert_allclose(found[:40], np.linalg.norm(nearest - place, axis=1), atol=1e-12)
        steps = np.linspace(0, 1, 2001)[:, None, None]
        onto = corners[40:, 0] + steps * (corners[40:, 2] - corners[40:, 0])
        np.testing.assert_allclose(found[40:], np.linalg.norm(onto - place, axis=2).min(axis=0), atol=5e-3)


def test_clicks_lie_on_the_faces_below_them(segmenter: Segmenter, mesh: Mesh) -> None:
    crumb = trimesh.creation.icosphere(subdivisions=1, radius=0.004)
    mesh = joined(mesh, Mesh(crumb.vertices + np.array([0, 0.1, 0.204]), crumb.faces))
    shape = segmenter.encode(mesh)
    assert shape.point_faces is not None
    on_crumb = np.arange(mesh.face_count - len(crumb.faces), mesh.face_count)
    assert not np.isin(shape.point_faces, on_crumb).any()
    np.testing.assert_array_equal(clicked_sites(shape, face_centroids(mesh, on_crumb)), on_crumb)
    drawn = sample_surface(mesh, 100, seed=7)
    found = clicked_sites(shape, drawn.points)
    np.testing.assert_array_equal(found, drawn.faces)
    own = shape.world_points[:40].reshape(5, 8, 3)
    np.testing.assert_array_equal(clicked_sites(shape, own), shape.point_faces[:40].reshape(5, 8))


@pytest.mark.parametrize("poses", [1, 2])
def test_every_part_is_found_with_regions(segmenter: Segmenter, shape: EncodedShape, poses: int) -> None:
    parts = segmenter.segment_every_part(shape, prompts=20, poses=poses, settings=UNFILTERED)
    assert len(parts.face_labels(0.5)) == len(shape.mesh.triangles)  # type: ignore[union-attr]
    assert np.isfinite(parts.mask_logits).all()


def test_clouds_know_no_regions(segmenter: Segmenter, mesh: Mesh) -> None:
    drawn = sample_surface(mesh, 300, seed=0)
    cloud = segmenter.encode_points(drawn.points, drawn.normals)
    assert cloud.regions is None
    assert np.isfinite(segmenter.predict(cloud, drawn.points[:2], np.array([1, 0])).point_logits).all()
    own = segmenter.encode_points(drawn.points, drawn.normals, point_faces=drawn.faces, mesh=mesh)
    assert own.regions is not None


def close_up(segmenter: Segmenter, shape: EncodedShape, click: np.ndarray) -> CloseUp:
    ball = segmenter.where_to_look(shape, click, CLICK, size=0.01)
    assert ball is not None
    return segmenter.close_up(shape, ball)


def test_close_ups_know_no_regions_unless_the_network_reads_them_there(
    segmenter: Segmenter, mesh: Mesh, shape: EncodedShape
) -> None:
    click = face_centroids(mesh)[[40]]
    zoom = close_up(segmenter, shape, click)
    assert zoom.encoded.regions is None
    closer = segmenter.predict(shape, click, CLICK, size=0.01, zoom=zoom)
    assert np.isfinite(closer.scores).all()


def test_close_ups_know_the_regions_of_the_shape_by_what_is_in_view(mesh: Mesh) -> None:
    network = reading(patches=0.5, masks=0.5, closely=True)
    shape = network.encode(mesh)
    clicks = face_centroids(mesh)[[40, 41]]
    zoom = close_up(network, shape, clicks[:1])
    crop, whole = zoom.encoded, shape.regions
    assert crop.regions is not None
    assert whole is not None
    of_face = shape.at_faces(whole.of_sites)[0]
    assert (crop.regions.of_points[0] == of_face[crop.point_faces.tolist()]).all()  # type: ignore[union-attr]
    assert torch.equal(crop.point_locations.regions, whole.of_points[:, zoom.points])  # type: ignore[arg-type]
    assert torch.equal(crop.site_locations.regions, whole.of_sites[:, zoom.sites])  # type: ignore[arg-type]
    assert torch.equal(crop.regions.pairs, regions_in_view(whole.pairs, torch.tensor([zoom.ball.share])))
    atoms = PromptDecoder(network._on_device, crop).regions_of_nearest(
        crop.point_locations.points[0, :, None]
    )
    assert torch.equal(atoms[0, :, 0], crop.point_locations.regions[0])  # type: ignore[index]
    # Turning what reads regions off, and nothing else, changes what the close-up answers.
    blind = replace(
        zoom, encoded=replace(crop, regions=None, encoding=replace(crop.encoding, region_pairs=None))
    )
    answers = [
        network.look_closer(shape, each, network.predict(shape, clicks, BOTH), clicks, BOTH)
        for each in (zoom, blind)
    ]
    seen, unseen = (answer.face_logits for answer in answers)
    assert seen is not None
    assert np.isfinite(seen).all()
    assert np.abs(seen - unseen).max() > 0.01


def test_other_networks_do_no_work_for_regions(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "crease_regions", None)
    shape = tiny_segmenter().encode(mesh)
    assert shape.regions is shape.encoding.region_pairs is shape.graph_ahead is None
