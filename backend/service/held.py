# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server keeps between requests, the least recently used forgotten first."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..geometry import Mesh
from .memory import Footprint

if TYPE_CHECKING:
    from ..refinement import FaceGraph
    from ..segmenter import CloseUp, EncodedShape, MaskPrediction, Segmenter

logger = logging.getLogger(__name__)

Value = TypeVar("Value")

GRAPH_THREAD = "face graph"
KEPT_CLOSE_UPS = 3
"""Of each shape; one is about as large as the shape's own encoding."""


class Recent(Generic[Value]):
    """A dictionary that forgets the values unused for longest when all together weigh more than `budget`.

    The newest stays, whatever it weighs.
    """

    def __init__(self, budget: int, weigh: Callable[[Value], int]) -> None:
        self._budget = budget
        self._weigh = weigh
        self._values: OrderedDict[str, Value] = OrderedDict()

    def get(self, key: str) -> Value | None:
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key]

    def put(self, key: str, value: Value) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        weights = list(map(self._weigh, self._values.values()))
        excess = sum(weights) - self._budget
        for weight in weights[:-1]:
            if excess <= 0:
                break
            self._values.popitem(last=False)
            excess -= weight

    def clear(self) -> None:
        self._values.clear()

    def __iter__(self) -> Iterator[Value]:
        return iter(self._values.values())

    def __len__(self) -> int:
        return len(self._values)


def held_bytes(value: object) -> int:
    """Bytes of all arrays and tensors in nested dataclasses, lists and dictionaries; shared ones once."""
    seen: set[int] = set()

    def size(part: object) -> int:
        if id(part) in seen:
            return 0
        seen.add(id(part))
        if hasattr(part, "nbytes"):
            return int(part.nbytes)
        if is_dataclass(part):
            # With what it computed for itself and kept; another thread may just be doing so.
            return sum(map(size, tuple(vars(part).values())))
        if isinstance(part, dict):
            return sum(map(size, part.values()))
        return sum(map(size, part)) if isinstance(part, list | tuple) else 0

    return size(value)


@dataclass
class HeldShape:
    """A shape as it was sent, and its encoding while that is in memory.

    sample: the caller's points, normals, colors, point_faces; None where the backend draws its own
    asked, footprint: what was asked for, and what memory allowed so far
    encoded_as: number of points and device of `encoded`; close_ups: of `encoded`, the newest last
    looks_closer: whether there is memory for close-ups
    """

    id: str
    model: str
    seed: int
    mesh: Mesh
    sample: dict[str, NDArray] | None
    asked: Footprint
    footprint: Footprint
    encoded: EncodedShape | None = None
    encoded_as: tuple[int, str] | None = None
    graph: FaceGraph | None = None
    close_ups: list[CloseUp] = field(default_factory=list)
    looks_closer: bool = True

    def forget_encoding(self) -> None:
        """Give up what can be made again from what was sent."""
        self.encoded, self.looks_closer = None, True
        self.forget_close_ups()

    def forget_close_ups(self) -> bool:
        """Give them up; whether there were any."""
        held = bool(self.close_ups)
        self.close_ups.clear()
        return held

    def look_closer(
        self, segmenter: Segmenter, said: Mapping[str, Any], answer: MaskPrediction
    ) -> MaskPrediction:
        """What `Segmenter.look_closer` makes of an answer to what was said; as it is where it would not help.

        A close-up is made only if none that is held serves.
        """
        assert self.encoded is not None
        points, labels = said["points"], said["labels"]
        ball = segmenter.where_to_look(self.encoded, points, labels, answer=answer, size=said["size"])
        if ball is None:
            return answer
        serving = (held for held in self.close_ups if held.ball.serves(ball, points[labels == 1]))
        zoom = next(serving, None)
        if zoom is None:
            zoom = segmenter.close_up(self.encoded, ball, seed=self.seed)
            self.close_ups[:] = [*self.close_ups[1 - KEPT_CLOSE_UPS :], zoom]
        return segmenter.look_closer(self.encoded, zoom, answer, **said)

    def build_graph_soon(self) -> None:
        """Make the face graph in a thread of its own, so that the first border to refine need not wait."""
        encoded = self.encoded
        if encoded is not None and self.graph is None:
            threading.Thread(target=self._keep_graph, args=(encoded,), daemon=True, name=GRAPH_THREAD).start()

    def _keep_graph(self, encoded: EncodedShape) -> None:
        try:
            self.graph = encoded.face_graph
        except Exception:  # whoever needs it comes upon it again, and reports it
            logger.info("no face graph yet", exc_info=True)


@dataclass(frozen=True)
class HeldPrediction:
    """Masks for clicks on a shape. It knows the shape by its id only: holding it would keep an encoding
    alive that was given up, and counted nowhere. clicks: how many there were"""

    shape_id: str
    prediction: MaskPrediction
    clicks: int

    def face_logits(self) -> NDArray[np.float32]:
        """float32 [C, F]; held shapes always have faces."""
        return np.asarray(self.prediction.face_logits, dtype=np.float32)

    def usable_for(self, shape: HeldShape, encoded: EncodedShape) -> MaskPrediction | None:
        """The prediction, if it is one of the same sample points.

        Otherwise its mask is of no use; nothing is lost, as the clicks themselves carry the same wish.
        """
        same_points = self.prediction.point_logits.shape[1] == len(encoded.points)
        return self.prediction if self.shape_id == shape.id and same_points else None
