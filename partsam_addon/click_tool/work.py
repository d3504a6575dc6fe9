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
from .asking import Asked, ClickSettings, EncodedObject, prior_of
from .bar import ENCODED, WorkBar
from .masks import Answer, Choice, PolygonMap, Preview, obey_clicks
from .part_writer import PartWriter
from .prompts import Click, mirrored
from .questions import CutAnswer, PartAnswer, Questions
from .snapping import Snapping, cut_polygons, snapped

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

    clicks: of the part that is being clicked; target: the part that they change, None for a new one
    hint: why the last press did nothing; empty where it did
    preview: the part under them; twin: the one under the mirrored clicks; hover: the part under the mouse
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
        self.clicks: tuple[Click, ...] = ()
        self.target: Target | None = None
        self.choice = Choice()
        self.mirror = False
        self.hint = ""
        self.preview: Preview | None = None
        self.twin: Preview | None = None
        self.hover: Preview | None = None
        self.error: Exception | None = None
        self.version = 0
        self.settings = ClickSettings()
        self.host: object = None
        self.at_end: Callable[[], None] | None = None
        self.map = PolygonMap(shape.sources[0])
        self.known = EncodedObject(shape, "", matrix)
        self.snapping = Snapping()
        self.bar = WorkBar(session)
        self._session = session
        self._questions = Questions(session, self.snapping)
        self._writer = PartWriter(
            session, self.bar, shape.sources[0], done=self._written, failed=self._not_written
        )
        self._draw_at = 0.0
        self._hover_click: Click | None = None
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
        if not self.clicks and not clicks[0].positive:
            raise PromptError("Click on the part first; then exclude with Ctrl")
        self._set_clicks((*self.clicks, *clicks))

    def replace_click(self, index: int, click: Click) -> None:
        """Move a click."""
        self._set_clicks((*self.clicks[:index], click, *self.clicks[index + 1 :]))

    def remove(self, index: int) -> None:
        """Remove a click; without a positive one the part is given up."""
        self._set_clicks((*self.clicks[:index], *self.clicks[index + 1 :]))

    def remove_last(self) -> None:
        """Take the last click back. PromptError without one."""
        if not self.clicks:
            raise PromptError("There is no click to take back; Esc leaves, then Undo works as usual")
        self._set_clicks(self.clicks[:-1])

    def restart(self, target: Target | None, clicks: Sequence[Click] = ()) -> None:
        """Drop the clicks so far and begin with `target`, None for a new part."""
        self.target, self.choice = target, Choice()
        self._set_clicks(tuple(clicks))

    def hover_over(self, click: Click | None) -> None:
        """The mouse is over this place; its part is shown when the backend is free."""
        if click == self._hover_click:
            return
        self._hover_click = click
        if self.hover is not None and (click is None or not self.hover.contains(click)):
            self.hover = None  # the mouse has left it
            self._changed(soon=True)

    def set_mirror(self, mirror: bool) -> None:
        """Mirror clicks and result across the object's X axis, or not."""
        if mirror != self.mirror:
            self.mirror, self.twin = mirror, None
            self._changed()

    def choose(self, choice: Choice) -> None:
        """Take another of the candidates."""
        self.choice = choice
        if self._questions.asked.zoom:
            self._questions.cancel()
        for name in ("preview", "twin", "hover"):
            shown = getattr(self, name)
            if shown is not None:
                setattr(self, name, self._chosen(shown.answer))
        self._changed(soon=self._to_snap() is not None)

    def scale_size(self, notches: int) -> None:
        """Mean something larger or smaller than what is shown."""
        shown = self.preview or self.hover
        self.choose(self.choice.scaled(notches, shown=0.1 if shown is None else shown.share))

    def next_level(self) -> None:
        """From whole to part to sub-part and round."""
        self.choose(Choice(level=0 if self.choice.level is None else (self.choice.level + 1) % 3))

    def accept(self, *, patient: bool = False) -> None:
        """Make a part of the preview, as soon as it shows all clicks. PromptError without a click.

        patient: wait, too, until the network has looked closely at a small part
        """
        if not self.clicks:
            raise PromptError("Click on a part first")
        self._accept_wanted, self._patient = True, patient

    def follow_undo(self) -> None:
        """After Blender's undo or redo: what was accepted and is not there any more is being clicked again.

        Raises PartSAMError where the mesh is gone.
        """
        lost, gained = self._writer.follow_undo()
        if self.clicks and any(part.preview.clicks == self.clicks for part in gained):
            self.restart(None)
        elif lost and not self.clicks and not self.mirror:  # of mirrored parts each is a step of its own
            self._begin_again(lost[-1])
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
        return self.phase is not Phase.CLICKING or self._is_behind

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
    def previews(self) -> list[Preview]:
        """The preview and its mirror image, as far as there are any."""
        both = (self.preview, self.twin if self.mirror else None)
        return [each for each in both if each is not None]

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
        return self._writer.covered(self.map.count)

    @property
    def _is_behind(self) -> bool:
        if not self.clicks:
            return False
        return self._lacks_preview or self._lacks_twin

    @property
    def _lacks_preview(self) -> bool:
        return not self._answers(self.preview, self.clicks)

    @property
    def _lacks_twin(self) -> bool:
        return self.mirror and not self._answers(self.twin, mirrored(self.clicks))

    def _set_clicks(self, clicks: tuple[Click, ...]) -> None:
        self.clicks = clicks if any(click.positive for click in clicks) else ()
        self._accept_wanted = False
        hover = self.hover
        if not self.clicks:
            self.preview = self.twin = None
        elif hover is not None and hover.clicks == self.clicks:
            self.preview = hover  # what is clicked was asked for while the mouse was over it
        asked = self._questions.asked
        hovered = len(asked.clicks) == 1  # most likely the mouse has left it
        stale = bool(self.clicks) and (self._questions.cutting is not None or hovered)
        if asked.clicks != self.clicks and (stale or asked.zoom):
            self._questions.cancel()
        self._changed(soon=bool(self.clicks))
        if self.phase is Phase.CLICKING:
            self._go_on()

    def _go_on(self) -> None:
        """Start what can be started."""
        if self.phase is not Phase.CLICKING:
            return
        waits = self._is_behind or (self._patient and self._to_zoom() is not None)
        if self._accept_wanted and not waits and self._questions.cutting is None:
            self._enqueue()
        self._writer.go_on(self.known, self.settings, self.snapping)
        if self._leaving and not self.is_accepting:
            self._session.end_clicks()
        elif self._questions.is_free:
            self._ask()

    def _ask(self) -> None:
        hover = self._hover_click
        if self.clicks and self._lacks_preview:
            self._predict(self.clicks, prior_of(self.clicks, self.preview))
        elif self.clicks and self._lacks_twin:
            clicks = mirrored(self.clicks)
            self._predict(clicks, prior_of(clicks, self.twin))
        elif (small := self._to_zoom()) is not None:
            self._predict(small.clicks, small.answer.prior, zoom=True)
        elif (rough := self._to_snap()) is not None:
            assert self.settings.strength is not None
            self._questions.ask_cut(rough, self.settings.strength)
        elif hover is not None and not self._leaving and not self._answers(self.hover, (hover,)):
            self._predict((hover,), None)

    def _predict(self, clicks: tuple[Click, ...], prior: str | None, *, zoom: bool = False) -> None:
        self._questions.ask_part(self.known, Asked(clicks, self.choice.size, zoom, prior))

    def _answers(self, preview: Preview | None, clicks: tuple[Click, ...]) -> bool:
        """Whether `preview` is what the network says to these clicks and to the size that is meant."""
        return preview is not None and preview.clicks == clicks and preview.answer.size == self.choice.size

    def _to_zoom(self) -> Preview | None:
        """The preview of a small part at which the network has not looked closely yet: that takes seconds."""
        small = (each for each in self.previews if each.answer.wants_zoom)
        return next(small, None) if self._questions.looks_closer else None

    def _to_snap(self) -> Preview | None:
        """The preview whose border is to be cut next."""
        strength = self.settings.strength
        return next((each for each in self.previews if self.snapping.wants(each, strength)), None)

    def _take_answer(self) -> None:
        answer = self._questions.take()
        if isinstance(answer, PartAnswer):
            self._take(answer)
        elif isinstance(answer, CutAnswer):
            self._take_cut(answer)

    def _take(self, answer: PartAnswer) -> None:
        asked, taken = answer.asked, answer.read(self.map)
        count = len(asked.clicks)
        if self.clicks and self.clicks[:count] == asked.clicks:
            self.preview = self._chosen(taken)
        elif self.clicks and mirrored(self.clicks)[:count] == asked.clicks:
            self.twin = self._chosen(taken)
        elif not self.clicks and self._hover_click is not None and count == 1:
            found = self._chosen(taken)
            if asked.clicks != (self._hover_click,) and not found.contains(self._hover_click):
                return  # the mouse has moved on to another part
            self.hover = found
        else:
            return
        self._changed(soon=self._to_snap() is not None)

    def _take_cut(self, answer: CutAnswer) -> None:
        rough, refined = answer.rough, cut_polygons(self.shape.sources[0], answer.result)
        if rough is self.preview:
            self.preview = snapped(rough, refined)
        elif rough is self.twin:
            self.twin = snapped(rough, refined)
        self._changed(soon=self._to_snap() is not None)

    def _chosen(self, answer: Answer) -> Preview:
        candidate = self.choice.pick(answer.best, answer.shares, asked=answer.size)
        probability = self.map.probability(answer.logits[candidate])
        return Preview(answer, candidate, probability, obey_clicks(probability > 0.5, answer.clicks))

    def _enqueue(self) -> None:
        assert self.preview is not None
        if self._questions.is_zooming:
            self._questions.cancel()  # what is accepted as it is need not wait for a closer look
        self._writer.add(parts_of(self.preview, self.twin if self.mirror else None, self.target))
        self.clicks, self.preview, self.twin, self.hover = (), None, None, None
        self.target, self.choice, self._accept_wanted = None, Choice(), False
        self._changed(soon=True)

    def _written(self) -> None:
        self._changed()
        self._session.redraw()

    def _not_written(self, part: Accepted, error: Exception) -> None:
        """Nothing is lost: the clicks are there again, unless the next part was begun."""
        self.error = error
        if not self.clicks:
            self._begin_again(part)
        if isinstance(error, BackendDied) or not isinstance(error, PartSAMError):
            self._failed(error)
        elif not isinstance(error, Cancelled):
            self._session.report(error)
        self._changed()

    def _begin_again(self, part: Accepted) -> None:
        """Have the clicks of a part that is not written."""
        self.target, self.clicks, self.preview = part.target, part.preview.clicks, part.preview
        self.choice = Choice(size=part.preview.answer.size)

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
