# SPDX-License-Identifier: GPL-3.0-or-later
"""The tree of parts as files: groups of a GLB's nodes, and a JSON file beside face labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..mesh_files.atomic import atomic_writer
from ..mesh_files.gltf_writing import Groups

if TYPE_CHECKING:
    from ..segmentation import ContainmentNode


def groups_of(tree: Sequence[ContainmentNode]) -> Groups:
    """What `write_parts` nests its nodes in."""
    groups = [node for node in tree if node.part is None]
    parts = [node for node in tree if node.part is not None]
    return Groups([node.parent or 0 for node in parts], [node.parent for node in groups])


def write_tree(path: Path, tree: Sequence[ContainmentNode], confidence: NDArray[np.floating]) -> None:
    """Write the tree as JSON; complete or not at all.

    A list of nodes, groups before what lies in them: `parent` (index into the list, null for the outermost),
    `part` (the label, null for a group), `area` (share of the surface), `confidence` (of parts).
    """
    nodes = [
        asdict(node) | ({} if node.part is None else {"confidence": round(float(confidence[node.part]), 4)})
        for node in tree
    ]
    with atomic_writer(path) as file:
        file.write(json.dumps({"nodes": nodes}, indent=1).encode())
