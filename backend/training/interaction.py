# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated interaction: click, look at the mask, correct it, and what each round costs.

Round one offers three masks, of which the best is trained; later rounds see all clicks so far and the
previous logits, and give one mask. Clicks, dense prompts and losses use a random subset of the
encoded points: the decoder's cost is memory traffic over [shapes, masks, points, channels].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..network import Encoding, Locations, PartSAM, attributes_at
from ..network.patches import gather_rows
from .batch import Batch
from .clicks import ClickConfig, corrective_clicks, first_clicks
from .device_geometry import batch_patch_geometry, batch_patch_space, interpolation_matrix
from .losses import LossConfig, mask_losses, triplet_contrast

METRICS = ("loss", "focal", "dice", "score_error", "contrast", "iou_first", "iou_last")


@dataclass(frozen=True)
class StepLoss:
    """loss: scalar with gradient; metrics: float32 [len(METRICS)], detached."""

    loss: Tensor
    metrics: Tensor


def interactive_loss(
    network: PartSAM, batch: Batch, *, rounds: int, clicks: ClickConfig, losses: LossConfig
) -> StepLoss:
    """Encode a batch once and interact with all its targets for `rounds` rounds."""
    with torch.no_grad():
        space = batch_patch_space(batch.points, batch.normals, network.config)
        geometry = batch_patch_geometry(space, network.config)
        count = geometry.mask_point_index.shape[1]
        matrix = interpolation_matrix(gather_rows(space, geometry.center_index), space[:, :count])
    encoding = network.encode(batch.points, batch.normals, batch.colors, geometry)
    points = batch.points[:, :count]
    features = network.field(encoding.texels, points)
    attributes = attributes_at(points, batch.normals[:, :count], batch.colors[:, :count])
    located = network.decoder.locate(features, attributes).unsqueeze(1)
    unused = torch.empty(0, device=points.device)
    locations = Locations(points, located, unused.long(), unused, matrix.to(located.dtype))
    contrast = triplet_contrast(features, batch.part_ids[:, :count], losses)
    first, later = _rounds(network, encoding, locations, batch, points, rounds, clicks, losses)
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
            _valid_mean(first.true_iou, batch.valid),
            _valid_mean(everything[-1].true_iou, batch.valid),
        ]
    )
    return StepLoss(loss, metrics.float())


def _rounds(
    network: PartSAM,
    encoding: Encoding,
    locations: Locations,
    batch: Batch,
    points: Tensor,
    rounds: int,
    clicks: ClickConfig,
    losses: LossConfig,
) -> tuple:
    """The losses of round one, and of the others."""
    targets = batch.target_masks[:, :, : points.shape[1]]
    valid = batch.valid & targets.any(dim=2)  # a small part may have no point in the subset
    index = first_clicks(points, targets, clicks).unsqueeze(2)
    labels = torch.ones_like(index)
    previous: Tensor | None = None
    results = []
    for turn in range(rounds):
        decoding = network.decode(encoding, _click_points(points, index), labels, previous)
        masks = slice(1, 4) if turn == 0 else slice(0, 1)
        logits = network.mask_logits(decoding, locations, masks)
        scores = decoding.iou[:, :, masks]
        results.append(mask_losses(logits, scores, targets, valid, losses))
        if turn == rounds - 1:
            break
        with torch.no_grad():
            # As in use: the mask that the network believes in goes into the next round.
            best = scores.argmax(dim=2)[:, :, None, None].expand(-1, -1, 1, logits.shape[3])
            previous = logits.gather(2, best).squeeze(2).float()
            click, label = corrective_clicks(points, targets, previous > 0, clicks)
            index = torch.cat([index, click.unsqueeze(2)], dim=2)
            labels = torch.cat([labels, label.unsqueeze(2)], dim=2)
    return results[0], results[1:]


def _click_points(points: Tensor, index: Tensor) -> Tensor:
    """points [B, N, 3], index [B, M, P] -> [B, M, P, 3]."""
    return gather_rows(points, index)


def _valid_mean(values: Tensor, valid: Tensor) -> Tensor:
    return (values * valid).sum() / valid.sum().clamp(min=1)
