# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks evaluated only where they can be: most of a shape is far outside of any one part.

The decoder already knows its masks at the patch centres. Where all centres that a place is interpolated
from say no to a mask, and no centre nearby says yes, the mask says no there, too. On three fused shapes
no mask of 256 prompts lost any of 3,072 points to this, and 55 to 80 % of them were not evaluated.

What regions that creases bound add to a mask is known everywhere. It is taken off the centres' logits before
they are interpolated and put on the places': a region may lie between all centres.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .interpolation import gather_weighted, squared_distances
from .model import Decoding, Locations, PartSAM
from .region_prompts import at_places

CLEARLY_OUTSIDE = -5.0
"""Where no patch centre around a place reaches this logit, it is outside (probability below 0.7 %)."""

_CENTERS_AT_CLICK = 4
"""The centres nearest to each click count as inside: a part may lie between all centres."""

_CENTERS_AROUND = 16
"""So many centres nearest to one that is inside are evaluated, too: a small part may lie between them."""

_WIDE = 0.3
"""Prompts that reach more than this share of the places are evaluated at all of them, without lists of
places: 64 prompts at 3,072 points 78 and 82 -> 60 and 64 ms, a click 32 -> 28."""

_TILE = 3
"""Those take so many times more pairs at once: they have fewer intermediates."""


def sparse_mask_logits(
    network: PartSAM,
    centers: Tensor,
    around: Tensor,
    decoding: Decoding,
    locations: Locations,
    masks: slice,
    *,
    center_regions: Tensor | None = None,
    wanted: Tensor | None = None,
    pairs_at_once: int,
) -> Tensor:
    """`PartSAM.mask_logits` of one shape, with the clearly negative ones estimated: [M, C, N], float32.

    centers: float32 [L, 3], patch centres; around: float32 [L, L] from `centers_around`
    decoding: of one shape, with logits at the patch centres
    center_regions: int64 [1, L], as in `Encoding`
    wanted: bool [M, C], masks whose logits matter; None for all
    pairs_at_once: prompts x locations evaluated at once

    Estimates are interpolated from the patch centres, and never above CLEARLY_OUTSIDE.
    """
    assert decoding.center_logits is not None, "this network has no masks at the patch centres"
    center = decoding.center_logits[0, :, masks].float()  # [M, C, L]
    sets, count = center.shape[:2]
    counting = center if wanted is None else center.masked_fill(~wanted.unsqueeze(-1), -torch.inf)
    highest = counting.amax(dim=1)
    inside = (highest > 0) | _at_clicks(decoding.clicks[0], centers)
    reached = (highest > CLEARLY_OUTSIDE) | (inside.float() @ around > 0)
    if wanted is not None:
        reached &= wanted.any(dim=1, keepdim=True)
    added = _Added.by(decoding, locations, masks, center_regions)
    smooth = center if added is None else center - added.at_centers
    table = torch.cat([smooth.flatten(0, 1), reached.float()]).T  # [L, M * C + M]
    spread = gather_weighted(table.contiguous()[None], locations.index, locations.weight.float())[0]
    logits = spread[:, : sets * count].T.reshape(sets, count, -1)
    reaches = spread[:, sets * count :].T > 0  # [M, N]
    if added is not None:
        logits = logits + added.at_places
        likely = logits > CLEARLY_OUTSIDE
        reaches |= (likely if wanted is None else likely & wanted.unsqueeze(2)).any(dim=1)
    logits = logits.clamp(max=CLEARLY_OUTSIDE)
    vectors = decoding.mask_vectors[0, :, masks]
    wide = reaches.sum(dim=1) > _WIDE * reaches.shape[1]
    everywhere = wide.nonzero()[:, 0]
    if len(everywhere):
        those, tile = decoding.take(everywhere), max(1, _TILE * pairs_at_once // len(everywhere))
        for start in range(0, logits.shape[2], tile):
            part = locations.part(start, start + tile)
            logits[everywhere, :, start : start + tile] = network.mask_logits(those, part, masks)[0].float()
    distances = network.click_distances(decoding, locations.points)
    for pairs in (reaches & ~wide.unsqueeze(1)).nonzero().split(pairs_at_once):
        prompts, places = pairs.T
        near = None if distances is None else distances[:, prompts, places]
        hidden = _hidden(network, decoding, locations, prompts, places, near)
        for prompt, own, rows in _by_prompt(prompts, places, hidden):
            values = (vectors[prompt] @ rows.T).float()
            logits[prompt][:, own] = values if added is None else values + added.at_places[prompt][:, own]
    return logits


class _Added(NamedTuple):
    """What regions add to masks: at_centers [M, C, L], at_places [M, C, N], float32."""

    at_centers: Tensor
    at_places: Tensor

    @classmethod
    def by(
        cls, decoding: Decoding, locations: Locations, masks: slice, center_regions: Tensor | None
    ) -> _Added | None:
        if decoding.region_logits is None:
            return None
        assert center_regions is not None, "the regions of this shape are known, those of centres are wanted"
        assert locations.regions is not None, (
            "the regions of this shape are known, those of places are wanted"
        )
        at_atoms = decoding.region_logits[:, :, masks].float()
        return cls(at_places(at_atoms, center_regions)[0], at_places(at_atoms, locations.regions)[0])


def centers_around(centers: Tensor) -> Tensor:
    """Which patch centres [L, 3] are among the nearest to each: float32 [L, L] of 0 and 1."""
    distance = squared_distances(centers[None], centers[None])[0]
    nearest = distance.topk(min(_CENTERS_AROUND, len(centers)), largest=False).indices
    return torch.zeros_like(distance).scatter_(1, nearest, 1.0)


def _at_clicks(clicks: Tensor, centers: Tensor) -> Tensor:
    """bool [M, L]: the patch centres [L, 3] nearest to each of clicks [M, P, 3]."""
    distance = squared_distances(clicks.flatten(0, 1)[None], centers[None])[0]
    nearest = distance.topk(min(_CENTERS_AT_CLICK, len(centers)), largest=False).indices
    reached = torch.zeros(len(clicks), len(centers), dtype=torch.bool, device=centers.device)
    return reached.scatter_(1, nearest.view(len(clicks), -1), True)


def _hidden(
    network: PartSAM,
    decoding: Decoding,
    locations: Locations,
    prompts: Tensor,
    places: Tensor,
    near: Tensor | None,
) -> Tensor:
    """What mask vectors are multiplied with, for pairs of a prompt set and a location: [Q, mask_channels]."""
    features = decoding.patch_features
    index = locations.index[0, places] + prompts.unsqueeze(1) * features.shape[2]
    interpolated = gather_weighted(features.flatten(1, 2), index[None], locations.weight[:, places])
    return network.decoder.point_hidden(interpolated, locations.features[0, :, places], near)[0]


def _by_prompt(prompts: Tensor, places: Tensor, hidden: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Each prompt set of sorted pairs with its locations and its rows of `hidden` [Q, channels]."""
    present, counts = prompts.unique_consecutive(return_counts=True)
    sizes = counts.tolist()
    yield from zip(present.tolist(), places.split(sizes), hidden.split(sizes), strict=True)
