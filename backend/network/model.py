# SPDX-License-Identifier: GPL-3.0-or-later
"""PartSAM as one module: encode a shape once, decode any number of prompts.

The module holds weights and nothing else. What it computes for a shape is a value (`Encoding`,
`Locations`) that the caller keeps and passes back.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .config import NetworkConfig
from .encoder import TriplaneEncoder, sample_field
from .interpolation import gather_weighted, squared_distances
from .mask_decoder import MaskDecoder
from .patch_transformer import PatchTransformer
from .patches import PatchGeometry, PatchPointNet, gather_rows
from .prompts import MaskPromptEncoder, Mlp, PointPromptEncoder, SizePromptEncoder
from .region_prompts import PromptedRegions, Regions, at_places, at_places_by_product, prompted_regions

_FAR = 1e4
"""Squared distance to a click that does not exist; the cube's diagonal is 12 squared."""


@dataclass(frozen=True)
class Encoding:
    """What the encoder knows of B shapes.

    texels: [B, 3 * R * R, field_channels], the triplane field
    centers: float32 [B, L, 3], patch centres
    patches: [B, 1, L, decoder_width]
    patch_pe: [B, 1, L, decoder_width], Fourier features of the centres
    mask_offsets: [B, 1, L, Km, 3], mask-prompt neighbours relative to their centre
    mask_neighbor_index: int64 [B, L, Km]
    located: [B, 1, L, mask_channels], the prompt-independent half of the point-wise head at the centres;
        None for networks without mask scores
    region_pairs: float [B, K, K, REGION_FEATURES], as in `Regions`; center_regions: int64 [B, L], atom of
        each patch centre; None where regions are not known or not read
    """

    texels: Tensor
    centers: Tensor
    patches: Tensor
    patch_pe: Tensor
    mask_offsets: Tensor
    mask_neighbor_index: Tensor
    located: Tensor | None
    region_pairs: Tensor | None = None
    center_regions: Tensor | None = None


@dataclass(frozen=True)
class Locations:
    """Places at which masks are wanted, prepared once per shape.

    points: float32 [B, N, 3], normalised
    features: [B, 1, N, mask_channels], the prompt-independent half of the point-wise head
    index, weight: int64 / float [B, N, 3], nearest patch centres and their weights
    matrix: [B, N, L] the same as a dense matrix, or None. For training only: a matrix product over
        a few hundred patches is much faster on a GPU than a gather and its scattered gradient.
    regions: int64 [B, N], atom of each location, or None where they are not known or not read
    """

    points: Tensor
    features: Tensor
    index: Tensor
    weight: Tensor
    matrix: Tensor | None = None
    regions: Tensor | None = None

    def part(self, start: int, stop: int) -> Locations:
        """Those from `start` to before `stop`."""
        return Locations(
            self.points[:, start:stop],
            self.features[:, :, start:stop],
            self.index[:, start:stop],
            self.weight[:, start:stop],
            None if self.matrix is None else self.matrix[:, start:stop],
            None if self.regions is None else self.regions[:, start:stop],
        )


@dataclass(frozen=True)
class Decoding:
    """The decoder's answer to M prompt sets, before it is evaluated anywhere.

    patch_features: [B, M, L, mask_channels]; mask_vectors: [B, M, 4, mask_channels]; iou: [B, M, 4]
    clicks: [B, M, P, 3]; labels: int64 [B, M, P], what was asked
    center_logits: [B, M, 4, L], the masks at the patch centres; None for networks without mask scores
    region_logits: [B, M, 4, K], what is added to the masks at all places of an atom; None without regions
    """

    patch_features: Tensor
    mask_vectors: Tensor
    iou: Tensor
    clicks: Tensor
    labels: Tensor
    center_logits: Tensor | None = None
    region_logits: Tensor | None = None

    def take(self, sets: Tensor | slice) -> Decoding:
        """The answers to some of the prompt sets, int64 [m] or a slice of them."""
        fields = {name: value[:, sets] for name, value in vars(self).items() if value is not None}
        return Decoding(**fields)


class PartSAM(nn.Module):
    """Triplane encoder, patch embedding, prompt encoders and mask decoder."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.field_channels
        self.encoder = TriplaneEncoder(config)
        self.patch_encoder = PatchPointNet(3 + channels, channels, channels, channels)
        self.patch_mapper = Mlp(channels, config.decoder_width, config.decoder_width, config.decoder_width)
        self.patch_context = PatchTransformer(config) if config.patch_layers else None
        self.point_prompts = PointPromptEncoder(config)
        self.mask_prompts = MaskPromptEncoder(config)
        self.size_prompts = SizePromptEncoder(config) if config.size_prompt else None
        self.decoder = MaskDecoder(config)

    def encode(
        self,
        points: Tensor,
        normals: Tensor,
        colors: Tensor,
        geometry: PatchGeometry,
        regions: Regions | None = None,
    ) -> Encoding:
        """points (normalised), normals, colors: float32 [B, N, 3]; regions: not read by networks without
        `region_prompt`."""
        texels = self.encoder(points, normals, colors)
        return self.encode_patches(texels, points, attributes_at(points, normals, colors), geometry, regions)

    def encode_patches(
        self,
        texels: Tensor,
        points: Tensor,
        attributes: Tensor,
        geometry: PatchGeometry,
        regions: Regions | None = None,
    ) -> Encoding:
        """The rest of `encode`, from the field on; attributes [B, N, 9] as `attributes_at` gives them."""
        centers = gather_rows(points, geometry.center_index)
        center_attributes = gather_rows(attributes, geometry.center_index)
        located = None
        if self.config.mask_scores:
            located = self.decoder.locate(self.field(texels, centers), center_attributes).unsqueeze(1)
        embeddings = self.patch_embeddings(texels, points, geometry)
        mask_points = gather_rows(points, geometry.mask_point_index)
        mask_neighbors = gather_rows(mask_points, geometry.mask_neighbor_index)
        positions = self.point_prompts.positions(centers)
        patches = self.patch_mapper(embeddings)
        pairs, atoms = None, None
        if regions is not None and self.config.region_prompt:
            pairs, atoms = regions.pairs, at_places(regions.of_points, geometry.center_index)
        if self.patch_context is not None:
            patches = patches + self.patch_context(embeddings, center_attributes, positions, pairs, atoms)
        return Encoding(
            texels=texels,
            centers=centers,
            patches=patches.unsqueeze(1),
            patch_pe=positions.unsqueeze(1).to(patches.dtype),
            mask_offsets=(mask_neighbors - centers.unsqueeze(2)).unsqueeze(1),
            mask_neighbor_index=geometry.mask_neighbor_index,
            located=located,
            region_pairs=pairs,
            center_regions=atoms,
        )

    def patch_embeddings(self, texels: Tensor, points: Tensor, geometry: PatchGeometry) -> Tensor:
        """[B, L, field_channels]."""
        batch, count, size = geometry.neighbor_index.shape
        centers = gather_rows(points, geometry.center_index)
        neighbors = gather_rows(points, geometry.neighbor_index)
        field = self.field(texels, neighbors.view(batch, count * size, 3)).view(batch, count, size, -1)
        relative = (neighbors - centers.unsqueeze(2)).to(field.dtype)
        return self.patch_encoder(torch.cat([relative, field], dim=-1))

    def field(self, texels: Tensor, points: Tensor) -> Tensor:
        """The feature field at normalised points [B, N, 3]: [B, N, field_channels]."""
        return sample_field(texels, points, self.config.plane_resolution)

    def locate(
        self,
        encoding: Encoding,
        points: Tensor,
        attributes: Tensor | None,
        index: Tensor,
        weight: Tensor,
        regions: Tensor | None = None,
    ) -> Locations:
        """Prepare normalised points [B, N, 3]; attributes as `attributes_at` gives them; index, weight,
        regions as in `Locations`."""
        features = self.decoder.locate(self.field(encoding.texels, points), attributes)
        return Locations(points, features.unsqueeze(1), index, weight, regions=regions)

    def decode(
        self,
        encoding: Encoding,
        points: Tensor,
        labels: Tensor,
        mask_logits: Tensor | None = None,
        sizes: Tensor | None = None,
        click_regions: Tensor | None = None,
    ) -> Decoding:
        """Answer M prompt sets of P clicks each for every shape.

        points: normalised [B, M, P, 3]; labels: int64 [B, M, P], 1 positive, 0 negative
        mask_logits: the previous round's, at the geometry's mask points, [B, M, S]; None in round one
        sizes: float32 [B, M], share of the surface that the wanted part takes, 0 where unknown; not read by
            networks without `size_prompt`
        click_regions: int64 [B, M, P], atom of each click; wanted where the encoding has regions
        """
        batch, sets, clicks, _ = points.shape
        features = self.field(encoding.texels, points.reshape(batch, sets * clicks, 3))
        prompts = self.point_prompts(points, labels, features.view(batch, sets, clicks, -1))
        if self.size_prompts is not None and sizes is not None:
            prompts = prompts + self.size_prompts(sizes).unsqueeze(2)
        dense: Tensor
        if mask_logits is None:
            dense = self.mask_prompts.no_mask_embedding
        else:
            dense = self._dense_prompt(encoding, mask_logits)
        patches = encoding.patches + dense.to(encoding.patches.dtype)
        near = self._near(points, labels, encoding.centers) if self.config.mask_scores else None
        regions = self._prompted_regions(encoding, click_regions, labels, sizes)
        features, vectors, iou, at_centers, at_atoms = self.decoder(
            prompts, patches, encoding.patch_pe, encoding.located, near, sizes, regions
        )
        return Decoding(features, vectors, iou, points, labels, at_centers, at_atoms)

    def _prompted_regions(
        self, encoding: Encoding, clicks: Tensor | None, labels: Tensor, sizes: Tensor | None
    ) -> PromptedRegions | None:
        if encoding.region_pairs is None or encoding.center_regions is None:
            return None
        assert clicks is not None, "the regions of this shape are known, those of the clicks are wanted"
        return prompted_regions(encoding.region_pairs, encoding.center_regions, clicks, labels, sizes)

    def _dense_prompt(self, encoding: Encoding, mask_logits: Tensor) -> Tensor:
        near = gather_rows(mask_logits.transpose(1, 2), encoding.mask_neighbor_index)  # [B, L, Km, M]
        return self.mask_prompts(encoding.mask_offsets, near.permute(0, 3, 1, 2))

    def _near(self, clicks: Tensor, labels: Tensor, points: Tensor) -> Tensor | None:
        """How near the clicks are, for corrections: the first asks for a part, not for what is near."""
        if not self.config.click_scales or clicks.shape[2] == 1:
            return None
        return click_distances(clicks, labels, points)

    def click_distances(self, decoding: Decoding, points: Tensor) -> Tensor | None:
        """`near` of `MaskDecoder.point_logits`, at points [B, N, 3]; None if it reads no clicks."""
        return self._near(decoding.clicks, decoding.labels, points)

    def mask_logits(self, decoding: Decoding, locations: Locations, masks: slice = slice(None)) -> Tensor:
        """Evaluate masks (a slice of the four) at locations: [B, M, C, N]."""
        features = decoding.patch_features
        batch, sets, patches, channels = features.shape
        if locations.matrix is not None:
            columns = features.transpose(1, 2).reshape(batch, patches, sets * channels)
            at_points = (locations.matrix @ columns).view(batch, -1, sets, channels).transpose(1, 2)
        else:
            index = locations.index.unsqueeze(1).expand(-1, sets, -1, -1).flatten(0, 1)
            weight = locations.weight.unsqueeze(1).expand(-1, sets, -1, -1).flatten(0, 1)
            at_points = gather_weighted(features.flatten(0, 1), index, weight)
            at_points = at_points.view(batch, sets, -1, channels)
        near = self.click_distances(decoding, locations.points)
        vectors = decoding.mask_vectors[:, :, masks]
        logits = self.decoder.point_logits(at_points, locations.features, vectors, near)
        if decoding.region_logits is None:
            return logits
        assert locations.regions is not None, (
            "the regions of this shape are known, those of places are wanted"
        )
        spread = at_places if locations.matrix is None else at_places_by_product
        return logits + spread(decoding.region_logits[:, :, masks], locations.regions).to(logits.dtype)


def attributes_at(points: Tensor, normals: Tensor, colors: Tensor) -> Tensor:
    """What the point-wise head reads of a location beside the field: float32 [B, N, 9].

    points (normalised), normals (unit), colors (in [0, 1]): [B, N, 3]
    """
    return torch.cat([points, normals, colors], dim=-1).float()


def click_distances(clicks: Tensor, labels: Tensor, points: Tensor) -> Tensor:
    """Squared distance of points to the nearest positive and to the nearest negative click.

    clicks: [B, M, P, 3]; labels: int64 [B, M, P]; points: [B, N, 3]
    Returns float32 [B, M, N, 2], `_FAR` where there is no such click.
    """
    batch, sets, count, _ = clicks.shape
    distance = squared_distances(clicks.flatten(1, 2), points).view(batch, sets, count, -1)
    positive = (labels == 1).unsqueeze(-1)
    near = [distance.masked_fill(~wanted, _FAR).amin(dim=2) for wanted in (positive, ~positive)]
    return torch.stack(near, dim=-1)
