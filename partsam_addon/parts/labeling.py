# SPDX-License-Identifier: GPL-3.0-or-later
"""New labels into the parts of a mesh, so that what the user did to the old parts survives."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import bpy
import numpy as np

from ...backend.errors import MeshError
from ..mesh_exchange.arrays import BoolArray, FloatArray, IntArray, polygon_areas
from .memory import recall, remember_vanishing, remembered_ids
from .palette import UNASSIGNED
from .table import forget_retired, free_ids, get_part, locked_ids, read_part_ids, write_part_ids

KEEP = -1
"""Label of polygons whose part stays as it is."""


def write_labels(
    mesh: bpy.types.Mesh,
    polygon_labels: IntArray,
    *,
    confidences: Sequence[float] | FloatArray | None = None,
) -> dict[int, int]:
    """Make parts of labels. Returns the part id that each label got.

    polygon_labels: int [P], one label from 0 for each polygon, or KEEP
    confidences: of label k at index k

    Faces of locked parts stay. A new part takes over id, name and colour of the old part that it
    shares most area with, each old part going to one new part at most; one that lies where a part
    was that the user had named becomes that part again; the others get free ids.
    `mesh` must not be in Edit mode.
    """
    labels = np.asarray(polygon_labels)
    if labels.shape != (len(mesh.polygons),):
        raise MeshError(f"{labels.size} labels for {len(mesh.polygons)} polygons; segment the mesh again")
    old = read_part_ids(mesh)
    writable = (labels >= 0) & ~np.isin(old, locked_ids(mesh))
    present, groups = np.unique(labels[writable], return_inverse=True)
    ids = _ids_of_groups(mesh, old, writable, groups, len(present))
    part_ids = old.copy()
    part_ids[writable] = ids[groups] if len(ids) else UNASSIGNED
    remember_vanishing(mesh, old, part_ids)
    write_part_ids(mesh, part_ids)
    result = dict(zip(present.tolist(), ids.tolist(), strict=True))
    _store_confidences(mesh, result, confidences)
    return result


def _ids_of_groups(
    mesh: bpy.types.Mesh, old: IntArray, writable: BoolArray, groups: IntArray, count: int
) -> IntArray:
    """A part id for each of the `count` groups [N] of writable faces: inherited, recalled or free."""
    areas = np.nan_to_num(polygon_areas(mesh)).astype(np.float64)
    kept = set(np.unique(old[~writable]).tolist())
    ids = match_by_overlap(groups, old[writable], areas[writable], ignore=kept)
    present = {part.part_id for part in mesh.partsam.parts}
    ids |= recall(mesh, writable, groups, areas, taken=present | kept, settled=ids)
    used = kept | set(ids.values())
    fresh = free_ids(used | remembered_ids(mesh), count - len(ids))
    forget_retired(mesh, set(fresh))
    unused = iter(fresh)
    return np.array([ids[k] if k in ids else next(unused) for k in range(count)], dtype=np.int32)


def match_by_overlap(
    new: IntArray, old: IntArray, areas: FloatArray, *, ignore: Collection[int] = ()
) -> dict[int, int]:
    """Pair new groups with old ids, by the largest shared area first; ties by number.

    new, old, areas: [N], group, former part id and area of each face. Ids in `ignore` and UNASSIGNED
    are not given away. Returns new group -> old id.
    """
    if len(new) == 0:
        return {}
    width = int(old.max()) + 1
    keys, inverse = np.unique(new.astype(np.int64) * width + old, return_inverse=True)
    # Faces without area still count a little, so that every shared face is a reason to match.
    weights = np.bincount(inverse, weights=areas + 1e-12 * (areas.sum() + 1))
    pairs: dict[int, int] = {}
    given = set(ignore) | {UNASSIGNED}
    for index in np.argsort(-weights, kind="stable").tolist():
        group, part_id = divmod(int(keys[index]), width)
        if group not in pairs and part_id not in given:
            pairs[group] = part_id
            given.add(part_id)
    return pairs


def _store_confidences(
    mesh: bpy.types.Mesh, ids: dict[int, int], confidences: Sequence[float] | FloatArray | None
) -> None:
    values = [] if confidences is None else list(confidences)
    for label, part_id in ids.items():
        get_part(mesh, part_id).confidence = float(values[label]) if label < len(values) else -1.0
