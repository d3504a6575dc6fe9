# SPDX-License-Identifier: GPL-3.0-or-later
"""Curation: the rules on built scenes, a folder of real files, and stage two with a real network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from backend import Mesh, Segmenter
from backend.__main__ import main
from backend.curation import (
    CurationSettings,
    Rejected,
    StageOneRules,
    StageTwoRules,
    curate,
    label_fragmented,
    label_scene,
)
from backend.curation.stage_one import Labeling, apply_limits, node_of_faces
from backend.curation.stage_two import cluster_faces
from backend.errors import DataError
from backend.labelled_meshes.manifest import Manifest
from backend.labelled_meshes.shards import UNLABELLED, read_shard
from backend.mesh_files import Looks, SourceScene, Surface, read_mesh_file
from backend.network import PRESETS, save_network, untrained_network
from backend.refinement import build_face_graph

FIVE_MATERIALS = Looks(materials=({},) * 5)


def box(position: float, size: float = 1.0) -> trimesh.Trimesh:
    return trimesh.creation.box(
        extents=[size] * 3, transform=trimesh.transformations.translation_matrix([position, 0, 0])
    )


def row_of_boxes(count: int, size: float = 1.0) -> trimesh.Trimesh:
    return trimesh.util.concatenate([box(2 * i, size) for i in range(count)])


def surface(name: str, position: float, material: int | None = None, size: float = 1.0) -> Surface:
    mesh = box(position, size)
    return Surface(name, mesh.vertices, mesh.faces.astype(np.int32), material=material)


def write_scene(path: Path, nodes: dict[str, trimesh.Trimesh]) -> None:
    scene = trimesh.Scene()
    for name, mesh in nodes.items():
        scene.add_geometry(mesh, node_name=name, geom_name=name)
    path.write_bytes(scene.export(file_type="glb"))


def test_nodes_are_split_by_name_and_by_repeated_material() -> None:
    scene = SourceScene(tuple(
        surface(name, 2 * i, material)
        for i, (name, material) in enumerate([("a", 0), ("a", 1), ("b", 0), ("b", 0), ("a", 0)])
    ))  # fmt: skip
    assert node_of_faces(scene)[::12].tolist() == [0, 0, 1, 2, 3]


def test_nodes_are_preferred_to_components() -> None:
    names = ["a", "a", "b", "b", "c"]
    scene = SourceScene(tuple(surface(name, 2 * i, i) for i, name in enumerate(names)), FIVE_MATERIALS)
    found = label_scene(scene, StageOneRules())
    assert isinstance(found, Labeling)
    assert (found.name, found.parts) == ("node", 3)
    assert found.labels[::12].tolist() == [0, 0, 1, 1, 2]


def test_components_where_nodes_do_not_do() -> None:
    scene = SourceScene(tuple(surface("all", 2 * i, i) for i in range(4)), FIVE_MATERIALS)
    found = label_scene(scene, StageOneRules())
    assert isinstance(found, Labeling)
    assert (found.name, found.parts) == ("component", 4)
    assert found.labels.tolist() == np.repeat(range(4), 12).tolist()


def test_area_limits_set_parts_aside() -> None:
    part = np.arange(6)
    areas = np.array([0.5, 30, 30, 30, 9, 0.5])
    rules = StageOneRules(min_part_area=0.01, max_part_area=0.4)
    found = apply_limits("node", part, areas, rules)
    assert isinstance(found, Labeling)
    assert found.labels.tolist() == [UNLABELLED, 0, 1, 2, 3, UNLABELLED]


@pytest.mark.parametrize(("areas", "code"), [
    ([1.0] * 51, "too_many_parts"),
    ([1.0] * 2, "too_few_parts"),
    ([95.0, 1, 1, 1, 1, 1], "low_coverage"),
    ([1e-9] * 60 + [1.0], "too_many_parts"),  # crumbs around one solid
])  # fmt: skip
def test_reasons_for_rejection(areas: list[float], code: str) -> None:
    found = apply_limits("component", np.arange(len(areas)), np.array(areas), StageOneRules())
    assert isinstance(found, Rejected)
    assert found.code == code


def test_impossible_rules_are_refused() -> None:
    for wrong in ({"min_parts": 0}, {"max_parts": 255}, {"min_part_area": 0.95}, {"min_coverage": 2.0}):
        with pytest.raises(DataError):
            StageOneRules(**wrong)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "meshes"
    (folder / "deep").mkdir(parents=True)
    row_of_boxes(3).export(folder / "three.obj")
    write_scene(folder / "deep" / "nodes.glb", {"left": row_of_boxes(2), "mid": box(10), "right": box(20)})
    row_of_boxes(60).export(folder / "sixty.stl")
    box(0).export(folder / "one.ply")
    (folder / "broken.glb").write_bytes(b"glTF but not really")
    (folder / "same.obj").write_bytes((folder / "three.obj").read_bytes())
    (folder / "notes.txt").write_text("no mesh")
    return folder


def lines_of(output: Path) -> dict[str, dict]:
    lines = [json.loads(line) for line in (output / "manifest.jsonl").read_text().splitlines()]
    return {line["path"]: line for line in lines}


def test_a_folder_becomes_shards_and_reasons(folder: Path, tmp_path: Path, capsys) -> None:
    output = tmp_path / "shards"
    assert main(["curate", str(folder), "-o", str(output), "--licence", "CC0-1.0", "--source", "test"]) == 0
    lines = lines_of(output)
    assert {path: line["reason"] for path, line in lines.items()} == {
        "broken.glb": "unreadable", "deep/nodes.glb": "", "one.ply": "too_few_parts",
        "same.obj": "", "sixty.stl": "too_many_parts", "three.obj": "duplicate",
    }  # fmt: skip
    assert "2 kept, 4 rejected" in capsys.readouterr().out
    shapes = read_shard(output / "shard_000.npz.xz")
    assert len(shapes) == 2
    nodes = shapes.shape(lines["deep/nodes.glb"]["row"])
    assert nodes.info == {"names": ["node"], "repo": "test", "path": "deep/nodes.glb", "licence": "CC0-1.0"}
    source = read_mesh_file(folder / "deep" / "nodes.glb").mesh
    assert nodes.mesh.face_count == source.face_count
    centre = nodes.mesh.corners()[..., 0].mean(axis=1)  # the nodes stand in a row along x
    middles = [centre[nodes.labelings[0] == part].mean() for part in range(3)]
    counts = [int((nodes.labelings[0] == part).sum()) for part in range(3)]
    assert [counts[i] for i in np.argsort(middles)] == [24, 12, 12]


def test_a_second_run_skips_and_a_changed_file_is_judged_again(folder: Path, tmp_path: Path, capsys) -> None:
    output = tmp_path / "shards"
    main(["curate", str(folder), "-o", str(output)])
    first = (output / "shard_000.npz.xz").read_bytes()
    main(["curate", str(folder), "-o", str(output)])
    assert "0 kept, 0 rejected, 6 known" in capsys.readouterr().out
    row_of_boxes(5).export(folder / "one.ply")
    main(["curate", str(folder), "-o", str(output)])
    assert "1 kept, 0 rejected, 5 known" in capsys.readouterr().out
    assert (output / "shard_000.npz.xz").read_bytes() == first
    assert lines_of(output)["one.ply"]["shard"] == "shard_001.npz.xz"
    assert len(read_shard(output / "shard_001.npz.xz")) == 1


def test_a_killed_run_continues_where_the_manifest_ends(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "shards"
    main(["curate", str(folder), "-o", str(output), "--shard-size", "1"])
    manifest = output / "manifest.jsonl"
    whole = manifest.read_text()
    lines = whole.splitlines(keepends=True)
    # Killed after a shard was renamed and in the middle of writing its line.
    last_kept = max(i for i, line in enumerate(lines) if '"kept"' in line)
    manifest.write_text("".join(lines[:last_kept]) + lines[last_kept][:20])
    main(["curate", str(folder), "-o", str(output), "--shard-size", "1"])
    assert sorted(manifest.read_text().splitlines()) == sorted(whole.splitlines())
    assert sorted(p.name for p in output.iterdir()) == [
        "manifest.jsonl",
        "shard_000.npz.xz",
        "shard_001.npz.xz",
    ]


def test_damaged_manifest_and_missing_folder_are_named(folder: Path, tmp_path: Path, capsys) -> None:
    output = tmp_path / "shards"
    output.mkdir()
    (output / "manifest.jsonl").write_text('{"path": 1}\n')
    with pytest.raises(DataError, match="line 1"):
        Manifest(output / "manifest.jsonl")
    assert main(["curate", str(tmp_path / "nowhere"), "-o", str(output)]) == 1
    assert "is no folder" in capsys.readouterr().err


def test_clusters_follow_features_and_connectivity() -> None:
    mesh = read_boxes(4)
    graph = build_face_graph(mesh, link_shells=False)
    box_of_face = np.repeat(np.arange(4), 12)
    features = np.eye(2)[box_of_face // 2] + 0.01 * np.random.default_rng(0).normal(size=(48, 2))
    two, four = cluster_faces(features, graph, (2, 48))
    assert len(np.unique(np.stack([two, box_of_face // 2]), axis=1).T) == 2
    assert len(np.unique(four)) == 48


def read_boxes(count: int) -> Mesh:
    mesh = row_of_boxes(count)
    return Mesh(mesh.vertices, mesh.faces)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    """A real network with random weights, over few points so that this stays quick."""
    return Segmenter(untrained_network(replace(PRESETS["small"], points=1024, patches=64)), device="cpu")


def test_stage_two_keeps_what_clicks_reach(segmenter: Segmenter) -> None:
    """An untrained network cannot be led to masks at the published thresholds, but to any at threshold 0."""
    mesh = read_boxes(60)
    strict = StageTwoRules(clusters=(10,), clicks=2)
    found = label_fragmented(mesh, segmenter, strict, StageOneRules(), key="x")
    assert isinstance(found, Rejected)
    assert found.code == "few_valid_masks"
    lenient = StageTwoRules(clusters=(10, 12), min_first_iou=-1, clicks=1)
    found = label_fragmented(mesh, segmenter, lenient, StageOneRules(), key="x")
    assert isinstance(found, list)
    assert [labeling.name for labeling in found] == ["cluster-10", "cluster-12"]
    assert found[0].parts == 10
    assert sorted(np.unique(found[0].labels)) == list(range(10))
    assert found[1].parts == 4  # two clusters were split; the eight others are the coarser level's


def test_rejected_fragments_are_reconsidered_with_a_model(
    folder: Path, tmp_path: Path, segmenter: Segmenter
) -> None:
    output = tmp_path / "shards"
    assert curate(folder, output, CurationSettings()).reasons["too_many_parts"] == 1
    rules = StageTwoRules(clusters=(10,), min_first_iou=-1, clicks=1)
    save_network(segmenter.network, tmp_path / "tiny.safetensors")
    settings = CurationSettings(model=str(tmp_path / "tiny.safetensors"), device="cpu", stage_two=rules)
    report = curate(folder, output, settings)
    assert (report.kept, report.rejected, report.skipped) == (1, 0, 5)
    line = lines_of(output)["sixty.stl"]
    assert (line["labelings"], line["parts"]) == (["cluster-10"], [10])
    shape = read_shard(output / line["shard"]).shape(line["row"])
    assert len(np.unique(shape.labelings)) == 10
