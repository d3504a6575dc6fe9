# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators on the backend process: restart, check, log."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty

from ...backend.errors import PartSAMError
from ..constants import EXTENSION
from ..environment import Compute
from ..session import get_session
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
        backend = get_session().backend
        if backend is None or not backend.log_path.is_file():
            raise PartSAMError("There is no log yet: the backend has not been started")
        bpy.ops.wm.path_open(filepath=str(backend.log_path))
        return {"FINISHED"}


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
    """Make a Python environment with PyTorch for PartSAM, outside of Blender's own. Downloads once"""

    bl_idname = "partsam.set_up"
    bl_label = "Set Up"

    compute: EnumProperty(
        name="PyTorch",
        description="Which build of PyTorch to download",
        items=(
            ("AUTO", "Automatic", "For the graphics processor where its driver is installed"),
            ("NVIDIA", "NVIDIA", "For NVIDIA graphics processors; about 3 GB to download"),
            ("CPU", "Processor", "Without support for graphics processors; about 0.3 GB to download"),
        ),
        default="AUTO",
    )

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        if not bpy.app.online_access:
            cls.poll_message_set(
                "Online access is off. Allow it in Preferences > System > Network, "
                "or choose a Python that has PyTorch"
            )
        return bpy.app.online_access

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(
            self, width=420, title="Set Up PartSAM's Environment", confirm_text="Download and Set Up"
        )

    def draw(self, _context: bpy.types.Context) -> None:
        column = self.layout.column()
        column.label(text="PyTorch is downloaded from pypi.org and pytorch.org", icon="URL")
        column.label(text="into a folder of PartSAM's own. Blender is not changed.", icon="BLANK1")
        column.separator()
        column.use_property_split = True
        column.prop(self, "compute")

    @reports_errors
    def execute(self, _context: bpy.types.Context) -> set[str]:
        get_session().setup.start_install(Compute[self.compute])
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
    PARTSAM_OT_check,
    PARTSAM_OT_cancel_setup,
    PARTSAM_OT_open_preferences,
)
