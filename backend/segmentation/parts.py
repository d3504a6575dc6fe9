# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of segment-every-part: labels for any granularity, without the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import PromptError
from ..geometry.mesh import FloatArray, IntArray
from ..nearest import nearest
from ..refinement.face_graph import FaceGraph
from ..refinement.graph_cut import refine_labels
from ..refinement.islands import dissolve_islands
from .containment import ContainmentNode, containment
from .part_tree import PartTree
from .partition import Partition
from .sites import Sites

_REST_FLOOR = np.float32(0.02)
_ELSEWHERE = np.float32(0.002)
"""Evidence for a piece of the remainder: at least this on its own faces, and this on others. A mask has no
more than this where the tree gave another part what it claims."""
_CLAIMED = 0.8
"""A mask claims an atom as a whole if it holds this share of its sites; less is a vague border."""


@dataclass(frozen=True)
class Parts:
    """Masks of all parts and the partitions made of them.

    sites: where masks were evaluated
    mask_logits: float16 [K, S], largest mask first
    mask_scores: float32 [K], predicted IoU
    partitions: from the coarsest to the finest, each a refinement of the one before
    middle: which of them granularity 0.5 is
    graph: the mesh's face graph; None for point clouds
    tree, features: the tree of parts and what was known about its nodes, float32 [T, D]; None where the
        published procedure made the only partition

    Wherever a granularity can be given, `parts` can be instead: about so many parts.
    """

    sites: Sites
    mask_logits: NDArray[np.float16]
    mask_scores: FloatArray
    partitions: list[Partition]
    middle: int
    graph: FaceGraph | None
    tree: PartTree | None = None
    features: FloatArray | None = None

    def face_labels(self, granularity: float = 0.5, *, parts: int | None = None) -> IntArray:
        """Part of each face, int32 [F], 0 .. P-1 without gaps, from the largest part to the smallest."""
        of_face = self._of_face()
        return self.partition(granularity, parts=parts).labels[of_face]

    def point_labels(self, granularity: float = 0.5, *, parts: int | None = None) -> IntArray:
        """Part of each encoded point, int32 [N]."""
        return self.partition(granularity, parts=parts).labels[self.sites.of_point]

    def confidence(self, granularity: float = 0.5, *, parts: int | None = None) -> FloatArray:
        """Predicted IoU of each part, float32 [P] in [0, 1]; 0 for the remainder."""
        scores = np.append(self.mask_scores, 0).astype(np.float32).clip(0, 1)
        masks = self.partition(granularity, parts=parts).masks
        return scores[np.minimum(masks, len(self.mask_scores))]

    def face_evidence(self, granularity: float = 0.5, *, parts: int | None = None) -> FloatArray:
        """Soft evidence float32 [F, P]: how likely each face belongs to each part of `face_labels`.

        Smaller parts take what they claim from the larger ones below them; rows sum to 1.
        """
        return self.site_evidence(self.partition(granularity, parts=parts))[self._of_face()]

    def refined_labels(
        self,
        granularity: float = 0.5,
        strength: float = 1.0,
        *,
        parts: int | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> IntArray:
        """`face_labels` after a graph cut over the mesh's connectivity, int32 [F], the same numbers.

        strength: of the smoothness; 0 returns `face_labels`. Raises errors.Cancelled.
        """
        labels = self.face_labels(granularity, parts=parts)
        if strength <= 0 or self.graph is None or labels.max(initial=0) == 0:
            return labels
        evidence = self.face_evidence(granularity, parts=parts)
        refined = refine_labels(self.graph, evidence, labels, strength=strength, cancel=cancel)
        return dissolve_islands(self.graph, refined)

    def containment(self, granularity: float = 0.5, *, parts: int | None = None) -> list[ContainmentNode]:
        """Which of the parts lie together in which larger one, the whole shape first."""
        return containment(self.tree, self.partition(granularity, parts=parts))

    def partition(self, granularity: float = 0.5, *, parts: int | None = None) -> Partition:
        """The partition at a granularity, or with the number of parts nearest to `parts`.

        From 0 to 0.5 the number of parts goes from one to that of the middle, from 0.5 to 1 on to the
        most, by equal ratios.
        """
        counts = np.array([partition.count for partition in self.partitions])
        if parts is not None:
            if parts < 1:
                raise PromptError(f"the number of parts must be at least 1, got {parts}")
            return self.partitions[int(np.abs(counts - parts).argmin())]
        if not 0 <= granularity <= 1:
            raise PromptError(f"granularity must lie in 0..1, got {granularity}")
        low, high = (0, self.middle) if granularity <= 0.5 else (self.middle, len(counts) - 1)
        share = 2 * granularity if granularity <= 0.5 else 2 * granularity - 1
        wanted = (1 - share) * np.log(counts[low]) + share * np.log(counts[high])
        return self.partitions[low + int(np.abs(np.log(counts[low : high + 1]) - wanted).argmin())]

    def site_evidence(self, partition: Partition) -> FloatArray:
        """`face_evidence` at the sites, float32 [S, P]."""
        evidence = np.zeros((len(partition.labels), len(partition.masks)), dtype=np.float32)
        remaining = np.ones(len(partition.labels), dtype=np.float32)
        is_mask = partition.masks < len(self.mask_logits)
        for mask in np.unique(partition.masks[is_mask])[::-1]:
            logits = self.mask_logits[mask].astype(np.float32).clip(-30, 30)
            inside = 1 / (1 + np.exp(-logits))
            piece = self._nearest_piece(partition, np.flatnonzero(partition.masks == mask))
            refused = self._refused(inside, partition, piece)
            inside[refused] = np.minimum(inside[refused], _ELSEWHERE)
            evidence[np.arange(len(inside)), piece] = inside * remaining
            remaining *= 1 - inside
        for column in np.flatnonzero(~is_mask):  # a piece of the remainder claims its own faces
            own = partition.labels == column
            evidence[:, column] = np.where(own, np.maximum(remaining, _REST_FLOOR), _ELSEWHERE)
        if self.tree is not None:  # so does a part that was given some
            given = np.flatnonzero(~self.tree.inside[partition.nodes[partition.labels], self.tree.atoms])
            claims = given, partition.labels[given]
            evidence[claims] = np.maximum(evidence[claims], _REST_FLOOR)
        # Where an island was dissolved, no part may claim a face: that speaks for none of them.
        evidence += np.float32(1e-6)
        return evidence / evidence.sum(axis=1, keepdims=True)

    def _refused(self, inside: FloatArray, partition: Partition, piece: IntArray) -> NDArray[np.bool_]:
        """Sites in atoms that a mask claims as a whole and that its part does not have, bool [S].

        inside: float32 [S], the mask; piece: int [S], the part it speaks for at each site

        It was decided about those: the mask was cut where masks cross, another piece of it was not chosen, or
        a place far from the rest of it joined what is near. What was decided must not come back as evidence.
        """
        if self.tree is None:
            return np.zeros(len(inside), dtype=bool)
        atoms, nodes = self.tree.atoms, self.tree.inside[partition.nodes]
        claimed = np.bincount(atoms, inside > 0.5) >= _CLAIMED * np.bincount(atoms)
        lies_in = ~((nodes.astype(np.float32) @ ~nodes.T) > 0)  # [P, P], whether the first lies in the second
        elsewhere = ~(nodes[piece, atoms] & lies_in[partition.labels, piece]) & (partition.labels != piece)
        return claimed[atoms] & elsewhere

    def _nearest_piece(self, partition: Partition, pieces: IntArray) -> IntArray:
        """Which of the pieces of one mask each site is nearest to, int [S]."""
        if len(pieces) == 1:
            return np.broadcast_to(pieces, partition.labels.shape)
        own = np.flatnonzero(np.isin(partition.labels, pieces))
        near = nearest(self.sites.locations[own], self.sites.locations)
        return partition.labels[own][near]

    def _of_face(self) -> IntArray:
        if self.sites.of_face is None:
            raise PromptError("a point cloud has no faces; use point_labels")
        return self.sites.of_face
