# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a glTF file is not in the mesh that is read, or not in the one that is written: one line each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .gltf_document import GltfDocument
from .gltf_draco import is_compressed
from .gltf_primitives import TRIANGLE_MODES
from .gltf_transforms import INSTANCING, is_unit_rotation

_MOST_NAMES = 5


def notes_of(document: GltfDocument) -> tuple[str, ...]:
    """Remarks for the user, in a fixed order."""
    return (*_about_nodes(document), *_about_primitives(document), *_about_the_rest(document))


def _about_nodes(document: GltfDocument) -> Iterator[str]:
    nodes = document.items("nodes")
    crooked = [node for node in nodes if not is_unit_rotation(node)]
    if crooked:
        many = "rotation was" if len(crooked) == 1 else "rotations were"
        yield f"{len(crooked)} {many} not of unit length, and taken as if so"
    if any(INSTANCING in node.get("extensions", {}) for node in nodes):
        yield f"instances ({INSTANCING}) are written as copies"
    scenes = document.items("scenes")
    if len(scenes) > 1:
        others = [scene for index, scene in enumerate(scenes) if index != document.tree.get("scene", 0)]
        yield f"only the default scene is read, not: {_names(others)}"


def _about_primitives(document: GltfDocument) -> Iterator[str]:
    used = document.tree.get("extensionsUsed", [])
    primitives = [p for mesh in document.items("meshes") for p in mesh.get("primitives", [])]
    modes = [primitive.get("mode", 4) for primitive in primitives]
    other = sum(mode not in TRIANGLE_MODES for mode in modes)
    if 0 < other < len(modes):
        yield _not_read(other, "of points or lines")
    empty = sum("POSITION" not in primitive.get("attributes", {}) for primitive in primitives)
    if empty:
        yield _not_read(empty, "without positions")
    if any("POSITION" in p.get("attributes", {}) and is_compressed(document, p) for p in primitives):
        yield "Draco compression was undone"
    if "EXT_meshopt_compression" in used or "KHR_meshopt_compression" in used:
        yield "meshopt compression was undone"


def _about_the_rest(document: GltfDocument) -> Iterator[str]:
    variants = document.tree.get("extensions", {}).get("KHR_materials_variants", {}).get("variants", [])
    if variants:
        yield f"material variants are not written: {_names(variants)}"
    pictures = [image for image in document.items("images") if _is_ktx2(image)]
    if pictures:
        one = len(pictures) == 1
        yield (
            f"{len(pictures)} {'texture is' if one else 'textures are'} KTX2: kept, but "
            f"{'its' if one else 'their'} colors are not seen"
        )


def _not_read(count: int, which: str) -> str:
    return f"1 primitive {which} is not read" if count == 1 else f"{count} primitives {which} are not read"


def _is_ktx2(image: dict[str, Any]) -> bool:
    uri = str(image.get("uri", "")).lower()
    return image.get("mimeType") == "image/ktx2" or uri.endswith(".ktx2") or uri.startswith("data:image/ktx2")


def _names(items: list[dict[str, Any]]) -> str:
    """The names of some items, those without one by number."""
    names = [str(item.get("name") or number) for number, item in enumerate(items)]
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
