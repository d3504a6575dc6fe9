# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks that cost milliseconds: a tiny one with random weights, and an oracle that knows the parts."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from backend.network import (
    Decoding,
    Encoding,
    Locations,
    NetworkConfig,
    PatchGeometry,
    Regions,
    untrained_network,
)
from backend.network.config import FROZEN, LEARNABLE
from backend.network.mask_decoder import MASK_TOKENS
from backend.segmentation import EveryPartSettings
from backend.segmenter import Segmenter

TINY = NetworkConfig(
    name="tiny",
    points=400,
    branches=(LEARNABLE,),
    voxel_resolution=6,
    voxel_channels=8,
    plane_resolution=16,
    unet_widths=(8, 16),
    transformer_width=16,
    transformer_depth=1,
    transformer_heads=2,
    plane_channels=16,
    sdf_channels=4,
    patches=24,
    patch_neighbors=4,
    decoder_width=16,
    decoder_depth=2,
    decoder_heads=2,
    decoder_mlp_width=24,
    mask_prompt_widths=(6, 12),
    mask_channels=8,
    mask_prompt_points=128,
    mask_prompt_neighbors=3,
    point_attributes=True,
    click_scales=3,
    mask_scores=True,
    normal_distance=0.2,
)

TWO_BRANCHES = replace(
    TINY,
    branches=(FROZEN, LEARNABLE),
    mask_prompt_points=None,
    point_attributes=False,
    click_scales=0,
    mask_scores=False,
    normal_distance=0.0,
)
"""As the published network: none of the small one's additions."""

UNFILTERED = EveryPartSettings(
    max_masks=48,
    **{field.name: -1e9 for field in fields(EveryPartSettings) if field.name.startswith("min_")},
)
"""Random weights score their masks at random; this keeps them all the same."""


def tiny_segmenter(config: NetworkConfig = TINY) -> Segmenter:
    """A segmenter whose masks mean nothing but depend on everything that a real one's depend on."""
    return Segmenter(untrained_network(config, seed=3))


@dataclass(frozen=True)
class Box:
    """An axis-aligned box in the network's cube; what lies inside is one part."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    score: float = 0.9

    @property
    def volume(self) -> float:
        return float(torch.prod(torch.tensor(self.high) - torch.tensor(self.low)))


class OracleNetwork(nn.Module):
    """Answers every click with the boxes around it: the smallest, the next and the largest.

    Has the methods of `PartSAM` that a segmenter calls. Logits are `sharpness` times the distance to the
    box's surface, positive inside, so they are exact at any location. Clicks outside of all boxes get
    masks without points and a score of 0.

    wrong: share of the locations at which every answer is the opposite, but hardly sure of it
    decoded: how many clicks were answered
    """

    def __init__(
        self, boxes: list[Box], *, config: NetworkConfig = TINY, sharpness: float = 100.0, wrong: float = 0.0
    ) -> None:
        super().__init__()
        self.config = config
        self.boxes = sorted(boxes, key=lambda box: box.volume)
        self.sharpness = sharpness
        self.wrong = wrong
        self.decoded = 0

    def encoder(self, points: Tensor, normals: Tensor, colors: Tensor) -> Tensor:
        return points

    def encode_patches(
        self,
        texels: Tensor,
        points: Tensor,
        attributes: Tensor,
        geometry: PatchGeometry,
        regions: Regions | None = None,
    ) -> Encoding:
        centers = points[:, geometry.center_index[0]]
        nothing = torch.zeros(1, 1, 1, 1)
        return Encoding(nothing, centers, nothing, nothing, nothing, geometry.mask_neighbor_index, None)

    def locate(
        self,
        encoding: Encoding,
        points: Tensor,
        attributes: Tensor | None,
        index: Tensor,
        weight: Tensor,
        regions: Tensor | None = None,
    ) -> Locations:
        return Locations(points, points.unsqueeze(1), index, weight)

    def decode(
        self,
        encoding: Encoding,
        points: Tensor,
        labels: Tensor,
        mask_logits: Tensor | None = None,
        sizes: Tensor | None = None,
        click_regions: Tensor | None = None,
    ) -> Decoding:
        """The last positive click decides; a box travels as its six bounds in the mask vector."""
        rows = [
            self._answer(clicks[signs == 1][-1]) for clicks, signs in zip(points[0], labels[0], strict=True)
        ]
        self.decoded += len(rows)
        vectors = torch.stack([vectors for vectors, _ in rows])[None]
        scores = torch.stack([scores for _, scores in rows])[None]
        return Decoding(torch.zeros(1, len(rows), 1, 1), vectors, scores, points, labels)

    def mask_logits(self, decoding: Decoding, locations: Locations, masks: slice = slice(None)) -> Tensor:
        bounds = decoding.mask_vectors[:, :, masks].unsqueeze(3)  # [1, M, C, 1, 6]
        places = locations.features.unsqueeze(2)  # [1, 1, 1, N, 3]
        inside = torch.minimum(places - bounds[..., :3], bounds[..., 3:] - places).amin(dim=-1)
        return inside * self.sharpness * torch.where(self._is_wrong(places), -0.01, 1)

    def _is_wrong(self, places: Tensor) -> Tensor:
        """A fixed scatter of locations [..., 3], the same for all masks."""
        phase = (places.double() * torch.tensor([12.9898, 78.233, 37.719])).sum(dim=-1).sin() * 43758.5453
        return phase - phase.floor() < self.wrong

    def _answer(self, click: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds [4, 6] and scores [4] for one click [3]."""
        around = [
            box
            for box in self.boxes
            if bool(((click > torch.tensor(box.low)) & (click < torch.tensor(box.high))).all())
        ]
        if not around:
            return torch.tensor([[9.0] * 3 + [8.0] * 3]).expand(MASK_TOKENS, 6), torch.zeros(MASK_TOKENS)
        chosen = [around[0], around[0], around[min(1, len(around) - 1)], around[-1]]
        bounds = torch.tensor([[*box.low, *box.high] for box in chosen])
        return bounds, torch.tensor([box.score for box in chosen])


def oracle_segmenter(boxes: list[Box], *, points: int = 2000, wrong: float = 0.0) -> Segmenter:
    return Segmenter(OracleNetwork(boxes, config=replace(TINY, points=points), wrong=wrong))  # type: ignore[arg-type]
