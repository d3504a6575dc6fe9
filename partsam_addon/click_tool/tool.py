# SPDX-License-Identifier: GPL-3.0-or-later
"""The tool in the viewport's toolbar."""

from __future__ import annotations

import logging

import bpy

logger = logging.getLogger(__name__)

TOOL = "partsam.clicks"
FALLBACK_TOOL = "builtin.select_box"

KEYMAP: tuple[tuple[str, dict[str, object], dict[str, object]], ...] = (
    ("partsam.click_part", {"type": "LEFTMOUSE", "value": "PRESS"}, {"properties": [("from_tool", True)]}),
    ("partsam.click_part", {"type": "MOUSEMOVE", "value": "ANY"}, {"properties": [("from_tool", True)]}),
)
"""What starts the tool; its own keys are in `keys`."""


class _ClickTool:
    bl_space_type = "VIEW_3D"
    bl_idname = TOOL
    bl_label = "Part by Clicks"
    bl_description = (
        "Point at a part to see it, click to take it, Ctrl-click what is not part of it, Enter to accept; "
        "the next click starts the next part"
    )
    bl_icon = "ops.generic.select_circle"
    bl_cursor = "CROSSHAIR"
    bl_keymap = KEYMAP

    @staticmethod
    def draw_settings(
        context: bpy.types.Context, layout: bpy.types.UILayout, _tool: bpy.types.WorkSpaceTool
    ) -> None:
        draw_tool_settings(context, layout)


class PARTSAM_WT_clicks_object(_ClickTool, bpy.types.WorkSpaceTool):
    """In Object mode."""

    bl_context_mode = "OBJECT"


class PARTSAM_WT_clicks_edit(_ClickTool, bpy.types.WorkSpaceTool):
    """In Edit mode."""

    bl_context_mode = "EDIT_MESH"


TOOLS = (PARTSAM_WT_clicks_object, PARTSAM_WT_clicks_edit)


def draw_tool_settings(context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
    """Buttons and switches of the tool, for the header and the sidebar."""
    settings = context.window_manager.partsam_clicks
    row = layout.row(align=True)
    for action, text, icon in (
        ("ACCEPT", "Accept", "CHECKMARK"),
        ("NEXT_PART", "Next", "FORWARD"),
        ("LEAVE", "Leave", "X"),
    ):
        row.operator("partsam.click_action", text=text, icon=icon).action = action
    row = layout.row(align=True)
    row.prop(settings, "mirror", text="", icon="MOD_MIRROR", toggle=True)
    row.prop(settings, "through", text="", icon="XRAY", toggle=True)
    row.prop(settings, "hide_accepted", text="", icon="HIDE_ON", toggle=True)


def active_tool(context: bpy.types.Context) -> str:
    """Name of the tool that is active in the viewports of this mode."""
    if context.workspace is None:
        return ""
    tool = context.workspace.tools.from_space_view3d_mode(context.mode, create=False)
    return "" if tool is None else tool.idname


def activate_tool(context: bpy.types.Context) -> str:
    """Show in the toolbar that the tool is running; the tool that was active before."""
    before = active_tool(context)
    if before != TOOL:
        set_tool(TOOL)
    return before


def leave_tool(before: str) -> None:
    """Give the toolbar back, so that the next movement of the mouse does not start the tool again."""
    if active_tool(bpy.context) == TOOL:
        set_tool(FALLBACK_TOOL if before in {"", TOOL} else before)


def set_tool(name: str) -> None:
    """Make a tool active in the viewports, where there are any and it exists in this mode."""
    if bpy.context.window is None:
        return
    try:
        bpy.ops.wm.tool_set_by_id(name=name, space_type="VIEW_3D")
    except RuntimeError as error:
        logger.debug("the tool %s cannot be activated: %s", name, error)


def register() -> None:
    """Put the tool into the toolbars. Call after registering the operators."""
    for tool in TOOLS:
        bpy.utils.register_tool(tool, separator=True)


def unregister() -> None:
    for tool in reversed(TOOLS):
        bpy.utils.unregister_tool(tool)
