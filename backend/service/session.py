# SPDX-License-Identifier: GPL-3.0-or-later
"""What each request means: the models, shapes, parts and predictions of one client."""

from __future__ import annotations

import itertools
import logging
import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import ProtocolError
from ..geometry import Mesh
from . import clouds, fields, whole_meshes
from .cancellation import layers_check
from .held import HeldPrediction, HeldShape, Recent, held_bytes
from .memory import (
    SMALLEST_BATCH,
    Footprint,
    device_memory,
    free_cached_memory,
    is_out_of_memory,
    within_memory,
)
from .prompts import arguments_of, read_prompts
from .protocol import PROTOCOL_VERSION, Message, content_hash
from .server import Call, Reply, RequestRefused
from .shapes import (
    describe,
    encoded_anew,
    labels_reply,
    model_and_device,
    read_cut,
    read_strength,
    received_shape,
)

if TYPE_CHECKING:
    from ..refinement import FaceGraph
    from ..segmentation.parts import Parts
    from ..segmentation.together import JointPrediction
    from ..segmenter import EncodedShape, MaskPrediction, Segmenter

logger = logging.getLogger(__name__)

Value = TypeVar("Value")

# Bytes to hold for the client's next requests. A shape of the small model takes about 50 MB.
SHAPES_BUDGET = 1536 * 2**20
PARTS_BUDGET = 1024 * 2**20
PREDICTIONS_BUDGET = 256 * 2**20
KEPT_MODELS = 2
MAX_PROMPTS = 4096
MAX_JOINT_PARTS = 256


class Session:
    """Handles requests; `server.Server` calls it from one thread."""

    def __init__(self) -> None:
        self._segmenters: Recent[Segmenter] = Recent(KEPT_MODELS, lambda _: 1)
        self._shapes: Recent[HeldShape] = Recent(SHAPES_BUDGET, held_bytes)
        self._parts: Recent[Parts] = Recent(PARTS_BUDGET, held_bytes)
        self._predictions: Recent[HeldPrediction] = Recent(PREDICTIONS_BUDGET, held_bytes)
        self._devices: dict[str, str] = {}  # as asked for ("auto"), as it was resolved
        self._device_notice = ""  # why "auto" passed over a device; told once, with the first shape
        self._ids = itertools.count(1)
        self._handlers: dict[str, Callable[[Call], Reply]] = {
            "hello": self._hello,
            "load_model": self._load_model,
            "encode": self._encode,
            "segment_every_part": self._segment_every_part,
            "predict": self._predict,
            "predict_parts": self._predict_parts,
            "face_labels": self._face_labels,
            "part_tree": self._part_tree,
            "refine": self._refine,
            "refine_prediction": self._refine_prediction,
            "segment_cloud": self._segment_cloud,
            "transfer_encoded": self._transfer_encoded,
            "transfer": whole_meshes.transfer,
            "find_repeats": whole_meshes.find_repeats,
            "release": self._release,
        }

    def handle(self, call: Call) -> Reply:
        """Answer one request (see docs/protocol.md)."""
        handler = self._handlers.get(call.message.kind)
        if handler is None:
            raise ProtocolError(f"{call.message.kind!r:.100} is not a request of this version")
        return handler(call)

    def release_memory(self) -> None:
        """Drop networks and encodings. They are made again, from what was sent, when next needed."""
        if not len(self._segmenters):
            return
        self._segmenters.clear()
        for shape in self._shapes:
            shape.forget_encoding()
        free_cached_memory()
        logger.info("released memory")

    def _hello(self, call: Call) -> Reply:
        call.progress("start", 0.0)
        import torch

        from .. import __version__
        from ..devices import choose_device, device_name
        from ..segmenter import available_models

        device, self._device_notice = choose_device()
        self._devices["auto"] = device
        free, total = device_memory(device)
        return Reply(
            {
                "protocol": PROTOCOL_VERSION,
                "backend": __version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "device": device,
                "device_name": device_name(device),
                "memory_free": free,
                "memory_total": total,
                "models": available_models(),
                "pid": os.getpid(),
            }
        )

    def _load_model(self, call: Call) -> Reply:
        call.progress("load model", 0.0)
        segmenter = self._segmenter_that_fits(call, *model_and_device(call.message))
        return Reply(describe(segmenter))

    def _encode(self, call: Call) -> Reply:
        message = call.message
        model, device = model_and_device(message)
        seed = fields.integer(message, "seed", low=0, high=2**31 - 1)
        content = fields.text(message, "content")
        shape_id = f"{content}:{model}:{device}:{seed}"
        shape = self._shapes.get(shape_id)
        reused = shape is not None and shape.encoded is not None
        if shape is None:
            if not message.arrays:
                raise RequestRefused("the shape is not held here; send its arrays", kind="need_arrays")
            if content_hash(message.arrays) != content:
                raise ProtocolError("the arrays were changed while they were being sent; try again")
            mesh, sample = received_shape(message)
            call.progress("load model", 0.0)
            segmenter = self._segmenter_that_fits(call, model, device)
            points = segmenter.config.points if sample is None else len(sample["points"])
            asked = Footprint(segmenter.prompt_batch, points, segmenter.device)
            shape = HeldShape(shape_id, model, seed, mesh, sample, asked, asked)
        if device == "auto" and self._device_notice:
            call.notices.append(self._device_notice)
            self._device_notice = ""
        started = time.monotonic()
        call.progress("encode", 0.0)
        encoded = self._within_memory(call, shape, lambda segmenter, encoded, batch: encoded, decodes=False)
        self._shapes.put(shape_id, shape)
        shape.build_graph_soon()
        return Reply(
            {
                **describe(self._segmenter(model, shape.footprint.device)),
                "shape": shape_id,
                "points": len(encoded.points),
                "faces": shape.mesh.face_count,
                "seconds": time.monotonic() - started,
                "reused": reused,
            }
        )

    def _segment_every_part(self, call: Call) -> Reply:
        message = call.message
        shape = self._shape(message)
        prompts = fields.integer(message, "prompts", low=1, high=MAX_PROMPTS)
        cut = read_cut(message)

        def segment(segmenter: Segmenter, encoded: EncodedShape, prompt_batch: int) -> Parts:
            return segmenter.segment_every_part(
                encoded,
                prompts=prompts,
                prompt_batch=prompt_batch,
                progress=call.progress,
                cancel=call.cancelled,
            )

        parts = self._within_memory(call, shape, segment)
        parts_id = f"parts-{next(self._ids)}"
        self._parts.put(parts_id, parts)
        return labels_reply(parts, cut, parts.face_labels(**cut), parts_id=parts_id)

    def _predict(self, call: Call) -> Reply:
        message = call.message
        shape = self._shape(message)
        prompts, zooms = read_prompts(message), fields.flag(message, "zoom")

        def predict(segmenter: Segmenter, encoded: EncodedShape, _: int) -> HeldPrediction:
            def earlier(name: str) -> MaskPrediction | None:
                held = self._predictions.get(name)
                return None if held is None else held.usable_for(shape, encoded)

            said = arguments_of(prompts, earlier)
            if zooms and said["size"] is not None:
                inside = said["points"][said["labels"] == 1]
                said["zoom"] = shape.close_up(segmenter, inside, said["size"])
            return HeldPrediction(shape.id, segmenter.predict(encoded, **said))

        held = self._within_memory(call, shape, predict)
        prediction_id = f"prediction-{next(self._ids)}"
        self._predictions.put(prediction_id, held)
        prediction = held.prediction
        return Reply(
            {"prediction": prediction_id, "best": int(prediction.best)},
            {
                "scores": np.asarray(prediction.scores, dtype=np.float32),
                "face_logits": held.face_logits(),
            },
        )

    def _predict_parts(self, call: Call) -> Reply:
        message = call.message
        shape = self._shape(message)
        points = fields.array(message, "points", columns=3)
        numbers = fields.array(message, "parts", integers=True)
        count = int(numbers.max(initial=-1)) + 1
        clicks = [points[numbers == part] for part in range(count)] if len(points) == len(numbers) else []
        if not clicks or min(map(len, clicks)) == 0 or numbers.min() < 0 or count > MAX_JOINT_PARTS:
            raise ProtocolError(
                "the 'predict_parts' request needs in 'parts' the part of each point, from 0 without gaps, "
                f"{MAX_JOINT_PARTS} parts at most"
            )
        strength = read_strength(message)

        def predict(segmenter: Segmenter, encoded: EncodedShape, _: int) -> JointPrediction:
            return segmenter.predict_parts(encoded, clicks)

        prediction = self._within_memory(call, shape, predict)
        labels = prediction.face_labels
        if strength > 0:
            labels = prediction.refined_labels(self._graph(shape), strength, cancel=call.cancelled)
        return Reply(arrays={"labels": labels, "scores": np.asarray(prediction.scores, dtype=np.float32)})

    def _face_labels(self, call: Call) -> Reply:
        parts, cut = self._held_parts(call.message), read_cut(call.message)
        return labels_reply(parts, cut, parts.face_labels(**cut))

    def _part_tree(self, call: Call) -> Reply:
        from ..segmentation.atoms import atom_tree

        tree = atom_tree(self._held_parts(call.message))
        arrays = {"atoms": tree.atoms, "labels": tree.labels, "confidences": tree.confidences}
        return Reply({"atom_count": tree.labels.shape[1]}, arrays)

    def _refine(self, call: Call) -> Reply:
        parts, cut = self._held_parts(call.message), read_cut(call.message)
        call.progress("refine", 0.0)
        labels = parts.refined_labels(**cut, strength=read_strength(call.message), cancel=call.cancelled)
        return labels_reply(parts, cut, labels)

    def _refine_prediction(self, call: Call) -> Reply:
        from ..refinement.mask import refine_mask

        prediction_id = fields.text(call.message, "prediction")
        held = self._predictions.get(prediction_id)
        shape = None if held is None else self._shapes.get(held.shape_id)
        if held is None or shape is None:
            raise RequestRefused("the preview is no longer held; click again", kind="missing")
        last = len(held.prediction.scores) - 1
        candidate = fields.integer(call.message, "candidate", low=0, high=last)
        strength = read_strength(call.message)
        call.progress("refine", 0.0)
        graph, logits = self._graph(shape), held.face_logits()[candidate]
        started = time.monotonic()
        mask = refine_mask(graph, logits, strength=strength, cancel=call.cancelled)
        return Reply({"seconds": time.monotonic() - started}, {"labels": mask.astype(np.int32)})

    def _segment_cloud(self, call: Call) -> Reply:
        model, device = model_and_device(call.message)
        call.progress("load model", 0.0)
        segmenter = self._segmenter(model, device)
        return clouds.segment_cloud(
            call,
            lambda on: self._segmenter(model, on),
            asked=Footprint(segmenter.prompt_batch, segmenter.config.points, segmenter.device),
            max_prompts=MAX_PROMPTS,
            make_room=lambda: self._drop_encodings(None),
        )

    def _transfer_encoded(self, call: Call) -> Reply:
        from ..transfer import face_features, match_faces

        shapes = [self._shape(call.message, name) for name in ("source", "target")]
        described: list[tuple[Mesh, NDArray]] = []
        for shape in shapes:
            call.progress("transfer", len(described) / 3)
            features = self._within_memory(
                call, shape, lambda segmenter, encoded, _: face_features(segmenter, encoded), decodes=False
            )
            described.append((shape.mesh, features))
        source, target = described
        found = match_faces(source, target)
        return whole_meshes.transfer_reply(call, source[0], target[0], prefix="", correspondence=found)

    def _graph(self, shape: HeldShape) -> FaceGraph:
        from ..refinement.face_graph import build_face_graph

        if shape.graph is None:
            encoded = shape.encoded
            shape.graph = build_face_graph(shape.mesh) if encoded is None else encoded.face_graph
        return shape.graph

    def _release(self, call: Call) -> Reply:
        with_model = fields.flag(call.message, "model")
        for held in (self._shapes, self._parts, self._predictions):
            held.clear()
        if with_model:
            self._segmenters.clear()
        free_cached_memory()
        return Reply()

    def _within_memory(
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
            segmenter = self._segmenter(shape.model, footprint.device)
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
                make_room=lambda: self._drop_encodings(shape),
            )
        batch = reached.prompt_batch if decodes else shape.footprint.prompt_batch
        shape.footprint = replace(reached, prompt_batch=batch)
        return value

    def _drop_encodings(self, keep: HeldShape | None) -> bool:
        """Drop the encodings of all shapes but one, and what is recorded; whether there was anything."""
        others = [shape for shape in self._shapes if shape is not keep and shape.encoded is not None]
        for shape in others:
            shape.forget_encoding()
        released = [segmenter.release_recordings() for segmenter in self._segmenters]
        return bool(others) or any(released)

    def _segmenter(self, model: str, device: str) -> Segmenter:
        from ..segmenter import Segmenter

        device = self._devices.get(device, device)
        segmenter = self._segmenters.get(f"{model}@{device}")
        if segmenter is None:
            segmenter = Segmenter.load(model, device=device)
            _warmed_up(segmenter)
            self._devices[device] = segmenter.device
            self._segmenters.put(f"{model}@{segmenter.device}", segmenter)
        return segmenter

    def _segmenter_that_fits(self, call: Call, model: str, device: str) -> Segmenter:
        """The network on `device`, or on the CPU where its weights alone are too much."""
        try:
            return self._segmenter(model, device)
        except Exception as error:
            if device == "cpu" or not is_out_of_memory(error):
                raise
            logger.warning("no memory for the network: %s", str(error)[:200])
        free_cached_memory()
        call.notices.append(
            "The graphics card has no memory left for the network; went on with the CPU, which is slower."
        )
        return self._segmenter(model, "cpu")

    def _shape(self, message: Message, name: str = "shape") -> HeldShape:
        shape = self._shapes.get(fields.text(message, name))
        if shape is None:
            raise RequestRefused("the shape is no longer held; it must be encoded again", kind="missing")
        return shape

    def _held_parts(self, message: Message) -> Parts:
        parts = self._parts.get(fields.text(message, "parts"))
        if parts is None:
            raise RequestRefused("this segmentation is no longer held; segment again", kind="missing")
        return parts


def _warmed_up(segmenter: Segmenter) -> None:
    """Let the device set itself up while the client still reads its mesh; what fails here fails again, and is
    answered, where it matters."""
    try:
        segmenter.warm_up(times=1)  # recordings would keep the first answer waiting: clicks make them
    except RuntimeError as error:
        logger.warning("warming up failed: %s", str(error)[:200])
        free_cached_memory()
