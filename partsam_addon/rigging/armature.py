# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's armature from parts, and the mesh bound to it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ...backend.errors import PromptError
from ..apply.falloff import Connectivity, VertexWeights, blended_weights, rigid_weights
from ..apply.ownership import forget_made, read_made, write_made
from ..apply.vertex_groups import (
    OwnGroups,
    WrittenGroups,
    follow_renamed,
    own_names,
    own_places,
    user_groups,
    world_scale,
    write_vertex_groups,
)
from ..mesh_exchange.arrays import FloatArray
from ..parts import UNASSIGNED, get_part, read_part_ids, rename_parts
from ..wording import say
from .armature_bones import write_bones
from .bones import Bone, lay_bones
from .part_joints import LabeledSurface, RootRule, joint_parts, measure
from .symmetry import mirrored_pairs, side_names

MODIFIER = "PartSAM Armature"

_RIG = "rig"
"""On an object and its armature: the same text, unlike any other."""


@dataclass(frozen=True)
class RigSettings:
    """How to rig.

    root: id of the part at the root, 0: `rule` chooses
    falloff: half width of the blend of weights across borders in world units, 0 for rigid parts
    smallest: parts with less than this share of the area get no bone and go with a neighbour
    name_sides: rename mirrored parts to .L and .R
    beside: bind the mesh although an armature of the user deforms it
    """

    root: int = UNASSIGNED
    rule: RootRule = "LARGEST"
    falloff: float = 0.0
    smallest: float = 0.0
    name_sides: bool = True
    beside: bool = False


@dataclass(frozen=True)
class Rigged:
    """The armature, and what became of the vertex groups."""

    armature: bpy.types.Object
    groups: WrittenGroups


def check_riggable(context: bpy.types.Context, obj: bpy.types.Object, settings: RigSettings) -> None:
    """Raise PromptError where `make_armature` cannot do it, or would bind the mesh twice."""
    mesh = obj.data
    if not (read_part_ids(mesh) != UNASSIGNED).any():
        raise PromptError(say('"{name}" has no parts yet; press Segment first', name=obj.name))
    if settings.root:
        get_part(mesh, settings.root)
    own = own_armature(obj)
    if own is not None and own.name not in context.view_layer.objects:
        raise PromptError(
            say('The armature of "{name}" is not in this view layer; enable its collection', name=obj.name)
        )
    foreign = _foreign_armature(obj, own)
    if foreign is not None and not settings.beside:
        raise PromptError(
            say(
                '"{name}" is bound to the armature "{other}" already; remove its '
                'Armature modifier or parent first, or choose "Beside Other Armatures"',
                name=obj.name,
                other=foreign.name,
            )
        )


def make_armature(
    context: bpy.types.Context, obj: bpy.types.Object, settings: RigSettings | None = None
) -> Rigged:
    """An armature with a bone per part, which `obj` is parented to and deformed by. Not in Edit mode.

    Bones and vertex groups are called like the parts. An armature that an earlier call made is brought
    up to date: bones that were moved by hand, and those that were added, stay as they are.
    """
    settings = settings or RigSettings()
    check_riggable(context, obj, settings)
    task = RigTask.read(obj, settings)
    return write_armature(context, obj, task, task.calculate())


@dataclass(frozen=True)
class Frame:
    """to_armature: float64 [4, 4], from the object's space to the armature's; up: float64 [3], in that"""

    to_armature: FloatArray
    up: FloatArray

    @classmethod
    def of(cls, obj: bpy.types.Object, armature: Matrix) -> Frame:
        """armature: the world matrix that it has, or will have"""
        to_armature = np.array(armature.inverted_safe() @ obj.matrix_world, dtype=np.float64)
        return cls(to_armature, np.array(armature.to_3x3().inverted_safe() @ Vector((0, 0, 1))))

    def is_close(self, other: Frame) -> bool:
        """Whether bones that were laid in one lie right in the other."""
        size = max(1.0, float(np.abs(self.to_armature).max()))
        pairs = ((self.to_armature, other.to_armature), (self.up, other.up))
        return all(np.allclose(*pair, rtol=0, atol=1e-6 * size) for pair in pairs)


@dataclass(frozen=True)
class RigParts:
    """What is calculated for an armature: parts that mirror each other, bones, and weights by part id."""

    pairs: list[tuple[int, int]]
    bones: dict[int, Bone]
    weights: dict[int, VertexWeights]


@dataclass(frozen=True)
class RigTask:
    """What an armature is calculated from, read from an object; the calculation needs no Blender data.

    root: id of the part at the root, 0: the rule chooses; scale: float64 [3, 3], of the world matrix
    """

    settings: RigSettings
    surface: LabeledSurface
    connectivity: Connectivity
    frame: Frame
    root: int
    scale: FloatArray

    @classmethod
    def read(cls, obj: bpy.types.Object, settings: RigSettings) -> RigTask:
        """Not in Edit mode."""
        mesh, own = obj.data, own_armature(obj)
        frame = Frame.of(obj, _armature_frame(obj) if own is None else own.matrix_world)
        active = _active_id(mesh) if settings.rule == "ACTIVE" else UNASSIGNED
        surface, connectivity = LabeledSurface.read(mesh), Connectivity.read(mesh)
        return cls(settings, surface, connectivity, frame, settings.root or active, world_scale(obj))

    def calculate(self) -> RigParts:
        """Bones and weights."""
        settings, frame = self.settings, self.frame
        pairs = _mirrored(self.surface) if settings.name_sides else []
        parts = joint_parts(
            self.surface,
            frame.to_armature,
            root=self.root,
            rule=settings.rule,
            up=frame.up,
            smallest=settings.smallest,
        )
        if settings.falloff > 0:
            weights = blended_weights(
                self.connectivity, parts.part_ids, width=settings.falloff, scale=self.scale
            )
        else:
            weights = rigid_weights(self.connectivity, parts.part_ids)
        weights.pop(UNASSIGNED, None)
        return RigParts(pairs, lay_bones(parts.shapes, parts.tree, up=frame.up), weights)


def write_armature(
    context: bpy.types.Context,
    obj: bpy.types.Object,
    task: RigTask,
    parts: RigParts,
    *,
    own: OwnGroups | None = None,
) -> Rigged:
    """Make what was calculated, or bring it up to date. own: what `own_groups` has read already"""
    mesh = obj.data
    _rename_pairs(mesh, parts.pairs)
    armature = own_armature(obj)
    is_new = armature is None
    if armature is None:
        armature = _add_armature(context, obj, _armature_frame(obj))
    frame = Frame.of(obj, armature.matrix_world)
    if not task.frame.is_close(frame):  # moved meanwhile, or its parent allows no such place
        parts = replace(task, frame=frame, scale=world_scale(obj)).calculate()
    names = {part.part_id: part.name for part in mesh.partsam.parts}
    places = own_places(obj)
    bone_names = write_bones(context, armature, parts.bones, names, taken=user_groups(obj))
    follow_renamed(obj, places, bone_names)
    if own is not None:
        own = replace(own, names=own_names(obj))
    groups = write_vertex_groups(obj, bone_names, parts.weights, own=own)
    if is_new:
        _bind(context, obj, armature)
    return Rigged(armature, groups)


def name_mirrored_parts(obj: bpy.types.Object) -> int:
    """Rename parts that mirror each other across the object's X to .L and .R; how many pairs.

    Pairs with names of their own (see `side_names`) keep them and are not counted.
    """
    return _rename_pairs(obj.data, _mirrored(LabeledSurface.read(obj.data)))


def _mirrored(surface: LabeledSurface) -> list[tuple[int, int]]:
    shapes = measure(surface, np.eye(4))
    return mirrored_pairs(shapes) if shapes else []


def _rename_pairs(mesh: bpy.types.Mesh, pairs: list[tuple[int, int]]) -> int:
    """How many pairs have names with sides now."""
    names = side_names({part.part_id: part.name for part in mesh.partsam.parts}, pairs)
    rename_parts(mesh, names)
    return len(names) // 2


def own_armature(obj: bpy.types.Object) -> bpy.types.Object | None:
    """The armature that an earlier call made for `obj`; None for a copy of the object it was made for."""
    modifier = obj.modifiers.get(MODIFIER)
    rig = None if modifier is None else modifier.object
    tag = read_made(obj, _RIG)
    if rig is None or rig.type != "ARMATURE" or tag is None or read_made(rig, _RIG) != tag:
        return None
    if not rig.is_editable or any(
        o != obj and o.type == "MESH" and read_made(o, _RIG) == tag for o in bpy.data.objects
    ):
        return None
    return rig


def forget_rig(copy: bpy.types.Object) -> None:
    """Let a copy of a rigged object not count as the one for which the armature was made."""
    forget_made(copy, _RIG)


def _foreign_armature(obj: bpy.types.Object, own: bpy.types.Object | None) -> bpy.types.Object | None:
    """An armature of the user that deforms `obj`."""
    found = [m.object for m in obj.modifiers if m.type == "ARMATURE" and m.object is not None]
    if obj.parent is not None and obj.parent_type == "ARMATURE":
        found.append(obj.parent)
    return next((armature for armature in found if armature != own), None)


def _active_id(mesh: bpy.types.Mesh) -> int:
    parts, index = mesh.partsam.parts, mesh.partsam.active_index
    return int(parts[index].part_id) if 0 <= index < len(parts) else UNASSIGNED


def _armature_frame(obj: bpy.types.Object) -> Matrix:
    """The object's place and rotation without its scale: bones are measured in world units."""
    location, rotation, _ = obj.matrix_world.decompose()
    return Matrix.LocRotScale(location, rotation, None)


def _add_armature(context: bpy.types.Context, obj: bpy.types.Object, frame: Matrix) -> bpy.types.Object:
    armature = bpy.data.objects.new(f"{obj.name} Armature", bpy.data.armatures.new(f"{obj.name} Armature"))
    layer = context.view_layer
    homes = [home for home in obj.users_collection if _is_in_layer(layer.layer_collection, home)]
    for collection in homes or [context.scene.collection]:
        collection.objects.link(armature)
    armature.parent, armature.parent_type = obj.parent, obj.parent_type
    if obj.parent_type == "BONE":
        armature.parent_bone = obj.parent_bone
    layer.update()
    armature.matrix_world = frame
    armature.show_in_front = True
    layer.update()
    return armature


def _is_in_layer(layer: bpy.types.LayerCollection, collection: bpy.types.Collection) -> bool:
    """Whether objects of `collection` can be worked on in this view layer."""
    if layer.collection == collection:
        return not layer.exclude
    return any(_is_in_layer(child, collection) for child in layer.children)


def _bind(context: bpy.types.Context, obj: bpy.types.Object, armature: bpy.types.Object) -> None:
    """Parent to the armature, without moving, and deform by it before other modifiers."""
    context.view_layer.update()
    tag = uuid.uuid4().hex
    write_made(obj, _RIG, tag)
    write_made(armature, _RIG, tag)
    outer = obj.matrix_world @ obj.matrix_basis.inverted_safe()
    obj.parent, obj.parent_type = armature, "OBJECT"
    obj.matrix_parent_inverse = armature.matrix_world.inverted_safe() @ outer
    old = obj.modifiers.get(MODIFIER)
    if old is not None and old.object is None:
        obj.modifiers.remove(old)  # ours, whose armature is gone
    modifier = obj.modifiers.new(MODIFIER, "ARMATURE")
    modifier.object = armature
    obj.modifiers.move(len(obj.modifiers) - 1, 0)
    context.view_layer.update()
