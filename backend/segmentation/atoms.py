# SPDX-License-Identifier: GPL-3.0-or-later
"""The partitions of all granularities in a form that is small enough to be stored with a mesh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..errors import PromptError
from ..geometry.mesh import FloatArray, IntArray
from .partition import Partition
from .parts import Parts

STEPS = 101
"""Granularities that are kept: as many as the slider shows with two decimals."""


@dataclass(frozen=True)
class AtomTree:
    """Labels for every granularity step, by atom: faces that no step tells apart.

    atoms: int32 [F], 0 .. A-1
    labels: int32 [S, A], the label of each atom at each of S steps from granularity 0 to 1
    confidences: float32 [S, P], predicted IoU of each label; 0 beyond a step's labels
    """

    atoms: IntArray
    labels: IntArray
    confidences: FloatArray


def atom_tree(parts: Parts) -> AtomTree:
    """What `parts.face_labels` and `parts.confidence` give at every granularity step."""
    of_face = parts.sites.of_face
    if of_face is None:
        raise PromptError("a point cloud has no faces; use point_labels")
    of_sites = tree_of_labels(parts, lambda partition: partition.labels)
    return replace(of_sites, atoms=of_sites.atoms[of_face])


def tree_of_labels(parts: Parts, labels_of: Callable[[Partition], IntArray]) -> AtomTree:
    """The tree of any labels int [F] that are made of partitions, in their numbers."""
    steps = np.linspace(0, 1, STEPS)
    partitions = [parts.partition(float(step)) for step in steps]
    # Equal keys: the same label at every step. Two other sites share a key with a chance of 2 ** -64.
    random = np.random.default_rng(0)
    found: list[IntArray] = []
    keys = np.zeros(0, dtype=np.uint64)
    for index, partition in enumerate(partitions):
        if index and partition is partitions[index - 1]:
            found.append(found[-1])
            continue
        found.append(labels_of(partition))
        numbers = random.integers(2**64, size=len(partition.masks), dtype=np.uint64)[found[-1]]
        keys = keys ^ numbers if index else numbers
    _, first, atoms = np.unique(keys, return_index=True, return_inverse=True)
    labels = np.stack([of_step[first] for of_step in found])
    confidences = np.zeros((len(partitions), int(labels.max(initial=0)) + 1), dtype=np.float32)
    for row, step in zip(confidences, steps, strict=True):
        known = parts.confidence(float(step))[: len(row)]
        row[: len(known)] = known
    return AtomTree(atoms.reshape(-1).astype(np.int32), labels.astype(np.int32), confidences)
