# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated interaction: click, look at the mask, correct it, and what each round costs.

Two kinds. *One part*: round one offers three masks, of which the best is trained; half of the first clicks
say how large the part is. *All parts together*: each part's clicks are positive for it and negative for
the others, and one mask answers. Later rounds of both see all clicks so far and the previous logits, and
give one mask. Clicks, dense prompts and losses use a random subset of the encoded points: the decoder's
cost is memory traffic over [shapes, masks, points, channels].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..click_simulation import ClickConfig, clicks_anywhere, corrective_clicks, deep_points, first_clicks
from ..network import Encoding, Locations, PartSAM, attributes_at
from ..network.patches import gather_rows
from .batch import Batch
from .device_geometry import batch_patch_geometry, batch_patch_space, interpolation_matrix
from .losses import Alternatives, LossConfig, mask_losses, triplet_contrast

METRICS = ("loss", "focal", "dice", "score_error", "contrast", "iou_first", "iou_last")

_SAME = 0.75
"""From this IoU on a part of another labeling is the target once more."""
_NESTED = 0.85
"""Share of the smaller of two parts that lies in the larger one, if they are nested."""
_SIZE_JITTER = 0.25
"""Sizes are given up to this factor too large or too small."""


@dataclass(frozen=True)
class Interaction:
    """What is simulated in one step.

    rounds: of answers; joint_clicks: clicks on each part in the first round when all parts are asked for
        together, 0: one part at a time, by one click
    """

    rounds: int
    joint_clicks: int = 0


@dataclass(frozen=True)
class StepLoss:
    """loss: scalar with gradient; metrics: float32 [len(METRICS)], detached."""

    loss: Tensor
    metrics: Tensor


def interactive_loss(
    network: PartSAM, batch: Batch, *, interaction: Interaction, clicks: ClickConfig, losses: LossConfig
) -> StepLoss:
    """Encode a batch once and interact with all its targets."""
    with torch.no_grad():
        space = batch_patch_space(batch.points, batch.normals, network.config)
        geometry = batch_patch_geometry(space, network.config)
        count = geometry.mask_point_index.shape[1]
        matrix = interpolation_matrix(gather_rows(space, geometry.center_index), space[:, :count])
    encoding = network.encode(batch.points, batch.normals, batch.colors, geometry, batch.regions)
    points = batch.points[:, :count]
    features = network.field(encoding.texels, points)
    attributes = attributes_at(points, batch.normals[:, :count], batch.colors[:, :count])
    located = network.decoder.locate(features, attributes).unsqueeze(1)
    unused = torch.empty(0, device=points.device)
    atoms = None if batch.regions is None else batch.regions.of_points[:, :count]
    locations = Locations(points, located, unused.long(), unused, matrix.to(located.dtype), atoms)
    contrast = triplet_contrast(features, batch.part_ids[:, :count], losses)
    first, later, valid = _rounds(network, encoding, locations, batch, points, interaction, clicks, losses)
    everything = [first, *later]
    loss = first.total + losses.contrast * contrast
    if later:
        loss = loss + torch.stack([r.total for r in later]).mean()
    metrics = torch.stack(
        [
            loss.detach(),
            torch.stack([r.focal for r in everything]).mean(),
            torch.stack([r.dice for r in everything]).mean(),
            torch.stack([r.iou for r in everything]).mean(),
            contrast.detach(),
            _valid_mean(first.true_iou, valid),
            _valid_mean(everything[-1].true_iou, valid),
        ]
    )
    return StepLoss(loss, metrics.float())


def _rounds(
    network: PartSAM,
    encoding: Encoding,
    locations: Locations,
    batch: Batch,
    points: Tensor,
    interaction: Interaction,
    clicks: ClickConfig,
    losses: LossConfig,
) -> tuple:
    """The losses of round one, those of the others, and which targets count, bool [B, M]."""
    targets = batch.target_masks[:, :, : points.shape[1]]
    valid = batch.valid & targets.any(dim=2)  # a small part may have no point in the subset
    sizes: Tensor | None = None
    others: Alternatives | None = None
    if interaction.joint_clicks:
        index, labels = joint_prompts(
            points, targets, batch.target_ids, valid, clicks, interaction.joint_clicks
        )
    else:
        index = first_clicks(points, targets, clicks).unsqueeze(2)
        labels = torch.ones_like(index)
        if network.config.size_prompt:
            sizes = _stated_sizes(batch.target_masks)
        others = alternatives(targets, batch.other_ids[:, :, : points.shape[1]], index.squeeze(2), sizes)
    previous: Tensor | None = None
    results = []
    for turn in range(interaction.rounds):
        clicked = None if locations.regions is None else _at_points(locations.regions, index)
        decoding = network.decode(
            encoding, _click_points(points, index), labels, previous, sizes, click_regions=clicked
        )
        masks = slice(1, 4) if index.shape[2] == 1 else slice(0, 1)
        logits = network.mask_logits(decoding, locations, masks)
        scores = decoding.iou[:, :, masks]
        results.append(mask_losses(logits, scores, targets, valid, losses, others))
        others = None
        if turn == interaction.rounds - 1:
            break
        with torch.no_grad():
            # As in use: the mask that the network believes in goes into the next round.
            best = scores.argmax(dim=2)[:, :, None, None].expand(-1, -1, 1, logits.shape[3])
            previous = logits.gather(2, best).squeeze(2).float()
            click, label = corrective_clicks(
                targets,
                previous > 0,
                lambda regions: deep_points(points, regions, clicks, random=clicks.random),
            )
            index = torch.cat([index, click.unsqueeze(2)], dim=2)
            labels = torch.cat([labels, label.unsqueeze(2)], dim=2)
    return results[0], results[1:], valid


def joint_prompts(
    points: Tensor, targets: Tensor, target_ids: Tensor, valid: Tensor, config: ClickConfig, count: int
) -> tuple[Tensor, Tensor]:
    """`count` clicks on each part, and those of the other parts as negative ones.

    points: float32 [B, N, 3]; targets: bool [B, M, N]; target_ids: int64 [B, M]; valid: bool [B, M]
    Returns point indices and labels, int64 [B, M, M * count] each. Where another slot holds the same part, or
    none, the part's own first click stands again.
    """
    own = torch.cat(
        [first_clicks(points, targets, config).unsqueeze(2), clicks_anywhere(targets, count - 1)], dim=2
    )
    sets, slots = own.shape[:2]
    foreign = own.flatten(1).unsqueeze(1).expand(-1, slots, -1)  # [B, M, M * count]
    other = (target_ids[:, :, None] != target_ids[:, None]) & valid[:, None]
    other = other.repeat_interleave(count, dim=2)
    mine = torch.eye(slots, dtype=torch.bool, device=own.device).repeat_interleave(count, dim=1)
    index = torch.where(other | mine, foreign, own[:, :, :1])
    return index, (~other).long().expand(sets, -1, -1)


def alternatives(targets: Tensor, other_ids: Tensor, clicked: Tensor, sizes: Tensor | None) -> Alternatives:
    """Parts of other labelings under the click that nest with the target and differ from it.

    targets: bool [B, M, N]; other_ids: int64 [B, A, N]; clicked: int64 [B, M]
    sizes: float32 [B, M], what the click says about the size: where it is known, only the target is meant
    """
    sets, others, count = other_ids.shape
    slots = targets.shape[1]
    under = other_ids.gather(2, clicked[:, None].expand(-1, others, -1)).transpose(1, 2)  # [B, M, A]
    masks = (other_ids[:, None] == under.unsqueeze(3)) & (under >= 0).unsqueeze(3)
    areas, target_areas = masks.sum(dim=3), targets.sum(dim=2, keepdim=True)
    shared = (masks & targets.unsqueeze(2)).sum(dim=3)
    different = shared < _SAME * (areas + target_areas - shared)
    nested = shared >= _NESTED * torch.minimum(areas, target_areas)
    valid = (areas > 0) & (areas < 0.9 * count) & different & nested
    for later in range(1, others):  # a part that two labelings share counts once
        for earlier in range(later):
            both = (masks[:, :, later] & masks[:, :, earlier]).sum(dim=2)
            union = areas[:, :, later] + areas[:, :, earlier] - both
            valid[:, :, later] &= ~valid[:, :, earlier] | (both < _SAME * union)
    if sizes is not None:
        valid &= (sizes == 0).unsqueeze(2)
    return Alternatives(masks.view(sets, slots, others, count), valid)


def _stated_sizes(masks: Tensor) -> Tensor:
    """What half of the clicks say about the size of their part, float32 [B, M]; 0 for the others."""
    share = masks.float().mean(dim=2)
    jitter = 1 + _SIZE_JITTER * (2 * torch.rand_like(share) - 1)
    return torch.where(torch.rand_like(share) < 0.5, (share * jitter).clamp(max=1), 0.0)


def _click_points(points: Tensor, index: Tensor) -> Tensor:
    """points [B, N, 3], index [B, M, P] -> [B, M, P, 3]."""
    return gather_rows(points, index)


def _at_points(values: Tensor, index: Tensor) -> Tensor:
    """values [B, N], index [B, M, P] -> [B, M, P]."""
    return values.gather(1, index.flatten(1)).view_as(index)


def _valid_mean(values: Tensor, valid: Tensor) -> Tensor:
    return (values * valid).sum() / valid.sum().clamp(min=1)
