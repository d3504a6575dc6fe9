# SPDX-License-Identifier: GPL-3.0-or-later
"""From points to encoded shapes: of a whole surface, and of a close-up of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .device_surface import DeviceSurface
from .devices import keeps_surfaces, works_by_itself
from .geometry import Mesh, Normalization
from .geometry.mesh import FloatArray, IntArray
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
)
from .refinement.face_graph import FaceGraph, build_face_graph
from .segmentation import EncodedShape
from .segmentation.close_up import CloseUp, ball_around, sample_ball
from .segmentation.sites import Sites
from .threads import meanwhile, started

_GRAPH_AHEAD_FACES = 300_000
"""Of a mesh with more faces, the tables of an encoding and the work on the face graph together would set how
much memory is needed (a quarter of a gigabyte of a million faces); there the graph comes afterwards."""


@dataclass(frozen=True)
class _EncodedPoints:
    """Points in the network's cube, float32 [N, 3], and what the network made of them.

    centers: the patches' places in the `patch_space`
    """

    cube: FloatArray
    normalization: Normalization
    geometry: PatchGeometry
    centers: FloatArray
    encoding: Encoding


@dataclass(frozen=True)
class ShapeEncoder:
    """A network on a device that encodes. Arrays must be finite, normals unit, colours in [0, 1]."""

    on_device: DeviceNetwork

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

        def find_sites() -> Sites:
            if mesh is None or point_faces is None:
                return Sites.of_points(points)
            if surface is not None:
                return Sites.of_surface(surface, point_faces)
            return Sites.of_mesh(mesh, point_faces)

        graph_ahead = _graph_ahead(mesh, self.on_device.device)
        beside = surface is None and works_by_itself(self.on_device.device)
        with meanwhile(find_sites, beside=beside) as found_sites:
            made = self._encoded(points, normals, colors)
            with torch.inference_mode():
                point_locations = site_locations = self._locate(made, points, normals, colors)
                sites = found_sites()
                if sites.of_face is not None:
                    attributes = sites.attributes(mesh, normals, colors)
                    site_locations = self._locate(made, sites.locations, *attributes)
        return EncodedShape(
            points=made.cube,
            normals=normals,
            colors=colors,
            normalization=made.normalization,
            mesh=mesh,
            point_faces=point_faces,
            geometry=made.geometry,
            encoding=made.encoding,
            point_locations=point_locations,
            sites=sites,
            site_locations=site_locations,
            graph_ahead=graph_ahead,
        )

    def surface(self, mesh: Mesh) -> DeviceSurface | None:
        """The surface of a mesh on the device, if the device computes with it. Raises MeshError for meshes
        that cannot be segmented."""
        return DeviceSurface(mesh, self.on_device.device) if keeps_surfaces(self.on_device.device) else None

    def close_up(self, shape: EncodedShape, inside: FloatArray, size: float, *, seed: int) -> CloseUp | None:
        """Around clicks float64 [K, 3] (caller's units) into a part of that share of the surface; None where
        that would not help."""
        ball = ball_around(shape, inside, size)
        if ball is None or shape.mesh is None:
            return None
        drawn = sample_ball(shape, ball, self._config.points, seed=seed)
        made = self._encoded(drawn.points, drawn.normals, drawn.colors)
        in_ball = np.flatnonzero(ball.reaches(shape.world_points))
        at_sites = np.flatnonzero(ball.reaches(shape.sites.locations))
        site_normals, site_colors = shape.sites.attributes(shape.mesh, shape.normals, shape.colors)
        places, sites = shape.world_points[in_ball], shape.sites.locations[at_sites]
        with torch.inference_mode():
            point_locations = self._locate(made, places, shape.normals[in_ball], shape.colors[in_ball])
            site_locations = self._locate(made, sites, site_normals[at_sites], site_colors[at_sites])
        encoded = EncodedShape(
            points=made.cube,
            normals=drawn.normals,
            colors=drawn.colors,
            normalization=made.normalization,
            mesh=None,
            point_faces=drawn.faces,
            geometry=made.geometry,
            encoding=made.encoding,
            point_locations=point_locations,
            sites=Sites.of_points(sites),
            site_locations=site_locations,
        )
        return CloseUp(ball, encoded, in_ball, at_sites)

    def _encoded(self, points: FloatArray, normals: FloatArray, colors: FloatArray) -> _EncodedPoints:
        normalization = Normalization.of_points(points)
        cube = normalization.apply(points)
        space = patch_space(cube, normals, self._config)
        geometry = patch_geometry(space, self._config, device=self.on_device.device)
        centers = space[geometry.center_index[0].cpu().numpy()]
        geometry = geometry.to(self.on_device.device)
        with torch.inference_mode():
            encoding = self.on_device.encode(
                self._tensor(cube)[None], self._tensor(normals)[None], self._tensor(colors)[None], geometry
            )
        return _EncodedPoints(cube, normalization, geometry, centers, encoding)

    def _locate(
        self, made: _EncodedPoints, places: FloatArray, normals: FloatArray, colors: FloatArray
    ) -> Locations:
        """Places, normals and colours [K, 3] each, in the caller's units, prepared for decoding."""
        device = self.on_device.device
        cube = made.normalization.apply(places)
        index, weight = interpolation_weights(
            made.centers, patch_space(cube, normals, self._config), device=device
        )
        points = self._tensor(cube)[None]
        attributes = attributes_at(points, self._tensor(normals)[None], self._tensor(colors)[None])
        with self.on_device.precision():
            return self.on_device.network.locate(
                made.encoding, points, attributes, index.to(device), weight.to(device)
            )

    @property
    def _config(self) -> NetworkConfig:
        return self.on_device.network.config

    def _tensor(self, array: FloatArray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array, dtype=np.float32), device=self.on_device.device)


def _graph_ahead(mesh: Mesh | None, device: str) -> Callable[[], FaceGraph] | None:
    """How to get the face graph, from now on being made, where the processor is free for it: making parts
    needs it as soon as a graphics card has answered the prompts. None where it is made when asked for."""
    if mesh is None or mesh.face_count > _GRAPH_AHEAD_FACES or not works_by_itself(device):
        return None
    return started(lambda: build_face_graph(mesh))
