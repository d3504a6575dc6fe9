# SPDX-License-Identifier: GPL-3.0-or-later
"""Animation of one data-block given to another."""

from __future__ import annotations

from collections.abc import Callable

import bpy


def copy_action(source: bpy.types.ID, target: bpy.types.ID) -> None:
    """Let `target` be animated by the action of `source`."""
    animation = source.animation_data
    if animation is None or animation.action is None:
        return
    made = target.animation_data or target.animation_data_create()
    made.action = animation.action
    if getattr(animation, "action_slot", None) is not None:  # layered actions, from 4.4 on
        made.action_slot = animation.action_slot


def copy_drivers(source: bpy.types.ID, target: bpy.types.ID, wanted: Callable[[str], bool]) -> None:
    """Give `target` copies of the drivers of `source` whose data path is `wanted`."""
    animation = source.animation_data
    drivers = [d for d in animation.drivers if wanted(d.data_path)] if animation is not None else []
    if not drivers:
        return
    made = target.animation_data or target.animation_data_create()
    for driver in drivers:
        made.drivers.from_existing(src_driver=driver)
