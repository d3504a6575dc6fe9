# SPDX-License-Identifier: GPL-3.0-or-later
"""Seconds and peak memory of a stage."""

from __future__ import annotations

import sys
import time
from types import TracebackType

import torch


class Measurement:
    """Context manager: wall seconds and peak memory of its block.

    device: the block's torch device; on CUDA the block is synchronised before and after
    After the block: `seconds`; `peak_mib`, on CUDA the tensors' peak within the block, elsewhere the
    process's peak resident memory so far (it never falls), None where the system does not tell.
    """

    def __init__(self, device: str | torch.device) -> None:
        self.device = torch.device(device)
        self.seconds = 0.0
        self.peak_mib: float | None = None

    def __enter__(self) -> Measurement:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        self._start = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            self.peak_mib = torch.cuda.max_memory_allocated(self.device) / 2**20
        else:
            self.peak_mib = process_peak_mib()
        self.seconds = time.perf_counter() - self._start


def process_peak_mib() -> float | None:
    """Peak resident memory of this process so far in MiB; None on Windows."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def highest(*values: float | None) -> float | None:
    """The highest of the known values, None if none is known."""
    return max((value for value in values if value is not None), default=None)
