# SPDX-License-Identifier: GPL-3.0-or-later
"""Training of what chooses parts: nodes of part trees of labelled shapes, and how good each was.

First `node_records` with a frozen network over many shapes, then `fit_part_quality` over what they gave:
seconds on a CPU. Every labeling of a shape teaches, as they disagree about granularity.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..devices import use_gpu
from ..errors import DataError
from ..geometry import face_areas
from ..geometry.mesh import FloatArray, IntArray
from ..labelled_meshes.shards import UNLABELLED, LabelledShape, dump_arrays, load_arrays, write_atomically
from ..segmentation.node_features import FEATURES
from ..segmentation.part_quality import PartQuality
from ..segmenter import Segmenter

_BLOCKS_PER_WORKER = 16
HIT = 0.5
"""Nodes of a lower IoU are no hit, as in panoptic quality."""


@dataclass(frozen=True)
class NodeRecord:
    """One shape's part tree beside its labelings.

    source: repository; features: float32 [T, D]; parents: int64 [T]
    inside: bool [T, A], atoms of the nodes; areas: float64 [A]
    known: for each labeling float64 [P, A], the area that part and atom share
    """

    source: str
    features: FloatArray
    parents: IntArray
    inside: NDArray[np.bool_]
    areas: FloatArray
    known: list[FloatArray]


def node_record(segmenter: Segmenter, shape: LabelledShape, *, prompts: int, seed: int) -> NodeRecord:
    """Segment `shape` and lay its labelings beside the tree of parts."""
    encoded = segmenter.encode(shape.mesh, seed=seed)
    parts = segmenter.segment_every_part(encoded, prompts=prompts)
    if parts.tree is None or parts.features is None or encoded.sites.of_face is None:
        raise DataError("only meshes give part trees to learn from")
    # The nodes behind those with features are separate pieces of what was left over.
    tree, nodes, areas = parts.tree, len(parts.features), face_areas(shape.mesh)
    of_face = tree.atoms[encoded.sites.of_face]
    known: list[FloatArray] = []
    for labeling in shape.labelings:
        names = np.unique(labeling[labeling != UNLABELLED])
        count = len(tree.areas)
        shared = [np.bincount(of_face, areas * (labeling == name), minlength=count) for name in names]
        if shared:
            known.append(np.stack(shared).astype(np.float64))
    return NodeRecord(
        source=str(shape.info.get("repo", "unknown")),
        features=parts.features,
        parents=tree.parents[:nodes],
        inside=tree.inside[:nodes],
        areas=np.bincount(of_face, areas, minlength=len(tree.areas)).astype(np.float64),
        known=known,
    )


def node_targets(record: NodeRecord, known: FloatArray) -> FloatArray:
    """IoU of each node with its best part of one labeling `known` [P, A], 0 if it is no hit; float64 [T].

    What lies inside a node and hits another part is taken as painted over it, if that helps.
    """
    whole = _ious(record.inside, record.areas, known)
    best, ious = whole.argmax(axis=1), whole.max(axis=1)
    within = np.eye(len(best), dtype=bool)
    for node in range(1, len(best)):
        within[:, node] |= within[:, record.parents[node]]
    over = within & ~np.eye(len(best), dtype=bool) & (ious > HIT) & (best[None] != best[:, None])
    covered = (over.astype(np.float32) @ record.inside.astype(np.float32)) > 0
    remaining = _ious(record.inside & ~covered, record.areas, known).max(axis=1)
    found = np.maximum(remaining, ious)
    return np.where(found > HIT, found, 0.0)


def _ious(inside: NDArray[np.bool_], areas: FloatArray, known: FloatArray) -> FloatArray:
    """IoU of nodes [T, A] with parts [P, A], float64 [T, P]."""
    shared = inside @ known.T
    union = (inside @ areas)[:, None] + known.sum(axis=1) - shared
    return shared / np.maximum(union, 1e-12)


@dataclass(frozen=True)
class CollectJob:
    """Which network segments the shapes, and how; a value that travels to other processes."""

    model: str
    device: str
    prompts: int = 512
    seed: int = 0

    def records(self, shapes: Sequence[LabelledShape], *, gpu: int = 0) -> list[NodeRecord]:
        """Records of the shapes that have labeled parts; gpu: which one, counted round."""
        use_gpu(gpu)
        segmenter = Segmenter.load(self.model, device=self.device)
        found = [node_record(segmenter, shape, prompts=self.prompts, seed=self.seed) for shape in shapes]
        return [record for record in found if record.known]


def collect_records(
    job: CollectJob,
    shapes: Sequence[LabelledShape],
    *,
    workers: int = 1,
    progress: Callable[[int], object] = lambda count: None,
) -> list[NodeRecord]:
    """Records of all shapes in an order that depends on `workers`; progress gets how many are new."""
    count = min(len(shapes), workers * _BLOCKS_PER_WORKER)
    blocks = [shapes[start::count] for start in range(count)]
    if workers == 1:
        records = []
        for block in blocks:
            records += job.records(block)
            progress(len(block))
        return records
    found: dict[int, list[NodeRecord]] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = {
            pool.submit(_run_block, job, block, index, workers): index for index, block in enumerate(blocks)
        }
        for future in as_completed(waiting):
            found[waiting[future]] = future.result()
            progress(len(blocks[waiting[future]]))
    return [record for index in sorted(found) for record in found[index]]


def _run_block(
    job: CollectJob, shapes: Sequence[LabelledShape], index: int, workers: int
) -> list[NodeRecord]:
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    return job.records(shapes, gpu=index)


@dataclass(frozen=True)
class FitSettings:
    """networks, hidden: how many are averaged, and their width; steps, rate, decay: of AdamW on all nodes"""

    networks: int = 4
    hidden: int = 16
    steps: int = 300
    rate: float = 1e-2
    decay: float = 0.5
    seed: int = 0


def fit_part_quality(records: Sequence[NodeRecord], settings: FitSettings) -> PartQuality:
    """Fit the networks. Each source counts by the square root of its shapes, each shape's labelings alike."""
    if not records:
        raise DataError("there are no part trees to fit to; dump some first")
    counts: dict[str, int] = {}
    for record in records:
        counts[record.source] = counts.get(record.source, 0) + 1
    features = [record.features for record in records]
    # Labelings share their rows, and the loss is linear in the target: their mean teaches the same.
    targets = [np.mean([node_targets(record, known) for known in record.known], axis=0) for record in records]
    weights = [
        np.full(len(record.parents), counts[record.source] ** -0.5 / len(record.parents))
        for record in records
    ]
    rows = np.concatenate(features).astype(np.float32)
    mean, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-3
    scaled = torch.as_tensor(((rows - mean) / spread).clip(-4, 4))
    target = torch.as_tensor(np.concatenate(targets), dtype=torch.float32)
    weight = torch.as_tensor(np.concatenate(weights), dtype=torch.float32)
    networks = [
        _fitted(scaled, target, weight / weight.sum(), settings, settings.seed + number)
        for number in range(settings.networks)
    ]
    return PartQuality(
        mean=mean,
        spread=spread,
        **{name: np.stack([network[name] for network in networks]) for name in networks[0]},
    )


def _fitted(
    rows: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, settings: FitSettings, seed: int
) -> dict[str, FloatArray]:
    """One network's parameters, by their names in `PartQuality`."""
    torch.manual_seed(seed)
    hidden, output = nn.Linear(rows.shape[1], settings.hidden), nn.Linear(settings.hidden, 1)
    parameters = [*hidden.parameters(), *output.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=settings.rate, weight_decay=settings.decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    for _ in range(settings.steps):
        optimizer.zero_grad()
        logits = output(nn.functional.silu(hidden(rows)))[:, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        (loss * weight).sum().backward()
        optimizer.step()
        schedule.step()
    return {
        "hidden": hidden.weight.detach().T.numpy().copy(),
        "hidden_bias": hidden.bias.detach().numpy().copy(),
        "output": output.weight.detach()[0].numpy().copy(),
        "output_bias": output.bias.detach()[0].numpy().copy(),
    }


def write_records(path: Path, records: Sequence[NodeRecord]) -> None:
    """Write records as one compressed file that `read_records` reads."""
    arrays: dict[str, NDArray] = {
        "sources": np.array([record.source for record in records]),
        "nodes": np.array([len(record.parents) for record in records]),
        "atoms": np.array([len(record.areas) for record in records]),
        "labelings": np.array([len(record.known) for record in records]),
        "parts": np.array([len(known) for record in records for known in record.known]),
        "names": np.array(FEATURES),
        "features": np.concatenate([record.features for record in records]).astype(np.float32),
        "parents": np.concatenate([record.parents for record in records]).astype(np.int16),
        "inside": np.packbits(np.concatenate([record.inside.ravel() for record in records])),
        "areas": np.concatenate([record.areas for record in records]).astype(np.float32),
        "known": np.concatenate([known.ravel() for record in records for known in record.known]).astype(
            np.float16
        ),
    }
    write_atomically(path, dump_arrays(arrays))


def read_records(paths: Iterable[Path]) -> list[NodeRecord]:
    """Read what `write_records` wrote. Raises DataError for other files and other features."""
    return [record for path in paths for record in _read(path)]


def _read(path: Path) -> list[NodeRecord]:
    try:
        stored = load_arrays(path.read_bytes(), str(path))
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror})") from error
    if tuple(stored.get("names", ())) != FEATURES:
        raise DataError(f"{path} holds other features than this version computes; dump again")
    bits = np.unpackbits(stored["inside"])
    parts = iter(stored["parts"].tolist())
    records = []
    node = atom = bit = cell = 0
    sizes = (stored[name].tolist() for name in ("sources", "nodes", "atoms", "labelings"))
    for source, nodes, atoms, labelings in zip(*sizes, strict=True):
        known: list[FloatArray] = []
        for _ in range(labelings):
            count = next(parts)
            known.append(
                stored["known"][cell : cell + count * atoms].reshape(count, atoms).astype(np.float64)
            )
            cell += count * atoms
        records.append(
            NodeRecord(
                source=source,
                features=stored["features"][node : node + nodes],
                parents=stored["parents"][node : node + nodes].astype(np.int64),
                inside=bits[bit : bit + nodes * atoms].reshape(nodes, atoms).astype(bool),
                areas=stored["areas"][atom : atom + atoms].astype(np.float64),
                known=known,
            )
        )
        node, atom, bit = node + nodes, atom + atoms, bit + nodes * atoms
    return records
