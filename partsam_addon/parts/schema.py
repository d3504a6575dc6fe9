# SPDX-License-Identifier: GPL-3.0-or-later
"""What is stored with a mesh beside its face attributes: the table of parts and the levels of the cut."""

from __future__ import annotations

import re
from collections.abc import Iterable

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    StringProperty,
)

from .revision import note_change

_NUMBER = re.compile(r"\.\d{3}$")
"""What Blender puts behind a name that is taken."""

MAX_NAME_BYTES = 63
"""What fits into the names of vertex groups, materials and bones. Blender 4.2 cuts within a character."""


def _renamed(part: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    table = part.id_data.partsam
    if table.is_settled:  # who names many sees to it that they differ: here each would look at all others
        taken = (other.name for other in table.parts if other.part_id != part.part_id)
        unique = unique_name(part.name, taken)
        if unique != part.name:
            part.name = unique
    _changed(part, context)


def _changed(part: bpy.types.PropertyGroup, _context: bpy.types.Context) -> None:
    """After a change of one part, in the list or by a script."""
    mesh = part.id_data
    if mesh.partsam.is_settled:
        note_change(mesh)
    mesh.update_tag()


def _activated(table: bpy.types.PropertyGroup, _context: bpy.types.Context) -> None:
    if table.is_followed:
        table.id_data.update_tag()


class PARTSAM_PG_part(bpy.types.PropertyGroup):
    """One part of a mesh."""

    part_id: IntProperty(name="Id", description="Value of the face attribute partsam_part")
    name: StringProperty(
        name="Name",
        description="Name of the part; vertex groups, objects, materials and bones are called by it",
        update=_renamed,
    )
    automatic_name: StringProperty(
        name="Automatic Name", description="The name that was given by number; another one is the user's"
    )
    color: FloatVectorProperty(
        name="Color",
        description="Color of the part in the viewport",
        subtype="COLOR_GAMMA",
        size=3,
        min=0.0,
        max=1.0,
        update=_changed,
    )
    locked: BoolProperty(
        name="Locked",
        description="Keep the faces of this part when the mesh is segmented again or parts are edited",
        update=_changed,
    )
    confidence: FloatProperty(
        name="Confidence",
        description="How sure the network is of this part; below zero where it was made by hand",
        default=-1.0,
        min=-1.0,
        max=1.0,
    )
    face_count: IntProperty(name="Faces", description="Number of faces of the part")
    area: FloatProperty(name="Area", description="Surface area of the part, without the object's scale")
    by_hand: BoolProperty(
        name="By Hand",
        description="Made or changed by hand: Granularity, Refine and Segment leave its faces alone",
    )
    checked: BoolProperty(name="Checked", description="Chosen for Merge Checked Parts", update=_changed)
    level: IntProperty(name="Level", description="Number of the level whose granularity decides on the part")
    repeat: IntProperty(
        name="Copies",
        description="Number of the group of parts that are copies of each other; 0: none is known",
    )
    repeat_motion: FloatVectorProperty(
        name="Motion", description="From the first part of the group to this one, row by row", size=16
    )


class PARTSAM_PG_level(bpy.types.PropertyGroup):
    """One segmentation of the mesh, or of one part of it, that can be cut at any granularity.

    Its part tree is stored as atoms (faces that no granularity tells apart): the face attribute
    `.partsam_tree` holds the atom of each face, `data` the labels of the atoms. See `levels`.
    """

    number: IntProperty(name="Number", description="Number of the level, from 1; never used twice in a mesh")
    title: StringProperty(
        name="Title", description="What was segmented: a part's name; empty: the whole mesh"
    )
    tree_id: StringProperty(name="Tree", description="Name of the part tree, the same in copies of the mesh")
    first_atom: IntProperty()
    atom_count: IntProperty()
    data: StringProperty()
    face_count: IntProperty(name="Faces", description="Number of faces that the level decides on")
    granularity: FloatProperty(name="Granularity", description="Where the tree is cut", default=0.5)
    refine: BoolProperty(name="Refine", description="Whether borders are to be refined", default=True)
    strength: FloatProperty(name="Strength", description="Strength of the refinement", default=1.0)


class PARTSAM_PG_parts(bpy.types.PropertyGroup):
    """The parts of a mesh, ordered by id; `retired` ones have lost all their faces."""

    parts: CollectionProperty(type=PARTSAM_PG_part)
    active_index: IntProperty(
        name="Active Part", description="Part that the buttons work on", update=_activated
    )
    is_followed: BoolProperty(
        name="Followed", description="Whether what the viewport shows depends on the active part"
    )
    retired: CollectionProperty(type=PARTSAM_PG_part)
    levels: CollectionProperty(type=PARTSAM_PG_level)
    origin: IntProperty(name="Origin", description="Number of this table, which its faces carry; 0: none yet")
    face_count: IntProperty(name="Faces", description="Number of faces when the parts were counted")
    area: FloatProperty(name="Area", description="Surface area of the mesh when the parts were counted")
    revision: IntProperty(name="Revision", description="Number of the table's state, which its faces carry")
    is_kept: BoolProperty(name="Kept", description="Whether undo in Edit mode knows this state")
    is_settled: BoolProperty(
        name="Settled",
        description="Whether a change of one part is a new state, and a name is made to differ from others",
        default=True,
    )


def unique_name(name: str, taken: Iterable[str]) -> str:
    """`name`, with a number if it is taken, as Blender numbers its data; at most MAX_NAME_BYTES long."""
    names = set(taken)
    base = _shortened(name, MAX_NAME_BYTES) or "Part"
    if base not in names:
        return base
    stem = _shortened(_NUMBER.sub("", base) or base, MAX_NAME_BYTES - 4)
    number = 1
    while (numbered := f"{stem}.{number:03d}") in names:
        number += 1
    return numbered


def _shortened(name: str, size: int) -> str:
    """The characters of `name` that fit into so many bytes of UTF-8."""
    return name.encode()[:size].decode(errors="ignore")


classes: tuple[type, ...] = (PARTSAM_PG_part, PARTSAM_PG_level, PARTSAM_PG_parts)
