# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernels of our own, in Triton, for a graphics card. What each computes, torch computes, too, step by step:
that is done where Triton or the C compiler that it takes is missing, or where a kernel fails its test."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

from .devices import runs_kernels

try:
    import triton
    import triton.language as tl
except Exception:  # missing, or an installation that is broken: the CPU needs none
    triton = tl = None

__all__ = ["tested", "tl", "triton"]

logger = logging.getLogger(__name__)


@functools.cache
def tested(name: str, agrees: Callable[[str], bool], device: str) -> bool:
    """Whether a kernel can be used on a device: `agrees(device)`, asked once, compiles it and compares what
    it computes with what it should be. Raises where there is no memory for that: it is asked again later."""
    if triton is None or not runs_kernels(device):
        return False
    try:
        fault = "" if agrees(device) else "the results differ"
    except Exception as error:  # whatever a compiler may raise
        if "out of memory" in str(error):
            raise
        fault = str(error)[:200]
    if fault:
        logger.warning("%s: no kernel of our own, which is slower: %s", name, fault)
    return not fault
