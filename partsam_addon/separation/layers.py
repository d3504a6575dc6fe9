# SPDX-License-Identifier: GPL-3.0-or-later
"""All that a mesh carries besides its connectivity, read once and written into its parts.

Attributes of every kind (UV maps, colours, creases, seams, sharpness, custom ones, hidden ones) go by
one way; vertex weights, shape keys and custom normals have one each, because Blender keeps them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import bmesh
import bpy
import numpy as np

from ..apply.falloff import WeightTable, read_weight_table
from ..apply.ownership import Record, read_records, write_records
from ..apply.vertex_groups import KIND, add_weights, own_names
from ..mesh_exchange.arrays import (
    BoolArray,
    FloatArray,
    read_polygon_integers,
    write_polygon_integers,
)
from .topology import PartTopology

_TOPOLOGY = {"position", ".edge_verts", ".corner_vert", ".corner_edge"}

DEFORMERS = {"ARMATURE", "LATTICE", "CURVE", "HOOK", "SIMPLE_DEFORM", "SOFT_BODY", "CLOTH", "WAVE"}

_NAMELESS = {"MIRROR", "NODES"}
"""Modifiers that may use groups without a setting that names them: those of the other side, attributes."""

_NORMALS = "custom_normal"

_NORMAL_TOLERANCE = 0.02
"""Length of the difference from which a stored normal counts as another one."""

_FREESTYLE = "use_freestyle_mark"

_MEMBERS: dict[str, tuple[str, int, type]] = {
    "FLOAT": ("value", 1, np.float32),
    "INT": ("value", 1, np.int32),
    "BOOLEAN": ("value", 1, np.bool_),
    "INT8": ("value", 1, np.int32),
    "FLOAT2": ("vector", 2, np.float32),
    "FLOAT_VECTOR": ("vector", 3, np.float32),
    "FLOAT_COLOR": ("color", 4, np.float32),
    "BYTE_COLOR": ("color_srgb", 4, np.float32),
    "INT16_2D": ("value", 2, np.int32),
    "INT32_2D": ("value", 2, np.int32),
    "QUATERNION": ("value", 4, np.float32),
    "FLOAT4X4": ("value", 16, np.float32),
}
"""Attribute type -> member that holds its value, numbers per element, dtype for bulk access."""


@dataclass(frozen=True)
class Layer:
    """One attribute: values [n, width], or a list of bytes for strings."""

    name: str
    data_type: str
    domain: str
    values: np.ndarray | list[bytes]


@dataclass(frozen=True)
class MeshLayers:
    """What `read_layers` found.

    weights: of the vertex groups
    made_groups: by the name of each group that we made of a part, the part's id and what is recorded of it
    shape_keys: name -> positions float32 [V, 3]
    normals: corner normals float32 [C, 3] that are to be kept, if any
    freestyle: marks of edges bool [E] and faces bool [P], where Blender keeps them apart
    deforms: whether shape keys or an armature change the shape
    skin: per vertex radius x, radius y, root, loose, float32 [V, 4], if the mesh has skin data
    unread: names of attributes of a type that is not known here
    """

    layers: list[Layer]
    weights: WeightTable
    made_groups: dict[str, tuple[int, Record]]
    shape_keys: dict[str, FloatArray]
    normals: FloatArray | None
    freestyle: dict[str, BoolArray] = field(default_factory=dict)
    skin: FloatArray | None = None
    deforms: bool = False
    unread: list[str] = field(default_factory=list)


def read_layers(obj: bpy.types.Object, *, keep_shading: bool = False) -> MeshLayers:
    """Read all layers of `obj`'s mesh. Not in Edit mode.

    keep_shading: read the normals of a mesh without custom ones, too
    """
    mesh = obj.data
    layers, unread = [], []
    for attribute in mesh.attributes:
        if attribute.name in _TOPOLOGY or _is_encoded_normals(attribute):
            continue
        if attribute.data_type == "STRING":
            values: np.ndarray | list[bytes] = [entry.value for entry in attribute.data]
        elif attribute.data_type in _MEMBERS:
            values = _read(attribute)
        else:
            unread.append(attribute.name)
            continue
        layers.append(Layer(attribute.name, attribute.data_type, attribute.domain, values))
    return MeshLayers(
        layers=layers,
        weights=read_weight_table(obj),
        made_groups={str(made["name"]): (part, made) for part, made in read_records(mesh, KIND).items()},
        shape_keys=_read_shape_keys(mesh),
        normals=_read_normals(mesh, plain=keep_shading),
        freestyle=_read_freestyle(mesh),
        skin=_read_skin(mesh),
        deforms=mesh.shape_keys is not None or any(m.type in DEFORMERS for m in obj.modifiers),
        unread=unread,
    )


def add_attributes(mesh: bpy.types.Mesh, layers: Sequence[Layer]) -> None:
    """Give `mesh`, which has no vertex groups yet, the attributes, without values.

    Later they could not be had: Blender makes no attribute with the name of a vertex group, only the other
    way round.
    """
    for layer in layers:
        present = mesh.attributes.get(layer.name)
        if present is not None and (present.data_type, present.domain) != (layer.data_type, layer.domain):
            mesh.attributes.remove(present)
            present = None
        if present is None:
            mesh.attributes.new(layer.name, layer.data_type, layer.domain)


def write_attributes(mesh: bpy.types.Mesh, layers: MeshLayers, topology: PartTopology) -> int:
    """Write the attributes of a part into its new mesh, which has them and its connectivity already.

    Returns at how many corners the normals could not be kept.
    """
    sources = {
        "POINT": topology.vertices,
        "EDGE": topology.edges,
        "FACE": topology.polygons,
        "CORNER": topology.corners,
    }
    for layer in layers.layers:
        if len(sources[layer.domain]):
            _write(mesh.attributes[layer.name], layer, sources[layer.domain])
    _write_freestyle(mesh, layers, topology)
    if layers.skin is not None:
        _write_skin(mesh, layers.skin, topology)
    if layers.normals is None:
        return 0
    normals = layers.normals[topology.corners]
    kept = len(normals) - 3 * topology.caps
    normals[kept:] = 0  # zero: as the faces of the cap have it
    return _write_normals(mesh, normals, kept, deforms=layers.deforms)


def write_weights(
    obj: bpy.types.Object,
    part: bpy.types.Object,
    layers: MeshLayers,
    topology: PartTopology,
) -> None:
    """Give `part` the weights of `obj`; groups that hold some are added to those of its template."""
    groups = obj.vertex_groups
    for index, entry in layers.weights.of(topology.vertices):
        name = groups[index].name
        group = part.vertex_groups.get(name)
        if group is None:
            group = part.vertex_groups.new(name=name)
            group.lock_weight = groups[index].lock_weight
        add_weights(group, entry)
    names = layers.made_groups.keys() & {group.name for group in part.vertex_groups}
    if made := [layers.made_groups[name] for name in names]:
        write_records(part.data, KIND, dict(made))
    if groups.active is not None and groups.active.name in part.vertex_groups:
        part.vertex_groups.active_index = part.vertex_groups[groups.active.name].index


def groups_of_every_part(obj: bpy.types.Object) -> set[str]:
    """Names of the vertex groups that each part is to have, whether it has vertices in them or not.

    All but those that we made of the parts, as far as nothing uses them by name: a thousand parts with a
    thousand groups each would take minutes.
    """
    names = {group.name for group in obj.vertex_groups}
    return names - (set(own_names(obj).values()) - _named_by_modifiers(obj))


def _named_by_modifiers(obj: bpy.types.Object) -> set[str]:
    """Vertex groups that modifiers, or shape keys, use by name."""
    if any(modifier.type in _NAMELESS for modifier in obj.modifiers):
        return {group.name for group in obj.vertex_groups}
    found = {
        getattr(modifier, setting.identifier)
        for modifier in obj.modifiers
        for setting in modifier.bl_rna.properties
        if setting.type == "STRING" and "group" in setting.identifier
    }
    keys = obj.data.shape_keys
    return found | {block.vertex_group for block in (keys.key_blocks if keys is not None else ())}


def drop_unused_slots(part: bpy.types.Object) -> None:
    """Leave out the material slots that no face of `part` uses."""
    mesh = part.data
    if len(part.material_slots) < 2:
        return
    indices = read_polygon_integers(mesh, "material_index")
    indices = np.zeros(len(mesh.polygons), dtype=np.int32) if indices is None else indices
    indices = np.clip(indices, 0, len(part.material_slots) - 1)
    used = np.unique(indices).tolist()
    slots = [(part.material_slots[k].link, part.material_slots[k].material) for k in used]
    mesh.materials.clear()
    for _, material in slots:
        mesh.materials.append(material)
    for slot, (link, material) in zip(part.material_slots, slots, strict=True):
        slot.link = link
        slot.material = material
    write_polygon_integers(mesh, "material_index", np.searchsorted(used, indices).astype(np.int32))


def _is_encoded_normals(attribute: bpy.types.Attribute) -> bool:
    """Custom normals stored relative to their neighbours cannot be copied as numbers."""
    return attribute.name == _NORMALS and attribute.data_type != "FLOAT_VECTOR"


def _read(attribute: bpy.types.Attribute) -> np.ndarray:
    member, width, dtype = _MEMBERS[attribute.data_type]
    values: np.ndarray = np.empty((len(attribute.data), width), dtype=dtype)
    attribute.data.foreach_get(member, values.ravel())
    return values


def _write(attribute: bpy.types.Attribute, layer: Layer, sources: np.ndarray) -> None:
    if isinstance(layer.values, list):
        for entry, source in zip(attribute.data, sources.tolist(), strict=True):
            entry.value = layer.values[source] if source >= 0 else b""
        return
    values: np.ndarray = layer.values[sources]
    values[sources < 0] = 0
    attribute.data.foreach_set(_MEMBERS[layer.data_type][0], values.ravel())


def _read_shape_keys(mesh: bpy.types.Mesh) -> dict[str, FloatArray]:
    found: dict[str, FloatArray] = {}
    for block in mesh.shape_keys.key_blocks if mesh.shape_keys else ():
        positions = np.empty((len(mesh.vertices), 3), dtype=np.float32)
        block.data.foreach_get("co", positions.ravel())
        found[block.name] = positions
    return found


def _read_normals(mesh: bpy.types.Mesh, *, plain: bool) -> FloatArray | None:
    """Custom normals, or where there are none and `plain` is set, those of smooth shading."""
    attribute = mesh.attributes.get(_NORMALS)
    free = attribute is not None and attribute.data_type == "FLOAT_VECTOR"
    if free or not (mesh.has_custom_normals or plain):
        return None
    normals = np.empty((len(mesh.loops), 3), dtype=np.float32)
    mesh.corner_normals.foreach_get("vector", normals.ravel())
    return normals


def _write_normals(mesh: bpy.types.Mesh, normals: FloatArray, kept: int, *, deforms: bool) -> int:
    """Write custom normals; at how many of the first `kept` corners they could not be.

    Blender stores them relative to the surface, so that they follow a deformation. Faces without extent
    have none: there free normals are stored, from 4.5 on, unless the mesh is to be deformed.
    """
    mesh.normals_split_custom_set(normals)
    stored = np.empty_like(normals)
    mesh.corner_normals.foreach_get("vector", stored.ravel())
    lost = int((np.linalg.norm(stored - normals, axis=1)[:kept] > _NORMAL_TOLERANCE).sum())
    if not lost or deforms or bpy.app.version < (4, 5, 0):
        return lost
    stored[:kept] = normals[:kept]
    mesh.attributes.remove(mesh.attributes[_NORMALS])
    mesh.attributes.new(_NORMALS, "FLOAT_VECTOR", "CORNER").data.foreach_set("vector", stored.ravel())
    return 0


def _read_freestyle(mesh: bpy.types.Mesh) -> dict[str, BoolArray]:
    """Freestyle marks by collection, where any are set; in newer versions they are attributes as well."""
    found = {}
    for name, element in (("edges", bpy.types.MeshEdge), ("polygons", bpy.types.MeshPolygon)):
        if _FREESTYLE in element.bl_rna.properties:
            flags = np.zeros(len(getattr(mesh, name)), dtype=bool)
            getattr(mesh, name).foreach_get(_FREESTYLE, flags)
            if flags.any():
                found[name] = flags
    return found


def _write_freestyle(mesh: bpy.types.Mesh, layers: MeshLayers, topology: PartTopology) -> None:
    for name, flags in layers.freestyle.items():
        sources = topology.edges if name == "edges" else topology.polygons
        here = flags[sources] & (sources >= 0)
        getattr(mesh, name).foreach_set(_FREESTYLE, here)


def _read_skin(mesh: bpy.types.Mesh) -> FloatArray | None:
    if not len(mesh.skin_vertices):
        return None
    data = mesh.skin_vertices[0].data
    values = [(*vertex.radius, vertex.use_root, vertex.use_loose) for vertex in data]
    return np.array(values, dtype=np.float32).reshape(-1, 4)


def _write_skin(mesh: bpy.types.Mesh, skin: FloatArray, topology: PartTopology) -> None:
    # Only an edit mesh can add the layer.
    edit_mesh = bmesh.new()
    try:
        edit_mesh.from_mesh(mesh)
        layer = edit_mesh.verts.layers.skin.verify()
        for vertex, values in zip(edit_mesh.verts, skin[topology.vertices].tolist(), strict=True):
            vertex[layer].radius = values[:2]
            vertex[layer].use_root, vertex[layer].use_loose = bool(values[2]), bool(values[3])
        edit_mesh.to_mesh(mesh)
    finally:
        edit_mesh.free()
