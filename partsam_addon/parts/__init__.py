# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a mesh: stored labels, their table, and all that edits them. See `table`."""

from ..constants import PART_ATTRIBUTE
from .editing import (
    assign_selected,
    clear_parts,
    closest_neighbor,
    delete_part,
    merge_parts,
    new_part_from_selected,
)
from .labeling import KEEP, write_labels
from .palette import UNASSIGNED, UNASSIGNED_COLOR, part_color
from .polygon_graph import PolygonGraph, build_polygon_graph, part_borders
from .registration import classes, register_properties, unregister_properties
from .table import (
    active_part,
    color_table,
    get_part,
    has_parts,
    locked_ids,
    read_part_ids,
    set_active_part,
    sync_table,
    write_part_ids,
)
from .visibility import select_part

__all__ = [
    "KEEP",
    "PART_ATTRIBUTE",
    "UNASSIGNED",
    "UNASSIGNED_COLOR",
    "PolygonGraph",
    "active_part",
    "assign_selected",
    "build_polygon_graph",
    "classes",
    "clear_parts",
    "closest_neighbor",
    "color_table",
    "delete_part",
    "get_part",
    "has_parts",
    "locked_ids",
    "merge_parts",
    "new_part_from_selected",
    "part_borders",
    "part_color",
    "read_part_ids",
    "register_properties",
    "select_part",
    "set_active_part",
    "sync_table",
    "unregister_properties",
    "write_labels",
    "write_part_ids",
]
