# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks evaluated only where they can be are the masks evaluated everywhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from backend import devices
from backend.network import DeviceNetwork, farthest_point_sampling, sparse_mask_logits
from backend.network.mask_decoder import MaskDecoder
from backend.network.sparse_logits import CLEARLY_OUTSIDE
from backend.segmentation import PromptDecoder, encoded_shape
from backend.segmenter import EncodedShape, Segmenter
from tests.bundled_cases import labelled

POINTS = 2048
MASKS = slice(1, 4)


@pytest.fixture(scope="module")
def bundled() -> Segmenter:
    return Segmenter.load("small", device="cpu")


@pytest.fixture(scope="module")
def shape(bundled: Segmenter) -> EncodedShape:
    return bundled.encode(labelled("crossbow").mesh)


@pytest.fixture
def decoder(bundled: Segmenter, shape: EncodedShape) -> PromptDecoder:
    return PromptDecoder(DeviceNetwork(bundled.network, "cpu"), shape)


def clicked(shape: EncodedShape, count: int) -> torch.Tensor:
    return torch.from_numpy(shape.points[farthest_point_sampling(shape.points, count)])


@torch.inference_mode()
def test_no_mask_loses_a_point(decoder: PromptDecoder, shape: EncodedShape) -> None:
    locations = shape.coarse_locations(POINTS)
    decoding = decoder.decode(clicked(shape, 12)[:, None])
    everywhere = decoder.logits(decoding, locations, MASKS)
    found = decoder.estimated_logits(decoding, locations, MASKS)
    assert torch.equal(found > 0, everywhere > 0)
    evaluated = found > CLEARLY_OUTSIDE
    assert evaluated.float().mean() < 0.6
    torch.testing.assert_close(found[evaluated], everywhere[evaluated], rtol=1e-3, atol=1e-3)


@torch.inference_mode()
def test_only_wanted_masks_are_evaluated(
    decoder: PromptDecoder, shape: EncodedShape, monkeypatch: pytest.MonkeyPatch
) -> None:
    locations = shape.coarse_locations(POINTS)
    decoding = decoder.decode(clicked(shape, 6)[:, None])
    everywhere = decoder.logits(decoding, locations, MASKS)
    wanted = torch.zeros(6, 3, dtype=torch.bool)
    wanted[[0, 2, 5], [2, 0, 1]] = True
    rows: list[int] = []
    hidden = MaskDecoder.point_hidden

    def counted(self: MaskDecoder, interpolated: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        rows.append(interpolated.shape[-2])
        return hidden(self, interpolated, *rest)

    monkeypatch.setattr(MaskDecoder, "point_hidden", counted)
    found = decoder.estimated_logits(decoding, locations, MASKS, wanted=wanted)
    assert torch.equal(found[wanted] > 0, everywhere[wanted] > 0)
    assert sum(rows) <= 3 * POINTS


@torch.inference_mode()
def test_corrections_see_how_near_the_clicks_are(decoder: PromptDecoder, shape: EncodedShape) -> None:
    clicks = clicked(shape, 3)[None]
    decoding = decoder.decode(clicks, torch.tensor([[1, 0, 1]]))
    everywhere = decoder.logits(decoding, shape.site_locations, slice(0, 1))
    found = decoder.estimated_logits(decoding, shape.site_locations, slice(0, 1))
    assert torch.equal(found > 0, everywhere > 0)


@torch.inference_mode()
def test_tiles_do_not_change_the_masks(
    bundled: Segmenter, decoder: PromptDecoder, shape: EncodedShape
) -> None:
    decoding = decoder.decode(clicked(shape, 4)[:, None])
    one, tiled = (
        sparse_mask_logits(
            decoder.network,
            shape.encoding.centers[0],
            shape.centers_around,
            decoding,
            shape.coarse_locations(POINTS),
            MASKS,
            center_regions=shape.encoding.center_regions,
            pairs_at_once=pairs,
        )
        for pairs in (1 << 20, 1000)
    )
    torch.testing.assert_close(tiled, one, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_without_masks_at_the_centres_only_unwanted_prompts_are_left_out(
    decoder: PromptDecoder, shape: EncodedShape
) -> None:
    """The published network's way."""
    locations = shape.coarse_locations(POINTS)
    decoding = replace(decoder.decode(clicked(shape, 3)[:, None]), center_logits=None)
    everywhere = decoder.logits(decoding, locations, MASKS).numpy()
    wanted = torch.tensor([[True, False, True], [False] * 3, [True] * 3])
    found = decoder.estimated_logits(decoding, locations, MASKS, wanted=wanted).numpy()
    np.testing.assert_allclose(found[wanted.numpy()], everywhere[wanted.numpy()], rtol=1e-4, atol=1e-4)
    assert (found[1] < 0).all()


@pytest.mark.parametrize("scarce", [True, False], ids=["processor", "graphics card"])
@torch.inference_mode()
def test_tiles_come_from_what_is_free(
    decoder: PromptDecoder, shape: EncodedShape, monkeypatch: pytest.MonkeyPatch, scarce: bool
) -> None:
    """A card with 32 MiB left refuses what would not fit: more places make more tiles, not larger ones."""
    free = 32 * 2**20
    channels = decoder.network.config.mask_channels
    hidden = MaskDecoder.point_hidden

    def on_a_small_card(self: MaskDecoder, interpolated: torch.Tensor, *rest: Any) -> torch.Tensor:
        if interpolated.numel() * devices._BYTES_PER_ELEMENT > free:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return hidden(self, interpolated, *rest)

    decoding = decoder.decode(clicked(shape, 4)[:, None])
    everywhere = decoder.logits(decoding, shape.point_locations, MASKS)
    assert everywhere.shape[2] * 4 * channels * devices._BYTES_PER_ELEMENT > 10 * free
    monkeypatch.setattr(devices, "_free_bytes", lambda device: free)
    monkeypatch.setattr(encoded_shape, "arithmetic_is_scarce", lambda device: scarce)
    monkeypatch.setattr(MaskDecoder, "point_hidden", on_a_small_card)
    tiled = decoder.estimated_logits(decoding, shape.point_locations, MASKS)
    assert torch.equal(tiled > 0, everywhere > 0)


@torch.inference_mode()
def test_a_card_is_asked_once_for_its_memory_and_never_for_a_click(
    decoder: PromptDecoder, shape: EncodedShape, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def free(device: str) -> int:
        asked.append(device)
        return 2**30

    monkeypatch.setattr(devices, "_free_bytes", free)
    monkeypatch.setattr(encoded_shape, "arithmetic_is_scarce", lambda device: False)
    fresh = PromptDecoder(decoder.on_device, shape)
    assert fresh.prompts_at_once(1) >= 1
    one = fresh.decode(clicked(shape, 1)[:, None])
    fresh.estimated_logits(one, shape.point_locations, MASKS)
    assert not asked
    assert fresh.prompts_at_once(64) >= 1
    many = fresh.decode(clicked(shape, 16)[:, None])
    for _ in range(2):
        fresh.estimated_logits(many, shape.coarse_locations(4096), MASKS)
    assert asked == ["cpu"]
