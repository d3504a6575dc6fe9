# SPDX-License-Identifier: GPL-3.0-or-later
"""Sites: the places at which masks are evaluated, and how faces and points map to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..block_search import nearest_of_ordered
from ..device_surface import DeviceSurface
from ..geometry import Mesh, face_areas, face_centroids, face_normals
from ..geometry.canonical import canonical_order
from ..geometry.mesh import FloatArray, IntArray
from ..geometry.rows import extents
from ..geometry.rows import lengths as row_lengths
from ..nearest import NORMAL_SHARE, FacedTree, nearest_faced, nearest_several
from ..refinement.components import connected_nodes
from ..refinement.face_graph import FaceGraph

MAX_SITES = 50_000
"""Meshes of more faces are labelled at this many of them; refinement then works on every face."""

_ASKED_AT_ONCE = 1 << 16

_NEIGHBORS = 8
"""Of each point of a cloud. With them, on a plane whose points stand for s x s each, ..."""
_EDGE_BY_SPACING = 1.25
"""... an edge is so many s long, and ..."""
_EDGES_ACROSS = 3.5
"""... a line crosses so many edges on each s."""


@dataclass(frozen=True)
class Sites:
    """Where masks are evaluated.

    locations: float64 [S, 3], in the caller's units
    weights: float64 [S], share of the surface that each site stands for; sums to 1
    of_point: int32 [N], the site of each encoded point
    of_face: int32 [F], the site of each face; None for point clouds
    faces: int32 [S], the face at whose centroid each site lies; None for point clouds
    normals: float64 [S, 3], of those faces; None where they are still to be computed
    """

    locations: FloatArray
    weights: FloatArray
    of_point: IntArray
    of_face: IntArray | None
    faces: IntArray | None = None
    normals: FloatArray | None = None

    @classmethod
    def of_points(cls, points: FloatArray) -> Sites:
        """Every point of a cloud is a site."""
        count = len(points)
        return cls(points, np.full(count, 1 / count), np.arange(count, dtype=np.int32), None)

    @classmethod
    def of_mesh(cls, mesh: Mesh, point_faces: IntArray) -> Sites:
        """Face centroids, or an area-weighted choice of them where there are very many faces.

        Of those each face has the nearest one, in positions and normals: one on its own side of a sheet.
        """
        faces: IntArray = np.arange(mesh.face_count, dtype=np.int32)
        locations, of_face = face_centroids(mesh), faces
        if mesh.face_count > MAX_SITES:
            side = float(extents(locations).max())
            faces = _spread_over_area(mesh, MAX_SITES).astype(np.int32)
            locations = locations[faces]
            of_face = _nearest_faces(mesh, faces, locations, side)
        # Faces without area still want a label, but must not turn the weights into 0 / 0.
        areas = face_areas(mesh) / face_areas(mesh).sum()
        weights = np.bincount(of_face, weights=areas, minlength=len(locations)).astype(np.float64)
        return cls(locations, weights, of_face[point_faces], of_face, faces)

    @classmethod
    def of_surface(cls, surface: DeviceSurface, point_faces: IntArray) -> Sites:
        """The same as `of_mesh`, computed by the surface's device."""
        if surface.face_count <= MAX_SITES:
            at = of_each = torch.arange(surface.face_count, device=surface.areas.device)
        else:
            chosen = surface.spread(MAX_SITES)
            at, of_each = chosen.nonzero()[:, 0], _nearest_chosen(surface, chosen)
        faces, of_face = (index.int().cpu().numpy() for index in (at, of_each))
        areas = surface.areas.cpu().numpy()
        weights = np.bincount(of_face, weights=areas / areas.sum(), minlength=len(faces)).astype(np.float64)
        locations, normals = (values(at).cpu().numpy() for values in (surface.centroids, surface.normals))
        return cls(locations, weights, of_face[point_faces], of_face, faces, normals)

    def attributes(
        self, mesh: Mesh | None, normals: FloatArray, colors: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Normals and colours of the sites, float [S, 3] each, from those of the N encoded points.

        A site on a mesh has its face's normal and colour. Where the mesh's faces have no colours it is the
        mean colour of the site's points, or else that of the nearest site with points.
        """
        if mesh is None or self.faces is None:
            return normals, colors
        site_normals = face_normals(mesh, self.faces) if self.normals is None else self.normals
        if mesh.face_colors is not None:
            return site_normals, mesh.face_colors[self.faces]
        count = len(self.locations)
        if (colors == colors[0]).all():  # nothing is known, or nothing differs
            return site_normals, np.broadcast_to(colors[0], (count, 3))
        hits = np.bincount(self.of_point, minlength=count)
        sums = [np.bincount(self.of_point, weights=channel, minlength=count) for channel in colors.T]
        known, unknown = np.flatnonzero(hits), np.flatnonzero(hits == 0)
        found = np.empty((count, 3))
        found[known] = np.stack(sums, axis=1)[known] / hits[known, None]
        side = float(extents(self.locations).max())
        asked = self.locations[unknown], site_normals[unknown]
        found[unknown] = found[known[nearest_faced(self.locations[known], site_normals[known], *asked, side)]]
        return site_normals, found


def sites_in_order(sites: Sites, mesh: Mesh) -> IntArray:
    """Sites of a mesh in an order that does not hang on that of its faces, int32 [S]."""
    if sites.faces is None or len(sites.faces) == mesh.face_count:
        return mesh.order.faces
    return canonical_order(mesh.vertices, mesh.triangles[sites.faces], sites.weights).faces


def graph_of_sites(graph: FaceGraph, sites: Sites) -> FaceGraph:
    """The face graph with all faces of a site merged into one node."""
    count, of_face = len(sites.locations), sites.of_face
    if of_face is None or count == graph.face_count:
        return graph
    first, second = (of_face.take(end) for end in graph.edges.T)
    between = np.flatnonzero(first != second)
    shells = np.zeros(count, dtype=np.int32)
    shells[of_face] = graph.shells
    return FaceGraph(
        face_areas=np.bincount(of_face, weights=graph.face_areas, minlength=count).astype(np.float64),
        edges=np.stack([first.take(between), second.take(between)], axis=1),
        edge_length=graph.edge_length.take(between),
        dihedral=graph.dihedral.take(between),
        is_link=graph.is_link.take(between),
        shells=shells,
        diagonal=graph.diagonal,
    )


def graph_of_points(sites: Sites, normals: FloatArray) -> FaceGraph:
    """A graph for a point cloud: each site and its nearest ones, with the angles of their normals [S, 3].

    As on a mesh: areas are those of the surface, and a border is as long as the edges that it crosses
    together, however many neighbours each site has.
    """
    places, count = sites.locations, len(sites.locations)
    near = nearest_several(places, places, min(_NEIGHBORS + 1, count))[1]
    pairs = np.stack([np.repeat(np.arange(count), near.shape[1]), near.reshape(-1)], axis=1)
    edges = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0).astype(np.int32)
    along = places[edges[:, 1]] - places[edges[:, 0]]
    distance = row_lengths(along)
    spacing = max(float(np.median(distance)) / _EDGE_BY_SPACING, 1e-300) if len(edges) else 1.0
    return FaceGraph(
        face_areas=sites.weights * count * spacing**2,
        edges=edges,
        edge_length=np.full(len(edges), spacing / _EDGES_ACROSS),
        dihedral=_angles(np.asarray(normals, dtype=np.float64), edges, along),
        is_link=np.zeros(len(edges), dtype=bool),
        shells=connected_nodes(count, edges),
        diagonal=float(np.linalg.norm(np.ptp(places, axis=0))),
    )


def _angles(normals: FloatArray, edges: IntArray, along: FloatArray) -> FloatArray:
    """Radians between the normals at the ends of edges, negative where they lean towards each other."""
    first, second = normals[edges[:, 0]], normals[edges[:, 1]]
    cosine = np.einsum("ni,ni->n", first, second)
    leaning = np.einsum("ni,ni->n", second - first, along)
    return np.where(leaning < 0, -1.0, 1.0) * np.arccos(np.clip(cosine, -1, 1))


def _nearest_faces(mesh: Mesh, chosen: IntArray, locations: FloatArray, side: float) -> IntArray:
    """For each face the position among the chosen ones, int [S], of the nearest of them: int32 [F].

    locations: float64 [S, 3], centroids of the chosen ones; side: the longest of the mesh
    """
    of_face = np.empty(mesh.face_count, dtype=np.int32)
    of_face[chosen] = np.arange(len(chosen), dtype=np.int32)
    others = np.ones(mesh.face_count, dtype=bool)
    others[chosen] = False
    asked, tree = np.flatnonzero(others), FacedTree(locations, face_normals(mesh, chosen), side)
    for start in range(0, len(asked), _ASKED_AT_ONCE):  # little memory, however many there are
        rows = asked[start : start + _ASKED_AT_ONCE]
        of_face[rows] = tree.nearest(face_centroids(mesh, rows), face_normals(mesh, rows))
    return of_face


def _nearest_chosen(surface: DeviceSurface, chosen: Tensor) -> Tensor:
    """For each face the position among the chosen ones, bool [F], of the nearest of them: int64 [F]."""
    order = surface.order
    along, others = order[chosen[order]], order[~chosen[order]]
    side = surface.longest_side
    places, asked = (
        torch.cat([surface.centroids(faces), NORMAL_SHARE * side * surface.normals(faces)], dim=1)
        for faces in (along, others)
    )
    position = chosen.cumsum(0) - 1
    of_face = position.clone()  # of the chosen ones it is their own
    of_face[others] = position[along[nearest_of_ordered(places, asked)]]
    return of_face


def _spread_over_area(mesh: Mesh, count: int) -> IntArray:
    """Distinct faces at equal steps of the area, in an order that follows the shape, int [count or fewer]."""
    order = mesh.order.faces
    cumulative = np.cumsum(face_areas(mesh)[order])
    steps = (np.arange(count) + 0.5) / count * cumulative[-1]
    chosen = np.zeros(len(order), dtype=bool)
    chosen[order[np.minimum(np.searchsorted(cumulative, steps), len(order) - 1)]] = True
    return np.flatnonzero(chosen)
