# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's armature from parts, and the mesh bound to it."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ...backend.errors import PromptError
from ..apply.falloff import VertexWeights, blended_weights, rigid_weights
from ..apply.vertex_groups import world_scale, write_vertex_groups
from ..mesh_exchange.arrays import (
    FloatArray,
    IntArray,
    corner_vertices,
    edge_vertices,
    triangle_corners,
    vertex_positions,
)
from ..mesh_exchange.selection import only_object
from ..parts import UNASSIGNED, build_polygon_graph, get_part, read_part_ids
from .bones import Bone, lay_bones
from .part_shapes import PartShape, measure_parts
from .part_tree import Border, build_tree
from .symmetry import mirrored_pairs, side_names

MODIFIER = "PartSAM Armature"


@dataclass(frozen=True)
class RigSettings:
    """root: id of the part at the root, 0 for the largest. falloff: half width of the blend of weights
    across borders in world units, 0 for rigid parts. name_sides: rename mirrored parts to .L and .R."""

    root: int = UNASSIGNED
    falloff: float = 0.0
    name_sides: bool = True


def make_armature(
    context: bpy.types.Context, obj: bpy.types.Object, settings: RigSettings | None = None
) -> bpy.types.Object:
    """An armature with a bone per part, which `obj` is parented to and deformed by. Not in Edit mode.

    Bones and vertex groups are called like the parts. An armature that an earlier call made is replaced.
    """
    settings = settings or RigSettings()
    mesh = obj.data
    part_ids = read_part_ids(mesh)
    if not (part_ids != UNASSIGNED).any():
        raise PromptError(f'"{obj.name}" has no parts yet; press Segment first')
    if settings.root:
        get_part(mesh, settings.root)
    if settings.name_sides:
        name_mirrored_parts(obj)
    _remove_earlier(obj)
    frame = _armature_frame(obj)
    to_armature = np.array(frame.inverted_safe() @ obj.matrix_world, dtype=np.float64)
    shapes = _shapes(mesh, part_ids, to_armature)
    root = settings.root or max(sorted(shapes), key=lambda part: shapes[part].area)
    tree = build_tree(shapes, _borders(mesh, part_ids, to_armature), root)
    names = {part.part_id: part.name for part in mesh.partsam.parts}
    armature = _add_armature(context, obj, frame)
    bone_names = _add_bones(context, armature, lay_bones(shapes, tree), names)
    weights = _weights(obj, part_ids, settings.falloff)
    write_vertex_groups(obj, {bone_names[i]: entry for i, entry in weights.items() if i != UNASSIGNED})
    _bind(context, obj, armature)
    return armature


def name_mirrored_parts(obj: bpy.types.Object) -> int:
    """Rename parts that mirror each other across the object's X to .L and .R; how many pairs."""
    mesh = obj.data
    shapes = _shapes(mesh, read_part_ids(mesh), np.eye(4))
    pairs = mirrored_pairs(shapes) if shapes else []
    names = {part.part_id: part.name for part in mesh.partsam.parts}
    renamed = side_names(names, pairs)
    for part_id in renamed:  # free all names first, so that swapped sides do not collide
        get_part(mesh, part_id).name = f"partsam {part_id}"
    for part_id, name in renamed.items():
        get_part(mesh, part_id).name = name
    return len(pairs)


def _shapes(mesh: bpy.types.Mesh, part_ids: IntArray, matrix: FloatArray) -> dict[int, PartShape]:
    """Measures of all parts, in the space that `matrix` leads to."""
    points = _transformed(vertex_positions(mesh), matrix)
    corners, polygons = triangle_corners(mesh)
    labels = part_ids[polygons]
    known = labels != UNASSIGNED
    return measure_parts(points, corner_vertices(mesh)[corners][known], labels[known])


def _borders(mesh: bpy.types.Mesh, part_ids: IntArray, matrix: FloatArray) -> dict[tuple[int, int], Border]:
    """Where parts touch, smaller id first."""
    graph = build_polygon_graph(mesh)
    sides = np.sort(part_ids[graph.pairs], axis=1)
    wanted = (sides[:, 0] != sides[:, 1]) & (sides[:, 0] != UNASSIGNED)
    ends = _transformed(vertex_positions(mesh), matrix)[edge_vertices(mesh)[graph.edges[wanted]]]
    lengths = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
    found = {}
    pairs, inverse = np.unique(sides[wanted], axis=0, return_inverse=True)
    for index, (a, b) in enumerate(pairs.tolist()):
        here = inverse.ravel() == index
        weight = lengths[here] + 1e-30
        center = (ends[here].mean(axis=1) * weight[:, None]).sum(axis=0) / weight.sum()
        found[a, b] = Border(float(lengths[here].sum()), center)
    return found


def _weights(obj: bpy.types.Object, part_ids: IntArray, falloff: float) -> dict[int, VertexWeights]:
    if falloff > 0:
        return blended_weights(obj.data, part_ids, width=falloff, scale=world_scale(obj))
    return rigid_weights(obj.data, part_ids)


def _armature_frame(obj: bpy.types.Object) -> Matrix:
    """The object's place and rotation without its scale: bones are measured in world units."""
    location, rotation, _ = obj.matrix_world.decompose()
    return Matrix.LocRotScale(location, rotation, None)


def _add_armature(context: bpy.types.Context, obj: bpy.types.Object, frame: Matrix) -> bpy.types.Object:
    armature = bpy.data.objects.new(f"{obj.name} Armature", bpy.data.armatures.new(f"{obj.name} Armature"))
    for collection in obj.users_collection or [context.scene.collection]:
        collection.objects.link(armature)
    armature.parent, armature.parent_type = obj.parent, obj.parent_type
    if obj.parent_type == "BONE":
        armature.parent_bone = obj.parent_bone
    context.view_layer.update()
    armature.matrix_world = frame
    armature.show_in_front = True
    context.view_layer.update()
    return armature


def _add_bones(
    context: bpy.types.Context,
    armature: bpy.types.Object,
    bones: dict[int, Bone],
    names: dict[int, str],
) -> dict[int, str]:
    """Make the bones; their names, which Blender may have shortened: vertex groups must match them."""
    with only_object(context, armature):
        bpy.ops.object.mode_set(mode="EDIT")
        try:
            made: dict[int, bpy.types.EditBone] = {}
            for part, bone in bones.items():  # parents come first
                edit_bone = armature.data.edit_bones.new(names[part])
                edit_bone.head, edit_bone.tail = Vector(bone.head), Vector(bone.tail)
                edit_bone.parent = made.get(bone.parent) if bone.parent is not None else None
                made[part] = edit_bone
            return {part: str(edit_bone.name) for part, edit_bone in made.items()}
        finally:
            bpy.ops.object.mode_set(mode="OBJECT")


def _bind(context: bpy.types.Context, obj: bpy.types.Object, armature: bpy.types.Object) -> None:
    """Parent to the armature, without moving, and deform by it before other modifiers."""
    context.view_layer.update()
    outer = obj.matrix_world @ obj.matrix_basis.inverted_safe()
    obj.parent, obj.parent_type = armature, "OBJECT"
    obj.matrix_parent_inverse = armature.matrix_world.inverted_safe() @ outer
    modifier = obj.modifiers.new(MODIFIER, "ARMATURE")
    modifier.object = armature
    obj.modifiers.move(len(obj.modifiers) - 1, 0)
    context.view_layer.update()


def _remove_earlier(obj: bpy.types.Object) -> None:
    """Undo what an earlier call made: modifier, armature and parenting."""
    modifier = obj.modifiers.get(MODIFIER)
    if modifier is None:
        return
    armature = modifier.object
    obj.modifiers.remove(modifier)
    if armature is None or armature.type != "ARMATURE":
        return
    if obj.parent == armature:
        outer = obj.matrix_world @ obj.matrix_basis.inverted_safe()
        obj.parent, obj.parent_type = armature.parent, armature.parent_type
        if armature.parent_type == "BONE":
            obj.parent_bone = armature.parent_bone
        above = armature.matrix_world @ armature.matrix_basis.inverted_safe()
        above = above @ armature.matrix_parent_inverse.inverted_safe()
        obj.matrix_parent_inverse = above.inverted_safe() @ outer
    data = armature.data
    bpy.data.objects.remove(armature)
    if data.users == 0:
        bpy.data.armatures.remove(data)


def _transformed(points: FloatArray, matrix: FloatArray) -> FloatArray:
    return np.nan_to_num(points).astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
