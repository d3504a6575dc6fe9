# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts as vertex groups."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np

from ..mesh_exchange.arrays import FloatArray, IntArray
from ..parts import UNASSIGNED, read_part_ids
from .falloff import (
    Connectivity,
    VertexWeights,
    WeightTable,
    blended_weights,
    read_weights,
    whole_weights,
)
from .ownership import digest, read_records, write_records

KIND = "vertex_groups"


@dataclass(frozen=True)
class WrittenGroups:
    """What became of the groups of the parts.

    names: of the groups by part id, as Blender has them
    foreign: names that a group of the user has, so that ours got a number
    painted: groups of ours whose weights were changed by hand; they are left as they are
    """

    names: dict[int, str]
    foreign: list[str]
    painted: list[str]

    def notice(self) -> str:
        """What the user should know, or nothing."""
        parts = []
        if self.foreign:
            parts.append(f"groups of your own are left: {', '.join(self.foreign)}")
        if self.painted:
            parts.append(f"painted by hand, left as they are: {', '.join(self.painted)}")
        return "; ".join(parts)


@dataclass(frozen=True)
class OwnGroups:
    """The groups that we made: names and weights by part id; the parts whose weights were changed by hand."""

    names: dict[int, str]
    held: dict[int, VertexWeights]
    painted: set[int]


@dataclass(frozen=True)
class WeightTask:
    """Weights by part, to be calculated from what was read; that may be done in another thread.

    falloff: half width of the blend across borders in world units. Without one, every vertex of a
        part has weight 1, those on a border in each of the parts.
    scale: float64 [3, 3], of the object's world matrix
    """

    mesh: Connectivity
    part_ids: IntArray
    falloff: float
    scale: FloatArray

    @classmethod
    def read(cls, obj: bpy.types.Object, *, falloff: float) -> WeightTask:
        """Not in Edit mode."""
        return cls(Connectivity.read(obj.data), read_part_ids(obj.data), falloff, world_scale(obj))

    def weights(self) -> dict[int, VertexWeights]:
        """Of all parts, by part id."""
        if self.falloff > 0:
            found = blended_weights(self.mesh, self.part_ids, width=self.falloff, scale=self.scale)
        else:
            found = whole_weights(self.mesh, self.part_ids)
        found.pop(UNASSIGNED, None)
        return found


def make_vertex_groups(obj: bpy.types.Object, *, falloff: float = 0.0) -> WrittenGroups:
    """A vertex group per part, called like it; see `write_vertex_groups` and `WeightTask`."""
    return write_vertex_groups(obj, part_names(obj.data), WeightTask.read(obj, falloff=falloff).weights())


def part_names(mesh: bpy.types.Mesh) -> dict[int, str]:
    """The names of the parts by id."""
    return {part.part_id: part.name for part in mesh.partsam.parts}


def write_vertex_groups(
    obj: bpy.types.Object,
    names: dict[int, str],
    weights: dict[int, VertexWeights],
    *,
    own: OwnGroups | None = None,
) -> WrittenGroups:
    """Make or update the vertex groups of parts.

    names: what the group of each part is to be called; weights: by part id
    own: what `own_groups` has read already

    A group that an earlier call made of the same part is updated, and follows the part's name; those of
    parts that are no more go. Groups of the user stay: where one has the name, ours gets a number. Weights
    of ours that were changed by hand stay, too.
    """
    own = own or own_groups(obj)
    painted = own.painted
    for part_id in own.names.keys() - weights.keys() - painted:
        obj.vertex_groups.remove(obj.vertex_groups[own.names[part_id]])
    updated = own.names.keys() - painted
    aside = _set_aside(obj, {part_id: own.names[part_id] for part_id in updated}, names)
    old = read_records(obj.data, KIND)
    records = {part_id: old[part_id] for part_id in painted}
    count, foreign = len(obj.data.vertices), []
    for part_id, entry in weights.items():
        if part_id in painted:
            continue
        group, is_taken = _group_for(obj, aside.get(part_id), names[part_id])
        held = own.held.get(part_id)
        if held is not None:
            _clear(group, held, keeping=entry)
        add_weights(group, entry if held is None else _changed(entry, held))
        records[part_id] = {"name": group.name, "vertices": count, "digest": _digest(entry)}
        foreign += [names[part_id]] if is_taken else []
    write_records(obj.data, KIND, records)
    written = {i: str(record["name"]) for i, record in records.items() if i in weights}
    return WrittenGroups(written, foreign, [str(records[part_id]["name"]) for part_id in sorted(painted)])


def user_groups(obj: bpy.types.Object) -> set[str]:
    """Names of the vertex groups that we did not make."""
    return {group.name for group in obj.vertex_groups} - set(own_names(obj).values())


def own_places(obj: bpy.types.Object) -> dict[int, int]:
    """Indices of the groups that we made, by part id: they stay where names change."""
    return {part_id: obj.vertex_groups[name].index for part_id, name in own_names(obj).items()}


def follow_renamed(obj: bpy.types.Object, places: dict[int, int], bones: dict[int, str]) -> None:
    """Tell the record under which names Blender has our groups now: it renames them with bones.

    places: `own_places` before our bones got new names; bones: names by part id, also those that the user
    gave before that
    """
    records = read_records(obj.data, KIND)
    for part_id, record in records.items():
        if part_id in places:
            record["name"] = obj.vertex_groups[places[part_id]].name
        elif part_id in bones and bones[part_id] in obj.vertex_groups:
            record["name"] = bones[part_id]
    write_records(obj.data, KIND, records)


def _set_aside(obj: bpy.types.Object, own: dict[int, str], names: dict[int, str]) -> dict[int, str]:
    """The names of our groups, by part id, after those that are to change gave theirs up: parts can exchange
    names.
    """
    aside = dict(own)
    for part_id, name in own.items():
        if name in obj.vertex_groups and names.get(part_id, name) != name:
            group = obj.vertex_groups[name]
            group.name = f"partsam {part_id}"
            aside[part_id] = group.name
    return aside


def _group_for(obj: bpy.types.Object, own: str | None, wanted: str) -> tuple[bpy.types.VertexGroup, bool]:
    """The group for a part, and whether a group of the user has the wanted name."""
    if own is None:
        group = obj.vertex_groups.new(name=wanted)
    else:
        group = obj.vertex_groups[own]
        if own != wanted:
            group.name = wanted
    return group, obj.vertex_groups.get(wanted) not in (None, group)


def _clear(group: bpy.types.VertexGroup, held: VertexWeights, *, keeping: VertexWeights) -> None:
    """Take the vertices out of a group that it holds now and that `keeping` does not have."""
    gone = np.setdiff1d(held.vertices, keeping.vertices, assume_unique=True)
    if len(gone):
        group.remove(gone.tolist())


def _changed(entry: VertexWeights, held: VertexWeights) -> VertexWeights:
    """What of `entry` is not held already; vertices ascend in both."""
    if not len(held.vertices):
        return entry
    place = np.searchsorted(held.vertices, entry.vertices).clip(max=len(held.vertices) - 1)
    weights = np.minimum(entry.weights, 1).astype(np.float32)
    new = (held.vertices[place] != entry.vertices) | (held.weights[place] != weights)
    return VertexWeights(entry.vertices[new], entry.weights[new])


def add_weights(group: bpy.types.VertexGroup, entry: VertexWeights) -> None:
    """Add weighted vertices to a group: those of equal weight in one call."""
    add = group.add  # looking the function up takes as long as calling it
    order = np.argsort(entry.weights, kind="stable")
    weights, starts = np.unique(entry.weights[order], return_index=True)
    vertices = entry.vertices[order].tolist()
    bounds = [*starts.tolist(), len(vertices)]
    for weight, start, stop in zip(weights.tolist(), bounds[:-1], bounds[1:], strict=True):
        add(vertices[start:stop], weight, "REPLACE")


def world_scale(obj: bpy.types.Object) -> FloatArray:
    """Linear part of the object's world matrix, float64 [3, 3]."""
    return np.array(obj.matrix_world, dtype=np.float64)[:3, :3]


def world_size(obj: bpy.types.Object) -> float:
    """Diagonal of the object's bounding box in the world."""
    corners = np.array([corner[:] for corner in obj.bound_box], dtype=np.float64) @ world_scale(obj).T
    return float(np.linalg.norm(np.ptp(corners, axis=0)))


def own_names(obj: bpy.types.Object) -> dict[int, str]:
    """Names of the groups that we made, by part id."""
    records = read_records(obj.data, KIND)
    names = {part_id: str(record["name"]) for part_id, record in records.items()}
    return {part_id: name for part_id, name in names.items() if name in obj.vertex_groups}


def own_groups(obj: bpy.types.Object, table: WeightTable | None = None) -> OwnGroups:
    """The groups that we made. Where vertices came or went the weights say nothing, and a group does not
    count as changed.

    table: the weights of `obj`, if they have been read already
    """
    own, records = own_names(obj), read_records(obj.data, KIND)
    if not own:
        return OwnGroups(own, {}, set())
    weights = read_weights(obj, table)
    count = len(obj.data.vertices)
    held = {part_id: weights[obj.vertex_groups[name].index] for part_id, name in own.items()}
    painted = {
        part_id
        for part_id in own
        if records[part_id]["vertices"] == count and records[part_id]["digest"] != _digest(held[part_id])
    }
    return OwnGroups(own, held, painted)


def _digest(entry: VertexWeights) -> str:
    """Of weights as Blender stores them: the same whether they are about to be written or were read."""
    return digest(entry.vertices.astype(np.int32), np.minimum(entry.weights, 1).astype(np.float32))
