# SPDX-License-Identifier: GPL-3.0-or-later
"""A training run that takes a second: one built shape, a tiny network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from built_meshes import joined

from backend import Mesh
from backend.labelled_meshes.shards import LabelledShape, ShapeSet, write_shard

TINY = """
rounds = [1, 2]
round_weights = [0.6, 0.4]

[network_sizes]
voxel_resolution = 8
voxel_channels = 8
plane_resolution = 16
unet_widths = [8, 8, 16]
transformer_width = 32
transformer_depth = 1
transformer_heads = 2
plane_channels = 16
patches = 32
patch_neighbors = 8
decoder_width = 32
decoder_depth = 1
decoder_heads = 2
decoder_mlp_width = 64
mask_prompt_widths = [8, 16]
mask_channels = 16
mask_prompt_points = 128
mask_prompt_neighbors = 4
patch_layers = 0
patch_regions = 0

[batch]
shapes = 4
points = 512
masks = 2
composed = 0.0
fused = 0.0
augmentation = { any_rotation = 0.0, axis_swap = 0.0, drop = 0.0 }

[optimizer]
learning_rate = 2e-3
warmup_steps = 10
ema_decay = 0.98

[run]
steps = 4
log_every = 2
save_every = 1000
"""


def box(low: tuple[float, float, float], high: tuple[float, float, float]) -> Mesh:
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
    quads = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
    vertices = np.array(low) + corners * (np.array(high) - np.array(low))
    return Mesh(vertices, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]))


def mushroom() -> LabelledShape:
    """A thin stem (label 0) under a wide cap (label 1)."""
    mesh = joined(box((-0.15, -0.15, -0.5), (0.15, 0.15, 0.5)), box((-0.6, -0.6, 0.5), (0.6, 0.6, 0.9)))
    info = {"names": ["component"], "repo": "a/a", "path": "mushroom.glb", "licence": "CC0-1.0"}
    return LabelledShape(mesh, np.repeat([0, 1], 12)[None].astype(np.uint8), info)


def write_tiny_config(folder: Path) -> Path:
    """The configuration of the run, with its shard beside it."""
    write_shard(folder / "one.npz.xz", ShapeSet.from_shapes([mushroom()]))
    path = folder / "tiny.toml"
    path.write_text(f"shards = [{json.dumps(str(folder / 'one.npz.xz'))}]\n{TINY}", encoding="utf-8")
    return path
