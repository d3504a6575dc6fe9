# SPDX-License-Identifier: GPL-3.0-or-later
"""Training data beyond a device's memory: each process holds some shards while it reads its next ones."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from .mesh_store import MeshStore
from .region_files import load_store


class ShardStream:
    """The shards of one process, turn after turn.

    All processes go through the same random order of all shards, each pass in a new one, and take `held`
    shards each in every turn; no two have the same ones as long as there are enough. What a turn holds
    follows from its number alone, so that a resumed run goes on with the same data.
    """

    def __init__(
        self,
        shards: Sequence[str],
        *,
        held: int,
        device: torch.device,
        with_regions: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._shards, self._held, self._device, self._seed = list(shards), held, device, seed
        self._rank, self._world_size = rank, world_size
        self._with_regions = with_regions
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="shards")
        self._next: tuple[int, Future[MeshStore]] | None = None

    def names(self, turn: int) -> list[str]:
        """The shards of a turn."""
        first = (turn * self._world_size + self._rank) * self._held
        return [self._name(place) for place in range(first, first + self._held)]

    def store(self, turn: int) -> MeshStore:
        """The shapes of a turn, on the device; the next turn's are read from now on."""
        if self._next is not None and self._next[0] == turn:
            found = self._next[1].result()
        else:
            found = self._read(turn)
        self._next = turn + 1, self._reader.submit(self._read, turn + 1)
        return found.to(self._device)

    def close(self) -> None:
        """Read no further."""
        self._reader.shutdown(wait=False, cancel_futures=True)

    def _read(self, turn: int) -> MeshStore:
        # On the host: the device may be in the middle of capturing a step.
        return load_store(self.names(turn), with_regions=self._with_regions, workers=1)

    def _name(self, place: int) -> str:
        number, within = divmod(place, len(self._shards))
        order = np.random.default_rng((self._seed, number)).permutation(len(self._shards))
        return self._shards[order[within]]
