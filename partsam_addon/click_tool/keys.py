# SPDX-License-Identifier: GPL-3.0-or-later
"""What an event means to the click tool: one of its actions, navigation, or nothing.

The tool's keys are items of a keymap of the add-on, so users see and change them in the preferences.
Navigation is whatever the user's keymap calls an operator that moves the view or the layout.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import bpy

KEYMAP = "PartSAM: Part by Clicks"
ACTION_OPERATOR = "partsam.click_action"

ACTIONS = (
    ("CLICK", "Part of It", "The part is here; on a dot: drag moves it, a click removes it"),
    ("EXCLUDE", "Not Part of It", "The part is not here"),
    ("ADD_TO", "Add to Part", "Add what is here to the existing part under the mouse, or to the active one"),
    ("TAKE_FROM", "Take from Part", "Take what is here out of the existing part under the mouse"),
    ("ACCEPT", "Accept", "Make a part of it and go on with the next"),
    ("LEAVE", "Leave", "End the tool; accepted parts stay"),
    ("TAKE_BACK", "Take Back", "Remove the last click"),
    ("LARGER", "Larger", "Mean a larger part"),
    ("SMALLER", "Smaller", "Mean a smaller part"),
    ("WHOLE", "Whole", "The largest of what may be meant"),
    ("PART", "Part", "The middle one of what may be meant"),
    ("SUBPART", "Sub-part", "The smallest of what may be meant"),
    ("NEXT_LEVEL", "Next Level", "From whole to part to sub-part and round"),
    ("NEXT_PART", "Next Part", "Go to the next part, or to a new one"),
    ("PREVIOUS_PART", "Previous Part", "Go to the previous part"),
    ("LIKE_PART", "Improve Part", "Start from the existing part under the mouse"),
    ("BOX", "Box", "Drag a rectangle over the part"),
    ("LASSO", "Lasso", "Draw around the part"),
    ("SELECTION", "From Selection", "Start from the faces selected in Edit mode"),
    ("MIRROR", "Mirror", "Mirror clicks and result across the object's X axis"),
    ("THROUGH", "X-Ray", "Reach what lies behind"),
    ("NEXT_HIT", "Next Behind", "Go to the next surface behind the mouse"),
    ("HIDE_ACCEPTED", "Hide Accepted", "Hide accepted parts, so that what they cover can be clicked"),
)
MOUSE_ACTIONS = frozenset({"CLICK", "EXCLUDE", "ADD_TO", "TAKE_FROM"})
EVERYWHERE = frozenset({"ACCEPT", "LEAVE"})
"""Actions whose keys work wherever the mouse is."""

DEFAULT_KEYS: tuple[tuple[str, str, dict[str, bool]], ...] = (
    ("CLICK", "LEFTMOUSE", {}),
    ("EXCLUDE", "LEFTMOUSE", {"ctrl": True}),
    ("ADD_TO", "LEFTMOUSE", {"shift": True}),
    ("TAKE_FROM", "LEFTMOUSE", {"shift": True, "ctrl": True}),
    ("ACCEPT", "RET", {}),
    ("ACCEPT", "NUMPAD_ENTER", {}),
    ("LEAVE", "ESC", {}),
    ("TAKE_BACK", "BACK_SPACE", {}),
    ("TAKE_BACK", "Z", {"ctrl": True}),
    ("LARGER", "WHEELUPMOUSE", {"ctrl": True}),
    ("SMALLER", "WHEELDOWNMOUSE", {"ctrl": True}),
    ("WHOLE", "ONE", {}),
    ("PART", "TWO", {}),
    ("SUBPART", "THREE", {}),
    ("NEXT_LEVEL", "TAB", {}),
    ("NEXT_PART", "N", {}),
    ("PREVIOUS_PART", "P", {}),
    ("LIKE_PART", "R", {}),
    ("BOX", "B", {}),
    ("LASSO", "L", {}),
    ("SELECTION", "S", {}),
    ("MIRROR", "X", {}),
    ("THROUGH", "Z", {"alt": True}),
    ("NEXT_HIT", "D", {}),
    ("HIDE_ACCEPTED", "H", {}),
)

NAVIGATION_KEYMAPS = ("3D View", "3D View Generic", "Screen", "Window", "Screen Editing")
NAVIGATION_OPERATORS = frozenset(
    {
        *("view3d.rotate", "view3d.move", "view3d.zoom", "view3d.dolly", "view3d.navigate"),
        *("view3d.view_axis", "view3d.view_orbit", "view3d.view_pan", "view3d.view_roll"),
        *("view3d.view_persportho", "view3d.view_all", "view3d.view_selected", "view3d.view_camera"),
        *("view3d.view_center_cursor", "view3d.view_center_pick", "view3d.view_center_camera"),
        *("view3d.zoom_border", "view3d.zoom_camera_1_to_1", "view3d.walk", "view3d.fly"),
        *("view3d.ndof_orbit", "view3d.ndof_orbit_zoom", "view3d.ndof_pan", "view3d.ndof_all"),
        *("screen.screen_full_area", "screen.region_quadview", "screen.region_toggle"),
    }
)
UNDO, REDO = "ed.undo", "ed.redo"
NAVIGATION_EVENTS = ("NDOF", "TRACKPAD", "MOUSEROTATE", "MOUSESMARTZOOM")
"""What event types that always navigate start with."""

PRESSES = frozenset({"PRESS", "DOUBLE_CLICK"})
"""A second quick click arrives as the latter."""

WHEEL = dict.fromkeys(("WHEELINMOUSE", "WHEELOUTMOUSE"), ("WHEELUPMOUSE", "WHEELDOWNMOUSE"))
"""Names in keymaps for a direction that the preferences may turn round."""

MODIFIERS = ("shift", "ctrl", "alt", "oskey")


class KeyEvent(Protocol):
    """What is read of `bpy.types.Event`."""

    type: str
    value: str
    shift: bool
    ctrl: bool
    alt: bool
    oskey: bool


@dataclass(frozen=True)
class Key:
    """A key or button with its modifiers, as an item of a keymap names it.

    modifiers: True, False, or None for any, in the order of MODIFIERS
    """

    type: str
    modifiers: tuple[bool | None, ...]

    @classmethod
    def of_item(cls, item: bpy.types.KeyMapItem) -> Key:
        """What `item` listens to."""
        if item.any:
            return cls(item.type, (None,) * len(MODIFIERS))
        states = (int(getattr(item, name)) for name in MODIFIERS)
        return cls(item.type, tuple(None if state < 0 else bool(state) for state in states))

    def matches(self, event: KeyEvent) -> bool:
        """Whether pressing it gives `event`."""
        if event.type not in WHEEL.get(self.type, (self.type,)):
            return False
        pressed = (getattr(event, name) for name in MODIFIERS)
        wanted = zip(self.modifiers, pressed, strict=True)
        return all(state is None or state == bool(is_down) for state, is_down in wanted)


class KeyTable:
    """The user's keymap as far as the tool needs it, read once when the tool starts."""

    def __init__(
        self,
        actions: Iterable[tuple[Key, str]],
        navigation: Iterable[Key],
        undo: Iterable[tuple[Key, str]] = (),
    ) -> None:
        """undo: keys of Blender's own undo and redo, with the operator"""
        self._actions = list(actions)
        self._navigation = list(navigation)
        self._undo = list(undo)

    @classmethod
    def of_user(cls, manager: bpy.types.WindowManager) -> KeyTable:
        """From the preferences."""
        keymaps = manager.keyconfigs.user.keymaps
        own = own_keymap(manager)
        items = () if own is None else own.keymap_items
        actions = [
            (Key.of_item(item), item.properties.action)
            for item in items
            if item.active and item.idname == ACTION_OPERATOR
        ]
        others = [
            item
            for name in NAVIGATION_KEYMAPS
            if name in keymaps
            for item in keymaps[name].keymap_items
            if item.active
        ]
        navigation = [Key.of_item(item) for item in others if navigates(item.idname, item.properties)]
        undo = [(Key.of_item(item), item.idname) for item in others if item.idname in {UNDO, REDO}]
        return cls(actions, navigation, undo)

    def action(self, event: KeyEvent) -> str | None:
        """The tool's action for `event`."""
        if event.value not in PRESSES:
            return None
        return next((action for key, action in self._actions if key.matches(event)), None)

    def is_navigation(self, event: KeyEvent) -> bool:
        """Whether `event` moves the view or the layout."""
        if event.type.startswith(NAVIGATION_EVENTS):
            return True
        return any(key.matches(event) for key in self._navigation)

    def undo_operator(self, event: KeyEvent) -> str | None:
        """UNDO or REDO, where `event` is a key of Blender's for it."""
        if event.value not in PRESSES:
            return None
        return next((operator for key, operator in self._undo if key.matches(event)), None)

    def keys_of(self, action: str) -> str:
        """How the keys of `action` are called, for hints."""
        names = [key_name(key) for key, name in self._actions if name == action]
        return min(names, key=len, default="")


def navigates(operator: str, properties: Any) -> bool:
    """Whether a keymap item that calls `operator` moves the view or the layout and changes no data."""
    if operator in NAVIGATION_OPERATORS:
        return True
    if operator == "wm.context_toggle":
        return str(getattr(properties, "data_path", "")).startswith("space_data.show_region")
    if operator == "wm.call_menu_pie":
        return getattr(properties, "name", "") == "VIEW3D_MT_view_pie"
    return False


def key_name(key: Key) -> str:
    """A key as people call it: "Ctrl Wheel Up"."""
    names = bpy.types.KeyMapItem.bl_rna.properties["type"].enum_items
    modifiers = [
        name.capitalize() for name, state in zip(MODIFIERS, key.modifiers, strict=True) if state is True
    ]
    plain = names[key.type].name if key.type in names else key.type
    return " ".join([*modifiers, plain])


def own_keymap(manager: bpy.types.WindowManager) -> bpy.types.KeyMap | None:
    """The tool's keymap, as the user has changed it."""
    configs = manager.keyconfigs
    # A user's keyconfig has only the keymaps of the one that it is based on, and that may lack ours.
    found = configs.user.keymaps.get(KEYMAP)
    return found if found is not None or configs.addon is None else configs.addon.keymaps.get(KEYMAP)


def register() -> None:
    """Put the tool's keys into the add-on's keyconfig."""
    configs = bpy.context.window_manager.keyconfigs
    if configs.addon is None:
        return
    if configs.default is not None:  # an empty one, for Blender to merge ours into
        configs.default.keymaps.new(KEYMAP, space_type="VIEW_3D", region_type="WINDOW")
    keymap = configs.addon.keymaps.new(KEYMAP, space_type="VIEW_3D", region_type="WINDOW")
    for action, key, modifiers in DEFAULT_KEYS:
        item = keymap.keymap_items.new(ACTION_OPERATOR, key, "PRESS", **modifiers)
        item.properties.action = action


def unregister() -> None:
    configs = bpy.context.window_manager.keyconfigs
    for config in (configs.addon, configs.default):
        keymap = None if config is None else config.keymaps.get(KEYMAP)
        if config is not None and keymap is not None:
            config.keymaps.remove(keymap)
