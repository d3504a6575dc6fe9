# SPDX-License-Identifier: GPL-3.0-or-later
"""The clicks on one mesh and the part that the network sees under them."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import bpy
import numpy as np
from numpy.typing import NDArray

from ...backend.errors import Cancelled, PartSAMError, PromptError
from ..backend_process import Job, Result, requests
from ..mesh_exchange import ShapeData, find_unchanged, labels_of_polygons, object_mode
from ..parts import KEEP, set_active_part, write_labels
from ..session.flow import Flow
from ..session.segmentation import encode

if TYPE_CHECKING:
    from ..session import Session

NEW_PART = 0


class Phase(enum.Enum):
    """PREPARING: the shape is being encoded. ACCEPTING: the mask is being refined and written."""

    PREPARING = "preparing"
    CLICKING = "clicking"
    ACCEPTING = "accepting"
    ACCEPTED = "accepted"
    FAILED = "failed"


@dataclass(frozen=True)
class Click:
    """A point in world space. positive: the part is here; else: it is not."""

    position: tuple[float, float, float]
    positive: bool


@dataclass(frozen=True)
class Preview:
    """The part under the clicks.

    prediction, candidate: the backend's name for it and the chosen mask
    clicks: what it was predicted from
    polygons: bool [P], the polygons inside
    score: predicted IoU
    """

    prediction: str
    candidate: int
    clicks: tuple[Click, ...]
    polygons: NDArray[np.bool_]
    score: float


class ClickWork:
    """Clicks in, preview out. At most one request is under way; newer clicks wait for its answer.

    version: counts the changes of `preview`
    at_end: called when the work stops
    """

    def __init__(self, session: Session, shape: ShapeData) -> None:
        self.shape = shape
        self.phase = Phase.PREPARING
        self.clicks: tuple[Click, ...] = ()
        self.preview: Preview | None = None
        self.version = 0
        self.at_end: Callable[[], None] | None = None
        self._session = session
        self._shape_id = ""
        self._job: Job | None = None
        self._asked: tuple[Click, ...] = ()

    def prepare(self, *, seed: int) -> Flow:
        """Encode the shape; clicks made meanwhile are answered afterwards."""
        try:
            self._shape_id = yield from encode(self._session, self.shape, seed=seed)
        except Exception:
            self.phase = Phase.FAILED
            raise
        self.phase = Phase.CLICKING

    def add(self, click: Click) -> None:
        """Add a click. PromptError if the first one is negative."""
        if not click.positive and not self.clicks:
            raise PromptError("Click on the part first; then exclude with Ctrl")
        self.clicks = (*self.clicks, click)

    def remove_last(self) -> None:
        """Take the last click back."""
        self.clicks = self.clicks[:-1]
        if not self.clicks:
            self._show(None)

    def poll(self) -> bool:
        """Take the answer that came and ask for what is new; False when the work has ended."""
        try:
            if self._job is not None and self._job.poll():
                job, self._job = self._job, None
                self._take(job.result())
            if self.phase is Phase.CLICKING and self._job is None and self._is_behind:
                self._job = self._session.send(self._request())
        except Cancelled:
            self._job = None
        except PartSAMError as error:
            self.phase, self._job = Phase.FAILED, None
            self._session.report(error)
        return self.phase in {Phase.PREPARING, Phase.CLICKING, Phase.ACCEPTING}

    def stop(self) -> None:
        """The tool ends; what is not accepted by now is not written. May be called twice."""
        if self._job is not None:
            self._job.cancel()
        if self.phase is not Phase.ACCEPTED:
            self.phase = Phase.FAILED
        at_end, self.at_end = self.at_end, None
        if at_end is not None:
            at_end()

    def accept(self, *, strength: float | None) -> Flow:
        """Write the preview as a new part; returns its id. strength: of the refinement, None without."""
        preview = self.preview
        if preview is None or self._is_behind:
            raise PromptError("Click on a part first")
        self.phase = Phase.ACCEPTING
        try:
            polygons = preview.polygons
            if strength is not None:
                request = requests.refine_prediction(
                    preview.prediction, candidate=preview.candidate, strength=strength
                )
                refined: Result = yield self._session.send(request)
                polygons = self._polygons(refined.arrays["labels"] > 0)
            part_id = self._write(polygons, preview.score)
        except Exception:
            self.phase = Phase.FAILED
            raise
        self.phase = Phase.ACCEPTED
        return part_id

    @property
    def is_thinking(self) -> bool:
        """Whether the preview does not show all clicks yet."""
        return self.phase is not Phase.CLICKING or self._is_behind

    @property
    def _is_behind(self) -> bool:
        shown = () if self.preview is None else self.preview.clicks
        return self.clicks != shown

    def _request(self) -> requests.Request:
        self._asked = self.clicks
        positions = self.shape.from_world(np.array([click.position for click in self.clicks]))
        labels = [int(click.positive) for click in self.clicks]
        previous = self.preview
        # The network continues from its last mask, but only if no click behind that mask was taken back.
        extends = previous is not None and self.clicks[: len(previous.clicks)] == previous.clicks
        return requests.predict(
            self._shape_id,
            positions,
            labels,
            previous=previous.prediction if previous is not None and extends else None,
        )

    def _take(self, answer: Result) -> None:
        if not self.clicks:
            return
        best = int(answer.fields["best"])
        self._show(
            Preview(
                prediction=str(answer.fields["prediction"]),
                candidate=best,
                clicks=self._asked,
                polygons=self._polygons(answer.arrays["face_logits"][best] > 0),
                # The network predicts an IoU by regression, which may step over its ends.
                score=float(np.clip(answer.arrays["scores"][best], 0.0, 1.0)),
            )
        )

    def _show(self, preview: Preview | None) -> None:
        self.preview = preview
        self.version += 1
        self._session.redraw()

    def _polygons(self, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
        (source,) = self.shape.sources
        return labels_of_polygons(source, inside.astype(np.int32)) == 1

    def _write(self, polygons: NDArray[np.bool_], score: float) -> int:
        if not polygons.any():
            raise PromptError("The part under the clicks is empty; click elsewhere")
        obj = find_unchanged(self.shape.sources[0])
        labels = np.where(polygons, NEW_PART, KEEP).astype(np.int32)
        with object_mode(bpy.context, obj):
            written = write_labels(obj.data, labels, confidences=[score])
            if NEW_PART not in written:
                raise PromptError("All faces under the clicks belong to locked parts; unlock them first")
            set_active_part(obj.data, written[NEW_PART])
        return written[NEW_PART]
