# SPDX-License-Identifier: GPL-3.0-or-later
"""The weights that our vertex groups have now, read without holding Blender up."""

from __future__ import annotations

import bpy
import numpy as np

from ..apply.falloff import read_weight_rows, weight_table
from ..apply.vertex_groups import own_groups, own_names
from ..mesh_exchange import find_object, object_mode
from ..session.flow import Calculation, Flow, Pause
from ..session.watch import GeometryWatch, watched

_VERTICES_A_TICK = 30_000
"""Whose weights are read at a time: 30 ms."""


def read_own_groups(uid: int) -> Flow:
    """`own_groups` of an object, over several ticks: Blender gives weights away vertex by vertex.

    Begins again where weights were changed in between.
    """
    while True:
        obj = find_object(uid)
        if not own_names(obj):
            return own_groups(obj)
        if obj.data.is_editmode:
            with object_mode(bpy.context, obj):
                return own_groups(obj)
        with watched(obj) as watch:
            table = yield from _read_table(uid, len(obj.data.vertices), watch)
            if not watch.changed:
                own = own_groups(find_object(uid), table)
                yield Pause("weights", fraction=1.0)
            if not watch.changed:
                return own


def _read_table(uid: int, count: int, watch: GeometryWatch) -> Flow:
    """The weights of all vertices, or None once something has changed."""
    rows = []
    for start in range(0, count, _VERTICES_A_TICK):
        rows.append(read_weight_rows(find_object(uid), start, start + _VERTICES_A_TICK))
        yield Pause("weights", fraction=start / count)
        if watch.changed:
            return None
    return (yield Calculation("weights", lambda: weight_table(np.concatenate(rows), count)))
