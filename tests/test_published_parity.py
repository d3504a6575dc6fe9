# SPDX-License-Identifier: GPL-3.0-or-later
"""Our network computes what the published one does, array by array."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.network import (
    PUBLISHED,
    Encoding,
    LoadedNetwork,
    Locations,
    PartSAM,
    interpolation_weights,
    load_network,
    patch_geometry,
)
from backend.network.patches import PatchGeometry
from tests.published_weights import DATA, write_published_checkpoint

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(DATA / "published_golden.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedNetwork]:
    path = write_published_checkpoint(tmp_path_factory.mktemp("published") / "partsam.safetensors")
    yield load_network(path)
    path.unlink()


@dataclass
class Case:
    """The golden input, encoded."""

    network: PartSAM
    points: torch.Tensor
    normals: torch.Tensor
    colors: torch.Tensor
    geometry: PatchGeometry
    encoding: Encoding
    locations: Locations


@pytest.fixture(scope="module")
def case(loaded: LoadedNetwork, golden: dict[str, np.ndarray]) -> Case:
    network = loaded.network
    points, normals, colors = (torch.from_numpy(golden[k])[None] for k in ("coords", "normal", "color"))
    config = dataclasses.replace(PUBLISHED, points=2048, patches=128)
    geometry = patch_geometry(golden["coords"], config)
    with torch.inference_mode():
        encoding = network.encode(points, normals, colors, geometry)
        index, weight = interpolation_weights(encoding.centers[0].numpy(), golden["coords"])
        locations = network.locate(encoding, points, None, index, weight)
    return Case(network, points, normals, colors, geometry, encoding, locations)


def assert_agrees(ours: torch.Tensor, reference: np.ndarray) -> None:
    assert tuple(ours.shape) == reference.shape
    difference = np.linalg.norm(ours.numpy() - reference) / np.linalg.norm(reference)
    assert difference <= TOLERANCE, f"relative difference {difference:.2e}"


def texel_planes(texels: torch.Tensor, resolution: int) -> torch.Tensor:
    """[1, 3 * R * R, C] -> [3, C, R / 16, R / 16], every 16th row and column."""
    return texels.view(3, resolution, resolution, -1)[:, ::16, ::16].permute(0, 3, 1, 2)


def test_all_published_tensors_are_accounted_for(loaded: LoadedNetwork) -> None:
    used = sum(parameter.numel() for parameter in loaded.network.state_dict().values())
    assert all("pc_encoder.encoder." in name for name in loaded.unused)
    assert {name.split("pc_encoder.encoder.")[1][0] for name in loaded.unused} == set("123")
    assert used > 200e6


@torch.inference_mode()
def test_stem_and_planes(case: Case, golden: dict[str, np.ndarray]) -> None:
    frozen = case.network.encoder.branches["frozen"]
    stem = frozen.stem(case.points, case.normals, case.colors)
    first = torch.from_numpy(golden["point_index"][:64])
    assert_agrees(stem[0, first], golden["pvconv_point_features"])
    for name, branch in case.network.encoder.branches.items():
        features = branch.stem(case.points, case.normals, case.colors)
        rolled = branch.unet(branch.rolled_planes(case.points, features))
        planes = rolled.view(1, 256, 3, 128, 128)[0, :, :, ::16, ::16].transpose(0, 1)
        assert_agrees(planes, golden[f"{name}_pvcnn_planes"])
        assert_agrees(texel_planes(branch.transformer(rolled), 128), golden[f"{name}_planes"])


@torch.inference_mode()
def test_field_and_patches(case: Case, golden: dict[str, np.ndarray]) -> None:
    field = case.network.field(case.encoding.texels, case.points)[0]
    assert_agrees(field[torch.from_numpy(golden["point_index"])], golden["point_features"])
    np.testing.assert_array_equal(case.geometry.center_index[0].numpy(), golden["fps_index"])
    patches = case.network.patch_embeddings(case.encoding.texels, case.points, case.geometry)[0]
    assert_agrees(patches[::2], golden["patch_embeddings"])


@torch.inference_mode()
def test_single_prompts(case: Case, golden: dict[str, np.ndarray]) -> None:
    prompts = case.points[:, torch.from_numpy(golden["prompt_index"])].view(1, 4, 1, 3)
    decoding = case.network.decode(case.encoding, prompts, torch.ones(1, 4, 1, dtype=torch.long))
    logits = case.network.mask_logits(decoding, case.locations)[0]
    assert_agrees(logits[:, 1:, torch.from_numpy(golden["point_index"])], golden["mask_logits"])
    assert_agrees(decoding.iou[0, :, 1:], golden["iou_scores"])
    best = int(golden["best_mask_index"])
    assert int(decoding.iou[0, 0, 1:].argmax()) == best
    assert_agrees(logits[0, 1 + best], golden["best_mask_logits"])


@torch.inference_mode()
def test_refining_with_two_clicks_and_the_previous_mask(case: Case, golden: dict[str, np.ndarray]) -> None:
    prompts = case.points[:, torch.from_numpy(golden["prompt_index"][:2])].view(1, 1, 2, 3)
    labels = torch.from_numpy(golden["refine_prompt_labels"]).view(1, 1, 2)
    previous = torch.from_numpy(golden["best_mask_logits"]).view(1, 1, -1)
    previous = previous[:, :, case.geometry.mask_point_index[0]]
    decoding = case.network.decode(case.encoding, prompts, labels, previous)
    logits = case.network.mask_logits(decoding, case.locations, slice(0, 1))[0]
    assert_agrees(logits[..., torch.from_numpy(golden["point_index"])], golden["refine_mask_logits"])
    assert_agrees(decoding.iou[0, :, :1], golden["refine_iou_scores"])


def test_foreign_file_names_the_mismatch(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from backend.errors import CheckpointError

    foreign = tmp_path / "foreign.safetensors"
    save_file({"conv.weight": torch.zeros(3, 3)}, foreign)
    with pytest.raises(CheckpointError, match=r"conv\.weight"):
        load_network(foreign)
