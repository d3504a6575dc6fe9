# SPDX-License-Identifier: GPL-3.0-or-later
"""How many threads compute, and how they wait for each other. To be settled before numpy and torch are
imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Value = TypeVar("Value")

_QUERIES_OF_A_THREAD = 1 << 13

_SPINS = "1000"
"""Turns of a waiting loop before a thread sleeps, some 20 microseconds: about what it takes to wake one up,
which many small computations in a row then need not. On two idle cores a click takes 20 to 22 ms and not 28
to 36, and an encoding a tenth less; beside three busy processes all parts take a tenth more."""


def wait_passively(environment: MutableMapping[str, str] = os.environ) -> None:
    """Threads that wait soon sleep instead of spinning, unless the environment says otherwise.

    On an idle machine sleeping at once costs a tenth. Where others compute, too (an artist renders),
    spinning threads take the processor from the ones that they wait for: segment-every-part was five
    times slower with it beside six busy processes on two cores.

    numpy's OpenBLAS has threads of its own, which spin for tens of milliseconds after each product, beside
    torch. Our products in numpy are small: one thread. An encoding on two cores takes a seventh less.
    """
    if environment.setdefault("OMP_WAIT_POLICY", "PASSIVE").upper() == "PASSIVE":
        environment.setdefault("GOMP_SPINCOUNT", _SPINS)
        environment.setdefault("OPENBLAS_NUM_THREADS", "1")


def leave_a_core(environment: MutableMapping[str, str] = os.environ, *, cores: int | None = None) -> None:
    """Compute on all cores but one, which is Blender's. Of two cores both: one would take twice as long."""
    cores = cores or usable_cores()
    environment.setdefault("OMP_NUM_THREADS", str(cores if cores <= 2 else cores - 1))


def search_threads(queries: int) -> int:
    """Threads worth starting for a search in a tree: at most the process's cores, and only for thousands of
    queries each. What scipy starts if left to itself, one for each core of the machine, took longer to start
    than to search (128 threads 0.2 s)."""
    return max(1, min(usable_cores(), queries // _QUERIES_OF_A_THREAD))


@contextmanager
def meanwhile(work: Callable[[], Value], *, beside: bool) -> Iterator[Callable[[], Value]]:
    """How to get the result of `work`, which runs in a thread from now on if `beside`, else when it is asked
    for: where another device computes, the processor is free for it."""
    if not beside:
        yield work
        return
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(work).result


def started(work: Callable[[], Value]) -> Callable[[], Value]:
    """How to get the result of `work`, which runs in a thread from now on and which nobody need wait for.
    What it raises, whoever asks for the result gets."""
    pool = ThreadPoolExecutor(1)
    result = pool.submit(work).result
    pool.shutdown(wait=False)
    return result


def usable_cores() -> int:
    """How many cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
