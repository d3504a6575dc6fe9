# SPDX-License-Identifier: GPL-3.0-or-later
"""The crease regions of all training shapes as tensors on one device."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

_COLUMN_STEP = 64
"""Numbers of atoms are rounded up to multiples of this; it divides MAX_REGIONS."""


@dataclass(frozen=True)
class StoredRegions:
    """Atoms of faces, and the tables of pairs of atoms, of S shapes.

    atoms: uint8 [F], atom of each face of all shapes, 0 where unknown
    counts: int64 [S], atoms of each shape, 0 where its regions are unknown
    starts: int64 [S], first row of each shape's table in `pairs`; shapes may share one
    pairs: float16 [P, REGION_FEATURES]: tables of counts * counts rows, the clicked atom first
    most: columns of a table that a batch gets: `columns_for` the largest of `counts`
    """

    atoms: Tensor
    counts: Tensor
    starts: Tensor
    pairs: Tensor
    most: int

    def to(self, device: torch.device | str) -> StoredRegions:
        """The same on another device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in self._tensors()})

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(getattr(self, name).nbytes for name in self._tensors())

    def subset(self, keep: Tensor, face_counts: Tensor) -> StoredRegions:
        """The shapes `keep` bool [S] alone. face_counts: int64 [S], of all shapes"""
        return replace(
            self,
            atoms=self.atoms[torch.repeat_interleave(keep, face_counts)],
            counts=self.counts[keep],
            starts=self.starts[keep],
        )

    def tables(self, shape_ids: Tensor, known: Tensor) -> Tensor:
        """Tables of shapes [B], float32 [B, most, most, REGION_FEATURES]; zeros beyond a shape's atoms.

        known: bool [B]; zeros where it is False as well
        """
        atom = torch.arange(self.most, device=self.counts.device)
        counts = torch.where(known, self.counts[shape_ids], 0)[:, None, None]
        inside = (atom[:, None] < counts) & (atom < counts)
        row = self.starts[shape_ids][:, None, None] + atom[:, None] * counts + atom
        found = self.pairs[torch.where(inside, row, 0)].float()
        return torch.where(inside.unsqueeze(3), found, 0)

    @staticmethod
    def columns_for(atoms: int) -> int:
        """Enough for so many, of which there may be none. Kernels are compiled for a number of columns: it is
        rounded up, so that the next shards of a run hardly ever need others."""
        return max(1, -(-atoms // _COLUMN_STEP)) * _COLUMN_STEP

    @staticmethod
    def _tensors() -> tuple[str, ...]:
        return ("atoms", "counts", "starts", "pairs")
