# SPDX-License-Identifier: GPL-3.0-or-later
"""Which way is up: a small network looks at a shape with each of its six directions up.

Files differ in their up axis, and what the large network answers depends on how a shape lies. Each
direction's shape is seen in a frame of its own (`geometry.canonical`), so that what is found does not depend
on how the file is turned or mirrored along its axes.
"""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .array_files import read_arrays
from .devices import keeps_surfaces
from .errors import CheckpointError
from .geometry.canonical import CanonicalFrame
from .geometry.mesh import FloatArray
from .geometry.normalization import CUBE_SIDE
from .geometry.rows import bounds
from .whole_files import appearing_whole

BUNDLED = Path(__file__).parent / "models" / "upright.npz"

SEEN_POINTS = 4096
"""Of each shape; as many as the network was trained with at most."""
_EVEN = 1e-3
"""Scores that differ by less are the same: the last digits of a sum decide nothing."""

GRID = 32
"""Cells along each side of what the network sees."""
_CHANNELS = (32, 64, 96)
_HEIGHTS = GRID // 4
_HIDDEN = 96
_NORM_GROUPS = 8
_DENSE = 0.7
"""So many times the mean number of points per cell of one side of the cube fill a cell."""


class UprightNetwork(nn.Module):
    """How much a shape looks as if its second axis were up.

    Three-dimensional convolutions; the horizontal plane is pooled, the height is kept.
    """

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        first, second, last = _CHANNELS
        self.layers = nn.Sequential(
            nn.Conv3d(4, first, 3, stride=2, padding=1),
            nn.GroupNorm(_NORM_GROUPS, first),
            nn.ReLU(),
            nn.Conv3d(first, second, 3, padding=1),
            _Residual(second),
            nn.ReLU(),
            nn.Conv3d(second, last, 3, stride=2, padding=1),
            _Residual(last),
            nn.ReLU(),
        )
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(2 * last * _HEIGHTS, _HIDDEN)
        self.output = nn.Linear(_HIDDEN, 1)

    def forward(self, grids: Tensor) -> Tensor:
        """Scores float32 [B] of grids float32 [B, 4, GRID, GRID, GRID] (`surface_grids`)."""
        features = self.layers(grids)
        pooled = torch.cat([features.mean(dim=(2, 4)), features.amax(dim=(2, 4))], dim=1)
        return self.output(torch.relu(self.hidden(self.dropout(pooled.flatten(1)))))[:, 0]


class _Residual(nn.Module):
    """Two convolutions, each after a normalization and a ReLU, added to what they were given."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.steps = nn.Sequential()
        for _ in range(2):
            self.steps.extend(
                [
                    nn.GroupNorm(_NORM_GROUPS, channels),
                    nn.ReLU(),
                    nn.Conv3d(channels, channels, 3, padding=1),
                ]
            )

    def forward(self, features: Tensor) -> Tensor:
        added: Tensor = features + self.steps(features)
        return added


def surface_grids(points: Tensor, normals: Tensor) -> Tensor:
    """How much surface each cell of a cube holds, and which way it looks: float32 [B, 4, GRID, GRID, GRID].

    points, normals: float32 [B, N, 3], points within -1 and 1. Each point is spread over the eight nearest
    cells, so that a point on the border between two cells makes no difference.
    """
    sets, count, _ = points.shape
    place = ((points + 1) / 2 * (GRID - 1)).clamp(0, GRID - 1 - 1e-4)
    low = place.floor()
    part = place - low
    values = torch.cat([torch.ones_like(points[..., :1]), normals], dim=2)
    grids = points.new_zeros(sets, GRID**3, 4)
    for corner in np.ndindex(2, 2, 2):
        step = points.new_tensor(corner)
        weight = (part * step + (1 - part) * (1 - step)).prod(dim=2, keepdim=True)
        x, y, z = (low + step).long().unbind(dim=2)
        cell = (x * GRID + y) * GRID + z
        grids.scatter_add_(1, cell[..., None].expand(-1, -1, 4), values * weight)
    mass = grids[..., :1]
    filled = 1 - torch.exp(-mass * (_DENSE * GRID**2 / count))
    facing = grids[..., 1:] / mass.clamp(min=1e-6) * filled
    seen = torch.cat([filled, facing], dim=2)
    return seen.view(sets, GRID, GRID, GRID, 4).permute(0, 4, 1, 2, 3)


def save_upright(network: UprightNetwork, path: Path) -> None:
    """Write what `load_upright` reads, an `.npz` in float16; the file appears whole or not at all.

    Raises CheckpointError where it cannot be written.
    """
    arrays = {
        name: value.detach().cpu().numpy().astype(np.float16) for name, value in network.state_dict().items()
    }
    try:
        with appearing_whole(path) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error}") from error


def load_upright(path: Path = BUNDLED) -> UprightNetwork:
    """Read what `save_upright` wrote. Raises CheckpointError for other files."""
    network = UprightNetwork()
    try:
        with path.open("rb") as file:
            arrays = read_arrays(file)
        values = {name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}
        network.load_state_dict(values)
    except (OSError, ValueError, RuntimeError) as error:  # the last one of a network of other sizes
        raise CheckpointError(f"{path} is missing or damaged; install the extension again") from error
    if not all(bool(value.isfinite().all()) for value in values.values()):
        raise CheckpointError(f"{path} holds numbers that are not finite; install the extension again")
    return network.eval().requires_grad_(False)


@cache
def bundled_upright() -> UprightNetwork:
    """What comes with the product. Raises CheckpointError where it is missing or damaged."""
    return load_upright()


def upright_on(device: str) -> UprightNetwork:
    """What comes with the product, where it is fast: on a graphics card that samples meshes itself, else on
    the CPU. Raises CheckpointError where it is missing or damaged."""
    network = bundled_upright()
    return deepcopy(network).to(device) if keeps_surfaces(device) else network


@torch.inference_mode()
def upright_turn(
    network: UprightNetwork, points: FloatArray, normals: FloatArray, frame: CanonicalFrame
) -> FloatArray:
    """The signed permutation float64 [3, 3] that turns a shape so that its second axis is up.

    points, normals: [N, 3], of the surface; frame: of the shape. Of directions that look equally upright it
    is the first in the frame's order. Computed where the network's weights are.
    """
    device = network.output.weight.device
    turns = frame.turns()
    low, high = bounds(points)
    longest = max(float((high - low).max()), 1e-300)
    cube, facing = (
        torch.as_tensor(rows @ turns[0].T, dtype=torch.float32).to(device)[None]
        for rows in ((points - (low + high) / 2) * (CUBE_SIDE / longest), normals)
    )
    grids = _turned_grids(surface_grids(cube, facing)[0], turns @ turns[0].T)
    with torch.autocast(grids.device.type, enabled=False):  # no precision of the caller's turns a shape
        scores = network(grids).cpu().numpy()
    found: FloatArray = turns[int((scores > scores.max() - _EVEN).argmax())]
    return found


def _turned_grids(grid: Tensor, turns: FloatArray) -> Tensor:
    """A grid [4, GRID, GRID, GRID] of `surface_grids` as that of the shape turned by each of signed
    permutations [K, 3, 3]: [K, 4, GRID, GRID, GRID]. Spreading the points anew would take longer."""
    turned = []
    for turn in turns:
        axes, signs = np.abs(turn).argmax(axis=1), turn.sum(axis=1)
        channels = grid[[0, *(axes + 1)]].permute(0, *(axes + 1).tolist())
        channels = channels.flip([axis + 1 for axis in range(3) if signs[axis] < 0])
        turned.append(channels * grid.new_tensor([1, *signs]).view(4, 1, 1, 1))
    return torch.stack(turned)
