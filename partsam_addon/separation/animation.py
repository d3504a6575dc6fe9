# SPDX-License-Identifier: GPL-3.0-or-later
"""Animation of one data-block given to another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import bpy

_BLENDING = ("action_blend_type", "action_extrapolation", "action_influence", "use_nla")

_TRACK = ("name", "lock", "mute", "is_solo")

_STRIP = (
    "action_frame_start",
    "action_frame_end",
    "scale",
    "repeat",
    "frame_start",
    "frame_end",
    "blend_type",
    "use_auto_blend",
    "blend_in",
    "blend_out",
    "extrapolation",
    "use_reverse",
    "mute",
    "use_sync_length",
    "use_animated_influence",
    "influence",
)
"""Settings of a strip in an order in which none changes another."""


def copy_animation(source: bpy.types.ID, target: bpy.types.ID) -> list[str]:
    """Let `target` be animated as `source` is, by its action and NLA tracks; names of strips left out."""
    animation = source.animation_data
    if animation is None or (animation.action is None and not len(animation.nla_tracks)):
        return []
    made = target.animation_data or target.animation_data_create()
    left_out: list[str] = []
    previous = None
    for track in animation.nla_tracks:
        copied = made.nla_tracks.new(prev=previous)
        left_out += _copy_track(track, copied)
        previous = copied
    if animation.action is not None:
        made.action = animation.action
        _copy_slot(animation, made)
    _copy(_BLENDING, animation, made)
    return left_out


def copy_drivers(source: bpy.types.ID, target: bpy.types.ID, wanted: Callable[[str], bool]) -> None:
    """Give `target` copies of the drivers of `source` whose data path is `wanted`."""
    animation = source.animation_data
    drivers = [d for d in animation.drivers if wanted(d.data_path)] if animation is not None else []
    if not drivers:
        return
    made = target.animation_data or target.animation_data_create()
    for driver in drivers:
        made.drivers.from_existing(src_driver=driver)


def animated_paths(owner: bpy.types.ID) -> set[str]:
    """Data paths that the actions of `owner` animate, those of NLA strips included."""
    animation = owner.animation_data
    if animation is None:
        return set()
    actions = [animation.action]
    actions += [strip.action for track in animation.nla_tracks for strip in track.strips]
    return {curve.data_path for action in actions if action is not None for curve in _curves(action)}


def _curves(action: bpy.types.Action) -> Iterator[bpy.types.FCurve]:
    if hasattr(action, "fcurves"):  # until 4.5
        yield from action.fcurves
        return
    for layer in action.layers:
        for strip in layer.strips:
            for bag in strip.channelbags:
                yield from bag.fcurves


def _copy_track(track: bpy.types.NlaTrack, copied: bpy.types.NlaTrack) -> list[str]:
    left_out = []
    for strip in track.strips:
        if strip.type != "CLIP" or strip.action is None:
            left_out.append(strip.name)
            continue
        made = copied.strips.new(strip.name, int(strip.frame_start), strip.action)
        _copy_slot(strip, made)
        _copy(_STRIP, strip, made)
        made.name = strip.name
    _copy(_TRACK, track, copied)
    return left_out


def _copy_slot(source: bpy.types.bpy_struct, target: bpy.types.bpy_struct) -> None:
    if getattr(source, "action_slot", None) is not None:  # layered actions, from 4.4 on
        target.action_slot = source.action_slot


def _copy(names: tuple[str, ...], source: bpy.types.bpy_struct, target: bpy.types.bpy_struct) -> None:
    for name in names:
        if getattr(target, name) != getattr(source, name):
            setattr(target, name, getattr(source, name))
