# SPDX-License-Identifier: GPL-3.0-or-later
"""What the processes of one training run must agree on. Alone, without torch.distributed, all is trivial."""

from __future__ import annotations

import time

import torch
import torch.distributed as dist
from torch import Tensor

from ..devices import CUDA


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


class Clock:
    """Training seconds over all chained runs, as all ranks see them.

    The schedule and the end of a run follow from them: ranks that disagreed would take different
    steps, and one would leave while the others wait for its gradients for ever.
    """

    def __init__(self, before: float, device: torch.device) -> None:
        self._before = before
        self._started = time.monotonic()
        self._device = device

    def read(self, *, signalled: bool = False, stop_after: float = 0.0) -> tuple[float, bool]:
        """Seconds of the slowest rank, and whether to stop.

        That is when any rank was signalled or this run has lasted `stop_after` seconds (0: no limit).
        """
        lasted, signals = self._largest([time.monotonic() - self._started, float(signalled)])
        return self._before + lasted, signals > 0 or 0 < stop_after <= lasted

    def _largest(self, values: list[float]) -> list[float]:
        if not dist.is_initialized():
            return values
        tensor = torch.tensor(values, device=self._device, dtype=torch.float64)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return list(tensor.tolist())


def random_states(device: torch.device) -> list[list[Tensor]]:
    """For each rank the states of the host's and, on CUDA, of the device's generator. All ranks call this."""
    own = [torch.get_rng_state()]
    if device.type == CUDA:
        own.append(torch.cuda.get_rng_state(device))
    if not dist.is_initialized():
        return [own]
    gathered = []
    for state in own:
        parts = [torch.empty_like(state, device=device) for _ in range(world_size())]
        dist.all_gather(parts, state.to(device))
        gathered.append([part.cpu() for part in parts])
    return [list(states) for states in zip(*gathered, strict=True)]


def set_random_state(states: list[list[Tensor]], device: torch.device) -> None:
    """Go on with this rank's random numbers; a rank that did not exist before keeps its fresh ones."""
    if rank() >= len(states):
        return
    own = [state.cpu() for state in states[rank()]]
    torch.set_rng_state(own[0])
    if device.type == CUDA and len(own) > 1:
        torch.cuda.set_rng_state(own[1], device)
