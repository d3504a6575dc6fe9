# SPDX-License-Identifier: GPL-3.0-or-later
"""What gives a material its base colour: an image, a colour attribute or a plain colour."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import bpy


@dataclass(frozen=True)
class BaseColor:
    """image with the UV map it uses ("" for the default), attribute name, linear RGB."""

    image: bpy.types.Image | None = None
    uv_map: str = ""
    attribute: str = ""
    color: tuple[float, ...] | None = None


def find_base_color(material: bpy.types.Material) -> BaseColor:
    """Follow the Principled shader's Base Color upstream, or the whole surface if there is none."""
    plain = tuple(material.diffuse_color[:3])
    if not has_nodes(material):
        return BaseColor(color=plain)
    shader = next((node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED"), None)
    if shader is not None:
        socket = shader.inputs["Base Color"]
        plain = tuple(socket.default_value[:3])
        return _search_upstream(socket, plain) or BaseColor(color=plain)
    output = next((node for node in material.node_tree.nodes if node.type == "OUTPUT_MATERIAL"), None)
    found = _search_upstream(output.inputs["Surface"], plain) if output is not None else None
    return found or BaseColor(color=plain)


def has_nodes(material: bpy.types.Material) -> bool:
    """Whether nodes make the material's look (always, from 5.0 on, where asking is deprecated)."""
    return material.node_tree is not None and (bpy.app.version >= (5, 0, 0) or material.use_nodes)


def _search_upstream(socket: bpy.types.NodeSocket, plain: tuple[float, ...]) -> BaseColor | None:
    """The nearest node upstream of `socket` (breadth first) that tells a colour; `plain` if it fails."""
    waiting = deque(link.from_node for link in socket.links)
    seen = set()
    while waiting:
        node = waiting.popleft()
        if node.name in seen:
            continue
        seen.add(node.name)
        if node.type == "TEX_IMAGE" and node.image is not None:
            return BaseColor(image=node.image, uv_map=_uv_map(node), color=plain)
        if node.type == "VERTEX_COLOR":
            return BaseColor(attribute=node.layer_name, color=plain)
        if node.type == "ATTRIBUTE" and node.attribute_type == "GEOMETRY":
            return BaseColor(attribute=node.attribute_name, color=plain)
        if node.type == "RGB":
            return BaseColor(color=tuple(node.outputs[0].default_value[:3]))
        waiting.extend(link.from_node for entry in node.inputs for link in entry.links)
    return None


def _uv_map(texture: bpy.types.Node) -> str:
    links = texture.inputs["Vector"].links
    if links and links[0].from_node.type == "UVMAP":
        return str(links[0].from_node.uv_map)
    return ""
