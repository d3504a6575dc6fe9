# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators on the list of parts: what a part is called, how it looks, and which exist."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty, FloatProperty, FloatVectorProperty, StringProperty

from ...backend.errors import PromptError
from ..mesh_exchange import check_editable, object_mode
from ..parts import (
    active_part,
    check_parts,
    clear_parts,
    closest_neighbor,
    cut_labels,
    delete_parts,
    drop_levels,
    get_part,
    merge_checked,
    merge_parts,
    neighbors,
    release_edits,
    remove_small_parts,
    stored_bytes,
    write_labels,
)
from ..parts.repeats import copies_of
from ..wording import say, say_count
from .parts_operator import CopiesOperator, OnePartOperator, PartsOperator, elements
from .reporting import reports_errors
from .swatches import swatch

NEIGHBOR = "NEIGHBOR"

_enum_cache: list[tuple[str, str, str, str | int, int]] = []


class PARTSAM_OT_part_rename(CopiesOperator, bpy.types.Operator):
    """Give the part another name"""

    bl_idname = "partsam.part_rename"
    bl_label = "Rename Part"

    name: StringProperty(name="Name", description="New name of the part", options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        part = active_part(context.object.data)
        if part is not None and not self.part:
            self.name = part.name
        return context.window_manager.invoke_props_dialog(self)

    def draw(self, _context: bpy.types.Context) -> None:
        self.layout.prop(self, "name")
        self.layout.prop(self, "copies")

    def work(self, _context: bpy.types.Context, obj: bpy.types.Object) -> str:
        parts = self.all_parts(obj)
        for part in parts:
            part.name = self.name
        if len(parts) > 1:
            return say('{count} copies are called "{name}"', count=len(parts), name=parts[0].name)
        return say('The part is called "{name}"', name=parts[0].name)


class PARTSAM_OT_part_recolor(CopiesOperator, bpy.types.Operator):
    """Give the part another color"""

    bl_idname = "partsam.part_recolor"
    bl_label = "Recolor Part"

    color: FloatVectorProperty(
        name="Color",
        description="New color of the part",
        subtype="COLOR_GAMMA",
        size=3,
        min=0.0,
        max=1.0,
        default=(0.8, 0.8, 0.8),
    )

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        part = active_part(context.object.data)
        if part is not None and not self.part:
            self.color = part.color
        return context.window_manager.invoke_props_dialog(self)

    def draw(self, _context: bpy.types.Context) -> None:
        self.layout.prop(self, "color")
        self.layout.prop(self, "copies")

    def work(self, _context: bpy.types.Context, obj: bpy.types.Object) -> str:
        parts = self.all_parts(obj)
        for part in parts:
            part.color = self.color
        if len(parts) > 1:
            return say('{count} copies of "{name}" have another color', count=len(parts), name=parts[0].name)
        return say('"{name}" has another color', name=parts[0].name)


def neighbors_or_none(mesh: bpy.types.Mesh, part_id: int) -> list[int]:
    """`parts.neighbors`; empty where the part or its faces are unknown."""
    try:
        return neighbors(mesh, part_id)
    except PromptError:
        return []


def _merge_targets(
    operator: bpy.types.OperatorProperties, context: bpy.types.Context | None
) -> list[tuple[str, str, str, str | int, int]]:
    # Blender keeps no reference to the strings of a dynamic enum: the module does.
    _enum_cache[:] = [(NEIGHBOR, "Neighbor", "The part with the longest common border", "AUTOMERGE_ON", 0)]
    obj = context.object if context is not None else None
    if obj is not None and obj.type == "MESH":
        active = active_part(obj.data)
        own = operator.part or (active.part_id if active is not None else 0)
        parts = [part for part in obj.data.partsam.parts if part.part_id != own and not part.locked]
        if operator.touching:  # looked up before: not to be had in Edit mode
            touching = [int(number) for number in operator.touching.split()]
        else:
            touching = [] if obj.data.is_editmode else neighbors_or_none(obj.data, own)
        near = {part_id: place for place, part_id in enumerate(touching)}
        parts.sort(key=lambda part: (near.get(part.part_id, len(near)), -part.area, part.part_id))
        _enum_cache.extend(
            (
                str(part.part_id),
                part.name,
                say("It touches the part") if part.part_id in near else say("It does not touch the part"),
                swatch(part.color),
                part.part_id,
            )
            for part in parts
        )
    return _enum_cache


class PARTSAM_OT_part_merge(OnePartOperator, bpy.types.Operator):
    """Give all faces of the part to another part"""

    bl_idname = "partsam.part_merge"
    bl_label = "Merge Part With"
    bl_property = "into"

    into: EnumProperty(
        name="Into", description="Part that gets the faces", items=_merge_targets, options={"SKIP_SAVE"}
    )

    touching: StringProperty(
        options={"HIDDEN", "SKIP_SAVE"}, description="Ids of the neighbors, nearest first"
    )

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        return self.offer(context)

    @reports_errors
    def offer(self, context: bpy.types.Context) -> set[str]:
        """Let the user choose, neighbors first, whatever mode the object is in."""
        obj = context.object
        check_editable(obj)
        with object_mode(context, obj):
            self.enter(obj)
            self.touching = " ".join(map(str, neighbors_or_none(obj.data, self.part_id(obj))))
        context.window_manager.invoke_search_popup(self)
        return {"RUNNING_MODAL"}

    def work(self, _context: bpy.types.Context, obj: bpy.types.Object) -> str:
        mesh, part_id = obj.data, self.part_id(obj)
        name = get_part(mesh, part_id).name
        into = closest_neighbor(mesh, part_id) if self.into == NEIGHBOR else int(self.into)
        merge_parts(mesh, part_id, into)
        return say('Merged "{name}" into "{into}"', name=name, into=get_part(mesh, into).name)


class PARTSAM_OT_parts_check(PartsOperator, bpy.types.Operator):
    """Check parts in the list"""

    bl_idname = "partsam.parts_check"
    bl_label = "Check Parts"

    action: EnumProperty(
        name="Action",
        description="Which parts become checked",
        items=(
            ("ALL", "All", "Check all parts"),
            ("NONE", "None", "Check no part"),
            ("COPIES", "Copies", "Check the active part and its copies, and no others"),
        ),
    )

    def work(self, _context: bpy.types.Context, obj: bpy.types.Object) -> str:
        active, chosen = active_part(obj.data), [part.part_id for part in obj.data.partsam.parts]
        if self.action == "NONE":
            chosen = []
        elif self.action == "COPIES":
            chosen = [part.part_id for part in copies_of(obj.data, active)] if active is not None else []
        check_parts(obj.data, chosen)
        return say_count(len(chosen), "One part is checked", "{count} parts are checked")


class PARTSAM_OT_parts_merge_checked(PartsOperator, bpy.types.Operator):
    """Make one part of all parts checked in the list: the active one if it is checked, else the largest"""

    bl_idname = "partsam.parts_merge_checked"
    bl_label = "Merge Checked Parts"

    def work(self, _context: bpy.types.Context, obj: bpy.types.Object) -> str:
        count, into = merge_checked(obj.data)
        name = get_part(obj.data, into).name
        return say('{count} parts are merged into "{name}"', count=count, name=name)


class PARTSAM_OT_part_delete(CopiesOperator, bpy.types.Operator):
    """Remove the part from the list; its faces go to the parts around it"""

    bl_idname = "partsam.part_delete"
    bl_label = "Delete Part"

    def work(self, _context: bpy.types.Context, obj: bpy.types.Object) -> str:
        names = {part.part_id: part.name for part in self.all_parts(obj)}
        delete_parts(obj.data, names.keys())
        message = 'Deleted "{name}"; its faces belong to its neighbors'
        if all(part.locked for part in obj.data.partsam.parts):
            message = 'Deleted "{name}"; no unlocked part is left, so its faces are in none'
        return say(message, name='", "'.join(names.values()))


class PARTSAM_OT_part_lock(CopiesOperator, bpy.types.Operator):
    """Keep the part's faces when the mesh is segmented again or other parts are edited"""

    bl_idname = "partsam.part_lock"
    bl_label = "Lock Part"

    action: EnumProperty(
        name="Action",
        description="What to do with the lock",
        items=(
            ("TOGGLE", "Toggle", "Lock an unlocked part and the reverse"),
            ("LOCK", "Lock", "Lock the part"),
            ("UNLOCK", "Unlock", "Unlock the part"),
        ),
    )

    def work(self, _context: bpy.types.Context, obj: bpy.types.Object) -> str:
        parts = self.all_parts(obj)
        part = get_part(obj.data, self.part_id(obj))
        locked = not part.locked if self.action == "TOGGLE" else self.action == "LOCK"
        for one in parts:
            one.locked = locked
        message = '"{name}" is locked' if part.locked else '"{name}" is unlocked'
        return say(message, name=part.name)


class PARTSAM_OT_parts_remove_small(PartsOperator, bpy.types.Operator):
    """Give parts that are too small to the parts around them. Locked parts and those by hand stay"""

    bl_idname = "partsam.parts_remove_small"
    bl_label = "Remove Small Parts"
    bl_options = {"REGISTER", "UNDO", "PRESET"}

    share: FloatProperty(
        name="Below",
        description="Share of the mesh's surface below which a part is removed",
        default=0.005,
        min=0.0,
        max=1.0,
        soft_max=0.1,
        precision=4,
        subtype="FACTOR",
    )

    def work(self, _context: bpy.types.Context, obj: bpy.types.Object) -> str:
        count = remove_small_parts(obj.data, self.share)
        left = len(obj.data.partsam.parts)
        removed = say_count(count, "One small part is removed", "{count} small parts are removed")
        return f"{removed}; {say_count(left, 'one is left', '{count} are left')}"


class PARTSAM_OT_parts_release(PartsOperator, bpy.types.Operator):
    """Let Granularity decide again on what was made, merged or deleted by hand"""

    bl_idname = "partsam.parts_release"
    bl_label = "Discard Edits by Hand"
    needs_parts = False

    def work(self, _context: bpy.types.Context, obj: bpy.types.Object) -> str:
        count = release_edits(obj.data)
        if not count:
            return say("Nothing was done by hand")
        for level in obj.data.partsam.levels:
            labels, confidences = cut_labels(obj.data, level, level.granularity)
            write_labels(obj.data, labels, confidences=confidences, by_size=True)
        return say("Granularity decides again on {elements}", elements=elements(obj.data, count))


class PARTSAM_OT_tree_drop(PartsOperator, bpy.types.Operator):
    """Forget the part tree stored with the mesh: the parts stay, but Granularity cannot cut them any more"""

    bl_idname = "partsam.tree_drop"
    bl_label = "Forget Part Tree"
    needs_parts = False

    def work(self, _context: bpy.types.Context, obj: bpy.types.Object) -> str:
        size = stored_bytes(obj.data)
        drop_levels(obj.data)
        return say(
            '"{name}" is {size:.1f} MiB smaller; segment it again to move Granularity',
            name=obj.name,
            size=size / 2**20,
        )


class PARTSAM_OT_parts_clear(PartsOperator, bpy.types.Operator):
    """Forget all parts of the mesh; the mesh itself stays as it is"""

    bl_idname = "partsam.parts_clear"
    bl_label = "Clear Parts"
    needs_parts = False

    def work(self, _context: bpy.types.Context, obj: bpy.types.Object) -> str:
        clear_parts(obj.data)
        return say('"{name}" has no parts any more', name=obj.name)


classes: tuple[type, ...] = (
    PARTSAM_OT_part_rename,
    PARTSAM_OT_part_recolor,
    PARTSAM_OT_part_merge,
    PARTSAM_OT_parts_check,
    PARTSAM_OT_parts_merge_checked,
    PARTSAM_OT_part_delete,
    PARTSAM_OT_part_lock,
    PARTSAM_OT_parts_remove_small,
    PARTSAM_OT_parts_release,
    PARTSAM_OT_tree_drop,
    PARTSAM_OT_parts_clear,
)
