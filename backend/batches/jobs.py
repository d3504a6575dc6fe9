# SPDX-License-Identifier: GPL-3.0-or-later
"""What a batch does with each of its inputs: the interface between jobs and the engines that run them."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from ..errors import DeviceError, MeshError, MeshFileError, PartSAMError
from ..stage_times import StageTimes
from .inputs import Input

Row = dict[str, Any]
"""What is known of an input afterwards: equal keys whether it failed or not, values that tables can hold."""


class Job(Protocol):
    """Travels to other processes and machines, so it is small and can be pickled."""

    def prepare(self, worker: int) -> Any:
        """What a process loads once, a model say; PartSAMError where nothing can be done without it.

        worker: the process's number on this machine, from 0: several graphics cards are dealt out by it
        """

    def read(self, item: Input, times: StageTimes) -> Any:
        """The content of an input, in a thread beside the work on the one before."""

    def work(self, context: Any, item: Input, content: Any, times: StageTimes) -> Row:
        """The row of an input; context: from `prepare`, content: from `read`."""

    def failed(self, item: Input, error: str, detail: str, times: StageTimes) -> Row:
        """The row of an input on which something failed; error: a code as in `error_of`."""


class Engine(Protocol):
    """Runs a job over inputs, in processes that a bad input may crash, hang or fill."""

    def run(self, items: Iterable[Input]) -> Iterator[Row]:
        """Yield one row for each item, as it is done. DeviceError where the job cannot be prepared."""


def error_of(error: Exception) -> tuple[str, str] | None:
    """(code, the same for people) of what failed on an input; None where a device or a full disk did: that is
    no input's fault.

    Codes: unreadable, unusable_mesh, out_of_memory, failed; engines add timeout and crashed.
    """
    if _is_full_disk(error):
        return None
    match error:
        case MeshFileError():
            code = "unreadable"
        case MeshError():
            code = "unusable_mesh"
        case MemoryError():
            code = "out_of_memory"
        case DeviceError():
            return None
        case PartSAMError():
            code = "failed"
        case RuntimeError() if "allocate memory" in str(error):
            code = "out_of_memory"
        case RuntimeError() if "CUDA" in str(error) or "HIP" in str(error):
            return None
        case _:
            return "failed", f"{type(error).__name__}: {error}"
    return code, str(error) or code


def _is_full_disk(error: BaseException | None) -> bool:
    """Whether that is what `error` comes from."""
    full = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
    while error is not None:
        if isinstance(error, OSError) and error.errno in full:
            return True
        error = error.__cause__
    return False


def in_order(rows: Iterable[tuple[str, Row]], names: Iterable[str]) -> Iterator[Row]:
    """Rows in the order of `names`, whatever the order in which they were done; early ones wait."""
    waiting: dict[str, Row] = {}
    rows = iter(rows)
    for name in names:
        while name not in waiting:
            done, row = next(rows)
            waiting[done] = row
        yield waiting.pop(name)
