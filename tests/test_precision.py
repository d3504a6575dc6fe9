# SPDX-License-Identifier: GPL-3.0-or-later
"""Half precision changes next to nothing: masks of the bundled model against float32."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from backend.network.model import PartSAM
from backend.segmenter import EncodedShape, Segmenter
from tests.bundled_cases import KnownMesh, labelled, snowman

LIMIT = 0.005
"""Share of the points on which masks may disagree, on average over prompts and their three masks."""

PROMPTS = 16


@pytest.fixture(scope="module")
def bundled() -> Segmenter:
    return Segmenter.load("small", device="cpu")


@pytest.fixture(scope="module", params=["snowman", "crossbow"])
def case(request: pytest.FixtureRequest) -> KnownMesh:
    return snowman() if request.param == "snowman" else labelled("crossbow")


@pytest.fixture(scope="module")
def reference(bundled: Segmenter, case: KnownMesh) -> tuple[np.ndarray, np.ndarray]:
    return masks(bundled, bundled.encode(case.mesh))


def masks(segmenter: Segmenter, shape: EncodedShape) -> tuple[np.ndarray, np.ndarray]:
    """Masks bool [M, 3, N] and scores [M, 3] for clicks on the first of the shape's points."""
    clicks = torch.from_numpy(shape.points[:PROMPTS].copy())[:, None]
    logits, scores = segmenter.predict_batch(shape, clicks, torch.ones(PROMPTS, 1))
    return (logits > 0).numpy(), scores.float().numpy()


def before_rounding(network: PartSAM) -> PartSAM:
    """Weights that round to the bundled float16 ones: each anywhere within half a unit in the last place."""
    network, random = copy.deepcopy(network), np.random.default_rng(0)
    for tensor in network.state_dict().values():
        spacing = np.spacing(np.abs(tensor.half().numpy())).astype(np.float32)
        tensor += torch.from_numpy(random.uniform(-0.5, 0.5, spacing.shape).astype(np.float32) * spacing)
    return network


def test_bundled_weights_are_exact_in_half_precision(bundled: Segmenter) -> None:
    for name, tensor in bundled.network.state_dict().items():
        assert torch.equal(tensor, tensor.half().float()), name


def test_rounding_weights_to_float16_keeps_the_masks(
    bundled: Segmenter, case: KnownMesh, reference: tuple[np.ndarray, np.ndarray]
) -> None:
    """Measured: 0.005 % of the points."""
    precise = Segmenter(before_rounding(bundled.network))
    found, _ = masks(precise, precise.encode(case.mesh))
    assert 0 < (found != reference[0]).mean() < LIMIT / 10


def test_mixed_precision_keeps_the_masks(
    bundled: Segmenter, case: KnownMesh, reference: tuple[np.ndarray, np.ndarray]
) -> None:
    """bfloat16 autocast on the CPU, coarser than CUDA's float16. Measured: 0.13 to 0.22 % of the points."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, scores = masks(bundled, bundled.encode(case.mesh))
    assert 0 < (found != reference[0]).mean() < LIMIT
    assert np.abs(scores - reference[1]).mean() < 0.02
