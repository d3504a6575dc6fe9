# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluation: metrics with known answers, simulated clicks with a known middle, the command end to end."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from backend.__main__ import main
from backend.evaluation import BASELINES
from backend.evaluation.automatic import AutomaticSettings, Truth
from backend.evaluation.baselines import FieldSettings, component_labels
from backend.evaluation.boundary import boundary_f_score, build_edge_graph
from backend.evaluation.clicks import corrective_clicks, deepest_points, mask_ious
from backend.evaluation.interactive import InteractiveSettings, measure_interactive
from backend.evaluation.metrics import best_ious, mean_best_iou, part_ious, pearson, spearman
from backend.evaluation.render import matched_labels, part_color, render_labels
from backend.evaluation.report import SCHEMA, build_report, format_report
from backend.evaluation.runs import Baselines, collect, run_automatic, run_interactive
from backend.evaluation.shapes import KnownShape, known_shapes
from backend.geometry import Mesh, Normalization, face_areas, face_centroids, sample_surface
from backend.training.shards import LabelledShape, ShapeSet, write_shard

NO_BASELINES = Baselines((), {}, FieldSettings())


def grid_mesh(columns: int, rows: int) -> Mesh:
    """A flat grid of unit squares, two triangles each; squares in row-major order."""
    y, x = np.mgrid[0 : rows + 1, 0 : columns + 1]
    vertices = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3)
    row, column = np.mgrid[0:rows, 0:columns]
    corner = (row * (columns + 1) + column).ravel()
    lower = np.stack([corner, corner + 1, corner + columns + 2], axis=1)
    upper = np.stack([corner, corner + columns + 2, corner + columns + 1], axis=1)
    return Mesh(vertices, np.stack([lower, upper], axis=1).reshape(-1, 3))


def box_mesh(low: tuple[float, float, float], high: tuple[float, float, float]) -> Mesh:
    """A closed box."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = [t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
    return Mesh(np.array(low) + corners * (np.array(high) - np.array(low)), np.array(triangles))


def joined(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.triangles + start for mesh, start in zip(meshes, starts, strict=False)]),
    )


def three_boxes() -> KnownShape:
    """A plate and two legs, as three known parts that do not touch."""
    mesh = joined(
        box_mesh((0, 0, 2.1), (4, 2, 2.4)), box_mesh((0, 0, 0), (0.5, 2, 2)), box_mesh((3.5, 0, 0), (4, 2, 2))
    )
    return KnownShape(
        mesh, np.repeat([0, 1, 2], 12).astype(np.int32), "node", "made/here", "made/here:table.glb"
    )


class KnowingPredictor:
    """Answers with the known part under the first click, through `spoil` if given.

    It decides by what it is shown (clicks in its own cube), as a network would.
    """

    device = "cpu"

    def __init__(self, item: KnownShape, spoil: Callable[[np.ndarray], np.ndarray] | None = None) -> None:
        self.item, self.spoil = item, spoil
        self.calls: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]] = []

    def encode(self, mesh: Mesh, *, seed: int = 0) -> SimpleNamespace:
        sample = sample_surface(mesh, 1500, seed=seed)
        cube = Normalization.of_points(sample.points)
        return SimpleNamespace(
            points=cube.apply(sample.points), point_faces=sample.faces, positions=sample.points, mesh=mesh
        )

    def predict_batch(self, shape, points, labels, previous=None):
        self.calls.append((points, labels, previous))
        of_point = self.item.labels[shape.point_faces]
        first = torch.cdist(points[:, 0], torch.as_tensor(shape.points)).argmin(dim=1).numpy()
        masks = of_point[None] == of_point[first][:, None]
        good = masks if self.spoil is None else np.stack([self.spoil(mask) for mask in masks])
        candidates = [~masks, good, np.zeros_like(masks)] if labels.shape[1] == 1 else [good]
        logits = torch.stack(
            [torch.as_tensor(np.where(c, 4.0, -4.0), dtype=torch.float32) for c in candidates], 1
        )
        truth = torch.as_tensor(masks)[:, None]
        return logits, mask_ious(logits > 0, truth)

    def segment_every_part(self, shape, *, prompts: int = 512):
        item = self.item
        halves = (face_centroids(item.mesh)[:, 0] > 2).astype(np.int32)

        def labels(granularity: float = 0.5) -> np.ndarray:
            return item.labels if granularity > 0.6 else halves

        return SimpleNamespace(
            face_labels=labels,
            point_labels=lambda granularity=0.5: labels(granularity)[shape.point_faces],
            refined_labels=lambda granularity=0.5, strength=1.0: item.labels,
        )

    def field(self, shape, locations: np.ndarray) -> np.ndarray:
        """A field that tells the parts apart by the nearest sample's label."""
        nearest = np.linalg.norm(locations[:, None] - shape.positions[None], axis=2).argmin(axis=1)
        return np.eye(3, dtype=np.float32)[self.item.labels[shape.point_faces[nearest]]]


# --- metrics ---------------------------------------------------------------------------------------


def test_part_ious_by_hand():
    true = np.array([0, 0, 0, 1, 1, -1])
    predicted = np.array([5, 5, 9, 9, 9, 9])
    weights = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    # Part 0 weighs 6, part 1 weighs 9; prediction 5 weighs 3, prediction 9 weighs 18 (unlabelled included).
    expected = [[3 / 6, 3 / (6 + 18 - 3)], [0.0, 9 / 18]]
    np.testing.assert_allclose(part_ious(true, predicted, weights), expected)
    np.testing.assert_allclose(best_ious(true, predicted, weights), [0.5, 0.5])
    np.testing.assert_allclose(part_ious(true, predicted), [[2 / 3, 1 / 6], [0, 2 / 4]])


def test_mean_best_iou_of_equal_shifted_and_missing_labelings():
    true = np.repeat([0, 1, 2, 3], 10)
    assert mean_best_iou(true, true) == 1.0
    assert mean_best_iou(true, 7 - true) == 1.0  # names do not matter
    # Shifted by 2 of 10: first part 8/10 of itself; inner parts 8/12; the last one swallows two more: 10/12.
    shifted = np.concatenate([true[2:], [3, 3]])
    assert mean_best_iou(true, shifted) == pytest.approx((8 / 10 + 8 / 12 + 8 / 12 + 10 / 12) / 4)
    assert mean_best_iou(true, np.zeros(40, int)) == pytest.approx(0.25)
    assert mean_best_iou(true, np.full(40, -1)) == 0.0
    assert np.isnan(mean_best_iou(np.full(4, -1), np.zeros(4, int)))


def test_correlations_by_hand():
    first, second = np.array([1.0, 2, 3, 4]), np.array([1.0, 4, 9, 16])
    assert spearman(first, second) == pytest.approx(1.0)
    # covariance 25 (sum), variances 5 and 129 (sums)
    assert pearson(first, second) == pytest.approx(25 / np.sqrt(5 * 129))
    assert pearson(first, -first) == pytest.approx(-1.0)
    assert np.isnan(pearson(first, np.ones(4)))


def test_boundary_f_score_follows_the_surface_and_its_tolerance():
    mesh = grid_mesh(20, 4)
    x = np.tile(np.repeat(np.arange(20), 2), 4)
    y = np.repeat(np.arange(4), 40)
    true = (x >= 10).astype(int)
    graph = build_edge_graph(mesh)
    one_cell = 1 / np.hypot(20, 4)
    assert boundary_f_score(graph, true, true, tolerance=0) == 1.0
    shifted = (x >= 11).astype(int)
    assert boundary_f_score(graph, true, shifted, tolerance=1.01 * one_cell) == 1.0
    assert boundary_f_score(graph, true, shifted, tolerance=0.99 * one_cell) == 0.0
    # Rows 0-1 are cut at 10 (2 of 2 right), rows 2-3 at 15 (2 wrong), joined by 5 wrong edges along y = 2.
    stepped = (x >= np.where(y < 2, 10, 15)).astype(int)
    precision, recall = 2 / 9, 2 / 4
    expected = 2 * precision * recall / (precision + recall)
    assert boundary_f_score(graph, true, stepped, tolerance=1e-9) == pytest.approx(expected)
    assert boundary_f_score(graph, true, np.zeros_like(true)) == 0.0
    assert np.isnan(boundary_f_score(graph, np.zeros_like(true), true))


def test_boundary_distance_does_not_jump_through_a_thin_plate():
    """Two sheets 0.01 apart: a cut of the one is no cut of the other."""
    lower = grid_mesh(10, 4)
    upper = Mesh(lower.vertices + np.array([0, 0, 0.01]), lower.triangles)
    x = np.tile(np.repeat(np.arange(10), 2), 4)
    cut, whole = (x >= 5).astype(int), np.zeros_like(x)
    graph = build_edge_graph(joined(lower, upper))
    below, above = np.concatenate([cut, whole]), np.concatenate([whole, cut])
    assert boundary_f_score(graph, below, above, tolerance=0.2) == 0.0


def test_boundary_graph_welds_seams():
    mesh = grid_mesh(4, 1)
    soup = Mesh(mesh.corners().reshape(-1, 3), np.arange(24).reshape(-1, 3))
    true = np.repeat([0, 1], 4)
    assert boundary_f_score(build_edge_graph(soup), true, true) == 1.0


# --- simulated clicks ------------------------------------------------------------------------------


@pytest.fixture
def plane() -> torch.Tensor:
    """Points of a 21 x 21 grid with spacing 1, index = 21 * row + column."""
    row, column = np.mgrid[0:21, 0:21]
    return torch.tensor(np.stack([column, row, 0 * row], -1).reshape(-1, 3), dtype=torch.float32)


def test_first_click_is_the_middle_of_the_part(plane: torch.Tensor):
    x, y = plane[:, 0], plane[:, 1]
    disc = (x - 8) ** 2 + (y - 12) ** 2 < 5.5**2
    strip = (y >= 2) & (y <= 4) & (x >= 1) & (x <= 3)
    generator = torch.Generator().manual_seed(0)
    index = deepest_points(plane, torch.stack([disc, strip]), generator=generator)
    assert index.tolist() == [21 * 12 + 8, 21 * 3 + 2]


def test_more_points_than_candidates_still_gives_a_deep_point(plane: torch.Tensor):
    disc = (plane[:, 0] - 10) ** 2 + (plane[:, 1] - 10) ** 2 < 8.5**2
    picks = [
        int(deepest_points(plane, disc[None], generator=torch.Generator().manual_seed(s), candidates=30)[0])
        for s in (1, 1, 2)
    ]
    assert picks[0] == picks[1]
    for pick in picks:
        assert disc[pick]
        assert torch.linalg.norm(plane[pick] - torch.tensor([10.0, 10, 0])) < 4


def test_corrective_click_goes_to_the_larger_error(plane: torch.Tensor):
    x, y = plane[:, 0], plane[:, 1]
    target = x <= 10
    missing = target & ~((x >= 2) & (x <= 4) & (y >= 9) & (y <= 11))  # a hole of 9 points around (3, 10)
    spilled = target | ((x >= 14) & (x <= 18) & (y >= 4) & (y <= 8))  # 25 points around (16, 6) too much
    both = missing & target | (spilled & ~target)
    index, label = corrective_clicks(
        plane,
        target.expand(4, -1),
        torch.stack([missing, spilled, both, target]),
        generator=torch.Generator().manual_seed(0),
    )
    assert index[:3].tolist() == [21 * 10 + 3, 21 * 6 + 16, 21 * 6 + 16]
    assert label.tolist() == [1, 0, 0, 1]
    assert target[index[3]]  # nothing to correct: a positive click inside


def test_a_region_without_outside_does_not_break_the_search(plane: torch.Tensor):
    everything = torch.ones(1, len(plane), dtype=torch.bool)
    assert 0 <= int(deepest_points(plane, everything, generator=torch.Generator())[0]) < len(plane)


# --- interactive protocol --------------------------------------------------------------------------


def test_perfect_predictor_scores_one_and_sees_the_protocol():
    item = three_boxes()
    predictor = KnowingPredictor(item)
    result = measure_interactive(predictor, item, InteractiveSettings(clicks=4))
    assert result is not None
    assert result.ious.shape == (3, 4)
    assert (result.ious == 1).all()
    assert (result.first_ious == 1).all()
    assert [points.shape for points, _, _ in predictor.calls] == [(3, n, 3) for n in (1, 2, 3, 4)]
    assert [previous is None for _, _, previous in predictor.calls] == [True, False, False, False]
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
    assert (predictor.calls[-1][1] == 1).all()  # half of each part is missing: all corrections are positive
    previous = predictor.calls[1][2]
    assert previous is not None
    assert ((previous > 0).sum(dim=1).numpy() == sizes // 2).all()  # the chosen mask, not another candidate


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


def test_unlabelled_shape_is_left_out():
    item = dataclasses.replace(three_boxes(), labels=np.full(36, -1, dtype=np.int32))
    assert measure_interactive(KnowingPredictor(item), item, InteractiveSettings()) is None
    assert not list(run_automatic(KnowingPredictor(item), [item], AutomaticSettings(), NO_BASELINES))


# --- automatic protocol and baselines --------------------------------------------------------------


def test_automatic_keeps_fixed_oracle_and_refined_apart():
    item = three_boxes()
    (record, card), *_ = run_automatic(KnowingPredictor(item), [item], AutomaticSettings(), NO_BASELINES)
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
    assert methods["raw"]["miou"] == pytest.approx(np.mean(ious))
    assert (methods["raw"]["option"], methods["raw"]["parts"]) == (0.5, 2)
    assert methods["raw_oracle"]["miou"] == 1.0
    assert methods["raw_oracle"]["option"] == 0.7
    assert methods["refined"]["miou"] == methods["refined_oracle"]["miou"] == 1.0
    assert card.score == methods["raw"]["miou"]
    assert set(card.predictions) == {"raw", "refined"}


def test_without_refinement_nothing_is_refined():
    item = three_boxes()
    settings = AutomaticSettings(refine=False)
    (record, _), *_ = run_automatic(KnowingPredictor(item), [item], settings, NO_BASELINES)
    assert set(record["methods"]) == {"raw", "raw_oracle"}
    assert set(record["seconds"]) == {"encode", "segment"}


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
    records, _ = collect(
        run_interactive(predictor, [item, item, other], InteractiveSettings(clicks=3), baselines),
        3,
        lambda done, total: None,
    )
    report = build_report("interactive", records, settings)
    again = json.loads(json.dumps(report, allow_nan=False))
    assert again["schema"] == SCHEMA
    assert again["summary"]["iou"] == {"1": 1.0, "2": 1.0, "3": 1.0}
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
    assert "someone/else" in text

    records, _ = collect(run_automatic(predictor, [item], AutomaticSettings(), baselines), 1, lambda *_: None)
    report = build_report("automatic", records, settings)
    again = json.loads(json.dumps(report, allow_nan=False))
    assert again["summary"]["methods"]["refined"]["miou"] == 1.0
    assert again["summary"]["methods"]["raw"]["boundary_f"] is None  # the known parts share no edge
    assert "components" in format_report(report)


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
    assert 0 < report["summary"]["iou"]["1"] < 1
    assert report["summary"]["baselines"]["components"]["iou_first"] == 1.0
    with Image.open(sheet) as picture:
        colors = np.unique(np.asarray(picture).reshape(-1, 3), axis=0)
        assert min(picture.size) > 300
        assert len(colors) > 100
    assert main(arguments) == 0
    again = json.loads(out.read_text())
    assert [shape["by_part"] for shape in again["shapes"]] == [shape["by_part"] for shape in report["shapes"]]


def test_command_measures_automatically(shard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out.json"
    arguments = ["evaluate", str(shard), "--protocol", "automatic", "--model", "small-untrained"]
    arguments += ["--device", "cpu", "--limit", "1", "--prompts", "24", "--json", str(out)]
    assert main([*arguments, "--baselines", "components", "kmeans", "agglomerative", "--clusters", "3"]) == 0
    methods = json.loads(out.read_text())["summary"]["methods"]
    assert set(methods) == {
        "raw",
        "raw_oracle",
        "refined",
        "refined_oracle",
        "components",
        *(f"{m}_untrained{o}" for m in ("kmeans", "agglomerative") for o in ("", "_oracle")),
    }
    assert all(0 <= entry["miou"] <= 1 for entry in methods.values())
    assert methods["components"]["miou"] == 1.0
    assert methods["raw_oracle"]["miou"] >= methods["raw"]["miou"]
    assert methods["kmeans_untrained_oracle"]["miou"] >= methods["kmeans_untrained"]["miou"]
    assert "refined_oracle" in capsys.readouterr().out


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
