# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of the sidebar tab.

What belongs to a scene (how to segment) is saved with it. What only steers the view or the last
result lives on the window manager: such properties push no undo step, so a drag of the granularity
slider is one step (the labels) and not two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty

from .session import get_session

DEFAULT_PROMPTS = 256
MAX_POSES = 8

POSES = (
    "In how many poses, turned and mirrored, the network looks at the shape. With 4 the parts depend less "
    "on the seed, and finding them takes nearly four times as long"
)

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
    (
        "JOINED",
        "As One Shape",
        "Segment the selected objects as one shape; parts may span objects. If all are copies of one mesh "
        "that do not touch, the active one is segmented, and the others get the same parts",
    ),
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
    poses: IntProperty(name="Poses", description=POSES, default=1, min=1, max=MAX_POSES)
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


def _slider(name: str) -> tuple[Callable, Callable]:
    """Get and set a slider: the active object's own value, else what the next segmentation starts from."""

    def value(settings: bpy.types.PropertyGroup) -> float | bool:
        cut = get_session().live.shown(bpy.context)
        if cut is None or (name == "strength" and cut.strength is None):
            return getattr(settings, f"next_{name}")
        return cut.strength is not None if name == "refine" else getattr(cut, name)

    def move(settings: bpy.types.PropertyGroup, value: float | bool) -> None:
        setattr(settings, f"next_{name}", value)
        live = get_session().live
        if name == "granularity":
            live.move(bpy.context, lambda cut: replace(cut, granularity=settings.next_granularity))
        elif name == "refine":
            strength = settings.strength if value else None
            live.move(bpy.context, lambda cut: replace(cut, strength=strength))
        elif settings.refine:
            live.move(bpy.context, lambda cut: replace(cut, strength=settings.next_strength))

    return value, move


_GRANULARITY, _REFINE, _STRENGTH = (_slider(name) for name in ("granularity", "refine", "strength"))


def _redraw_overlay(_settings: bpy.types.PropertyGroup, _context: bpy.types.Context) -> None:
    get_session().redraw()


class PARTSAM_PG_window(bpy.types.PropertyGroup):
    """Sliders over the active object's result, and the overlay; not saved, not part of undo.

    Where an object is cut is stored with its mesh: `parts.levels`.
    """

    granularity: FloatProperty(
        name="Granularity",
        description="Few large parts (0) to many small ones (1). Follows at once, without new inference",
        default=0.5,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        options={"SKIP_SAVE"},
        get=_GRANULARITY[0],
        set=_GRANULARITY[1],
    )
    refine: BoolProperty(
        name="Refine Borders",
        description="Move part borders to creases of the surface and remove stray islands",
        default=True,
        options={"SKIP_SAVE"},
        get=_REFINE[0],
        set=_REFINE[1],
    )
    strength: FloatProperty(
        name="Strength",
        description="How strongly borders are drawn to creases and kept short",
        default=1.0,
        min=0.0,
        soft_max=4.0,
        max=10.0,
        options={"SKIP_SAVE"},
        get=_STRENGTH[0],
        set=_STRENGTH[1],
    )
    next_granularity: FloatProperty(default=0.5, min=0.0, max=1.0, options={"HIDDEN", "SKIP_SAVE"})
    next_refine: BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})
    next_strength: FloatProperty(default=1.0, min=0.0, max=10.0, options={"HIDDEN", "SKIP_SAVE"})
    show_overlay: BoolProperty(
        name="Show Parts",
        description="Draw the part colors over the mesh in every 3D viewport",
        default=True,
        options={"SKIP_SAVE"},
        update=_redraw_overlay,
    )
    overlay_opacity: FloatProperty(
        name="Opacity",
        description="Opacity of the part colors",
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
