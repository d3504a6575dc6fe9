# SPDX-License-Identifier: GPL-3.0-or-later
"""What each request means."""

from __future__ import annotations

import itertools
import logging
import os
import platform
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import ProtocolError
from ..geometry import Mesh
from . import clouds, fields, whole_meshes
from .held import HeldPrediction, HeldShape
from .holdings import Holdings
from .memory import (
    Footprint,
    device_memory,
)
from .prompts import arguments_of, read_prompts
from .protocol import PROTOCOL_VERSION, content_hash
from .server import Call, Reply, RequestRefused
from .shapes import (
    describe,
    labels_reply,
    model_and_device,
    read_cut,
    read_poses,
    read_strength,
    received_shape,
)

if TYPE_CHECKING:
    from ..segmentation.parts import Parts
    from ..segmentation.together import JointPrediction
    from ..segmenter import EncodedShape, MaskPrediction, Segmenter

logger = logging.getLogger(__name__)

MAX_PROMPTS = 4096
MAX_JOINT_PARTS = 256


class RequestHandlers:
    """Handles requests; `server.Server` calls it from one thread."""

    def __init__(self) -> None:
        self._holdings = Holdings()
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
        self._holdings.release_memory()

    def _hello(self, call: Call) -> Reply:
        call.progress("start", 0.0)
        import torch

        from .. import __version__
        from ..devices import choose_device, device_name
        from ..segmenter import available_models

        device, self._device_notice = choose_device()
        self._holdings.devices["auto"] = device
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
        segmenter = self._holdings.segmenter_that_fits(call, *model_and_device(call.message))
        return Reply(describe(segmenter))

    def _encode(self, call: Call) -> Reply:
        message = call.message
        model, device = model_and_device(message)
        seed = fields.integer(message, "seed", low=0, high=2**31 - 1)
        content = fields.text(message, "content")
        shape_id = f"{content}:{model}:{device}:{seed}"
        shape = self._holdings.shapes.get(shape_id)
        reused = shape is not None and shape.encoded is not None
        if shape is None:
            if not message.arrays:
                raise RequestRefused("the shape is not held here; send its arrays", kind="need_arrays")
            if content_hash(message.arrays) != content:
                raise ProtocolError("the arrays were changed while they were being sent; try again")
            mesh, sample = received_shape(message)
            call.progress("load model", 0.0)
            segmenter = self._holdings.segmenter_that_fits(call, model, device)
            points = segmenter.config.points if sample is None else len(sample["points"])
            asked = Footprint(segmenter.prompt_batch, points, segmenter.device)
            shape = HeldShape(shape_id, model, seed, mesh, sample, asked, asked)
        if device == "auto" and self._device_notice:
            call.notices.append(self._device_notice)
            self._device_notice = ""
        started = time.monotonic()
        call.progress("encode", 0.0)
        encoded = self._holdings.within_memory(
            call, shape, lambda segmenter, encoded, batch: encoded, decodes=False
        )
        self._holdings.shapes.put(shape_id, shape)
        shape.build_graph_soon()
        return Reply(
            {
                **describe(self._holdings.segmenter(model, shape.footprint.device)),
                "shape": shape_id,
                "points": len(encoded.points),
                "faces": shape.mesh.face_count,
                "seconds": time.monotonic() - started,
                "reused": reused,
            }
        )

    def _segment_every_part(self, call: Call) -> Reply:
        message = call.message
        shape = self._holdings.shape(message)
        prompts = fields.integer(message, "prompts", low=1, high=MAX_PROMPTS)
        poses, cut = read_poses(message), read_cut(message)

        def segment(segmenter: Segmenter, encoded: EncodedShape, prompt_batch: int) -> Parts:
            return segmenter.segment_every_part(
                encoded,
                prompts=prompts,
                poses=poses,
                prompt_batch=prompt_batch,
                progress=call.progress,
                cancel=call.cancelled,
            )

        parts = self._holdings.within_memory(call, shape, segment)
        parts_id = f"parts-{next(self._ids)}"
        self._holdings.parts.put(parts_id, parts)
        return labels_reply(parts, cut, parts.face_labels(**cut), parts_id=parts_id)

    def _predict(self, call: Call) -> Reply:
        message = call.message
        shape = self._holdings.shape(message)
        prompts, zooms = read_prompts(message), fields.flag(message, "zoom")

        def predict(segmenter: Segmenter, encoded: EncodedShape, _: int) -> HeldPrediction:
            def earlier(name: str) -> MaskPrediction | None:
                held = self._holdings.predictions.get(name)
                return None if held is None else held.usable_for(shape, encoded)

            said = arguments_of(prompts, earlier)
            answer = segmenter.predict(encoded, **said)
            if zooms:
                answer = self._holdings.look_closer(call, shape, segmenter, said, answer)
            return HeldPrediction(shape.id, answer, len(said["points"]))

        held = self._holdings.within_memory(call, shape, predict)
        prediction_id = f"prediction-{next(self._ids)}"
        self._holdings.predictions.put(prediction_id, held)
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
        shape = self._holdings.shape(message)
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

        prediction = self._holdings.within_memory(call, shape, predict)
        labels = prediction.face_labels
        if strength > 0:
            labels = prediction.refined_labels(self._holdings.graph(shape), strength, cancel=call.cancelled)
        return Reply(arrays={"labels": labels, "scores": np.asarray(prediction.scores, dtype=np.float32)})

    def _face_labels(self, call: Call) -> Reply:
        parts, cut = self._holdings.held_parts(call.message), read_cut(call.message)
        return labels_reply(parts, cut, parts.face_labels(**cut))

    def _part_tree(self, call: Call) -> Reply:
        from ..segmentation.atoms import atom_tree

        tree = atom_tree(self._holdings.held_parts(call.message))
        arrays = {"atoms": tree.atoms, "labels": tree.labels, "confidences": tree.confidences}
        return Reply({"atom_count": tree.labels.shape[1]}, arrays)

    def _refine(self, call: Call) -> Reply:
        parts, cut = self._holdings.held_parts(call.message), read_cut(call.message)
        call.progress("refine", 0.0)
        labels = parts.refined_labels(**cut, strength=read_strength(call.message), cancel=call.cancelled)
        return labels_reply(parts, cut, labels)

    def _refine_prediction(self, call: Call) -> Reply:
        from ..refinement.mask import refine_mask

        prediction_id = fields.text(call.message, "prediction")
        held = self._holdings.predictions.get(prediction_id)
        shape = None if held is None else self._holdings.shapes.get(held.shape_id)
        if held is None or shape is None:
            raise RequestRefused("the preview is no longer held; click again", kind="missing")
        last = len(held.prediction.scores) - 1
        candidate = fields.integer(call.message, "candidate", low=0, high=last)
        strength = read_strength(call.message)
        call.progress("refine", 0.0)
        graph, logits = self._holdings.graph(shape), held.face_logits()[candidate]
        started = time.monotonic()
        mask = refine_mask(graph, logits, strength=strength, clicks=held.clicks, cancel=call.cancelled)
        return Reply({"seconds": time.monotonic() - started}, {"labels": mask.astype(np.int32)})

    def _segment_cloud(self, call: Call) -> Reply:
        model, device = model_and_device(call.message)
        call.progress("load model", 0.0)
        segmenter = self._holdings.segmenter(model, device)
        return clouds.segment_cloud(
            call,
            lambda on: self._holdings.segmenter(model, on),
            asked=Footprint(segmenter.prompt_batch, segmenter.config.points, segmenter.device),
            max_prompts=MAX_PROMPTS,
            make_room=lambda: self._holdings.drop_encodings(None),
        )

    def _transfer_encoded(self, call: Call) -> Reply:
        from ..transfer import face_features, match_by

        shapes = [self._holdings.shape(call.message, name) for name in ("source", "target")]
        described: list[tuple[Mesh, NDArray]] = []
        for shape in shapes:
            call.progress("transfer", len(described) / 3)
            features = self._holdings.within_memory(
                call, shape, lambda segmenter, encoded, _: face_features(segmenter, encoded), decodes=False
            )
            described.append((shape.mesh, features))
        source, target = described
        found, _ = match_by(source, target)
        return whole_meshes.transfer_reply(call, source[0], target[0], prefix="", correspondence=found)

    def _release(self, call: Call) -> Reply:
        self._holdings.release(with_model=fields.flag(call.message, "model"))
        return Reply()
