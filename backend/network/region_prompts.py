# SPDX-License-Identifier: GPL-3.0-or-later
"""What a click has to do with every other place by the regions that creases bound: a prompt for all patches.

The triplane is too coarse for most creases; the mesh knows them exactly. Regions are given per shape, as
`region_features` describes them: the atom of each place, and what holds between each two atoms.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..region_features import FIRST_SHARE, LATER_SHARES, LOG_SCALE, REGION_FEATURES
from .config import NetworkConfig
from .linear import Linear
from .patches import gather_rows

PROMPT_FEATURES = 2 * REGION_FEATURES + 2
"""Those of the nearest positive and of the nearest negative click, and two of the size that was asked for."""

_KNOWN = 0
SHARED_SIZE = 1
SHARED_CLEARNESS = 2
_OWN_SIZE = 5
ONE_PIECE = 7
SIZE_GAP = 2 * REGION_FEATURES
"""Columns: whether anything is known; how large the smallest region with both places is (the smaller, the
nearer they are in the tree), and how clear; how large the click's atom is, where both are in it; whether both
are in one piece of the mesh. In a prompt's features, after those of both clicks: by how much the size
that was asked for exceeds that region's (logarithms), and whether one was asked for."""
_NOT_A_CLICK = 9.0
"""Above all values of that column."""
_SMALLEST = 1e-6
"""Share of a surface."""


@dataclass(frozen=True)
class Regions:
    """The crease regions of B shapes.

    of_points: int64 [B, N], atom of each input point; 0 where a shape's regions are unknown
    pairs: float [B, K, K, REGION_FEATURES], rows for the click's atom, columns for the place's; zeros where
        a shape has fewer atoms, and for shapes whose regions are unknown
    """

    of_points: Tensor
    pairs: Tensor


@dataclass(frozen=True)
class PromptedRegions:
    """What M prompt sets have to do with each atom.

    features: float32 [B, M, K, PROMPT_FEATURES]; known: bool [B, M, K]
    of_centers: int64 [B, L], atom of each patch centre
    areas: float32 [B, K], share of the surface of each atom, 0 where a shape has fewer
    """

    features: Tensor
    known: Tensor
    of_centers: Tensor
    areas: Tensor


@torch.no_grad()
def regions_in_view(pairs: Tensor, shares: Tensor) -> Tensor:
    """The same pairs of atoms where only a part of each surface is looked at: a region takes more of it.

    pairs: float [B, K, K, REGION_FEATURES], as in `Regions`; shares: float32 [B], of the surface that is in
    view. Regions that reach beyond count as all of it.
    """
    logs = (shares.log() / LOG_SCALE)[:, None, None]
    found = pairs.clone()
    for columns, in_view in ((FIRST_SHARE, logs), (LATER_SHARES, logs.unsqueeze(3))):
        found[..., columns] = (pairs[..., columns] - in_view).clamp(max=0).to(pairs.dtype)
    return found


@torch.no_grad()
def prompted_regions(
    pairs: Tensor, of_centers: Tensor, clicks: Tensor, labels: Tensor, sizes: Tensor | None
) -> PromptedRegions:
    """pairs: as in `Regions`; clicks: int64 [B, M, P], their atoms; labels: int64 [B, M, P], 1 positive, 0
    negative; sizes: float32 [B, M], share of the surface that is meant, 0 where unknown; None: all unknown.
    """
    positive = labels == 1
    asked, refused = _nearest(pairs, clicks, positive), _nearest(pairs, clicks, ~positive)
    if sizes is None:
        size = asked.new_zeros(*asked.shape[:3], 2)
    else:
        share = sizes.float().clamp(min=_SMALLEST).log() / LOG_SCALE
        gap = share.unsqueeze(2) - asked[..., SHARED_SIZE]
        size = torch.stack([gap, torch.ones_like(gap)], dim=-1) * (sizes > 0)[..., None, None]
    known = (asked[..., _KNOWN] > 0) | (refused[..., _KNOWN] > 0)
    # No region holds an atom and not the atom: that column has the atom itself.
    alone = pairs.diagonal(dim1=1, dim2=2).float()
    areas = (alone[:, _OWN_SIZE] * LOG_SCALE).exp() * alone[:, _KNOWN]
    return PromptedRegions(torch.cat([asked, refused, size], dim=-1), known, of_centers, areas)


def _nearest(pairs: Tensor, clicks: Tensor, wanted: Tensor) -> Tensor:
    """For each atom the row of that wanted click which is nearest in the tree: float32 [B, M, K, 8].

    clicks, wanted (bool): [B, M, P]; zeros where none is wanted
    """
    if clicks.shape[2] == 1:
        rows = gather_rows(pairs.flatten(2), clicks[:, :, 0]).unflatten(2, pairs.shape[2:])
        return rows.float() * wanted.unsqueeze(3)
    distance = gather_rows(pairs[..., SHARED_SIZE], clicks)  # [B, M, P, K]
    nearest = distance.masked_fill(~wanted.unsqueeze(3), _NOT_A_CLICK).argmin(dim=2)
    count = pairs.shape[1]
    which = clicks.gather(2, nearest) * count + torch.arange(count, device=clicks.device)
    return gather_rows(pairs.flatten(1, 2), which).float() * wanted.any(dim=2)[..., None, None]


class RegionPrompts(nn.Module):
    """Regions as seen from the clicks -> what is added to the patches, and to the masks at each atom.

    Both start as no change at all, so that a network that was trained without can go on from its weights,
    and are none where regions are unknown.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width, hidden = config.decoder_width, config.region_prompt
        self.patch_hidden = Linear(PROMPT_FEATURES, hidden)
        self.patch_out = Linear(hidden, width)
        self.mask_hidden = Linear(PROMPT_FEATURES, hidden)
        self.token_hidden = Linear(width, hidden, bias=False)
        self.token_out = Linear(width, hidden)
        for layer in (self.patch_out, self.token_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def at_patches(self, prompted: PromptedRegions) -> Tensor:
        """[B, M, L, decoder_width]."""
        # Features have no gradient, so that they are spread before the layers, not the layers' results.
        features, sets = prompted.features, prompted.features.shape[1]
        centers = prompted.of_centers[:, None, :, None].expand(-1, sets, -1, 1)
        known = prompted.known.unsqueeze(3).gather(2, centers)
        features = features.gather(2, centers.expand(-1, -1, -1, features.shape[3]))
        return self.patch_out(F.gelu(self.patch_hidden(features))).masked_fill(~known, 0.0)

    def mask_logits(self, prompted: PromptedRegions, tokens: Tensor) -> Tensor:
        """What is added to each mask at all places of an atom: [B, M, T, K] for mask tokens [B, M, T, D]."""
        own, asked = self.mask_hidden(prompted.features), self.token_hidden(tokens)
        hidden = F.gelu(own.unsqueeze(2) + asked.unsqueeze(3))  # [B, M, T, K, hidden]
        weight = self.token_out(tokens)
        if torch.is_grad_enabled():
            # Compiled, all this is one pass that keeps nothing of `hidden`; a product would read it again.
            logits = (hidden * weight.unsqueeze(3)).sum(dim=4)
        else:
            logits = (hidden @ weight.unsqueeze(4)).squeeze(4)
        return logits.masked_fill(~prompted.known.unsqueeze(2), 0.0)


def at_places(at_atoms: Tensor, atoms: Tensor) -> Tensor:
    """Values [B, ..., K] of atoms at places of these atoms, int64 [B, N]: [B, ..., N]."""
    batch, count = atoms.shape
    index = atoms.view(batch, *[1] * (at_atoms.dim() - 2), count)
    return at_atoms.gather(-1, index.expand(*at_atoms.shape[:-1], count))


def at_places_by_product(at_atoms: Tensor, atoms: Tensor) -> Tensor:
    """`at_places` of [B, M, C, K], as a product of matrices: in training its gradient is one, too, where a
    gather's would add thousands of places to each of a few atoms one by one."""
    numbers = torch.arange(at_atoms.shape[-1], device=atoms.device)
    of_place = (atoms.unsqueeze(1) == numbers.unsqueeze(1)).to(at_atoms.dtype)  # [B, K, N]
    return (at_atoms.flatten(1, 2) @ of_place).unflatten(1, at_atoms.shape[1:3])
