# SPDX-License-Identifier: GPL-3.0-or-later
"""Training batches: which shapes, which labeling, which target parts.

Every tensor has a fixed shape and nothing waits for the device.

The rules, in order:

1. A shape is drawn with weight n^-p, n = shapes of its repository (p = 0: every shape alike; p = 1:
   every repository alike). Named repositories can be given a fixed share of all draws instead.
2. One of its labelings is drawn by the weight of its kind. Labelings disagree about granularity, as
   people do; `patch` labelings of painted shapes are sometimes arbitrary and count half.
   Up to two of its other labelings come along: their parts may be what a click meant as well.
3. A share of the shapes is composed of two, a share keeps only what is visible from outside, and of a share
   only a ball is looked at.
4. Target parts are drawn without repetition, weighted by (points of the part)^-q, so that small parts
   count. Never a target: unlabelled faces, parts of too few points, parts that are nearly everything.
   A shape with fewer parts than targets repeats them (the clicks will differ).
5. Poses of one model (paths that differ behind `@`) are drawn together as often as one shape.
6. Crease regions are those of whole shapes, as they are stored, or of what is looked at closely if the
   network reads them there. Where a shape is composed or seen from outside only they are unknown, and for a
   share of the others.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..errors import DataError
from ..network import Regions, regions_in_view
from .augmentation import AugmentationConfig, LabelledPoints, augment, compose, crop, joined, keep_visible
from .mesh_store import MeshStore

MAX_PARTS = 64
"""Part ids of one labeling are below this."""
OTHER_LABELINGS = 2
"""Labelings of a shape that come along beside the one that is drawn."""


@dataclass(frozen=True)
class BatchConfig:
    """Sizes and rules of a batch; see the module's text.

    shapes, points, masks: B, N and M
    repository_power: p; repository_shares: (name, share of all draws) pairs
    labeling_weights: (kind, weight) pairs; kinds that are not named weigh 1
    part_power: q; min_part_points, max_part_share: limits of a target part
    composed, fused, cropped: shares of the shapes
    closest: the least share of the area that a cropped shape's ball holds
    regions_unknown: share of the other shapes whose crease regions the network is not told
    oversampling: points per kept point when testing visibility and when cropping
    """

    shapes: int = 16
    points: int = 10_000
    masks: int = 10
    repository_power: float = 0.5
    repository_shares: tuple[tuple[str, float], ...] = ()
    labeling_weights: tuple[tuple[str, float], ...] = (("patch", 0.5),)
    part_power: float = 0.25
    min_part_points: int = 16
    max_part_share: float = 0.9
    composed: float = 0.15
    fused: float = 0.35
    cropped: float = 0.0
    closest: float = 0.125
    regions_unknown: float = 0.15
    oversampling: int = 4
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        if min(self.shapes, self.points, self.masks, self.oversampling) < 1:
            raise DataError("shapes, points, masks and oversampling of a batch must be positive")
        if self.masks > 2 * MAX_PARTS:
            raise DataError(f"at most {2 * MAX_PARTS} masks per shape, not {self.masks}")
        names = ("composed", "fused", "cropped", "max_part_share", "regions_unknown")
        if not 0 < self.closest < 0.5:
            raise DataError("closest is a share between 0 and .5")
        if not all(0 <= getattr(self, name) <= 1 for name in names):
            raise DataError(f"{', '.join(names[:-1])} and {names[-1]} are shares between 0 and 1")
        if not all(weight > 0 for _, weight in self.labeling_weights):
            raise DataError("labeling_weights must be positive: a shape may have no other labeling")
        if sum(share for _, share in self.repository_shares) > 1:
            raise DataError("repository_shares add up to more than 1")


@dataclass(frozen=True)
class Batch:
    """What one training step sees.

    points: float32 [B, N, 3] in the network's cube; normals: [B, N, 3], unit; colors: [B, N, 3] in [0, 1]
    part_ids: int64 [B, N], -1 = unlabelled; other_ids: int64 [B, A, N], under other labelings
    target_ids: int64 [B, M]; target_masks: bool [B, M, N]
    valid: bool [B, M], False where a shape has no part that can be a target
    regions: the crease regions, all zeros for shapes where they are unknown; None where nobody asks
    """

    points: Tensor
    normals: Tensor
    colors: Tensor
    part_ids: Tensor
    other_ids: Tensor
    target_ids: Tensor
    target_masks: Tensor
    valid: Tensor
    regions: Regions | None = None


class BatchSampler:
    """Draws batches from a store. Immutable after construction; randomness is torch's default generator."""

    def __init__(
        self,
        store: MeshStore,
        config: BatchConfig,
        *,
        is_partial: bool = False,
        crop_regions: bool = False,
    ) -> None:
        """is_partial: the store is one part of the data; named repositories may be missing in it;
        crop_regions: cropped shapes come with crease regions, too, if the store has any"""
        if is_partial:
            here = tuple(pair for pair in config.repository_shares if pair[0] in store.repositories)
            config = dataclasses.replace(config, repository_shares=here)
        self.store = store
        self.config = config
        self._crop_regions = crop_regions
        self._cumulative_weight = torch.cumsum(shape_weights(store, config), dim=0)
        self._cumulative_labeling = torch.cumsum(labeling_weights(store, config), dim=1)

    def __call__(self) -> Batch:
        """One batch, on the store's device."""
        drawn, tables = self._draw_points()
        sample = augment(drawn, self.config.augmentation)
        target_ids, valid = choose_targets(sample.part_ids, self.config)
        return Batch(
            points=sample.points,
            normals=sample.normals,
            colors=sample.colors,
            part_ids=sample.part_ids,
            other_ids=sample.other_ids,
            target_ids=target_ids,
            target_masks=(sample.part_ids[:, None] == target_ids[:, :, None]) & valid[:, :, None],
            valid=valid,
            regions=None if tables is None or sample.regions is None else Regions(sample.regions, tables),
        )

    def draw_shapes(self, count: int) -> Tensor:
        """Random shape ids by weight, int64 [count]."""
        draw = torch.rand(count, device=self.store.device, dtype=torch.float64) * self._cumulative_weight[-1]
        return torch.searchsorted(self._cumulative_weight, draw, right=True).clamp(max=len(self.store) - 1)

    def _draw_points(self) -> tuple[LabelledPoints, Tensor | None]:
        """B sets of N points, and the tables of their crease regions, if the store has any.

        Slots of a batch are exchangeable, so each kind has a fixed number of them.
        """
        config = self.config
        many = config.points * config.oversampling
        composed, fused, both = _slots(config)
        cropped = min(round(config.shapes * config.cropped), config.shapes - composed - fused - both)
        plain = config.shapes - composed - fused - both - cropped
        groups, tables = [], []
        for sets, draw in ((plain, self._draw_whole), (cropped, self._draw_cropped)):
            if sets:
                drawn, known = draw(sets)
                groups.append(drawn)
                tables += [] if known is None else [known]
        if composed:
            groups.append(self._draw_composed(composed, config.points))
        if fused:
            groups.append(keep_visible(self._draw_single(fused, many), config.points))
        if both:
            groups.append(keep_visible(self._draw_composed(both, many), config.points))
        return joined(groups), self._tables_of_all(tables)

    def _tables_of_all(self, first: list[Tensor]) -> Tensor | None:
        """Tables of the first shapes of a batch, with zeros for the others."""
        if not first:
            return None
        tables = torch.cat(first)
        return pad(tables, (0,) * 7 + (self.config.shapes - len(tables),))

    def _draw_whole(self, sets: int) -> tuple[LabelledPoints, Tensor | None]:
        """Whole shapes as they are stored, and the tables of their regions."""
        ids = self.draw_shapes(sets)
        known = self._told(ids)
        return self._surface(ids, self.config.points, known), self._tables(ids, known)

    def _draw_cropped(self, sets: int) -> tuple[LabelledPoints, Tensor | None]:
        """What is seen when places are looked at closely, and the tables of the regions there."""
        config, ids = self.config, self.draw_shapes(sets)
        many = round(0.5 * config.points / config.closest)  # half of the points may repeat
        many = max(many, config.points * config.oversampling)
        known = self._told(ids) if self._crop_regions else None
        surface = self._surface(ids, many, known)
        balls, shares = crop(surface, config.points, least_share=config.closest)
        tables = self._tables(ids, known)
        return balls, None if tables is None else regions_in_view(tables, shares)

    def _told(self, ids: Tensor) -> Tensor | None:
        """Of which shapes the network is told the regions, bool [B]; None: the store has none."""
        regions = self.store.regions
        if regions is None:
            return None
        told = torch.rand(len(ids), device=self.store.device) >= self.config.regions_unknown
        return told & (regions.counts[ids] > 0)

    def _tables(self, ids: Tensor, known: Tensor | None) -> Tensor | None:
        regions = self.store.regions
        return None if regions is None or known is None else regions.tables(ids, known)

    def _draw_single(self, sets: int, count: int) -> LabelledPoints:
        return self._surface(self.draw_shapes(sets), count)

    def _draw_composed(self, sets: int, count: int) -> LabelledPoints:
        ids = self.draw_shapes(2 * sets).view(2, sets)
        areas = self.store.shape_areas(ids).float().t()
        first, second = self._surface(ids[0], count), self._surface(ids[1], count)
        return compose(first, second, areas, label_offset=MAX_PARTS)

    def _draw_labelings(self, ids: Tensor) -> Tensor:
        draw = torch.rand(len(ids), 1, device=self.store.device)
        number = (draw >= self._cumulative_labeling[ids]).sum(dim=1)
        return torch.minimum(number, self.store.labeling_counts[ids] - 1)

    def _surface(self, ids: Tensor, count: int, known: Tensor | None = None) -> LabelledPoints:
        """known: bool [B], whose crease regions come along"""
        surface = self.store.sample_points(ids, count)
        labeling = self._draw_labelings(ids)
        part_ids = self.store.part_ids(ids, surface.faces, labeling)
        others = [
            self._other_ids(ids, surface.faces, labeling, step) for step in range(1, 1 + OTHER_LABELINGS)
        ]
        return LabelledPoints(
            points=surface.points,
            normals=surface.normals,
            colors=surface.colors,
            part_ids=part_ids,
            other_ids=torch.stack(others, dim=1),
            regions=None if known is None else self.store.atoms(surface.faces, known),
        )

    def _other_ids(self, ids: Tensor, faces: Tensor, labeling: Tensor, step: int) -> Tensor:
        """Parts under the labeling `step` further on, cyclically; -1 where the shape has not so many."""
        counts = self.store.labeling_counts[ids]
        found = self.store.part_ids(ids, faces, (labeling + step) % counts)
        return torch.where((step < counts)[:, None], found, -1)


def labeling_weights(store: MeshStore, config: BatchConfig) -> Tensor:
    """Probability of each labeling of each shape, float32 [S, L]; rule 2 of the module's text."""
    chosen = dict(config.labeling_weights)
    weights = torch.tensor([chosen.get(kind, 1.0) for kind in store.kinds] + [0.0], device=store.device)
    table = weights[store.labeling_kind]  # -1, no labeling, reads the last weight
    return table / table.sum(dim=1, keepdim=True)


def shape_weights(store: MeshStore, config: BatchConfig) -> Tensor:
    """Probability of drawing each shape, float64 [S]; rules 1 and 5 of the module's text."""
    each = store.pose_share
    counts = torch.zeros(len(store.repositories), dtype=torch.float64, device=each.device)
    counts.index_add_(0, store.repository, each)
    share = counts.clamp(min=1e-12) ** (1 - config.repository_power)
    fixed = torch.zeros(len(counts), dtype=torch.bool, device=counts.device)
    shares = dict(config.repository_shares)
    unknown = set(shares) - set(store.repositories)
    if unknown:
        raise DataError(f"repository_shares names {sorted(unknown)}, which no shape comes from")
    for index, name in enumerate(store.repositories):
        if name in shares:
            fixed[index] = True
            share[index] = shares[name]
    free = torch.where(fixed, 0.0, share)
    left = 1 - sum(shares.values())
    share = torch.where(fixed, share, free * (left / free.sum().clamp(min=1e-12)))
    return each * (share / counts)[store.repository]


def choose_targets(part_ids: Tensor, config: BatchConfig) -> tuple[Tensor, Tensor]:
    """Target parts of each shape: ids int64 [B, M] and validity bool [B, M]; rule 4 of the module's text.

    part_ids: int64 [B, N] below 2 * MAX_PARTS, -1 = unlabelled
    """
    sets, points = part_ids.shape
    counts = torch.zeros(sets, 2 * MAX_PARTS + 1, device=part_ids.device)
    counts.scatter_add_(1, part_ids + 1, torch.ones((), device=part_ids.device).expand(sets, points))
    counts = counts[:, 1:]
    allowed = (counts >= config.min_part_points) & (counts <= config.max_part_share * points)
    # Weighted draw without repetition: the largest keys log(weight) + Gumbel noise.
    gumbel = -torch.log(-torch.log(torch.rand_like(counts).clamp(1e-10, 1 - 1e-7)))
    keys = torch.where(allowed, gumbel - config.part_power * counts.clamp(min=1).log(), -torch.inf)
    order = keys.argsort(dim=1, descending=True)
    available = allowed.sum(dim=1, keepdim=True)
    slot = torch.arange(config.masks, device=part_ids.device)[None] % available.clamp(min=1)
    return order.gather(1, slot), (available > 0).expand(sets, config.masks)


def _slots(config: BatchConfig) -> tuple[int, int, int]:
    """Numbers of shapes that are only composed, only fused, and both."""
    composed = round(config.shapes * config.composed)
    fused = round(config.shapes * config.fused)
    both = max(round(config.shapes * config.composed * config.fused), composed + fused - config.shapes)
    return composed - both, fused - both, both
