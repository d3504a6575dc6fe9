# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts as material slots."""

from __future__ import annotations

import bpy
import numpy as np

from ..mesh_exchange.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    polygon_areas,
    read_polygon_integers,
    write_polygon_integers,
)
from ..mesh_exchange.base_colors import has_nodes
from ..mesh_exchange.surface_colors import srgb_to_linear
from ..parts import UNASSIGNED, read_part_ids
from .ownership import Record, digest, read_made, read_records, write_made, write_records

KIND = "materials"

_PART = "part"
"""On a material of ours: the part that it was made for."""

_ORIGINAL = "original_material"
"""On a material of ours: the user's material that it stands for."""


def assign_materials(obj: bpy.types.Object, *, copy_original: bool = False) -> list[bpy.types.Material]:
    """A material slot per part, in the order of the list. Returns the materials.

    copy_original: each is a copy of the material that covers most of the part; else a plain one in
        the part's colour. Faces in no part keep their material, in slots behind the new ones.

    A material that an earlier call made for the same part in the same way is used again; it follows the
    part's name and colour unless it was given others. The user's materials stay in the file.
    """
    mesh = obj.data
    part_ids, slots = read_part_ids(mesh), _slot_indices(obj)
    areas = np.nan_to_num(polygon_areas(mesh)).astype(np.float64)
    before = [slot.material for slot in obj.material_slots] or [None]
    records = read_records(mesh, KIND)
    made: dict[int, bpy.types.Material] = {}
    own: dict[int, bpy.types.Material] = {}
    mains = {
        part.part_id: _original(before[_main_slot(slots, areas, part_ids == part.part_id)])
        for part in mesh.partsam.parts
    }
    for part_id, main in mains.items():
        known = _own_material(records.get(part_id), main if copy_original else None)
        if known is not None:
            own[part_id] = known
    _follow_parts(mesh, own, records)
    for part in mesh.partsam.parts:
        main = mains[part.part_id]
        base = main if copy_original else None
        made[part.part_id] = own.get(part.part_id) or _new_material(part, base, main)
    kept = np.unique(slots[part_ids == UNASSIGNED]).tolist()
    _keep_in_file(mesh, before)
    _replace_slots(obj, [*made.values(), *(before[index] for index in kept)])
    write_polygon_integers(mesh, "material_index", _new_slots(part_ids, slots, list(made), kept))
    write_records(mesh, KIND, {i: _record(material, copied=copy_original) for i, material in made.items()})
    return list(made.values())


def _slot_indices(obj: bpy.types.Object) -> IntArray:
    """Material slot of each polygon, int32 [P], within bounds."""
    slots = read_polygon_integers(obj.data, "material_index")
    if slots is None:
        return np.zeros(len(obj.data.polygons), dtype=np.int32)
    return np.clip(slots, 0, max(0, len(obj.material_slots) - 1))


def _main_slot(slots: IntArray, areas: FloatArray, faces: BoolArray) -> int:
    """The material slot that covers most of the area of `faces` [P]."""
    return int(np.argmax(np.bincount(slots[faces], weights=areas[faces] + 1e-12)))


def _new_slots(part_ids: IntArray, slots: IntArray, made: list[int], kept: list[int]) -> IntArray:
    """Slot of each polygon: those of the parts in `made`, then those of `kept` old slots."""
    result = np.zeros(len(part_ids), dtype=np.int32)
    for index, part_id in enumerate(made):
        result[part_ids == part_id] = index
    for index, slot in enumerate(kept):
        result[(part_ids == UNASSIGNED) & (slots == slot)] = len(made) + index
    return result


def _original(material: bpy.types.Material | None) -> bpy.types.Material | None:
    """The user's material that `material` stands for: itself, unless it is one of ours."""
    return material if material is None else (read_made(material, _ORIGINAL) or material)


def _own_material(record: Record | None, base: bpy.types.Material | None) -> bpy.types.Material | None:
    """The material of an earlier call, if it was made of the same base."""
    if record is None or not isinstance(record.get("material"), bpy.types.Material):
        return None
    material = record["material"]
    assert isinstance(material, bpy.types.Material)
    same = read_made(material, _ORIGINAL) == base if record["copied"] else base is None
    return material if same and material.is_editable else None


def _follow_parts(
    mesh: bpy.types.Mesh, own: dict[int, bpy.types.Material], records: dict[int, Record]
) -> None:
    """Give our materials, by part id, the parts' names and colors, unless the user gave them others."""
    parts = {part.part_id: part for part in mesh.partsam.parts if part.part_id in own}
    named = [i for i, part in parts.items() if part.name != own[i].name == records[i]["name"]]
    for part_id in named:  # free all names first, as parts can exchange theirs
        own[part_id].name = f"partsam {part_id}"
    for part_id in named:
        own[part_id].name = parts[part_id].name
    for part_id, part in parts.items():
        record = records[part_id]
        if not record["copied"] and _color_digest(own[part_id]) == record["color"]:
            _paint(own[part_id], part)


def _new_material(
    part: bpy.types.PropertyGroup, base: bpy.types.Material | None, original: bpy.types.Material | None
) -> bpy.types.Material:
    if base is not None:
        material = base.copy()
        material.name = part.name
    else:
        material = bpy.data.materials.new(part.name)
        if bpy.app.version < (5, 0, 0):
            material.use_nodes = True
        _paint(material, part)
    write_made(material, _PART, part.part_id)
    if original is not None:
        write_made(material, _ORIGINAL, original)
    return material


def _record(material: bpy.types.Material, *, copied: bool) -> Record:
    return {
        "material": material,
        "name": material.name,
        "copied": int(copied and read_made(material, _ORIGINAL) is not None),
        "color": _color_digest(material),
    }


def _paint(material: bpy.types.Material, part: bpy.types.PropertyGroup) -> None:
    color = [*srgb_to_linear(np.array(part.color)).tolist(), 1.0]
    material.diffuse_color = color
    shader = _shader(material)
    if shader is not None:
        shader.inputs["Base Color"].default_value = color


def _color_digest(material: bpy.types.Material) -> str:
    shader = _shader(material)
    colors = [material.diffuse_color[:]]
    if shader is not None:
        socket = shader.inputs["Base Color"]
        colors.append((len(socket.links), *socket.default_value[:3]))
    return digest(np.array(colors, dtype=np.float32))


def _shader(material: bpy.types.Material) -> bpy.types.Node | None:
    if not has_nodes(material):
        return None
    return next((node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED"), None)


def _keep_in_file(mesh: bpy.types.Mesh, materials: list[bpy.types.Material | None]) -> None:
    """Let the mesh use materials that leave its slots, so that saving does not drop them."""
    stored = mesh.get("partsam_former_materials") or {}
    former = {material.name: material for material in dict(stored.items()).values() if material is not None}
    users = [
        material for material in materials if material is not None and read_made(material, _PART) is None
    ]
    former |= {material.name: material for material in users}
    mesh["partsam_former_materials"] = former


def _replace_slots(obj: bpy.types.Object, materials: list[bpy.types.Material | None]) -> None:
    for slot in obj.material_slots:
        slot.link = "DATA"
    obj.data.materials.clear()
    for material in materials:
        obj.data.materials.append(material)
