# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluation's protocols on a predictor that knows the answer, its pictures, and the command end to end."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.__main__ import main
from backend.commands.evaluate import ProgressLines
from backend.errors import DataError
from backend.evaluation import BASELINES
from backend.evaluation.automatic import ORACLE_GRANULARITIES, AutomaticSettings, Truth
from backend.evaluation.baselines import FieldSettings, component_labels
from backend.evaluation.interactive import InteractiveSettings, measure_interactive
from backend.evaluation.render import matched_labels, part_color, render_labels
from backend.evaluation.report import SCHEMA, build_report, cost_by_faces
from backend.evaluation.runs import Baselines, run_automatic, run_interactive, run_together
from backend.evaluation.shapes import half_of, known_shapes
from backend.evaluation.tables import format_report
from backend.evaluation.together import TogetherSettings
from backend.geometry import Mesh, face_areas, face_centroids
from backend.labelled_meshes.shards import LabelledShape, ShapeSet, write_shard
from tests.evaluation_fixtures import KnowingPredictor, box_mesh, grid_mesh, joined, three_boxes

NO_BASELINES = Baselines((), {}, FieldSettings())

# --- interactive protocol --------------------------------------------------------------------------


def test_perfect_predictor_scores_one_and_sees_the_protocol():
    item = three_boxes()
    predictor = KnowingPredictor(item)
    result = measure_interactive(predictor, item, InteractiveSettings(clicks=4))
    assert result is not None
    assert result.ious.shape == (3, 4)
    assert (result.ious == 1).all()
    for first in (result.first["random"], result.first["deepest"]):
        assert (first.chosen == 1).all()
        assert (first.best_of_three == 1).all()
        assert (first.with_size == 1).all()
    counts = (1, 2, 3, 4, 1, 1)  # four rounds, then first clicks at the deepest and at random points
    assert [points.shape for points, _, _ in predictor.calls] == [(3, n, 3) for n in counts]
    assert [previous is None for _, _, previous in predictor.calls] == [n == 1 for n in counts]
    np.testing.assert_array_equal(predictor.calls[0][0], predictor.calls[4][0])
    assert not np.array_equal(predictor.calls[0][0], predictor.calls[5][0])
    assert all((labels == 1).all() for _, labels, _ in predictor.calls)
    np.testing.assert_array_equal(item.labels[result.point_faces], result.parts[result.first_labels])


def test_spoiled_masks_give_known_iou_and_corrective_labels():
    item = three_boxes()

    def half(mask: np.ndarray) -> np.ndarray:
        kept = mask.copy()
        kept[np.flatnonzero(mask)[::2]] = False
        return kept

    predictor = KnowingPredictor(item, spoil=half)
    result = measure_interactive(predictor, item, InteractiveSettings(clicks=3))
    assert result is not None
    sizes = np.bincount(item.labels[result.point_faces])
    np.testing.assert_allclose(result.ious, np.repeat((sizes // 2 / sizes)[:, None], 3, axis=1), rtol=1e-6)
    np.testing.assert_allclose(result.scores, result.ious)
    assert (predictor.calls[2][1] == 1).all()  # half of each part is missing: all corrections are positive
    previous = predictor.calls[1][2]
    assert previous is not None
    assert ((previous > 0).sum(dim=1).numpy() == sizes // 2).all()  # the chosen mask, not another candidate
    # At the faces the predictor knows all of a part, and what is accepted is what the faces say.
    assert {click: values.tolist() for click, values in result.accepted_ious.items()} == {
        1: [1, 1, 1],
        3: [1, 1, 1],
    }
    without = measure_interactive(predictor, item, InteractiveSettings(clicks=3, refine=False))
    assert without is not None
    assert without.accepted_ious == {}
    assert set(without.seconds) == {"encode", "clicks"}


def test_parts_beyond_the_limit_are_drawn_reproducibly():
    item = three_boxes()
    results = [
        measure_interactive(
            KnowingPredictor(item), item, InteractiveSettings(clicks=1, max_parts=2, seed=seed)
        )
        for seed in (3, 3)
    ]
    first, second = (result.parts.tolist() for result in results if result is not None)
    assert first == second
    assert len(first) == 2


def test_all_parts_at_once_are_asked_with_clicks_inside_them():
    item = three_boxes()
    predictor = KnowingPredictor(item)
    (record, card), *_ = run_together(predictor, [item], TogetherSettings())
    assert record["together"] == {place: {"1": 1.0, "4": 1.0} for place in ("random", "spread")}
    assert set(card.predictions) == {"1 random each", "4 random each"}
    assert [len(clicks) for asked in predictor.asked for clicks in asked] == [1, 1, 1, 4, 4, 4] * 2
    plate = predictor.asked[-1][0]  # spread: in the mesh's units, from the plate's depth to its far ends
    assert np.ptp(plate[:, 0]) > 3
    assert len(np.unique(plate, axis=0)) == 4


def test_a_swapped_answer_counts_nothing():
    item = three_boxes()
    predictor = KnowingPredictor(item, swap=True)
    (record, _), *_ = run_together(predictor, [item], TogetherSettings(counts=(1,)))
    assert record["by_part"]["together"]["random"]["1"] == [1.0, 0.0, 0.0]
    report = build_report("parts", [record], {"split": "made", "model": "knowing", "device": "cpu"})
    assert report["summary"]["iou"]["spread"]["1"] == pytest.approx(1 / 3)
    assert "1 spread" in format_report(report)


def test_unlabelled_shape_is_left_out():
    item = dataclasses.replace(three_boxes(), labels=np.full(36, -1, dtype=np.int32))
    assert measure_interactive(KnowingPredictor(item), item, InteractiveSettings()) is None
    assert not list(run_automatic(KnowingPredictor(item), [item], AutomaticSettings(), NO_BASELINES))


# --- automatic protocol and baselines --------------------------------------------------------------


def test_automatic_keeps_preview_refined_and_sweep_apart():
    item = three_boxes()
    settings = AutomaticSettings(granularity=0.3)
    (record, card), *_ = run_automatic(KnowingPredictor(item), [item], settings, NO_BASELINES)
    areas = face_areas(item.mesh)
    part = [areas[item.labels == k].sum() for k in range(3)]
    # The wrong labeling cuts at x = 2: each half takes one leg and those faces of the plate whose centroid
    # lies on its side. Legs are found with IoU leg / half; the plate with its better half.
    right = face_centroids(item.mesh)[:, 0] > 2
    halves = [areas[~right].sum(), areas[right].sum()]
    plate = [areas[(item.labels == 0) & ~right].sum(), areas[(item.labels == 0) & right].sum()]
    ious = [max(p / (part[0] + h - p) for p, h in zip(plate, halves, strict=True))]
    ious += [part[1] / halves[0], part[2] / halves[1]]
    methods = record["methods"]
    assert set(methods) == {"preview", "refined", "known_count"}
    assert methods["preview"]["miou"] == pytest.approx(np.mean(ious))
    assert (methods["preview"]["option"], methods["preview"]["parts"]) == (0.3, 2)
    assert methods["preview"]["ratio"] == pytest.approx(2 / 3)
    assert methods["known_count"]["option"] == 3
    assert methods["known_count"]["miou"] == methods["refined"]["miou"] == 1.0
    assert card.score == methods["refined"]["pq"] == methods["refined"]["ari"] == 1.0
    assert set(card.predictions) == {"preview", "refined"}
    # The sweep has the final labels at each granularity; the refined ones of this predictor are always right.
    assert [score["option"] for score in record["sweep"]] == list(ORACLE_GRANULARITIES)
    assert {score["pq"] for score in record["sweep"]} == {1.0}


def test_without_refinement_nothing_is_refined():
    item = three_boxes()
    settings = AutomaticSettings(refine=False)
    (record, _), *_ = run_automatic(KnowingPredictor(item), [item], settings, NO_BASELINES)
    assert set(record["methods"]) == {"preview", "known_count"}
    assert set(record["seconds"]) == {"encode", "segment"}
    assert [score["parts"] for score in record["sweep"]] == [2] * 5 + [
        3
    ] * 6  # the preview, right from 0.5 on


def test_baselines_find_parts_that_their_input_shows():
    item = three_boxes()
    predictor = KnowingPredictor(item)
    baselines = Baselines(BASELINES, {"trained": predictor}, FieldSettings(clusters=2, samples=200))
    labelings = baselines.labelings(item)
    assert set(labelings) == {
        "components",
        *(f"{m}_trained{o}" for m in ("kmeans", "agglomerative") for o in ("", "_oracle")),
    }
    truth = Truth.of(item)
    assert truth.miou(labelings["components"].labels) == 1.0
    for method in ("kmeans", "agglomerative"):
        fixed, oracle = labelings[f"{method}_trained"], labelings[f"{method}_trained_oracle"]
        assert (fixed.clusters, len(np.unique(fixed.labels))) == (2, 2)
        assert oracle.clusters == 3
        assert truth.miou(oracle.labels) == 1.0


def test_components_are_welded_by_position():
    mesh = grid_mesh(3, 3)
    soup = Mesh(mesh.corners().reshape(-1, 3), np.arange(3 * mesh.face_count).reshape(-1, 3))
    assert set(component_labels(soup)) == {0}
    apart = joined(soup, Mesh(soup.vertices + np.array([10, 0, 0]), soup.triangles))
    np.testing.assert_array_equal(component_labels(apart), np.repeat([0, 1], mesh.face_count))


# --- pictures --------------------------------------------------------------------------------------


def test_nearer_faces_hide_farther_ones():
    back = box_mesh((0, 0, 0), (2, 2, 0.1))
    front = box_mesh((0.5, 0.5, 1.0), (1.5, 1.5, 1.1))  # z points to the viewer when y is up
    picture = render_labels(joined(back, front), np.repeat([0, 1], 12), size=64).astype(float) / 255
    hue = [part_color(k) / np.linalg.norm(part_color(k)) for k in (0, 1)]
    pixels = picture / np.linalg.norm(picture, axis=2, keepdims=True)
    similar = [(pixels @ h > 0.999).mean() for h in hue]
    assert similar[0] > 0.2
    assert 0.08 < similar[1] < similar[0]
    swapped = render_labels(joined(front, back), np.repeat([1, 0], 12), size=64)
    np.testing.assert_array_equal(picture, swapped.astype(float) / 255)  # face order does not matter


def test_matching_parts_share_a_name():
    true = np.array([0, 0, 0, 1, 1, 1, -1])
    predicted = np.array([8, 8, 8, 4, 4, 6, 6])
    np.testing.assert_array_equal(matched_labels(true, predicted, np.ones(7)), [0, 0, 0, 1, 1, 2, 2])
    assert len({tuple(part_color(k)) for k in range(60)}) == 60


# --- reports and the command -----------------------------------------------------------------------


def test_report_is_strict_json_with_everything_in_it():
    item = three_boxes()
    other = dataclasses.replace(item, source="someone/else", key="someone/else:x.glb")
    predictor = KnowingPredictor(item)
    baselines = Baselines(("components",), {}, FieldSettings())
    settings = {"split": "made", "model": "knowing", "device": "cpu"}
    measured = run_interactive(predictor, [item, item, other], InteractiveSettings(clicks=3), baselines)
    records = [record for record, _ in measured]
    report = build_report("interactive", records, settings)
    again = json.loads(json.dumps(report, allow_nan=False))
    assert again["schema"] == SCHEMA
    assert again["summary"]["iou"] == {"1": 1.0, "2": 1.0, "3": 1.0}
    assert again["summary"]["iou_accepted"] == {"1": 1.0, "3": 1.0}
    assert again["summary"]["score_correlation"]["pearson_all"] is None  # all equal: not defined
    assert again["summary"]["baselines"] == {"components": {"iou_first": 1.0}}
    assert {name: group["shapes"] for name, group in again["by_source"].items()} == {
        "made/here": 2,
        "someone/else": 1,
    }
    assert set(again["versions"]) >= {"partsam", "python", "torch", "numpy"}
    assert len(again["shapes"]) == 3
    assert again["cost_by_faces"][0]["shapes"] == 3
    text = format_report(report)
    assert "IoU@3" in text
    assert "deepest with size" in text
    assert "labeled by node" in text
    assert "all, refined as when accepted" in text
    assert "someone/else" in text

    measured = run_automatic(predictor, [item], AutomaticSettings(), baselines)
    records = [record for record, _ in measured]
    report = build_report("automatic", records, settings)
    again = json.loads(json.dumps(report, allow_nan=False))
    assert again["summary"]["methods"]["refined"]["miou"] == 1.0
    assert again["summary"]["methods"]["preview"]["boundary_f"] is None  # the known parts share no edge
    assert again["summary"]["best_of_each"]["pq"] == 1.0
    assert "components" in format_report(report)


def test_cost_is_grouped_by_face_count():
    def record(faces: int, seconds: float, peak: float | None) -> dict:
        return {"faces": faces, "seconds": {"encode": seconds}, "peak_mib": peak}

    rows = cost_by_faces(
        [record(999, 1, 10), record(1000, 2, 30), record(4999, 9, 20), record(10**6, 5, None)]
    )
    assert [(row["faces_from"], row["faces_below"], row["shapes"]) for row in rows] == [
        (0, 1000, 1),
        (1000, 5000, 2),
        (50000, None, 1),
    ]
    assert [row["seconds"]["encode"] for row in rows] == [1, 5.5, 5]  # medians
    assert [row["peak_mib"] for row in rows] == [10, 30, None]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """Two small labelled meshes as a shard."""
    item = three_boxes()
    info = {"names": ["node"], "repo": "made/here", "path": "table.glb", "licence": "CC0-1.0"}
    shape = LabelledShape(item.mesh, item.labels.astype(np.uint8)[None], info)
    unlabelled = item.labels.astype(np.uint8).copy()
    unlabelled[24:] = 255
    partly = LabelledShape(item.mesh, unlabelled[None], info | {"path": "partly.glb"})
    path = tmp_path / "made.npz.xz"
    write_shard(path, ShapeSet.from_shapes([shape, partly]))
    return path


def test_known_shapes_reads_a_shard(shard: Path):
    whole, partly = known_shapes([shard])
    np.testing.assert_array_equal(whole.labels, three_boxes().labels)
    np.testing.assert_array_equal(np.unique(partly.labels), [-1, 0, 1])
    assert (whole.source, whole.labeling, partly.key) == ("made/here", "node", "made/here:partly.glb")
    assert len(known_shapes([shard], limit=1)) == 1
    half = half_of("made/here")
    assert half == half_of("made/elsewhere")
    assert len(known_shapes([shard], half=half)) == 2
    with pytest.raises(DataError, match="no shape to measure"):
        known_shapes([shard], half="fit" if half == "report" else "report")


def test_command_measures_interactively_and_reproducibly(
    shard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out, sheet = tmp_path / "new" / "out.json", tmp_path / "sheet.png"
    arguments = ["evaluate", str(shard), "--protocol", "interactive", "--model", "small-untrained"]
    arguments += ["--device", "cpu", "--clicks", "2", "--split", "made", "--json", str(out)]
    assert main([*arguments, "--sheet", str(sheet)]) == 0
    assert "IoU@1" in capsys.readouterr().out
    report = json.loads(out.read_text())
    assert [shape["parts"] for shape in report["shapes"]] == [3, 2]
    assert report["settings"]["split"] == "made"
    assert all(0 <= value < 1 for value in report["summary"]["iou"].values())
    assert report["summary"]["baselines"]["components"]["iou_first"] == 1.0
    with Image.open(sheet) as picture:
        colors = np.unique(np.asarray(picture).reshape(-1, 3), axis=0)
        assert min(picture.size) > 300
        assert len(colors) > 100
    assert main([*arguments, "--workers", "2"]) == 0
    again = json.loads(out.read_text())
    assert [shape["key"] for shape in again["shapes"]] == [shape["key"] for shape in report["shapes"]]
    assert [shape["by_part"] for shape in again["shapes"]] == [shape["by_part"] for shape in report["shapes"]]


def test_command_measures_automatically(shard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out.json"
    arguments = ["evaluate", str(shard), "--protocol", "automatic", "--model", "small-untrained"]
    arguments += ["--device", "cpu", "--limit", "1", "--prompts", "24", "--json", str(out)]
    assert main([*arguments, "--baselines", "components", "kmeans", "agglomerative", "--clusters", "3"]) == 0
    methods = json.loads(out.read_text())["summary"]["methods"]
    assert set(methods) == {
        "preview",
        "refined",
        "known_count",
        "components",
        *(f"{m}_untrained{o}" for m in ("kmeans", "agglomerative") for o in ("", "_oracle")),
    }
    assert all(0 <= entry["miou"] <= 1 for entry in methods.values())
    assert methods["components"]["miou"] == 1.0
    assert methods["kmeans_untrained_oracle"]["miou"] >= methods["kmeans_untrained"]["miou"]
    assert "best of each shape by PQ" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "complaint"), [(None, "cannot read"), (b"not a shard", "truncated or no shard")]
)
def test_command_explains_unusable_shards(
    content: bytes | None, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "broken.npz.xz"
    if content is not None:
        path.write_bytes(content)
    assert main(["evaluate", str(path), "--protocol", "automatic"]) == 1
    assert complaint in capsys.readouterr().err


def test_command_refuses_an_impossible_output_before_it_works(
    shard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "out.json"
    assert main(["evaluate", str(shard), "--protocol", "automatic", "--json", str(target)]) == 1
    assert "choose another place" in capsys.readouterr().err


def test_a_log_gets_ten_lines_of_progress_whatever_the_blocks(capsys):
    for total, block in ((318, 10), (62, 2), (7, 1)):
        progress = ProgressLines()
        for done in range(block, total + block, block):
            progress(min(done, total), total)
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == min(10, total)
        assert lines[-1] == f"{total}/{total} shapes"
