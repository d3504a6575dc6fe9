# SPDX-License-Identifier: GPL-3.0-or-later
"""Shape keys of separated parts."""

from __future__ import annotations

import bpy
import numpy as np

from ..mesh_exchange.arrays import FloatArray
from .animation import copy_action, copy_drivers
from .topology import PartTopology

_SETTINGS = ("slider_min", "slider_max", "value", "mute", "vertex_group", "interpolation")


def write_shape_keys(
    obj: bpy.types.Object,
    part: bpy.types.Object,
    positions: dict[str, FloatArray],
    topology: PartTopology,
    center: FloatArray,
) -> None:
    """Give `part` the shape keys of `obj`, with their settings, drivers and animation.

    positions: name -> float32 [V, 3] of the whole mesh; center: the part's origin in it
    """
    if not positions:
        return
    keys = obj.data.shape_keys
    for name, whole in positions.items():
        block = part.shape_key_add(name=name, from_mix=False)
        local = whole[topology.vertices] - center.astype(np.float32)
        block.data.foreach_set("co", local.ravel())
    made = part.data.shape_keys
    for block in keys.key_blocks:
        copied = made.key_blocks[block.name]
        for setting in _SETTINGS:
            setattr(copied, setting, getattr(block, setting))
        copied.relative_key = made.key_blocks[block.relative_key.name]
    made.use_relative = keys.use_relative
    made.eval_time = keys.eval_time
    part.active_shape_key_index = obj.active_shape_key_index
    copy_action(keys, made)
    copy_drivers(keys, made, lambda _path: True)
