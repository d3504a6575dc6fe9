# SPDX-License-Identifier: GPL-3.0-or-later
"""The compute device: how much memory is free, giving it back, what to do when it runs out or fails."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from ..freed_memory import give_back_freed_memory

logger = logging.getLogger(__name__)

Value = TypeVar("Value")

SMALLEST_BATCH = 4
SMALLEST_POINTS = 5_000

OUT_OF_MEMORY_PHRASES = (
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "can't allocate memory",
    "not enough memory",
    "could not create a primitive",  # oneDNN, for the code that it writes
    "could not create a memory object",
)


@dataclass(frozen=True)
class Footprint:
    """What decides how much memory a computation takes.

    prompt_batch: prompts decoded at once
    points: sample points of the shape
    device: torch device name
    """

    prompt_batch: int
    points: int
    device: str

    def smaller(self, asked: Footprint) -> Footprint | None:
        """The next configuration to try: a smaller prompt batch, then fewer points, then the CPU as `asked`.

        None after the smallest on the CPU.
        """
        if self.prompt_batch > SMALLEST_BATCH:
            return replace(self, prompt_batch=max(SMALLEST_BATCH, self.prompt_batch // 4))
        if self.points > SMALLEST_POINTS:
            return replace(self, points=max(SMALLEST_POINTS, self.points // 4))
        return None if self.device == "cpu" else replace(asked, device="cpu")

    def difference(self, other: Footprint) -> str:
        """What `other` has less of, for people."""
        if other.device != self.device:
            return "the CPU, which is slower"
        if other.points != self.points:
            return f"{other.points} instead of {self.points} sample points"
        return f"{other.prompt_batch} instead of {self.prompt_batch} prompts at a time"


def within_memory(
    asked: Footprint,
    compute: Callable[[Footprint], Value],
    *,
    start: Footprint | None = None,
    notices: list[str],
    make_room: Callable[[], bool] = lambda: False,
) -> tuple[Value, Footprint]:
    """Run `compute` with `start` (default `asked`), and again with less whenever memory runs out.

    make_room: gives back what others hold and returns whether that was anything; then the same is tried again
    Returns its value and the footprint that it succeeded with; appends a sentence to `notices` for each step
    down. Raises the last error when nothing smaller is left.
    """
    footprint = start or asked
    while True:
        try:
            return compute(footprint), footprint
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            logger.warning("memory ran out with %s: %s", footprint, str(error)[:200])
            less = footprint if make_room() else footprint.smaller(asked)
            if less is None:
                raise
            if less != footprint:
                step = footprint.difference(less)
                notices.append(f"Memory ran out on {footprint.device}; went on with {step}.")
        # Only here, after the except clause, are the frames of the failure gone, and their tensors with them.
        footprint = less
        free_cached_memory()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` or what caused it says that memory ran out, in any of the ways libraries say it."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, MemoryError) or any(phrase in str(link) for phrase in OUT_OF_MEMORY_PHRASES):
            return True
        link = link.__cause__
    return False


def is_device_failure(error: BaseException) -> bool:
    """Whether the compute device itself failed (driver reset, faulty kernel): it is lost to this process."""
    torch = sys.modules.get("torch")  # an error from before it was imported is not of its making
    return torch is not None and isinstance(error, torch.AcceleratorError) and not is_out_of_memory(error)


def free_cached_memory() -> None:
    """Give unused memory back to the system, that of the device, too."""
    import torch

    gc.collect()
    give_back_freed_memory()
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()


def device_memory(device: str) -> tuple[int | None, int | None]:
    """(free, total) bytes of `device`; None where it cannot be known."""
    import torch

    if device == "cpu":
        return _system_memory()
    try:
        free, total = torch.accelerator.get_memory_info(device)
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        logger.debug("no memory figures for %s: %s", device, error)
        return None, None
    return free, total


def _system_memory() -> tuple[int | None, int | None]:
    if sys.platform == "win32" or "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return None, None
    page = os.sysconf("SC_PAGE_SIZE")
    return page * os.sysconf("SC_AVPHYS_PAGES"), page * os.sysconf("SC_PHYS_PAGES")
