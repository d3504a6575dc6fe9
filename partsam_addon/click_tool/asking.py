# SPDX-License-Identifier: GPL-3.0-or-later
"""What the click tool asks the backend: for the part under clicks, and for what an accepted part becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import bpy
import numpy as np

from ..backend_process import Result, requests
from ..backend_process.prompts import EarlierMask, Points, Size
from ..mesh_exchange import ShapeData, labels_of_polygons
from ..mesh_exchange.arrays import FloatArray
from ..session.flow import Calculation, Flow, Pause
from ..session.workplace import Workplace
from ..session.writing import write_changes
from .accepting import Accepted, AcceptedChange, contested, joint_clicks, rivals_of, settled_polygons
from .masks import Preview
from .prompts import Click
from .snapping import Snapping, cut_polygons, cut_request


@dataclass(frozen=True)
class ClickSettings:
    """strength: of the border's refinement, in the preview and when a part is accepted; None without
    undo_message: of the undo step of each part; empty: none is pushed"""

    strength: float | None = 1.0
    undo_message: str = ""


@dataclass(frozen=True)
class Asked:
    """What a request was about.

    clicks: of the part; size: share of the area that was asked for
    zoom: whether the backend looks closely
    prior: the backend's name for the earlier mask to go on from; None: there is none
    """

    clicks: tuple[Click, ...] = ()
    size: float | None = None
    zoom: bool = False
    prior: str | None = None


@dataclass(frozen=True)
class EncodedObject:
    """An object as the backend knows it.

    shape_id: the backend's name for it
    matrix: float [4, 4], the object's world matrix when `shape` was read
    """

    shape: ShapeData
    shape_id: str
    matrix: FloatArray

    def points(self, places: FloatArray) -> FloatArray:
        """Object-space places [K, 3] in the coordinates of the encoded shape."""
        return self.shape.from_world(places @ self.matrix[:3, :3].T + self.matrix[:3, 3])


def prior_of(clicks: tuple[Click, ...], previous: Preview | None) -> str | None:
    """The backend's name for the mask of the preview so far, if the network can go on from it.

    It can unless a click behind that mask was taken back.
    """
    if previous is None or len(clicks) <= len(previous.clicks):
        return None
    return previous.answer.prediction if clicks[: len(previous.clicks)] == previous.clicks else None


def predict_request(known: EncodedObject, asked: Asked) -> requests.Request:
    """For the part under clicks."""
    clicks = asked.clicks
    points = known.points(np.array([click.place for click in clicks]))
    labels = [int(click.positive) for click in clicks]
    said = Points(points, labels), Size(asked.size, zoom=asked.zoom), EarlierMask(asked.prior)
    return requests.predict(known.shape_id, *said)


def accept_part(
    place: Workplace,
    known: EncodedObject,
    part: Accepted,
    earlier: Sequence[Accepted],
    settings: ClickSettings,
    snapping: Snapping,
) -> Flow:
    """Write a part into the mesh; returns it as it was written. Waits for what the user is in the middle of.

    earlier: the other parts of this run
    snapping: learns how long a cut takes where the preview had none
    """
    source, strength = known.shape.sources[0], settings.strength
    polygons = part.preview.polygons
    if strength is not None:
        refined = part.preview.refined
        if refined is None:
            answer: Result = yield place.send(cut_request(part.preview, strength))
            snapping.take(answer)
            refined = cut_polygons(source, answer)
        polygons = settled_polygons(refined, part)
    wanted = replace(part, polygons=polygons)
    wanted = replace(wanted, polygons=(yield from _compete(place, known, wanted, earlier, strength or 0.0)))
    change = AcceptedChange(source, wanted, earlier)
    search = change.search_crumbs()
    if search is not None:
        yield Calculation("crumbs", search)
    while place.obstacle():
        yield Pause("input")
    write_changes(bpy.context, [change], undo_message=settings.undo_message)
    return change.written


def _compete(
    place: Workplace, known: EncodedObject, part: Accepted, earlier: Sequence[Accepted], strength: float
) -> Flow:
    """The polygons of a part, bool [P], without what other parts of this run want more."""
    rivals = rivals_of(part, earlier)
    prompts = joint_clicks([part, *rivals])
    if prompts is None:
        return contested(part, rivals) if rivals else part.polygons
    places, parts = prompts
    request = requests.predict_parts(known.shape_id, known.points(places), parts, strength=strength)
    answer: Result = yield place.send(request)
    joint = labels_of_polygons(known.shape.sources[0], answer.arrays["labels"] + 1) - 1
    return contested(part, rivals, joint)
