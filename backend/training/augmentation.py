# SPDX-License-Identifier: GPL-3.0-or-later
"""Augmentation of labelled point batches, all on the device and at fixed shapes.

Randomness comes from the device's default generator and nothing waits for the device, so a training
step that contains all of this can be captured in a CUDA graph.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, normalize

from ..geometry.mesh import NEUTRAL_GREY
from ..geometry.normalization import CUBE_SIDE


@dataclass(frozen=True)
class LabelledPoints:
    """A batch of point sets.

    points, normals, colors: float32 [B, N, 3]; part_ids: int64 [B, N], -1 = unlabelled
    other_ids: int64 [B, A, N], parts under other labelings of the same shape, -1 = unlabelled or none
    regions: int64 [B, N], atom of the crease regions at each point, 0 where unknown; None where nobody asks
    """

    points: Tensor
    normals: Tensor
    colors: Tensor
    part_ids: Tensor
    other_ids: Tensor
    regions: Tensor | None = None

    def take(self, index: Tensor) -> LabelledPoints:
        """The points `index` int64 [B, K] of each set."""
        rows = index[..., None].expand(-1, -1, 3)
        return LabelledPoints(
            points=self.points.gather(1, rows),
            normals=self.normals.gather(1, rows),
            colors=self.colors.gather(1, rows),
            part_ids=self.part_ids.gather(1, index),
            other_ids=self.other_ids.gather(2, index[:, None].expand(-1, self.other_ids.shape[1], -1)),
            regions=None if self.regions is None else self.regions.gather(1, index),
        )


@dataclass(frozen=True)
class AugmentationConfig:
    """Probabilities are per shape; amounts are upper bounds of what is drawn.

    spin: turned freely about an up axis (y or z) rather than by a multiple of 90 degrees
    about_z: turned about z rather than about y
    as_stored: neither mirrored nor turned about an up axis: shapes that were set upright, as the product
        shows them to the network
    axis_swap: 90-degree turns about any axis first: up axes differ by format
    any_rotation: turned freely about any axis
    stretch: largest natural logarithm of the scale along each axis
    flip: mirrored, separately for each axis
    jitter: standard deviation of positions, in units of the network's cube (side 1.8)
    grey: colour replaced by the neutral grey; color_gain: largest relative change of a channel
    normal_noise: standard deviation of normals; normal_flip: all normals turned inside out
    drop: a region cut away; drop_share: largest share of the points in it
    scanned: as a scanner would have measured it: up to scan_jitter and scan_normal_noise
        in proportion, instead of jitter and normal_noise
    """

    spin: float = 0.5
    axis_swap: float = 0.3
    any_rotation: float = 0.1
    stretch: float = 0.25
    flip: float = 0.5
    jitter: float = 0.004
    grey: float = 0.5
    color_gain: float = 0.3
    normal_noise: float = 0.2
    normal_flip: float = 0.05
    drop: float = 0.15
    drop_share: float = 0.3
    scanned: float = 0.0
    scan_jitter: float = 0.02
    scan_normal_noise: float = 0.6
    about_z: float = 0.5
    as_stored: float = 0.0


def joined(groups: Sequence[LabelledPoints]) -> LabelledPoints:
    """The sets of all groups, in order. Where only some have regions, those of the others are unknown."""
    columns = {
        name: torch.cat([getattr(group, name) for group in groups])
        for name in ("points", "normals", "colors", "part_ids", "other_ids")
    }
    if all(group.regions is None for group in groups):
        return LabelledPoints(**columns)
    unknown = (torch.zeros_like(group.part_ids) for group in groups)
    found = [nothing if g.regions is None else g.regions for g, nothing in zip(groups, unknown, strict=True)]
    return LabelledPoints(**columns, regions=torch.cat(found))


def augment(batch: LabelledPoints, config: AugmentationConfig) -> LabelledPoints:
    """One random change of pose, shape, colour and completeness per point set, then the network's cube."""
    points, normals = transform(batch.points, batch.normals, random_transforms(batch.points, config))
    jitter, normal_noise = _noise(len(points), config, points.device)
    changed = LabelledPoints(
        points=points,
        normals=_change_normals(normals, normal_noise, config),
        colors=_change_colors(batch.colors, config),
        part_ids=batch.part_ids,
        other_ids=batch.other_ids,
        regions=batch.regions,
    )
    changed = drop_regions(changed, config)
    points = normalise_points(changed.points)
    points = normalise_points(points + jitter * torch.randn_like(points))
    return dataclasses.replace(changed, points=points)


def normalise_points(points: Tensor) -> Tensor:
    """Each set's bounding box moved to centre 0 and scaled to a longest side of 1.8; [B, N, 3]."""
    low, high = points.amin(dim=1, keepdim=True), points.amax(dim=1, keepdim=True)
    extent = (high - low).amax(dim=2, keepdim=True).clamp(min=1e-6)
    return (points - (low + high) / 2) * (CUBE_SIDE / extent)


def transform(points: Tensor, normals: Tensor, matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Apply linear maps [B, 3, 3] to points, and to normals as normals transform; both [B, N, 3]."""
    # Cofactors instead of the inverse transpose: no factorisation, and a mirror keeps normals outward.
    columns = matrices.unbind(dim=2)
    cofactors = torch.stack(
        [torch.linalg.cross(columns[(i + 1) % 3], columns[(i + 2) % 3]) for i in range(3)], 2
    )
    sign = (columns[0] * cofactors[:, :, 0]).sum(dim=1).sign()[:, None, None]
    moved = points @ matrices.transpose(1, 2)
    return moved, normalize(normals @ (sign * cofactors).transpose(1, 2), dim=-1, eps=1e-12)


def random_transforms(like: Tensor, config: AugmentationConfig) -> Tensor:
    """Linear maps, float32 [B, 3, 3]: stretch and mirror along the stored axes, then turn."""
    batch, device = len(like), like.device
    scale = torch.exp(config.stretch * (2 * torch.rand(batch, 3, device=device) - 1))
    mirror = 1 - 2 * _chance(batch, 3, probability=config.flip, device=device)
    upright = axis_turns(batch, device=device, free=config.spin, z_share=config.about_z)
    if config.as_stored:  # nothing is drawn for it otherwise: earlier runs keep their random numbers
        stored = _chance(batch, 1, probability=config.as_stored, device=device)
        mirror = torch.lerp(mirror, torch.ones_like(mirror), stored)
        upright = torch.lerp(upright, torch.eye(3, device=device).expand_as(upright), stored[:, :, None])
    swap = _chance(batch, 1, 1, probability=config.axis_swap, device=device)
    swapped = torch.lerp(
        torch.eye(3, device=device).expand(batch, 3, 3), random_axis_frames(batch, device), swap
    )
    free = _chance(batch, 1, 1, probability=config.any_rotation, device=device)
    turn = torch.lerp(swapped @ upright, random_rotations(batch, device), free)
    return turn * (scale * mirror)[:, None, :]


def axis_turns(batch: int, *, device: torch.device | str, free: float, z_share: float = 0.5) -> Tensor:
    """Rotations about y, or z with probability `z_share`, float32 [B, 3, 3]: by any angle with probability
    `free`, else by a multiple of 90 degrees."""
    angle = 2 * math.pi * torch.rand(batch, device=device)
    right = (angle * (2 / math.pi)).floor() * (math.pi / 2)
    angle = torch.lerp(right, angle, _chance(batch, probability=free, device=device))
    cos, sin = angle.cos(), angle.sin()
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    about_y = torch.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], dim=1)
    about_z = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1)
    return torch.lerp(about_y, about_z, _chance(batch, 1, probability=z_share, device=device)).view(-1, 3, 3)


def random_axis_frames(batch: int, device: torch.device | str) -> Tensor:
    """Proper rotations that map axes to axes, uniform over all 24, float32 [B, 3, 3]."""
    first = torch.randint(0, 3, (batch,), device=device)
    second = (first + torch.randint(1, 3, (batch,), device=device)) % 3
    eye = torch.eye(3, device=device)
    signs = 1 - 2 * _chance(batch, 2, probability=0.5, device=device)
    x, y = eye[first] * signs[:, :1], eye[second] * signs[:, 1:]
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=1)


def random_rotations(batch: int, device: torch.device | str) -> Tensor:
    """Rotations uniform over all orientations (from random unit quaternions), float32 [B, 3, 3]."""
    w, x, y, z = normalize(torch.randn(batch, 4, device=device), dim=1).unbind(dim=1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=1).view(-1, 3, 3)


def resample_kept(keep: Tensor, count: int) -> Tensor:
    """`count` random indices of kept points, int64 [B, count], for keep bool [B, K].

    Without repetition while there are enough kept points, then cyclically; where nothing is kept,
    from all points.
    """
    keep = keep | ~keep.any(dim=1, keepdim=True)
    order = (torch.rand(keep.shape, device=keep.device) + 2.0 * ~keep).argsort(dim=1)
    slot = torch.arange(count, device=keep.device)[None] % keep.sum(dim=1, keepdim=True)
    return order.gather(1, slot)


def drop_regions(batch: LabelledPoints, config: AugmentationConfig) -> LabelledPoints:
    """Cut away a ball around a random point now and then; its points are resampled from the rest."""
    sets, count = batch.part_ids.shape
    device = batch.points.device
    middle = torch.randint(0, count, (sets, 1, 1), device=device).expand(-1, 1, 3)
    distance = (batch.points - batch.points.gather(1, middle)).square().sum(dim=2)
    share = config.drop_share * torch.rand(sets, 1, device=device)
    share = share * _chance(sets, 1, probability=config.drop, device=device)
    cut = (share * count).long()  # points nearer than the cut-th nearest go
    threshold = distance.sort(dim=1).values.gather(1, cut)
    return batch.take(resample_kept(distance >= threshold, count))


def crop(batch: LabelledPoints, count: int, *, least_share: float) -> tuple[LabelledPoints, Tensor]:
    """`count` random points of a ball around a random point: what is seen when a place is looked at closely.

    The ball holds between `least_share` and half of the points (drawn log-uniformly). Parts are cut where
    it ends. Returned with the shares in the balls, float32 [B].
    """
    sets, many = batch.part_ids.shape
    device = batch.points.device
    middle = torch.randint(0, many, (sets, 1, 1), device=device).expand(-1, 1, 3)
    distance = (batch.points - batch.points.gather(1, middle)).square().sum(dim=2)
    share = torch.exp(torch.empty(sets, 1, device=device).uniform_(math.log(least_share), math.log(0.5)))
    inside = (share * many).long()
    threshold = distance.sort(dim=1).values.gather(1, inside)
    kept = batch.take(resample_kept(distance < threshold, count))
    return kept, inside[:, 0].clamp(min=1) / many


def compose(
    first: LabelledPoints, second: LabelledPoints, areas: Tensor, *, label_offset: int
) -> LabelledPoints:
    """One shape out of two: the second, turned and scaled, is stuck onto a random point of the first.

    first, second: [B, N] points, each in random order
    areas: float [B, 2], surface areas of both, so that the result is sampled evenly
    label_offset: added to the second's part ids; larger than any part id
    Returns [B, N] points in random order.
    """
    sets, count = first.part_ids.shape
    device = first.points.device
    scale = torch.exp(torch.empty(sets, 1, 1, device=device).uniform_(math.log(0.3), math.log(1.2)))
    points, normals = transform(second.points, second.normals, axis_turns(sets, device=device, free=0.3))
    points = points * scale
    pick = torch.randint(0, count, (2, sets, 1, 1), device=device).expand(-1, -1, 1, 3)
    points = points + first.points.gather(1, pick[0]) - points.gather(1, pick[1])
    part_ids = torch.where(second.part_ids < 0, -1, second.part_ids + label_offset)
    other_ids = torch.where(second.other_ids < 0, -1, second.other_ids + label_offset)
    scaled = areas[:, 1:] * scale[:, 0].square()
    # Not below a tenth or above nine: a shape too small to sample would teach nothing.
    taken = (count * (scaled / (areas[:, :1] + scaled).clamp(min=1e-12)).clamp(0.1, 0.9)).long()
    choose = torch.arange(count, device=device)[None] < taken
    merged = LabelledPoints(
        points=torch.where(choose[..., None], points, first.points),
        normals=torch.where(choose[..., None], normals, first.normals),
        colors=torch.where(choose[..., None], second.colors, first.colors),
        part_ids=torch.where(choose, part_ids, first.part_ids),
        other_ids=torch.where(choose[:, None], other_ids, first.other_ids),
    )
    return merged.take(torch.rand(sets, count, device=device).argsort(dim=1))


def visible_from_outside(points: Tensor, *, views: int = 20, grid: int = 64) -> Tensor:
    """Which points a viewer far away can see from at least one of `views` directions; bool [B, K].

    Depth maps of the points themselves: a point is hidden in a view if another one lies more than 1.5
    cells in front of it, in its own or one of the eight cells around. (The cells around close the gaps
    between sampled points: with its own cell alone, a fifth of a hidden surface shines through.)
    """
    sets = len(points)
    frames = _view_frames(views, points.device) @ random_rotations(1, points.device)  # [views, 3, 3]
    seen = points[:, None] @ frames.transpose(1, 2)  # [B, views, K, (u, v, depth)]
    low, high = seen.amin(dim=2, keepdim=True), seen.amax(dim=2, keepdim=True)
    cell = ((high - low)[..., :2].amax(dim=3, keepdim=True) / grid).clamp(min=1e-9)
    column = ((seen[..., :2] - low[..., :2]) / cell).long().clamp(max=grid - 1)
    index = column[..., 0] * grid + column[..., 1]
    depth = seen[..., 2]
    nearest = depth.new_full((sets, views, grid * grid), torch.inf)
    nearest.scatter_reduce_(2, index, depth, "amin", include_self=True)
    front = -max_pool2d(-nearest.view(sets, views, grid, grid), 3, stride=1, padding=1).flatten(2)
    return (depth <= front.gather(2, index) + 1.5 * cell[..., 0]).any(dim=1)


def keep_visible(batch: LabelledPoints, count: int, *, views: int = 20, grid: int = 64) -> LabelledPoints:
    """`count` random points of those visible from outside: the shell-only look of generated meshes."""
    visible = visible_from_outside(batch.points, views=views, grid=grid)
    return batch.take(resample_kept(visible, count))


def _view_frames(views: int, device: torch.device) -> Tensor:
    """Camera frames (rows u, v, depth) with directions spread over the sphere on a Fibonacci spiral."""
    step = torch.arange(views, device=device) + 0.5
    height = 1 - 2 * step / views
    angle = step * (math.pi * (3 - math.sqrt(5)))
    ring = (1 - height.square()).sqrt()
    forward = torch.stack([ring * angle.cos(), ring * angle.sin(), height], dim=1)
    # No spiral direction is exactly vertical, so `side` never vanishes.
    side = normalize(torch.stack([-forward[:, 1], forward[:, 0], torch.zeros_like(height)], dim=1), dim=1)
    return torch.stack([side, torch.linalg.cross(forward, side), forward], dim=1)


def _noise(sets: int, config: AugmentationConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    """Standard deviations of positions and of normals for each set, float32 [sets, 1, 1] each."""
    scanned = _chance(sets, 1, 1, probability=config.scanned, device=device)
    amount = torch.rand(sets, 1, 1, device=device)
    jitter = amount * torch.lerp(
        torch.full_like(amount, config.jitter), torch.full_like(amount, config.scan_jitter), scanned
    )
    ordinary = config.normal_noise * torch.rand_like(amount)
    ordinary = ordinary * _chance(sets, 1, 1, probability=0.5, device=device)
    # A scan's normals come from its positions: how wrong they are goes with how noisy those are.
    return jitter, torch.lerp(ordinary, config.scan_normal_noise * amount, scanned)


def _change_normals(normals: Tensor, amount: Tensor, config: AugmentationConfig) -> Tensor:
    sets, device = len(normals), normals.device
    sign = 1 - 2 * _chance(sets, 1, 1, probability=config.normal_flip, device=device)
    return normalize(sign * (normals + amount * torch.randn_like(normals)), dim=-1, eps=1e-12)


def _change_colors(colors: Tensor, config: AugmentationConfig) -> Tensor:
    sets, device = len(colors), colors.device
    gain = 1 + config.color_gain * (2 * torch.rand(sets, 1, 3, device=device) - 1)
    channels = torch.rand(sets, 1, 3, device=device).argsort(dim=2).expand_as(colors)
    swap = _chance(sets, 1, 1, probability=0.5, device=device)
    changed = (gain * torch.lerp(colors, colors.gather(2, channels), swap)).clamp(0, 1)
    grey = _chance(sets, 1, 1, probability=config.grey, device=device)
    return torch.lerp(changed, torch.full_like(colors, NEUTRAL_GREY), grey)


def _chance(*shape: int, probability: float, device: torch.device | str) -> Tensor:
    """1.0 with `probability`, else 0.0; float32 of `shape`."""
    return (torch.rand(shape, device=device) < probability).float()
