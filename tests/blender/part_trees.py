# SPDX-License-Identifier: GPL-3.0-or-later
"""An 8 x 8 grid with a part tree, as Segment stores it, without a backend."""

from __future__ import annotations

import bpy
import numpy as np
from meshes import grid, select_polygons
from test_parts import columns, ids


def give_tree(parts, obj, *, faces=None, title=""):
    """A level whose parts are one, two halves, then the four quarters (by column) of an 8 x 8 grid.

    faces: bool [P], only these; None: the whole mesh
    """
    atoms = columns(8, range(1, 8))
    steps = np.stack([np.zeros(8), np.arange(8) // 4, np.arange(8) // 2]).astype(np.int32)
    confidences = np.array([[0.9, 0, 0, 0], [0.8, 0.7, 0, 0], [0.6, 0.5, 0.4, 0.3]], dtype=np.float32)
    tree = parts.PartTree(steps, confidences)
    inside = np.ones(64, dtype=bool) if faces is None else faces
    level = parts.store_level(
        obj.data,
        np.where(inside, atoms, -1),
        tree,
        tree_id="tree",
        cut=parts.Cut(1.0, None),
        title=title,
        whole=faces is None,
    )
    labels, confidence = parts.cut_labels(obj.data, level, 1.0)
    parts.write_labels(obj.data, labels, confidences=confidence)
    parts.note_cut(obj.data, level, parts.Cut(1.0, None))


def quartered(parts):
    """An 8 x 8 grid in four parts of two columns each, with its tree."""
    obj = grid(8)
    give_tree(parts, obj)
    bpy.ops.ed.undo_push(message="segmented")
    return obj


def cut(granularity):
    return bpy.ops.partsam.cut("EXEC_DEFAULT", True, granularity=granularity, refine=False)


def column_ids(obj, parts):
    """The part of each column of an 8 x 8 grid whose columns are each in one part."""
    rows = ids(obj, parts).reshape(8, 8)
    assert (rows == rows[0]).all()
    return rows[0].tolist()


def delete_first_column(obj):
    select_polygons(obj, range(0, 64, 8))
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.delete(type="FACE")
    bpy.ops.object.mode_set(mode="OBJECT")
