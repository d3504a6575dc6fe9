# SPDX-License-Identifier: GPL-3.0-or-later
"""Crease regions as a prompt: nothing where they are unknown or untrained, and what the formula says else."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import gelu

from backend.network import (
    Decoding,
    DeviceNetwork,
    Encoding,
    Locations,
    NetworkConfig,
    PartSAM,
    PatchGeometry,
    Regions,
    attributes_at,
    interpolation_weights,
    patch_geometry,
    sparse_mask_logits,
    untrained_network,
)
from backend.network.recordings import round_weights
from backend.network.region_agreement import RegionScores, region_agreement
from backend.network.region_prompts import at_places, at_places_by_product, prompted_regions
from backend.network.sparse_logits import CLEARLY_OUTSIDE
from backend.region_features import MAX_REGIONS, REGION_FEATURES
from backend.segmentation.region_pairs import RegionTree, pair_features
from backend.training import trainer
from backend.training.config import OptimizerConfig
from backend.training.step import _parameter_groups
from tests.test_recordings import rerun
from tests.tiny_network import TINY

READS_REGIONS = replace(TINY, size_prompt=True, score_regions=True, region_prompt=8)
READS_PAIRS = replace(READS_REGIONS, patch_layers=2, patch_width=16, patch_heads=2, patch_regions=8)
ATOMS, CLICKS = 7, 3
LONELY = 6
"""An atom without a patch centre."""


@dataclass(frozen=True)
class Case:
    """A network that reads regions and a shape with them, of 400 points in the cube."""

    network: PartSAM
    points: Tensor
    geometry: PatchGeometry
    regions: Regions

    def encode(self, regions: Regions | None) -> Encoding:
        return self.network.encode(self.points, self.points, self.points.abs(), self.geometry, regions)

    def locate(self, encoding: Encoding, regions: Regions | None) -> Locations:
        index, weight = interpolation_weights(encoding.centers[0].numpy(), self.points[0].numpy())
        attributes = attributes_at(self.points, self.points, self.points.abs())
        atoms = None if regions is None else regions.of_points
        return self.network.locate(encoding, self.points, attributes, index, weight, atoms)

    def decode(self, encoding: Encoding, clicks: Tensor, labels: Tensor) -> Decoding:
        """clicks: int64 [1, M, P], points."""
        at = self.points[0][clicks]
        atoms = self.regions.of_points[0][clicks]
        sizes = torch.tensor([[0.1, 0.0, 0.02]])
        return self.network.decode(encoding, at, labels, None, sizes, atoms)


def made(*, trained: bool, config: NetworkConfig = READS_REGIONS) -> Case:
    network = untrained_network(config, seed=3)
    generator = torch.Generator().manual_seed(5)
    if trained:
        assert network.decoder.regions is not None
        layers = [
            network.decoder.regions.patch_out,
            network.decoder.regions.token_out,
            score_layers(network).out,
        ]
        if network.patch_context is not None:
            layers.append(network.patch_context.out)
            if network.patch_context.regions is not None:
                layers.append(network.patch_context.regions.out)
        for layer in layers:
            layer.weight.normal_(generator=generator)
            if layer.bias is not None:
                layer.bias.normal_(generator=generator)
    points = torch.rand(1, 400, 3, generator=generator) * 2 - 1
    geometry = patch_geometry(points[0].numpy(), READS_REGIONS)
    atoms = torch.randint(LONELY, (1, 400), generator=generator)
    others = torch.ones(400, dtype=torch.bool)
    others[geometry.center_index[0]] = False
    atoms[0, others.nonzero()[::9, 0]] = LONELY
    pairs = torch.rand(1, ATOMS, ATOMS, REGION_FEATURES, generator=generator)
    pairs[..., [1, 5, 6]] *= -1
    pairs[..., 0] = 1
    return Case(network, points, geometry, Regions(atoms, pairs))


def score_layers(network: PartSAM) -> RegionScores:
    assert network.decoder.mask_scores is not None
    assert network.decoder.mask_scores.regions is not None
    return network.decoder.mask_scores.regions


def some_clicks(case: Case) -> tuple[Tensor, Tensor]:
    """Three prompt sets of three clicks each, one of them of negative ones alone."""
    generator = torch.Generator().manual_seed(6)
    clicks = torch.randint(400, (1, 3, CLICKS), generator=generator)
    return clicks, torch.tensor([[[1, 0, 1], [1, 1, 1], [0, 0, 0]]])


def answers(case: Case, regions: Regions | None) -> list[Tensor]:
    encoding = case.encode(regions)
    decoding = case.decode(encoding, *some_clicks(case))
    assert decoding.center_logits is not None
    logits = case.network.mask_logits(decoding, case.locate(encoding, regions))
    return [logits, decoding.iou, decoding.center_logits, decoding.patch_features, decoding.mask_vectors]


def test_fresh_weights_answer_as_without_regions() -> None:
    case = made(trained=False)
    for ours, theirs in zip(answers(case, case.regions), answers(case, None), strict=True):
        assert torch.equal(ours, theirs)


def test_unknown_regions_change_nothing() -> None:
    case = made(trained=True)
    unknown = Regions(*(torch.zeros_like(value) for value in vars(case.regions).values()))
    expected, known = answers(case, None), answers(case, case.regions)
    for ours, theirs, changed in zip(answers(case, unknown), expected, known, strict=True):
        assert torch.equal(ours, theirs)
        assert not torch.equal(changed, theirs)


def features_by_hand(pairs: Tensor, atoms: Tensor, labels: Tensor, size: float, place: int) -> Tensor:
    """What one prompt set has to do with one atom; pairs [K, K, 8], atoms and labels [P]."""
    nearest = []
    for sign in (1, 0):
        rows = [pairs[atom, place] for atom, label in zip(atoms, labels, strict=True) if label == sign]
        nearest.append(min(rows, key=lambda row: float(row[1])) if rows else torch.zeros(REGION_FEATURES))
    asked = (
        [torch.tensor(size).log() / 8 - nearest[0][1], torch.tensor(1.0)] if size else [torch.zeros(())] * 2
    )
    return torch.cat([*nearest, torch.stack(asked)])


def test_masks_change_by_the_formula_and_by_atoms() -> None:
    case = made(trained=True)
    layers, pairs = case.network.decoder.regions, case.regions.pairs
    assert layers is not None
    clicks, labels = some_clicks(case)
    atoms, sizes = case.regions.of_points[0][clicks], torch.tensor([[0.1, 0.0, 0.02]])
    prompted = prompted_regions(pairs, case.regions.of_points[:, :1], atoms, labels, sizes)
    tokens = torch.randn(1, 3, 4, READS_REGIONS.decoder_width, generator=torch.Generator().manual_seed(7))
    added = layers.mask_logits(prompted, tokens)
    for prompt in range(3):
        for place in range(ATOMS):
            size = float(sizes[0, prompt])
            features = features_by_hand(pairs[0], atoms[0, prompt], labels[0, prompt], size, place)
            torch.testing.assert_close(prompted.features[0, prompt, place], features)
            for token, own in enumerate(tokens[0, prompt]):
                hidden = gelu(layers.mask_hidden(features) + layers.token_hidden(own))
                torch.testing.assert_close(added[0, prompt, token, place], hidden @ layers.token_out(own))

    encoding = case.encode(case.regions)
    decoding, locations = case.decode(encoding, clicks, labels), case.locate(encoding, case.regions)
    assert decoding.region_logits is not None
    smooth = case.network.mask_logits(replace(decoding, region_logits=None), locations, slice(1, 3))
    at_places = decoding.region_logits[:, :, 1:3][..., case.regions.of_points[0]]
    torch.testing.assert_close(case.network.mask_logits(decoding, locations, slice(1, 3)), smooth + at_places)
    few = case.network.mask_logits(decoding.take(slice(1, 3)), locations.part(100, 150), slice(1, 3))
    torch.testing.assert_close(few, (smooth + at_places)[:, 1:, :, 100:150])


TREE = RegionTree(
    around=np.array([-1, 0, 1, 0]),
    areas=np.array([0.6, 0.4, 0.15, 0.2]),
    clearness=np.array([0.3, 0.9, 0.5, 0.7]),
)
"""Regions of the atoms below: {1, 2, 3, 4}, in it {1, 2, 3} and {4}, and in the former {2, 3}."""
SMALLEST_REGIONS = np.array([-1, 1, 2, 2, 3])
AREAS = np.array([0.4, 0.25, 0.05, 0.1, 0.2])
ATOMS_OF_CENTERS = torch.tensor([[0, 0, 1, 1, 1, 2, 4, 4]])
"""None in atom 3."""


def test_agreement_of_masks_with_regions_as_counted_by_hand() -> None:
    """The click is in atom 2; the size that is asked for that of {2, 3}. In the mask are a third of atom 1
    and all of atoms 2 and 4."""
    pieces = np.array([0, 1, 1, 1, 1])
    pairs = torch.as_tensor(pair_features(TREE, SMALLEST_REGIONS, np.arange(5), pieces, AREAS)).float()[None]
    click = torch.full((1, 1, 1), 2)
    prompted = prompted_regions(
        pairs, ATOMS_OF_CENTERS, click, torch.ones_like(click), torch.tensor([[0.15]])
    )
    torch.testing.assert_close(prompted.areas[0], torch.as_tensor(AREAS).float())
    mask = torch.tensor([0.0, 0, 1, 0, 0, 1, 1, 1])
    found = region_agreement(torch.stack([mask, torch.zeros(8)])[None, None], prompted)[0, 0, 0]
    # Region: share seen, share in the mask, clearness, size.
    known = {
        "small": (0.05, 0.05, 0.5, 0.15),
        "clear": (0.3, 0.05 + 0.25 / 3, 0.9, 0.4),
        "large": (0.5, 0.25 + 0.25 / 3, 0.3, 0.6),
    }
    area = 0.25 + 0.25 / 3
    expected: list[float] = []
    for name in ("large", "clear", "clear", "small"):
        seen, both, clear, size = known[name]
        iou = both / (area + seen - both)
        expected += [iou, clear, iou * clear, both / area, both / seen, math.log(size) / 8]
    expected.append(area / 0.5)  # the piece is all but atom 0
    torch.testing.assert_close(found[:25], torch.tensor(expected))
    held, rest = (torch.tensor(x) for x in ([0, 0.25 / 3, 0.05, 0, 0.2], [0.4, 0.5 / 3, 0, 0, 0]))
    means = [share @ prompted.features[0, 0] / share.sum() for share in (held, rest)]
    torch.testing.assert_close(found[25:], torch.cat(means))


def test_training_reaches_all_layers_of_regions() -> None:
    """By the dense matrices that training uses, which give the same masks."""
    case = made(trained=True)
    case.network.requires_grad_(True)
    encoding = case.encode(case.regions)
    decoding, locations = case.decode(encoding, *some_clicks(case)), case.locate(encoding, case.regions)
    matrix = torch.zeros(1, 400, TINY.patches).scatter_(2, locations.index, locations.weight.float())
    logits = case.network.mask_logits(decoding, replace(locations, matrix=matrix))
    torch.testing.assert_close(logits, case.network.mask_logits(decoding, locations))
    (logits.square().mean() + decoding.iou.square().mean()).backward()
    assert case.network.decoder.regions is not None
    layers = (case.network.decoder.regions, score_layers(case.network))
    for parameter in (parameter for layer in layers for parameter in layer.parameters()):
        assert parameter.grad is not None
        assert parameter.grad.any()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler looks at it
def test_more_clicks_compile_nothing_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """In training: the longest interactions would run into the limit of compilations, and go on without."""
    case = made(trained=True)
    encoding = case.encode(case.regions)
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    monkeypatch.setattr(trainer, "start_compile_workers", lambda: None)
    trainer._tune(case.network.requires_grad_(True), torch.device("cpu"), compile=True)
    compiled = []
    for clicks in range(1, 6):
        case.decode(encoding, *(chosen.repeat(1, 1, 2)[..., :clicks] for chosen in some_clicks(case)))
        compiled.append(counter.frame_count)
    assert compiled[0] == 3  # of regions at patches and in masks, and of the masks at the patches
    assert compiled[1:] == [4] * 4  # which from the second click on know how near these are


def test_reading_regions_never_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under fake tensors, which have no values, anything that would read one back raises; nor may tensors be
    made of the host's numbers, which a captured step of training cannot copy."""
    case = made(trained=True)
    layers, (clicks, labels) = case.network.decoder.regions, some_clicks(case)
    assert layers is not None
    tokens, sizes = torch.rand(1, 3, 4, READS_REGIONS.decoder_width), torch.rand(1, 3)
    monkeypatch.delattr(torch, "tensor")
    monkeypatch.delattr(torch, "as_tensor")
    with FakeTensorMode(allow_non_fake_inputs=True):
        atoms = at_places(case.regions.of_points, clicks.flatten(1)).view_as(clicks)
        prompted = prompted_regions(case.regions.pairs, case.regions.of_points, atoms, labels, sizes)
        added = layers.at_patches(prompted)
        at_points = at_places_by_product(layers.mask_logits(prompted, tokens), case.regions.of_points)
        scores = score_layers(case.network)(at_points.sigmoid(), prompted)
    assert scores.shape == (1, 3, 4, READS_REGIONS.decoder_width)
    assert added.shape == (1, 3, 400, READS_REGIONS.decoder_width)
    assert at_points.shape == (1, 3, 4, 400)


def test_a_region_between_all_patch_centres_is_not_lost() -> None:
    case = made(trained=True)
    with torch.inference_mode():
        encoding = case.encode(case.regions)
        decoding, locations = case.decode(encoding, *some_clicks(case)), case.locate(encoding, case.regions)
        assert decoding.center_logits is not None
        assert decoding.region_logits is not None
        assert encoding.center_regions is not None
        assert LONELY not in encoding.center_regions
        # Far outside of all masks everywhere but where nothing but the region says so.
        lower = torch.full((1, 3, 4, ATOMS), -20.0)
        lower[:, :2, 1:3, LONELY] = 20.0
        far = decoding.center_logits - decoding.region_logits[..., encoding.center_regions[0]] - 20
        decoding = replace(decoding, region_logits=lower, center_logits=far)
        everywhere = case.network.mask_logits(decoding, locations, slice(1, 4))[0]
        found = sparse_mask_logits(
            case.network,
            encoding.centers[0],
            torch.zeros(TINY.patches, TINY.patches),
            decoding,
            locations,
            slice(1, 4),
            center_regions=encoding.center_regions,
            pairs_at_once=100,
        )
    assert torch.equal(found > 0, everywhere > 0)
    assert (found[:2, :2, case.regions.of_points[0] == LONELY] > 0).all()
    evaluated = found > CLEARLY_OUTSIDE
    assert evaluated.float().mean() < 0.5
    torch.testing.assert_close(found[evaluated], everywhere[evaluated])


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite_and_near(half: torch.dtype) -> None:
    case = made(trained=True)
    expected = answers(case, case.regions)
    with torch.autocast("cpu", half):
        found = answers(case, case.regions)
    for ours, theirs in zip(found, expected, strict=True):
        gap = (ours.float() - theirs).norm() / theirs.norm()
        assert float(gap) < 0.05
    case.network.config = replace(READS_REGIONS, half_precision=str(half).removeprefix("torch."))
    round_weights(case.network)
    with torch.autocast("cpu", half):
        rounded = answers(case, case.regions)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(rounded, found, strict=True))


def test_muon_leaves_layers_of_regions_to_adamw() -> None:
    network = PartSAM(replace(READS_REGIONS, region_prompt=32))
    assert network.decoder.regions is not None
    layers = (network.decoder.regions, score_layers(network))
    own = {id(parameter) for layer in layers for parameter in layer.parameters()}
    orthogonal, groups = _parameter_groups(network, OptimizerConfig(matrices="muon"))
    assert orthogonal
    assert not own & {id(parameter) for parameter in orthogonal}
    assert own < {id(parameter) for group in groups for parameter in group["params"]}


def test_a_recording_serves_shapes_with_any_number_of_atoms(monkeypatch: pytest.MonkeyPatch) -> None:
    case = made(trained=True, config=READS_PAIRS)
    made_of: list[str] = []

    def record(compute):  # type: ignore[no-untyped-def]
        made_of.append("recording")
        return rerun(compute)

    monkeypatch.setattr("backend.network.recordings.graph_recorder", lambda device: record)
    recorded = DeviceNetwork(case.network, "cpu")
    monkeypatch.setattr("backend.network.recordings.graph_recorder", lambda device: None)
    computed = DeviceNetwork(case.network, "cpu")
    clicks, labels = some_clicks(case)
    with torch.inference_mode():
        for atoms in (ATOMS, ATOMS - 2, ATOMS - 1, ATOMS):
            own = case.regions.of_points % atoms
            regions = Regions(own, case.regions.pairs[:, :atoms, :atoms].contiguous())
            decodings = []
            for network in (recorded, computed):
                given = (case.points, case.points, case.points.abs(), case.geometry)
                encoding = network.encode(*given, lambda regions=regions: regions)
                at = case.points[0][clicks]
                decodings.append(network.decode(encoding, at, labels, None, None, own[0][clicks]))
            ours, theirs = decodings
            torch.testing.assert_close(ours.iou, theirs.iou)
            assert ours.region_logits is not None
            assert theirs.region_logits is not None
            assert ours.region_logits.shape[3] == MAX_REGIONS
            torch.testing.assert_close(ours.region_logits[..., :atoms], theirs.region_logits)
    assert len(made_of) == 3  # of the field, of encoding, of decoding
