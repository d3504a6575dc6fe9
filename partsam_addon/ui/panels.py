# SPDX-License-Identifier: GPL-3.0-or-later
"""The panels of the sidebar tab."""

from __future__ import annotations

import re

import bpy

from ..click_tool.panel import draw_click_panel
from ..constants import TAB
from ..mesh_exchange import hidden_notice
from ..session import Session, get_session
from ..session.choices import chosen_python
from ..session.input_watch import waiting_text
from ..session.progress import clock
from ..wording import say
from .preferences_layout import draw_failure, draw_outdated, origin_line
from .text import draw_online_access, draw_text

LOG_PREFIX = re.compile(r"^\d{4}-\d\d-\d\d \S+ (\w+ [\w.]+: )?")

CLOSE_CHARACTERS = 4
"""How much text the button that closes a notice takes the place of."""

LOG_LINES = 4
"""Last lines of the backend's log under its crash report."""

STAGES = {
    "start": "Starting the backend",
    "load model": "Loading the model",
    "encode": "Looking at the shape",
    "prompts": "Looking for parts",
    "parts": "Sorting parts",
    "faces": "Labeling faces",
    "refine": "Refining borders",
    "transfer": "Matching surfaces",
    "copies": "Comparing parts",
    "interior": "Casting rays",
    "bones": "Measuring parts",
    "weights": "Weighting vertices",
    "pixels": "Painting pixels",
    "unwrap": "Flattening parts",
}
"""What the backend's stages are called on screen; others are shown as they are."""


class SidebarPanel:
    """A panel in the add-on's tab of the 3D viewport's sidebar."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = TAB


class PARTSAM_PT_main(SidebarPanel, bpy.types.Panel):
    bl_label = "PartSAM"
    bl_order = 0

    def draw(self, context: bpy.types.Context) -> None:
        session = get_session()
        layout = self.layout
        if chosen_python() is None and session.run is None:
            draw_first_run(layout, session)
        elif session.clicks is not None:
            draw_click_panel(context, layout)
        elif session.run is not None:
            draw_progress(layout, session)
        else:
            column = layout.column(align=True)
            column.scale_y = 1.5
            column.operator("partsam.segment", icon="MOD_EXPLODE")
            row = layout.row()
            row.scale_y = 1.2
            row.operator("partsam.click_part", icon="RESTRICT_SELECT_OFF")
        draw_hidden(context, layout, session)
        draw_outdated(session.setup, layout)
        draw_problem(layout, session)
        draw_notices(layout, session)


class PARTSAM_PT_options(SidebarPanel, bpy.types.Panel):
    bl_label = "Options"
    bl_parent_id = "PARTSAM_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        settings = context.scene.partsam
        column = self.layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(settings, "prompts")
        column.prop(settings, "poses")
        column.prop(settings, "source")
        column.prop(settings, "several", text="Several")
        column.prop(settings, "selected_faces_only")
        column.prop(settings, "seed")
        draw_backend(self.layout, get_session())


class PARTSAM_PT_view(SidebarPanel, bpy.types.Panel):
    bl_label = "View"
    bl_order = 2
    bl_options = {"DEFAULT_CLOSED"}

    def draw_header(self, context: bpy.types.Context) -> None:
        self.layout.prop(context.window_manager.partsam, "show_overlay", text="")

    def draw(self, context: bpy.types.Context) -> None:
        settings = context.window_manager.partsam
        column = self.layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        row = column.row()
        row.active = settings.show_overlay
        row.prop(settings, "overlay_opacity", slider=True)
        if context.object is not None:
            column.prop(context.object, "partsam_explode", text="Explode")


def draw_first_run(layout: bpy.types.UILayout, session: Session) -> None:
    """What to do before the first segmentation."""
    box = layout.box()
    progress = session.setup.progress
    if progress is not None:
        row = box.row(align=True)
        row.progress(factor=progress.fraction, text=progress.step or session.setup.title, type="BAR")
        row.operator("partsam.cancel_setup", text="", icon="CANCEL")
        return
    draw_text(box, origin_line(), icon="INFO")
    draw_online_access(box)
    column = box.column(align=True)
    column.scale_y = 1.3
    column.operator("partsam.set_up", icon="IMPORT")
    column.operator("partsam.open_preferences", text="Choose Existing Python", icon="PREFERENCES")
    if session.setup.problem:
        draw_failure(session.setup, box)


def progress_text(session: Session) -> str:
    """What the work in progress is at, which object of how many, and for how long it goes on."""
    run, progress = session.run, session.progress
    assert run is not None
    stage = say(run.title)
    if run.job is not None:
        stage = say(STAGES.get(run.job.stage) or run.job.stage.capitalize() or run.title)
    if session.waits_for:
        stage = waiting_text(session.waits_for)
    facts = [stage]
    if progress.steps > 1:
        facts.append(say("{number} of {count} objects", number=progress.step + 1, count=progress.steps))
    return " · ".join([*facts, clock(session.elapsed)])


def draw_progress(layout: bpy.types.UILayout, session: Session) -> None:
    """The progress bar of the work in progress, and Cancel."""
    # As high as the buttons that it stands in for, so that nothing below it moves.
    row = layout.row()
    row.scale_y = 1.5
    row.progress(factor=session.progress.fraction, text=progress_text(session), type="BAR")
    row = layout.row()
    row.scale_y = 1.2
    row.operator("partsam.cancel", icon="CANCEL")


def draw_backend(layout: bpy.types.UILayout, session: Session) -> None:
    """What the backend computes on, and the ways to it."""
    info = None if session.backend is None else session.backend.info
    row = layout.row(align=True)
    text = "Backend: not running" if info is None else f"Backend: {info['device']}, torch {info['torch']}"
    row.label(text=text)
    row.operator("partsam.restart_backend", text="", icon="FILE_REFRESH")
    row.operator("partsam.open_log", text="", icon="TEXT")
    row.operator("partsam.copy_report", text="", icon="COPYDOWN")
    row.operator("partsam.open_preferences", text="", icon="PREFERENCES")


def draw_hidden(context: bpy.types.Context, layout: bpy.types.UILayout, session: Session) -> None:
    """That the active mesh is not seen, unless a notice of the last work says so."""
    obj = context.object
    notice = None if obj is None or obj.type != "MESH" else hidden_notice(obj)
    if notice and notice not in session.notices:
        draw_text(layout, notice, icon="HIDE_ON")


def draw_problem(layout: bpy.types.UILayout, session: Session) -> None:
    """What went wrong, with the ways on."""
    problem = session.problem
    if problem is None:
        return
    box = layout.box()
    draw_text(box, problem.message, icon="ERROR")
    if problem.log_tail:
        tail = box.column(align=True)
        tail.active, tail.scale_y = False, 0.7
        # The very last line is the message above; time and module would leave no room for the text.
        for line in problem.log_tail[-LOG_LINES - 1 : -1]:
            tail.label(text=LOG_PREFIX.sub("", line))
    row = box.row(align=True)
    if problem.restart:
        row.operator("partsam.restart_backend", icon="FILE_REFRESH")
        row.operator("partsam.open_log", text="", icon="TEXT")
        row.operator("partsam.copy_report", text="", icon="COPYDOWN")
        row.operator("partsam.dismiss", text="", icon="X")
    else:
        row.operator("partsam.dismiss", text="Close", icon="X")


def draw_notices(layout: bpy.types.UILayout, session: Session) -> None:
    """What was done otherwise than asked."""
    for number, notice in enumerate(dict.fromkeys(session.notices)):
        row = layout.box().row()
        draw_text(row, notice, icon="INFO", margin=CLOSE_CHARACTERS if number == 0 else 0)
        if number == 0:
            row.operator("partsam.dismiss", text="", icon="X", emboss=False)


classes = (PARTSAM_PT_main, PARTSAM_PT_options, PARTSAM_PT_view)
