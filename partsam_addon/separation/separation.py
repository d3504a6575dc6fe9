# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts as separate objects that keep all that the original had.

Blender's own separate takes minutes on a large mesh with many parts; here each part's mesh is built from
arrays, in time proportional to its size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ...backend.errors import PromptError
from ..mesh_exchange.elements import is_cloud, remove_integers
from ..parts import UNASSIGNED, parts_by_id, read_part_ids
from ..parts.attributes import ORIGIN_ATTRIBUTE, TREE_ATTRIBUTE, mark_origin
from ..parts.memory import MEMORY_ATTRIBUTE, automatic_name
from ..parts.repeats import repeat_groups
from ..parts.revision import REVISION_ATTRIBUTE
from ..parts.schema import PARTSAM_PG_part
from ..parts.snapshots import unnoticed
from ..rigging.armature import forget_rig
from ..rigging.part_joints import joint_places
from ..view import show_all_parts
from ..view.state import reset_view
from ..wording import say
from .caps import cap_holes, split_edges
from .hierarchy import Grouping, arrange, homes_of, place_part, replace_original
from .layers import (
    DEFORMERS,
    MeshLayers,
    drop_unused_slots,
    groups_of_every_part,
    read_layers,
    write_attributes,
    write_weights,
)
from .linking import BuiltPart, link_copies
from .part_mesh import fill_mesh, part_template, write_shape_keys
from .topology import (
    PartTopology,
    WholeMesh,
    empty_topology,
    has_loose_elements,
    split_by_part,
    split_points,
    with_loose_elements,
)

Origin = Literal["CENTER", "JOINT", "KEEP"]

CAP_ATTRIBUTE = "partsam_cap"
"""Face attribute (bool) of separated parts: the face closes a hole that splitting left."""

_OF_THE_WHOLE = (TREE_ATTRIBUTE, MEMORY_ATTRIBUTE, ORIGIN_ATTRIBUTE, REVISION_ATTRIBUTE)
"""Face attributes that say something about the undivided mesh only."""

ORIGIN_BOUND = {"MIRROR", "SIMPLE_DEFORM", "CAST", "WAVE", "SCREW", "ARRAY", "WARP", "HOOK"}
"""Modifiers whose effect depends on where the object's origin lies."""

WHOLE_MESH_BOUND = {
    "MULTIRES",
    "SURFACE_DEFORM",
    "MESH_DEFORM",
    "LAPLACIANDEFORM",
    "CLOTH",
    "SOFT_BODY",
    "PARTICLE_SYSTEM",
    "PARTICLE_INSTANCE",
    "FLUID",
    "OCEAN",
    "EXPLODE",
    "DYNAMIC_PAINT",
}
"""Modifiers whose stored data belong to the undivided mesh; they are left out."""


@dataclass(frozen=True)
class SeparateSettings:
    """How to separate.

    grouping: EMPTY (under an empty that takes the original's place), COLLECTION, or NONE
    origin: each part's at the middle of its bounding box (CENTER), at the joint with the part that it
        hangs on (JOINT), or where the original's is (KEEP)
    cap: close the holes
    keep_shading: store the normals of a mesh without custom ones, so that borders look as before
    drop_unused: leave out material slots and vertex groups that a part does not use
    link_copies: parts that are exact copies (see `parts.repeats`) share one mesh
    remove_original: delete the original instead of hiding it
    """

    grouping: Grouping = "EMPTY"
    origin: Origin = "CENTER"
    cap: bool = False
    keep_shading: bool = False
    drop_unused: bool = False
    link_copies: bool = False
    remove_original: bool = False


@dataclass(frozen=True)
class Separated:
    """The new objects in the order of the list of parts, what was in no part last; and what was not kept.

    linked: how many copies share the mesh of another one; unlinked: sentences about those that do not
    """

    objects: list[bpy.types.Object]
    dropped: list[str]
    linked: int = 0
    unlinked: list[str] = field(default_factory=list)


def check_separable(context: bpy.types.Context, obj: bpy.types.Object, settings: SeparateSettings) -> None:
    """Raise PromptError where `separate_parts` would find nothing to do, or lose work."""
    count = len(np.unique(read_part_ids(obj.data)))
    cloud = is_cloud(obj.data)
    if count + int(not cloud and has_loose_elements(WholeMesh.read(obj.data))) < 2:
        raise PromptError(say('"{name}" is a single part; there is nothing to separate', name=obj.name))
    if not homes_of(context, obj):
        raise PromptError(say('"{name}" is in no collection of a scene; link it to one first', name=obj.name))
    if cloud:
        _check_cloud(obj, settings)
    elif settings.link_copies:
        _check_linkable(obj, settings)
    sculpted = next((m.name for m in obj.modifiers if m.type == "MULTIRES"), None)
    if settings.remove_original and sculpted is not None:
        raise PromptError(
            say(
                '"{name}" has the sculpt of the modifier "{sculpted}", which its parts '
                "cannot keep; apply the modifier first, or let the original be hidden",
                name=obj.name,
                sculpted=sculpted,
            )
        )


def separate_parts(
    context: bpy.types.Context, obj: bpy.types.Object, settings: SeparateSettings | None = None
) -> Separated:
    """Make an object of each part of `obj`. Not in Edit mode. PromptError where `check_separable` says so."""
    settings = settings or SeparateSettings()
    check_separable(context, obj, settings)
    show_all_parts(obj)  # else the parts would come with hidden faces
    reset_view(obj)
    part_ids = read_part_ids(obj.data)
    whole = WholeMesh.read(obj.data)
    layers = read_layers(obj, keep_shading=settings.keep_shading)
    place = arrange(context, obj, settings.grouping)
    keeps_origin = settings.origin == "KEEP" or _origin_matters(obj, moved_by_empty=place.empty is not None)
    joints = joint_places(obj.data) if settings.origin == "JOINT" and not keeps_origin else {}
    groups = set[str]() if settings.drop_unused else groups_of_every_part(obj)
    template = part_template(obj, layers=layers.layers, groups=groups)
    known = parts_by_id(obj.data)
    objects, dropped, lost_normals = [], _dropped(obj, layers) + place.left_out, 0
    built: dict[int, BuiltPart] = {}
    split = _point_topologies if is_cloud(obj.data) else _topologies
    for part_id, topology in split(whole, part_ids, cap=settings.cap):
        center = Vector((0, 0, 0)) if keeps_origin else joints.get(part_id) or _center(whole, topology)
        described = known.get(part_id)
        mesh, lost = _build_mesh(obj, template, described, whole, layers, topology, center)
        lost_normals += lost
        part = obj.copy()
        part.data = mesh
        forget_rig(part)
        part.name = _name(obj, described)
        place_part(obj, part, place, Matrix.Translation(center))
        write_weights(obj, part, layers, topology)
        dropped += write_shape_keys(obj, part, layers.shape_keys, topology, np.array(center))
        _drop_modifiers(part)
        if settings.drop_unused:
            drop_unused_slots(part)
        objects.append(part)
        built[part_id] = BuiltPart(part, topology, center)
    linked, unlinked = 0, list[str]()
    if settings.link_copies:
        linked, unlinked = link_copies(built, repeat_groups(obj.data), whole, layers)
    if lost_normals:
        dropped.append(f"custom normals of {lost_normals} corners of faces without extent")
    bpy.data.meshes.remove(template)
    replace_original(context, obj, place, objects, remove=settings.remove_original)
    return Separated(objects, list(dict.fromkeys(dropped)), linked, unlinked)


def _check_cloud(obj: bpy.types.Object, settings: SeparateSettings) -> None:
    """Raise PromptError where something is wanted that takes faces."""
    wanted = {
        "Cap Holes": settings.cap,
        "Linked Copies": settings.link_copies,
        "the joint as origin": settings.origin == "JOINT",
    }
    for what in (name for name, is_wanted in wanted.items() if is_wanted):
        raise PromptError(
            say(
                '"{name}" is a point cloud, and {what} needs faces; choose otherwise',
                name=obj.name,
                what=say(what),
            )
        )


def _check_linkable(obj: bpy.types.Object, settings: SeparateSettings) -> None:
    """Raise PromptError where copies cannot share a mesh."""
    deformers = [m.name for m in obj.modifiers if m.type in DEFORMERS]
    if not repeat_groups(obj.data):
        problem = say('"{name}" has no copies that are known; press Find Copies first', name=obj.name)
    elif obj.data.shape_keys is not None or deformers:
        problem = say(
            '"{name}" is deformed by {what}, for each copy in another way; leave Linked Copies off',
            name=obj.name,
            what=say('the modifier "{name}"', name=deformers[0]) if deformers else say("shape keys"),
        )
    elif settings.origin == "KEEP" or _origin_matters(obj, moved_by_empty=settings.grouping == "EMPTY"):
        problem = say(
            '"{name}" needs its origin where it is (Origins, modifiers, animation); linked copies have '
            "their own",
            name=obj.name,
        )
    else:
        return
    raise PromptError(problem)


def _point_topologies(whole: WholeMesh, part_ids: np.ndarray, *, cap: bool) -> list[tuple[int, PartTopology]]:
    """The same of a point cloud; there is nothing to cap."""
    found = dict(split_points(whole, part_ids))
    rest = found.pop(UNASSIGNED, None)
    return [*found.items(), *([(UNASSIGNED, rest)] if rest is not None else [])]


def _topologies(whole: WholeMesh, part_ids: np.ndarray, *, cap: bool) -> list[tuple[int, PartTopology]]:
    """Each part's id and topology; the unassigned one takes the loose elements and comes last."""
    split = split_edges(whole, part_ids) if cap else None
    found = dict(split_by_part(whole, part_ids))
    if split is not None:
        found = {part_id: cap_holes(whole, topology, split) for part_id, topology in found.items()}
    rest = found.pop(UNASSIGNED, None)
    if has_loose_elements(whole):
        rest = with_loose_elements(whole, rest or empty_topology())
    return [*found.items(), *([(UNASSIGNED, rest)] if rest is not None else [])]


def _build_mesh(
    obj: bpy.types.Object,
    template: bpy.types.Mesh,
    described: PARTSAM_PG_part | None,
    whole: WholeMesh,
    layers: MeshLayers,
    topology: PartTopology,
    center: Vector,
) -> tuple[bpy.types.Mesh, int]:
    """The part's mesh, and at how many corners its normals could not be kept.

    described: its row in the table; None for what is in no part
    """
    mesh = template.copy()
    fill_mesh(mesh, whole.positions[topology.vertices] - np.array(center, dtype=np.float32), topology)
    lost_normals = write_attributes(mesh, layers, topology)
    if topology.caps:
        flags = np.zeros(len(topology.polygons), dtype=bool)
        flags[len(flags) - topology.caps :] = True
        mesh.attributes.new(CAP_ATTRIBUTE, "BOOLEAN", "FACE").data.foreach_set("value", flags)
    _restore_active_layers(obj.data, mesh)
    mesh.name = _name(obj, described)
    remove_integers(mesh, *_OF_THE_WHOLE)
    if described is not None:
        _describe(described, mesh)
        mark_origin(mesh)
    return mesh, lost_normals


def _name(obj: bpy.types.Object, described: PARTSAM_PG_part | None) -> str:
    return f"{obj.name} Rest" if described is None else described.name


def _describe(source: PARTSAM_PG_part, mesh: bpy.types.Mesh) -> None:
    """Give the mesh a table with this part alone."""
    part = mesh.partsam.parts.add()
    part.part_id = source.part_id
    with unnoticed(mesh.partsam):
        part.name, part.automatic_name = source.name, automatic_name(source)
        part.color = source.color
        part.locked, part.confidence = source.locked, source.confidence
    part.face_count, part.area = source.face_count, source.area
    part.by_hand = source.by_hand


def _restore_active_layers(source: bpy.types.Mesh, mesh: bpy.types.Mesh) -> None:
    if source.uv_layers.active is not None:
        mesh.uv_layers.active_index = mesh.uv_layers.find(source.uv_layers.active.name)
    for layer in source.uv_layers:
        if layer.active_render:
            mesh.uv_layers[layer.name].active_render = True
    colors = source.color_attributes
    if colors.active_color is not None:
        mesh.color_attributes.active_color = mesh.color_attributes[colors.active_color.name]
    if 0 <= colors.render_color_index < len(colors):
        name = colors[colors.render_color_index].name
        mesh.color_attributes.render_color_index = mesh.color_attributes.find(name)


def _center(whole: WholeMesh, topology: PartTopology) -> Vector:
    positions = whole.positions[topology.vertices]
    if not np.isfinite(positions).all():
        positions = positions[np.isfinite(positions).all(axis=1)]
    if len(positions) == 0:
        return Vector((0, 0, 0))
    columns = positions.T  # each by itself: along rows numpy takes three times as long
    return Vector([(float(column.min()) + float(column.max())) / 2 for column in columns])


def _origin_matters(obj: bpy.types.Object, *, moved_by_empty: bool) -> bool:
    """Whether another origin would change the look: through modifiers, or constraints and animation."""
    if not moved_by_empty and (len(obj.constraints) or obj.animation_data is not None):
        return True
    return any(
        modifier.type in ORIGIN_BOUND and not getattr(modifier, "mirror_object", None)
        for modifier in obj.modifiers
    )


def _drop_modifiers(part: bpy.types.Object) -> None:
    for modifier in list(part.modifiers):
        if modifier.type in WHOLE_MESH_BOUND:
            part.modifiers.remove(modifier)


def _dropped(obj: bpy.types.Object, layers: MeshLayers) -> list[str]:
    names = [f'modifier "{m.name}"' for m in obj.modifiers if m.type in WHOLE_MESH_BOUND]
    return names + [f'attribute "{name}"' for name in layers.unread]
