# SPDX-License-Identifier: GPL-3.0-or-later
"""How the preferences are laid out."""

from __future__ import annotations

import os

import bpy

from ...backend.errors import PartSAMError
from ..click_tool.panel import draw_keys
from ..constants import MODEL_VARIABLE, PYTHON_VARIABLE
from ..session import get_session
from ..session.choices import chosen_python, environment_folder, model_file
from ..session.setup import Setup
from ..wording import say
from .text import draw_online_access, draw_text

TAIL_LINES = 6
PUBLISHED_URL = "https://github.com/czvvd/PartSAM"
PUBLISHED = "The authors' checkpoint may not be used commercially; import it once it is downloaded."


def draw_preferences(
    preferences: bpy.types.AddonPreferences, layout: bpy.types.UILayout, context: bpy.types.Context
) -> None:
    """What runs the backend, then model and device, then the keys of the click tool."""
    draw_environment(preferences, layout)
    layout.separator()
    column = layout.column()
    column.use_property_split = True
    column.row().prop(preferences, "device")
    draw_model(preferences, column)
    column.prop(preferences, "idle_minutes")
    for name in (PYTHON_VARIABLE, MODEL_VARIABLE):
        if os.environ.get(name):
            layout.label(text=say("{name} is set and wins over these preferences", name=name), icon="INFO")
    layout.separator()
    draw_keys(context, layout)


def draw_environment(preferences: bpy.types.AddonPreferences, layout: bpy.types.UILayout) -> None:
    """Which Python runs the backend, and what is known about it."""
    setup = get_session().setup
    made = environment_folder().python() is not None
    box = layout.box()
    draw_text(box, origin_line(), icon="INFO")
    draw_outdated(setup, box)
    if not preferences.wheels_folder:
        draw_online_access(box)
    row = box.row(align=True)
    if setup.progress is not None:
        row.progress(factor=setup.progress.fraction, text=setup.progress.step or setup.title, type="BAR")
        row.operator("partsam.cancel_setup", text="", icon="CANCEL")
    else:
        row.scale_y = 1.3
        row.operator("partsam.set_up", text="Repair or Update" if made else "Set Up", icon="IMPORT")
        row.operator("partsam.check", icon="CHECKMARK")
        row.operator("partsam.open_log", icon="TEXT")
        row.operator("partsam.copy_report", text="", icon="COPYDOWN")
        if made:
            row.operator("partsam.remove_environment", text="", icon="TRASH")
    column = box.column()
    column.use_property_split = True
    column.prop(preferences, "python_path")
    column.prop(preferences, "wheels_folder")
    draw_report(setup, box)


def draw_outdated(setup: Setup, layout: bpy.types.UILayout) -> None:
    """The offer of a new environment, where the one in use was made for another version of PartSAM."""
    if setup.progress is None and setup.is_outdated:
        draw_text(layout, "PyTorch was set up for another version of PartSAM.", icon="INFO")
        layout.operator("partsam.set_up", text="Update PyTorch", icon="IMPORT")


def draw_model(preferences: bpy.types.AddonPreferences, column: bpy.types.UILayout) -> None:
    """Which weights, and where to get others."""
    column.row().prop(preferences, "model_source", expand=True)
    if preferences.model_source == "FILE":
        column.prop(preferences, "model_path")
    row = column.row()
    row.operator("partsam.import_model", icon="FILE_FOLDER")
    row.operator("wm.url_open", text="Published Checkpoint", icon="URL").url = PUBLISHED_URL
    draw_text(column, PUBLISHED, icon="BLANK1")


def draw_report(setup: Setup, layout: bpy.types.UILayout) -> None:
    """What the last check or set-up said."""
    if setup.problem:
        draw_failure(setup, layout)
    if setup.report is None:
        return
    usable = setup.report.is_usable
    column = layout.column(align=True)
    column.label(
        text="Ready" if usable else "This Python cannot be used", icon="CHECKMARK" if usable else "ERROR"
    )
    for line in (*setup.report.lines(), model_line()):
        draw_text(column, line, icon="BLANK1")


def draw_failure(setup: Setup, layout: bpy.types.UILayout) -> None:
    """Why the last task failed, the last lines that it printed, and a way to report them."""
    draw_text(layout, setup.problem or "", icon="ERROR")
    tail = layout.column(align=True)
    tail.active, tail.scale_y = False, 0.7
    for line in setup.printed[-TAIL_LINES:]:
        tail.label(text=line)
    if setup.printed:
        layout.operator("partsam.copy_report", icon="COPYDOWN")


def origin_line() -> str:
    """What runs the backend."""
    python = chosen_python()
    if python is None:
        return "This zip comes without PyTorch. Set Up fetches it once, for all versions of Blender."
    if python.packages is not None:
        return "PyTorch came with the extension. Set Up fetches one for the graphics card, if there is one."
    return f"PyTorch of {python.path}"


def model_line() -> str:
    """Which weights would be used."""
    try:
        path = model_file()
    except PartSAMError as error:
        return f"Problem: {error}"
    return f"Model: {path.stem} ({path.stat().st_size / 1e6:.1f} MB)"
