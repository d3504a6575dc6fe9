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


class PartialActions:
    """Copies of actions with only those curves whose data path is `wanted`, one for each action and slot."""

    def __init__(self, wanted: Callable[[str], bool]) -> None:
        self.wanted = wanted
        self._made: dict[tuple[int, int], bpy.types.Action | None] = {}

    def of(self, user: bpy.types.AnimData | bpy.types.NlaStrip) -> bpy.types.Action | None:
        """For the action that `user` has; None where it has no wanted curve."""
        slot = getattr(user, "action_slot", None)
        key = user.action.session_uid, -1 if slot is None else slot.handle
        if key not in self._made:
            self._made[key] = self._copy(user.action, None if slot is None else slot.handle)
        return self._made[key]

    def _copy(self, action: bpy.types.Action, slot: int | None) -> bpy.types.Action | None:
        if not any(self.wanted(curve.data_path) for curve in _curves_of(action, slot)):
            return None
        made = action.copy()
        made.name = f"{action.name} Parts"
        for handle, curves in _curves(made):
            for curve in list(curves):
                if slot not in (None, handle) or not self.wanted(curve.data_path):
                    curves.remove(curve)
        return made


def copy_animation(
    source: bpy.types.ID, target: bpy.types.ID, *, partial: PartialActions | None = None
) -> list[str]:
    """Let `target` be animated as `source` is, by its action and NLA tracks; names of strips left out.

    partial: only by the curves that it wants
    """
    animation = source.animation_data
    if animation is None or (animation.action is None and not len(animation.nla_tracks)):
        return []
    if partial is not None and not any(map(partial.wanted, animated_paths(source))):
        return []
    made = target.animation_data or target.animation_data_create()
    left_out: list[str] = []
    previous = None
    for track in animation.nla_tracks:
        copied = made.nla_tracks.new(prev=previous)
        left_out += _copy_track(track, copied, partial)
        previous = copied
    if animation.action is not None:
        made.action = animation.action if partial is None else partial.of(animation)
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
    users = [animation, *(strip for track in animation.nla_tracks for strip in track.strips)]
    return {
        curve.data_path
        for user in users
        if user.action is not None
        for curve in _curves_of(user.action, getattr(getattr(user, "action_slot", None), "handle", None))
    }


def _curves_of(action: bpy.types.Action, slot: int | None) -> list[bpy.types.FCurve]:
    """The curves of one slot, by its handle; all where there are no slots."""
    return [curve for handle, curves in _curves(action) if slot in (None, handle) for curve in curves]


def _curves(action: bpy.types.Action) -> Iterator[tuple[int | None, bpy.types.bpy_prop_collection]]:
    """The collections of curves with the handles of their slots, which layered actions have (from 4.4 on)."""
    layers = getattr(action, "layers", ())
    if not len(layers):
        yield from [(None, action.fcurves)] if hasattr(action, "fcurves") else []
    for layer in layers:
        for strip in layer.strips:
            yield from ((bag.slot_handle, bag.fcurves) for bag in strip.channelbags)


def _copy_track(
    track: bpy.types.NlaTrack, copied: bpy.types.NlaTrack, partial: PartialActions | None
) -> list[str]:
    left_out = []
    for strip in track.strips:
        if strip.type != "CLIP" or strip.action is None:
            left_out.append(strip.name)
            continue
        action = strip.action if partial is None else partial.of(strip)
        if action is None:
            continue
        made = copied.strips.new(strip.name, int(strip.frame_start), action)
        _copy_slot(strip, made)
        _copy(_STRIP, strip, made)
        made.name = strip.name
    _copy(_TRACK, track, copied)
    return left_out


def _copy_slot(source: bpy.types.bpy_struct, target: bpy.types.bpy_struct) -> None:
    slot = getattr(source, "action_slot", None)  # layered actions, from 4.4 on
    if slot is not None and target.action is not None:
        target.action_slot = next(one for one in target.action.slots if one.identifier == slot.identifier)


def _copy(names: tuple[str, ...], source: bpy.types.bpy_struct, target: bpy.types.bpy_struct) -> None:
    for name in names:
        if getattr(target, name) != getattr(source, name):
            setattr(target, name, getattr(source, name))
