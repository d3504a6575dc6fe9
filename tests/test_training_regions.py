# SPDX-License-Identifier: GPL-3.0-or-later
"""Crease regions on their way from the meshes of training shapes to the network."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import mushroom, write_tiny_config
from torch._subclasses.fake_tensor import FakeTensorMode

from backend import Mesh
from backend.errors import DataError
from backend.labelled_meshes.packing import load_shapes, pack_store
from backend.labelled_meshes.shards import LabelledShape, ShapeSet, write_shard
from backend.network import regions_in_view
from backend.refinement.face_graph import build_face_graph
from backend.segmentation.bends import graph_of_bends
from backend.segmentation.creases import CreaseRegions, crease_regions
from backend.segmentation.sites import Sites
from backend.training import region_files
from backend.training.augmentation import LabelledPoints, crop
from backend.training.batch import BatchConfig, BatchSampler
from backend.training.config import read_config
from backend.training.interaction import METRICS
from backend.training.region_files import load_regions, load_store, main, region_file
from backend.training.trainer import Trainer


def sheet() -> LabelledShape:
    """Two triangles; it has fewer atoms than the mushroom."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=float)
    info = {"names": ["half"], "repo": "b/b", "path": "sheet.glb", "licence": "CC0-1.0"}
    return LabelledShape(Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]])), np.array([[0, 1]], np.uint8), info)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """A packed set and a shard, which is named twice; shards come first when they are loaded."""
    write_shard(tmp_path / "one.npz.xz", ShapeSet.from_shapes([mushroom(), sheet()]))
    pack_store([tmp_path / "one.npz.xz"], tmp_path / "all.pack")
    return [str(tmp_path / name) for name in ("all.pack", "one.npz.xz", "one.npz.xz")]


def test_files_hold_the_regions_of_the_meshes_as_stored(files: list[str]) -> None:
    assert main([*files, "--workers", "2"]) == 0
    shapes = load_shapes(files)
    store = load_store(files, with_regions=True).regions
    assert store is not None
    assert len(store.counts) == len(shapes) == 6
    np.testing.assert_array_equal(store.starts[:2], store.starts[2:4])  # the same file
    assert len(store.pairs) == (store.counts[[0, 1, 4, 5]] ** 2).sum()
    tables = store.tables(torch.arange(6), torch.tensor([True] * 5 + [False]))
    assert tables.shape == (6, store.most, store.most, 8)
    assert store.most == 64  # rounded up, so that kernels that are compiled for it serve the next shards, too
    for row in range(6):
        mesh = shapes.shape(row).mesh
        wanted = _regions_in_the_product(mesh)
        count = len(wanted.pairs)
        faces = slice(shapes.face_starts[row], shapes.face_starts[row + 1])
        np.testing.assert_array_equal(store.atoms[faces], wanted.of_sites)
        assert store.counts[row] == count
        if row < 5:
            np.testing.assert_array_equal(tables[row, :count, :count], wanted.pairs.astype(np.float32))
        assert not tables[row, count:].any()
        assert not tables[row, :, count:].any()
    assert not tables[5].any()


def test_shapes_of_too_many_faces_have_unknown_regions(files: list[str], monkeypatch) -> None:
    monkeypatch.setattr(region_files, "MOST_FACES", 10)
    regions = load_store(files[1:2], with_regions=True).regions
    assert regions is not None
    assert regions.counts[0] == 0
    assert regions.counts[1] > 0
    assert not regions.atoms[:24].any()
    region_file(files[1]).unlink()
    monkeypatch.setattr(region_files, "MOST_FACES", 1)
    store = load_store(files[1:2], with_regions=True)
    batch = BatchSampler(store, BatchConfig(shapes=4, points=100))()
    assert batch.regions is not None
    assert not batch.regions.pairs.any()


def test_a_share_of_the_shapes_has_noise_and_its_regions(files: list[str]) -> None:
    """Borders are less clear or clearer then; pieces of the mesh remain pieces."""
    tables, atoms, corners = [], [], []
    for share in ("0", "1"):
        assert main([files[1], "--noisy", share]) == 0
        store = load_store(files[1:2], with_regions=True)
        regions = store.regions
        assert regions is not None
        corners.append(store.corners)
        tables.append(regions.tables(torch.tensor([0]), torch.tensor([True])))
        atoms.append([set(row.tolist()) for row in regions.atoms[:24].reshape(2, 12)])
    assert not torch.equal(*tables)
    assert not atoms[1][0] & atoms[1][1]
    assert 0 < (corners[1] - corners[0]).abs().max() < 2000  # of 65,536 steps
    assert torch.equal(load_store(files[1:2], with_regions=False).corners, corners[0])
    noisy = load_shapes(files[1:2])
    noisy = region_files.with_noise(noisy, np.ones(2))
    wanted = _regions_in_the_product(noisy.shape(0).mesh)
    np.testing.assert_array_equal(
        tables[1][0, : len(wanted.pairs), : len(wanted.pairs)], wanted.pairs.astype(np.float32)
    )
    assert len(np.unique(noisy.shape(0).mesh.vertices, axis=0)) == 16  # no corner came apart


def test_files_of_other_shapes_and_damaged_ones_are_refused(files: list[str]) -> None:
    load_store(files, with_regions=True)  # writes them
    shapes = load_shapes(files)
    with pytest.raises(DataError, match="others than the files"):
        load_regions(files[1:], shapes)
    with pytest.raises(DataError, match="others than the files"):
        load_regions(files, dataclasses.replace(shapes, vertices=shapes.vertices // 2))
    path = region_file(files[0])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="damaged"):
        load_regions(files, shapes)


def test_a_shape_without_area_takes_its_regions_along(tmp_path: Path) -> None:
    flat = dataclasses.replace(sheet(), mesh=Mesh(np.eye(3) * [1, 0, 0], np.array([[0, 1, 2], [0, 1, 1]])))
    write_shard(tmp_path / "x.npz.xz", ShapeSet.from_shapes([flat, mushroom()]))
    store = load_store([tmp_path / "x.npz.xz"], with_regions=True)
    alone = load_store([_written(tmp_path / "y.npz.xz", mushroom())], with_regions=True)
    assert store.regions is not None
    assert alone.regions is not None
    np.testing.assert_array_equal(store.regions.atoms, alone.regions.atoms)
    known = torch.ones(1, dtype=torch.bool)
    np.testing.assert_array_equal(*(s.regions.tables(torch.tensor([0]), known) for s in (store, alone)))


def test_only_whole_shapes_have_known_regions(files: list[str]) -> None:
    store = load_store(files, with_regions=True)
    config = BatchConfig(shapes=8, points=300, composed=0.25, fused=0.25, cropped=0.125, regions_unknown=0.5)
    torch.manual_seed(0)
    batch = BatchSampler(store, config)()
    plain = 8 - 2 - 2 - 1 + round(8 * 0.25 * 0.25)
    assert batch.regions is not None
    of_points, pairs = batch.regions.of_points, batch.regions.pairs
    known = pairs[:, 0, 0, 0] == 1
    assert 0 < known[:plain].sum() < plain
    assert not known[plain:].any()
    assert not pairs[~known].any()
    assert not of_points[~known].any()
    inside = pairs.gather(1, of_points[:, :, None, None].expand(-1, -1, pairs.shape[2], 8))
    assert inside[known][:, :, 0, 0].all()  # each point's atom is one of its shape's


def test_crops_have_regions_if_the_network_reads_them_there(files: list[str]) -> None:
    """Those of the whole shape, which take more of what is in view."""
    store = load_store(files[1:2], with_regions=True)
    assert store.regions is not None
    config = BatchConfig(shapes=6, points=300, composed=0, fused=0, cropped=1, regions_unknown=0)
    batch = BatchSampler(store, config, crop_regions=True)()
    assert batch.regions is not None
    of_shape = store.regions.tables(torch.arange(2), torch.ones(2, dtype=torch.bool))
    shares = []
    for atoms, table in zip(batch.regions.of_points, batch.regions.pairs, strict=True):
        (whole,) = (own for own in of_shape if own[..., 0].sum() == table[..., 0].sum())
        assert (table[atoms, atoms, 0] == 1).all()
        same, logs = [0, 2, 3, 4, 7], [1, 5, 6]
        assert torch.equal(table[..., same], whole[..., same])
        added = (table - whole)[..., logs][table[..., logs] < 0]  # nothing takes more than everything
        assert torch.equal(
            table[..., logs][whole[..., logs] == 0], torch.zeros(int((whole[..., logs] == 0).sum()))
        )
        shares += torch.exp(-8 * added).tolist()
    assert all(config.closest <= share + 0.005 and share <= 0.505 for share in shares)
    assert len(np.unique(np.round(shares, 4))) > 1


def test_shares_in_view_are_those_of_the_points() -> None:
    points = torch.rand(3, 1000, 3)
    ids = torch.arange(1000).expand(3, -1)
    whole = LabelledPoints(points, points, points, ids, ids[:, None], regions=ids)
    balls, shares = crop(whole, 1000, least_share=0.1)
    assert [len(own.unique()) for own in balls.part_ids] == (shares * 1000).round().long().tolist()
    assert balls.regions is not None
    assert torch.equal(balls.regions, balls.part_ids)
    pairs = torch.full((3, 2, 2, 8), -0.1)
    seen = regions_in_view(pairs, shares)
    assert torch.allclose(seen[:, 0, 0, 1], (shares.log() / -8 - 0.1).clamp(max=0))


def test_points_have_the_atoms_of_their_faces(files: list[str]) -> None:
    store = load_store(files[1:2], with_regions=True)
    assert store.regions is not None
    still = dict.fromkeys(("spin", "axis_swap", "any_rotation", "stretch", "flip", "jitter", "drop"), 0.0)
    config = BatchConfig(shapes=8, points=200, composed=0, fused=0, regions_unknown=0)
    config = dataclasses.replace(config, augmentation=dataclasses.replace(config.augmentation, **still))
    batch = BatchSampler(store, config)()
    assert batch.regions is not None
    atoms = store.regions.atoms[:24].reshape(2, 12)
    stem, cap = (set(row.tolist()) for row in atoms)
    assert not stem & cap  # separate pieces
    atoms_of, pairs = batch.regions.of_points, batch.regions.pairs
    mushrooms = pairs[:, :, :, 0].sum(dim=(1, 2)) == float(store.regions.counts[0]) ** 2
    assert mushrooms.any()
    for part_ids, atom in zip(batch.part_ids[mushrooms], atoms_of[mushrooms], strict=True):
        assert set(atom[part_ids == 0].tolist()) <= stem
        assert set(atom[part_ids == 1].tolist()) <= cap


def test_drawing_regions_never_waits_for_the_device(files: list[str], monkeypatch) -> None:
    """Under fake tensors, which have no values, anything that would read one back raises."""
    config = BatchConfig(shapes=8, points=100, cropped=0.25)
    sampler = BatchSampler(load_store(files, with_regions=True), config, crop_regions=True)
    monkeypatch.delattr(torch, "tensor")
    monkeypatch.delattr(torch, "as_tensor")
    with FakeTensorMode(allow_non_fake_inputs=True):
        batch = sampler()
    assert batch.regions is not None
    assert len(batch.regions.pairs) == len(batch.regions.of_points) == 8


def test_training_reaches_the_weights_that_read_regions(tmp_path: Path) -> None:
    switches = ("region_close_ups", "score_regions")
    sizes = {"region_prompt": 8, **dict.fromkeys(switches, True)}
    overrides = {f"network_sizes.{name}": value for name, value in sizes.items()} | {"batch.cropped": 0.5}
    config = read_config(write_tiny_config(tmp_path), overrides)
    trainer = Trainer(config, tmp_path / "run", device="cpu")
    before = {name: value.clone() for name, value in trainer.network.state_dict().items() if "region" in name}
    assert before
    trainer.run()
    values = trainer.step.read_metrics()
    assert set(METRICS) <= set(values)
    after = trainer.network.state_dict()
    assert all(torch.isfinite(value).all() for value in after.values())
    unmoved = [name for name, value in before.items() if torch.equal(value, after[name])]
    assert not unmoved


def _regions_in_the_product(mesh: Mesh) -> CreaseRegions:
    sites = Sites.of_mesh(mesh, np.arange(mesh.face_count))
    return crease_regions(graph_of_bends(build_face_graph(mesh), sites, mesh), sites.weights)


def _written(path: Path, shape: LabelledShape) -> Path:
    write_shard(path, ShapeSet.from_shapes([shape]))
    return path
