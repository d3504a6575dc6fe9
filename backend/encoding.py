# SPDX-License-Identifier: GPL-3.0-or-later
"""From points to encoded shapes: of a whole surface, and of a close-up of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from .device_surface import DeviceSurface
from .devices import keeps_surfaces, works_by_itself
from .geometry import Mesh, Normalization, sample_surface
from .geometry.canonical import frame_of_points
from .geometry.mesh import FloatArray, IntArray
from .nearest import nearest_faced
from .network import (
    DeviceNetwork,
    Encoding,
    Locations,
    NetworkConfig,
    PatchGeometry,
    attributes_at,
    interpolation_weights,
    patch_geometry,
    patch_space,
    placed,
)
from .refinement.face_graph import FaceGraph, build_face_graph
from .segmentation import EncodedShape
from .segmentation.bends import graph_of_bends
from .segmentation.close_up import Ball, CloseUp, regions_in_ball, sample_ball
from .segmentation.creases import CreaseRegions, crease_regions
from .segmentation.encoded_shape import PlacedRegions
from .segmentation.sites import Sites, sites_in_order
from .threads import started
from .upright import SEEN_POINTS, UprightNetwork, upright_turn

_GRAPH_AHEAD_FACES = 300_000
"""Of a mesh with more faces, the tables of an encoding and the work on the face graph together would set how
much memory is needed (a quarter of a gigabyte of a million faces); there the graph comes afterwards."""


_Given = tuple[FloatArray, FloatArray, FloatArray]
"""Places in the caller's units, unit normals and colours, [K, 3] each."""


@dataclass(frozen=True)
class _EncodedPoints:
    """Points in the network's cube, float32 [N, 3], and what the network made of them.

    located: these and other places, prepared for decoding, as they were given
    """

    cube: FloatArray
    geometry: PatchGeometry
    encoding: Encoding
    located: list[Locations]


@dataclass(frozen=True)
class ShapeEncoder:
    """A network on a device that encodes. Arrays must be finite, normals unit, colours in [0, 1].

    upright: says how shapes are turned first; None: the network sees them as they are
    """

    on_device: DeviceNetwork
    upright: UprightNetwork | None = None

    def whole(
        self,
        points: FloatArray,
        normals: FloatArray,
        colors: FloatArray,
        *,
        mesh: Mesh | None,
        point_faces: IntArray | None,
        surface: DeviceSurface | None = None,
    ) -> EncodedShape:
        """Points, normals, colors [N, 3] in the caller's units; point_faces: int [N], with a mesh; surface:
        the mesh's, where the device has it."""

        # Crease regions need it, and parts as soon as a graphics card has answered the prompts.
        wanted = bool(self._config.region_prompt) or works_by_itself(self.on_device.device)
        graph = _graph_ahead(mesh, wanted=wanted)
        sites = _sites(points, mesh, point_faces, surface)
        regions: Callable[[], PlacedRegions] | None = None
        if mesh is not None and self._config.region_prompt:
            ahead = graph is not None
            graph = graph or cache(lambda: build_face_graph(mesh))
            found = _regions(mesh, graph, sites, ahead=ahead)
            regions = cache(lambda: PlacedRegions.of(found(), sites, self.on_device.device))
        others: list[_Given] = []
        if sites.of_face is not None:
            others.append((sites.locations, *sites.attributes(mesh, normals, colors)))
        turn = self._turn(points, normals, mesh, surface)
        normalization = Normalization.of_points(points, turn)
        made = self._encoded(
            normalization, (points, normals, colors), others, locates_own=True, regions=regions
        )
        shape = EncodedShape(
            points=made.cube,
            normals=normals,
            colors=colors,
            normalization=normalization,
            mesh=mesh,
            point_faces=point_faces,
            geometry=made.geometry,
            encoding=made.encoding,
            point_locations=made.located[0],
            sites=sites,
            site_locations=made.located[-1],
            graph_ahead=graph,
        )
        return shape if regions is None else self._with_regions(shape, regions(), regions().of_points)

    def _with_regions(self, shape: EncodedShape, regions: PlacedRegions, of_located: Tensor) -> EncodedShape:
        """Places know their regions, too. of_located: int64 [1, N], those at the point locations"""
        return replace(
            shape,
            point_locations=replace(shape.point_locations, regions=of_located),
            site_locations=replace(shape.site_locations, regions=regions.of_sites),
            regions=regions,
        )

    def _turn(
        self, points: FloatArray, normals: FloatArray, mesh: Mesh | None, surface: DeviceSurface | None
    ) -> FloatArray | None:
        """How to turn a shape before the network sees it, a signed permutation [3, 3]; None: not at all.

        Of a mesh the same points are looked at whatever the caller's sample, so that no seed turns it.
        """
        if self.upright is None:
            return None
        if mesh is None:
            seen = points[:SEEN_POINTS], normals[:SEEN_POINTS]
            return upright_turn(self.upright, *seen, frame_of_points(points))
        if surface is None:
            drawn, frame = sample_surface(mesh, SEEN_POINTS), mesh.order.frame
        else:
            drawn, frame = surface.sample(SEEN_POINTS), surface.frame
        return upright_turn(self.upright, drawn.points, drawn.normals, frame)

    def surface(self, mesh: Mesh) -> DeviceSurface | None:
        """The surface of a mesh on the device, if the device computes with it. Raises MeshError for meshes
        that cannot be segmented."""
        return DeviceSurface(mesh, self.on_device.device) if keeps_surfaces(self.on_device.device) else None

    def turned(self, shape: EncodedShape, turn: FloatArray) -> EncodedShape:
        """The same points and sites, seen by the network turned by a further signed permutation [3, 3]."""
        others: list[_Given] = []
        if shape.sites.of_face is not None:
            attributes = shape.sites.attributes(shape.mesh, shape.normals, shape.colors)
            others.append((shape.sites.locations, *attributes))
        normalization = shape.normalization.turned(turn)
        own, known = (shape.world_points, shape.normals, shape.colors), shape.regions
        regions = None if known is None else lambda: known
        made = self._encoded(normalization, own, others, locates_own=True, regions=regions)
        turned = replace(
            shape,
            points=made.cube,
            normalization=normalization,
            geometry=made.geometry,
            encoding=made.encoding,
            point_locations=made.located[0],
            site_locations=made.located[-1],
        )
        return turned if known is None else self._with_regions(turned, known, known.of_points)

    def close_up(self, shape: EncodedShape, ball: Ball, *, seed: int) -> CloseUp:
        """What lies in a ball of a shape with a mesh."""
        drawn = sample_ball(shape, ball, self._config.points, seed=seed)
        in_ball = np.flatnonzero(ball.reaches(shape.world_points))
        at_sites = np.flatnonzero(ball.reaches(shape.sites.locations))
        site_normals, site_colors = shape.sites.attributes(shape.mesh, shape.normals, shape.colors)
        sites = shape.sites.locations[at_sites]
        normalization = Normalization.of_points(drawn.points, shape.normalization.turn)
        others = [
            (shape.world_points[in_ball], shape.normals[in_ball], shape.colors[in_ball]),
            (sites, site_normals[at_sites], site_colors[at_sites]),
        ]
        own = (drawn.points, drawn.normals, drawn.colors)
        whole = shape.regions if self._config.region_close_ups else None
        known = None if whole is None else regions_in_ball(shape, whole, ball, drawn.faces, at_sites)
        regions = None if known is None else lambda: known
        made = self._encoded(normalization, own, others, locates_own=False, regions=regions)
        encoded = EncodedShape(
            points=made.cube,
            normals=drawn.normals,
            colors=drawn.colors,
            normalization=normalization,
            mesh=None,
            point_faces=drawn.faces,
            geometry=made.geometry,
            encoding=made.encoding,
            point_locations=made.located[0],
            sites=Sites.of_points(sites),
            site_locations=made.located[1],
        )
        if whole is not None and known is not None:
            encoded = self._with_regions(encoded, known, whole.of_points[:, in_ball])
        side = float(np.ptp(shape.world_points, axis=0).max())
        near = nearest_faced(shape.world_points, shape.normals, drawn.points, drawn.normals, side)
        return CloseUp(ball, encoded, in_ball, at_sites, near)

    @torch.inference_mode()
    def _encoded(
        self,
        normalization: Normalization,
        own: _Given,
        others: Sequence[_Given],
        *,
        locates_own: bool,
        regions: Callable[[], PlacedRegions] | None = None,
    ) -> _EncodedPoints:
        """What the network makes of points; these, if wanted, and others are located together.

        regions: how to get those of the points, where they are known and read.

        The device gets all of them before it is asked for anything that takes long: it would have to finish
        that first.
        """
        device, network = self.on_device.device, self.on_device.network
        points, directions, tints = zip(own, *others, strict=True)
        cubes = [normalization.apply(places) for places in points]
        facing = [normalization.directions(vectors) for vectors in directions]
        spaces = [patch_space(cube, rows, self._config) for cube, rows in zip(cubes, facing, strict=True)]
        space = placed(np.concatenate(spaces), device)
        cube, normals, colors = (self._tensor(np.concatenate(rows))[None] for rows in (cubes, facing, tints))
        count = len(cubes[0])
        geometry = patch_geometry(space[:count], self._config, device=device)
        centers = space[geometry.center_index[0]]
        geometry = geometry.to(device)
        seen = (cube[:, :count], normals[:, :count], colors[:, :count])
        known = None if regions is None else lambda: regions().for_network
        encoding = self.on_device.encode(*seen, geometry, known)
        start = 0 if locates_own else count
        index, weight = interpolation_weights(centers, space[start:], device=device)
        places = cube[:, start:]
        attributes = attributes_at(places, normals[:, start:], colors[:, start:])
        with self.on_device.precision():
            located = network.locate(encoding, places, attributes, index.to(device), weight.to(device))
        stops = np.cumsum([len(own) for own in cubes]) - start
        parts = [
            located.part(int(stop) - len(own), int(stop))
            for stop, own in list(zip(stops, cubes, strict=True))[0 if locates_own else 1 :]
        ]
        return _EncodedPoints(cubes[0], geometry, encoding, parts)

    @property
    def _config(self) -> NetworkConfig:
        return self.on_device.network.config

    def _tensor(self, array: FloatArray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array, dtype=np.float32), device=self.on_device.device)


def _sites(
    points: FloatArray, mesh: Mesh | None, point_faces: IntArray | None, surface: DeviceSurface | None
) -> Sites:
    if mesh is None or point_faces is None:
        return Sites.of_points(points)
    return Sites.of_mesh(mesh, point_faces) if surface is None else Sites.of_surface(surface, point_faces)


def _graph_ahead(mesh: Mesh | None, *, wanted: bool) -> Callable[[], FaceGraph] | None:
    """How to get the face graph, from now on being made beside the network if it is wanted. None where it is
    made when asked for."""
    if mesh is None or mesh.face_count > _GRAPH_AHEAD_FACES or not wanted:
        return None
    return started(lambda: build_face_graph(mesh))


def _regions(
    mesh: Mesh, graph: Callable[[], FaceGraph], sites: Sites, *, ahead: bool
) -> Callable[[], CreaseRegions]:
    """How to get the crease regions over sites of a mesh, from now on being made if `ahead`, else when they
    are asked for."""

    def found() -> CreaseRegions:
        bends = graph_of_bends(graph(), sites, mesh)
        return crease_regions(bends, sites.weights, order=sites_in_order(sites, mesh))

    return started(found) if ahead else found
