# SPDX-License-Identifier: GPL-3.0-or-later
"""Geometry node groups that show parts differently without changing the mesh."""

from __future__ import annotations

import bpy

from ..constants import PART_ATTRIBUTE

ISOLATION = "PartSAM Isolate"
"""Name of the modifier, and of its node group, that hides all parts but one in the viewport."""

EXPLOSION = "PartSAM Explode"
"""Name of the modifier, and of its node group, that moves the parts apart."""


def isolation_group() -> bpy.types.NodeTree:
    """Deletes every face that is not in one part. Inputs: geometry, Part (int)."""
    tree = bpy.data.node_groups.get(ISOLATION)
    if tree is not None:
        return tree
    tree = _new_group(ISOLATION)
    tree.interface.new_socket("Part", in_out="INPUT", socket_type="NodeSocketInt")
    start, end = _ends(tree)
    differs = tree.nodes.new("FunctionNodeCompare")
    differs.data_type, differs.operation = "INT", "NOT_EQUAL"
    tree.links.new(_part_of_face(tree), _enabled(differs.inputs, "A"))
    tree.links.new(start.outputs["Part"], _enabled(differs.inputs, "B"))
    delete = tree.nodes.new("GeometryNodeDeleteGeometry")
    delete.domain = "FACE"
    tree.links.new(start.outputs["Geometry"], delete.inputs["Geometry"])
    tree.links.new(differs.outputs["Result"], delete.inputs["Selection"])
    tree.links.new(delete.outputs["Geometry"], end.inputs["Geometry"])
    return tree


def explosion_group() -> bpy.types.NodeTree:
    """Moves every part away from the middle of the mesh. Inputs: geometry, Factor (float).

    A part's offset is Factor times the vector from the mesh's centre to its own, both by area; parts
    are cut apart along their borders first, in the modifier's result only.
    """
    tree = bpy.data.node_groups.get(EXPLOSION)
    if tree is not None:
        return tree
    tree = _new_group(EXPLOSION)
    tree.interface.new_socket("Factor", in_out="INPUT", socket_type="NodeSocketFloat")
    start, end = _ends(tree)
    part = _part_of_face(tree)
    borders = tree.nodes.new("GeometryNodeMeshFaceSetBoundaries")
    tree.links.new(part, borders.inputs[0])
    split = tree.nodes.new("GeometryNodeSplitEdges")
    tree.links.new(start.outputs["Geometry"], split.inputs["Mesh"])
    tree.links.new(borders.outputs[0], split.inputs["Selection"])
    offset = _math(tree, "SUBTRACT", _center(tree, part), _center(tree, None))
    scaled = _scale(tree, offset, start.outputs["Factor"])
    on_face = tree.nodes.new("GeometryNodeFieldOnDomain")
    on_face.domain, on_face.data_type = "FACE", "FLOAT_VECTOR"
    tree.links.new(scaled, _enabled(on_face.inputs, "Value"))
    move = tree.nodes.new("GeometryNodeSetPosition")
    tree.links.new(split.outputs["Mesh"], move.inputs["Geometry"])
    tree.links.new(_enabled(on_face.outputs, "Value"), move.inputs["Offset"])
    tree.links.new(move.outputs["Geometry"], end.inputs["Geometry"])
    return tree


def set_input(modifier: bpy.types.NodesModifier, name: str, value: float) -> None:
    """Set an input of a geometry-nodes modifier by its name."""
    identifier = modifier.node_group.interface.items_tree[name].identifier
    if hasattr(modifier, "properties"):  # from 5.2 on
        getattr(modifier.properties.inputs, identifier).value = value
    else:
        modifier[identifier] = value


def get_input(modifier: bpy.types.NodesModifier, name: str) -> float:
    """An input of a geometry-nodes modifier by its name."""
    identifier = modifier.node_group.interface.items_tree[name].identifier
    if hasattr(modifier, "properties"):
        return float(getattr(modifier.properties.inputs, identifier).value)
    return float(modifier[identifier])


def _center(tree: bpy.types.NodeTree, group: bpy.types.NodeSocket | None) -> bpy.types.NodeSocket:
    """Mean face position by area, over the faces with the same `group` value (or over all)."""
    position = tree.nodes.new("GeometryNodeInputPosition").outputs["Position"]
    area = tree.nodes.new("GeometryNodeInputMeshFaceArea").outputs["Area"]
    moment = _total(tree, _scale(tree, position, area), "FLOAT_VECTOR", group)
    weight = _total(tree, area, "FLOAT", group)
    inverse = tree.nodes.new("ShaderNodeMath")
    inverse.operation = "DIVIDE"
    inverse.inputs[0].default_value = 1.0
    tree.links.new(weight, inverse.inputs[1])
    return _scale(tree, moment, inverse.outputs[0])


def _total(
    tree: bpy.types.NodeTree,
    value: bpy.types.NodeSocket,
    data_type: str,
    group: bpy.types.NodeSocket | None,
) -> bpy.types.NodeSocket:
    node = tree.nodes.new("GeometryNodeAccumulateField")
    node.data_type, node.domain = data_type, "FACE"
    tree.links.new(value, _enabled(node.inputs, "Value"))
    if group is not None:
        tree.links.new(group, _enabled(node.inputs, "Group ID"))
    return _enabled(node.outputs, "Total")


def _math(
    tree: bpy.types.NodeTree, operation: str, first: bpy.types.NodeSocket, second: bpy.types.NodeSocket
) -> bpy.types.NodeSocket:
    node = tree.nodes.new("ShaderNodeVectorMath")
    node.operation = operation
    tree.links.new(first, node.inputs[0])
    tree.links.new(second, node.inputs[1])
    return node.outputs["Vector"]


def _scale(
    tree: bpy.types.NodeTree, vector: bpy.types.NodeSocket, factor: bpy.types.NodeSocket
) -> bpy.types.NodeSocket:
    node = tree.nodes.new("ShaderNodeVectorMath")
    node.operation = "SCALE"
    tree.links.new(vector, node.inputs[0])
    tree.links.new(factor, node.inputs["Scale"])
    return node.outputs["Vector"]


def _part_of_face(tree: bpy.types.NodeTree) -> bpy.types.NodeSocket:
    node = tree.nodes.new("GeometryNodeInputNamedAttribute")
    node.data_type = "INT"
    node.inputs["Name"].default_value = PART_ATTRIBUTE
    return _enabled(node.outputs, "Attribute")


def _new_group(name: str) -> bpy.types.NodeTree:
    tree = bpy.data.node_groups.new(name, "GeometryNodeTree")
    tree.is_modifier = True
    tree.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    tree.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    return tree


def _ends(tree: bpy.types.NodeTree) -> tuple[bpy.types.Node, bpy.types.Node]:
    return tree.nodes.new("NodeGroupInput"), tree.nodes.new("NodeGroupOutput")


def _enabled(sockets: bpy.types.bpy_prop_collection, name: str) -> bpy.types.NodeSocket:
    """The socket with this name that the node's data type uses (it has one per type, in part hidden)."""
    return next(socket for socket in sockets if socket.name == name and socket.enabled)
