# SPDX-License-Identifier: GPL-3.0-or-later
"""Shards, packed sets, the mesh store, batches and procedural shapes, on built data with known answers."""

from __future__ import annotations

import dataclasses
import lzma
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from backend.click_simulation import ClickConfig, corrective_clicks, deep_points, first_clicks
from backend.errors import DataError
from backend.geometry import Mesh, face_areas
from backend.labelled_meshes.packing import load_shapes, pack_store, read_packed
from backend.labelled_meshes.shards import (
    LabelledShape,
    ShapeSet,
    dump_arrays,
    load_arrays,
    read_shard,
    write_shard,
)
from backend.training.augmentation import AugmentationConfig
from backend.training.batch import (
    MAX_PARTS,
    BatchConfig,
    BatchSampler,
    choose_targets,
    labeling_weights,
    shape_weights,
)
from backend.training.interaction import alternatives, joint_prompts
from backend.training.losses import LossConfig, mask_losses, triplet_contrast
from backend.training.mesh_store import MeshStore
from backend.training.procedural import procedural_shapes

STILL = AugmentationConfig(
    spin=0, axis_swap=0, any_rotation=0, stretch=0, flip=0, jitter=0, grey=0, color_gain=0,
    normal_noise=0, normal_flip=0, drop=0,
)  # fmt: skip


def boxes(count: int, *, repo: str = "a/a", seed: int = 0) -> LabelledShape:
    """`count` separate boxes in a row; labeling 0: box; labeling 1: halves, the last box unlabelled."""
    random = np.random.default_rng(seed)
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
    quads = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    vertices = np.concatenate([corners * random.uniform(0.3, 1, 3) + [2 * i, 0, 0] for i in range(count)])
    faces = np.concatenate([triangles + 8 * i for i in range(count)])
    box = np.repeat(np.arange(count), 12)
    halves = np.where(box == count - 1, 255, (box >= count // 2).astype(int))
    colors = random.integers(0, 256, (count, 3))[box] / 255
    info = {"names": ["component", "half"], "repo": repo, "path": f"{count}.glb", "licence": "CC0-1.0"}
    return LabelledShape(Mesh(vertices, faces, colors), np.stack([box, halves]).astype(np.uint8), info)


@pytest.fixture
def shapes() -> ShapeSet:
    return ShapeSet.from_shapes([boxes(3), boxes(5, repo="b/b", seed=1), boxes(4, seed=2)])


def face_rows(shape: LabelledShape, levels: int) -> np.ndarray:
    """Sorted rows of quantised corners, labels and colour per face; free of vertex and face order."""
    grid = np.rint((shape.mesh.corners() + 1) / 2 * levels).astype(np.int64)
    corner = np.sort(grid @ [levels**2 * 4, levels * 2, 1], axis=1)
    assert shape.mesh.face_colors is not None
    colors = np.rint(shape.mesh.face_colors * 255).astype(np.int64)
    rows = np.concatenate([corner, shape.labelings.T.astype(np.int64), colors], axis=1)
    return rows[np.lexsort(rows.T)]


def test_shard_round_trip(tmp_path: Path, shapes: ShapeSet) -> None:
    write_shard(tmp_path / "x.npz.xz", shapes)
    back = read_shard(tmp_path / "x.npz.xz")
    for name in ("vertices", "faces", "colors", "labels", "vertex_counts", "face_counts", "labeling_counts"):
        np.testing.assert_array_equal(getattr(back, name), getattr(shapes, name))
    assert back.info == shapes.info
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz.xz"]


def test_shape_is_scaled_to_the_unit_cube_and_subsets_keep_it(shapes: ShapeSet) -> None:
    shape = shapes.shape(1)
    assert np.ptp(shape.mesh.vertices, axis=0).max() == pytest.approx(2)
    assert shape.labelings.shape == (2, 60)
    picked = shapes.subset([2, 1]).shape(1)
    np.testing.assert_array_equal(picked.mesh.vertices, shape.mesh.vertices)
    np.testing.assert_array_equal(picked.mesh.triangles, shape.mesh.triangles)
    np.testing.assert_array_equal(picked.labelings, shape.labelings)
    assert picked.info == shape.info


def test_a_mesh_of_many_vertices_keeps_its_faces(tmp_path: Path) -> None:
    """More than 16-bit indices address."""
    side = 260
    x, y = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side), indexing="ij")
    corner = np.arange(side * side).reshape(side, side)[:-1, :-1].ravel()
    faces = np.stack([corner, corner + side, corner + side + 1], axis=1)
    mesh = Mesh(np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1), faces)
    info = {"names": ["half"], "repo": "a/a", "path": "grid.glb", "licence": "CC0-1.0"}
    grid = LabelledShape(mesh, (faces[:, 0] > 30_000).astype(np.uint8)[None], info)
    write_shard(tmp_path / "grid.npz.xz", ShapeSet.from_shapes([boxes(3), grid]))
    shapes = read_shard(tmp_path / "grid.npz.xz")
    np.testing.assert_array_equal(shapes.shape(1).mesh.triangles, faces)
    assert ShapeSet.from_shapes([boxes(3)]).faces.dtype == np.uint16
    area = MeshStore.from_shapes(shapes).shape_areas(torch.tensor([1]))
    assert float(area) == pytest.approx(2.0, rel=1e-3)  # half of a square of side 2
    pack_store([tmp_path / "grid.npz.xz"], tmp_path / "grid.pack", chunks=1)
    packed = read_packed(tmp_path / "grid.pack").shape(1)
    assert face_areas(packed.mesh).sum() == pytest.approx(2.0, rel=1e-2)
    assert (packed.labelings == 1).sum() == (grid.labelings == 1).sum()


def test_damaged_shards_are_refused(tmp_path: Path, shapes: ShapeSet) -> None:
    path = tmp_path / "x.npz.xz"
    with pytest.raises(DataError, match="cannot read"):
        read_shard(path)
    write_shard(path, shapes)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="truncated"):
        read_shard(path)
    path.write_bytes(lzma.compress(b"no archive"))
    with pytest.raises(DataError, match="no shard"):
        read_shard(path)


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("f", lambda f: f + 100, "vertex that does not exist"),
        ("l", lambda label: label[:-1], "labels have shape"),
        ("nf", lambda nf: nf + 1, "faces have shape"),
        ("nl", lambda nl: nl * 0, "needs vertices"),
        ("v", lambda v: v.astype(np.float32), "wrong type"),
        ("info", lambda info: info[:5], "JSON"),
        ("c", None, "no field 'c'"),
    ],
)
def test_inconsistent_shards_are_refused(tmp_path: Path, shapes: ShapeSet, field, change, message) -> None:
    path = tmp_path / "x.npz.xz"
    write_shard(path, shapes)
    arrays = load_arrays(path.read_bytes(), "x")
    if change is None:
        del arrays[field]
    else:
        arrays[field] = change(arrays[field])
    path.write_bytes(dump_arrays(arrays))
    with pytest.raises(DataError, match=message):
        read_shard(path)


def test_packing_keeps_every_face_with_its_labels_and_colours(tmp_path: Path, shapes: ShapeSet) -> None:
    write_shard(tmp_path / "x.npz.xz", shapes)
    report = pack_store([tmp_path / "x.npz.xz"], tmp_path / "x.pack", chunks=2)
    assert (report.shapes, report.given, report.faces) == (3, 3, 144)
    assert report.bytes == (tmp_path / "x.pack").stat().st_size
    back = load_shapes([tmp_path / "x.pack"])
    assert back.info == shapes.info
    for index in range(3):
        before, after = shapes.shape(index), back.shape(index)
        np.testing.assert_array_equal(face_rows(after, 4095), face_rows(before, 4095))
        assert face_areas(after.mesh).sum() == pytest.approx(face_areas(before.mesh).sum(), rel=1e-2)
        assert len(after.mesh.vertices) == 8 * before.mesh.face_count // 12


def test_packing_survives_degenerate_non_manifold_and_flipped_faces(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    vertices = random.integers(0, 3, (12, 3)).astype(float)  # many coincide and weld
    vertices[:2] = [[0, 0, 0], [2, 2, 2]]
    faces = random.integers(0, 12, (80, 3))
    labels = random.integers(0, 4, (1, 80)).astype(np.uint8)
    shape = LabelledShape(Mesh(vertices, faces, np.zeros((80, 3))), labels, {"repo": "r"})
    shapes = ShapeSet.from_shapes([shape, shape])
    write_shard(tmp_path / "x.npz.xz", shapes)
    pack_store([tmp_path / "x.npz.xz"], tmp_path / "x.pack", bits=16, chunks=1)
    back = read_packed(tmp_path / "x.pack")
    for index in range(2):
        np.testing.assert_array_equal(
            face_rows(back.shape(index), 65535), face_rows(shapes.shape(index), 65535)
        )


def test_pack_limits(tmp_path: Path, shapes: ShapeSet) -> None:
    write_shard(tmp_path / "x.npz.xz", shapes)
    source, out = [tmp_path / "x.npz.xz"], tmp_path / "x.pack"
    with pytest.raises(DataError, match="takes"):
        pack_store(source, out, max_bytes=100)
    assert not out.exists()
    assert pack_store(source, out, keep_fraction={"a/a": 0.5}).shapes == 2
    assert pack_store(source, out, max_faces=50).shapes == 2
    out.write_bytes(out.read_bytes()[:300])
    with pytest.raises(DataError, match="truncated"):
        read_packed(out)


def test_sampling_is_area_uniform_and_on_the_surface(shapes: ShapeSet) -> None:
    torch.manual_seed(0)
    store = MeshStore.from_shapes(shapes)
    count = 20_000
    ids = torch.tensor([1, 0, 1])
    surface = store.sample_points(ids, count)
    for row, shape_id in enumerate(ids.tolist()):
        mesh = shapes.shape(shape_id).mesh
        local = (surface.faces[row] - shapes.face_starts[shape_id]).numpy()
        expected = face_areas(mesh) / face_areas(mesh).sum() * count
        found = np.bincount(local, minlength=mesh.face_count)
        assert np.abs(found - expected).max() <= 2  # stratified: off by less than one at either end
        corners = mesh.corners()[local]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        offset = ((surface.points[row].numpy() - corners[:, 0]) * normal).sum(axis=1)
        assert np.abs(offset).max() < 1e-5
        np.testing.assert_allclose(surface.normals[row].numpy(), normal, atol=1e-4)
        np.testing.assert_allclose(surface.colors[row].numpy(), mesh.face_colors[local], atol=1e-6)


def test_part_ids_follow_the_labeling(shapes: ShapeSet) -> None:
    store = MeshStore.from_shapes(shapes)
    ids = torch.tensor([2, 1])
    faces = (
        torch.stack([torch.arange(48), torch.arange(48)]) + torch.from_numpy(shapes.face_starts)[ids, None]
    )
    found = store.part_ids(ids, faces, torch.tensor([0, 1]))
    np.testing.assert_array_equal(found[0], shapes.shape(2).labelings[0])
    wanted = shapes.shape(1).labelings[1][:48].astype(int)
    np.testing.assert_array_equal(found[1], np.where(wanted == 255, -1, wanted))


def test_store_drops_shapes_without_area(shapes: ShapeSet) -> None:
    flat = LabelledShape(Mesh([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]]), np.zeros((1, 1), np.uint8), {})
    both = ShapeSet.concatenate([ShapeSet.from_shapes([flat]), shapes])
    assert len(MeshStore.from_shapes(both)) == 3
    with pytest.raises(DataError, match="area"):
        MeshStore.from_shapes(ShapeSet.from_shapes([flat]))


def test_unknown_colour_becomes_the_networks_grey() -> None:
    shape = boxes(3)
    store = MeshStore.from_shapes(ShapeSet.from_shapes([LabelledShape(
        Mesh(shape.mesh.vertices, shape.mesh.triangles), shape.labelings, shape.info)]))  # fmt: skip
    assert (store.colors == 192).all()


@pytest.mark.parametrize(("power", "shares", "wanted"), [
    (0.0, (), [1 / 3, 1 / 3, 1 / 3]),
    (1.0, (), [1 / 4, 1 / 2, 1 / 4]),
    (0.5, (), [2**0.5 / (1 + 2**0.5) / 2, 1 / (1 + 2**0.5), 2**0.5 / (1 + 2**0.5) / 2]),
    (0.0, (("b/b", 0.1),), [0.45, 0.1, 0.45]),
])  # fmt: skip
def test_shape_weights(shapes: ShapeSet, power, shares, wanted) -> None:
    store = MeshStore.from_shapes(shapes)
    found = shape_weights(store, BatchConfig(repository_power=power, repository_shares=shares))
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_labelings_are_drawn_by_the_weight_of_their_kind(shapes: ShapeSet) -> None:
    torch.manual_seed(0)
    store = MeshStore.from_shapes(shapes)
    config = BatchConfig(labeling_weights=(("half", 0.25),))
    np.testing.assert_allclose(labeling_weights(store, config), [[0.8, 0.2]] * 3, atol=1e-6)
    one = MeshStore.from_shapes(
        ShapeSet.from_shapes([boxes(3), replace(boxes(4), labelings=boxes(4).labelings[:1])])
    )
    np.testing.assert_allclose(labeling_weights(one, config), [[0.8, 0.2], [1, 0]], atol=1e-6)
    batches = BatchConfig(shapes=400, points=60, labeling_weights=(("half", 0.25),), composed=0, fused=0)
    ids = BatchSampler(store, batches)().part_ids
    assert float((ids.amax(dim=1) == 1).float().mean()) == pytest.approx(0.2, abs=0.06)


def test_unknown_repository_share_is_an_error(shapes: ShapeSet) -> None:
    with pytest.raises(DataError, match="no shape comes from"):
        shape_weights(MeshStore.from_shapes(shapes), BatchConfig(repository_shares=(("c/c", 0.1),)))


def test_targets_obey_the_rules() -> None:
    torch.manual_seed(0)
    config = BatchConfig(masks=6, min_part_points=10, max_part_share=0.5)
    part_ids = torch.full((3, 1000), -1)
    part_ids[0, :600], part_ids[0, 600:650], part_ids[0, 650:655], part_ids[0, 655:900] = 0, 1, 2, 3
    part_ids[1, :20], part_ids[1, 20:60] = 7, 2 * MAX_PARTS - 1
    ids, valid = choose_targets(part_ids, config)
    assert set(ids[0].tolist()) == {1, 3}  # 0 is too large, 2 too small
    assert sorted(ids[0].tolist()) == [1, 1, 1, 3, 3, 3]
    assert set(ids[1].tolist()) == {7, 2 * MAX_PARTS - 1}
    assert valid.tolist() == [[True] * 6, [True] * 6, [False] * 6]


def test_small_parts_are_drawn_more_often_than_large_ones() -> None:
    torch.manual_seed(0)
    part_ids = torch.zeros(2000, 1000, dtype=torch.int64)
    part_ids[:, :20] = 1
    config = BatchConfig(masks=1, part_power=0.5, max_part_share=1.0)
    ids, _ = choose_targets(part_ids, config)
    expected = 20**-0.5 / (20**-0.5 + 980**-0.5)
    assert float((ids == 1).float().mean()) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(("composed", "fused"), [(0.0, 0.0), (0.5, 0.0), (0.0, 1.0), (0.5, 0.5)])
def test_batches_have_fixed_shapes_and_consistent_masks(shapes: ShapeSet, composed, fused) -> None:
    torch.manual_seed(0)
    config = BatchConfig(shapes=4, points=600, masks=5, composed=composed, fused=fused)
    batch = BatchSampler(MeshStore.from_shapes(shapes), config)()
    assert batch.points.shape == batch.normals.shape == batch.colors.shape == (4, 600, 3)
    assert batch.part_ids.shape == (4, 600)
    assert batch.target_masks.shape == (4, 5, 600)
    assert batch.valid.all()
    assert torch.equal(batch.target_masks, batch.part_ids[:, None] == batch.target_ids[..., None])
    extent = batch.points.amax(dim=1) - batch.points.amin(dim=1)
    torch.testing.assert_close(extent.amax(dim=1), torch.full((4,), 1.8))
    torch.testing.assert_close(batch.normals.norm(dim=-1), torch.ones(4, 600))
    is_composed = (batch.part_ids >= MAX_PARTS).any(dim=1)
    assert int(is_composed.sum()) == round(4 * composed)


def test_other_labelings_come_along(shapes: ShapeSet) -> None:
    store = MeshStore.from_shapes(shapes.subset([1]))  # five boxes, and two halves of two
    torch.manual_seed(0)
    batch = BatchSampler(store, BatchConfig(shapes=6, points=400, composed=0, fused=0))()
    for ids, other in zip(batch.part_ids, batch.other_ids, strict=True):
        fine, coarse = (ids, other[0]) if ids.max() > 1 else (other[0], ids)
        assert torch.equal(torch.where(fine == 4, -1, (fine >= 2).long()), coarse)
        assert (other[1] == -1).all()  # there is no third labeling


def test_crops_look_at_a_ball(shapes: ShapeSet) -> None:
    torch.manual_seed(0)
    store = MeshStore.from_shapes(shapes.subset([1]))
    config = BatchConfig(shapes=8, points=300, composed=0, fused=0, cropped=1.0, augmentation=STILL)
    batch = BatchSampler(store, config)()
    fine = (
        torch.stack([batch.part_ids, batch.other_ids[:, 0]]).amax(dim=(0, 2)) > 1
    )  # not only halves in sight
    assert int(fine.sum()) >= 4
    for ids, other in zip(batch.part_ids[fine], batch.other_ids[fine, 0], strict=True):
        boxes_seen = ids if ids.max() > other.max() else other
        assert len(boxes_seen.unique()) < 5  # some boxes of the row are out of sight
    extent = batch.points.amax(dim=1) - batch.points.amin(dim=1)
    torch.testing.assert_close(extent.amax(dim=1), torch.full((8,), 1.8))  # what is left fills the cube


def test_poses_of_one_model_count_as_one_shape(shapes: ShapeSet) -> None:
    paths = ["other.glb", "a.glb@walk", "a.glb@run"]
    info = tuple({"names": ["component", "half"], "repo": "one", "path": path} for path in paths)
    posed = dataclasses.replace(shapes.subset([0, 1, 1]), info=info)
    weights = shape_weights(MeshStore.from_shapes(posed), BatchConfig())
    torch.testing.assert_close(weights * 2, torch.tensor([1, 0.5, 0.5], dtype=torch.float64))


def test_alternatives_nest_with_the_target_and_differ_from_it() -> None:
    points = torch.arange(100)
    target = (points < 20)[None, None]
    whole, same, crossing, apart = (points < 50, points < 21, (points > 10) & (points < 40), points >= 20)
    for other, wanted in ((whole, True), (same, False), (crossing, False), (apart, False)):
        ids = torch.where(other, 0, -1)[None, None]
        found = alternatives(target, ids, torch.tensor([[15]]), None)
        assert bool(found.valid[0, 0, 0]) == wanted
    twice = torch.where(whole, 0, -1).expand(1, 2, -1)
    assert alternatives(target, twice, torch.tensor([[15]]), None).valid.tolist() == [[[True, False]]]
    assert not alternatives(target, twice, torch.tensor([[15]]), torch.tensor([[0.2]])).valid.any()


def test_clicks_of_other_parts_are_negative_and_those_of_the_same_part_are_not() -> None:
    torch.manual_seed(0)
    points = torch.rand(1, 90, 3)
    part = torch.arange(90) // 30
    ids = torch.tensor([[0, 1, 1]])
    targets = part[None, None] == ids[..., None]
    valid = torch.tensor([[True, True, True]])
    index, labels = joint_prompts(points, targets, ids, valid, ClickConfig(), 2)
    assert index.shape == labels.shape == (1, 3, 6)
    clicked = part[index]
    assert torch.equal(labels == 1, clicked == ids[..., None])
    assert labels.sum(dim=2).tolist() == [[2, 4, 4]]


def test_batches_repeat_under_the_same_seed(shapes: ShapeSet) -> None:
    sampler = BatchSampler(MeshStore.from_shapes(shapes), BatchConfig(shapes=3, points=200))
    torch.manual_seed(3)
    first = sampler()
    torch.manual_seed(3)
    second = sampler()
    assert torch.equal(first.points, second.points)
    assert torch.equal(first.target_ids, second.target_ids)


def test_labels_match_positions_up_to_right_angles(shapes: ShapeSet) -> None:
    """Boxes stand in a row, so a point's box follows from its position along that row, however turned."""
    torch.manual_seed(0)
    store = MeshStore.from_shapes(shapes.subset([1]))
    config = BatchConfig(shapes=4, points=1000, composed=0, fused=0, augmentation=STILL)
    batch = BatchSampler(store, config)()
    mesh = shapes.shape(1).mesh
    left = mesh.corners()[:, :, 0].reshape(5, 36).min(axis=1)
    for points, ids in zip(batch.points.numpy(), batch.part_ids.numpy(), strict=True):
        row = np.argmax(np.ptp(points, axis=0))
        box = [
            np.searchsorted(left, sign * points[:, row] / 0.9 + 1e-3, side="right") - 1 for sign in (1, -1)
        ]
        if ids.max() == 1:  # the labeling of halves
            box = [np.where(b == 4, -1, b >= 2) for b in box]
        assert max((ids == b).mean() for b in box) > 0.99  # not 1: the cube is the points', not the mesh's


def test_invalid_batch_settings_are_refused() -> None:
    for settings in ({"shapes": 0}, {"masks": 1000}, {"fused": 2.0}, {"repository_shares": (("a", 1.5),)}):
        with pytest.raises(DataError):
            BatchConfig(**settings)


def test_procedural_shapes_have_closed_parts_and_repeat() -> None:
    shapes = procedural_shapes(40, seed=5)
    again = procedural_shapes(40, seed=5)
    np.testing.assert_array_equal(shapes.vertices, again.vertices)
    np.testing.assert_array_equal(shapes.labels, again.labels)
    for index in range(len(shapes)):
        shape = shapes.shape(index)
        assert 3 <= len(np.unique(shape.labelings[0])) <= 50
        for part in np.unique(shape.labelings[0]):
            solid = trimesh.Trimesh(shape.mesh.vertices, shape.mesh.triangles[shape.labelings[0] == part])
            assert solid.is_watertight
            assert solid.volume > 0  # faces look outward
        if len(shape.labelings) == 2:  # groups are unions of parts
            pairs = np.unique(shape.labelings, axis=1)
            assert len(pairs[0]) == len(np.unique(pairs[0]))


def test_a_training_step_never_waits_for_the_device(shapes: ShapeSet, monkeypatch) -> None:
    """Under fake tensors, which have no values, anything that would read one back raises.

    Nor may tensors be made of the host's numbers: a captured step cannot copy them.
    """
    store = MeshStore.from_shapes(shapes)
    config = BatchConfig(shapes=4, points=300, masks=5, composed=0.25, fused=0.25, cropped=0.25)
    sampler = BatchSampler(store, config)
    monkeypatch.delattr(torch, "tensor")
    monkeypatch.delattr(torch, "as_tensor")
    with FakeTensorMode(allow_non_fake_inputs=True):
        batch = sampler()
        clicks = ClickConfig(others=100)
        index = first_clicks(batch.points, batch.target_masks, clicks)
        others = alternatives(batch.target_masks, batch.other_ids, index, torch.zeros(4, 5))
        three = torch.randn(4, 5, 3, 300), torch.rand(4, 5, 3)
        first = mask_losses(*three, batch.target_masks, batch.valid, LossConfig(rank=1.0), others)
        together, _ = joint_prompts(
            batch.points, batch.target_masks, batch.target_ids, batch.valid, clicks, 2
        )
        logits = torch.randn(4, 5, 1, 300)
        again, _ = corrective_clicks(
            batch.target_masks,
            logits[:, :, 0] > 0,
            lambda regions: deep_points(batch.points, regions, clicks, random=clicks.random),
        )
        losses = mask_losses(logits, torch.rand(4, 5, 1), batch.target_masks, batch.valid, LossConfig())
        contrast = triplet_contrast(torch.randn(4, 300, 8), batch.part_ids, LossConfig())
    assert batch.target_masks.shape == (4, 5, 300)
    assert index.shape == again.shape == (4, 5)
    assert together.shape == (4, 5, 10)
    assert losses.total.shape == first.total.shape == contrast.shape == ()
    with FakeTensorMode(allow_non_fake_inputs=True), pytest.raises(DataDependentOutputException):
        batch.points.max().item()
