# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes of a GLB file: one per part, hung on what moved its faces in the source."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .gltf_builder import GlbBuilder
from .gltf_graph import LIGHTS
from .gltf_pieces import Hold, Piece, primitive_of
from .scene_graph import Rest, SceneGraph, Skin


@dataclass(frozen=True)
class Groups:
    """What parts lie in: of_part, the group of each part; of_group, the group around each, None for none."""

    of_part: Sequence[int]
    of_group: Sequence[int | None]


@dataclass(frozen=True)
class Part:
    """name, extras: of its node; pieces: none for a part without faces."""

    name: str
    extras: dict[str, Any]
    pieces: list[Piece]


class PartHanger:
    """Adds the nodes of parts to a file, and those of the source's scene graph that these hang on.

    rests: of each node that carries surfaces at rest one of them
    translation: of parts that nothing moves, or None
    """

    def __init__(
        self,
        builder: GlbBuilder,
        graph: SceneGraph | None,
        rests: Mapping[int, Rest],
        translation: NDArray[np.float64] | None,
    ) -> None:
        self._builder, self._rests, self._translation = builder, rests, translation
        self._graph = graph or SceneGraph({}, ())
        self._skins: dict[int, int] = {}
        self._placed: dict[int, int] = {}
        self._morphed: dict[int, list[int]] = defaultdict(list)
        self._roots: list[int] = []

    def hang(self, parts: Sequence[Part], groups: Groups | None) -> list[int]:
        """Add all nodes, the parts' first; the roots of the scene.

        What groups nest stands where it is in the file's pose; only skins and morph targets still move it.
        """
        held = [sorted(_by_hold(part.pieces).items(), key=_fewest_faces) for part in parts]
        for part, holds in zip(parts, held, strict=True):
            self._builder.add("nodes", self._node(part.name, part.extras, holds[-1:]))
        around = self._nest(groups) if groups else None
        users = Counter(hold.node for holds in held for hold, _ in holds)
        hung: dict[int, list[int]] = defaultdict(list)
        for number, (part, holds) in enumerate(zip(parts, held, strict=True)):
            # A node has one mesh and one skin: a part over several of them needs several nodes.
            extra = [
                self._builder.add("nodes", self._node(f"{part.name}.{index}", {}, [entry]))
                for index, entry in enumerate(reversed(holds[:-1]), start=2)
            ]
            for node, (hold, _) in zip([number, *extra], reversed(holds), strict=False):
                if hold.targets and hold.node is not None:
                    self._morphed[hold.node].append(node)
                if around is not None:
                    self._stand(node, hold)
                    around[number].append(node)
                elif hold.node is None or hold.skin is not None:
                    self._roots.append(node)
                elif len(holds) == users[hold.node] == 1:
                    self._placed[hold.node] = node  # the part is all of that node: it takes its place
                else:
                    hung[hold.node].append(node)
            if not holds:
                (self._roots if around is None else around[number]).append(number)
        self._add_graph(hung)
        self._add_animations()
        return list(dict.fromkeys(self._roots))

    def _node(
        self, name: str, extras: dict[str, Any], holds: Sequence[tuple[Hold, list[Piece]]]
    ) -> dict[str, Any]:
        node: dict[str, Any] = {"name": name} | ({"extras": extras} if extras else {})
        for hold, pieces in holds:
            primitives = [primitive_of(self._builder, piece) for piece in pieces]
            mesh: dict[str, Any] = {"name": name, "primitives": primitives}
            if hold.targets and hold.node is not None:
                rest = self._rests[hold.node]
                weights = [*rest.weights, *[0.0] * hold.targets][: hold.targets]
                mesh["weights"] = weights
                if rest.target_names:
                    mesh["extras"] = {"targetNames": list(rest.target_names)}
            node["mesh"] = self._builder.add("meshes", mesh)
            if hold.skin is not None:
                node["skin"] = self._skin(hold.skin)
            if hold == Hold() and self._translation is not None:
                node["translation"] = self._translation.tolist()
        return node

    def _nest(self, groups: Groups) -> list[list[int]]:
        """Append the groups' nodes; for each part the children of its group."""
        children: list[list[int]] = [[] for _ in groups.of_group]
        numbers = [
            self._builder.add("nodes", {"name": f"group_{number:02d}", "children": inside})
            for number, inside in enumerate(children)
        ]
        for number, outer in zip(numbers, groups.of_group, strict=True):
            (self._roots if outer is None else children[outer]).append(number)
        return [children[group] for group in groups.of_part]

    def _stand(self, node: int, hold: Hold) -> None:
        """Put a part that hung on a node of the source where that node is."""
        if hold.node is not None and hold.skin is None:
            self._builder.nodes[node]["matrix"] = self._rests[hold.node].world.T.ravel().tolist()

    def _add_graph(self, hung: Mapping[int, list[int]]) -> None:
        graph, nodes = self._graph, self._builder.nodes
        taken = set(self._placed)
        for number in graph.nodes:
            if number not in taken:
                self._placed[number] = self._builder.add("nodes", {})
        for number, source in graph.nodes.items():
            own = ("name", "extras", "children") if number in taken else ("children",)
            node = nodes[self._placed[number]]
            node |= {key: value for key, value in source.items() if key not in own}
            children = [self._placed[child] for child in source.get("children", [])] + hung.get(number, [])
            if children:
                node["children"] = children
        self._roots += [self._placed[root] for root in graph.roots]
        for skin, place in self._skins.items():
            self._builder.skins[place]["joints"] = [self._placed[joint] for joint in graph.skins[skin].joints]
        for camera in graph.cameras:
            self._builder.add("cameras", camera)
        if graph.lights:
            self._builder.extensions[LIGHTS] = {"lights": list(graph.lights)}
        self._builder.scene |= graph.scene

    def _skin(self, source: int) -> int:
        """The number in the output of a skin; its joints follow when their nodes are there."""
        if source not in self._skins:
            skin: Skin = self._graph.skins[source]
            entry = dict(skin.head)
            if skin.inverse_bind is not None:
                entry["inverseBindMatrices"] = self._builder.accessor(skin.inverse_bind)
            self._skins[source] = self._builder.add("skins", entry)
        return self._skins[source]

    def _add_animations(self) -> None:
        for animation in self._graph.animations:
            channels: list[dict[str, Any]] = []
            samplers: list[dict[str, Any]] = []
            for channel in animation.channels:
                morphs = channel.path == "weights"
                targets = self._morphed[channel.node] if morphs else [self._placed[channel.node]]
                if not targets:
                    continue
                channels += [
                    {"sampler": len(samplers), "target": {"node": node, "path": channel.path}}
                    for node in targets
                ]
                samplers.append(
                    {
                        "input": self._builder.accessor(channel.times, bounds=True),
                        "output": self._builder.accessor(channel.values),
                        "interpolation": channel.interpolation,
                    }
                )
            if channels:
                self._builder.add(
                    "animations", {**animation.head, "channels": channels, "samplers": samplers}
                )


def _by_hold(pieces: Sequence[Piece]) -> dict[Hold, list[Piece]]:
    holds: dict[Hold, list[Piece]] = {}
    for piece in pieces:
        holds.setdefault(piece.hold, []).append(piece)
    return holds


def _fewest_faces(entry: tuple[Hold, list[Piece]]) -> int:
    return sum(len(piece.triangles) for piece in entry[1])
