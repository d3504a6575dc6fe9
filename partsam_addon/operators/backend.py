# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators on the backend process: restart, check, log."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import BoolProperty, StringProperty

from ...backend.errors import PartSAMError
from ..constants import EXTENSION
from ..environment import plan_for_this_machine
from ..session import get_session
from ..session.choices import environment_folder, preferences, working_folder
from ..session.report import report_text
from .reporting import reports_errors


class PARTSAM_OT_restart_backend(bpy.types.Operator):
    """End the backend process and start a new one"""

    bl_idname = "partsam.restart_backend"
    bl_label = "Restart Backend"

    @reports_errors
    def execute(self, _context: bpy.types.Context) -> set[str]:
        session = get_session()
        session.abandon("The backend was restarted; the running work was dropped")
        session.restart_backend()
        return {"FINISHED"}


class PARTSAM_OT_open_log(bpy.types.Operator):
    """Show the backend's log in a text editor"""

    bl_idname = "partsam.open_log"
    bl_label = "Open Log"

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        log = newest_log()
        if log is None:
            raise PartSAMError("There is no log yet: the backend has never been started")
        bpy.ops.wm.path_open(filepath=str(log))
        return {"FINISHED"}


def newest_log() -> Path | None:
    """The running backend's log, or that of the last one that ran."""
    backend = get_session().backend
    if backend is not None and backend.log_path.is_file():
        return backend.log_path
    logs = (working_folder() / "logs").glob("backend-*.log")
    return max(logs, key=lambda path: path.stat().st_mtime, default=None)


class PARTSAM_OT_dismiss(bpy.types.Operator):
    """Close this message"""

    bl_idname = "partsam.dismiss"
    bl_label = "Dismiss"
    bl_options = {"INTERNAL"}

    def execute(self, _context: bpy.types.Context) -> set[str]:
        session = get_session()
        session.problem, session.notices = None, ()
        return {"FINISHED"}


class PARTSAM_OT_set_up(bpy.types.Operator):
    """Make a Python environment with PyTorch for PartSAM, outside of Blender's own, once for this machine"""

    bl_idname = "partsam.set_up"
    bl_label = "Set Up"

    cpu_only: BoolProperty(
        name="CPU Only", description="Without support for graphics cards; a much smaller download"
    )

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        can = bpy.app.online_access or bool(preferences().wheels_folder)
        if not can:
            cls.poll_message_set(
                "Online access is off. Allow it in Preferences > System > Network, "
                "or choose an offline folder of wheels"
            )
        return can

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        self._plans = {cpu_only: plan_for_this_machine(cpu_only=cpu_only) for cpu_only in (False, True)}
        return context.window_manager.invoke_props_dialog(
            self, width=480, title="Set Up PartSAM's Environment", confirm_text="Download and Set Up"
        )

    def draw(self, _context: bpy.types.Context) -> None:
        column = self.layout.column()
        for line in self._plans[self.cpu_only].lines():
            column.label(text=line)
        column.label(text="It comes from pypi.org and pytorch.org, into a folder of PartSAM's own:")
        column.label(text=str(environment_folder().root), icon="FILE_FOLDER")
        column.prop(self, "cpu_only")

    @reports_errors
    def execute(self, _context: bpy.types.Context) -> set[str]:
        get_session().setup.start_install(plan_for_this_machine(cpu_only=self.cpu_only))
        return {"FINISHED"}


class PARTSAM_OT_remove_environment(bpy.types.Operator):
    """Remove the environment that Set Up made, for all versions of Blender on this machine"""

    bl_idname = "partsam.remove_environment"
    bl_label = "Remove Environment"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    @reports_errors
    def execute(self, _context: bpy.types.Context) -> set[str]:
        session = get_session()
        session.abandon("The environment was removed; the running work was dropped")
        session.close_backend()
        session.setup.remove()
        return {"FINISHED"}


class PARTSAM_OT_import_model(bpy.types.Operator):
    """Try a .safetensors file as PartSAM's network, keep a copy of it and use that"""

    bl_idname = "partsam.import_model"
    bl_label = "Import Model"

    filepath: StringProperty(name="File", description="The weights", subtype="FILE_PATH")
    filter_glob: StringProperty(
        name="Filter", description="What is shown", default="*.safetensors", options={"HIDDEN"}
    )

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @reports_errors
    def execute(self, _context: bpy.types.Context) -> set[str]:
        get_session().setup.start_import(Path(self.filepath))
        return {"FINISHED"}


class PARTSAM_OT_copy_report(bpy.types.Operator):
    """Copy what is known about the backend, for a bug report"""

    bl_idname = "partsam.copy_report"
    bl_label = "Copy Report"

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.window_manager.clipboard = report_text(get_session())
        self.report({"INFO"}, "The report is on the clipboard")
        return {"FINISHED"}


class PARTSAM_OT_check(bpy.types.Operator):
    """Look whether the chosen Python has all that PartSAM needs, and what it would compute on"""

    bl_idname = "partsam.check"
    bl_label = "Check"

    @reports_errors
    def execute(self, _context: bpy.types.Context) -> set[str]:
        get_session().setup.start_check()
        return {"FINISHED"}


class PARTSAM_OT_cancel_setup(bpy.types.Operator):
    """Stop setting up or checking; what was there before stays in use"""

    bl_idname = "partsam.cancel_setup"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    def execute(self, _context: bpy.types.Context) -> set[str]:
        get_session().setup.cancel()
        return {"FINISHED"}


class PARTSAM_OT_open_preferences(bpy.types.Operator):
    """Open the add-on's preferences"""

    bl_idname = "partsam.open_preferences"
    bl_label = "Preferences"

    def execute(self, _context: bpy.types.Context) -> set[str]:
        bpy.ops.preferences.addon_show(module=EXTENSION)
        return {"FINISHED"}


classes = (
    PARTSAM_OT_restart_backend,
    PARTSAM_OT_open_log,
    PARTSAM_OT_dismiss,
    PARTSAM_OT_set_up,
    PARTSAM_OT_remove_environment,
    PARTSAM_OT_import_model,
    PARTSAM_OT_copy_report,
    PARTSAM_OT_check,
    PARTSAM_OT_cancel_setup,
    PARTSAM_OT_open_preferences,
)
