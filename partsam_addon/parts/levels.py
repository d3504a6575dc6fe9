# SPDX-License-Identifier: GPL-3.0-or-later
"""The levels of a mesh: what Granularity can cut anew, stored with the mesh.

Segment makes a level of the whole mesh, Split Again one of a part. Each face belongs to the level that
was made last where it lies: its atom in `.partsam_tree` says to which. Cutting a level changes only its
own faces, and needs no backend. A mesh that was joined from several has the whole levels of all of them,
which are cut together.
"""

from __future__ import annotations

import bpy
import numpy as np

from ..mesh_exchange.arrays import BoolArray, IntArray
from ..mesh_exchange.elements import has_element_integers, remove_integers, write_element_integers
from .attributes import NO_ATOM, TREE_ATTRIBUTE, read_atoms
from .part_tree import Cut, PartTree
from .revision import note_change
from .schema import PARTSAM_PG_level, PARTSAM_PG_parts
from .table import active_part

MAX_LEVELS = 64
"""Where more meshes than this are joined, the slider leaves the last ones alone."""

_COPIED = ("title", "tree_id", "data", "granularity", "refine", "strength")

KEPT_LEVELS = 8
"""Levels without faces that are kept for undo in Edit mode."""


def store_level(
    mesh: bpy.types.Mesh, atoms: IntArray, tree: PartTree, *, tree_id: str, cut: Cut, title: str, whole: bool
) -> PARTSAM_PG_level:
    """Add a level. Not in Edit mode.

    atoms: int [P], the atom of `tree` of each polygon; below 0 where the polygon is not in the level
    whole: the level replaces all others; they are kept for a while, in case that undo in Edit mode, which
        brings back faces but not tables, finds their atoms again
    """
    stored = read_atoms(mesh)
    _drop_levels_without_faces(mesh, stored)
    if whole:
        stored[:] = NO_ATOM
    level = _add_level(mesh, tree.atom_count)
    level.title, level.tree_id, level.data = title, tree_id, tree.to_text()
    _set_cut(level, cut)
    inside = atoms >= 0
    stored[inside] = level.first_atom + atoms[inside]
    write_element_integers(mesh, TREE_ATTRIBUTE, stored)
    return level


def adopt_levels(mesh: bpy.types.Mesh, table: PARTSAM_PG_parts, atoms: IntArray) -> IntArray:
    """Copy the levels of `table`, another mesh's or that of `mesh`, to which atoms [K] belong.

    Returns the atoms of the copies, int32 [K]; NO_ATOM where there is no level, or too many are there.
    """
    result = np.full_like(atoms, NO_ATOM)
    for index in range(len(table.levels)):
        source = table.levels[index]
        inside = (atoms >= source.first_atom) & (atoms < source.first_atom + source.atom_count)
        if not inside.any() or len(mesh.partsam.levels) >= MAX_LEVELS:
            continue
        kept = source.first_atom, source.atom_count, {name: getattr(source, name) for name in _COPIED}
        first, count, values = kept  # a level that is added may move those that are there
        level = _add_level(mesh, count)
        for name, value in values.items():
            setattr(level, name, value)
        result[inside] = atoms[inside] - first + level.first_atom
    return result


def _add_level(mesh: bpy.types.Mesh, atom_count: int) -> PARTSAM_PG_level:
    levels = mesh.partsam.levels
    number = max((level.number for level in levels), default=0) + 1
    first = max((level.first_atom + level.atom_count for level in levels), default=1)
    level = levels.add()
    level.number, level.first_atom, level.atom_count = number, first, atom_count
    return level


def note_cut(mesh: bpy.types.Mesh, level: PARTSAM_PG_level, cut: Cut) -> None:
    """Store where `level` is cut, after its labels were written. Not in Edit mode."""
    _set_cut(level, cut)
    note_change(mesh)


def cut_of(level: PARTSAM_PG_level) -> Cut:
    """Where `level` is cut."""
    return Cut(level.granularity, level.strength if level.refine else None)


def faces_of_level(mesh: bpy.types.Mesh, level: PARTSAM_PG_level) -> BoolArray:
    """Which polygons belong to `level`, bool [P]. Not in Edit mode."""
    atoms = read_atoms(mesh)
    return (atoms >= level.first_atom) & (atoms < level.first_atom + level.atom_count)


def cut_labels(
    mesh: bpy.types.Mesh, level: PARTSAM_PG_level, granularity: float
) -> tuple[IntArray, np.ndarray]:
    """Labels int32 [P] of `level` at `granularity`, -1 outside of it, and their confidences [L].

    Raises MeshError where the stored tree cannot be read. Not in Edit mode.
    """
    of_atom, confidences = PartTree.from_text(level.data).cut(granularity)
    inside = faces_of_level(mesh, level)
    labels = np.full(len(inside), -1, dtype=np.int32)
    labels[inside] = of_atom[read_atoms(mesh)[inside] - level.first_atom]
    return labels, confidences


def find_level(mesh: bpy.types.Mesh, number: int) -> PARTSAM_PG_level | None:
    """The level with this number."""
    return next((level for level in mesh.partsam.levels if level.number == number), None)


def driven_level(mesh: bpy.types.Mesh) -> PARTSAM_PG_level | None:
    """The level that Granularity drives: the active part's, else the first with faces. In every mode."""
    part = active_part(mesh)
    found = None if part is None else find_level(mesh, part.level)
    return found or next((level for level in mesh.partsam.levels if level.face_count), None)


def driven_levels(mesh: bpy.types.Mesh) -> list[PARTSAM_PG_level]:
    """`driven_level`, and where that is a whole mesh those of the meshes that were joined with it."""
    level = driven_level(mesh)
    if level is None or level.title:
        return [] if level is None else [level]
    return [one for one in mesh.partsam.levels if one.face_count and not one.title]


def drop_levels(mesh: bpy.types.Mesh) -> None:
    """Forget all part trees; the parts stay. Not in Edit mode."""
    mesh.partsam.levels.clear()
    remove_integers(mesh, TREE_ATTRIBUTE)
    for part in mesh.partsam.parts:
        part.level = 0
    note_change(mesh)


def stored_bytes(mesh: bpy.types.Mesh) -> int:
    """What the part trees take in memory and in an uncompressed file. Works in every mode."""
    if not has_element_integers(mesh, TREE_ATTRIBUTE):
        return 0
    return 4 * mesh.partsam.face_count + sum(len(level.data) for level in mesh.partsam.levels)


def _set_cut(level: PARTSAM_PG_level, cut: Cut) -> None:
    level.granularity, level.refine = cut.granularity, cut.strength is not None
    if cut.strength is not None:
        level.strength = cut.strength


def _drop_levels_without_faces(mesh: bpy.types.Mesh, atoms: IntArray) -> None:
    levels = mesh.partsam.levels
    used = [
        bool(((atoms >= level.first_atom) & (atoms < level.first_atom + level.atom_count)).any())
        for level in levels
    ]
    for index in [index for index in range(len(levels)) if not used[index]][:-KEPT_LEVELS][::-1]:
        levels.remove(index)
