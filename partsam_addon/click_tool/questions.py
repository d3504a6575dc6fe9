# SPDX-License-Identifier: GPL-3.0-or-later
"""The one request of the click tool that the backend is busy with."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from ...backend.errors import Cancelled, PartSAMError
from ..backend_process import BackendDied, Job, Result
from ..session.workplace import Workplace
from .asking import Asked, EncodedObject, predict_request
from .masks import Answer, PolygonMap, Preview
from .snapping import Snapping, cut_request

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PartAnswer:
    """What the backend says of the part under clicks."""

    asked: Asked
    result: Result

    def read(self, polygons: PolygonMap) -> Answer:
        """Its candidates for the part."""
        fields, arrays = self.result.fields, self.result.arrays
        return Answer(
            prediction=str(fields["prediction"]),
            clicks=self.asked.clicks,
            size=self.asked.size,
            zoomed=self.asked.zoom,
            prior=self.asked.prior,
            logits=arrays["face_logits"],
            # The network predicts an IoU by regression, which may step over its ends.
            scores=np.clip(arrays["scores"], 0.0, 1.0),
            shares=polygons.shares(arrays["face_logits"]),
            best=int(fields["best"]),
        )


@dataclass(frozen=True)
class CutAnswer:
    """The border of a preview, cut along the creases."""

    rough: Preview
    result: Result


class Questions:
    """At most one is under way; whoever asks looks at `is_free` first.

    asked: what the last question for a part was about
    cutting: the preview whose border is being cut
    looks_closer: whether small parts can be looked at closely; not any more once that has failed
    """

    def __init__(self, place: Workplace, snapping: Snapping) -> None:
        """snapping: learns how long cuts take, and when they fail"""
        self.asked = Asked()
        self.cutting: Preview | None = None
        self.looks_closer = True
        self._place = place
        self._snapping = snapping
        self._job: Job | None = None

    @property
    def is_free(self) -> bool:
        """Whether nothing is under way."""
        return self._job is None

    @property
    def is_zooming(self) -> bool:
        """Whether the network just looks closely at a small part."""
        return self._job is not None and self.asked.zoom and self.cutting is None

    def ask_part(self, known: EncodedObject, asked: Asked) -> None:
        """For the part under clicks."""
        self.asked = asked
        self._job = self._place.send(predict_request(known, asked))

    def ask_cut(self, rough: Preview, strength: float) -> None:
        """For the border of a preview."""
        self.cutting = rough
        self._job = self._place.send(cut_request(rough, strength))

    def take(self) -> PartAnswer | CutAnswer | None:
        """The answer, once; None before it is there, and where there will be none.

        Raises PartSAMError where it cannot be had; a border that cannot be cut stays as it is, and so does a
        small part that cannot be looked at closely.
        """
        if self._job is None or not self._job.poll():
            return None
        job, self._job = self._job, None
        rough, self.cutting = self.cutting, None
        try:
            result = job.result()
        except Cancelled:
            return None
        except PartSAMError as error:
            if isinstance(error, BackendDied) or not (rough or self.asked.zoom):
                raise
            self._give_up(rough, error)
            return None
        self._place.notices += result.notices
        if rough is None:
            return PartAnswer(self.asked, result)
        self._snapping.take(result)
        return CutAnswer(rough, result)

    def _give_up(self, rough: Preview | None, error: PartSAMError) -> None:
        """Ask no more for what only makes a preview better."""
        if rough is None:
            logger.warning("small parts cannot be looked at closely: %s", error)
            self.looks_closer = False
        else:
            logger.warning("the border of the preview cannot be refined: %s", error)
            self._snapping.give_up()

    def cancel(self) -> None:
        """Its answer is not wanted any more."""
        if self._job is not None:
            self._job.cancel()

    def drop(self) -> None:
        """There will be no answer."""
        self._job = None
