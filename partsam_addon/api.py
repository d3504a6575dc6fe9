# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions for scripts; they work with a window and in `--background`, and wait for their result.

    from bl_ext.user_default.partsam.partsam_addon import api

    found = api.segment(bpy.context.object, granularity=0.4)
    found.part_ids              # int32 [P], the part of each polygon; also the face attribute "partsam_part"
    api.cut(bpy.context.object, granularity=0.8)            # other granularity, no inference
    part = api.predict(bpy.context.object, [(0, 0, 1)], [1])  # the part under a click
    api.add_part(bpy.context.object, part, name="Head")
    api.stop()                  # ends the backend process; it starts again when needed

The module's first name differs where the extension was installed into another repository. Nothing here
pushes an undo step. All errors that a user can act on are `PartSAMError`s, with the remedy in the message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import bpy
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend.errors import PartSAMError, PromptError
from .backend_process import Result, requests
from .mesh_exchange import ReadSettings, ShapeData, check_editable, labels_of_polygons, object_mode
from .parts import KEEP, get_part, read_part_ids, write_labels
from .session import get_session
from .session.flow import Flow
from .session.publish import publish
from .session.reading import read_objects, read_tasks
from .session.results import Cut, Segmentation
from .session.segmentation import SegmentSettings, cut_again, encode
from .session.segmentation import segment as segment_flow

__all__ = ["PartSAMError", "Parts", "Prediction", "add_part", "cut", "predict", "segment", "stop"]


@dataclass(frozen=True)
class Parts:
    """What was written into a mesh.

    part_ids: int32 [P], the part of each polygon, from 1
    confidence: predicted IoU by part id
    """

    part_ids: NDArray[np.integer]
    confidence: dict[int, float]


@dataclass(frozen=True)
class Prediction:
    """The part under clicks. polygons: bool [P], inside or not; score: predicted IoU."""

    polygons: NDArray[np.bool_]
    score: float


def segment(
    obj: bpy.types.Object,
    *,
    granularity: float = 0.5,
    strength: float | None = 1.0,
    prompts: int = 256,
    seed: int = 0,
    evaluated: bool = False,
    selected_faces_only: bool = False,
) -> Parts:
    """Find the parts of `obj` and store them with its mesh.

    granularity: few large parts (0) to many small ones (1)
    strength: of the borders' refinement; None leaves them as the network drew them
    prompts: points that the network is asked about
    evaluated: look at the mesh after its modifiers; the labels are mapped back
    """
    session = get_session()
    reading = ReadSettings(evaluated=evaluated, selected_only=selected_faces_only)
    tasks = read_tasks(bpy.context, [obj], reading)
    settings = SegmentSettings(prompts=prompts, seed=seed, cut=Cut(granularity, strength))
    (found,) = session.run_now(segment_flow(session, tasks, settings))
    return _written(obj, found)


def cut(obj: bpy.types.Object, *, granularity: float = 0.5, strength: float | None = 1.0) -> Parts:
    """Cut the parts of `obj`'s last segmentation at another granularity, without inference."""
    session = get_session()
    last = session.results.of_object(obj.session_uid)
    if last is None:
        raise PromptError(f'"{obj.name}" was not segmented since Blender was started; segment it first')
    return _written(obj, session.run_now(cut_again(session, last, Cut(granularity, strength))))


def predict(obj: bpy.types.Object, points: ArrayLike, labels: Sequence[int], *, seed: int = 0) -> Prediction:
    """The part under clicks. Changes nothing.

    points: float [K, 3], world space; labels: K times 1 (on the part) or 0 (not on it)
    """
    positions = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    if len(positions) == 0 or len(positions) != len(labels):
        raise PromptError(f"{len(positions)} points and {len(labels)} labels; give one label for each point")
    session = get_session()
    shape = read_objects(bpy.context, [obj], ReadSettings())

    def flow() -> Flow:
        shape_id = yield from encode(session, shape, seed=seed)
        answer: Result = yield session.send(requests.predict(shape_id, shape.from_world(positions), labels))
        return answer

    return _prediction(shape, session.run_now(flow()))


def add_part(obj: bpy.types.Object, prediction: Prediction, *, name: str = "") -> int:
    """Make a part of a prediction; faces of locked parts stay. Returns its id."""
    check_editable(obj)
    with object_mode(bpy.context, obj):
        labels = np.where(prediction.polygons, 0, KEEP).astype(np.int32)
        written = write_labels(obj.data, labels, confidences=[prediction.score])
        if 0 not in written:
            raise PromptError("The prediction has no face outside of locked parts")
        if name:
            get_part(obj.data, written[0]).name = name
    return written[0]


def stop() -> None:
    """End the backend process. It starts again when it is needed."""
    get_session().close_backend()


def _written(obj: bpy.types.Object, found: Segmentation) -> Parts:
    publish(bpy.context, found)
    get_session().results.keep(found)
    with object_mode(bpy.context, obj):
        ids = read_part_ids(obj.data)
    return Parts(ids, {part.part_id: part.confidence for part in obj.data.partsam.parts})


def _prediction(shape: ShapeData, answer: Result) -> Prediction:
    best = int(answer.fields["best"])
    inside = (answer.arrays["face_logits"][best] > 0).astype(np.int32)
    (source,) = shape.sources
    score = float(np.clip(answer.arrays["scores"][best], 0.0, 1.0))
    return Prediction(labels_of_polygons(source, inside) == 1, score)
