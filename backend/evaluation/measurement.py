# SPDX-License-Identifier: GPL-3.0-or-later
"""Seconds and peak memory of a stage."""

from __future__ import annotations

import platform
import sys
import time
from types import TracebackType

import torch


class Measurement:
    """Context manager: wall seconds and peak memory of its block.

    device: the block's torch device, which is synchronised before and after
    After the block: `seconds`; `peak_mib`, the tensors' peak within the block where the device counts it,
    elsewhere the process's peak resident memory so far (it never falls), None where nobody tells.
    """

    def __init__(self, device: str | torch.device) -> None:
        self._accelerator = torch.get_device_module(torch.device(device))
        self._counts_memory = hasattr(self._accelerator, "reset_peak_memory_stats")
        self.seconds = 0.0
        self.peak_mib: float | None = None

    def __enter__(self) -> Measurement:
        self._accelerator.synchronize()
        if self._counts_memory:
            self._accelerator.reset_peak_memory_stats()
        self._start = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._accelerator.synchronize()
        self.seconds = time.perf_counter() - self._start
        if self._counts_memory:
            self.peak_mib = self._accelerator.max_memory_allocated() / 2**20
        else:
            self.peak_mib = process_peak_mib()


def device_name(device: str | torch.device) -> str:
    """The model of the device, or of the processor where it has no name of its own."""
    accelerator = torch.get_device_module(torch.device(device))
    if hasattr(accelerator, "get_device_name"):
        return accelerator.get_device_name()
    return platform.processor() or platform.machine()


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
