# SPDX-License-Identifier: GPL-3.0-or-later
"""Which side of a plane through points is outside: what is seen from afar votes, and neighbours agree.

Voting by views: K. Takayama et al., "A Simple Method for Correcting Facet Orientations in Polygon Meshes
Based on Ray Casting", JCGT 2014. Agreement along a spanning tree: H. Hoppe et al., "Surface Reconstruction
from Unorganized Points", SIGGRAPH 1992. Here both are weighed against each other, exactly: a tree allows it.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from ..geometry.mesh import FloatArray, IntArray
from ..geometry.rows import lengths

_VIEWS = 48
_MOST_CELLS = 512
"""Along each side of a view."""
_STIFFNESS = 6.0
"""Of two neighbours with equal planes: against the votes of so many points that are seen in all views that
they face."""
_LEAST_WEIGHT = 1e-6
"""Of an edge of the spanning tree: scipy takes 0 for no edge."""


def outward_signs(points: FloatArray, normals: FloatArray, near: IntArray) -> FloatArray:
    """1 or -1 for each of normals [N, 3], so that they look out; float64 [N].

    near: int [N, 1 + K], each point and its nearest neighbours
    """
    tree = _tree_that_crosses_creases_last(normals, near)
    reach = points[near[:, -1]] - points
    votes = _votes_of_views(points, normals, float(np.median(lengths(reach))))
    _, piece = connected_components(tree, directed=False)
    signs = np.ones(len(points))
    for root in np.unique(piece, return_index=True)[1]:
        order, parents = breadth_first_order(tree, root, directed=False)
        along = np.einsum("ni,ni->n", normals[order[1:]], normals[parents[order[1:]]])
        bonds = _STIFFNESS * np.sign(along) * along**4
        _best_signs(signs, votes, order, parents, np.append(0.0, bonds))
    return signs


def _tree_that_crosses_creases_last(normals: FloatArray, near: IntArray) -> csr_array:
    """The spanning forest of neighbours that bends least."""
    count = len(normals)
    source, target = np.repeat(np.arange(count), near.shape[1] - 1), near[:, 1:].reshape(-1)
    # Duplicate entries would add up: each pair stands once, lower index first.
    low, high = np.minimum(source, target), np.maximum(source, target)
    _, once = np.unique(low * count + high, return_index=True)
    keep = once[low[once] != high[once]]
    low, high = low[keep], high[keep]
    bend = 1 - np.abs(np.einsum("ni,ni->n", normals[low], normals[high]))
    graph = coo_array((bend + _LEAST_WEIGHT, (low, high)), shape=(count, count)).tocsr()
    return minimum_spanning_tree(graph)


def _votes_of_views(points: FloatArray, normals: FloatArray, side: float) -> FloatArray:
    """How much more each normal looks to where it is seen from than away, float64 [N], about -1 to 1.

    Depth images of the points from all around, with pixels of that `side`. What lies behind the nearest of
    its pixel and those around counts the less the deeper it lies: through a thin wall the far side is
    seen less than the near one.
    """
    extent = max(float(np.linalg.norm(np.ptp(points, axis=0))), 1e-300)
    side = max(side, extent / _MOST_CELLS)
    cells = int(extent / side) + 1
    votes = np.zeros(len(points))
    for direction in even_directions(_VIEWS):
        image = points @ image_plane(direction)
        image -= image.min(axis=0)
        pixels = np.minimum((image / side).astype(np.int64), cells - 1) @ [cells, 1]
        depth = points @ direction
        nearest = np.full(cells**2, -np.inf)
        np.maximum.at(nearest, pixels, depth)
        around = maximum_filter(nearest.reshape(cells, cells), size=3).reshape(-1)
        seen = np.exp((depth - around[pixels]) / side)
        votes += seen * (normals @ direction)
    return votes * (4 / _VIEWS)


def _best_signs(
    signs: FloatArray, votes: FloatArray, order: IntArray, parents: IntArray, bonds: FloatArray
) -> None:
    """Write the signs of one tree that agree most with the votes and along its edges.

    order: its points, parents before children; bonds: of each point to its parent, negative where their
    normals are opposite. Exact: dynamic programming, from the leaves to the root and back.
    """
    field = votes[order].copy()
    place = np.empty(len(signs), dtype=np.int64)
    place[order] = np.arange(len(order))
    above = place[parents[order[1:]]].tolist()
    strength = bonds.tolist()
    values = field.tolist()
    for row in range(len(values) - 1, 0, -1):
        bond = strength[row]
        pull = min(abs(bond), abs(values[row]))
        values[above[row - 1]] += pull if (bond > 0) == (values[row] > 0) else -pull
    found = [1.0 if values[0] >= 0 else -1.0]
    for row in range(1, len(values)):
        found.append(1.0 if values[row] + strength[row] * found[above[row - 1]] >= 0 else -1.0)
    signs[order] = found


def even_directions(count: int) -> FloatArray:
    """Unit vectors float64 [count, 3] on a golden spiral."""
    height = 1 - (2 * np.arange(count) + 1) / count
    angle = np.arange(count) * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - height**2)
    return np.column_stack([ring * np.cos(angle), ring * np.sin(angle), height])


def image_plane(direction: FloatArray) -> FloatArray:
    """Two unit vectors across a view's direction [3], float64 [3, 2]."""
    across = np.cross(direction, np.eye(3)[np.abs(direction).argmin()])
    across /= np.linalg.norm(across)
    return np.column_stack([across, np.cross(direction, across)])
