# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the tool is with what it does beside the mouse: preparing the shape, and writing accepted parts."""

from __future__ import annotations

import time

from ..session.flow import FlowRun, Pause
from ..session.input_watch import waiting_text
from ..session.progress import WorkProgress, clock
from ..session.workplace import Workplace
from ..wording import say

REDRAW_SECONDS = 0.25

ENCODED = 0.35
"""Where in the stages of `session.progress` a shape is encoded, which is all of the preparation."""


class WorkBar:
    """One bar for each piece of work; it never falls. Only the sidebar is drawn for it."""

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._run: FlowRun | None = None
        self._progress = WorkProgress()
        self._end = 1.0
        self._started = self._drawn = 0.0

    def begin(self, run: FlowRun, *, end: float = 1.0) -> None:
        """end: which share of the work of a whole segmentation it is"""
        self._run, self._progress, self._end = run, WorkProgress(), end
        self._started = time.monotonic()

    def follow(self) -> None:
        """Look how far the work is, and have that drawn now and then."""
        run = self._run
        if run is None:
            return
        if run.ended:
            self._run = None
        elif run.job is not None:
            self._progress.advance(run.job.stage, run.job.fraction)
        if run.ended or time.monotonic() - self._drawn > REDRAW_SECONDS:
            self._drawn = time.monotonic()
            self._place.redraw(viewport=False)

    @property
    def fraction(self) -> float:
        """In [0, 1]; 0 where nothing is going on."""
        return 0.0 if self._run is None else min(self._progress.fraction / self._end, 1.0)

    @property
    def text(self) -> str:
        """What is going on and for how long; empty where nothing is."""
        if self._run is None:
            return ""
        obstacle = self._place.obstacle() if isinstance(self._run.job, Pause) else ""
        stage = waiting_text(obstacle) if obstacle else say(self._run.title)
        return f"{stage} · {clock(time.monotonic() - self._started)}"
