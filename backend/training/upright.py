# SPDX-License-Identifier: GPL-3.0-or-later
"""Train the network that says which way is up (`backend.upright`).

    python -m backend.training.upright train.pack more.pack fused.npz.xz -o upright.npz

Which axis is up is known by source (`up_axes.toml`) or format, and of bodies labelled by bone, which lie in
their files. After two fifths and seven tenths of the time the network itself labels what it is sure of where
nothing is known, and corrects or drops what it clearly contradicts: sources hold shapes that lie, too.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..devices import CUDA, mixed_precision
from ..errors import DataError, PartSAMError
from ..geometry import Mesh, sample_surface
from ..geometry.mesh import FloatArray
from ..labelled_meshes.packing import load_shapes
from ..labelled_meshes.shards import ShapeSet
from ..upright import SEEN_POINTS, UprightNetwork, save_upright, surface_grids
from .augmentation import normalise_points

log = logging.getLogger(__name__)

AXES = ("-x", "x", "y", "-y", "z", "-z")
"""The labels: which axis of the file is up."""
UNKNOWN = -1
UP_KEY = "up"
"""In the info of shapes that were set upright since their file was read (`upright_shards`): what is up."""

DIRECTIONS = torch.tensor(
    [
        [[0, 1, 0], [-1, 0, 0], [0, 0, 1]], [[0, 1, 0], [1, 0, 0], [0, 0, -1]],
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, -1, 0], [0, 0, -1]],
        [[1, 0, 0], [0, 0, 1], [0, -1, 0]], [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
    ],
    dtype=torch.float32,
)  # fmt: skip
"""Rotations [6, 3, 3] after which each of `AXES` is up."""

_AXIS_OF_FORMAT = {
    ".glb": "y", ".gltf": "y", ".vrm": "y", ".urdf": "z", ".xacro": "z", ".sdf": "z",
}  # fmt: skip
_POINTS_SEEN = (1024, 2048, 3072)
_BATCH = 64
_RATE = 1.5e-3
_DROPOUT = 0.1
_EMA_DECAY = 0.998
_SOURCE_POWER = 0.55
"""A source is drawn by this power of the number of its shapes."""
_RELABELLED_AT = (0.4, 0.7)
_NEW_FROM = 0.9
_CONTRADICTED_FROM = 0.93
_CONTRADICTED_BELOW = 0.03
_DROPPED_BELOW = 0.1


@dataclass(frozen=True)
class Surfaces:
    """points, normals: float16 [S, N, 3] on a device, within the unit cube
    repositories: of each shape; labels: int64 [S], rows of `AXES` or UNKNOWN
    """

    points: Tensor
    normals: Tensor
    repositories: tuple[str, ...]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


def known_label(info: dict[str, str]) -> int:
    """The row of `AXES` that is up in a shape's file, or UNKNOWN."""
    if UP_KEY in info:
        axis = info[UP_KEY]
    elif "bone" in str(info.get("names", "")):
        axis = "y" if info.get("repo") in _listed()["bones_y"] else "z"
    else:
        extension = PurePosixPath(info.get("path", "").partition("@")[0]).suffix.lower().partition("#")[0]
        source = f"{info.get('repo', '')}|{extension}"
        found = [axis for axis, sources in _listed().items() if source in sources]
        axis = found[0] if found else _AXIS_OF_FORMAT.get(extension, "unknown")
    return AXES.index(axis) if axis in AXES else UNKNOWN


def sampled_surfaces(shapes: ShapeSet, *, device: str, workers: int | None = None) -> Surfaces:
    """Points on every shape; shapes without area are left out. Raises DataError where none is left."""
    meshes = [shapes.shape(row).mesh for row in range(len(shapes))]
    if workers == 1:
        drawn = [_sampled(mesh) for mesh in meshes]
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            drawn = list(pool.map(_sampled, meshes, chunksize=32))
    kept = [(row, found) for row, found in enumerate(drawn) if found is not None]
    if not kept:
        raise DataError("none of the shapes has a surface")
    rows, samples = zip(*kept, strict=True)
    points, normals = (torch.from_numpy(np.stack(column)) for column in zip(*samples, strict=True))
    return Surfaces(
        points.to(device),
        normals.to(device),
        tuple(shapes.info[row].get("repo", "") for row in rows),
        np.array([known_label(shapes.info[row]) for row in rows]),
    )


def train_upright(
    surfaces: Surfaces,
    *,
    seconds: float = math.inf,
    steps: int = 10**9,
    batch: int = _BATCH,
    seed: int = 0,
) -> UprightNetwork:
    """A network trained until either limit is reached, with averaged weights. Raises DataError where no
    shape's up axis is known."""
    if not (surfaces.labels != UNKNOWN).any():
        raise DataError("no shape's up axis is known")
    device = surfaces.points.device
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    network, averaged = (UprightNetwork(_DROPOUT).to(device) for _ in range(2))
    averaged.load_state_dict(network.state_dict())
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=0.05)
    labels, chances = surfaces.labels, _chances(surfaces)
    start, step, relabelled = time.monotonic(), 0, 0
    while (done := max(step / steps, (time.monotonic() - start) / seconds)) < 1:
        if relabelled < len(_RELABELLED_AT) and done > _RELABELLED_AT[relabelled]:
            relabelled += 1
            agreed = agreed_labels(chances_of_directions(averaged, surfaces), surfaces.labels)
            labels = agreed if (agreed != UNKNOWN).any() else surfaces.labels
        rows = _drawn(random, batch, chances, labels)
        grids = _training_grids(surfaces, torch.as_tensor(rows, device=device), random)
        with mixed_precision(device.type):
            scores = network(grids).float().view(batch, len(AXES))
        wanted = torch.as_tensor(labels[rows], device=device)
        loss = functional.cross_entropy(scores, wanted, label_smoothing=0.05)
        optimizer.param_groups[0]["lr"] = (
            _RATE * min(1, (step + 1) / 200) * (1 + math.cos(math.pi * done)) / 2
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        _average(averaged, network, min(_EMA_DECAY, step / (step + 20)))
        if step % 500 == 0:
            log.info("step %d, loss %.3f, %d shapes labelled", step, float(loss), (labels != UNKNOWN).sum())
    return averaged.eval()


def agreed_labels(found: FloatArray, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Labels [S] after a look at the chances [S, 6] that a network gives each direction: new ones where it is
    sure, others where it is sure that they are wrong, none where it doubts them."""
    best, surest = found.argmax(axis=1), found.max(axis=1)
    known = labels != UNKNOWN
    given = found[np.arange(len(labels)), labels.clip(0)]
    agreed = np.where(known & (given < _DROPPED_BELOW), UNKNOWN, labels)
    sure = (~known & (surest > _NEW_FROM)) | (
        known & (given < _CONTRADICTED_BELOW) & (surest > _CONTRADICTED_FROM)
    )
    return np.where(sure, best, agreed)


@torch.inference_mode()
def chances_of_directions(network: UprightNetwork, surfaces: Surfaces) -> FloatArray:
    """How likely each of `AXES` is up, float32 [S, 6]."""
    was_training = network.training
    network.eval()
    found = []
    for start in range(0, len(surfaces), _BATCH):
        rows = slice(start, start + _BATCH)
        points, normals = _in_all_directions(surfaces.points[rows].float(), surfaces.normals[rows].float())
        scores = network(surface_grids(normalise_points(points), normals)).view(-1, len(AXES))
        found.append(scores.softmax(dim=1).cpu().numpy())
    network.train(was_training)
    return np.concatenate(found)


@cache
def _listed() -> dict[str, frozenset[str]]:
    with Path(__file__).with_name("up_axes.toml").open("rb") as file:
        return {axis: frozenset(sources) for axis, sources in tomllib.load(file).items()}


def _sampled(mesh: Mesh) -> tuple[FloatArray, FloatArray] | None:
    try:
        sample = sample_surface(mesh, SEEN_POINTS, seed=0)
    except PartSAMError:
        return None
    middle = (sample.points.max(axis=0) + sample.points.min(axis=0)) / 2
    points = sample.points - middle
    return (points / np.abs(points).max()).astype(np.float16), sample.normals.astype(np.float16)


def _chances(surfaces: Surfaces) -> FloatArray:
    """How often each shape is drawn, float64 [S], relative to the others."""
    _, of_shape, counts = np.unique(surfaces.repositories, return_inverse=True, return_counts=True)
    chances: FloatArray = counts[of_shape] ** (_SOURCE_POWER - 1)
    return chances


def _drawn(
    random: np.random.Generator, count: int, chances: FloatArray, labels: NDArray[np.int64]
) -> NDArray[np.int64]:
    usable = np.where(labels == UNKNOWN, 0.0, chances)
    return random.choice(len(labels), count, p=usable / usable.sum())


@torch.no_grad()
def _average(averaged: UprightNetwork, network: UprightNetwork, decay: float) -> None:
    for mean, value in zip(averaged.parameters(), network.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)


def _training_grids(surfaces: Surfaces, rows: Tensor, random: np.random.Generator) -> Tensor:
    """Grids of some points of shapes [B] in all six directions, [6 B, ...]: cut and noisy at times,
    stretched, turned and mirrored about the upright axis, and tilted a little."""
    chosen = torch.randint(0, surfaces.points.shape[1], (int(random.choice(_POINTS_SEEN)),))
    points = surfaces.points[rows][:, chosen.to(rows.device)].float()
    normals = surfaces.normals[rows][:, chosen.to(rows.device)].float()
    if random.random() < 0.3:
        points, normals = _cut(points, normals)
    points, normals = _in_all_directions(*_stretched(points, normals))
    turns = _turns_about_up(len(points), rows.device)
    points, normals = points @ turns.transpose(1, 2), normals @ turns.transpose(1, 2)
    return surface_grids(normalise_points(points), normals)


def _cut(points: Tensor, normals: Tensor) -> tuple[Tensor, Tensor]:
    """Without a ball around the first point, the same number [B, K, 3] of each set."""
    distance = (points - points[:, :1]).norm(dim=2)
    outside = distance > 0.35 * torch.rand(len(points), 1, device=points.device)
    count = max(256, int(outside.sum(dim=1).min()))
    kept = outside.float().argsort(dim=1, descending=True)[:, :count, None].expand(-1, -1, 3)
    return points.gather(1, kept), normals.gather(1, kept)


def _stretched(points: Tensor, normals: Tensor) -> tuple[Tensor, Tensor]:
    """Scaled along each axis, and for three in ten with noise; [B, N, 3] each."""
    sets, device = len(points), points.device
    stretch = torch.exp(0.25 * (2 * torch.rand(sets, 1, 3, device=device) - 1))
    noise = 0.02 * torch.rand(sets, 1, 1, device=device)
    noise = noise * (torch.rand_like(noise) < 0.3)
    points = points * stretch + noise * torch.randn_like(points)
    normals = functional.normalize(normals / stretch, dim=-1, eps=1e-6)
    normals = functional.normalize(normals + 15 * noise * torch.randn_like(normals), dim=-1, eps=1e-6)
    return points, normals


def _in_all_directions(points: Tensor, normals: Tensor) -> tuple[Tensor, Tensor]:
    """[B, N, 3] each as [6 B, N, 3]."""
    turns = DIRECTIONS.to(points.device)
    return (
        torch.einsum("kij,bnj->bkni", turns, points).flatten(0, 1),
        torch.einsum("kij,bnj->bkni", turns, normals).flatten(0, 1),
    )


def _turns_about_up(count: int, device: torch.device) -> Tensor:
    """Maps [count, 3, 3]: mirrored for one in two, turned about the second axis, by right angles for two in
    three, and tilted for three in ten."""
    angle = 2 * math.pi * torch.rand(count, device=device)
    right = (angle / (math.pi / 2)).floor() * (math.pi / 2)
    angle = torch.where(torch.rand_like(angle) < 0.35, angle, right)
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    turns = torch.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], dim=1).view(-1, 3, 3)
    mirror = torch.where(torch.rand_like(angle) < 0.5, one, -one)
    x, z = 0.12 * torch.randn(2, count, device=device) * (torch.rand_like(angle) < 0.3)
    tilt = torch.stack([zero, -z, zero, z, zero, -x, zero, x, zero], dim=1).view(-1, 3, 3)
    return torch.matrix_exp(tilt) @ (turns * torch.stack([mirror, one, one], dim=1)[:, None])


def _check(args: argparse.Namespace) -> None:
    """Raise DataError for what would show only after the training."""
    if not args.output.parent.is_dir() or args.output.is_dir():
        raise DataError(f"{args.output} cannot be written: give a file in a folder that exists")
    if not args.seconds > 0 or (args.workers is not None and args.workers < 1):
        raise DataError("--seconds and --workers have to be above 0")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train on the files that are named; exit status 1 where that fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("shards", nargs="+", help="files of training shapes")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=605.0)
    parser.add_argument("--workers", type=int, default=None, help="processes; default: all cores")
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        _check(args)
        shapes = load_shapes(args.shards)
        device = CUDA if torch.cuda.is_available() else "cpu"
        surfaces = sampled_surfaces(shapes, device=device, workers=args.workers)
        network = train_upright(surfaces, seconds=args.seconds)
        save_upright(network, args.output)
        known = surfaces.labels != UNKNOWN
        right = (chances_of_directions(network, surfaces).argmax(axis=1) == surfaces.labels)[known].mean()
        log.info("%d of %d shapes labelled, %.3f found", known.sum(), len(surfaces), right)
    except PartSAMError as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
