# SPDX-License-Identifier: GPL-3.0-or-later
"""What a glTF scene holds beside meshes, as far as it can be written again with the parts."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MeshFileError
from .gltf_document import GltfDocument
from .gltf_transforms import INSTANCING
from .scene_graph import Animation, Channel, SceneGraph, Skin

logger = logging.getLogger(__name__)

LIGHTS = "KHR_lights_punctual"
_PLACES = ("matrix", "translation", "rotation", "scale")
_WIDTHS = {"translation": 3, "rotation": 4, "scale": 3, "weights": 1}
_DAMAGE = (LookupError, TypeError, ValueError, AttributeError, OverflowError, MeshFileError)


@dataclass(frozen=True)
class GraphReader:
    """The scene graph of a document. worlds: node of the default scene -> float64 [4, 4], where it stands."""

    document: GltfDocument
    worlds: Mapping[int, NDArray[np.float64]]

    def read(self) -> tuple[SceneGraph | None, tuple[str, ...]]:
        """The graph, None where it would be empty, and remarks about what is not kept.

        Damage here costs no mesh: then there is no graph, and a remark says so.
        """
        try:
            return self._graph(), tuple(self._notes())
        except _DAMAGE:
            logger.debug("%s: its scene graph is damaged", self.document.path.name, exc_info=True)
            return None, ("skeletons, animations, cameras and lights are damaged and not written",)

    def moves(self, node: int) -> bool:
        """Whether an animation or the pose of a skeleton can move the node."""
        return not self._is_instanced(node) and not self._movers.isdisjoint(self._line(node))

    def is_kept(self, node: int) -> bool:
        """Whether a mesh of this node can be written as it is at rest."""
        return not self._is_instanced(node)

    def _is_instanced(self, node: int) -> bool:
        return INSTANCING in self.document.items("nodes")[node].get("extensions", {})

    @cached_property
    def _parents(self) -> dict[int, int]:
        nodes = self.document.items("nodes")
        return {child: node for node in self.worlds for child in nodes[node].get("children", [])}

    def _line(self, node: int) -> Iterator[int]:
        """The node and those that it hangs on."""
        current: int | None = node
        while current is not None:
            yield current
            current = self._parents.get(current)

    @cached_property
    def _movers(self) -> set[int]:
        """Animated nodes and joints; empty where animations or skins are damaged."""
        try:
            animated = {
                channel.node
                for animation in self._animations
                for channel in animation.channels
                if channel.path != "weights"
            }
            return animated.union(*(skin.joints for skin in self._skins))
        except _DAMAGE:
            return set()

    @cached_property
    def _animations(self) -> tuple[Animation, ...]:
        return tuple(
            Animation(_head(animation), tuple(self._channels(animation)))
            for animation in self.document.items("animations")
        )

    def _channels(self, animation: Mapping[str, Any]) -> Iterator[Channel]:
        for channel in animation["channels"]:
            node, path = channel["target"].get("node"), channel["target"]["path"]
            if node not in self.worlds or path not in _WIDTHS:
                continue
            sampler = animation["samplers"][channel["sampler"]]
            times = self.document.accessor(sampler["input"]).astype(np.float32)[:, 0]
            values = self.document.accessor(sampler["output"]).astype(np.float32)
            if values.shape[1] != _WIDTHS[path] or not len(times) or not len(values):
                raise MeshFileError(
                    f"{self.document.path.name} is damaged: an animation does not fit its node"
                )
            yield Channel(node, path, times, values, str(sampler.get("interpolation", "LINEAR")))

    @cached_property
    def _skins(self) -> tuple[Skin, ...]:
        return tuple(self._skin(skin) for skin in self.document.items("skins"))

    def _skin(self, skin: Mapping[str, Any]) -> Skin:
        joints = tuple(int(joint) for joint in skin["joints"])
        if not self.worlds.keys() >= set(joints):
            raise MeshFileError(f"{self.document.path.name} is damaged: joints outside of the scene")
        inverse = None
        if "inverseBindMatrices" in skin:
            inverse = self.document.accessor(skin["inverseBindMatrices"]).astype(np.float32)[: len(joints)]
            if inverse.shape != (len(joints), 16):
                raise MeshFileError(f"{self.document.path.name} is damaged: a skin does not fit its joints")
        return Skin(_head(skin), joints, inverse)

    def _graph(self) -> SceneGraph | None:
        document = self.document
        nodes, scenes = document.items("nodes"), document.items("scenes")
        kept = {above for node in self.worlds if self._is_wanted(node) for above in self._line(node)}
        scene = _head(scenes[document.tree.get("scene", 0)]) if scenes else {}
        if not kept and not scene:
            return None
        lights = document.tree.get("extensions", {}).get(LIGHTS, {}).get("lights", [])
        return SceneGraph(
            nodes={node: _bare(nodes[node], kept) for node in self.worlds if node in kept},
            roots=tuple(node for node in self.worlds if node in kept and node not in self._parents),
            skins=self._skins,
            animations=tuple(animation for animation in self._animations if animation.channels),
            cameras=tuple(document.items("cameras")),
            lights=tuple(lights),
            scene=scene,
        )

    def _is_wanted(self, number: int) -> bool:
        node = self.document.items("nodes")[number]
        if number in self._movers or "camera" in node or LIGHTS in node.get("extensions", {}):
            return True
        if "mesh" not in node:
            return "extras" in node
        primitives = self.document.items("meshes")[node["mesh"]]["primitives"]
        morphs = any("targets" in primitive for primitive in primitives)
        skinned = "skin" in node and all("JOINTS_0" in primitive["attributes"] for primitive in primitives)
        return self.is_kept(number) and (morphs or self.moves(number)) and not skinned

    def _notes(self) -> Iterator[str]:
        for animation, source in zip(self._animations, self.document.items("animations"), strict=True):
            lost = len(source["channels"]) - len(animation.channels)
            if lost:
                name, count = animation.head.get("name", "without a name"), len(source["channels"])
                yield f"{lost} of {count} channels of the animation {name} are not written"
        if any(
            self._is_instanced(node) and not self._movers.isdisjoint(self._line(node)) for node in self.worlds
        ):
            yield "instances are written where they are in the file's pose, and do not move"


def _bare(node: Mapping[str, Any], kept: set[int]) -> dict[str, Any]:
    """A node without mesh and skin, and of its children those that are kept."""
    bare = {key: node[key] for key in ("name", "extras", "camera", *_PLACES) if key in node}
    if LIGHTS in node.get("extensions", {}):
        bare["extensions"] = {LIGHTS: node["extensions"][LIGHTS]}
    children = [child for child in node.get("children", []) if child in kept]
    return bare | ({"children": children} if children else {})


def _head(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in ("name", "extras") if key in entry}
