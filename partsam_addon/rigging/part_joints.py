# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of a Blender mesh as a tree: measures, borders, the root, and the joints between them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import bpy
import numpy as np
from mathutils import Vector

from ..mesh_exchange.arrays import (
    FloatArray,
    IntArray,
    corner_edges,
    corner_polygons,
    corner_vertices,
    edge_vertices,
    triangle_corners,
    vertex_positions,
)
from ..parts import UNASSIGNED, read_part_ids
from ..parts.polygon_graph import polygon_graph
from .bones import UP
from .part_shapes import PartShape, closest_points, measure_parts
from .part_tree import Border, PartTree, build_tree

RootRule = Literal["AUTO", "LARGEST", "ACTIVE"]

_GROUND = 0.01
"""How near to the lowest point a part touches the ground, relative to the height of the whole."""


@dataclass(frozen=True)
class LabeledSurface:
    """What joints are calculated from, read from a mesh; all else here needs no Blender data.

    positions: float32 [V, 3]; edges: int32 [E, 2]; corner_edges, corner_polygons: int32 [C]
    triangles: int32 [T, 3], vertices; triangle_polygons: int32 [T]
    part_ids: int32 [P]
    """

    positions: FloatArray
    edges: IntArray
    corner_edges: IntArray
    corner_polygons: IntArray
    triangles: IntArray
    triangle_polygons: IntArray
    part_ids: IntArray

    @classmethod
    def read(cls, mesh: bpy.types.Mesh) -> LabeledSurface:
        """Not in Edit mode."""
        corners, triangle_polygons = triangle_corners(mesh)
        return cls(
            vertex_positions(mesh),
            edge_vertices(mesh),
            corner_edges(mesh),
            corner_polygons(mesh),
            corner_vertices(mesh)[corners],
            triangle_polygons,
            read_part_ids(mesh),
        )


@dataclass(frozen=True)
class JointedParts:
    """part_ids: int32 [P], with small parts counted to a neighbour; shapes and tree of what remains"""

    part_ids: IntArray
    shapes: dict[int, PartShape]
    tree: PartTree


def joint_parts(
    surface: LabeledSurface,
    matrix: FloatArray,
    *,
    root: int = UNASSIGNED,
    rule: RootRule = "LARGEST",
    up: FloatArray = UP,
    smallest: float = 0.0,
) -> JointedParts:
    """Measure the parts in the space that `matrix` [4, 4] leads to, and hang them on each other.

    root: id of the part at the root, or 0: `rule` chooses; up: float64 [3], away from the ground
    smallest: parts with less than this share of the area count to the neighbour with the longest border.
    """
    shapes, borders = measure(surface, matrix), _part_borders(surface, matrix)
    hosts = _hosts_of_small(shapes, borders, smallest, keep=root)
    if hosts:
        table = np.arange(int(surface.part_ids.max(initial=0)) + 1, dtype=np.int32)
        table[list(hosts)] = list(hosts.values())
        surface = replace(surface, part_ids=table[surface.part_ids])
        shapes, borders = measure(surface, matrix), _part_borders(surface, matrix)
    top = root or _choose_root(shapes, borders, rule, up)
    return JointedParts(surface.part_ids, shapes, build_tree(shapes, borders, top))


def joint_places(mesh: bpy.types.Mesh) -> dict[int, Vector]:
    """In object space, where each part but the root meets the part that it hangs on."""
    parts = joint_parts(LabeledSurface.read(mesh), np.eye(4), rule="AUTO")
    return {part: Vector(joint) for part, joint in parts.tree.joints.items() if part not in parts.tree.loose}


def measure(surface: LabeledSurface, matrix: FloatArray) -> dict[int, PartShape]:
    """Measures of all parts, in the space that `matrix` leads to."""
    labels = surface.part_ids[surface.triangle_polygons]
    known = labels != UNASSIGNED
    points = _transformed(surface.positions, matrix)
    return measure_parts(points, surface.triangles[known], labels[known])


def _part_borders(surface: LabeledSurface, matrix: FloatArray) -> dict[tuple[int, int], Border]:
    """Where parts touch, smaller id first."""
    graph = polygon_graph(surface.positions, surface.edges, surface.corner_edges, surface.corner_polygons)
    sides = np.sort(surface.part_ids[graph.pairs], axis=1)
    wanted = (sides[:, 0] != sides[:, 1]) & (sides[:, 0] != UNASSIGNED)
    ends = _transformed(surface.positions, matrix)[surface.edges[graph.edges[wanted]]]
    lengths = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
    found = {}
    pairs, inverse = np.unique(sides[wanted], axis=0, return_inverse=True)
    for index, (a, b) in enumerate(pairs.tolist()):
        here = inverse.ravel() == index
        weight = lengths[here] + 1e-30
        center = (ends[here].mean(axis=1) * weight[:, None]).sum(axis=0) / weight.sum()
        found[a, b] = Border(float(lengths[here].sum()), center)
    return found


def _hosts_of_small(
    shapes: dict[int, PartShape], borders: dict[tuple[int, int], Border], smallest: float, *, keep: int
) -> dict[int, int]:
    """For each part with less than `smallest` of the area the one that it counts to."""
    total = sum(shape.area for shape in shapes.values())
    small = {part for part, shape in shapes.items() if shape.area < smallest * total and part != keep}
    large = [part for part in shapes if part not in small]
    hosts: dict[int, int] = {}
    if not large:
        return hosts
    # Ring by ring from the large parts, so that a chain of small ones ends at a large one.
    while small - hosts.keys():
        settled = {part: part for part in large} | hosts
        touching: dict[int, list[tuple[float, int]]] = {}
        for (a, b), border in borders.items():
            for part, other in ((a, b), (b, a)):
                if part in small and part not in hosts and other in settled:
                    touching.setdefault(part, []).append((-border.length, settled[other]))
        if not touching:
            part = min(small - hosts.keys())
            distances = [(closest_points(shapes[part], shapes[o], samples=100)[0], o) for o in large]
            touching[part] = [min(distances)]
        hosts |= {part: min(found)[1] for part, found in touching.items()}
    return hosts


def _choose_root(
    shapes: dict[int, PartShape], borders: dict[tuple[int, int], Border], rule: RootRule, up: FloatArray
) -> int:
    """AUTO: the part that alone touches the ground, else the one with most neighbours, then the larger."""
    by_area = sorted(sorted(shapes), key=lambda part: -shapes[part].area)
    if rule != "AUTO":
        return by_area[0]
    heights = {part: shape.points @ up for part, shape in shapes.items()}
    ground, top = min(h.min() for h in heights.values()), max(h.max() for h in heights.values())
    limit = ground + _GROUND * (top - ground)
    standing = [part for part, height in heights.items() if height.min() <= limit]
    if len(standing) == 1 and top > ground:
        return standing[0]
    count = dict.fromkeys(shapes, 0)
    for pair in borders:
        for part in pair:
            count[part] += 1
    return max(by_area, key=lambda part: count[part])


def _transformed(points: FloatArray, matrix: FloatArray) -> FloatArray:
    return np.nan_to_num(points).astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
