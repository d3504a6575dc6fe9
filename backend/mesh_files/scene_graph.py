# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a glTF scene move: surfaces at rest, and the nodes, skins and animations that place them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.mesh import FloatArray, IntArray


@dataclass(frozen=True)
class Rest:
    """A surface as its glTF file stores it, before nodes, skins and morph targets place it.

    node: number of the node that carries it, as in the file; world: float64 [4, 4], where that node is
    skin: index into `SceneGraph.skins`, None where the node moves it
    positions: float64 [V, 3]; triangles: int32 [F, 3], face by face those of the surface
    attributes: as the surface's, with JOINTS_n uint16 [V, 4] and WEIGHTS_n
    targets: morph targets, semantic -> float32 [V, 3]; weights: how much of each the file shows
    target_names: of the morph targets, as exporters store them
    """

    node: int
    world: FloatArray
    skin: int | None
    positions: FloatArray
    triangles: IntArray
    attributes: Mapping[str, NDArray]
    targets: tuple[Mapping[str, NDArray[np.float32]], ...] = ()
    weights: tuple[float, ...] = ()
    target_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Channel:
    """What an animation does to a node: glTF's path, the times float32 [n], and the values float32 [m, w]."""

    node: int
    path: str
    times: NDArray[np.float32]
    values: NDArray[np.float32]
    interpolation: str


@dataclass(frozen=True)
class Animation:
    """head: name and extras as JSON; channels: what moves."""

    head: Mapping[str, Any]
    channels: tuple[Channel, ...]


@dataclass(frozen=True)
class Skin:
    """head: name and extras as JSON; joints: nodes; inverse_bind: float32 [J, 16], or None for identities."""

    head: Mapping[str, Any]
    joints: tuple[int, ...]
    inverse_bind: NDArray[np.float32] | None


@dataclass(frozen=True)
class SceneGraph:
    """What a glTF scene holds beside meshes: skeletons, animations, cameras, lights, and their nodes.

    nodes: number in the file -> JSON object without mesh and skin, `children` in the file's numbers
    roots: those without parent; cameras, lights: JSON objects; scene: name and extras of the scene
    """

    nodes: Mapping[int, Mapping[str, Any]]
    roots: tuple[int, ...]
    skins: tuple[Skin, ...] = ()
    animations: tuple[Animation, ...] = ()
    cameras: tuple[dict[str, Any], ...] = ()
    lights: tuple[dict[str, Any], ...] = ()
    scene: Mapping[str, Any] = field(default_factory=dict)
