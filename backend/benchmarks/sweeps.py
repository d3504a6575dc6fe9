# SPDX-License-Identifier: GPL-3.0-or-later
"""How encoding grows with the sample points, and finding all parts with the prompts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from ..geometry import sample_surface
from .network import median_ms

if TYPE_CHECKING:
    from ..segmentation import Parts
    from ..segmenter import EncodedShape

_POINTS = (0.25, 0.5, 1.0)
"""As shares of those that the network takes."""

_PROMPTS = (0.125, 0.25, 0.5, 1.0, 2.0)
"""As shares of those asked for."""


@dataclass(frozen=True)
class Sweep:
    """Milliseconds on one built mesh: `encode` by points, `every_part` by prompts."""

    faces: int
    encode: dict[int, float]
    every_part: dict[int, float]


def measure_sweep(faces: int, *, model: str, device: str, prompts: int, repeat: int) -> Sweep:
    """Measure a built mesh of about `faces` faces in this process."""
    from ..segmenter import Segmenter
    from .graph_cut import lumpy_torus

    segmenter = Segmenter.load(model, device=device)
    segmenter.warm_up()
    mesh, usual = lumpy_torus(faces), segmenter.config.points

    def encode(count: int) -> EncodedShape:
        drawn = sample_surface(mesh, count)
        return segmenter.encode_points(
            drawn.points, drawn.normals, drawn.colors, point_faces=drawn.faces, mesh=mesh
        )

    def every_part(count: int) -> Parts:
        return segmenter.segment_every_part(replace(shape, graph_ahead=None), prompts=count)

    encoded, found = {}, {}
    for share in _POINTS:
        count = round(usual * share)
        encoded[count], _ = median_ms(segmenter, partial(encode, count), repeat)
    shape = encode(usual)
    for share in _PROMPTS:
        count = max(1, round(prompts * share))
        found[count], _ = median_ms(segmenter, partial(every_part, count), repeat)
    return Sweep(mesh.face_count, encoded, found)
