# SPDX-License-Identifier: GPL-3.0-or-later
"""How the preferences are laid out."""

from __future__ import annotations

import os

import bpy

from ...backend.errors import PartSAMError
from ..constants import MODEL_VARIABLE, PYTHON_VARIABLE
from ..session import get_session
from ..session.choices import chosen_python, model_file
from ..session.setup import Setup
from .text import draw_online_access, draw_text


def draw_preferences(
    preferences: bpy.types.AddonPreferences, layout: bpy.types.UILayout, _context: bpy.types.Context
) -> None:
    """The backend's environment, then model and device."""
    draw_environment(preferences, layout)
    layout.separator()
    column = layout.column()
    column.use_property_split = True
    column.row().prop(preferences, "device")
    column.row().prop(preferences, "model_source", expand=True)
    if preferences.model_source == "FILE":
        column.prop(preferences, "model_path")
    column.prop(preferences, "idle_minutes")
    for name in (PYTHON_VARIABLE, MODEL_VARIABLE):
        if os.environ.get(name):
            layout.label(text=f"{name} is set and wins over these preferences", icon="INFO")


def draw_environment(preferences: bpy.types.AddonPreferences, layout: bpy.types.UILayout) -> None:
    """Which Python runs the backend, and what is known about it."""
    setup = get_session().setup
    ready = chosen_python() is not None
    box = layout.box()
    if not ready:
        draw_text(box, "PartSAM computes in a Python of its own, which has PyTorch.", icon="INFO")
        draw_online_access(box)
    row = box.row(align=True)
    if setup.progress is not None:
        row.progress(factor=setup.progress.fraction, text=setup.progress.step or setup.title, type="BAR")
        row.operator("partsam.cancel_setup", text="", icon="CANCEL")
    else:
        row.scale_y = 1.3
        row.operator("partsam.set_up", text="Set Up Again" if ready else "Set Up", icon="IMPORT")
        row.operator("partsam.check", icon="CHECKMARK")
        row.operator("partsam.open_log", icon="TEXT")
    column = box.column()
    column.use_property_split = True
    column.prop(preferences, "python_path", text="Existing Python")
    draw_report(setup, box)


def draw_report(setup: Setup, layout: bpy.types.UILayout) -> None:
    """What the last check or set-up said."""
    if setup.problem:
        draw_text(layout, setup.problem, icon="ERROR")
    if setup.report is None:
        return
    usable = setup.report.is_usable
    column = layout.column(align=True)
    column.label(
        text="Ready" if usable else "This Python cannot be used", icon="CHECKMARK" if usable else "ERROR"
    )
    for line in (*setup.report.lines(), model_line()):
        draw_text(column, line, icon="BLANK1")


def model_line() -> str:
    """Which weights would be used."""
    try:
        path = model_file()
    except PartSAMError as error:
        return f"Problem: {error}"
    return f"Model: {path.stem} ({path.stat().st_size / 1e6:.1f} MB)"
