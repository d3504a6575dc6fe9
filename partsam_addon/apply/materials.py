# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts as material slots."""

from __future__ import annotations

import bpy
import numpy as np

from ..constants import PART_ATTRIBUTE
from ..mesh_exchange.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    polygon_areas,
    read_polygon_integers,
    write_polygon_integers,
)
from ..mesh_exchange.materials import has_nodes
from ..mesh_exchange.surface_colors import srgb_to_linear
from ..parts import UNASSIGNED, read_part_ids


def assign_materials(obj: bpy.types.Object, *, copy_original: bool = False) -> list[bpy.types.Material]:
    """A material slot per part, in the order of the list. Returns the materials.

    copy_original: each is a copy of the material that covers most of the part; else a plain one in
        the part's colour. Faces in no part keep their material, in slots behind the new ones.
    A material that an earlier call made for the same part is used again.
    """
    mesh = obj.data
    part_ids, slots = read_part_ids(mesh), _slot_indices(obj)
    areas = np.nan_to_num(polygon_areas(mesh)).astype(np.float64)
    originals = [slot.material for slot in obj.material_slots] or [None]
    made = []
    for part in mesh.partsam.parts:
        main = originals[_main_slot(slots, areas, part_ids == part.part_id)]
        made.append(_material_for(part, main, originals, copy_original=copy_original))
    kept = np.unique(slots[part_ids == UNASSIGNED]).tolist()
    _replace_slots(obj, [*made, *(originals[index] for index in kept)])
    position = {part.part_id: index for index, part in enumerate(mesh.partsam.parts)}
    new_slots = np.zeros(len(part_ids), dtype=np.int32)
    for part_id, index in position.items():
        new_slots[part_ids == part_id] = index
    for index, slot in enumerate(kept):
        new_slots[(part_ids == UNASSIGNED) & (slots == slot)] = len(made) + index
    write_polygon_integers(mesh, "material_index", new_slots)
    return made


def _slot_indices(obj: bpy.types.Object) -> IntArray:
    """Material slot of each polygon, int32 [P], within bounds."""
    slots = read_polygon_integers(obj.data, "material_index")
    if slots is None:
        return np.zeros(len(obj.data.polygons), dtype=np.int32)
    return np.clip(slots, 0, max(0, len(obj.material_slots) - 1))


def _main_slot(slots: IntArray, areas: FloatArray, faces: BoolArray) -> int:
    """The material slot that covers most of the area of `faces` [P]."""
    return int(np.argmax(np.bincount(slots[faces], weights=areas[faces] + 1e-12)))


def _material_for(
    part: bpy.types.PropertyGroup,
    main: bpy.types.Material | None,
    existing: list[bpy.types.Material | None],
    *,
    copy_original: bool,
) -> bpy.types.Material:
    own = next((m for m in existing if m is not None and m.get(PART_ATTRIBUTE) == part.part_id), None)
    if own is not None:
        own.name = part.name
        return own
    material = main.copy() if copy_original and main is not None else _plain_material(part)
    material.name = part.name
    material[PART_ATTRIBUTE] = part.part_id
    return material


def _plain_material(part: bpy.types.PropertyGroup) -> bpy.types.Material:
    material = bpy.data.materials.new(part.name)
    color = [*srgb_to_linear(np.array(part.color)).tolist(), 1.0]
    material.diffuse_color = color
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True
    if has_nodes(material):
        shader = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
        shader.inputs["Base Color"].default_value = color
    return material


def _replace_slots(obj: bpy.types.Object, materials: list[bpy.types.Material | None]) -> None:
    for slot in obj.material_slots:
        slot.link = "DATA"
    obj.data.materials.clear()
    for material in materials:
        obj.data.materials.append(material)
