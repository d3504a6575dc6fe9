# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene cut along its parts into pieces, each of which becomes a glTF primitive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .gltf_builder import INDEX_DATA, VERTEX_DATA, GlbBuilder
from .scene import SourceScene
from .surface import Surface

_UNIT_TOLERANCE = 1e-4
"""Normals whose length is this near to 1 stay bit for bit; the validator allows 5e-4."""


@dataclass(frozen=True)
class Hold:
    """What a piece hangs on, in the numbers of the source: nothing (it stays where it is), a node, or a skin.

    With morph targets it has their node in any case, and their number.
    """

    node: int | None = None
    skin: int | None = None
    targets: int = 0


@dataclass(frozen=True)
class Piece:
    """The triangles of one part that share a material, a set of attributes and a hold: a glTF primitive."""

    positions: NDArray[np.float32]
    triangles: NDArray[np.int64]
    attributes: Mapping[str, NDArray]
    material: int | None
    hold: Hold
    targets: tuple[Mapping[str, NDArray[np.float32]], ...] = ()


def pieces_of_parts(
    scene: SourceScene, labels: NDArray[np.integer], part_count: int, offset: NDArray[np.float64] | None
) -> Iterator[list[Piece]]:
    """For each part its pieces, those of one material, one set of attributes and one hold joined."""
    offsets = scene.face_offsets
    of_part: list[list[tuple[Surface, NDArray[np.int64]]]] = [[] for _ in range(part_count)]
    for index, surface in enumerate(scene.surfaces):
        own = labels[offsets[index] : offsets[index + 1]]
        # A stable sort keeps the source's face order within each part.
        order = np.argsort(own, kind="stable")
        present, starts = np.unique(own[order], return_index=True)
        for label, chosen in zip(present.tolist(), np.split(order, starts[1:]), strict=True):
            of_part[label].append((surface, chosen))
    for pairs in of_part:
        groups: dict[tuple, list[Piece]] = {}
        for surface, chosen in pairs:
            piece = _cut_out(surface, chosen, offset)
            groups.setdefault(_kind(piece), []).append(piece)
        yield [_joined(group) for group in groups.values()]


def recolored(piece: Piece, label: int) -> Piece:
    """The piece with the colour of its part alone: vertex colours would tint it."""
    kept = {name: values for name, values in piece.attributes.items() if not name.startswith("COLOR_")}
    return replace(piece, attributes=kept, material=label)


def primitive_of(builder: GlbBuilder, piece: Piece) -> dict[str, Any]:
    """The primitive of a piece, whose data goes to `builder`."""
    attributes = {"POSITION": builder.accessor(piece.positions, target=VERTEX_DATA, bounds=True)}
    for name, values in piece.attributes.items():
        attributes[name] = builder.accessor(_unit(name, values, piece), target=VERTEX_DATA)
    short = len(piece.positions) < 2**16 - 1
    indices = piece.triangles.astype("<u2" if short else "<u4").reshape(-1)
    primitive: dict[str, Any] = {
        "attributes": attributes,
        "indices": builder.accessor(indices, target=INDEX_DATA),
        "mode": 4,
    }
    if piece.targets:
        primitive["targets"] = [
            {
                name: builder.accessor(values, target=VERTEX_DATA, bounds=name == "POSITION")
                for name, values in target.items()
            }
            for target in piece.targets
        ]
    if piece.material is not None:
        primitive["material"] = piece.material
    return primitive


def _kind(piece: Piece) -> tuple:
    """What pieces must share to be joined."""
    widths = tuple((name, values.shape[1]) for name, values in piece.attributes.items())
    return piece.material, widths, piece.hold, tuple(tuple(target) for target in piece.targets)


def _cut_out(surface: Surface, chosen: NDArray[np.int64], offset: NDArray[np.float64] | None) -> Piece:
    """The chosen triangles of a surface with the vertices that they use; at rest where something moves it."""
    form = surface.rest or surface
    used, triangles = np.unique(form.triangles[chosen], return_inverse=True)
    attributes = {name: values[used] for name, values in sorted(form.attributes.items())}
    triangles = triangles.reshape(-1, 3)
    if surface.rest is None:
        positions = surface.positions[used] - (0.0 if offset is None else offset)
        return Piece(positions.astype(np.float32), triangles, attributes, surface.material, Hold())
    rest = surface.rest
    targets = tuple(
        {name: values[used] for name, values in sorted(target.items())} for target in rest.targets
    )
    free = rest.skin is not None and not targets
    hold = Hold(None if free else rest.node, rest.skin, len(targets))
    positions = rest.positions[used].astype(np.float32)
    return Piece(positions, triangles, attributes, surface.material, hold, targets)


def _joined(pieces: list[Piece]) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    starts = np.cumsum([0] + [len(piece.positions) for piece in pieces[:-1]])
    first = pieces[0]
    return replace(
        first,
        positions=np.concatenate([piece.positions for piece in pieces]),
        triangles=np.concatenate(
            [piece.triangles + start for piece, start in zip(pieces, starts, strict=True)]
        ),
        attributes={name: np.concatenate([p.attributes[name] for p in pieces]) for name in first.attributes},
        targets=tuple(
            {name: np.concatenate([piece.targets[index][name] for piece in pieces]) for name in target}
            for index, target in enumerate(first.targets)
        ),
    )


def _unit(semantic: str, values: NDArray, piece: Piece) -> NDArray:
    """Normals and tangents at length 1, as glTF asks for; other attributes as they are.

    Vertices without a normal get one of their faces, without a tangent any one.
    """
    if semantic not in ("NORMAL", "TANGENT"):
        return values
    rows = np.nan_to_num(values[:, :3].astype(np.float64), posinf=0, neginf=0)
    length = np.linalg.norm(rows, axis=1)
    if (np.abs(length - 1) < _UNIT_TOLERANCE).all():
        return values
    missing = length < 1e-12
    instead = np.tile([0.0, 0.0, 1.0], (len(rows), 1))
    if semantic == "NORMAL" and missing.any():
        corners = piece.positions.astype(np.float64)[piece.triangles]
        cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        size = np.linalg.norm(cross, axis=1, keepdims=True)
        instead[piece.triangles] = np.where(size > 0, cross / np.where(size > 0, size, 1), [0, 0, 1])[:, None]
    unit = np.where(missing[:, None], instead, rows / np.where(missing, 1, length)[:, None])
    signs = np.where(values[:, 3:] < 0, -1, 1) if semantic == "TANGENT" else values[:, 3:]
    return np.column_stack([unit, signs]).astype(np.float32)
