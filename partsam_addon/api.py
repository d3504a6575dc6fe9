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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Literal, overload

import bpy
import numpy as np
from mathutils.bvhtree import BVHTree
from numpy.typing import ArrayLike, NDArray

from ..backend.errors import PartSAMError, PromptError
from .backend_process import Result, requests
from .backend_process.prompts import Points, Size
from .mesh_exchange import ReadSettings, ShapeData, check_editable, labels_of_polygons, object_mode
from .parts import Cut, active_part, read_part_ids
from .session import get_session
from .session.find_parts import SegmentSettings, encode
from .session.find_parts import segment as segment_flow
from .session.flow import Flow
from .session.reading import read_objects, read_tasks
from .session.recutting import recut, targets_of, update_tables
from .session.writing import Change, NewPart, new_levels, write_changes
from .wording import say

__all__ = [
    "PartSAMError",
    "Prediction",
    "WrittenParts",
    "add_part",
    "cut",
    "predict",
    "predict_parts",
    "segment",
    "stop",
]


@dataclass(frozen=True)
class WrittenParts:
    """What was written into a mesh.

    part_ids: int32 [P], the part of each polygon (each vertex of a mesh without any), from 1
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
    poses: int = 1,
    seed: int = 0,
    evaluated: bool = False,
    selected_faces_only: bool = False,
    keep_edits: bool = True,
    parts: int = 0,
) -> WrittenParts:
    """Find the parts of `obj` and store them with its mesh; of a mesh without faces those of its points.

    granularity: few large parts (0) to many small ones (1)
    strength: of the borders' refinement; None leaves them as the network drew them
    prompts: points that the network is asked about
    poses: in how many poses the network sees the shape, 1 to 8; see the option in the README
    evaluated: look at the mesh after its modifiers; the labels are mapped back
    keep_edits: parts that were made or changed by hand keep their faces
    parts: about so many parts instead of a granularity, those that stay as they are included
    """
    check_editable(obj)
    session = get_session()
    reading = ReadSettings(evaluated=evaluated, selected_only=selected_faces_only)
    tasks = read_tasks(bpy.context, [obj], reading, keep_edits=keep_edits)
    settings = SegmentSettings(
        prompts=prompts, poses=poses, seed=seed, cut=Cut(granularity, strength), count=parts
    )
    found = session.run_now(segment_flow(session, tasks, settings))
    return _written(obj, new_levels(found, session.held))


def cut(
    obj: bpy.types.Object, *, granularity: float = 0.5, strength: float | None = 1.0, parts: int = 0
) -> WrittenParts:
    """Cut the parts of `obj` at another granularity: what Split Again made of the active part, if it was
    split, else the whole. Needs neither the network nor, from a file, the backend that found the parts;
    borders are refined only while that backend runs.

    parts: about so many parts instead of a granularity, those that stay as they are included
    """
    check_editable(obj)
    session = get_session()
    update_tables(bpy.context, [obj])
    wanted = targets_of(session, obj, Cut(granularity, strength), count=parts)
    if not wanted:
        raise PromptError(say('"{name}" has no part tree; segment it first', name=obj.name))
    if not any(one.is_refined for one in wanted):
        return _written(obj, [one.from_tree() for one in wanted])
    return _written(obj, session.run_now(recut(session, wanted)))


@overload
def predict(
    obj: bpy.types.Object,
    points: ArrayLike,
    labels: Sequence[int],
    *,
    size: float | None = None,
    candidates: Literal[False] = False,
    seed: int = 0,
) -> Prediction: ...


@overload
def predict(
    obj: bpy.types.Object,
    points: ArrayLike,
    labels: Sequence[int],
    *,
    size: float | None = None,
    candidates: Literal[True],
    seed: int = 0,
) -> list[Prediction]: ...


def predict(
    obj: bpy.types.Object,
    points: ArrayLike,
    labels: Sequence[int],
    *,
    size: float | None = None,
    candidates: bool = False,
    seed: int = 0,
) -> Prediction | list[Prediction]:
    """The part under clicks, at least the faces that are clicked. Changes nothing.

    points: float [K, 3], world space; labels: K times 1 (on the part) or 0 (not on it)
    size: about which share of the surface the part takes, in (0, 1]; None: unknown. What lies around
        small parts is looked at closely, which takes as long as looking at the whole shape: with one point
        if size is below 0.02, with several where they are answered with less than 0.05
    candidates: a list of all that may be meant instead, the largest first: three for one click
    """
    positions = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    if len(positions) == 0 or len(positions) != len(labels):
        raise PromptError(
            say(
                "{count} points and {labels} labels; give one label for each point",
                count=len(positions),
                labels=len(labels),
            )
        )
    if size is not None and not (isinstance(size, Real) and 0 < size <= 1):
        raise PromptError(
            say("size is {size!r}; give a share of the surface above 0 and up to 1, or None", size=size)
        )
    shape = read_objects(bpy.context, [obj], ReadSettings())
    said = Points(shape.from_world(positions), labels), Size(size, zoom=True)
    answer = _ask(shape, lambda name: requests.predict(name, *said), seed)
    inside, scores = answer.arrays["face_logits"] > 0, answer.arrays["scores"]
    wanted = [int(answer.fields["best"])]
    if candidates:
        areas = inside @ shape.sources[0].triangle_areas
        wanted = np.argsort(-areas, kind="stable").tolist()
    found = [_predictions(shape, inside[index].astype(np.int32) - 1, scores[[index]])[0] for index in wanted]
    if not all(one.polygons.any() for one in found):
        polygons = _polygons_at(shape, shape.from_world(positions[np.asarray(labels) > 0]))
        found = [one if one.polygons.any() else replace(one, polygons=polygons) for one in found]
    return found if candidates else found[0]


def predict_parts(
    obj: bpy.types.Object, clicks: Sequence[ArrayLike], *, strength: float | None = 1.0, seed: int = 0
) -> list[Prediction]:
    """The parts under several sets of clicks, found together, so that none overlap. Changes nothing.

    clicks: for each part the points on it, float [K, 3], world space
    strength: of the borders' refinement; None: not refined
    """
    sets = [np.asarray(points, dtype=np.float64).reshape(-1, 3) for points in clicks]
    if not sets or not all(len(points) for points in sets):
        raise PromptError("Give at least one click for each part")
    part_of_click = np.repeat(np.arange(len(sets)), [len(points) for points in sets])
    shape = read_objects(bpy.context, [obj], ReadSettings())
    positions = shape.from_world(np.concatenate(sets))
    answer = _ask(
        shape,
        lambda name: requests.predict_parts(name, positions, part_of_click, strength=strength or 0.0),
        seed,
    )
    return _predictions(shape, answer.arrays["labels"], answer.arrays["scores"])


def add_part(obj: bpy.types.Object, prediction: Prediction, *, name: str = "") -> int:
    """Make a part of a prediction, by hand: no later cut changes it. Faces of locked parts stay.

    Returns its id.
    """
    check_editable(obj)
    change = NewPart(obj.session_uid, prediction.polygons, prediction.score, name)
    write_changes(bpy.context, [change])
    part = active_part(obj.data)
    assert part is not None, "the new part is active"
    return int(part.part_id)


def stop() -> None:
    """End the backend process. It starts again when it is needed."""
    get_session().close_backend()


def _polygons_at(shape: ShapeData, points: NDArray[np.floating]) -> NDArray[np.bool_]:
    """The polygons bool [P] of the shape's only object that are nearest to `points` float [K, 3]."""
    (source,) = shape.sources
    surface = BVHTree.FromPolygons(shape.mesh.vertices.tolist(), shape.mesh.triangles.tolist())
    triangles = [surface.find_nearest(point)[2] for point in points.tolist()]
    polygons = np.zeros(source.polygon_count, dtype=bool)
    polygons[source.triangle_polygons[triangles]] = True
    return polygons


def _written(obj: bpy.types.Object, changes: Sequence[Change]) -> WrittenParts:
    write_changes(bpy.context, changes)
    with object_mode(bpy.context, obj):
        ids = read_part_ids(obj.data)
    return WrittenParts(ids, {part.part_id: part.confidence for part in obj.data.partsam.parts})


def _ask(shape: ShapeData, request: Callable[[str], requests.Request], seed: int) -> Result:
    """The answer to the request about the encoded `shape` that `request` makes of its name."""
    session = get_session()

    def flow() -> Flow:
        shape_id = yield from encode(session, shape, seed=seed)
        answer: Result = yield session.send(request(shape_id))
        return answer

    result: Result = session.run_now(flow())
    return result


def _predictions(
    shape: ShapeData, labels: NDArray[np.integer], scores: NDArray[np.floating]
) -> list[Prediction]:
    """Triangle labels, -1 for none, as a prediction for each of `scores`."""
    (source,) = shape.sources
    of_polygons = labels_of_polygons(source, np.asarray(labels) + 1) - 1
    return [
        Prediction(of_polygons == part, float(np.clip(score, 0.0, 1.0))) for part, score in enumerate(scores)
    ]
