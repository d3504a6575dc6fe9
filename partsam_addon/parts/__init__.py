# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a mesh: stored labels, their table, and all that edits them. See `table`."""

from .labeling import KEEP, write_labels
from .palette import UNASSIGNED, UNASSIGNED_COLOR, part_color
from .table import (
    PART_ATTRIBUTE,
    active_part,
    classes,
    color_table,
    get_part,
    has_parts,
    locked_ids,
    read_part_ids,
    register_properties,
    set_active_part,
    sync_table,
    unregister_properties,
    write_part_ids,
)

__all__ = [
    "KEEP",
    "PART_ATTRIBUTE",
    "UNASSIGNED",
    "UNASSIGNED_COLOR",
    "active_part",
    "classes",
    "color_table",
    "get_part",
    "has_parts",
    "locked_ids",
    "part_color",
    "read_part_ids",
    "register_properties",
    "set_active_part",
    "sync_table",
    "unregister_properties",
    "write_labels",
    "write_part_ids",
]
