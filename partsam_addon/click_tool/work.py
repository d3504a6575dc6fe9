# SPDX-License-Identifier: GPL-3.0-or-later
"""Clicks on one mesh, the part that the network sees under them, and the parts accepted one by one."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from ...backend.errors import Cancelled, PartSAMError, PromptError
from ..backend_process import BackendDied
from ..mesh_exchange import ShapeData
from ..mesh_exchange.arrays import BoolArray, FloatArray
from ..session.find_parts import encode
from ..session.flow import Flow, FlowRun
from ..session.workplace import Workplace
from .accepting import Accepted, Target, parts_of
from .asking import Asked, ClickSettings, EncodedObject
from .bar import ENCODED, WorkBar
from .clicked_part import ClickedPart
from .masks import Choice, Preview
from .part_writer import PartWriter
from .prompts import Click
from .questions import CutAnswer, Questions
from .snapping import Snapping

DRAW_SECONDS = 0.1
"""So long may a click wait to be drawn with its answer, which mostly is there by then: a large scene is drawn
slowly, and drawing it twice would double the time until the part is seen."""


class Phase(enum.Enum):
    """PREPARING: the shape is being encoded; clicks are taken. ENDED: nothing more happens."""

    PREPARING = "preparing"
    CLICKING = "clicking"
    ENDED = "ended"


class ClickWork:
    """Clicks in, preview and parts out. Newer clicks wait for the answer to the question that is under way.

    part: the one that is being clicked
    hint: why the last press did nothing; empty where it did
    error: what went wrong last
    version: counts the changes of what is shown
    known: how the backend knows the mesh
    host: who listens to the mouse for it
    at_end: called when the work stops
    """

    def __init__(self, session: Workplace, shape: ShapeData, matrix: FloatArray) -> None:
        """matrix: float [4, 4], the object's world matrix when `shape` was read"""
        self.shape = shape
        self.phase = Phase.PREPARING
        self.part = ClickedPart(shape.sources[0])
        self.hint = ""
        self.error: Exception | None = None
        self.version = 0
        self.settings = ClickSettings()
        self.host: object = None
        self.at_end: Callable[[], None] | None = None
        self.known = EncodedObject(shape, "", matrix)
        self.snapping = Snapping()
        self.bar = WorkBar(session)
        self._session = session
        self._questions = Questions(session, self.snapping)
        self._writer = PartWriter(
            session, self.bar, shape.sources[0], done=self._written, failed=self._not_written
        )
        self._draw_at = 0.0
        self._accept_wanted = False
        self._patient = False
        self._leaving = False
        self._preparing: FlowRun | None = None

    # What the user does

    def prepare(self, *, seed: int) -> None:
        """Encode the shape in the background; clicks made meanwhile are answered afterwards."""

        def flow() -> Flow:
            return (yield from encode(self._session, self.shape, seed=seed))

        self._preparing = FlowRun("Preparing", flow(), done=self._prepared, failed=self._failed)
        self.bar.begin(self._preparing, end=ENCODED)
        self._preparing.start()

    def add(self, *clicks: Click) -> None:
        """Add clicks. PromptError if the first one is negative."""
        if not self.part.clicks and not clicks[0].positive:
            raise PromptError("Click on the part first; then exclude with Ctrl")
        self._set_clicks((*self.part.clicks, *clicks))

    def replace_click(self, index: int, click: Click) -> None:
        """Move a click."""
        clicks = self.part.clicks
        self._set_clicks((*clicks[:index], click, *clicks[index + 1 :]))

    def remove(self, index: int) -> None:
        """Remove a click; without a positive one the part is given up."""
        clicks = self.part.clicks
        self._set_clicks((*clicks[:index], *clicks[index + 1 :]))

    def remove_last(self) -> None:
        """Take the last click back. PromptError without one."""
        if not self.part.clicks:
            raise PromptError("There is no click to take back; Esc leaves, then Undo works as usual")
        self._set_clicks(self.part.clicks[:-1])

    def restart(self, target: Target | None, clicks: Sequence[Click] = ()) -> None:
        """Drop the clicks so far and begin with `target`, None for a new part."""
        self.part.target, self.part.choice = target, Choice()
        self._set_clicks(clicks)

    def hover_over(self, click: Click | None) -> None:
        """The mouse is over this place; its part is shown when the backend is free."""
        part = self.part
        if click == part.pointed:
            return
        part.pointed = click
        if part.hover is not None and (click is None or not part.hover.contains(click)):
            part.hover = None  # the mouse has left it
            self._changed(soon=True)

    def set_mirror(self, mirror: bool) -> None:
        """Mirror clicks and result across the object's X axis, or not."""
        if mirror != self.part.mirror:
            self.part.mirror, self.part.twin = mirror, None
            self._changed()

    def choose(self, choice: Choice) -> None:
        """Take another of the candidates."""
        self.part.choose(choice)
        if self._questions.asked.zoom:
            self._questions.cancel()
        self._changed(soon=self._to_snap() is not None)

    def scale_size(self, notches: int) -> None:
        """Mean something larger or smaller than what is shown."""
        shown = self.part.preview or self.part.hover
        self.choose(self.part.choice.scaled(notches, shown=0.1 if shown is None else shown.share))

    def next_level(self) -> None:
        """From whole to part to sub-part and round."""
        level = self.part.choice.level
        self.choose(Choice(level=0 if level is None else (level + 1) % 3))

    def accept(self, *, patient: bool = False) -> None:
        """Make a part of the preview, as soon as it shows all clicks. PromptError without a click.

        patient: wait, too, until the network has looked closely at a small part
        """
        if not self.part.clicks:
            raise PromptError("Click on a part first")
        self._accept_wanted, self._patient = True, patient

    def follow_undo(self) -> None:
        """After Blender's undo or redo: what was accepted and is not there any more is being clicked again.

        Raises PartSAMError where the mesh is gone.
        """
        lost, gained = self._writer.follow_undo()
        clicks = self.part.clicks
        if clicks and any(part.preview.clicks == clicks for part in gained):
            self.restart(None)
        elif lost and not clicks and not self.part.mirror:  # of mirrored parts each is a step of its own
            self.part.begin_again(lost[-1])
        self._changed()

    def leave(self) -> None:
        """End with what was accepted; what is being written is finished first."""
        self._leaving = True
        if not self._accept_wanted:
            self._set_clicks(())

    def redraw(self) -> None:
        """Draw the viewports anew."""
        self._draw_at = 0.0
        self._session.redraw(panels=False)

    # What goes on by itself

    def poll(self) -> bool:
        """Take the answer that came and ask for what is new; False when the work has ended."""
        if self.phase is Phase.ENDED:
            return False
        if self._preparing is not None:
            self._preparing.poll()
        self._writer.poll()
        self.bar.follow()
        try:
            self._take_answer()
            self._go_on()
        except PartSAMError as error:
            self._failed(error)
        if self._draw_at and time.monotonic() >= self._draw_at:
            self.redraw()
        return self.phase is not Phase.ENDED

    def stop(self) -> None:
        """The tool ends; what is not accepted by now is not written. May be called twice."""
        self.phase = Phase.ENDED
        self._questions.cancel()
        self._writer.stop()
        preparing, self._preparing = self._preparing, None
        if preparing is not None:
            preparing.abandon(Cancelled())
        at_end, self.at_end = self.at_end, None
        if at_end is not None:
            at_end()

    @property
    def is_thinking(self) -> bool:
        """Whether the preview does not show all clicks yet."""
        return self.phase is not Phase.CLICKING or self.part.is_behind

    @property
    def is_looking_closer(self) -> bool:
        """Whether the network just looks closely at the small part that the preview shows roughly."""
        return self._questions.is_zooming

    @property
    def is_accepting(self) -> bool:
        """Whether a part waits to be written."""
        return self._accept_wanted or not self._writer.is_idle

    @property
    def progress(self) -> tuple[str, float] | None:
        """Stage and share of the preparation that is going on; None afterwards."""
        if self._preparing is None or self._preparing.job is None:
            return None
        return self._preparing.job.stage, self._preparing.job.fraction

    @property
    def waiting(self) -> list[Preview]:
        """What was accepted and is not written yet."""
        return self._writer.waiting

    @property
    def accepted(self) -> list[Accepted]:
        """The parts of this run, in order."""
        return self._writer.written

    @property
    def can_redo(self) -> bool:
        """Whether parts of this run were undone."""
        return self._writer.undone > 0

    @property
    def accepted_polygons(self) -> BoolArray:
        """Polygons of all parts accepted so far, bool [P]."""
        return self._writer.covered(self.part.map.count)

    def _set_clicks(self, clicks: Sequence[Click]) -> None:
        self.part.set_clicks(clicks)
        self._accept_wanted = False
        asked, clicks = self._questions.asked, self.part.clicks
        hovered = len(asked.clicks) == 1  # most likely the mouse has left it
        stale = bool(clicks) and (self._questions.cutting is not None or hovered)
        if asked.clicks != clicks and (stale or asked.zoom):
            self._questions.cancel()
        self._changed(soon=bool(clicks))
        if self.phase is Phase.CLICKING:
            self._go_on()

    def _go_on(self) -> None:
        """Start what can be started."""
        if self.phase is not Phase.CLICKING:
            return
        waits = self.part.is_behind or (self._patient and self._to_zoom() is not None)
        if self._accept_wanted and not waits and self._questions.cutting is None:
            self._enqueue()
        self._writer.go_on(self.known, self.settings, self.snapping)
        if self._leaving and not self.is_accepting:
            self._session.end_clicks()
        elif self._questions.is_free:
            self._ask()

    def _ask(self) -> None:
        """Ask for what is wanted most."""
        part = self.part
        if asked := part.unanswered or self._to_zoom():
            self._questions.ask_part(self.known, asked)
        elif (rough := self._to_snap()) is not None:
            assert self.settings.strength is not None
            self._questions.ask_cut(rough, self.settings.strength)
        elif not self._leaving and (asked := part.unseen):
            self._questions.ask_part(self.known, asked)

    def _to_zoom(self) -> Asked | None:
        return self.part.rough if self._questions.looks_closer else None

    def _to_snap(self) -> Preview | None:
        return self.part.uncut(self.snapping, self.settings.strength)

    def _take_answer(self) -> None:
        answer = self._questions.take()
        if isinstance(answer, CutAnswer):
            self.part.take_cut(answer)
        elif answer is None or not self.part.take(answer):
            return
        self._changed(soon=self._to_snap() is not None)

    def _enqueue(self) -> None:
        part = self.part
        assert part.preview is not None
        if self._questions.is_zooming:
            self._questions.cancel()  # what is accepted as it is need not wait for a closer look
        self._writer.add(parts_of(part.preview, part.twin if part.mirror else None, part.target))
        part.clear()
        self._accept_wanted = False
        self._changed(soon=True)

    def _written(self) -> None:
        self._changed()
        self._session.redraw()

    def _not_written(self, part: Accepted, error: Exception) -> None:
        """Nothing is lost: the clicks are there again, unless the next part was begun."""
        self.error = error
        if not self.part.clicks:
            self.part.begin_again(part)
        if isinstance(error, BackendDied) or not isinstance(error, PartSAMError):
            self._failed(error)
        elif not isinstance(error, Cancelled):
            self._session.report(error)
        self._changed()

    def _prepared(self, shape_id: str) -> None:
        self._preparing, self.known = None, replace(self.known, shape_id=shape_id)
        self.phase = Phase.CLICKING
        self._changed()

    def _failed(self, error: Exception) -> None:
        """The work cannot go on."""
        self._preparing = None
        self._writer.drop()
        self._questions.drop()
        if self.phase is Phase.ENDED:
            return
        self.phase, self.error = Phase.ENDED, error
        self._session.report(error)
        self._session.end_clicks()

    def _changed(self, *, soon: bool = False) -> None:
        """Draw it; with `soon` not before something that is expected soon."""
        self.version += 1
        if not soon:
            self.redraw()
        elif not self._draw_at:
            self._draw_at = time.monotonic() + DRAW_SECONDS
