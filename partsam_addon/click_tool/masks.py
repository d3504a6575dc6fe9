# SPDX-License-Identifier: GPL-3.0-or-later
"""From the network's answer to the polygons of the part that is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..mesh_exchange import MeshSource
from ..mesh_exchange.arrays import BoolArray, FloatArray, IntArray
from .prompts import Click

FINE_SIZE = 0.02
"""The backend looks closely at parts that are meant to take less than this share of the surface, ..."""
SMALL_ANSWER = 0.05
"""... and where several clicks were answered with a mask of less than this."""
SIZE_STEP = 1.5
"""By what a notch of the wheel multiplies the area that is meant."""
SMALLEST_SIZE, LARGEST_SIZE = 1e-4, 1.0


@dataclass(frozen=True)
class Choice:
    """Which of several candidate masks the user wants; both None: the one that the network trusts most.

    size: share of the surface area; until the backend has answered with it, the candidate nearest to it
    level: 0 whole, 1 part, 2 sub-part: the candidate by size
    """

    size: float | None = None
    level: int | None = None

    def scaled(self, notches: int, *, shown: float) -> Choice:
        """Something larger or smaller than what is meant, or than the share that is shown."""
        size = (self.size or shown) * SIZE_STEP**notches
        return Choice(size=float(np.clip(size, SMALLEST_SIZE, LARGEST_SIZE)))

    def pick(self, best: int, shares: FloatArray, *, asked: float | None = None) -> int:
        """Index of the candidate.

        best: the one that the backend means, which was told the size `asked`; shares: float [C] of the area
        """
        if self.level is not None:
            return int(np.argsort(-shares, kind="stable")[min(self.level, len(shares) - 1)])
        if self.size is not None and self.size != asked:
            return int(np.argmin(np.abs(np.log(np.maximum(shares, 1e-6) / self.size))))
        return best


@dataclass(frozen=True)
class Answer:
    """What the network says to some clicks.

    prediction: the backend's name for it
    clicks: what it was asked; size: share of the area that was asked for
    logits: float32 [C, T] at the triangles; scores: float [C], predicted IoU; shares: float [C] of the area
    best: the candidate that the backend means
    zoomed: whether the backend looked closely
    prior: the backend's name for the earlier mask that it went on from; None: there was none
    """

    prediction: str
    clicks: tuple[Click, ...]
    size: float | None
    logits: FloatArray
    scores: FloatArray
    shares: FloatArray
    best: int
    zoomed: bool = False
    prior: str | None = None

    @property
    def wants_zoom(self) -> bool:
        """Whether a part is meant that is so small that looking closely helps, and it was not done yet."""
        if len(self.clicks) > 1:
            small = 0 < self.shares[self.best] < SMALL_ANSWER
        else:
            small = self.size is not None and self.size < FINE_SIZE
        return bool(small) and not self.zoomed


@dataclass(frozen=True)
class Preview:
    """The part under the clicks.

    candidate: which mask of `answer`
    probability: float32 [P], of each polygon to be inside
    polygons: bool [P], those inside
    refined: bool [P], those inside after the cut along creases, whatever was clicked; None before it
    """

    answer: Answer
    candidate: int
    probability: FloatArray
    polygons: BoolArray
    refined: BoolArray | None = None

    @property
    def score(self) -> float:
        """Predicted IoU."""
        return float(self.answer.scores[self.candidate])

    @property
    def share(self) -> float:
        """Of the surface area."""
        return float(self.answer.shares[self.candidate])

    @property
    def clicks(self) -> tuple[Click, ...]:
        return self.answer.clicks

    def contains(self, click: Click) -> bool:
        """Whether a click lies inside; False where its polygon is not known."""
        return click.polygon >= 0 and bool(self.polygons[click.polygon])


class PolygonMap:
    """From values at the triangles that the backend knows to the base polygons of one mesh."""

    def __init__(self, source: MeshSource) -> None:
        self.count = source.polygon_count
        polygons = source.triangle_polygons
        one_to_one = len(polygons) == self.count and bool((polygons == np.arange(self.count)).all())
        self._polygons: IntArray | None = None if one_to_one else polygons
        self._known = np.flatnonzero(polygons >= 0)
        self.areas = source.triangle_areas
        self._total = max(float(self.areas.sum(dtype=np.float64)), 1e-30)
        if not one_to_one:
            self._polygons = polygons[self._known]
            # Triangles without area still say something where a polygon has no others.
            self._weights = self.areas[self._known].astype(np.float64) + 1e-12 * self._total
            sums = np.bincount(self._polygons, weights=self._weights, minlength=self.count)
            self._norm = np.where(sums > 0, sums, 1.0)

    def shares(self, logits: FloatArray) -> FloatArray:
        """Share of the surface area inside each mask of logits [C, T], float [C]."""
        return np.array([self.areas[mask > 0].sum(dtype=np.float64) / self._total for mask in logits])

    def probability(self, logits: FloatArray) -> FloatArray:
        """Of each polygon to be inside, float32 [P], from the logits [T] of its triangles."""
        inside = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
        return self.mean(inside)

    def mean(self, values: FloatArray) -> FloatArray:
        """Area-weighted mean of `values` [T] over each polygon, float32 [P]; 0 where there is none."""
        if self._polygons is None:
            return values.astype(np.float32, copy=False)
        weighted = self._weights * values[self._known]
        sums = np.bincount(self._polygons, weights=weighted, minlength=self.count)
        return (sums / self._norm).astype(np.float32)


def obey_clicks(polygons: BoolArray, clicks: Sequence[Click]) -> BoolArray:
    """`polygons` [P] with what was clicked inside, and what was excluded outside; later clicks win."""
    obedient = polygons.copy()
    for click in clicks:
        if 0 <= click.polygon < len(obedient):
            obedient[click.polygon] = click.positive
    return obedient
