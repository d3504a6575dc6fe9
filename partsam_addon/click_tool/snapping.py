# SPDX-License-Identifier: GPL-3.0-or-later
"""The border of a preview at creases: the two-label cut, while it is quick enough to be waited for."""

from __future__ import annotations

from dataclasses import replace

from ..backend_process import Result, requests
from ..mesh_exchange import MeshSource, labels_of_polygons
from ..mesh_exchange.arrays import BoolArray
from .masks import Preview, obey_clicks

SNAP_SECONDS = 0.1
"""What takes longer is left until the part is accepted."""


class Snapping:
    """Whether previews are cut now.

    seconds: what the last cut of this mesh took; None while none was made
    """

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._fails = False

    def wants(self, preview: Preview, strength: float | None) -> bool:
        """Whether the border of `preview` is to be cut before it is accepted."""
        if preview.refined is not None or strength is None or self._fails:
            return False
        return self.seconds is None or self.seconds <= SNAP_SECONDS

    def take(self, answer: Result) -> None:
        """Learn from a cut how long they take."""
        self.seconds = float(answer.fields["seconds"])

    def give_up(self) -> None:
        """Cut no preview any more; accepting says what is wrong."""
        self._fails = True


def cut_request(preview: Preview, strength: float) -> requests.Request:
    """For the border of a preview."""
    return requests.refine_prediction(
        preview.answer.prediction, candidate=preview.candidate, strength=strength
    )


def cut_polygons(source: MeshSource, answer: Result) -> BoolArray:
    """Polygons inside the cut mask, bool [P]."""
    inside: BoolArray = labels_of_polygons(source, answer.arrays["labels"]) == 1
    return inside


def snapped(preview: Preview, refined: BoolArray) -> Preview:
    """The preview with the border of `refined` [P]."""
    return replace(preview, refined=refined, polygons=obey_clicks(refined, preview.clicks))
