# SPDX-License-Identifier: GPL-3.0-or-later
"""Separated parts that are exact copies of each other share one mesh, each object with its own place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ..mesh_exchange.arrays import FloatArray
from .layers import Layer, MeshLayers
from .matching import Match, match_parts
from .topology import PartTopology, WholeMesh

_NORMAL_TOLERANCE = 0.02
_VALUE_TOLERANCE = 1e-4

_OWN = ("partsam", ".partsam", ".select", ".hide")
"""Beginnings of the names of attributes that may differ between copies: parts and views."""

_SHEAR_TOLERANCE = 1e-4


@dataclass(frozen=True)
class BuiltPart:
    """A separated part: its object, which elements of the whole it has, and its origin in the whole."""

    obj: bpy.types.Object
    topology: PartTopology
    center: Vector


def link_copies(
    built: dict[int, BuiltPart],
    groups: Sequence[dict[int, FloatArray]],
    whole: WholeMesh,
    layers: MeshLayers,
) -> tuple[int, list[str]]:
    """Let the copies in `groups` (see `parts.repeats`) share the mesh of the first of them.

    How many now do, and sentences about those that keep a mesh of their own, because something about them
    would be lost.
    """
    count, kept = 0, []
    for group in groups:
        first_id, *others = sorted(group.keys() & built.keys())
        first = built[first_id]
        for part_id in others:
            guess = group[part_id] @ np.linalg.inv(group[first_id])
            reason = _link(first, built[part_id], guess, whole, layers)
            if reason:
                kept.append(f'"{built[part_id].obj.name}" keeps its own mesh: {reason}')
            count += not reason
    return count, kept


def _link(first: BuiltPart, other: BuiltPart, guess: FloatArray, whole: WholeMesh, layers: MeshLayers) -> str:
    """Give `other` the mesh of `first`, or say why that cannot be."""
    match = match_parts(whole, first.topology, other.topology, guess)
    if match is None:
        return "its faces are not the same"
    differs = _difference(first.topology, other.topology, match, layers)
    if differs:
        return differs
    back, there = Matrix.Translation(-other.center), Matrix.Translation(first.center)
    placed = other.obj.matrix_basis @ back @ Matrix(match.motion.tolist()) @ there
    if _is_sheared(placed):
        return "the original is scaled unevenly; apply its scale, or group the parts under an empty"
    mesh = other.obj.data
    other.obj.data = first.obj.data
    other.obj.matrix_basis = placed
    bpy.data.meshes.remove(mesh)
    return ""


def _difference(first: PartTopology, second: PartTopology, match: Match, layers: MeshLayers) -> str:
    """What the second part carries that the first does not; empty if nothing."""
    domains = {
        # Vertices and edges as those of corners: one may be doubled here and not there, without a need.
        "POINT": (
            first.vertices[first.corner_vertices],
            second.vertices[second.corner_vertices[match.corners]],
        ),
        "EDGE": (
            first.edges[first.corner_edges],
            second.edges[second.corner_edges[match.edge_corners]],
        ),
        "FACE": (first.polygons, second.polygons[match.polygons]),
        "CORNER": (first.corners, second.corners[match.corners]),
    }
    for layer in layers.layers:
        if not layer.name.startswith(_OWN) and not _is_same(layer, *domains[layer.domain]):
            return f'its "{layer.name}" differs'
    if not _same_weights(layers, *domains["POINT"]):
        return "its weights differ"
    if layers.normals is not None:
        one, other = (layers.normals[corners] for corners in domains["CORNER"])
        if np.linalg.norm(one @ match.motion[:3, :3].T - other, axis=1).max() > _NORMAL_TOLERANCE:
            return "its normals differ"
    for name, flags in layers.freestyle.items():
        here, there = domains["EDGE" if name == "edges" else "FACE"]
        if (flags[here] != flags[there]).any():
            return "its Freestyle marks differ"
    return ""


def _is_same(layer: Layer, here: np.ndarray, there: np.ndarray) -> bool:
    if isinstance(layer.values, list):
        return all(
            layer.values[a] == layer.values[b] for a, b in zip(here.tolist(), there.tolist(), strict=True)
        )
    first, second = layer.values[here], layer.values[there]
    if np.issubdtype(first.dtype, np.floating):
        return bool(np.allclose(first, second, rtol=_VALUE_TOLERANCE, atol=_VALUE_TOLERANCE, equal_nan=True))
    return bool(np.array_equal(first, second))


def _same_weights(layers: MeshLayers, here: np.ndarray, there: np.ndarray) -> bool:
    tables = []
    for vertices in (here, there):
        table: dict[int, np.ndarray] = {}
        for group, entry in layers.weights.of(vertices):
            table[group] = np.zeros(len(vertices))
            table[group][entry.vertices] = entry.weights
        tables.append(table)
    first, second = tables
    return first.keys() == second.keys() and all(
        np.allclose(first[group], second[group], atol=_VALUE_TOLERANCE) for group in first
    )


def _is_sheared(matrix: Matrix) -> bool:
    """Whether location, rotation and scale of an object cannot hold a matrix."""
    again = Matrix.LocRotScale(*matrix.decompose())
    scale = max(map(abs, matrix.to_scale()))
    return any((a - b).length > _SHEAR_TOLERANCE * scale for a, b in zip(matrix.col, again.col, strict=True))
