# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences: the backend's Python, model and device."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

from .constants import EXTENSION

DEVICES = (
    ("AUTO", "Automatic", "The graphics processor if there is a usable one, else the processor"),
    ("CUDA", "CUDA", "NVIDIA or ROCm graphics processor"),
    ("MPS", "Metal", "Apple graphics processor"),
    ("CPU", "CPU", "The processor: works everywhere, slower"),
)

MODELS = (
    ("BUNDLED", "Bundled", "The small model that comes with the add-on"),
    ("FILE", "Imported", "Weights of your own, or the published ones, as a .safetensors file"),
)


class PartSAMPreferences(bpy.types.AddonPreferences):
    bl_idname = EXTENSION

    python_path: StringProperty(
        name="Existing Python",
        description="Python interpreter that has PyTorch; empty for what Set Up or the zip brought",
        subtype="FILE_PATH",
    )
    wheels_folder: StringProperty(
        name="Offline Wheels",
        description="Folder of wheels for Set Up to use instead of the internet; empty for the internet",
        subtype="DIR_PATH",
    )
    device: EnumProperty(
        name="Device", description="What computes the network", items=DEVICES, default="AUTO"
    )
    model_source: EnumProperty(
        name="Model", description="Which network to use", items=MODELS, default="BUNDLED"
    )
    model_path: StringProperty(
        name="Weights", description="A .safetensors file with the network's weights", subtype="FILE_PATH"
    )
    idle_minutes: IntProperty(
        name="Release Memory After",
        description="Minutes without work after which the backend gives (video) memory back; 0 for never",
        default=5,
        min=0,
        soft_max=60,
    )

    def draw(self, context: bpy.types.Context) -> None:
        from .ui.preferences_layout import draw_preferences

        draw_preferences(self, self.layout, context)


classes = (PartSAMPreferences,)
