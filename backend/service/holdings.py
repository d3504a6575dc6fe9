# SPDX-License-Identifier: GPL-3.0-or-later
"""What the backend holds for its client: networks, shapes, parts and predictions, as memory allows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from . import fields
from .cancellation import layers_check
from .held import HeldPrediction, HeldShape, Recent, held_bytes
from .memory import (
    SMALLEST_BATCH,
    SMALLEST_POINTS,
    Footprint,
    free_cached_memory,
    is_out_of_memory,
    within_memory,
)
from .protocol import Message
from .server import Call, RequestRefused
from .shapes import encoded_anew

if TYPE_CHECKING:
    from ..refinement import FaceGraph
    from ..segmentation.parts import Parts
    from ..segmenter import EncodedShape, MaskPrediction, Segmenter

logger = logging.getLogger(__name__)

Value = TypeVar("Value")

# Bytes to hold for the client's next requests. A shape of the small model takes about 50 MB.
SHAPES_BUDGET = 1536 * 2**20
PARTS_BUDGET = 1024 * 2**20
PREDICTIONS_BUDGET = 256 * 2**20
KEPT_MODELS = 2


class Holdings:
    """Held by id until they are released or others need the room; encodings are made again when next needed.

    devices: as asked for ("auto"), as it was resolved
    """

    def __init__(self) -> None:
        self.segmenters: Recent[Segmenter] = Recent(KEPT_MODELS, lambda _: 1)
        self.shapes: Recent[HeldShape] = Recent(SHAPES_BUDGET, held_bytes)
        self.parts: Recent[Parts] = Recent(PARTS_BUDGET, held_bytes)
        self.predictions: Recent[HeldPrediction] = Recent(PREDICTIONS_BUDGET, held_bytes)
        self.devices: dict[str, str] = {}

    def release_memory(self) -> None:
        """Drop networks and encodings. They are made again, from what was sent, when next needed."""
        if not len(self.segmenters):
            return
        self.segmenters.clear()
        for shape in self.shapes:
            shape.forget_encoding()
        free_cached_memory()
        logger.info("released memory")

    def shape(self, message: Message, name: str = "shape") -> HeldShape:
        """The shape that a field of the request names; RequestRefused where it is no longer held."""
        shape = self.shapes.get(fields.text(message, name))
        if shape is None:
            raise RequestRefused("the shape is no longer held; it must be encoded again", kind="missing")
        return shape

    def held_parts(self, message: Message) -> Parts:
        """The segmentation that the request names; RequestRefused where it is no longer held."""
        parts = self.parts.get(fields.text(message, "parts"))
        if parts is None:
            raise RequestRefused("this segmentation is no longer held; segment again", kind="missing")
        return parts

    def graph(self, shape: HeldShape) -> FaceGraph:
        """Of the shape's mesh, made once."""
        from ..refinement.face_graph import build_face_graph

        if shape.graph is None:
            encoded = shape.encoded
            shape.graph = build_face_graph(shape.mesh) if encoded is None else encoded.face_graph
        return shape.graph

    def within_memory(
        self,
        call: Call,
        shape: HeldShape,
        use: Callable[[Segmenter, EncodedShape, int], Value],
        *,
        decodes: bool = True,
    ) -> Value:
        """`use(segmenter, encoded, prompt_batch)`, with less of everything whenever memory runs out.

        decodes: whether prompts are decoded at all; else a smaller batch would not help and is not tried
        """

        def compute(footprint: Footprint) -> Value:
            segmenter = self.segmenter(shape.model, footprint.device)
            if shape.encoded is None or shape.encoded_as != (footprint.points, footprint.device):
                shape.forget_encoding()
                call.progress("encode", 0.0)
                shape.encoded = encoded_anew(segmenter, shape, footprint.points)
                shape.encoded_as = (footprint.points, footprint.device)
            return use(segmenter, shape.encoded, footprint.prompt_batch)

        start = shape.footprint if decodes else replace(shape.footprint, prompt_batch=SMALLEST_BATCH)
        with layers_check(call.cancelled):
            value, reached = within_memory(
                shape.asked,
                compute,
                start=start,
                notices=call.notices,
                make_room=lambda: self.drop_encodings(shape),
            )
        batch = reached.prompt_batch if decodes else shape.footprint.prompt_batch
        shape.footprint = replace(reached, prompt_batch=batch)
        return value

    def look_closer(
        self,
        call: Call,
        shape: HeldShape,
        segmenter: Segmenter,
        said: Mapping[str, Any],
        answer: MaskPrediction,
    ) -> MaskPrediction:
        """`HeldShape.look_closer`; `answer` as it is where there is no memory for that.

        It is an extra: the shape itself is not encoded with less for it.
        """
        if not shape.looks_closer:
            return answer
        try:
            closer, _ = within_memory(
                Footprint(SMALLEST_BATCH, SMALLEST_POINTS, "cpu"),  # nothing of it can be smaller
                lambda _: shape.look_closer(segmenter, said, answer),
                notices=call.notices,
                make_room=lambda: shape.forget_close_ups() or self.drop_encodings(shape),
            )
            return closer
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        free_cached_memory()
        shape.looks_closer = False
        call.notices.append("Memory ran out; small parts of this shape are not looked at closely.")
        return answer

    def drop_encodings(self, keep: HeldShape | None) -> bool:
        """Drop the encodings of all shapes but one, and what is recorded; whether there was anything."""
        others = [shape for shape in self.shapes if shape is not keep and shape.encoded is not None]
        for shape in others:
            shape.forget_encoding()
        released = [segmenter.release_recordings() for segmenter in self.segmenters]
        return bool(others) or any(released)

    def segmenter(self, model: str, device: str) -> Segmenter:
        """The network on a device, loaded and set up if it is not held."""
        from ..segmenter import Segmenter

        device = self.devices.get(device, device)
        segmenter = self.segmenters.get(f"{model}@{device}")
        if segmenter is None:
            segmenter = Segmenter.load(model, device=device)
            _warmed_up(segmenter)
            self.devices[device] = segmenter.device
            self.segmenters.put(f"{model}@{segmenter.device}", segmenter)
        return segmenter

    def segmenter_that_fits(self, call: Call, model: str, device: str) -> Segmenter:
        """The network on `device`, or on the CPU where its weights alone are too much."""
        try:
            return self.segmenter(model, device)
        except Exception as error:
            if device == "cpu" or not is_out_of_memory(error):
                raise
            logger.warning("no memory for the network: %s", str(error)[:200])
        free_cached_memory()
        call.notices.append(
            "The graphics card has no memory left for the network; went on with the CPU, which is slower."
        )
        return self.segmenter(model, "cpu")

    def release(self, *, with_model: bool) -> None:
        """Forget everything."""
        for held in (self.shapes, self.parts, self.predictions):
            held.clear()
        if with_model:
            self.segmenters.clear()
        free_cached_memory()


def _warmed_up(segmenter: Segmenter) -> None:
    """Let the device set itself up while the client still reads its mesh; what fails here fails again, and is
    answered, where it matters."""
    try:
        segmenter.warm_up(times=1)  # recordings would keep the first answer waiting: clicks make them
    except RuntimeError as error:
        logger.warning("warming up failed: %s", str(error)[:200])
        free_cached_memory()
