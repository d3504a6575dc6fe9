# SPDX-License-Identifier: GPL-3.0-or-later
"""The session: one backend, one piece of work at a time, and the timer that moves it on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import bpy

from ...backend.errors import Cancelled, PartSAMError
from ..backend_process import BackendDied, BackendProcess, BackendSettings, Job, Request, requests
from ..mesh_exchange import editable_problem
from ..parts import bring_together
from ..wording import say, say_error
from .again import Again
from .choices import Choices, read_choices, working_folder
from .finished import Finished
from .flow import Flow, FlowRun, run_now
from .held import HeldTrees
from .input_watch import OPEN_INPUT, InputWatch
from .live import LiveLabels
from .modal import foreign_modal
from .progress import WorkProgress
from .setup import Setup
from .workplace import Tool

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.05
REDRAW_SECONDS = 0.25


@dataclass(frozen=True)
class Problem:
    """What went wrong last, as the panel shows it.

    restart: whether restarting the backend is the way on
    log_tail: the backend's last lines, where they say more
    """

    message: str
    restart: bool = False
    log_tail: tuple[str, ...] = ()


class Session:
    """Owns the backend process and the work in progress.

    run: the work started from the window; at most one
    problem, notices: what the panel should tell about the last piece of work
    held: the part trees that the backend holds
    live: follows the sliders; again: follows the redo panel
    setup: of the backend's environment
    clicks: of the click tool, while it runs; picking: of the picking of parts
    input: whether the user is in the middle of something while there may be something to write
    waits_for: what keeps a finished piece of work from being written: a foreign operator, or OPEN_INPUT
    progress: of the work in progress
    finished: what the last segmentation from the window has found
    is_written: while the operator that began a piece of work only pushes the undo step of its result
    """

    def __init__(self) -> None:
        self.backend: BackendProcess | None = None
        self.run: FlowRun | None = None
        self.problem: Problem | None = None
        self.notices: tuple[str, ...] = ()
        self.held = HeldTrees()
        self.live = LiveLabels(self)
        self.again = Again(self)
        self.setup = Setup(self)
        self.clicks: Tool | None = None
        self.picking: Tool | None = None
        self.finished: Finished | None = None
        self.is_written = False
        self.input = InputWatch()
        self.waits_for = ""
        self.progress = WorkProgress()
        self._started = 0.0
        self._drawn = 0.0
        self._outdated: set[int] = set()
        self.choices: Choices | None = None
        self._watchers: list[Callable[[], bool]] = []

    @property
    def is_busy(self) -> bool:
        """Whether work started from the window is in progress."""
        return self.run is not None

    @property
    def is_free(self) -> bool:
        """Whether neither work nor a tool is in progress."""
        return self.run is None and self.clicks is None

    @property
    def elapsed(self) -> float:
        """Seconds since the work in progress began."""
        return time.monotonic() - self._started

    def send(self, request: Request) -> Job:
        """Send `request` to the backend, which must be open (`open_backend`)."""
        if self.backend is None:
            raise PartSAMError("the backend is not running; press Segment again")
        return self.backend.send(request)

    def open_backend(self) -> BackendProcess:
        """The backend, running with the current choices; started, or started again where they changed.

        After a crash that the user has been told about this starts a new process.
        """
        choices = read_choices()
        # Model and device are part of each request; another interpreter needs another process.
        if self.choices is not None and choices.python != self.choices.python:
            self.close_backend()
        earlier, self.choices = self.choices, choices
        if self.backend is None:
            settings = BackendSettings(
                python=choices.python.path,
                packages=choices.python.packages,
                working_folder=working_folder(),
                idle_release_seconds=choices.idle_release_seconds,
            )
            self.backend = BackendProcess(settings)
        self.backend.pump()  # notices an end in the meantime
        if self.backend.crash is not None:
            self.restart_backend()
        if earlier is not None and earlier.idle_release_seconds != choices.idle_release_seconds:
            self.backend.send(requests.configure(idle_release_seconds=choices.idle_release_seconds))
        return self.backend

    def restart_backend(self) -> None:
        """End the backend and start a new one; earlier results can still be cut, but no longer refined."""
        self.held.clear()
        self.problem = None
        if self.backend is None:
            self.open_backend().start()
        else:
            self.backend.restart()
        self.wake()

    def close_backend(self) -> None:
        """End the backend process, if one runs."""
        if self.backend is not None:
            self.backend.shutdown()
            self.backend = None
        self.held.clear()

    def run_now(self, flow: Flow) -> Any:
        """Run `flow` and wait for it: for scripts, background mode and the redo panel."""
        self._refuse_second()
        backend = self.open_backend()
        self.problem, self.notices, self.waits_for = None, (), ""
        self.live.make_way()
        return run_now(flow, backend)

    def start(
        self,
        title: str,
        flow: Flow,
        *,
        done: Callable[[Any], None] | None = None,
        needs_backend: bool = True,
    ) -> None:
        """Start `flow` and return at once; the timer moves it on, and `done(value)` is called at its end.

        needs_backend: the flow sends requests, and does not only calculate
        Raises PartSAMError where the backend cannot run or other work is in progress.
        """
        self._refuse_second()
        if needs_backend:
            self.open_backend()
        self.problem, self.notices = None, ()
        self.live.make_way()
        self.progress = WorkProgress()
        self._started = time.monotonic()
        self.run = FlowRun(title, flow, done=lambda value: self._finish(done, value), failed=self._fail)
        self.run.start()
        if self.run is not None:
            self.input.begin()
        self.wake()

    def cancel(self) -> None:
        """Ask the work in progress to stop, or what the redo panel wants not to start."""
        was_wanted = self.again.is_wanted
        self.again.drop()
        if self.run is not None:
            self.run.cancel()
        elif was_wanted:
            self.report(Cancelled())

    def abandon(self, reason: str) -> None:
        """End the work in progress at once, because what it was for is gone."""
        self.input.end()
        self.live.drop()
        self.again.drop()
        clicking = self.clicks is not None
        self.end_clicks()
        self.end_picking()
        if self.run is not None:
            self.run.abandon(PartSAMError(reason))
        elif clicking:
            self.report(PartSAMError(reason))

    def end_clicks(self) -> None:
        """End the click tool, if it runs; its operator ends when it sees that."""
        work, self.clicks = self.clicks, None
        if work is not None:
            work.stop()
            self.redraw()

    def start_picking(self, picking: Tool) -> None:
        """Parts are being picked."""
        self.end_picking()
        self.picking = picking
        self.redraw()

    def end_picking(self) -> None:
        """End the picking of parts, if it runs; its operator ends when it sees that."""
        picking, self.picking = self.picking, None
        if picking is not None:
            picking.stop()
            self.redraw()

    def report(self, error: Exception) -> None:
        """Keep `error` for the panel."""
        if isinstance(error, Cancelled):
            self.notices = ("Cancelled; nothing was changed",)
        elif isinstance(error, BackendDied):
            self.problem = Problem(str(error), restart=True, log_tail=error.report.log_tail)
        elif isinstance(error, PartSAMError):
            self.problem = Problem(say_error(error))
        else:
            logger.error("unexpected error", exc_info=error)
            self.problem = Problem(f"Unexpected error: {error}. Please report it with the log", restart=True)
        self.redraw()

    def watch(self, poll: Callable[[], bool]) -> None:
        """Call `poll` with each tick until it returns False."""
        self._watchers.append(poll)
        self.wake()

    def wake(self) -> None:
        """Have the timer run while there is something to wait for."""
        if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
            bpy.app.timers.register(_tick, first_interval=TICK_SECONDS, persistent=True)
        self.redraw()

    def tick(self) -> bool:
        """Move everything on; False when there is nothing more to wait for."""
        if self.backend is not None and self.backend.pump() and self.clicks is None:
            self.redraw(viewport=False)  # the click tool answers the mouse, which panels do not show
        if self.run is not None:
            # What a flow does after its last answer is writing into the scene.
            may_write = self.run.may_write and not self.run.is_cancelled
            self.waits_for = self.obstacle() if may_write else ""
            if not self.waits_for:
                self.run.poll()
        self._show_progress()
        self.live.poll()
        self._count_outdated()
        self._watchers = [poll for poll in self._watchers if poll()]
        if self.is_free and not self.live.is_waiting:
            self.input.end()
        else:
            self.input.follow_windows()
        return (
            self.run is not None
            or self.live.is_waiting
            or bool(self._watchers)
            or bool(self._outdated)
            or (self.backend is not None and self.backend.is_busy)
        )

    def count_again(self, obj: bpy.types.Object) -> None:
        """Bring table and faces of `obj` in step soon: for panels, which must not change anything."""
        if obj.session_uid not in self._outdated:
            self._outdated.add(obj.session_uid)
            self.wake()

    def obstacle(self) -> str:
        """What must end before anything is written; empty for nothing.

        The redo panel that has started the work itself may stay open.
        """
        return foreign_modal() or (OPEN_INPUT if self.input.is_taken and not self.again.is_running else "")

    def _count_outdated(self) -> None:
        if not self._outdated or self.obstacle():
            return
        for obj in bpy.data.objects:
            known = obj.session_uid in self._outdated and obj.type == "MESH"
            if known and editable_problem(obj) is None and not obj.data.is_editmode:
                bring_together(obj.data)
        self._outdated.clear()
        self.redraw()

    def _show_progress(self) -> None:
        job = None if self.run is None else self.run.job
        if job is not None:
            self.progress.advance(job.stage, job.fraction)
            if time.monotonic() - self._drawn > REDRAW_SECONDS:
                self._drawn = time.monotonic()
                self.redraw(viewport=False)

    def redraw(self, *, viewport: bool = True, panels: bool = True) -> None:
        """Ask for a redraw of what shows PartSAM's state: the viewports, and the sidebars and preferences."""
        wanted = ({"WINDOW"} if viewport else set()) | ({"UI"} if panels else set())
        if viewport and panels:
            wanted |= {"HEADER", "TOOL_HEADER"}
        manager = bpy.context.window_manager
        for window in manager.windows if manager is not None else ():
            for area in window.screen.areas:
                if area.type == "PREFERENCES" and panels:
                    area.tag_redraw()
                for region in area.regions if area.type == "VIEW_3D" else ():
                    if region.type in wanted:
                        region.tag_redraw()

    def close(self) -> None:
        """End everything that runs."""
        self.abandon("PartSAM was disabled; the running work was dropped")
        self.setup.close()
        self._watchers.clear()
        if bpy.app.timers.is_registered(_tick):
            bpy.app.timers.unregister(_tick)
        self.close_backend()

    def _refuse_second(self) -> None:
        if self.run is not None:
            raise PartSAMError(
                say("{title} is still running; wait for it or cancel it first", title=say(self.run.title))
            )

    def _finish(self, done: Callable[[Any], None] | None, value: Any) -> None:
        self.run = None
        if done is not None:
            try:
                done(value)
            except Exception as error:
                self.report(error)
        self.redraw()

    def _fail(self, error: Exception) -> None:
        self.run = None
        self.report(error)


_session: Session | None = None


def open_session() -> Session:
    """Make the session (at `register`)."""
    global _session
    _session = Session()
    return _session


def get_session() -> Session:
    """The session. RuntimeError where the add-on is not registered."""
    if _session is None:
        raise RuntimeError("PartSAM is not registered")
    return _session


def close_session() -> None:
    """End what runs and drop the session (at `unregister`)."""
    global _session
    if _session is not None:
        _session.close()
        _session = None


def _tick() -> float | None:
    if _session is None:
        return None
    try:
        return TICK_SECONDS if _session.tick() else None
    except Exception as error:
        # Blender drops a timer that raises; the work would then seem to run for ever.
        _session.abandon("An unexpected error ended the running work")
        _session.report(error)
        return None
