# SPDX-License-Identifier: GPL-3.0-or-later
"""An encoded shape, and decoding prompts on it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..devices import arithmetic_is_scarce, chunk_elements, unasked_elements
from ..errors import PromptError
from ..geometry import Mesh, Normalization
from ..geometry.mesh import FloatArray, IntArray
from ..network import (
    Decoding,
    DeviceNetwork,
    Encoding,
    Locations,
    PartSAM,
    PatchGeometry,
    Regions,
    sparse_mask_logits,
)
from ..network.interpolation import squared_distances
from ..network.sparse_logits import CLEARLY_OUTSIDE, centers_around
from ..refinement.face_graph import FaceGraph, build_face_graph
from .creases import CreaseRegions
from .sites import Sites

logger = logging.getLogger(__name__)

_OF_A_CHUNK = 4
"""Masks are evaluated by so large a part of a chunk: what a processor keeps near takes 0.6 times the time."""


@dataclass(frozen=True)
class PlacedRegions:
    """Crease regions beside the encoding of a shape.

    pairs: float16 [1, K, K, REGION_FEATURES], as in `network.Regions`
    of_points, of_sites: int64 [1, N] and [1, S], their atoms
    """

    pairs: Tensor
    of_points: Tensor
    of_sites: Tensor

    @property
    def for_network(self) -> Regions:
        """As an encoding reads them."""
        return Regions(self.of_points, self.pairs)

    @classmethod
    def of(cls, found: CreaseRegions, sites: Sites, device: str) -> PlacedRegions:
        """Regions over the sites of a shape."""
        atoms = [found.of_sites[sites.of_point], found.of_sites]
        return cls(
            torch.as_tensor(found.pairs, device=device)[None],
            *(torch.as_tensor(of_places, device=device).long()[None] for of_places in atoms),
        )


@dataclass(frozen=True)
class EncodedShape:
    """Everything that any number of prompts on one shape shares. A value: hold it, pass it back.

    points: float32 [N, 3], in the network's cube; normals (unit), colors (RGB in [0, 1]): [N, 3]
    normalization: from the caller's units into that cube
    sites: where faces (or, without a mesh, points) are labelled
    graph_ahead: how to get the mesh's face graph, where it is already being made
    regions: of a mesh, where the network reads them; encoding and locations know them as well
    """

    points: FloatArray
    normals: FloatArray
    colors: FloatArray
    normalization: Normalization
    mesh: Mesh | None
    point_faces: IntArray | None
    geometry: PatchGeometry
    encoding: Encoding
    point_locations: Locations
    sites: Sites
    site_locations: Locations
    graph_ahead: Callable[[], FaceGraph] | None = field(default=None, repr=False, compare=False)
    regions: PlacedRegions | None = None
    _graph_lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    @cached_property
    def centers_around(self) -> Tensor:
        """Which patch centres are near which: what `sparse_mask_logits` takes."""
        return centers_around(self.encoding.centers[0])

    @cached_property
    def world_points(self) -> FloatArray:
        """The points in the caller's units, float64 [N, 3]."""
        return self.normalization.invert(self.points)

    @cached_property
    def site_extents(self) -> FloatArray:
        """How far the corners of the sites' faces are from their centroids at most, float64 [S]."""
        if self.mesh is None or self.sites.faces is None:
            raise PromptError("the sites of a point cloud have no faces")
        corners = self.mesh.vertices[self.mesh.triangles[self.sites.faces]]
        squares = ((corners - self.sites.locations[:, None]) ** 2).sum(axis=2)
        extents: FloatArray = np.sqrt(squares.max(axis=1))
        return extents

    @property
    def face_graph(self) -> FaceGraph:
        """Of the mesh, made once, whichever thread asks first; raises PromptError for point clouds."""
        with self._graph_lock:
            return self._face_graph

    @cached_property
    def _face_graph(self) -> FaceGraph:
        if self.mesh is None:
            raise PromptError("a point cloud has no faces and no graph of them")
        return build_face_graph(self.mesh) if self.graph_ahead is None else self.graph_ahead()

    @cached_property
    def _site_of_face(self) -> Tensor | None:
        """int64 [F] beside the encoding; None where every face is a site of its own, in order."""
        of_face = self.sites.of_face
        if of_face is None or len(of_face) == len(self.sites.locations):
            return None
        return torch.as_tensor(of_face, device=self.encoding.centers.device).long()

    def at_faces(self, at_sites: Tensor) -> Tensor:
        """Values [..., S] at the sites of a mesh as values [..., F] at its faces."""
        index = self._site_of_face
        if index is None:
            return at_sites
        return at_sites.gather(
            -1, index.expand(*at_sites.shape[:-1], -1)
        )  # selecting takes ten times as long

    def coarse_locations(self, count: int) -> Locations:
        """The first points, which are as random as all of them."""
        return self.point_locations.part(0, count)


@dataclass(frozen=True)
class PromptDecoder:
    """A network bound to one encoded shape."""

    on_device: DeviceNetwork
    shape: EncodedShape

    @property
    def network(self) -> PartSAM:
        return self.on_device.network

    @property
    def device(self) -> str:
        return self.on_device.device

    @property
    def plain(self) -> bool:
        """Whether everything is computed in float32, and every mask everywhere."""
        return self.on_device.plain

    def decode(
        self,
        points: Tensor,
        labels: Tensor | None = None,
        previous: Tensor | None = None,
        sizes: Tensor | None = None,
        click_regions: Tensor | None = None,
    ) -> Decoding:
        """Answer M sets of P clicks.

        points: float32 [M, P, 3] in the network's cube; labels: int64 [M, P], all positive if None
        previous: logits [M, N] of the last round at the shape's points
        sizes: float32 [M], share of the surface that each part takes, 0 where unknown
        click_regions: int64 [1, M, P], atoms of the clicks; None: those of the nearest points
        """
        if labels is None:
            labels = torch.ones(points.shape[:2], dtype=torch.long, device=self.device)
        mask_logits = None
        if previous is not None:
            mask_logits = previous.to(self.device).float()[None, :, self.shape.geometry.mask_point_index[0]]
        return self.on_device.decode(
            self.shape.encoding,
            points[None],
            labels[None],
            mask_logits,
            None if sizes is None else sizes.to(self.device).float()[None],
            self.regions_of_nearest(points) if click_regions is None else click_regions,
        )

    def regions_of_nearest(self, clicks: Tensor) -> Tensor | None:
        """Atoms int64 [1, M, P] of the points nearest to clicks [M, P, 3]; None where they are not known."""
        located = self.shape.point_locations
        if located.regions is None:
            return None
        places = located.points
        nearest = [squared_distances(own[None], places)[0].argmin(dim=1) for own in clicks.unbind(dim=1)]
        return located.regions[:, torch.stack(nearest, dim=1)]

    def decode_batch(self, clicks: Tensor, size: int) -> Decoding:
        """`decode` of single clicks inside, [M, 3], M <= size. Recordings hold for one number of them, so
        that fewer are filled up to `size` where computations are recorded."""
        count = len(clicks)
        if count == size or not self.on_device.recordings.records:
            return self.decode(clicks[:, None])
        filled = torch.cat([clicks, clicks[:1].expand(size - count, -1)])
        return self.decode(filled[:, None]).take(slice(count))

    def logits(self, decoding: Decoding, locations: Locations, masks: slice) -> Tensor:
        """Masks (a slice of the tokens) at locations: float32 [M, C, N], computed tile by tile."""
        count = locations.points.shape[1]
        per_location = max(1, decoding.iou.shape[1] * self.network.config.mask_channels)
        if arithmetic_is_scarce(self.device):
            per_location *= _OF_A_CHUNK
        try:
            return self._tiled(decoding, locations, masks, self._chunk(count * per_location) // per_location)
        except torch.OutOfMemoryError:
            logger.warning("less of the device's memory is free than there was; smaller tiles")
        return self._tiled(decoding, locations, masks, chunk_elements(self.device) // per_location)

    def _tiled(self, decoding: Decoding, locations: Locations, masks: slice, tile: int) -> Tensor:
        count, tile = locations.points.shape[1], max(1, tile)
        with self.on_device.precision():
            tiles = [
                self.network.mask_logits(decoding, locations.part(start, start + tile), masks)[0].float()
                for start in range(0, count, tile)
            ]
        return tiles[0] if len(tiles) == 1 else torch.cat(tiles, dim=2)

    def _chunk(self, wanted: int) -> int:
        """How many elements of [prompts, points, channels] to compute at once, where so many are wanted."""
        unasked = unasked_elements(self.device)
        return unasked if wanted <= unasked else self._free_chunk

    @cached_property
    def _free_chunk(self) -> int:
        """What was free when it was first asked: a graphics card is slow to answer."""
        return chunk_elements(self.device)

    def estimated_logits(
        self, decoding: Decoding, locations: Locations, masks: slice, *, wanted: Tensor | None = None
    ) -> Tensor:
        """`logits`, where that saves time with those estimated that are clearly negative.

        wanted: bool [M, C], masks whose logits matter
        """
        if self.plain:
            return self.logits(decoding, locations, masks)
        single = decoding.iou.shape[1] == 1  # whose three masks together reach nearly everything
        if single or not arithmetic_is_scarce(self.device):
            return self.logits(decoding, locations, masks)
        if decoding.center_logits is None:
            return self._logits_of_wanted(decoding, locations, masks, wanted)
        at_once = max(1, chunk_elements(self.device) // (_OF_A_CHUNK * self.network.config.mask_channels))
        with self.on_device.precision():
            return sparse_mask_logits(
                self.network,
                self.shape.encoding.centers[0],
                self.shape.centers_around,
                decoding,
                locations,
                masks,
                center_regions=self.shape.encoding.center_regions,
                wanted=wanted,
                pairs_at_once=at_once,
            )

    def _logits_of_wanted(
        self, decoding: Decoding, locations: Locations, masks: slice, wanted: Tensor | None
    ) -> Tensor:
        """`logits`; prompts of which no mask is wanted say no everywhere."""
        if wanted is None or bool(wanted.all()):
            return self.logits(decoding, locations, masks)
        sets = wanted.any(dim=1).nonzero()[:, 0]
        shape = (*wanted.shape, locations.points.shape[1])
        logits = torch.full(shape, CLEARLY_OUTSIDE, device=wanted.device)
        if len(sets):
            logits.index_copy_(0, sets, self.logits(decoding.take(sets), locations, masks))
        return logits

    def prompts_at_once(self, wanted: int) -> int:
        """How many of so many prompts to decode at once: their patches fill a quarter of a chunk."""
        elements = 4 * self.network.config.patches * self.network.config.mask_channels
        return max(1, self._chunk(wanted * elements) // elements)
