# SPDX-License-Identifier: GPL-3.0-or-later
"""Attention among patches that reads crease regions: nothing at first, and then what its formula says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu

from backend.network import PartSAM, Regions, load_network, save_network
from backend.network.patch_transformer import NearbyAttention, RegionBias
from backend.network.region_prompts import at_places
from backend.training.config import OptimizerConfig, read_config
from backend.training.step import _parameter_groups
from backend.training.trainer import Trainer, grown_network
from tests.test_region_prompts import READS_PAIRS, Case, answers, made
from tests.tiny_training import write_tiny_config

PATCHES = replace(READS_PAIRS, patch_regions=0)


def encoded(case: Case, regions: Regions | None) -> Tensor:
    return case.encode(regions).patches


def centers_of(case: Case) -> Tensor:
    return at_places(case.regions.of_points, case.geometry.center_index)


def region_bias(case: Case) -> RegionBias:
    assert case.network.patch_context is not None
    assert case.network.patch_context.regions is not None
    return case.network.patch_context.regions


def test_a_trained_network_that_grows_by_them_answers_as_before() -> None:
    trained = made(trained=True)
    grown = grown_network(trained.network, READS_PAIRS)
    assert grown is not None
    with torch.inference_mode():
        found = answers(replace(trained, network=grown), trained.regions)
        expected = answers(trained, trained.regions)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
    reading = made(trained=True, config=PATCHES)
    grown = grown_network(reading.network, READS_PAIRS)
    assert grown is not None
    with torch.inference_mode():
        found = answers(replace(reading, network=grown), reading.regions)
        expected = answers(reading, reading.regions)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_scores_are_those_of_the_pair_of_atoms() -> None:
    case = made(trained=True, config=READS_PAIRS)
    layers, atoms, pairs = region_bias(case), centers_of(case), case.regions.pairs.clone()
    pairs[0, 2, 3] = 0  # of which nothing is known
    with torch.no_grad():
        found = layers(pairs, atoms)
    with torch.enable_grad():
        by_product = layers(pairs, atoms)
    assert [bias.shape for bias in found] == [(1, 2, 24, 24)] * 2
    for layer, asking, given in ((0, 0, 5), (1, 7, 2), (1, 2, 7)):
        pair = pairs[0, atoms[0, asking], atoms[0, given]]
        row = gelu(pair @ layers.hidden.weight.T + layers.hidden.bias) @ layers.out.weight.T
        wanted = row.view(2, 2)[layer] * pair[0]
        torch.testing.assert_close(found[layer][0, :, asking, given], wanted)
    unknown = (atoms[0, :, None] == 2) & (atoms[0] == 3)
    assert unknown.any()
    for ours, theirs in zip(found, by_product, strict=True):
        assert not ours[0, :, unknown].any()
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("half", [None, torch.bfloat16])
def test_training_attends_as_the_product_does(half: torch.dtype | None) -> None:
    torch.manual_seed(0)
    layer = NearbyAttention(32, 4)
    x, bias = torch.randn(2, 70, 32), 3 * torch.randn(2, 4, 70, 70)
    places = torch.cat([torch.rand(2, 70, 3) * 2 - 1, 0.15 * torch.randn(2, 70, 3)], dim=2)
    with torch.no_grad():
        expected = layer(x, places, bias)
        nothing = layer(x, places)
        torch.testing.assert_close(layer(x, places, torch.zeros_like(bias)), nothing)
        assert (nothing - expected).norm() > 0.3 * nothing.norm()
    with torch.autocast("cpu", half or torch.bfloat16, enabled=half is not None):
        found = layer(x, places, bias).float()
    assert (found - expected).norm() < (0.02 if half else 1e-5) * expected.norm()
    found.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in layer.parameters())


def test_regions_count_only_where_they_are_known() -> None:
    case = made(trained=True, config=READS_PAIRS)
    unknown = Regions(*(torch.zeros_like(value) for value in vars(case.regions).values()))
    with torch.inference_mode():
        without, with_unknown, known = (encoded(case, regions) for regions in (None, unknown, case.regions))
    torch.testing.assert_close(with_unknown, without)
    assert (known - without).norm() > 0.01 * without.norm()


def test_weights_come_back_from_their_file(tmp_path: Path) -> None:
    case = made(trained=True, config=READS_PAIRS)
    save_network(case.network, tmp_path / "x.safetensors", dtype=torch.float32)
    loaded = load_network(tmp_path / "x.safetensors").network
    assert loaded.config == READS_PAIRS
    with torch.inference_mode():
        same = encoded(replace(case, network=loaded), case.regions)
        assert torch.equal(same, encoded(case, case.regions))


def test_it_needs_attention_among_patches_and_regions() -> None:
    for missing in ({"patch_layers": 0}, {"region_prompt": 0}):
        with pytest.raises(ValueError, match="patch_regions needs"):
            replace(READS_PAIRS, **missing)


def test_muon_leaves_the_layers_that_read_pairs_to_adamw() -> None:
    network = PartSAM(replace(READS_PAIRS, patch_layers=4, patch_width=64, patch_heads=8, patch_regions=32))
    orthogonal, _ = _parameter_groups(network, OptimizerConfig(matrices="muon"))
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    theirs = {names[id(parameter)] for parameter in orthogonal}
    assert "patch_context.blocks.0.attention.qkv.weight" in theirs
    assert not any(name.startswith("patch_context.regions.") for name in theirs)


def test_training_reaches_them_from_weights_without_them(tmp_path: Path) -> None:
    wanted = {"region_prompt": 8, "patch_layers": 1, "patch_width": 16, "patch_heads": 2, "patch_regions": 4}
    file = write_tiny_config(tmp_path)
    start = read_config(file, {"network_sizes.region_prompt": 8}).network_config()
    save_network(PartSAM(start), tmp_path / "start.safetensors")
    values = {f"network_sizes.{name}": value for name, value in wanted.items()}
    values |= {"start": str(tmp_path / "start.safetensors"), "optimizer.matrices": "muon"}
    trainer = Trainer(read_config(file, values), tmp_path / "run", device="cpu")
    context = trainer.network.patch_context
    assert context is not None
    before = {name: value.clone() for name, value in context.state_dict().items()}
    trainer.run()
    after = context.state_dict()
    assert all(torch.isfinite(value).all() for value in after.values())
    assert not [name for name, value in before.items() if torch.equal(value, after[name])]
