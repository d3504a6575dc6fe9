# SPDX-License-Identifier: GPL-3.0-or-later
"""Accepted parts on their way into the mesh, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ...backend.errors import Cancelled
from ..mesh_exchange import MeshSource
from ..mesh_exchange.arrays import BoolArray
from ..session.flow import FlowRun
from ..session.workplace import Workplace
from .accepting import Accepted
from .asking import ClickSettings, EncodedObject, accept_part
from .bar import WorkBar
from .history import AcceptedHistory
from .masks import Preview
from .snapping import Snapping


class PartWriter:
    """A queue, of which one part at a time is written.

    written: the parts of this run that are in the mesh, in order; undone: how many Blender's redo brings back
    """

    def __init__(
        self,
        place: Workplace,
        bar: WorkBar,
        source: MeshSource,
        *,
        done: Callable[[], None],
        failed: Callable[[Accepted, Exception], None],
    ) -> None:
        """source: the mesh that gets the parts
        done: called when a part is written; failed: with one that cannot be, which has left the queue
        """
        self.written: list[Accepted] = []
        self.undone = 0
        self._place, self._bar = place, bar
        self._done, self._failed = done, failed
        self._queue: deque[Accepted] = deque()
        self._history = AcceptedHistory(source)
        self._run: FlowRun | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits."""
        return not self._queue

    @property
    def waiting(self) -> list[Preview]:
        """What waits to be written, the part that is being written included."""
        return [part.preview for part in self._queue]

    def covered(self, count: int) -> BoolArray:
        """Polygons of all written parts, bool [count]."""
        inside = np.zeros(count, dtype=bool)
        for part in self.written:
            inside |= part.polygons
        return inside

    def add(self, parts: list[Accepted]) -> None:
        """Put parts at the end of the queue."""
        self._queue += parts

    def go_on(self, known: EncodedObject, settings: ClickSettings, snapping: Snapping) -> None:
        """Begin with the next part, unless one is being written."""
        if self._run is not None or not self._queue:
            return
        flow = accept_part(self._place, known, self._queue[0], self.written, settings, snapping)
        self._run = FlowRun("Accepting", flow, done=self._take, failed=self._give_back)
        self._bar.begin(self._run)
        self._run.start()

    def poll(self) -> None:
        """Go on with the part that is being written."""
        if self._run is not None:
            self._run.poll()

    def follow_undo(self) -> tuple[list[Accepted], list[Accepted]]:
        """After Blender's undo or redo: the parts that the mesh has no more, and those that it has again.

        Raises PartSAMError where the mesh is gone.
        """
        before, self.written = self.written, self._history.now()
        lost = [part for part in before if not _has(self.written, part)]
        gained = [part for part in self.written if not _has(before, part)]
        self.undone = max(0, self.undone + len(lost) - len(gained))
        return lost, gained

    def drop(self) -> None:
        """Let go of what is being written."""
        self._run = None

    def stop(self) -> None:
        """What is not written by now is not written."""
        run, self._run = self._run, None
        if run is not None:
            run.abandon(Cancelled())

    def _take(self, written: Accepted) -> None:
        self._run = None
        self._queue.popleft()
        self.written = [
            replace(part, polygons=part.polygons & ~written.polygons)
            for part in self.written
            if part.part_id != written.part_id
        ] + [written]
        self._history.note(self.written)
        self.undone = 0
        self._done()

    def _give_back(self, error: Exception) -> None:
        self._run = None
        self._failed(self._queue.popleft(), error)


def _has(parts: list[Accepted], wanted: Accepted) -> bool:
    """Whether a part is among others, though a later one may have taken faces from it."""
    return any(part.preview is wanted.preview for part in parts)
