# SPDX-License-Identifier: GPL-3.0-or-later
"""The sliders: the last segmentation, cut anew while the user drags, without inference."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import bpy

from ...backend.errors import Cancelled, PartSAMError
from ..backend_process import Job
from ..constants import LIVE_REFINE_FACES
from . import segmentation as steps
from .publish import publish
from .results import Cut, Segmentation

if TYPE_CHECKING:
    from .session import Session

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 0.4
"""A drag that pauses for so long is one undo step."""


class LiveLabels:
    """Keeps one request under way for the newest slider position; what came before is dropped.

    The backend answers in order, so a request per slider event would queue up. Instead the wanted cut
    is remembered and asked for when the request before has been answered.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._wanted: tuple[int, Cut] | None = None
        self._asked: tuple[int, Cut] | None = None
        self._job: Job | None = None
        self._unsettled_since: float | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether the timer must go on."""
        return self._wanted is not None or self._job is not None or self._unsettled_since is not None

    def sliders_moved(self, context: bpy.types.Context) -> None:
        """A slider has a new value: cut the active object's last segmentation there."""
        obj = context.object
        last = None if obj is None else self._session.results.of_object(obj.session_uid)
        if last is None or self._session.is_busy or self._session.clicks is not None:
            return
        cut = slider_cut(context)
        if cut.strength is not None and last.face_count > LIVE_REFINE_FACES:
            cut = Cut(cut.granularity, None)  # borders follow when Refine is pressed
        self._wanted = (last.id, cut)
        self._session.wake()

    def drop(self) -> None:
        """Forget what was wanted and under way."""
        if self._job is not None:
            self._job.cancel()
        self._wanted = self._asked = self._job = None
        self._unsettled_since = None

    def poll(self) -> None:
        """Take the answer that came, send what is wanted now, and push the undo step of a finished drag."""
        try:
            if self._job is not None and self._job.poll():
                self._take_answer()
            if self._job is None and self._wanted is not None:
                self._ask()
        except Cancelled:
            self.drop()
        except PartSAMError as error:
            self.drop()
            self._session.report(error)
        self._settle()

    def _ask(self) -> None:
        assert self._wanted is not None
        (number, cut), self._wanted = self._wanted, None
        last = self._session.results.get(number)
        if last is not None:  # even for the cut of the last answer: undo may have taken that back
            self._asked = (number, cut)
            self._job = self._session.send(steps.cut_request(last, cut))

    def _take_answer(self) -> None:
        assert self._job is not None and self._asked is not None
        job, (number, cut) = self._job, self._asked
        self._job = self._asked = None
        last = self._session.results.get(number)
        if last is None:
            return
        newer: Segmentation = steps.with_answer(last, cut, job.result())
        publish(bpy.context, newer)
        self._session.results.keep(newer)
        self._unsettled_since = time.monotonic()
        self._session.redraw()

    def _settle(self) -> None:
        since = self._unsettled_since
        if since is None or self._job is not None or self._wanted is not None:
            return
        if time.monotonic() - since > SETTLE_SECONDS:
            self._unsettled_since = None
            bpy.ops.ed.undo_push(message="Change Granularity")


def slider_cut(context: bpy.types.Context) -> Cut:
    """Where the sliders stand."""
    sliders = context.window_manager.partsam
    return Cut(sliders.granularity, sliders.strength if sliders.refine else None)
