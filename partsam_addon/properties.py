# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of the sidebar tab.

What belongs to a scene (how to segment) is saved with it. What only steers the view or the last
result lives on the window manager: such properties push no undo step, so a drag of the granularity
slider is one step (the labels) and not two.
"""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty

from .session import get_session

DEFAULT_PROMPTS = 256

SOURCES = (
    ("BASE", "Original Mesh", "The mesh without its modifiers"),
    (
        "EVALUATED",
        "With Modifiers",
        "The mesh as modifiers show it; the labels are mapped back to the original",
    ),
)

SEVERAL = (
    ("EACH", "Each in Turn", "Segment every selected object by itself"),
    ("JOINED", "As One Shape", "Segment the selected objects as one shape; parts may span objects"),
)


class PARTSAM_PG_scene(bpy.types.PropertyGroup):
    """How to segment; saved with the scene."""

    prompts: IntProperty(
        name="Prompts",
        description="Points that the network is asked about. More find smaller parts and take longer",
        default=DEFAULT_PROMPTS,
        min=1,
        soft_max=1024,
        max=4096,
    )
    source: EnumProperty(name="Mesh", description="Which mesh to look at", items=SOURCES, default="BASE")
    selected_faces_only: BoolProperty(
        name="Selected Faces Only",
        description="Segment only the faces selected in Edit mode; all other faces keep their part",
    )
    several: EnumProperty(
        name="Several Objects",
        description="What to do when several meshes are selected",
        items=SEVERAL,
        default="EACH",
    )
    seed: IntProperty(
        name="Seed",
        description="Start of the random sampling; the same seed gives the same parts",
        default=0,
        min=0,
    )


def _follow_sliders(_settings: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    get_session().live.sliders_moved(context)


def _redraw_overlay(_settings: bpy.types.PropertyGroup, _context: bpy.types.Context) -> None:
    get_session().redraw()


class PARTSAM_PG_window(bpy.types.PropertyGroup):
    """Sliders over the last result, and the overlay; not saved, not part of undo."""

    granularity: FloatProperty(
        name="Granularity",
        description="Few large parts (0) to many small ones (1). Follows at once, without new inference",
        default=0.5,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        options={"SKIP_SAVE"},
        update=_follow_sliders,
    )
    refine: BoolProperty(
        name="Refine Borders",
        description="Move part borders to creases of the surface and remove stray islands",
        default=True,
        options={"SKIP_SAVE"},
        update=_follow_sliders,
    )
    strength: FloatProperty(
        name="Strength",
        description="How strongly borders are drawn to creases and kept short",
        default=1.0,
        min=0.0,
        soft_max=4.0,
        max=10.0,
        options={"SKIP_SAVE"},
        update=_follow_sliders,
    )
    show_overlay: BoolProperty(
        name="Show Parts",
        description="Draw the part colours over the mesh in every 3D viewport",
        default=True,
        options={"SKIP_SAVE"},
        update=_redraw_overlay,
    )
    overlay_opacity: FloatProperty(
        name="Opacity",
        description="Opacity of the part colours",
        default=0.6,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        options={"SKIP_SAVE"},
        update=_redraw_overlay,
    )


classes = (PARTSAM_PG_scene, PARTSAM_PG_window)


def register() -> None:
    bpy.types.Scene.partsam = PointerProperty(type=PARTSAM_PG_scene)
    bpy.types.WindowManager.partsam = PointerProperty(type=PARTSAM_PG_window)


def unregister() -> None:
    del bpy.types.WindowManager.partsam
    del bpy.types.Scene.partsam
