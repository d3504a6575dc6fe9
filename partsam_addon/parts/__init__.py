# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a mesh: stored labels, their table, and all that edits them. See `schema` and `attributes`."""

from ..constants import PART_ATTRIBUTE
from .attributes import TREE_ATTRIBUTE, read_part_ids
from .counting import Room, Rooms, granularity_of_levels, rooms_of
from .editing import (
    assign_selected,
    check_parts,
    clear_parts,
    closest_neighbor,
    delete_part,
    delete_parts,
    merge_checked,
    merge_parts,
    neighbors,
    new_part_from_selected,
    release_edits,
    remove_small_parts,
)
from .edits import has_edits
from .labeling import KEEP, open_faces, write_labels
from .levels import (
    cut_labels,
    cut_of,
    driven_level,
    driven_levels,
    drop_levels,
    find_level,
    note_cut,
    store_level,
    stored_bytes,
)
from .naming import rename_parts
from .origin import bring_together
from .palette import UNASSIGNED, UNASSIGNED_COLOR, part_color
from .part_tree import CountedTree, Cut, PartTree, granularity_for
from .polygon_graph import PolygonGraph, build_polygon_graph, part_borders
from .registration import classes, register_properties, unregister_properties
from .table import (
    active_part,
    color_table,
    get_part,
    has_parts,
    is_outdated,
    locked_ids,
    parts_by_id,
    set_active_part,
    sync_table,
    write_part_ids,
)
from .visibility import select_part

__all__ = [
    "KEEP",
    "PART_ATTRIBUTE",
    "TREE_ATTRIBUTE",
    "UNASSIGNED",
    "UNASSIGNED_COLOR",
    "CountedTree",
    "Cut",
    "PartTree",
    "PolygonGraph",
    "Room",
    "Rooms",
    "active_part",
    "assign_selected",
    "bring_together",
    "build_polygon_graph",
    "check_parts",
    "classes",
    "clear_parts",
    "closest_neighbor",
    "color_table",
    "cut_labels",
    "cut_of",
    "delete_part",
    "delete_parts",
    "driven_level",
    "driven_levels",
    "drop_levels",
    "find_level",
    "get_part",
    "granularity_for",
    "granularity_of_levels",
    "has_edits",
    "has_parts",
    "is_outdated",
    "locked_ids",
    "merge_checked",
    "merge_parts",
    "neighbors",
    "new_part_from_selected",
    "note_cut",
    "open_faces",
    "part_borders",
    "part_color",
    "parts_by_id",
    "read_part_ids",
    "register_properties",
    "release_edits",
    "remove_small_parts",
    "rename_parts",
    "rooms_of",
    "select_part",
    "set_active_part",
    "store_level",
    "stored_bytes",
    "sync_table",
    "unregister_properties",
    "write_labels",
    "write_part_ids",
]
