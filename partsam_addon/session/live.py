# SPDX-License-Identifier: GPL-3.0-or-later
"""The sliders: stored part trees, cut anew while the user drags."""

from __future__ import annotations

import time
from collections.abc import Callable

import bpy

from ...backend.errors import Cancelled, MeshError, PartSAMError
from ..backend_process import Job, RequestFailed, Result
from ..constants import LIVE_REFINE_FACES
from ..parts import Cut, cut_of, driven_level, driven_levels, is_outdated
from .recutting import (
    Target,
    candidates,
    driven_objects,
    forget_if_missing,
    refined,
    request_of,
    target,
    update_tables,
)
from .undo_steps import has_last_operator, last_operator_is_own, push_undo_step
from .workplace import Workplace
from .writing import Recut, write_changes

SETTLE_SECONDS = 0.4
"""A drag that pauses for so long is one undo step."""

STEP = "Change Granularity"
"""Its name."""


class LiveLabels:
    """Keeps the newest slider position of each level; what came before is dropped.

    Cuts that need no refinement are written with the next tick. The backend refines one at a time, so at
    most one request is under way.
    """

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._wanted: dict[tuple[int, int], Target] = {}
        self._asked: dict[tuple[int, int], Target] = {}
        self._job: Job | None = None
        self._unsettled: dict[tuple[int, int], Target] = {}
        self._written_at = 0.0
        self._moved_in = 0

    @property
    def is_waiting(self) -> bool:
        """Whether the timer must go on."""
        return bool(self._wanted) or self._job is not None or bool(self._unsettled)

    def shown(self, context: bpy.types.Context) -> Cut | None:
        """Where the sliders stand for the active object; None where there is nothing to drive."""
        obj = getattr(context, "object", None)
        if obj is None or obj.type != "MESH" or (level := driven_level(obj.data)) is None:
            return None
        key = obj.session_uid, level.number
        return self._cut_under_way(key) or cut_of(level)

    def _cut_under_way(self, key: tuple[int, int]) -> Cut | None:
        pending = self._wanted.get(key) or self._asked.get(key)
        return None if pending is None else pending.cut

    def move(self, context: bpy.types.Context, moved: Callable[[Cut], Cut]) -> None:
        """A slider has a new value: cut each selected object where `moved` takes its cut."""
        if not self._place.is_free:
            return
        update_tables(context, [obj for obj in candidates(context) if _has_joined(obj)])
        for obj in driven_objects(context):
            for level in driven_levels(obj.data):
                key = obj.session_uid, level.number
                before = self._cut_under_way(key) or cut_of(level)
                self._wanted[key] = target(self._place, obj, level, moved(before))
        if self._wanted and context.window is not None:
            self._moved_in = context.window.as_pointer()
        self._place.wake()

    def drop(self) -> None:
        """Forget what was wanted and under way."""
        if self._job is not None:
            self._job.cancel()
        self._wanted, self._asked, self._unsettled = {}, {}, {}
        self._job = None
        self._moved_in = 0

    def make_way(self) -> None:
        """Other work begins: what was written becomes an undo step of its own, the rest is dropped."""
        if self._unsettled:
            self._unsettled.clear()
            push_undo_step(STEP)
        self.drop()

    def before_undo(self) -> None:
        """Blender is about to undo or redo. What is no undo step yet becomes one, so that undo takes back
        that and nothing else.

        A redo panel that is open takes back its own operator, with all that came after: then what was written
        is wanted again, unless that operator cuts parts itself. A menu with Undo in it is as open.
        """
        if not self._place.input.is_open or not has_last_operator():
            self._finish_at_once()
            return
        unsettled, self._unsettled = self._unsettled, {}
        if unsettled and not last_operator_is_own():
            self._wanted = unsettled | self._wanted

    def _finish_at_once(self) -> None:
        """Write what is wanted without waiting for its borders, and push the step. In Edit mode, where
        nothing is written while Blender undoes, what is not written yet is dropped."""
        pending, unsettled = self._asked | self._wanted, self._unsettled
        self.drop()
        if pending and bpy.context.mode != "EDIT_MESH":
            self._write_trees(pending)
        if unsettled or self._unsettled:
            self._unsettled = {}
            bpy.ops.ed.undo_push(message=STEP)

    def poll(self) -> None:
        """Take the answer that came, cut what is wanted now, and push the undo step of a finished drag.

        The slider may be held meanwhile. What else has the input must end first: a redo panel would take
        back what is written, and crash where its operator is not the last any more.
        """
        if self._moved_in:
            self._place.input.begin(self._moved_in)
            self._moved_in = 0
        if self._place.obstacle():
            return
        try:
            if self._job is not None and self._job.poll():
                self._take_answer()
            if self._job is None and self._wanted:
                self._cut_or_ask()
        except Cancelled:
            self.make_way()
        except PartSAMError as error:
            self.make_way()
            self._place.report(error)
        self._settle()

    def _cut_or_ask(self) -> None:
        wanted, self._wanted = self._wanted, {}
        to_refine = {
            key: one
            for key, one in wanted.items()
            if one.is_refined and one.held is not None and one.held.shape_faces <= LIVE_REFINE_FACES
        }
        at_once = {key: one for key, one in wanted.items() if key not in to_refine}
        if at_once:
            self._write_trees(at_once)
        if to_refine:
            first = next(reversed(to_refine.values()))
            self._asked = {key: one for key, one in to_refine.items() if one.question == first.question}
            self._wanted = {key: one for key, one in to_refine.items() if key not in self._asked}
            self._job = self._place.send(request_of(first))

    def _take_answer(self) -> None:
        """Write the answer to all that have asked for it."""
        assert self._job is not None
        job, asked = self._job, self._asked
        self._job, self._asked = None, {}
        answer = None
        try:
            answer = job.result()
        except RequestFailed as error:
            forget_if_missing(self._place, next(iter(asked.values())), error)
        try:  # together: each time Edit mode is left and entered again
            self._write(asked, [refined(one, answer) for one in asked.values()])
        except PartSAMError:  # one of them cannot be written; the others can
            self._write_each(asked, answer)

    def _write_each(self, asked: dict[tuple[int, int], Target], answer: Result | None) -> None:
        for key, one in asked.items():
            try:
                self._write({key: one}, [refined(one, answer)])
            except MeshError:  # the mesh was edited: the stored tree went with it, the backend's did not
                self._write_trees({key: one})

    def _write_trees(self, wanted: dict[tuple[int, int], Target]) -> None:
        """Write them without refinement. What cannot be written, as it is gone or linked, is told of and
        holds up nothing else."""
        try:
            self._write(wanted, [one.from_tree() for one in wanted.values()])
        except PartSAMError as error:
            if len(wanted) == 1:
                self._place.report(error)
                return
            for key, one in wanted.items():
                self._write_trees({key: one})

    def _write(self, written: dict[tuple[int, int], Target], changes: list[Recut]) -> None:
        write_changes(bpy.context, changes)
        self._unsettled |= written
        self._written_at = time.monotonic()
        self._place.redraw()

    def _settle(self) -> None:
        if not self._unsettled or self._job is not None or self._wanted:
            return
        if time.monotonic() - self._written_at > SETTLE_SECONDS:
            self._unsettled.clear()
            push_undo_step(STEP)


def _has_joined(obj: bpy.types.Object) -> bool:
    """Whether there may be part trees that are not known yet, of what a script has joined to `obj`: panels
    see to it themselves. Not while it is edited."""
    return obj.mode == "OBJECT" and is_outdated(obj.data)
