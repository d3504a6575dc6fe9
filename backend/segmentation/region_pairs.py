# SPDX-License-Identifier: GPL-3.0-or-later
"""What nested regions say about each pair of places: which regions hold both, and what lies between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry.mesh import FloatArray, IntArray
from ..region_features import LOG_SCALE, REGION_FEATURES

_LEAST_SHARE = np.exp(-2 * LOG_SCALE)
"""Area shares count as no less than this."""


@dataclass(frozen=True)
class RegionTree:
    """R regions of which any two are nested or apart, each after those that it lies in.

    around: int64 [R], the smallest region that each lies in, -1 for none; areas: float64 [R], shares of the
    surface; clearness: float64 [R] in [0, 1]
    """

    around: IntArray
    areas: FloatArray
    clearness: FloatArray

    def paths(self) -> tuple[IntArray, IntArray]:
        """For each region, and last for none: how many regions hold it, itself included, int64 [R + 1]; and
        these, the largest first, from column 1 on, int64 [R + 1, D + 2], otherwise R."""
        count = len(self.around)
        depths = np.zeros(count + 1, dtype=np.int64)
        for region, around in enumerate(self.around):
            depths[region] = depths[around] + 1  # around -1 is the last
        paths = np.full((count + 1, int(depths.max()) + 2), count, dtype=np.int64)
        for region, around in enumerate(self.around):
            paths[region] = paths[around]
            paths[region, depths[region]] = region
        return depths, paths


def pair_features(
    tree: RegionTree, regions: IntArray, atoms: IntArray, pieces: IntArray, weights: FloatArray
) -> FloatArray:
    """For row = the atom of a click, column = the atom of a place: float64 [K, K, REGION_FEATURES], as in
    `region_features`. Where an atom has crumbs of several pieces of the mesh, the last column is how likely
    two places are in the same.

    regions: int64 [K], the smallest region that each atom is in, -1 for none; atoms, pieces: int64 [S], of
    the sites, pieces numbered from 0; weights: float64 [S], area shares
    """
    count = len(regions)
    depths, paths = (rows[regions] for rows in tree.paths())
    common = _common_depths(paths, depths, len(tree.around))
    row, column = np.arange(count)[:, None], np.arange(count)
    logs = _logs(np.append(tree.areas, 1.0))
    clearness = np.append(tree.clearness, 0.0)
    both = paths[row, common]
    crossed = np.maximum.accumulate(clearness[paths][:, ::-1], axis=1)[:, ::-1]
    atom_areas = np.bincount(atoms, weights, minlength=count).astype(np.float64)
    # What comes after the last region of a path is the atom itself.
    apart = np.where(paths < len(tree.around), logs[paths], _logs(atom_areas)[:, None])
    found = np.empty((count, count, REGION_FEATURES))
    found[..., 0] = 1
    found[..., 1] = logs[both]
    found[..., 2] = clearness[both]
    found[..., 3] = crossed[row, common + 1]
    found[..., 4] = crossed[column, common + 1]
    found[..., 5] = apart[row, common + 1]
    found[..., 6] = apart[column, common + 1]
    found[..., 7] = _in_one_piece(atoms, pieces, weights, count)
    return found


def _common_depths(paths: IntArray, depths: IntArray, count: int) -> IntArray:
    """How many regions hold both atoms of each pair, int64 [K, K]; `count`: of all regions."""
    holds = np.zeros((len(paths), count + 1), dtype=np.float32)
    holds[np.arange(len(paths))[:, None], paths] = 1
    holds = holds[:, :count]
    return (holds @ holds.T).astype(np.int64)


def _logs(areas: FloatArray) -> FloatArray:
    logs: FloatArray = np.log(np.clip(areas, _LEAST_SHARE, 1)) / LOG_SCALE
    return logs


def _in_one_piece(atoms: IntArray, pieces: IntArray, weights: FloatArray, count: int) -> FloatArray:
    """The last of `pair_features`, float64 [K, K]."""
    cells, which = np.unique(pieces * count + atoms, return_inverse=True)
    piece, atom = np.divmod(cells, count)
    sizes = np.bincount(which, weights)
    totals = np.bincount(atom, sizes, minlength=count)
    empty = totals == 0  # there the pieces count alike
    sizes = np.where(empty[atom], 1.0, sizes)
    shares = sizes / np.where(empty, np.bincount(atom, minlength=count), totals)[atom]
    found = np.diag(np.bincount(atom, shares**2, minlength=count))
    several = np.bincount(piece)[piece] > 1  # of the others there may be very many
    table = np.zeros((count, len(np.unique(piece[several]))))
    table[atom[several], np.unique(piece[several], return_inverse=True)[1]] = shares[several]
    return np.where(np.eye(count, dtype=bool), found, table @ table.T)
