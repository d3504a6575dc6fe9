# SPDX-License-Identifier: GPL-3.0-or-later
"""New labels into the parts of a mesh, so that what the user did to the old parts survives."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import bpy
import numpy as np

from ...backend.errors import MeshError
from ..mesh_exchange.arrays import BoolArray, FloatArray, IntArray, distinct
from ..mesh_exchange.elements import element_count, element_sizes
from ..wording import say
from .attributes import read_edits, read_part_ids
from .edits import ABSORBED, FIXED, mark_edits
from .growing import give_to_neighbors
from .memory import is_customized, read_memory, recall, remember_vanishing, remembered_ids
from .naming import name_by_size, rounded_sizes
from .palette import UNASSIGNED
from .part_tree import LEAK_SHARE
from .table import forget_retired, free_ids, locked_ids, parts_by_id, write_part_ids

KEEP = -1
"""Label of polygons whose part stays as it is."""


def write_labels(
    mesh: bpy.types.Mesh,
    polygon_labels: IntArray,
    *,
    confidences: Sequence[float] | FloatArray | None = None,
    by_hand: bool = False,
    renumber: bool = False,
    by_size: bool = False,
) -> dict[int, int]:
    """Make parts of labels. Returns the part id that each label got.

    polygon_labels: int [P], one label from 0 for each polygon (each point of a cloud), or KEEP
    confidences: of label k at index k
    by_hand: the parts are the user's: no cut changes them later. Else what the user made by hand before
        outranks the labels
    renumber: number the parts anew, from 1 without gaps, except for those that the user named or colored
    by_size: new numbers go to the larger parts first, else in the order of the labels; automatic names are
        numbered by size

    Faces of locked parts stay. A new part takes over id, name and color of the old part that it
    shares most area with, each old part going to one new part at most; one that lies where a part
    was that the user had named becomes that part again; the others get free ids, and so do those
    whose number is larger than that of all parts, unless the user named or colored them.
    `mesh` must not be in Edit mode.
    """
    labels = np.asarray(polygon_labels)
    if labels.shape != (element_count(mesh),):
        raise MeshError(
            say(
                "{labels} labels for {elements} elements; segment the mesh again",
                labels=labels.size,
                elements=element_count(mesh),
            )
        )
    old = read_part_ids(mesh)
    writable, absorbed = open_to_labels(mesh, labels >= 0, by_hand=by_hand)
    present, groups = distinct(labels[writable])
    areas = np.nan_to_num(element_sizes(mesh)).astype(np.float64)
    kept = set(distinct(old[~(writable | absorbed)])[0].tolist())
    places = Places(old, read_memory(mesh), writable, areas)
    inherited, recalled = _known(mesh, places, groups, kept=kept, renumber=renumber)
    leaked = _leaked(labels, places, groups, present, inherited | recalled)
    sizes = np.bincount(groups, weights=areas[writable], minlength=len(present)).astype(np.float64)
    given = dict.fromkeys(leaked, UNASSIGNED) | recalled
    ids = _ids_of_groups(mesh, inherited, given, kept=kept, sizes=sizes, by_size=by_size)
    part_ids = old.copy()
    part_ids[writable] = ids[groups] if len(ids) else UNASSIGNED
    doomed = absorbed | (writable & (part_ids == UNASSIGNED))
    receivers = ~doomed & ~np.isin(part_ids, [UNASSIGNED, *locked_ids(mesh)])
    part_ids = give_to_neighbors(mesh, part_ids, doomed, receivers)
    if by_hand:
        mark_edits(mesh, writable, FIXED)
    remember_vanishing(mesh, old, part_ids)
    write_part_ids(mesh, part_ids, areas=areas)
    result = {
        label: part_id for label, part_id in zip(present.tolist(), ids.tolist(), strict=True) if part_id
    }
    _store_confidences(mesh, result, confidences)
    if by_size:
        name_by_size(mesh, result.values())
    return result


@dataclass(frozen=True)
class Places:
    """Faces that get labels, or sets of faces that are alike.

    old, memory: int [N], the part that is there, and the one that is remembered there (see `memory`)
    writable: bool [N], whether they take their label; areas: float64 [N]
    """

    old: IntArray
    memory: IntArray | None
    writable: BoolArray
    areas: FloatArray


def count_parts(mesh: bpy.types.Mesh, labels: IntArray, places: Places, *, kept: set[int]) -> int:
    """How many parts `write_labels` would make of `labels` int [N], from 0, of `places`.

    kept: ids of the parts that have other faces
    """
    present, groups = distinct(labels[places.writable])
    inherited, recalled = _known(mesh, places, groups, kept=kept, renumber=False)
    return len(present) - len(_leaked(labels, places, groups, present, inherited | recalled))


def open_faces(mesh: bpy.types.Mesh, faces: BoolArray, *, by_hand: bool = False) -> BoolArray:
    """Those polygons of a mask [P] that `write_labels` may give another part."""
    result = faces & ~np.isin(read_part_ids(mesh), locked_ids(mesh))
    return result if by_hand else result & (read_edits(mesh) != FIXED)


def open_to_labels(mesh: bpy.types.Mesh, labeled: BoolArray, *, by_hand: bool) -> tuple[BoolArray, BoolArray]:
    """Which of the polygons that have a label, a mask [P], take it, and which take the part around them."""
    writable = open_faces(mesh, labeled, by_hand=by_hand)
    absorbed = writable & (read_edits(mesh) == ABSORBED) & (not by_hand)
    if (writable == absorbed).all():
        return writable, np.zeros_like(absorbed)  # nothing is around that could take them
    return writable & ~absorbed, absorbed


def _known(
    mesh: bpy.types.Mesh, places: Places, groups: IntArray, *, kept: set[int], renumber: bool
) -> tuple[dict[int, int], dict[int, int]]:
    """Ids of groups [N] of writable faces: those of the parts that were there, and of remembered parts.

    A remembered part comes before the one that had taken its faces over, which only lies there because the
    slider had merged them; but no part that the user named loses its group because of that, unless it gets
    another.
    """
    customized = {part.part_id for part in mesh.partsam.parts if is_customized(part)}
    present = {part.part_id for part in mesh.partsam.parts}
    ignore = kept | (present - customized if renumber else set())
    writable, areas = places.writable, places.areas
    recalled = recall(mesh, places.memory, writable, groups, areas, taken=present | kept)
    there, sizes = places.old[writable], areas[writable]
    overlapping = match_by_overlap(groups, there, sizes, ignore=ignore)
    while recalled:
        kept_names = {k: p for k, p in overlapping.items() if p in customized and k not in recalled}
        rest = ~np.isin(groups, [*recalled, *kept_names])
        others = ignore | set(kept_names.values())
        inherited = kept_names | match_by_overlap(groups[rest], there[rest], sizes[rest], ignore=others)
        homeless = customized & set(overlapping.values()) - set(inherited.values())
        needed = {group for group in recalled if overlapping.get(group) in homeless}
        if not needed:
            return inherited, recalled
        recalled = {group: part_id for group, part_id in recalled.items() if group not in needed}
    return overlapping, recalled


def _leaked(
    labels: IntArray, places: Places, groups: IntArray, present: IntArray, known: dict[int, int]
) -> set[int]:
    """Groups that are only what sticks out of parts made by hand, and were no part before."""
    if len(present) == 0:
        return set()
    count = int(labels.max(initial=0)) + 1
    labeled, areas = labels >= 0, places.areas
    whole = np.bincount(labels[labeled], weights=areas[labeled], minlength=count)[present]
    open_area = np.bincount(groups, weights=areas[places.writable], minlength=len(present))
    return set(np.flatnonzero(open_area < LEAK_SHARE * whole).tolist()) - set(known)


def _ids_of_groups(
    mesh: bpy.types.Mesh,
    inherited: dict[int, int],
    given: dict[int, int],
    *,
    kept: set[int],
    sizes: FloatArray,
    by_size: bool,
) -> IntArray:
    """A part id for each group of writable faces: given (also UNASSIGNED), inherited or free.

    sizes: float64 [G], area of each group. An inherited number above that of all parts would leave holes
    below it.
    """
    count = len(sizes)
    named = {part.part_id for part in mesh.partsam.parts if is_customized(part)} | remembered_ids(mesh)
    ids = {k: part_id for k, part_id in inherited.items() if part_id in named} | given
    numbers = free_ids(kept | named | set(ids.values()), count - len(ids))
    ids |= {k: part_id for k, part_id in inherited.items() if k not in ids and part_id in numbers}
    used = set(ids.values())
    fresh = [number for number in numbers if number not in used]
    forget_retired(mesh, set(fresh))
    new = [k for k in range(count) if k not in ids]
    if by_size:
        rounded = rounded_sizes(sizes)
        new.sort(key=lambda k: -rounded[k])
    ids |= dict(zip(new, fresh, strict=True))
    return np.array([ids[k] for k in range(count)], dtype=np.int32)


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
    keys, inverse = distinct(new.astype(np.int64) * width + old)
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
    parts = parts_by_id(mesh)
    for label, part_id in ids.items():
        parts[part_id].confidence = float(values[label]) if label < len(values) else -1.0
