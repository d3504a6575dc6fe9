# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the user is in the middle of something that no operator shows: a panel, a menu, a field.

A result that comes while the redo panel of another operator is open would let Blender crash at the panel's
next value, or be taken back by it; one that comes while a name is typed would end the typing, and the next
keys would go to the viewport. In which of Blender's windows it is open makes no difference.

Blender does not tell what is open. But all of these swallow events, except for those of timers, which say
where the mouse is and what was pressed last: what a listener did not hear itself, somebody else has taken.
A window's events reach only operators that were started for it, so there is a listener in each.
"""

from __future__ import annotations

import bpy

from ..wording import say
from .modal import OWN_PREFIX

OPEN_INPUT = "your input"
"""As what a result waits for."""

LISTEN_SECONDS = 0.1

PRESSED = frozenset({"PRESS", "DOUBLE_CLICK", "CLICK_DRAG"})

NEVER_RELEASED = ("WHEEL", "TRACKPAD", "NDOF", "LEFT_ALT", "RIGHT_ALT", "OSKEY", "WINDOW", "NONE")
"""How the types of events begin that are not followed by their release, or perhaps in another program."""

_State = tuple[int, int, str, str]


def waiting_text(obstacle: str) -> str:
    """A sentence on what a result waits for: `Session.obstacle`, which is not empty."""
    if obstacle == OPEN_INPUT:
        return say("Waiting for your input")
    return say("Waiting for {operator} to end", operator=obstacle)


class Ear:
    """What is heard in one window. What is open there already is not noticed.

    is_taken: whether something is held down there, or input goes to what is open
    """

    def __init__(self, window: bpy.types.Window) -> None:
        manager = bpy.context.window_manager
        self._timer: bpy.types.Timer | None = manager.event_timer_add(LISTEN_SECONDS, window=window)
        self._below = {
            operator.as_pointer()
            for operator in window.modal_operators
            if "MODAL_PRIORITY" not in operator.bl_options
        }
        self._heard: _State | None = None
        self._is_pressed = self._was_modal = self._is_missing = False

    @property
    def is_closed(self) -> bool:
        return self._timer is None

    @property
    def is_taken(self) -> bool:
        return self._is_pressed or self._is_missing

    @property
    def is_open(self) -> bool:
        """Whether input goes to what is open there."""
        return self._is_missing

    def close(self) -> None:
        """Stop listening. May be called twice, but not first when Blender has freed the window."""
        timer, self._timer = self._timer, None
        if timer is not None:
            bpy.context.window_manager.event_timer_remove(timer)

    def hear(self, window: bpy.types.Window, event: bpy.types.Event, *, passed: bool) -> None:
        """Take note of an event of the window. passed: it goes on to what else is there"""
        state = event.mouse_x, event.mouse_y, event.type_prev, event.value_prev
        if not event.type.startswith("TIMER"):
            self._heard = state
            is_press = event.value in PRESSED and not event.type.startswith(NEVER_RELEASED)
            self._is_pressed = passed and is_press
            return
        modal = self._has_others(window)
        if self._heard is None or modal or self._was_modal:
            # What other operators take they show; the last of it comes after the timer's event before.
            self._heard, self._is_pressed = state, False
        self._was_modal = modal
        self._is_missing = state != self._heard

    def _has_others(self, window: bpy.types.Window) -> bool:
        """Whether an operator gets the events first: ours tell what they hear."""
        return any(
            not operator.bl_idname.startswith(OWN_PREFIX) and operator.as_pointer() not in self._below
            for operator in window.modal_operators
        )


class InputWatch:
    """Listens to all windows, those that are opened meanwhile included, from `begin` to `end`."""

    def __init__(self) -> None:
        self._ears: dict[int, Ear] = {}
        self._is_on = False

    @property
    def is_taken(self) -> bool:
        """Whether something is held down in a window, or input goes to what is open."""
        return any(ear.is_taken for ear in self._ears.values())

    @property
    def is_open(self) -> bool:
        """Whether input goes to what is open in a window."""
        return any(ear.is_open for ear in self._ears.values())

    def begin(self, window: int = 0) -> None:
        """Listen. May be called again.

        window: address of that in which the user acts, by default the active one. What has its input now,
            as a button, is that action, and is not noticed
        """
        self._is_on = not bpy.app.background
        if not window and bpy.context.window is not None:
            window = bpy.context.window.as_pointer()
        if window in self._ears and self._ears[window].is_taken:
            self._ears.pop(window).close()
        self.follow_windows()

    def follow_windows(self) -> None:
        """Listen to the windows that have come since."""
        if not self._is_on or bpy.context.window is None:
            return
        for window in bpy.context.window_manager.windows:
            if window.as_pointer() not in self._ears:
                bpy.ops.partsam.watch_input("INVOKE_DEFAULT")

    def end(self) -> None:
        """Stop listening. May be called twice."""
        self._is_on = False
        while self._ears:
            self._ears.popitem()[1].close()

    def open_next(self, windows: list[bpy.types.Window]) -> tuple[bpy.types.Window, Ear] | None:
        """One of `windows` that is not listened to yet, and the ear for it, if there is one."""
        for window in windows if self._is_on else ():
            if window.as_pointer() not in self._ears:
                ear = self._ears[window.as_pointer()] = Ear(window)
                return window, ear
        return None

    def close(self, ear: Ear) -> None:
        """Its window goes."""
        ear.close()
        self._ears = {address: other for address, other in self._ears.items() if other is not ear}

    def hear(self, window: bpy.types.Window, event: bpy.types.Event, *, passed: bool) -> None:
        """What another operator of ours has got, perhaps before the listener of that window.

        passed: it goes on to what else is there
        """
        ear = self._ears.get(window.as_pointer())
        if ear is not None:
            ear.hear(window, event, passed=passed)
