# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel with the parts of the active mesh: sliders, list, and what can be done with a part."""

from __future__ import annotations

import bpy

from ..constants import LIVE_REFINE_FACES, PART_ATTRIBUTE
from ..mesh_exchange.elements import hides_points, is_cloud
from ..operators.parts_operator import HIDDEN_POINTS, elements
from ..parts import active_part, driven_level, get_part, has_edits, has_parts, is_outdated, stored_bytes
from ..parts.repeats import copies_of
from ..session import get_session
from ..view import isolated_part
from ..wording import say
from .list_rows import confidence_text
from .panels import SidebarPanel
from .text import draw_text


class PARTSAM_PT_parts(SidebarPanel, bpy.types.Panel):
    bl_label = "Parts"
    bl_order = 1

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.object is not None and context.object.type == "MESH"

    def draw(self, context: bpy.types.Context) -> None:
        obj, layout = context.object, self.layout
        if not has_parts(obj.data):
            layout.label(text="Not segmented yet", icon="INFO")
            draw_hidden_points(layout, obj.data)
            return
        if not obj.data.is_editmode and is_outdated(obj.data):
            get_session().count_again(obj)
        draw_sliders(layout, context)
        row = layout.row()
        table = obj.data.partsam
        row.template_list("PARTSAM_UL_parts", "", table, "parts", table, "active_index", rows=9)
        draw_part_buttons(row.column(align=True), obj)
        part = active_part(obj.data)
        if part is not None:
            draw_part_details(layout, obj.data, part)
            draw_isolation(layout, obj, part)
        draw_hidden_points(layout, obj.data)


class PARTSAM_MT_parts(bpy.types.Menu):
    bl_label = "Parts"

    def draw(self, context: bpy.types.Context) -> None:
        layout, mesh = self.layout, context.object.data
        layout.operator("partsam.part_assign_selected")
        layout.operator("partsam.part_select", icon="RESTRICT_SELECT_OFF")
        layout.separator()
        layout.operator("partsam.parts_merge_checked", icon="CHECKBOX_HLT")
        layout.operator("partsam.parts_check", text="Check All").action = "ALL"
        layout.operator("partsam.parts_check", text="Check None").action = "NONE"
        layout.separator()
        layout.operator("partsam.part_rename")
        layout.operator("partsam.part_lock")
        layout.separator()
        draw_copies(layout, mesh)
        layout.separator()
        row = layout.row()
        row.enabled = has_edits(mesh) or mesh.is_editmode
        row.operator("partsam.parts_release", icon="LOOP_BACK")
        size = f"{stored_bytes(mesh) / 2**20:.1f}"
        layout.operator("partsam.tree_drop", text=say("Forget Part Tree ({size} MiB)", size=size))
        layout.operator("partsam.parts_clear", icon="X")


def draw_copies(layout: bpy.types.UILayout, mesh: bpy.types.Mesh) -> None:
    """What can be done with all copies of the active part together."""
    layout.operator("partsam.find_repeats", icon="MOD_ARRAY")
    part = active_part(mesh)
    count = 0 if part is None else len(copies_of(mesh, part))
    if count < 2:
        return
    layout.operator("partsam.part_rename", text=say("Rename {count} Copies", count=count)).copies = True
    layout.operator("partsam.part_recolor", text=say("Recolor {count} Copies", count=count)).copies = True
    layout.operator("partsam.part_select", text=say("Select {count} Copies", count=count)).copies = True
    layout.operator("partsam.part_lock", text=say("Lock {count} Copies", count=count)).copies = True
    layout.operator("partsam.parts_check", text=say("Check {count} Copies", count=count)).action = "COPIES"


def draw_hidden_points(layout: bpy.types.UILayout, mesh: bpy.types.Mesh) -> None:
    """That points have parts which are not in the list, if so, and how to get at them."""
    if hides_points(mesh, PART_ATTRIBUTE):
        draw_text(layout, say(HIDDEN_POINTS), icon="INFO")


def draw_sliders(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Granularity and refinement of what the active part's row belongs to, and what that is."""
    sliders, mesh = context.window_manager.partsam, context.object.data
    level = driven_level(mesh)
    held = None if level is None else get_session().held.get(level.tree_id)
    title = level.title if level is not None else ""
    column = layout.column(align=True)
    column.enabled = level is not None
    column.prop(
        sliders,
        "granularity",
        text=say("Granularity of {title}", title=title) if title else "Granularity",
        slider=True,
    )
    column.operator("partsam.cut_to_count", text="Number of Parts...")
    row = column.row(align=True)
    row.enabled = held is not None
    row.prop(sliders, "refine", text="", icon="SMOOTHCURVE")
    strength = row.row(align=True)
    strength.active = sliders.refine
    strength.prop(sliders, "strength", text="Refine", slider=True)
    if held is not None and held.shape_faces > LIVE_REFINE_FACES and sliders.refine:
        layout.operator("partsam.cut", text="Refine Borders", icon="SMOOTHCURVE")


def draw_part_buttons(column: bpy.types.UILayout, obj: bpy.types.Object) -> None:
    """What can be done with the active part, beside the list."""
    column.operator("partsam.part_new_from_selected", text="", icon="ADD")
    column.operator("partsam.part_delete", text="", icon="REMOVE")
    column.operator("partsam.parts_remove_small", text="", icon="TRASH")
    column.separator()
    isolated = bool(isolated_part(obj))
    column.operator(
        "partsam.part_isolate", text="", icon="HIDE_OFF" if not isolated else "HIDE_ON", depress=isolated
    )
    picking = get_session().picking is not None
    column.operator("partsam.part_pick", text="", icon="EYEDROPPER", depress=picking)
    column.separator()
    column.operator("partsam.part_merge", text="", icon="AUTOMERGE_ON")
    column.operator("partsam.split_part", text="", icon="MOD_EDGESPLIT")
    column.separator()
    column.menu("PARTSAM_MT_parts", text="", icon="DOWNARROW_HLT")


def draw_isolation(layout: bpy.types.UILayout, obj: bpy.types.Object, part: bpy.types.PropertyGroup) -> None:
    """Which part stays alone where the row is not followed: to hide faces in Edit mode deselects them."""
    isolated = isolated_part(obj)
    if isolated is not None and isolated != part.part_id:
        draw_text(layout, kept_alone(obj, isolated), icon="INFO")


def kept_alone(obj: bpy.types.Object, part_id: int) -> str:
    """That a part is shown alone outside Object mode although another row is active."""
    name = get_part(obj.data, part_id).name
    return say('"{name}" stays alone until Object mode; Isolate shows the active part instead', name=name)


def draw_part_details(
    layout: bpy.types.UILayout, mesh: bpy.types.Mesh, part: bpy.types.PropertyGroup
) -> None:
    """Numbers of the active part."""
    total = mesh.partsam.area
    cloud = is_cloud(mesh)
    facts = [elements(mesh, part.face_count)]
    if total > 0:
        share = f"{part.area / total:.1%}"
        facts.append(say("{share} of them", share=share) if cloud else say("{share} of area", share=share))
    if part.by_hand:
        facts.append(say("by hand"))
    elif part.confidence > 0:
        facts.append(say("{confidence} sure", confidence=confidence_text(part.confidence)))
    else:
        facts.append(say("left over"))
    checked = sum(one.checked for one in mesh.partsam.parts)
    row = layout.row()
    row.active = False
    row.label(text=", ".join(facts))
    if checked > 1:
        text = say("Merge {count} Checked Parts", count=checked)
        layout.operator("partsam.parts_merge_checked", text=text, icon="CHECKBOX_HLT")


classes: tuple[type, ...] = (PARTSAM_MT_parts, PARTSAM_PT_parts)
