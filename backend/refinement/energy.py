# SPDX-License-Identifier: GPL-3.0-or-later
"""Potts energies over a face graph: what the cut minimises."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..geometry.mesh import FloatArray, IntArray
from .adjacency import Adjacency
from .face_graph import FaceGraph


class DataCosts(Protocol):
    """What it costs to give faces a label."""

    def __call__(self, faces: IntArray, labels: IntArray | int) -> FloatArray:
        """Cost of `labels` (one for all, or [n]) at `faces` [n], float64 [n], not negative."""
        ...


@dataclass(frozen=True)
class PottsEnergy:
    """E(l) = sum over faces of data(f, l_f) + sum over edges of weight_e * [l_i != l_j].

    data: see DataCosts
    edges: int [E, 2]
    weights: float64 [E], not negative
    """

    data: DataCosts
    edges: IntArray
    weights: FloatArray

    def total(self, labels: IntArray) -> float:
        """Energy of `labels` int [F]."""
        cut = labels[self.edges[:, 0]] != labels[self.edges[:, 1]]
        return float(self.data(np.arange(len(labels)), labels).sum() + self.weights[cut].sum())


@dataclass(frozen=True)
class EnergySettings:
    """Weights of the refinement energy. Lengths are in units of the square root of the total area.

    The defaults were fitted on fused shapes with known parts (docs/refinement.md).

    smoothness: cost of a border of length 1 over flat ground; borders move by about this much
    concave_angle, convex_angle: radians over which a valley's or a ridge's cost falls to 1/e
    crease_floor: what the sharpest crease still costs, as a share of flat ground
    link_weight: the same for a link across a gap between two shells
    evidence_floor: added to every probability, so that one confident mistake can be outvoted
    full_part_size: borders of parts smaller than this (square root of the area) cost less, in
        proportion, or the cut would prefer to eat small parts; smallest_factor: but never less than that
    """

    smoothness: float = 0.05
    concave_angle: float = math.radians(10)
    convex_angle: float = math.radians(60)
    crease_floor: float = 0.05
    link_weight: float = 0.01
    evidence_floor: float = 0.01
    full_part_size: float = 0.2
    smallest_factor: float = 0.05


@dataclass(frozen=True)
class EvidenceCosts:
    """-log of the soft evidence, normalised per face and weighted by the face's share of the area.

    evidence: float [F, P], probabilities; rows need not sum to 1; values below 0 or NaN count as 0
    shares: float64 [F]
    """

    evidence: FloatArray
    shares: FloatArray
    row_sums: FloatArray
    floor: float

    @classmethod
    def of(cls, evidence: FloatArray, areas: FloatArray, floor: float) -> EvidenceCosts:
        evidence = np.asarray(evidence)
        sums = np.zeros(len(evidence))
        for column in evidence.T:  # by column: no copy of the whole array
            sums += _clean(column)
        return cls(evidence, areas / areas.sum(), sums + floor * evidence.shape[1], floor)

    def __call__(self, faces: IntArray, labels: IntArray | int) -> FloatArray:
        likelihood = (_clean(self.evidence[faces, labels]) + self.floor) / self.row_sums[faces]
        return -self.shares[faces] * np.log(likelihood)


def _clean(values: FloatArray) -> FloatArray:
    return np.where(values > 0, values, 0).astype(np.float64)


@dataclass(frozen=True)
class DisagreementCosts:
    """1 where a label differs from the predicted one (the published data term). predicted: int [F]."""

    predicted: IntArray

    def __call__(self, faces: IntArray, labels: IntArray | int) -> FloatArray:
        return (self.predicted[faces] != labels).astype(np.float64)


def evidence_energy(
    graph: FaceGraph,
    evidence: FloatArray,
    labels: IntArray,
    *,
    strength: float = 1.0,
    rings: int = 3,
    settings: EnergySettings | None = None,
    adjacency: Adjacency | None = None,
) -> PottsEnergy:
    """The energy that refinement minimises; the same for a mesh and its scaled copy.

    evidence: float [F, P]; strength: factor on the smoothness
    labels: int [F], what refinement starts from: around the parts that are small there (up to `rings`
        faces away) borders cost less
    """
    settings = settings or EnergySettings()
    scale = strength * settings.smoothness / math.sqrt(float(graph.face_areas.sum()))
    weights = scale * graph.edge_length * crease_factors(graph, settings)
    adjacency = adjacency or Adjacency.of_faces(graph.face_count, graph.edges)
    weights *= part_size_factors(graph, labels, rings=rings, settings=settings, adjacency=adjacency)
    data = EvidenceCosts.of(evidence, graph.face_areas, settings.evidence_floor)
    return PottsEnergy(data=data, edges=graph.edges, weights=weights)


def crease_factors(graph: FaceGraph, settings: EnergySettings) -> FloatArray:
    """What a border costs across each edge, relative to flat ground, float64 [E] in (0, 1]."""
    width = np.where(graph.dihedral < 0, settings.concave_angle, settings.convex_angle)
    factors = np.maximum(np.exp(-np.abs(graph.dihedral) / width), settings.crease_floor)
    return np.where(graph.is_link, settings.link_weight, factors)


def part_size_factors(
    graph: FaceGraph, labels: IntArray, *, rings: int, settings: EnergySettings, adjacency: Adjacency
) -> FloatArray:
    """How much a border costs for the smallest part within `rings` faces of it, float64 [E] in (0, 1]."""
    labels = np.asarray(labels)
    sizes = np.sqrt(np.bincount(labels, graph.face_areas) / graph.face_areas.sum())
    factors = np.clip(sizes / settings.full_part_size, settings.smallest_factor, 1)[labels]
    first, second = graph.edges.T
    stepped = np.flatnonzero(factors.take(first) != factors.take(second))
    lower = np.unique(graph.edges[stepped])
    for _ in range(rings):
        slots, owner = adjacency.slots(lower)
        around, values = adjacency.neighbours[slots], factors[lower][owner]
        falling = values < factors[around]
        if not falling.any():
            break
        np.minimum.at(factors, around[falling], values[falling])
        lower = np.unique(around[falling])  # from there it goes on
    return np.minimum(factors.take(first), factors.take(second))


def published_energy(graph: FaceGraph, predicted: IntArray, *, weight: float = 6.0) -> PottsEnergy:
    """The published post-processing energy, for comparison: data 1 where a label differs from the
    prediction, smoothness weight x -log(angle / pi + 1e-20) per pair of adjacent faces.

    predicted: int [F]. Links between shells are no adjacency there and cost nothing.
    """
    angle = np.minimum(np.abs(graph.dihedral), math.pi)
    weights = weight * np.maximum(-np.log(angle / math.pi + 1e-20), 0)
    return PottsEnergy(
        data=DisagreementCosts(np.asarray(predicted)),
        edges=graph.edges,
        weights=np.where(graph.is_link, 0.0, weights),
    )
