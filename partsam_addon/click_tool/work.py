# SPDX-License-Identifier: GPL-3.0-or-later
"""Clicks on one mesh, the part that the network sees under them, and the parts accepted one by one."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import bpy
import numpy as np

from ...backend.errors import Cancelled, PartSAMError, PromptError
from ..backend_process import BackendDied, Job, Result, requests
from ..mesh_exchange import ShapeData, labels_of_polygons
from ..mesh_exchange.arrays import BoolArray, FloatArray
from ..session.flow import Flow, FlowRun
from ..session.segmentation import encode
from ..session.workplace import Workplace
from ..session.writing import write_changes
from .accepting import (
    Accepted,
    AcceptedChange,
    Target,
    contested,
    joint_clicks,
    parts_of,
    refined_polygons,
    rivals_of,
)
from .masks import SIZE_STEP, Answer, Choice, PolygonMap, Preview, obey_clicks
from .prompts import Click

SMALLEST_SIZE, LARGEST_SIZE = 1e-4, 1.0


class Phase(enum.Enum):
    """PREPARING: the shape is being encoded; clicks are taken. ENDED: nothing more happens."""

    PREPARING = "preparing"
    CLICKING = "clicking"
    ENDED = "ended"


@dataclass(frozen=True)
class ClickSettings:
    """strength: of the border's refinement when a part is accepted; None without
    undo_message: of the undo step of each part; empty: none is pushed"""

    strength: float | None = 1.0
    undo_message: str = ""


class ClickWork:
    """Clicks in, preview and parts out. At most one request is under way; newer clicks wait for its answer.

    clicks: of the part that is being clicked; target: the part that they change, None for a new one
    preview: the part under them; twin: the one under the mirrored clicks; hover: the part under the mouse
    accepted: the parts of this run, in order
    error: what went wrong last
    version: counts the changes of what is shown
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
        self.preview: Preview | None = None
        self.twin: Preview | None = None
        self.hover: Preview | None = None
        self.accepted: list[Accepted] = []
        self.error: Exception | None = None
        self.version = 0
        self.settings = ClickSettings()
        self.at_end: Callable[[], None] | None = None
        self.map = PolygonMap(shape.sources[0])
        self.matrix = matrix
        self._session = session
        self._shape_id = ""
        self._job: Job | None = None
        self._asked: tuple[Click, ...] = ()
        self._asked_size: float | None = None
        self._hover_click: Click | None = None
        self._accept_wanted = False
        self._leaving = False
        self._queue: deque[Accepted] = deque()
        self._flow: FlowRun | None = None

    # What the user does

    def prepare(self, *, seed: int) -> None:
        """Encode the shape in the background; clicks made meanwhile are answered afterwards."""

        def flow() -> Flow:
            return (yield from encode(self._session, self.shape, seed=seed))

        self._flow = FlowRun("Preparing", flow(), done=self._prepared, failed=self._failed)
        self._flow.start()

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
        """Take the last click back."""
        if self.clicks:
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
        if self.hover is not None and (click is None or not self.hover.polygons[click.polygon]):
            self.hover = None  # the mouse has left it
            self._changed()

    def set_mirror(self, mirror: bool) -> None:
        """Mirror clicks and result across the object's X axis, or not."""
        if mirror != self.mirror:
            self.mirror, self.twin = mirror, None
            self._changed()

    def choose(self, choice: Choice) -> None:
        """Take another of the candidates."""
        self.choice = choice
        for name in ("preview", "twin", "hover"):
            shown = getattr(self, name)
            if shown is not None:
                setattr(self, name, self._chosen(shown.answer))
        self._changed()

    def scale_size(self, notches: int) -> None:
        """Mean something larger or smaller than what is shown."""
        shown = self.preview or self.hover
        size = self.choice.size or (shown.share if shown is not None else 0.1)
        size = float(np.clip(size * SIZE_STEP**notches, SMALLEST_SIZE, LARGEST_SIZE))
        self.choose(Choice(size=size))

    def next_level(self) -> None:
        """From whole to part to sub-part and round."""
        self.choose(Choice(level=0 if self.choice.level is None else (self.choice.level + 1) % 3))

    def accept(self) -> None:
        """Make a part of the preview, as soon as it shows all clicks. PromptError without a click."""
        if not self.clicks:
            raise PromptError("Click on a part first")
        self._accept_wanted = True

    def leave(self) -> None:
        """End with what was accepted; what is being written is finished first."""
        self._leaving = True
        if not self._accept_wanted:
            self._set_clicks(())

    def redraw(self) -> None:
        """What is drawn has changed from outside."""
        self._session.redraw()

    # What goes on by itself

    def poll(self) -> bool:
        """Take the answer that came and ask for what is new; False when the work has ended."""
        if self.phase is Phase.ENDED:
            return False
        if self._flow is not None:
            self._flow.poll()
        try:
            if self._job is not None and self._job.poll():
                job, self._job = self._job, None
                self._take(job.result())
            self._go_on()
        except Cancelled:
            self._job = None
        except PartSAMError as error:
            self._failed(error)
        return self.phase is not Phase.ENDED

    def stop(self) -> None:
        """The tool ends; what is not accepted by now is not written. May be called twice."""
        self.phase = Phase.ENDED
        if self._job is not None:
            self._job.cancel()
        flow, self._flow = self._flow, None
        if flow is not None:
            flow.abandon(Cancelled())
        at_end, self.at_end = self.at_end, None
        if at_end is not None:
            at_end()

    @property
    def is_thinking(self) -> bool:
        """Whether the preview does not show all clicks yet."""
        return self.phase is not Phase.CLICKING or self._is_behind

    @property
    def is_accepting(self) -> bool:
        """Whether a part waits to be written."""
        return bool(self._queue) or self._accept_wanted

    @property
    def progress(self) -> tuple[str, float] | None:
        """Stage and share of the preparation that is going on; None afterwards."""
        if self.phase is not Phase.PREPARING or self._flow is None or self._flow.job is None:
            return None
        return self._flow.job.stage, self._flow.job.fraction

    @property
    def accepted_polygons(self) -> BoolArray:
        """Polygons of all parts accepted so far, bool [P]."""
        inside = np.zeros(self.map.count, dtype=bool)
        for part in self.accepted:
            inside |= part.polygons
        return inside

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
        if self.clicks and self._job is not None and self._asked != self.clicks and len(self._asked) == 1:
            self._job.cancel()  # most likely of a place that the mouse has left
        self._changed()
        if self.phase is Phase.CLICKING:
            self._go_on()

    def _go_on(self) -> None:
        """Start what can be started."""
        if self.phase is not Phase.CLICKING:
            return
        if self._accept_wanted and not self._is_behind:
            self._enqueue()
        if self._flow is None and self._queue:
            self._start_accepting()
        if self._leaving and self._flow is None and not self._queue and not self._accept_wanted:
            self._session.end_clicks()
        elif self._job is None:
            self._ask()

    def _ask(self) -> None:
        hover = self._hover_click
        if self.clicks and self._lacks_preview:
            self._job = self._session.send(self._request(self.clicks, self.preview))
        elif self.clicks and self._lacks_twin:
            self._job = self._session.send(self._request(mirrored(self.clicks), self.twin))
        elif hover is not None and not self._leaving and not self._answers(self.hover, (hover,)):
            self._job = self._session.send(self._request((hover,), None))

    def _answers(self, preview: Preview | None, clicks: tuple[Click, ...]) -> bool:
        """Whether `preview` is what the network says to these clicks and to the size that is meant."""
        return preview is not None and preview.clicks == clicks and preview.answer.size == self.choice.size

    def _request(self, clicks: tuple[Click, ...], previous: Preview | None) -> requests.Request:
        self._asked, self._asked_size = clicks, self.choice.size
        positions = self.shape_points(np.array([click.place for click in clicks]))
        labels = [int(click.positive) for click in clicks]
        # The network continues from its last mask, but only if no click behind that mask was taken back.
        extends = previous is not None and clicks[: len(previous.clicks)] == previous.clicks
        new = previous is not None and len(clicks) > len(previous.clicks)
        prior = previous.answer.prediction if previous is not None and extends and new else None
        return requests.predict(self._shape_id, positions, labels, previous=prior, size=self._asked_size)

    def shape_points(self, places: FloatArray) -> FloatArray:
        """Object-space places [K, 3] in the coordinates of the encoded shape."""
        return self.shape.from_world(places @ self.matrix[:3, :3].T + self.matrix[:3, 3])

    def _take(self, answer: Result) -> None:
        logits = answer.arrays["face_logits"]
        taken = Answer(
            prediction=str(answer.fields["prediction"]),
            clicks=self._asked,
            size=self._asked_size,
            logits=logits,
            # The network predicts an IoU by regression, which may step over its ends.
            scores=np.clip(answer.arrays["scores"], 0.0, 1.0),
            shares=self.map.shares(logits),
            best=int(answer.fields["best"]),
        )
        if self.clicks and self.clicks[: len(self._asked)] == self._asked:
            self.preview = self._chosen(taken)
            self._changed()
        elif self.clicks and mirrored(self.clicks)[: len(self._asked)] == self._asked:
            self.twin = self._chosen(taken)
            self._changed()
        elif not self.clicks and self._asked == (self._hover_click,):
            self.hover = self._chosen(taken)
            self._changed()

    def _chosen(self, answer: Answer) -> Preview:
        candidate = self.choice.pick(answer.best, answer.shares, asked=answer.size)
        probability = self.map.probability(answer.logits[candidate])
        return Preview(answer, candidate, probability, obey_clicks(probability > 0.5, answer.clicks))

    def _enqueue(self) -> None:
        assert self.preview is not None
        self._queue += parts_of(self.preview, self.twin if self.mirror else None, self.target)
        self.clicks, self.preview, self.twin, self.hover = (), None, None, None
        self.target, self.choice, self._accept_wanted = None, Choice(), False
        self._changed()

    def _start_accepting(self) -> None:
        part, strength = self._queue[0], self.settings.strength

        def flow() -> Flow:
            polygons = part.preview.polygons
            if strength is not None:
                refined: Result = yield self._session.send(
                    requests.refine_prediction(
                        part.preview.answer.prediction, candidate=part.preview.candidate, strength=strength
                    )
                )
                polygons = refined_polygons(self.shape.sources[0], refined.arrays["labels"], part)
            wanted = replace(part, polygons=polygons)
            wanted = replace(wanted, polygons=(yield from self._compete(wanted)))
            change = AcceptedChange(self.shape.sources[0], wanted)
            write_changes(bpy.context, [change], undo_message=self.settings.undo_message)
            return change.written

        self._flow = FlowRun("Accepting", flow(), done=self._written, failed=self._not_written)
        self._flow.start()

    def _compete(self, part: Accepted) -> Flow:
        """The polygons of a part, bool [P], without what other parts of this run want more."""
        rivals = rivals_of(part, self.accepted)
        prompts = joint_clicks([part, *rivals])
        if prompts is None:
            return contested(part, rivals) if rivals else part.polygons
        places, parts = prompts
        answer: Result = yield self._session.send(
            requests.predict_parts(
                self._shape_id, self.shape_points(places), parts, strength=self.settings.strength or 0.0
            )
        )
        joint = labels_of_polygons(self.shape.sources[0], answer.arrays["labels"] + 1) - 1
        return contested(part, rivals, joint)

    def _written(self, written: Accepted) -> None:
        self._flow = None
        self._queue.popleft()
        self.accepted = [
            replace(part, polygons=part.polygons & ~written.polygons)
            for part in self.accepted
            if part.part_id != written.part_id
        ] + [written]
        self._changed()

    def _not_written(self, error: Exception) -> None:
        """Nothing is lost: the clicks are there again, unless the next part was begun."""
        self._flow, self.error = None, error
        part = self._queue.popleft()
        if not self.clicks:
            self.target, self.clicks, self.preview = part.target, part.preview.clicks, part.preview
        if isinstance(error, BackendDied) or not isinstance(error, PartSAMError):
            self._failed(error)
        elif not isinstance(error, Cancelled):
            self._session.report(error)
        self._changed()

    def _prepared(self, shape_id: str) -> None:
        self._flow, self._shape_id = None, shape_id
        self.phase = Phase.CLICKING
        self._changed()

    def _failed(self, error: Exception) -> None:
        """The work cannot go on."""
        self._flow = self._job = None
        if self.phase is Phase.ENDED:
            return
        self.phase, self.error = Phase.ENDED, error
        self._session.report(error)
        self._session.end_clicks()

    def _changed(self) -> None:
        self.version += 1
        self._session.redraw()


def mirrored(clicks: tuple[Click, ...]) -> tuple[Click, ...]:
    """The same clicks on the other side of the object's X axis."""
    return tuple(click.mirrored() for click in clicks)
