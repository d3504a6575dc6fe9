# SPDX-License-Identifier: GPL-3.0-or-later
"""Small meshes that the tests build, as active and selected objects of the scene."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import bpy
import numpy as np


def add_object(
    name: str, points: Sequence[Sequence[float]], polygons: Sequence[Sequence[int]]
) -> bpy.types.Object:
    """An active, selected object with this mesh."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(points, [], polygons)
    obj = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(obj)
    activate(obj)
    return obj


def activate(obj: bpy.types.Object) -> None:
    """Make `obj` the active and only selected object."""
    bpy.context.view_layer.update()
    for other in bpy.context.view_layer.objects:
        other.select_set(other == obj)
    bpy.context.view_layer.objects.active = obj
    bpy.context.view_layer.update()


def cube(*, size: float = 2.0, name: str = "cube") -> bpy.types.Object:
    """A cube of six quads, wound outwards."""
    h = size / 2
    points = [(x, y, z) for x in (-h, h) for y in (-h, h) for z in (-h, h)]
    polygons = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    return add_object(name, points, polygons)


def grid(cells: int, *, name: str = "grid", size: float = 2.0) -> bpy.types.Object:
    """A square of cells x cells quads in the XY plane around the origin, with UVs over 0..1.

    Polygon `row * cells + column` lies at that row (Y) and column (X).
    """
    line = np.linspace(-size / 2, size / 2, cells + 1)
    y, x = np.meshgrid(line, line, indexing="ij")
    points = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3)
    index = np.arange((cells + 1) ** 2).reshape(cells + 1, cells + 1)
    quads = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], axis=-1).reshape(-1, 4)
    obj = add_object(name, points.tolist(), quads.tolist())
    uv = obj.data.uv_layers.new(name="UVMap")
    uv.uv.foreach_set("vector", (points[quads.ravel(), :2] / size + 0.5).astype(np.float32).ravel())
    return obj


def voxels(
    blocks: dict[int, tuple[tuple[int, int, int], tuple[int, int, int]]], *, name: str = "voxels"
) -> tuple[bpy.types.Object, np.ndarray]:
    """A watertight surface around boxes of unit cubes, and the box's label of each of its quads.

    blocks: label -> lowest cube and the one behind the highest. Cubes of several boxes share vertices.
    """
    cells = {
        (x, y, z): label
        for label, (low, high) in blocks.items()
        for x in range(low[0], high[0])
        for y in range(low[1], high[1])
        for z in range(low[2], high[2])
    }
    steps = {
        (1, 0, 0): [(1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 0, 1)],
        (-1, 0, 0): [(0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0)],
        (0, 1, 0): [(0, 1, 0), (0, 1, 1), (1, 1, 1), (1, 1, 0)],
        (0, -1, 0): [(0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)],
        (0, 0, 1): [(0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)],
        (0, 0, -1): [(0, 0, 0), (0, 1, 0), (1, 1, 0), (1, 0, 0)],
    }
    index: dict[tuple[int, ...], int] = {}
    polygons, labels = [], []
    for cell, label in cells.items():
        for step, corners in steps.items():
            if tuple(np.add(cell, step).tolist()) not in cells:
                points = [tuple(np.add(cell, corner).tolist()) for corner in corners]
                polygons.append([index.setdefault(point, len(index)) for point in points])
                labels.append(label)
    return add_object(name, list(index), polygons), np.array(labels, dtype=np.int32)


def select_polygons(obj: bpy.types.Object, polygons: Iterable[int]) -> None:
    """Select exactly these polygons (with their vertices and edges)."""
    chosen = set(polygons)
    mesh = obj.data
    vertices = {v for index in chosen for v in mesh.polygons[index].vertices}
    edges = {key for index in chosen for key in mesh.polygons[index].edge_keys}
    flags = {
        "poly": [polygon.index in chosen for polygon in mesh.polygons],
        "vert": [vertex.index in vertices for vertex in mesh.vertices],
        "edge": [edge.key in edges for edge in mesh.edges],
    }
    for kind, values in flags.items():
        domain = {"poly": "FACE", "vert": "POINT", "edge": "EDGE"}[kind]
        name = f".select_{kind}"
        attribute = mesh.attributes.get(name)
        if attribute is not None and attribute.data_type != "BOOLEAN":  # from_pydata in 5.0.1 breaks it
            mesh.attributes.remove(attribute)
            attribute = None
        if attribute is None:
            attribute = mesh.attributes.new(name, "BOOLEAN", domain)
        attribute.data.foreach_set("value", values)
