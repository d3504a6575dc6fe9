# SPDX-License-Identifier: GPL-3.0-or-later
"""Training losses. All arithmetic is float32 whatever comes in; invalid masks contribute nothing.

Per mask: focal + 2 dice + IoU regression, the weights of the published recipe. Where the network offers
several masks (round one), the best of them is trained; parts of other labelings that the click may have
meant as well are matched to the others. A ranking loss compares the scores of the masks of one click.
Per shape: triplet contrast on the field.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class LossConfig:
    """Weights and constants.

    rank: weight of the ranking loss; alternatives: weight of a part of another labeling against the target
    focal_alpha: weight of the foreground in the focal loss (None: both alike); focal_gamma: its exponent
    triplets: anchors per shape of the contrast; margin: of the cosine distances
    """

    focal: float = 1.0
    dice: float = 2.0
    iou: float = 1.0
    contrast: float = 0.5
    rank: float = 0.0
    alternatives: float = 0.5
    focal_alpha: float | None = None
    focal_gamma: float = 2.0
    triplets: int = 1024
    margin: float = 0.5


@dataclass(frozen=True)
class Alternatives:
    """Other parts that prompts may have meant: masks bool [B, M, A, N], valid bool [B, M, A]."""

    masks: Tensor
    valid: Tensor


@dataclass(frozen=True)
class MaskLosses:
    """Means over the valid masks (scalars), and which mask of each set was trained.

    total = weighted sum; focal, dice, iou: unweighted parts; best: int64 [B, M]; true_iou: float32 [B, M],
    IoU of that mask with its target.
    """

    total: Tensor
    focal: Tensor
    dice: Tensor
    iou: Tensor
    best: Tensor
    true_iou: Tensor


def mask_losses(
    logits: Tensor,
    scores: Tensor,
    targets: Tensor,
    valid: Tensor,
    config: LossConfig,
    alternatives: Alternatives | None = None,
) -> MaskLosses:
    """Losses of one round of interaction.

    logits: [B, M, C, N], C masks offered per prompt set (three in round one, then one)
    scores: [B, M, C], predicted IoUs; targets: bool [B, M, N]; valid: bool [B, M]
    The mask with the smallest focal + dice loss is trained; with alternatives (at most C - 1), the assignment
    of target and alternatives to masks that costs least. The IoU regression trains all C scores.
    """
    logits, scores = logits.float(), scores.float()
    focal, dice = _mask_costs(logits, targets, config)
    with torch.no_grad():
        true_iou = hard_iou(logits, targets.unsqueeze(2))
    regression = functional.mse_loss(scores, true_iou, reduction="none").mean(dim=2)
    cost = config.focal * focal + config.dice * dice
    weight = valid.float() / valid.sum().clamp(min=1)
    total = torch.zeros((), device=logits.device)
    if alternatives is None:
        best = cost.detach().argmin(dim=2, keepdim=True)
    else:
        best, others = _assignment(logits, cost, alternatives, config)
        total = (config.alternatives * others * weight).sum()
    focal_mean = (focal.gather(2, best).squeeze(2) * weight).sum()
    dice_mean = (dice.gather(2, best).squeeze(2) * weight).sum()
    iou_mean = (regression * weight).sum()
    total = total + config.focal * focal_mean + config.dice * dice_mean + config.iou * iou_mean
    if config.rank and scores.shape[2] > 1:
        total = total + config.rank * (ranking_loss(scores, true_iou) * weight).sum()
    return MaskLosses(
        total=total,
        focal=focal_mean.detach(),
        dice=dice_mean.detach(),
        iou=iou_mean.detach(),
        best=best.squeeze(2),
        true_iou=true_iou.gather(2, best).squeeze(2),
    )


def _mask_costs(logits: Tensor, wanted: Tensor, config: LossConfig) -> tuple[Tensor, Tensor]:
    """Focal and dice loss of each offered mask, float32 [B, M, C] each; wanted: bool [B, M, N]."""
    target = wanted.float().unsqueeze(2)
    focal = focal_loss(logits, target, alpha=config.focal_alpha, gamma=config.focal_gamma)
    return focal, dice_loss(logits, target)


def _assignment(
    logits: Tensor, cost: Tensor, alternatives: Alternatives, config: LossConfig
) -> tuple[Tensor, Tensor]:
    """Mask of the target int64 [B, M, 1], and the summed cost of the alternatives with theirs [B, M].

    Exhaustive over all assignments: three masks have six.
    """
    costs = []
    for row in range(alternatives.masks.shape[2]):
        focal, dice = _mask_costs(logits, alternatives.masks[:, :, row], config)
        kept = alternatives.valid[:, :, row, None].float()
        costs.append((config.focal * focal + config.dice * dice) * kept)
    # Plain loops: a table of indices would be copied from the host, which a captured step cannot do.
    orders = list(itertools.permutations(range(cost.shape[2]), 1 + len(costs)))
    of_others = torch.stack(
        [
            torch.stack([c[:, :, mask] for c, mask in zip(costs, order[1:], strict=True)]).sum(dim=0)
            for order in orders
        ],
        dim=2,
    )
    of_target = torch.stack([cost[:, :, order[0]] for order in orders], dim=2)
    chosen = (of_target + config.alternatives * of_others).detach().argmin(dim=2, keepdim=True)
    # Permutations come in lexicographic order, so that the first member changes slowest.
    return chosen // (len(orders) // cost.shape[2]), of_others.gather(2, chosen).squeeze(2)


def ranking_loss(scores: Tensor, true_iou: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Pairwise logistic loss of the order of each prompt's masks, [B, M, C] -> [B, M].

    A pair counts by how far apart its true IoUs are (C. Burges et al., "Learning to rank using gradient
    descent", ICML 2005).
    """
    truth = true_iou.unsqueeze(-1) - true_iou.unsqueeze(-2)
    guess = (scores.unsqueeze(-1) - scores.unsqueeze(-2)) / temperature
    # Every pair stands there twice, with both signs: only where the first is the better one does it count.
    return (truth.clamp(min=0) * functional.softplus(-guess)).sum(dim=(2, 3))


def focal_loss(logits: Tensor, targets: Tensor, *, alpha: float | None, gamma: float) -> Tensor:
    """Mean focal loss over the points: float32 [..., N] -> [...] (Lin et al., 2017)."""
    entropy = functional.softplus(logits) - logits * targets
    # 1 - p of the true class, as a sigmoid: exact in the tails where 1 - p would cancel.
    wrong = torch.sigmoid(torch.lerp(logits, -logits, targets.expand_as(logits)))
    loss = wrong.pow(gamma) * entropy
    if alpha is not None:
        loss = loss * torch.lerp(
            torch.full_like(targets, 1 - alpha), torch.full_like(targets, alpha), targets
        )
    return loss.mean(dim=-1)


def dice_loss(logits: Tensor, targets: Tensor, *, smooth: float = 1.0) -> Tensor:
    """1 - soft Dice coefficient over the points: float32 [..., N] -> [...] (Milletari et al., 2016)."""
    probability = torch.sigmoid(logits)
    shared = (probability * targets).sum(dim=-1)
    return 1 - (2 * shared + smooth) / (probability.sum(dim=-1) + targets.sum(dim=-1) + smooth)


def hard_iou(logits: Tensor, targets: Tensor) -> Tensor:
    """IoU of the masks logits > 0 with bool targets, [..., N] -> float32 [...]; 0 where both are empty."""
    masks = logits > 0
    shared = (masks & targets).sum(dim=-1)
    return shared / (masks | targets).sum(dim=-1).clamp(min=1)


def triplet_contrast(features: Tensor, part_ids: Tensor, config: LossConfig) -> Tensor:
    """Triplet contrast on the field, a scalar: points of one part alike, of two parts apart.

    features: [B, N, C]; part_ids: int64 [B, N], -1 = unlabelled
    Each anchor is a random labelled point; its positive a random point of the same part, its negative a
    random labelled point of another one; the loss is the hinge margin + d(anchor, positive)
    - d(anchor, negative) on cosine distances, averaged over the triplets that exist.
    """
    anchors = _random_index(part_ids, config.triplets)
    same, other = _partners(part_ids, anchors)
    anchor, positive, negative = (
        functional.normalize(_rows(features, index).float(), dim=-1, eps=1e-6)
        for index in (anchors, same, other)
    )
    part = part_ids.gather(1, anchors)
    partner, foreign = part_ids.gather(1, same), part_ids.gather(1, other)
    exists = ((part >= 0) & (partner == part) & (foreign >= 0) & (foreign != part)).float()
    near = 1 - (anchor * positive).sum(dim=-1)
    far = 1 - (anchor * negative).sum(dim=-1)
    hinge = torch.relu(config.margin + near - far)
    return (hinge * exists).sum() / exists.sum().clamp(min=1)


def _partners(part_ids: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    """For each anchor a random point of its part and one of another part: int64 [B, T] each.

    Points are sorted by part, so a part is an interval and a random member needs no search: the
    interval's start and length give the positive, and the rest of the labelled points, taken
    cyclically behind the interval, gives the negative.
    """
    ordered, order = part_ids.sort(dim=1)
    part = part_ids.gather(1, anchors)
    start = torch.searchsorted(ordered, part)
    end = torch.searchsorted(ordered, part, right=True)
    total = ordered.shape[1]
    unlabelled = (ordered < 0).sum(dim=1, keepdim=True)
    labelled = (total - unlabelled).clamp(min=1)
    draw_same, draw_other = torch.rand((2, *anchors.shape), device=part_ids.device).unbind(0)
    same = torch.minimum(start + (draw_same * (end - start)).long(), end - 1)
    outside = (labelled - (end - start)).clamp(min=1)
    step = torch.minimum((draw_other * outside).long(), outside - 1)
    other = unlabelled + (end - unlabelled + step) % labelled
    return order.gather(1, same.clamp(0, total - 1)), order.gather(1, other.clamp(0, total - 1))


def _random_index(part_ids: Tensor, count: int) -> Tensor:
    return torch.randint(0, part_ids.shape[1], (len(part_ids), count), device=part_ids.device)


def _rows(features: Tensor, index: Tensor) -> Tensor:
    return features.gather(1, index[..., None].expand(-1, -1, features.shape[2]))
