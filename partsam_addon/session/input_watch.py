# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the user is in the middle of something that no operator shows: a panel, a menu, a field.

A result that comes while the redo panel of another operator is open would let Blender crash at the panel's
next value, or be taken back by it; one that comes while a name is typed would end the typing, and the next
keys would go to the viewport.

Blender does not tell what is open. But all of these swallow events, except for those of timers, which say
where the mouse is and what was pressed last: what a listener did not hear itself, somebody else has taken.
"""

from __future__ import annotations

import bpy

from ..mesh_exchange.modes import is_modal

OPEN_INPUT = "your input"
"""As what a result waits for."""

LISTEN_SECONDS = 0.1

PRESSED = frozenset({"PRESS", "DOUBLE_CLICK", "CLICK_DRAG"})

NEVER_RELEASED = ("WHEEL", "TRACKPAD", "NDOF", "LEFT_ALT", "RIGHT_ALT", "OSKEY", "WINDOW", "NONE")
"""How the types of events begin that are not followed by their release, or perhaps in another program."""

_State = tuple[int, int, str, str]


class InputWatch:
    """Listens to one window, through an operator, from `begin` to `end`.

    number: counts how often it has begun
    """

    def __init__(self) -> None:
        self.number = 0
        self._timer: bpy.types.Timer | None = None
        self._heard: _State | None = None
        self._is_pressed = False
        self._was_modal = False
        self._is_taken = False

    @property
    def is_running(self) -> bool:
        """Whether it listens."""
        return self._timer is not None

    @property
    def is_taken(self) -> bool:
        """Whether something is held down, or input goes to what is open."""
        return self.is_running and (self._is_pressed or self._is_taken)

    def begin(self) -> None:
        """Listen to the active window, if there is one. What is open already is not noticed."""
        if self.is_running or bpy.app.background or bpy.context.window is None:
            return
        self.number += 1
        self._heard, self._is_pressed, self._was_modal, self._is_taken = None, False, False, False
        manager = bpy.context.window_manager
        self._timer = manager.event_timer_add(LISTEN_SECONDS, window=bpy.context.window)
        bpy.ops.partsam.watch_input("INVOKE_DEFAULT")

    def end(self) -> None:
        """Stop listening. May be called twice."""
        timer, self._timer = self._timer, None
        if timer is not None:
            bpy.context.window_manager.event_timer_remove(timer)

    def hear(self, event: bpy.types.Event) -> None:
        """Take note of an event of the window."""
        state = event.mouse_x, event.mouse_y, event.type_prev, event.value_prev
        if not event.type.startswith("TIMER"):
            self._heard = state
            self._is_pressed = event.value in PRESSED and not event.type.startswith(NEVER_RELEASED)
            return
        modal = is_modal()
        if self._heard is None or modal or self._was_modal:
            # What other operators take they show; the last of it comes after the timer's event before.
            self._heard, self._is_pressed = state, False
        self._was_modal = modal
        self._is_taken = state != self._heard
